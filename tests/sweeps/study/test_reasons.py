"""When two trials failed for the same reason."""

from collections.abc import Mapping
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial

from sweeps.study.reasons import SameFailure, kind_of, same_failures
from sweeps.study.records import REASON

NONE: Mapping[str, Any] = {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "trial 0, fold 1, epoch 2: the training loss is nan (lr=0.1)",
            "trial 12, fold 3, epoch 4: the training loss is nan (lr=2.5e-05)",
        ),
        ("/runs/a/trial-0001/fold-2/last.ckpt: damaged", "/tmp/b/trial-0002/x.ckpt: damaged"),
        (r"cannot read C:\data\1.png (end of file)", "cannot read photos/2.png (end of file)"),
        ("object at 0x7f12ab lost its  4 parts", "object at 0x7f99 lost its 16 parts"),
    ],
)
def test_numbers_and_paths_do_not_make_another_reason(one: str, other: str):
    assert one != other
    assert kind_of(one, NONE) == kind_of(other, NONE)


def test_the_values_of_a_trial_do_not_make_another_reason():
    text = "backbone {}: its pretrained weights cannot be loaded (no answer)"
    kinds = {
        kind_of(text.format(name), {"backbone": name, "lr": 0.1, "optimizer": "sgd"})
        for name in ("resnet18", "vit_tiny_patch16_224", "convnext_atto.d2_in1k")
    }
    assert len(kinds) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CUDA out of memory", "the training loss is nan"),
        ("KeyError: 'a'", "KeyError: 'b'"),
        ("", "its worker died 3 times"),
    ],
)
def test_other_words_are_another_reason(one: str, other: str):
    assert kind_of(one, NONE) != kind_of(other, NONE)


def test_a_short_value_is_not_taken_out_of_words():
    assert kind_of("a bad day", {"crop": "a"}) == "a bad day"


def test_failed_trials_are_grouped_in_the_order_of_the_first_of_each_group():
    trials = [
        create_trial(state=TrialState.FAIL, user_attrs={REASON: text})
        for text in ("epoch 1: nan", "out of memory", "epoch 3: nan")
    ]
    for number, trial in enumerate(trials):
        trial.number = number
    assert same_failures(trials) == [
        SameFailure("epoch 1: nan", (0, 2)),
        SameFailure("out of memory", (1,)),
    ]
    assert [group.count for group in same_failures(trials)] == [2, 1]
    assert same_failures([]) == []
