"""The result of a fold run: what it holds, whose it is, and that it is read back or not at all."""

import dataclasses
import json

import numpy as np
import pytest

from tests.trainer.conftest import oof
from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.metrics import METRICS
from trainer.training.result import (
    WEIGHTS,
    FoldResult,
    config_hash,
    details,
    read_result,
    write_result,
)

RESULT = FoldResult(
    fold=1,
    epochs=3,
    scored_epoch=2,
    biased=True,
    metrics={"f1": 0.1 + 0.2, "loss": 1e-300},
    f1_per_class=[0.5, 1 / 3],
    confusion=[[0, 0, 3], [0, 1, 1]],
    mean=[0.485, 0.456, 0.406],
    std=[0.229, 0.224, 0.225],
    accumulation=4,
    notes=["fold 1, epoch 2: CUDA out of memory"],
    config_hash="c0ffee",
    folds_hash="f01d5",
    seconds=1.5,
    device="cpu",
    threads=1,
)
KNOWN = {"config_hash": "c0ffee", "folds_hash": "f01d5"}


def test_what_is_written_is_read_back(tmp_path):
    (tmp_path / WEIGHTS).touch()
    write_result(tmp_path, RESULT)
    assert read_result(tmp_path, **KNOWN) == RESULT
    assert json.loads((tmp_path / "result.json").read_text()) == dataclasses.asdict(RESULT)


def test_a_fold_whose_weights_were_removed_is_not_done(tmp_path):
    write_result(tmp_path, RESULT)
    assert read_result(tmp_path, **KNOWN) is None


@pytest.mark.parametrize("other", ["config_hash", "folds_hash"])
def test_the_result_of_another_configuration_or_other_folds_is_none(tmp_path, other):
    write_result(tmp_path, RESULT)
    assert read_result(tmp_path, **{**KNOWN, other: "other"}) is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "3", '{"fold": 1}', '{"fold": 1, "colour": "red"}']
)
def test_a_file_of_another_version_is_none(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    assert read_result(tmp_path, **KNOWN) is None


def test_a_file_that_lacks_a_field_or_has_one_more_is_none(tmp_path):
    values = dataclasses.asdict(RESULT)
    for changed in (
        {**values, "colour": "red"},
        {key: value for key, value in values.items() if key != "notes"},
    ):
        (tmp_path / "result.json").write_text(json.dumps(changed))
        assert read_result(tmp_path, **KNOWN) is None


@pytest.mark.parametrize("name", ["result.json", "nowhere"])
def test_no_file_is_none(tmp_path, name):
    (tmp_path / "result.json").mkdir()
    assert read_result(tmp_path if name == "result.json" else tmp_path / name, **KNOWN) is None


def test_the_trained_result_is_read_back(train, tiny, tmp_path):
    result = train(tiny())
    known = {"config_hash": result.config_hash, "folds_hash": result.folds_hash}
    assert read_result(tmp_path / "fold-0", **known) == result


def test_removed_weights_make_a_fold_unfinished_unless_they_are_not_needed(tmp_path):
    write_result(tmp_path, RESULT)
    assert read_result(tmp_path, **KNOWN) is None
    assert read_result(tmp_path, **KNOWN, without_weights=True) == RESULT
    other = {**KNOWN, "config_hash": "other"}
    assert read_result(tmp_path, **other, without_weights=True) is None


# what it holds


def test_it_holds_how_each_class_fares(train, tiny, toy, tmp_path):
    result = train(tiny())
    labels_N = toy[1].manifest.labels_N[toy[1].valid_rows(0)]
    predicted_N = oof(tmp_path / "fold-0").argmax(axis=1)
    table = {(actual, said): count for actual, said, count in result.confusion}
    assert sum(table.values()) == 12
    assert all(
        table[pair] == count for pair, count in zip(*counted(labels_N, predicted_N), strict=True)
    )
    assert result.metrics["f1"] == pytest.approx(np.mean(result.f1_per_class))
    assert len(result.f1_per_class) == 3


def counted(
    labels_N: np.ndarray, predicted_N: np.ndarray
) -> tuple[list[tuple[int, int]], list[int]]:
    pairs = sorted(set(zip(labels_N.tolist(), predicted_N.tolist(), strict=True)))
    return pairs, [int(((labels_N == a) & (predicted_N == p)).sum()) for a, p in pairs]


def test_details_are_plain_numbers():
    probs_NK = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], dtype=np.float32)
    found = details(probs_NK, np.array([0, 1, 1]))
    assert found == {
        "f1_per_class": pytest.approx([2 / 3, 2 / 3]),
        "confusion": [[0, 0, 1], [1, 0, 1], [1, 1, 1]],
    }
    json.dumps(found)


def test_metrics_and_normalisation_are_those_in_effect(train, tiny, toy):
    result = train(tiny(normalise="dataset"))
    mean, std = toy[0].channel_sums(toy[1].train_rows(0)).mean_std()
    assert (result.mean, result.std) == (list(mean), list(std))
    assert list(result.metrics) == list(METRICS)


# whose it is


def test_without_own_functions_the_identity_is_the_fingerprint(tmp_path):
    assert (
        config_hash(TrainConfig(), tmp_path)
        == config_hash(TrainConfig(), None)
        == TrainConfig().fingerprint()
    )


@pytest.mark.parametrize("field", ["backbone", "loss", "metric"])
def test_the_content_of_the_users_file_is_part_of_the_identity(tmp_path, field):
    config = TrainConfig(**{field: "my_task.py:mine"})
    hashes = []
    for content in ("def mine(): ...\n", "def mine(): return 1\n", "def mine(): ...\n"):
        (tmp_path / "my_task.py").write_text(content)
        hashes.append(config_hash(config, tmp_path))
    assert hashes[0] == hashes[2] != hashes[1]
    assert hashes[0].startswith(f"{config.fingerprint()}-")


def test_a_users_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"^my_task.py:mine: there is no file "):
        config_hash(TrainConfig(loss="my_task.py:mine"), tmp_path)


def test_the_content_of_local_weights_is_part_of_the_identity_and_their_place_is_not(tmp_path):
    hashes = {}
    for name, content in (("a.pt", b"1"), ("b.pt", b"1"), ("c.pt", b"2")):
        (tmp_path / name).write_bytes(content)
        hashes[name] = config_hash(TrainConfig(weights=str(tmp_path / name)), None)
    assert hashes["a.pt"] == hashes["b.pt"] != hashes["c.pt"]
