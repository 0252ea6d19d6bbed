"""Which parameters explain the scores."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from sweeps.results.importance import Importance, importance
from sweeps.space.language import read_space
from sweeps.space.parameters import Space

PARAMETERS: dict[str, Any] = {
    "backbone": {"values": ["small", "large"]},
    "optimizer": {"values": ["adamw", "sgd"]},
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
    "momentum": {"min": 0.5, "max": 0.9, "when": {"optimizer": "sgd"}},
}


def space() -> Space:
    found, problems = read_space(PARAMETERS)
    assert not problems
    return found


def drawn(trials: int) -> list[Mapping[str, Any]]:
    rng = np.random.default_rng(0)
    return [space().resolve(lambda p: p.domain.draw(rng.random())) for _ in range(trials)]  # type: ignore[union-attr]


def of_choice(values: list[Mapping[str, Any]]) -> np.ndarray:
    rng = np.random.default_rng(1)
    large_T = np.array([each["backbone"] == "large" for each in values])
    return 0.5 + 0.1 * large_T + 0.01 * rng.normal(size=len(values))


def test_the_parameter_that_decides_has_nearly_all():
    values = drawn(60)
    found = importance(space(), values, of_choice(values), seed=3)
    assert found.shares[0].parameter == "backbone"
    assert {share.parameter for share in found.shares} == set(PARAMETERS)
    assert found.shares[0].value > 0.9
    assert sum(share.value for share in found.shares) == pytest.approx(1)
    assert all(share.low <= share.value <= share.high for share in found.shares)
    assert found.explained is not None
    assert 0.9 < found.explained < 1
    assert (
        found.sentence
        == f"they explain {100 * found.explained:.0f} % of the differences between trials"
    )


def test_a_parameter_that_only_some_trials_have_may_matter():
    values = drawn(80)
    scores_T = np.array([each.get("momentum", 0.7) for each in values])
    found = importance(space(), values, scores_T, seed=0)
    assert found.shares[0].parameter == "momentum"


def test_it_is_the_same_again_and_another_with_another_seed():
    values = drawn(40)
    once, again = (importance(space(), values, of_choice(values), seed=5) for _ in range(2))
    assert once == again
    assert importance(space(), values, of_choice(values), seed=6) != once


def test_scores_that_are_noise_are_said_to_be_unexplained():
    scores_T = np.random.default_rng(2).normal(size=60)
    found = importance(space(), drawn(60), scores_T, seed=0)
    assert not found.shares
    assert found.sentence == (
        "the parameters do not explain the scores: a forest predicts 0 % of the differences "
        "between trials it has not seen"
    )


def test_few_trials_say_nothing():
    values = drawn(14)
    assert importance(space(), values, of_choice(values), seed=0) == Importance((), None, 14)
    assert Importance((), None, 14).sentence == (
        "too few trials with a finished fold (14) to say which parameters matter; 15 are needed"
    )


def test_equal_scores_and_equal_trials_explain_nothing():
    assert importance(space(), drawn(20), np.full(20, 0.5), seed=0) == Importance((), 0.0, 20)
    values = drawn(1) * 20
    scores_T = np.linspace(0, 1, 20)
    assert importance(space(), values, scores_T, seed=0) == Importance((), 0.0, 20)
