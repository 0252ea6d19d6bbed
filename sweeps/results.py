"""What a stored sweep says: counts, what is left, and its complete trials best first. Reads only."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from sweeps import records
from sweeps.errors import InputError, did_you_mean
from sweeps.language import read_space
from sweeps.lease import Holder, find_holder
from sweeps.oof import Score, oof_score
from sweeps.paths import SweepFiles
from sweeps.ranking import rank, trial_directory
from sweeps.records import (
    FORMAT,
    SweepRecord,
    counts,
    fold_scores,
    is_history,
    is_repeat,
    is_retry,
    origin,
    reason,
    root_of,
)
from sweeps.space import Categorical, Space
from sweeps.spec import METRIC_NAMES, own_metric, result_field
from sweeps.study import StoredSweep
from trainer.data.folds import Folds
from trainer.metrics import Goal, score_fold


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


@dataclasses.dataclass(frozen=True)
class SweepView:
    """A stored sweep as it was when it was read; a command reads it once, which takes longer than all the rest.

    Attributes:
        trials: all, by number.
        record: what is stored about the sweep as a whole.
    """

    sweep: StoredSweep
    trials: Sequence[FrozenTrial]
    record: SweepRecord
    goal: Goal

    @classmethod
    def read(cls, sweep: StoredSweep) -> "SweepView":
        """Read it now."""
        return cls(sweep, sweep.trials(), sweep.record(), sweep.goal())

    @property
    def name(self) -> str:
        """The sweep's."""
        return self.sweep.name

    @property
    def metric(self) -> str:
        """As the search space names it."""
        name = str(self.sweep.spec["metric"]["name"])
        assert name in METRIC_NAMES or own_metric(name)
        return name

    def ranked(self) -> list[FrozenTrial]:
        """Its leaderboard."""
        return rank(self.trials, goal=self.goal, sweep=self.name)


def names(storage: RDBStorage) -> list[str]:
    """Names of the stored sweeps, the one driven last at the end."""
    found = {study.study_name: SweepRecord.of(study.user_attrs) for study in storage.get_all_studies()}
    ours = [name for name, record in found.items() if record.identity]
    return sorted(ours, key=lambda name: found[name].driven)


def newer(storage: RDBStorage) -> list[str]:
    """Names of the sweeps that a newer version of ours stored, which this one cannot read."""
    return [s.study_name for s in storage.get_all_studies() if SweepRecord.of(s.user_attrs).format > FORMAT]


def find_sweep(storage: RDBStorage, name: str | None) -> StoredSweep:
    """The sweep of that name (or the name of its YAML file's sweep), or the latest.

    Raises:
        InputError: there is none.
    """
    known = names(storage)
    if not known:
        raise InputError("no sweeps in this storage yet. `sweeps run SPACE` starts one; --storage names another place")
    if name is None:
        name = known[-1]
    sweep = StoredSweep.find(storage, name) if name in known else None
    if sweep is None:
        raise InputError(f"no sweep {name!r} in this storage.{did_you_mean(name, known)} `sweeps list` shows them")
    return sweep


def sweep_files(sweep: StoredSweep, *, runs: Path) -> SweepFiles:
    """The sweep's directory.

    Raises:
        InputError: it is not there, or is another sweep's of that name.
    """
    files = SweepFiles.of(runs, sweep.name)
    identity = files.identity()
    if identity != sweep.uuid:
        what = "has no files of it" if identity is None else "belongs to another sweep of that name"
        raise InputError(
            f"sweep {sweep.name!r} is in the storage, but {files.directory} {what}. "
            "Give the --runs folder it was started with"
        )
    return files


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


def best(view: SweepView, *, runs: Path, topk: int) -> dict[str, Any]:
    """The sweep's best trials, in the form that `sweeps best --json` prints."""
    summary, scores = summarise(view), _OOFScores(view, runs)
    space, _ = read_space(view.sweep.spec["parameters"])
    return {
        "sweep": summary.sweep,
        "metric": summary.metric,
        "goal": summary.goal,
        "completed": summary.completed,
        "pruned": summary.pruned,
        "failed": summary.failed,
        "taken_over": summary.taken_over,
        "history": summary.history,
        "trials": [_row(view, trial, space, runs=runs, scores=scores) for trial in view.ranked()[:topk]],
        "ensemble": None,
    }


def _row(view: SweepView, trial: FrozenTrial, space: Space, *, runs: Path, scores: "_OOFScores") -> dict[str, Any]:
    scored, source = fold_scores(trial), origin(trial, sweep=view.name)
    return {
        "number": trial.number,
        "score": trial.values[0],
        "fold_scores": list(scored),
        "std": statistics.stdev(scored) if len(scored) > 1 else None,
        "oof_score": scores.of(trial),
        "params": _values(space, trial.params),
        "directory": str(trial_directory(runs, trial, sweep=view.name)),
        "taken_from": {"sweep": source.sweep, "trial": source.number} if is_history(trial, view.name) else None,
    }


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


def _values(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Stored labels as the values they stand for: lists and mappings are stored as text."""
    domains = {name: space[name].domain for name in params}
    return {
        name: domain.value_of(params[name]) if isinstance(domain, Categorical) else params[name]
        for name, domain in domains.items()
    }


class _OOFScores:
    """The sweep's metric over all predictions of a trial at once; folds and metric are loaded with the first."""

    def __init__(self, view: SweepView, runs: Path) -> None:
        self._view, self._runs, self._files = view, runs, SweepFiles.of(runs, view.name)
        self._folds: Folds | None = None
        self._score: Score

    def of(self, trial: FrozenTrial) -> float | None:
        """The score; None where another sweep's files are gone.

        Raises:
            InputError: files of this sweep are missing or damaged.
        """
        if self._folds is None:
            self._folds = self._files.folds()  # those of sweeps in the history are the same
            self._score = _scorer(self._view.metric, self._files, self._folds)
        directory = trial_directory(self._runs.resolve(), trial, sweep=self._view.name)
        if is_history(trial, self._view.name) and not directory.is_dir():
            return None
        return oof_score(directory, self._folds, score=self._score)


def _scorer(metric: str, files: SweepFiles, folds: Folds) -> Score:
    """The sweep's metric over any set of predictions; `valid/loss` as log loss, since each trial has its own loss."""
    own = own_metric(metric)
    if own is None:
        name = {"loss": "log_loss"}.get(result_field(metric), result_field(metric))
        return lambda probs_NK, labels_N: score_fold(probs_NK, labels_N)[name]
    from trainer.user_code import call_metric, load_own

    function, classes = load_own(own, files.code), folds.manifest.classes
    return lambda probs_NK, labels_N: call_metric(function, probs_NK, labels_N, classes, reference=own)
