"""Trials to be stored, and whether they were."""

from collections.abc import Callable

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.space.spec import SweepSpec
from sweeps.study.records import TAKEN_FROM

Make = Callable[..., SweepSpec]
DISTRIBUTIONS = {"lr": FloatDistribution(0.01, 1), "loss": CategoricalDistribution(["focal", None])}


def finished(state: TrialState) -> FrozenTrial:
    """A trial that was over before it was added."""
    return create_trial(
        state=state,
        value=0.75 if state == TrialState.COMPLETE else None,
        params={"lr": 0.1, "loss": None},
        distributions=DISTRIBUTIONS,
        intermediate_values={1: 0.25, 2: float("nan")},
        user_attrs={"fold_scores": [0.5, 1.0], TAKEN_FROM: {"sweep": "other", "trial": 3}},
        system_attrs={"x": [1]},
    )


def assert_same(stored: FrozenTrial, template: FrozenTrial) -> None:
    for name in (
        "state",
        "values",
        "params",
        "distributions",
        "user_attrs",
        "system_attrs",
        "datetime_complete",
    ):
        assert getattr(stored, name) == getattr(template, name), name
    assert repr(stored.intermediate_values) == repr(template.intermediate_values)  # nan


def ask(memory: optuna.Study, lr: float = 0.1) -> FrozenTrial:
    """The next trial, RUNNING."""
    memory.add_trial(
        create_trial(
            state=TrialState.RUNNING, params={"lr": lr, "loss": None}, distributions=DISTRIBUTIONS
        )
    )
    return memory.trials[-1]
