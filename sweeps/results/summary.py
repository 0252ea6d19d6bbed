"""What a stored sweep comes to: counts, what is left, why trials failed. Reads only."""

import dataclasses

from optuna.trial import TrialState

from sweeps.results.view import SweepView
from sweeps.study import records
from sweeps.study.holder import Holder
from sweeps.study.lease import find_holder
from sweeps.study.records import (
    counts,
    is_history,
    is_repeat,
    is_retry,
    reason,
    root_of,
)
from trainer.metrics import Goal


@dataclasses.dataclass(frozen=True)
class Left:
    """What is left until a sweep ends; None where nothing limits it.

    Attributes:
        trials: of the cap, those that have begun and not ended included; retries are beyond it.
        hours, gpu_hours: a running driver writes what it has spent every few seconds.
    """

    trials: int | None
    hours: float | None
    gpu_hours: float | None


@dataclasses.dataclass(frozen=True)
class Summary:
    """One sweep in the storage. Trials are its own; those of other sweeps are `history` and nothing else.

    Attributes:
        running: trials marked RUNNING; nobody works on them unless there is a `holder`.
        interrupted: to be continued, or a retry to be begun.
        taken_over: of the completed and pruned ones, those that took the result of an equal trial.
        retried: trials that repeat a failed one, whatever became of them.
        history: trials of other sweeps, taken over by `warm_start`.
        best_score: of the leaderboard, on which history stands, too.
        started: when its first trial began, ISO 8601 in local time, or None.
        target_reached: by a trial of its own; None without a target.
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


def summarise(view: SweepView) -> Summary:
    """Counts, best score and what is left."""
    own = [trial for trial in view.trials if not is_history(trial, view.name)]
    states = [trial.state for trial in own]
    ranked, target = view.ranked(), view.record.target
    started = min((trial.datetime_start for trial in own if trial.datetime_start), default=None)
    holder = find_holder(view.sweep.storage.engine, view.name)
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
        history=len(view.trials) - len(own),
        run_cap=view.record.run_cap,
        best_score=ranked[0].value if ranked else None,
        started=started.astimezone().isoformat(timespec="seconds") if started else None,
        elapsed_s=view.record.elapsed_s,
        gpu_hours=view.record.gpu_s / 3600,
        left=_left(view),
        target=target,
        target_reached=None if target is None else _reached(view, target),
        holder=None if holder is not None and holder.is_dead_here() else holder,
    )


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
    """Why each failed trial failed, by number, and which trial repeats it: of several the last."""
    roots = {trial.number: root_of(trial) for trial in view.trials}
    last = {root: number for number, root in roots.items()}  # trials come by number
    reasons = {}
    for trial in view.trials:
        if trial.state == TrialState.FAIL:
            again = last[roots[trial.number]]
            repeated = f" (repeated by trial {again})" if again != trial.number else ""
            reasons[trial.number] = f"{reason(trial)}{repeated}"
    return reasons


def notes(view: SweepView) -> dict[int, list[str]]:
    """What a reader of the scores should know, by trial number."""
    return {trial.number: found for trial in view.trials if (found := records.notes(trial))}
