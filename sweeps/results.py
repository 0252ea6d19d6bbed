"""What a stored sweep says: counts, and its completed trials best first. Reads only."""

import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InputError, did_you_mean
from sweeps.lease import Holder, find_holder
from sweeps.messages import CODE_FOLDER
from sweeps.oof import Score, oof_score
from sweeps.prepare import SweepFiles
from sweeps.space import Categorical, Space, read_space
from sweeps.spec import METRIC_NAMES, own_metric, result_field
from sweeps.study import CAP, DRIVEN, FOLD_SCORES, NOTES, REASON, SWEEP, StoredSweep
from trainer.data.folds import Folds
from trainer.metrics import score_fold


@dataclasses.dataclass(frozen=True)
class Summary:
    """One sweep in the storage.

    Attributes:
        running: trials marked RUNNING; nobody works on them unless there is a `holder`.
        started: when its first trial began, ISO 8601 in local time, or None.
    """

    sweep: str
    metric: str
    goal: str
    completed: int
    pruned: int
    failed: int
    running: int
    interrupted: int
    run_cap: int | None
    best_score: float | None
    started: str | None
    elapsed_s: float
    holder: Holder | None


def names(storage: RDBStorage) -> list[str]:
    """Names of the stored sweeps, the one driven last at the end."""
    ours = [study for study in storage.get_all_studies() if SWEEP in study.user_attrs]
    return [study.study_name for study in sorted(ours, key=lambda study: study.user_attrs.get(DRIVEN, 0.0))]


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


def summarise(sweep: StoredSweep) -> Summary:
    """Counts and best score of a sweep."""
    trials = sweep.trials()
    count = {state: sum(trial.state == state for trial in trials) for state in TrialState}
    goal = _goal(sweep)
    ranked = rank(trials, goal=goal)
    holder = find_holder(sweep.storage.engine, sweep.name)
    started = min((trial.datetime_start for trial in trials if trial.datetime_start), default=None)
    return Summary(
        sweep=sweep.name,
        metric=_metric(sweep),
        goal=goal,
        completed=count[TrialState.COMPLETE],
        pruned=count[TrialState.PRUNED],
        failed=count[TrialState.FAIL],
        running=count[TrialState.RUNNING],
        interrupted=count[TrialState.WAITING],
        run_cap=sweep.storage.get_study_user_attrs(sweep.study_id).get(CAP),
        best_score=ranked[0].value if ranked else None,
        started=started.astimezone().isoformat(timespec="seconds") if started else None,
        elapsed_s=sweep.elapsed_s(),
        holder=None if holder is not None and holder.is_dead_here() else holder,
    )


def rank(trials: list[FrozenTrial], *, goal: str) -> list[FrozenTrial]:
    """The completed trials, best first; ties go to the lower number."""
    sign = -1 if goal == "maximize" else 1
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(done, key=lambda trial: (sign * trial.values[0], trial.number))


def best(sweep: StoredSweep, *, runs: Path, topk: int) -> dict[str, Any]:
    """The sweep's best trials, in the form that `sweeps best --json` prints."""
    summary, files = summarise(sweep), SweepFiles.of(runs, sweep.name)
    chosen = rank(sweep.trials(), goal=summary.goal)[:topk]
    folds = files.folds() if chosen else None
    score = _scorer(summary.metric, files, folds)
    space, _ = read_space(sweep.spec["parameters"])
    rows = []
    for trial in chosen:
        directory = files.directory / f"trial-{trial.number:04d}"
        fold_scores = trial.user_attrs[FOLD_SCORES]
        assert folds is not None
        rows.append(
            {
                "number": trial.number,
                "score": trial.values[0],
                "fold_scores": fold_scores,
                "std": statistics.stdev(fold_scores) if len(fold_scores) > 1 else None,
                "oof_score": oof_score(directory, folds, score=score),
                "params": _values(space, trial.params),
                "directory": str(runs / sweep.name / directory.name),
            }
        )
    return {
        "sweep": summary.sweep,
        "metric": summary.metric,
        "goal": summary.goal,
        "completed": summary.completed,
        "pruned": summary.pruned,
        "failed": summary.failed,
        "trials": rows,
        "ensemble": None,
    }


def failures(sweep: StoredSweep) -> dict[int, str]:
    """Why each failed trial failed, by number."""
    return {t.number: str(t.user_attrs.get(REASON, "")) for t in sweep.trials() if t.state == TrialState.FAIL}


def notes(sweep: StoredSweep) -> dict[int, list[str]]:
    """What a reader of the scores should know, by trial number."""
    return {t.number: t.user_attrs[NOTES] for t in sweep.trials() if NOTES in t.user_attrs}


def _values(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Stored labels as the values they stand for: lists and mappings are stored as text."""
    domains = {name: space[name].domain for name in params}
    return {
        name: domain.value_of(params[name]) if isinstance(domain, Categorical) else params[name]
        for name, domain in domains.items()
    }


def _scorer(metric: str, files: SweepFiles, folds: Folds | None) -> Score:
    """The sweep's metric over any set of predictions; `valid/loss` as log loss, since each trial has its own loss."""
    own = own_metric(metric)
    if own is None or folds is None:
        name = {"loss": "log_loss"}.get(result_field(metric), result_field(metric))
        return lambda probs_NK, labels_N: score_fold(probs_NK, labels_N)[name]
    from trainer.user_code import call_metric, load_own

    function, classes = load_own(own, files.directory / CODE_FOLDER), folds.manifest.classes
    return lambda probs_NK, labels_N: call_metric(function, probs_NK, labels_N, classes, reference=own)


def _metric(sweep: StoredSweep) -> str:
    name = str(sweep.spec["metric"]["name"])
    assert name in METRIC_NAMES or own_metric(name)
    return name


def _goal(sweep: StoredSweep) -> str:
    direction = sweep.storage.get_study_directions(sweep.study_id)[0]
    return "maximize" if direction == StudyDirection.MAXIMIZE else "minimize"
