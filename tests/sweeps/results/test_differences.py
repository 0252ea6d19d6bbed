"""Differences between values of parameters, all parameters fitted at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from sweeps.results.design import design
from sweeps.results.differences import Difference, Differences, differences, holm
from sweeps.space.language import read_space
from sweeps.space.parameters import Space
from trainer.metrics import Goal

PARAMETERS: dict[str, Any] = {
    "backbone": {"values": ["small", "large", "huge"]},
    "optimizer": {"values": ["adamw", "sgd"]},
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
    "momentum": {"min": 0.5, "max": 0.9, "when": {"optimizer": "sgd"}},
}
Values = Mapping[str, Any]


def space_of(parameters: Mapping[str, Any]) -> Space:
    space, problems = read_space(parameters)
    assert not problems
    return space


def drawn(space: Space, trials: int, *, seed: int = 0) -> list[Values]:
    rng = np.random.default_rng(seed)
    return [space.resolve(lambda p: p.domain.draw(rng.random())) for _ in range(trials)]  # type: ignore[union-attr]


def worth(values: Values) -> float:
    return (
        {"small": 0.0, "large": 0.03, "huge": 0.03}[values["backbone"]]
        - 0.01 * (np.log10(values["lr"]) + 3) ** 2
        + 0.1 * (values.get("momentum", 0.7) - 0.7)
    )


def found(
    values: Sequence[Values], *, noise: float = 0.005, goal: Goal = Goal.MAXIMIZE, seed: int = 1
) -> Differences:
    rng = np.random.default_rng(seed)
    scores_T = np.array([worth(each) for each in values]) + noise * rng.normal(size=len(values))
    return differences(space_of(PARAMETERS), values, goal.sign * scores_T, goal=goal)


def between(found: Differences, parameter: str, *values: Any) -> Difference:
    (pair,) = (pair for pair in found.of(parameter) if {pair.better, pair.worse} == set(values))
    return pair


def test_what_differs_is_clear_and_what_does_not_is_not():
    values = drawn(space_of(PARAMETERS), 60)
    said = found(values)
    assert not said.unsaid
    assert said.too_few is None
    better = between(said, "backbone", "large", "small")
    assert better.better == "large"
    assert better.clear
    assert better.low < 0.03 < better.high
    assert better.trials == tuple(
        sum(each["backbone"] == name for each in values) for name in ("large", "small")
    )
    same = between(said, "backbone", "large", "huge")
    assert not same.clear
    assert same.low < 0 < same.high


@pytest.mark.parametrize("goal", list(Goal))
def test_the_better_value_of_a_loss_is_the_lower_one(goal: Goal):
    pair = between(found(drawn(space_of(PARAMETERS), 60), goal=goal), "backbone", "small", "huge")
    assert (pair.better, pair.worse) == ("huge", "small")
    assert pair.gain == pytest.approx(0.03, abs=0.005)


def test_without_noise_the_differences_are_exact():
    values = drawn(space_of(PARAMETERS), 60)
    said = found(values, noise=0.0)
    for pair in said.pairs:
        if pair.parameter == "lr":
            true = -0.01 * ((np.log10(pair.better) + 3) ** 2 - (np.log10(pair.worse) + 3) ** 2)
            assert pair.gain == pytest.approx(true)
    assert between(said, "backbone", "large", "small").gain == pytest.approx(0.03)
    momentum = [
        pair
        for pair in said.of("momentum")
        if pair.worse == min(p.worse for p in said.of("momentum"))
    ]
    assert momentum[0].gain == pytest.approx(0.1 * (momentum[0].better - momentum[0].worse))


def test_a_choice_is_compared_at_the_mean_of_what_depends_on_it():
    """adamw scores as sgd does with a momentum of 0.7."""
    values = drawn(space_of(PARAMETERS), 200)
    mean = np.mean([each["momentum"] for each in values if "momentum" in each])
    pair = between(found(values, noise=0.0), "optimizer", "adamw", "sgd")
    sign = 1 if pair.better == "sgd" else -1
    assert sign * pair.gain == pytest.approx(0.1 * (mean - 0.7), abs=1e-9)


def test_the_errors_are_those_of_hc3():
    """With two groups HC3 divides each residual by 1 - 1/n of its group."""
    space = space_of({"loss": {"values": ["focal", "cross_entropy"]}})
    rng = np.random.default_rng(3)
    values = [{"loss": "focal"}] * 7 + [{"loss": "cross_entropy"}] * 15
    scores_T = rng.normal(0.8, 0.01, 22)
    scores_T[7:] += rng.normal(0.05, 0.03, 15)
    (pair,) = differences(space, values, scores_T, goal=Goal.MAXIMIZE).pairs

    def variance(group_N: np.ndarray) -> float:
        residual_N = group_N - group_N.mean()
        return float((residual_N**2).sum() / (len(group_N) - 1) ** 2)

    error = np.sqrt(variance(scores_T[:7]) + variance(scores_T[7:]))
    assert pair.gain == pytest.approx(abs(scores_T[:7].mean() - scores_T[7:].mean()))
    assert pair.high - pair.gain == pytest.approx(2.085963 * error, rel=1e-5)  # t with 20 degrees


def test_values_of_two_parameters_that_always_change_together_are_not_compared():
    values = [
        {
            "backbone": "large" if number % 2 else "small",
            "optimizer": "sgd" if number % 2 else "adamw",
        }
        for number in range(30)
    ]
    parameters = {name: PARAMETERS[name] for name in ("backbone", "optimizer")}
    scores_T = np.random.default_rng(0).random(30)
    said = differences(space_of(parameters), values, scores_T, goal=Goal.MAXIMIZE)
    assert not said.pairs
    assert said.unsaid == {
        "backbone": (
            "small and large cannot be told apart: another parameter always changed with them",
        ),
        "optimizer": (
            "adamw and sgd cannot be told apart: another parameter always changed with them",
        ),
    }


def test_nothing_is_said_of_values_that_few_trials_have():
    values = [dict(each) for each in drawn(space_of(PARAMETERS), 60)]
    huge = [each for each in values if each["backbone"] == "huge"]
    for each in huge[2:]:
        each["backbone"] = "large"
    said = found(values)
    assert said.unsaid["backbone"] == ("fewer than 3 trials have huge",)
    assert {(pair.better, pair.worse) for pair in said.of("backbone")} == {("large", "small")}


def test_a_number_that_few_trials_have_is_not_compared():
    values = [dict(each) for each in drawn(space_of(PARAMETERS), 60)]
    for each in [each for each in values if "momentum" in each][5:]:
        each["optimizer"] = "adamw"
        del each["momentum"]
    said = found(values)
    assert said.unsaid["momentum"] == ("fewer than 8 trials have momentum",)
    assert said.of("optimizer")


def test_too_few_trials_are_one_sentence():
    said = found(drawn(space_of(PARAMETERS), 12))
    assert said == Differences(
        (),
        {},
        "12 trials with a finished fold are too few to estimate 4 parameters at once; "
        "16 are needed",
    )


def test_equal_trials_say_nothing():
    space = space_of(PARAMETERS)
    values = drawn(space, 1) * 20
    assert differences(space, values, np.linspace(0, 1, 20), goal=Goal.MAXIMIZE) == Differences(
        (), {}, "no two trials differ in a parameter"
    )
    assert not differences(space, [], np.zeros(0), goal=Goal.MAXIMIZE).pairs


def test_numbers_of_two_values_have_no_square():
    space = space_of({"epochs": {"distribution": "int_uniform", "min": 3, "max": 9}})
    values = [{"epochs": 3 + 6 * (number % 2)} for number in range(20)]
    assert design(space, values).matrix_TC.shape == (20, 2)
    (pair,) = differences(
        space, values, np.array([0.1 * v["epochs"] for v in values]), goal=Goal.MAXIMIZE
    ).pairs
    assert (pair.better, pair.worse) == (9, 3)
    assert pair.gain == pytest.approx(0.6)


def test_a_condition_on_a_number_gets_a_column_of_its_own():
    """A square cannot say which trials have the momentum; their own offset must not fall on it."""
    space = space_of(
        {
            "epochs": {"distribution": "int_uniform", "min": 1, "max": 6},
            "momentum": {"min": 0.5, "max": 0.9, "when": {"epochs": [2, 5]}},
        }
    )
    values = drawn(space, 80)
    scores_T = np.array([0.5 if "momentum" in each else 0.0 for each in values])
    said = differences(space, values, scores_T, goal=Goal.MAXIMIZE)
    assert max(pair.gain for pair in said.of("momentum")) < 1e-9
    assert max(pair.gain for pair in said.of("epochs")) < 1e-9


def test_holm_corrects_the_smallest_most_and_keeps_the_order():
    p_P = np.array([0.5, 0.001, 0.02, 0.9])
    assert holm(p_P) == pytest.approx([1.0, 0.004, 0.06, 1.0])
    assert holm(np.zeros(0)).shape == (0,)
