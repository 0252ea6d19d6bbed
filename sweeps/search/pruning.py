"""Which trials to stop before their last fold: pure functions of the stored reports and fold scores.

`stop_reason` is asked after each epoch, `fold_reason` after each fold. A report's value is the mean over the
finished folds and the current one, so values at one step compare the same folds.
"""

import copy
import itertools
import math
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import PatientPruner, PercentilePruner, ThresholdPruner, WilcoxonPruner
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.search.race import Standing, incumbent, race_reason
from sweeps.space.spec import SweepSpec
from sweeps.space.stopping import Hyperband, Median, Patient, Percentile, Threshold, Wilcoxon
from trainer.metrics import Goal

History = Sequence[
    float
]  # a trial's finite values in the order of their steps; of n epochs n or fewer
# of trials that are over, by number: they do not change, and to sort 5,000 of them anew takes 10 ms a report
_over: weakref.WeakKeyDictionary[optuna.Study, dict[int, History]] = weakref.WeakKeyDictionary()


def stop_reason(study: optuna.Study, trial: FrozenTrial, spec: SweepSpec) -> str | None:
    """Why `trial` should be stopped after its last report, or None to go on.

    Args:
        study: all trials with their reports, the direction included.
    """
    rule = spec.early_terminate
    if rule.type == "none" or trial.last_step is None:
        return None
    if all(map(math.isnan, trial.intermediate_values.values())):
        return "its values are not numbers"
    if rule.type not in _AT_EPOCHS:
        return None
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < rule.keep_at_least:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna's, of some pruners
        # a step at which no complete trial has a number; numpy then says NaN, and the trial goes on
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        return _AT_EPOCHS[rule.type](rule, study, trial, spec.max_epochs)


def fold_reason(
    finished: Sequence[Standing], own_scores: Sequence[float], *, spec: SweepSpec
) -> str | None:
    """Why a trial should be stopped after the last of its finished folds, or None to go on.

    Args:
        finished: trials that are over and have finished a fold.
        own_scores: of the trial's finished folds, in fold order.
    """
    if not spec.folds_comparable:
        return None
    k, goal = spec.folds.k, spec.metric.goal
    if isinstance(spec.early_terminate, Wilcoxon):
        reason = _wilcoxon_reason(finished, own_scores, spec=spec, rule=spec.early_terminate)
        if reason is not None:
            return reason
    rule = spec.folds.race_rule
    return None if rule is None else race_reason(finished, own_scores, rule=rule, k=k, goal=goal)


def hyperband_reason(
    rule: Hyperband, own: History, *, others: Iterable[History], goal: Goal
) -> str | None:
    """W&B's rule: why a trial is to be stopped, or None.

    At the last band that the trial has reached, the threshold is the value that the best 1/eta of all trials there
    have at least; behind it is a trial whose best value so far (`strict`: whose value at the band) is worse.

    Args:
        own: the trial's finite values, one per epoch reported.
        others: of all other trials, whatever became of them.

    Source: `hyperband_stop_runs` of W&B's package `sweeps` 0.3.0.
    """
    band = rule.band(len(own))
    if band is None:
        return None
    sign = -goal.sign
    reached = sorted(
        sign * history[band - 1]
        for history in itertools.chain([own], others)
        if len(history) >= band
    )
    threshold = reached[int(1.0 / rule.eta * len(reached))]
    value = sign * own[band - 1] if rule.strict else min(sign * value for value in own)
    if value <= threshold:
        return None
    share = {2.0: "half", 3.0: "third", 4.0: "quarter"}.get(rule.eta, f"{100 / rule.eta:.3g} %")
    return f"hyperband: at epoch {band} not among the best {share} of {len(reached)} trials"


def _by_hyperband(rule: Hyperband, study: optuna.Study, trial: FrozenTrial, _: int) -> str | None:
    own = _history(trial)
    if rule.band(len(own)) is None:
        return None
    goal = _goal(study)
    return hyperband_reason(rule, own, others=_histories(study, besides=trial.number), goal=goal)


def _histories(study: optuna.Study, *, besides: int) -> list[History]:
    known = _over.setdefault(study, {})
    found = []
    for trial in study.get_trials(deepcopy=False):
        number = trial.number
        history = known.get(number)
        if history is None:
            history = _history(trial)
            if trial.state.is_finished():
                known[number] = history
        if number != besides:
            found.append(history)
    return found


