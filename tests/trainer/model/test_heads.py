"""Heads: what a joint class is made of, and probabilities multiplied out."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.conftest import paper_manifest
from trainer.errors import ConfigError
from trainer.model.heads import Heads

# wrong + female does not occur
PARTS = (
    ("mask", "male"),
    ("mask", "female"),
    ("none", "male"),
    ("wrong", "male"),
    ("none", "female"),
)


def two_columns(parts: tuple[tuple[str, ...], ...] = PARTS) -> Heads:
    manifest = paper_manifest(np.arange(len(parts)), tuple(" / ".join(values) for values in parts))
    return Heads.separate(
        dataclasses.replace(manifest, label_columns=("mask", "gender"), class_parts=parts)
    )


def logits(*sizes: int, rows: int = 7, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, size, generator=generator) * 3 for size in sizes]


def test_the_joint_head_has_every_class():
    heads = Heads.joint(4)
    assert (heads.names, heads.sizes) == (("class",), (4,))
    assert heads.class_of[0].tolist() == [0, 1, 2, 3]


def test_a_head_per_column_numbers_its_values_in_order_of_first_appearance():
    heads = two_columns()
    assert (heads.names, heads.sizes) == (("mask", "gender"), (3, 2))
    assert [class_of_K.tolist() for class_of_K in heads.class_of] == [
        [0, 0, 1, 2, 1],
        [0, 1, 0, 0, 1],
    ]
    assert all(class_of_K.dtype == np.int64 for class_of_K in heads.class_of)


def test_separate_heads_of_a_single_column_are_refused():
    with pytest.raises(
        ConfigError,
        match=r"^heads: separate needs several label columns, got 1 \(label\)\. Use heads: joint",
    ):
        Heads.separate(paper_manifest(np.arange(3)))


def test_a_name_that_is_no_column_is_refused_with_the_columns():
    with pytest.raises(
        ConfigError,
        match=r"^head_weights: 'agee' is no label column\. The columns are mask, gender$",
    ):
        two_columns().refuse_unknown(["mask", "agee"], field="head_weights")
    two_columns().refuse_unknown(["gender"], field="head_weights")


def test_the_joint_targets_are_the_very_targets():
    targets_BK = torch.eye(4)
    assert Heads.joint(4).targets(targets_BK)[0] is targets_BK


def test_the_targets_of_a_head_are_the_mass_of_the_classes_that_share_a_part():
    heads = two_columns()
    targets_BK = torch.tensor([[0.25, 0.75, 0, 0, 0], [0, 0, 1.0, 0, 0], [0, 0.5, 0, 0, 0.5]])
    mask_B3, gender_B2 = heads.targets(targets_BK)
    assert mask_B3.tolist() == [[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]]
    assert gender_B2.tolist() == [[0.25, 0.75], [1, 0], [0, 1]]


def test_autocast_does_not_round_the_targets():
    targets_BK = torch.tensor([[0.301, 0.699, 0, 0, 0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert two_columns().targets(targets_BK)[1].tolist() == targets_BK[:, :2].tolist()


def test_the_joint_log_probabilities_are_log_softmax():
    (logits_BK,) = logits(5)
    assert torch.equal(Heads.joint(5).log_probs([logits_BK]), logits_BK.log_softmax(dim=1))


def test_separate_probabilities_are_the_product_scaled_over_the_classes_that_occur():
    mask_B3, gender_B2 = logits(3, 2)
    mask = mask_B3.double().softmax(dim=1)
    gender = gender_B2.double().softmax(dim=1)
    expected = torch.stack(
        [mask[:, m] * gender[:, g] for m, g in [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1)]], dim=1
    )
    expected /= expected.sum(dim=1, keepdim=True)
    torch.testing.assert_close(
        two_columns().log_probs([mask_B3, gender_B2]).exp().double(), expected
    )


def test_where_all_combinations_occur_nothing_is_scaled():
    heads = two_columns(tuple((m, g) for m in "abc" for g in "xy"))
    heads_logits = logits(3, 2)
    mask, gender = (head.softmax(dim=1) for head in heads_logits)
    torch.testing.assert_close(
        heads.log_probs(heads_logits).exp(), (mask[:, :, None] * gender[:, None]).flatten(1)
    )


@given(scale=st.sampled_from([0.0, 1.0, 30.0, 1000.0]), seed=st.integers(0, 1000))
def test_probabilities_sum_to_one_however_certain_the_heads_are(scale, seed):
    log_probs_BK = two_columns().log_probs([head * scale for head in logits(3, 2, seed=seed)])
    assert log_probs_BK.isfinite().all()
    torch.testing.assert_close(log_probs_BK.exp().sum(dim=1), torch.ones(7))


def test_log_probabilities_are_float32_whatever_the_network_computes_in():
    heads_logits = [head.bfloat16() for head in logits(3, 2)]
    assert two_columns().log_probs(heads_logits).dtype == torch.float32
    assert Heads.joint(3).log_probs(heads_logits[:1]).dtype == torch.float32


def test_index_tensors_are_made_once_per_device():
    heads = two_columns()
    assert heads._class_of(torch.device("cpu")) is heads._class_of(torch.device("cpu"))
