"""Which trials to stop before their last fold.

The functions are pure functions of the stored reports and fold scores. The driver calls
`stop_reason` after each epoch, and `fold_reason` after each fold. The value of a report is the mean
over the finished folds and the current fold. Therefore the values of different trials at one step
compare the same folds.
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

# The finite values of a trial's reports, in the order of the steps. After n epochs, there are n
# values or fewer.
History = Sequence[float]
# Histories of the finished trials of each study, by trial number. They do not change any more. To
# sort the reports of 5,000 trials again would take 10 ms per report.
_finished_histories: weakref.WeakKeyDictionary[optuna.Study, dict[int, History]] = (
    weakref.WeakKeyDictionary()
)


def stop_reason(study: optuna.Study, trial: FrozenTrial, spec: SweepSpec) -> str | None:
    """Why `trial` should be stopped after its last report, or None to go on.

    Args:
        study: has the direction, and all trials with their reports.
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
        warnings.simplefilter("ignore", ExperimentalWarning)  # some pruners of Optuna
        # At a step where no complete trial has a finite value, numpy warns and returns NaN. Then
        # the trial goes on.
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        return _AT_EPOCHS[rule.type](rule, study, trial, spec.max_epochs)


def fold_reason(
    finished: Sequence[Standing], own_scores: Sequence[float], *, spec: SweepSpec
) -> str | None:
    """Why a trial should be stopped after the last of its finished folds, or None to go on.

    Args:
        finished: trials that are over and have at least one finished fold.
        own_scores: scores of the trial's finished folds, in fold order.
    """
    if not spec.folds_comparable:
        return None
    k = spec.folds.k
    goal = spec.metric.goal
    if isinstance(spec.early_terminate, Wilcoxon):
        reason = _wilcoxon_reason(finished, own_scores, spec=spec, rule=spec.early_terminate)
        if reason is not None:
            return reason
    rule = spec.folds.race_rule
    return None if rule is None else race_reason(finished, own_scores, rule=rule, k=k, goal=goal)


def hyperband_reason(
    rule: Hyperband, own: History, *, others: Iterable[History], goal: Goal
) -> str | None:
    """Why W&B's hyperband rule stops a trial, or None.

    The rule takes the last band that the trial has reached, and the values at this band of all n
    trials that have reached it. With the values sorted best first, the threshold is value number
    floor(n / eta) + 1, so at least 1/eta of the trials reach the threshold. The trial is stopped
    if its best value so far is worse. With `strict`, its value at the band is compared instead.

    Args:
        own: history of the trial: its finite values, one for each reported epoch.
        others: histories of all other trials, in any state.

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
    """Histories of all trials except trial `besides`."""
    known = _finished_histories.setdefault(study, {})
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
    # a storage may return the reports in any order
    return [value for _, value in sorted(trial.intermediate_values.items()) if math.isfinite(value)]


def _by_percentile(
    rule: Median | Percentile, study: optuna.Study, trial: FrozenTrial, max_epochs: int
) -> str | None:
    share = rule.percentile if isinstance(rule, Percentile) else 50.0
    # The pruner compares the trial's best value so far with the complete trials at this step.
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
    fold, _ = _last_report(trial, max_epochs)
    worst = _goal(study).worst_possible
    # Only the current fold counts, because the first epochs of a fold are always worse than the
    # fold before. In the current fold, a report is (constant + the fold's own value) / (fold + 1).
    # Therefore reports times (fold + 1) differ by the same amounts as the fold's own values.
    own = copy.copy(trial)
    own.intermediate_values = {
        step: worst if math.isnan(value) else value * (fold + 1)
        for step, value in trial.intermediate_values.items()
        if step > fold * max_epochs
    }
    if not PatientPruner(None, rule.patience, rule.min_delta).prune(study, own):
        return None
    where = _at(trial, max_epochs)
    return f"patient rule: {where} below its best for more than {rule.patience} epochs"


def _by_threshold(
    rule: Threshold, study: optuna.Study, trial: FrozenTrial, max_epochs: int
) -> str | None:
    _, epoch = _last_report(trial, max_epochs)
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
    """Why the Wilcoxon rule stops a trial after a fold, or None."""
    k = spec.folds.k
    # p is at least 1 / 2^folds: with too few folds, p cannot be below the threshold
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
    # Optuna's pruner compares a trial with the best trial of its study, step by step. Here the
    # study has one trial, the incumbent, and the steps are the folds.
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
    return (
        f"wilcoxon rule: after {len(own_scores)} of {k} folds "
        f"worse than trial {best.number} ({best.score:.4g})"
    )


def _goal(study: optuna.Study) -> Goal:
    return Goal[study.direction.name]


def _last_report(trial: FrozenTrial, max_epochs: int) -> tuple[int, int]:
    """Fold and epoch of the trial's last report; both count from 0."""
    assert trial.last_step is not None
    return divmod(trial.last_step - 1, max_epochs)


def _at(trial: FrozenTrial, max_epochs: int) -> str:
    fold, epoch = _last_report(trial, max_epochs)
    return f"at fold {fold + 1}, epoch {epoch + 1}"


# the rules that may stop a trial after an epoch, by their type
_AT_EPOCHS: dict[str, Callable[[Any, optuna.Study, FrozenTrial, int], str | None]] = {
    "hyperband": _by_hyperband,
    "median": _by_percentile,
    "percentile": _by_percentile,
    "patient": _by_patience,
    "threshold": _by_threshold,
}
