"""The summary of a stored sweep: counts, what is left of the limits, why trials failed.

This module only reads.
"""

import dataclasses
import datetime
import enum
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeps.results.view import SweepView
from sweeps.study import records
from sweeps.study.holder import Holder
from sweeps.study.lease import find_holder
from sweeps.study.reasons import SameFailure, same_failures
from sweeps.study.records import (
    counts,
    is_finish,
    is_history,
    is_repeat,
    is_retry,
    reason,
    root_of,
)
from trainer.metrics import Goal


class State(enum.StrEnum):
    """What a sweep does now."""

    PREPARING = "preparing"  # a driver has it, and reads data before the first trial
    RUNNING = "running"
    STOPPED = "stopped"  # nobody drives it, and `sweeps run` continues it
    FINISHED = "finished"  # all trials are over, the budget is used up or the target reached


@dataclasses.dataclass(frozen=True)
class Left:
    """What is left until a sweep reaches its limits; None where the sweep has no limit.

    Attributes:
        trials: number of trials up to the cap. Trials that have begun but not ended are included.
            Retries, repeats of equal trials and trials that finish pruned ones do not count towards
            the cap.
        hours, gpu_hours: rest of the budget, a few seconds old: a running driver stores every few
            seconds what it has spent.
    """

    trials: int | None
    hours: float | None
    gpu_hours: float | None


@dataclasses.dataclass(frozen=True)
class Summary:
    """One sweep in the storage.

    All counts except `history` are of the sweep's own trials. `history` counts trials of other
    sweeps.

    Attributes:
        running: number of trials marked RUNNING. If there is no `holder`, nobody works on them.
        interrupted: number of trials to continue, and of retries and of trials that finish pruned
            ones that have not begun.
        taken_over: number of the completed and pruned trials that took the result of an equal
            trial.
        retried: number of trials that repeat a failed trial, in any state.
        finishes: number of trials that finish pruned ones for the ensemble, in any state.
        history: number of trials of other sweeps, taken over by `warm_start`.
        best_score: best score on the leaderboard, which includes history.
        started: start of the sweep's first driver, ISO 8601 in local time; None before its first
            trial.
        target_reached: whether one of the sweep's own trials reached the target; None without a
            target.
        holder: the driver that runs the sweep now, or None.
        state: what a reader wants to know first.
        broken: number of the trials whose equal failures ended the last driver; the next one
            repeats them.
    """

    sweep: str
    metric: str
    goal: Goal
    completed: int
    pruned: int
    failed: int
    running: int
    interrupted: int
    taken_over: int
    retried: int
    finishes: int
    history: int
    run_cap: int | None
    best_score: float | None
    started: str | None
    elapsed_s: float
    gpu_hours: float
    left: Left
    target: float | None
    target_reached: bool | None
    holder: Holder | None
    state: State
    broken: int

    def as_json(self) -> dict[str, Any]:
        """The attributes for JSON."""
        holder = None if self.holder is None else self.holder.as_json()
        return {**dataclasses.asdict(self), "holder": holder}


def summarise(view: SweepView) -> Summary:
    """Make the summary of a stored sweep."""
    own = [trial for trial in view.trials if not is_history(trial, view.name)]
    states = [trial.state for trial in own]
    ranked = view.ranked()
    target = view.record.target
    holder = find_holder(view.sweep.storage.engine, view.name)
    if holder is not None and holder.is_dead_on_this_machine():
        holder = None
    left = _left(view)
    reached = None if target is None else _reached(view, target)
    unfinished = {TrialState.RUNNING, TrialState.WAITING} & set(states) or view.record.broken
    over = (left.trials == 0 and not unfinished) or 0 in (left.hours, left.gpu_hours) or reached
    return Summary(
        sweep=view.name,
        metric=view.metric,
        goal=view.goal,
        completed=states.count(TrialState.COMPLETE),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAIL),
        running=states.count(TrialState.RUNNING),
        interrupted=states.count(TrialState.WAITING),
        taken_over=sum(is_repeat(trial) for trial in own),
        retried=sum(map(is_retry, own)),
        finishes=sum(map(is_finish, own)),
        history=len(view.trials) - len(own),
        run_cap=view.record.run_cap,
        best_score=ranked[0].value if ranked else None,
        started=_started(view.record.begun, own),
        elapsed_s=view.record.elapsed_s,
        gpu_hours=view.record.gpu_s / 3600,
        left=left,
        target=target,
        target_reached=reached,
        holder=holder,
        state=_state(holder, over=bool(over)),
        broken=len(view.record.broken),
    )


def _started(begun: float | None, own: Sequence[FrozenTrial]) -> str | None:
    """See Summary.started; a sweep of an earlier version began with its first trial."""
    trials = [trial.datetime_start for trial in own if trial.datetime_start]
    if not trials:
        return None
    # a trial that is continued starts again, so the starts of trials move
    first = min(trials).timestamp() if begun is None else begun
    return (
        datetime.datetime.fromtimestamp(first, datetime.UTC)
        .astimezone()
        .isoformat(timespec="seconds")
    )


def _state(holder: Holder | None, *, over: bool) -> State:
    if holder is not None:
        return State.PREPARING if holder.doing else State.RUNNING
    return State.FINISHED if over else State.STOPPED


def _left(view: SweepView) -> Left:
    def hours(limit: float | None, spent_s: float) -> float | None:
        return None if limit is None else max(0.0, limit - spent_s / 3600)

    record = view.record
    ended = sum(trial.state.is_finished() and counts(trial, view.name) for trial in view.trials)
    return Left(
        trials=None if record.run_cap is None else max(0, record.run_cap - ended),
        hours=hours(record.hours, record.elapsed_s),
        gpu_hours=hours(record.gpu_hours, record.gpu_s),
    )


def _reached(view: SweepView, target: float) -> bool:
    own = (trial for trial in view.ranked() if not is_history(trial, view.name))
    return any(view.goal.reached(trial.values[0], target) for trial in own)


def failures(view: SweepView) -> dict[int, str]:
    """Why each failed trial failed, by trial number.

    The text names the last trial that repeats the failed trial.
    """
    roots = {trial.number: root_of(trial) for trial in view.trials}
    last = {root: number for number, root in roots.items()}  # the trials are ordered by number
    reasons = {}
    for trial in view.trials:
        if trial.state == TrialState.FAIL:
            retry = last[roots[trial.number]]
            repeated = f" (repeated by trial {retry})" if retry != trial.number else ""
            reasons[trial.number] = f"{reason(trial)}{repeated}"
    return reasons


def failure_groups(view: SweepView) -> list[SameFailure]:
    """The failed trials, grouped by reason."""
    return same_failures(trial for trial in view.trials if trial.state == TrialState.FAIL)


def notes(view: SweepView) -> dict[int, list[str]]:
    """Facts that a reader of the scores should know, by trial number."""
    return {trial.number: found for trial in view.trials if (found := records.notes(trial))}
