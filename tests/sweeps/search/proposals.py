"""Spaces with every kind of law, and studies of trials that were proposed and have ended."""

import copy
import math
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.search.distributions import labels
from sweeps.search.draws import drawn
from sweeps.search.sampling import propose
from sweeps.space.spec import SweepSpec

Make = Callable[..., SweepSpec]


# every kind of law: on steps, on a log scale, beyond what Optuna has; weighted; under a condition
PARAMETERS: dict[str, Any] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
    "epochs": {"distribution": "q_uniform", "min": 1, "max": 10, "q": 3},
    "dropout": {"distribution": "q_uniform", "min": 0.0, "max": 0.7, "q": 0.1},
    "batch_size": {"min": 4, "max": 8},
    "width": {"distribution": "q_log_uniform_values", "min": 8, "max": 256, "q": 8},
    "shift": {"distribution": "normal", "mu": 1.0, "sigma": 0.5},
    "optimizer": {"values": ["adamw", "sgd", "madgrad"], "probabilities": [0.2, 0.5, 0.3]},
    "momentum": {"min": 0.5, "max": 0.9, "when": {"optimizer": ["sgd", "madgrad"]}},
    "decay": {
        "distribution": "q_log_normal",
        "mu": 0.0,
        "sigma": 1.0,
        "q": 0.5,
        "when": {"optimizer": "adamw"},
    },
    "backbone": {"value": "test_resnet"},
}
GRID: dict[str, Any] = {
    "optimizer": {"values": ["adamw", "sgd"]},
    "epochs": {"min": 1, "max": 2},
    "momentum": {
        "distribution": "q_uniform",
        "min": 0.5,
        "max": 0.75,
        "q": 0.25,
        "when": {"optimizer": "sgd"},
    },
    "backbone": {"value": "test_resnet"},
}
GRID_POINTS: list[dict[str, Any]] = [
    {"optimizer": "adamw", "epochs": 1},
    {"optimizer": "adamw", "epochs": 2},
    {"optimizer": "sgd", "epochs": 1, "momentum": 0.5},
    {"optimizer": "sgd", "epochs": 1, "momentum": 0.75},
    {"optimizer": "sgd", "epochs": 2, "momentum": 0.5},
    {"optimizer": "sgd", "epochs": 2, "momentum": 0.75},
]
SAMPLERS = ["tpe", "gp", "cmaes", "qmc", "nsgaii", "random", "grid", "brute_force"]
# trials after which a sampler has used its model more than once; GP costs 0.2 s a time
TRIALS = {"gp": 14, "nsgaii": 22, "cmaes": 28, "grid": 6, "brute_force": 6}


def new_study() -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=RandomSampler(seed=0))


def rebuilt(trials: list[FrozenTrial]) -> optuna.Study:
    """What a restarted driver decides from: copies,
    in a storage that counts its trials differently.
    """
    storage = InMemoryStorage()
    optuna.create_study(storage=storage).add_trial(create_trial(value=0.0))
    study = optuna.create_study(
        storage=storage, direction="maximize", sampler=RandomSampler(seed=0)
    )
    study.add_trials(copy.deepcopy(trials))
    return study


def score(params: dict[str, Any]) -> float:
    """A function with a best point, in place of a training."""
    lr = params.get("lr", 1e-3)
    dropout = params.get("dropout", 0.2)
    return -abs(math.log10(lr) + 2.5) - (params.get("optimizer") == "adamw") - abs(dropout - 0.25)


def random_point(spec: SweepSpec, number: int) -> dict[str, Any]:
    """What the sampler `random` proposes as trial `number` of the sweep, as stored."""
    return labels(spec.space, drawn(spec, spec.space, number=number))


def end(study: optuna.Study, trial: FrozenTrial) -> None:
    """End a trial.

    Two in seven are stopped, one of them after its first of three folds and one before its end;
    every eleventh fails.
    """
    folds = [score(trial.params) + ease for ease in (0.3, 0.0, -0.3)]
    state = TrialState.COMPLETE
    if trial.number % 11 == 10:
        state, folds = TrialState.FAIL, []
    elif trial.number % 7 in (4, 6):
        state, folds = TrialState.PRUNED, folds[:1] if trial.number % 7 == 4 else []
    if folds:
        study._storage.set_trial_user_attr(trial._trial_id, "fold_scores", folds)
    study.tell(
        trial.number, score(trial.params) if state == TrialState.COMPLETE else None, state=state
    )


def evaluate(
    study: optuna.Study, spec: SweepSpec, *, trials: int, first: int = 0
) -> list[FrozenTrial]:
    """A sweep up to that many trials without an interruption,
    as asked and (in the study) as ended.
    """
    asked = []
    for number in range(first, trials):
        asked.append(propose(study, spec, number=number))
        end(study, asked[-1])
    return asked


def asked_of(trial: FrozenTrial) -> tuple[Any, ...]:
    """All that a proposal consists of.

    CMA-ES's pickled optimizer has an array that is never filled: only its keys.
    """
    remembered = {
        key: None if "optimizer" in key else value for key, value in trial.system_attrs.items()
    }
    return trial.params, trial.distributions, trial.user_attrs, remembered


def contains(wanted: BaseDistribution, label: Any) -> bool:
    return wanted._contains(wanted.to_internal_repr(label))