def _history(trial: FrozenTrial) -> History:
    # a storage may give reports back in any order
    return [value for _, value in sorted(trial.intermediate_values.items()) if math.isfinite(value)]


def _by_percentile(
    rule: Median | Percentile, study: optuna.Study, trial: FrozenTrial, max_epochs: int
) -> str | None:
    share = rule.percentile if isinstance(rule, Percentile) else 50.0
    # the best value so far against the complete trials at this step
    pruner = PercentilePruner(
        share, n_startup_trials=rule.startup_trials, n_warmup_steps=rule.warmup_epochs + 1
    )
    if not pruner.prune(study, trial):
        return None
    among = "worse than half" if isinstance(rule, Median) else f"not among the best {share:g} %"
    return f"{rule.type} rule: {_at(trial, max_epochs)} {among} of the completed trials"


def _by_patience(
    rule: Patient, study: optuna.Study, trial: FrozenTrial, max_epochs: int
) -> str | None:
    fold, _ = _place(trial, max_epochs)
    worst = _goal(study).worst_possible
    # A fold's first epochs are always worse than the fold before: only the current fold counts. There a value is
    # (a constant + the fold's own value) / (fold + 1), so times fold + 1 its differences are those of the fold's own.
    own = copy.copy(trial)
    own.intermediate_values = {
        step: worst if math.isnan(value) else value * (fold + 1)
        for step, value in trial.intermediate_values.items()
        if step > fold * max_epochs
    }
    if not PatientPruner(None, rule.patience, rule.min_delta).prune(study, own):
        return None
    return f"patient rule: {_at(trial, max_epochs)} below its best for more than {rule.patience} epochs"


def _by_threshold(
    rule: Threshold, study: optuna.Study, trial: FrozenTrial, max_epochs: int
) -> str | None:
    _, epoch = _place(trial, max_epochs)
    if epoch < rule.warmup_epochs or not ThresholdPruner(rule.lower, rule.upper).prune(
        study, trial
    ):
        return None
    assert trial.last_step is not None
    value = trial.intermediate_values[trial.last_step]
    if math.isnan(value):
        return f"threshold rule: {_at(trial, max_epochs)} its value is not a number"
    side = (
        f"below {rule.lower:g}"
        if rule.lower is not None and value < rule.lower
        else f"above {rule.upper:g}"
    )
    return f"threshold rule: {_at(trial, max_epochs)} its value {value:.4g} is {side}"


def _wilcoxon_reason(
    finished: Sequence[Standing], own_scores: Sequence[float], *, spec: SweepSpec, rule: Wilcoxon
) -> str | None:
    k = spec.folds.k
    # the fewest folds at which p, which is never below 1 / 2^folds, can be small enough
    if (
        len(own_scores) >= k
        or 0.5 ** len(own_scores) >= rule.p_threshold
        or not all(map(math.isfinite, own_scores))
    ):
        return None
    best = incumbent(finished, k=k, goal=spec.metric.goal)
    if (
        best is None
        or sum(len(standing.fold_scores) == k for standing in finished) < rule.keep_at_least
    ):
        return None
    # Optuna's pruner compares with the best trial of its study, step by step: here the incumbent alone, folds as steps
    study = optuna.create_study(direction=spec.metric.goal.value)
    study.add_trial(
        create_trial(value=best.score, intermediate_values=dict(enumerate(best.fold_scores)))
    )
    own = create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(own_scores)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        pruner = WilcoxonPruner(p_threshold=rule.p_threshold, n_startup_steps=rule.startup_folds)
        if not pruner.prune(study, own):
            return None
    return f"wilcoxon rule: after {len(own_scores)} of {k} folds worse than trial {best.number} ({best.score:.4g})"


def _goal(study: optuna.Study) -> Goal:
    return Goal[study.direction.name]


def _place(trial: FrozenTrial, max_epochs: int) -> tuple[int, int]:
    """Fold and epoch of the last report, both from 0."""
    assert trial.last_step is not None
    return divmod(trial.last_step - 1, max_epochs)


def _at(trial: FrozenTrial, max_epochs: int) -> str:
    fold, epoch = _place(trial, max_epochs)
    return f"at fold {fold + 1}, epoch {epoch + 1}"


_AT_EPOCHS: dict[str, Callable[[Any, optuna.Study, FrozenTrial, int], str | None]] = {
    "hyperband": _by_hyperband,
    "median": _by_percentile,
    "percentile": _by_percentile,
    "patient": _by_patience,
    "threshold": _by_threshold,
}
