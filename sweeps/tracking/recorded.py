"""What the records of a sweep hold of a trial, as trackers are told it.

The records are the storage and the folders of the fold runs. `curve.csv` has all metrics of each
epoch, but only of a finished fold run; the storage has the reported value of each epoch. So an
epoch of a fold run in progress is not in the result here before the trial is over: until then
its metrics may still come.
"""

import dataclasses
import datetime
import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeps.paths import SweepFiles, TrialFiles
from sweeps.running.events import EndState
from sweeps.space.language import read_space
from sweeps.space.spec import max_epochs
from sweeps.space.yaml_file import YamlFile
from sweeps.study.records import fold_scores, numbers, reason, took_over
from sweeps.study.stored_sweep import StoredSweep
from sweeps.tracking.tracker import End, Epoch, SweepFacts, Trial
from trainer.training.result import RESULT, read_curve

PICTURES = (".svg", ".png", ".jpg")
_ENDS = {
    TrialState.COMPLETE: EndState.COMPLETED,
    TrialState.PRUNED: EndState.PRUNED,
    TrialState.FAIL: EndState.FAILED,
    TrialState.WAITING: EndState.INTERRUPTED,
}


@dataclasses.dataclass(frozen=True)
class FoldRecord:
    """The folder of a finished fold run.

    Attributes:
        rows: the rows of its curve, one for each epoch, in order.
        score: the score of the fold.
        seconds: how long the fold run took.
        ended: when `result.json` was written, in seconds since 1970.
    """

    rows: Sequence[Mapping[str, float]]
    score: float
    seconds: float
    ended: float


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What the records hold of one trial at this moment.

    Attributes:
        epochs: the epochs of its finished folds; of a trial that is over, all its epochs. In the
            order of their steps, without a gap that could still be filled.
        finished: number of epochs of each finished fold, in the order of the folds.
        end: how the trial ended or was interrupted; None while it is in progress.
    """

    trial: Trial
    epochs: tuple[Epoch, ...]
    finished: tuple[int, ...]
    end: End | None

    @property
    def over(self) -> bool:
        """Whether the trial has ended for ever."""
        return self.end is not None and self.end.state is not EndState.INTERRUPTED


def facts_of(sweep: StoredSweep, files: SweepFiles) -> SweepFacts:
    """What trackers know of a stored sweep from the start."""
    raw = YamlFile(files.spec).values
    space, _ = read_space(sweep.spec["parameters"])
    return SweepFacts(
        name=sweep.name,
        uuid=sweep.uuid,
        description=str(raw.get("description") or ""),
        metric=str(sweep.spec["metric"]["name"]),
        goal=str(sweep.spec["metric"]["goal"]),
        k=int(sweep.spec["folds"]["k"]),
        max_epochs=max_epochs(space),
        directory=files.directory,
        spec=raw,
    )


def read_recorded(trial: FrozenTrial, facts: SweepFacts) -> Recorded | None:
    """What the records hold of a stored trial.

    Returns:
        None if the trial was never trained: it has not begun yet, or it took over the result of
        another trial.
    """
    if took_over(trial):
        return None
    files = SweepFiles(facts.directory).trial(trial.number)
    config = _config(files)
    # Its worker is about to write the configuration; or the trial waits in the storage, because it
    # is to repeat or to finish another one.
    begun = config or trial.intermediate_values or trial.state.is_finished()
    if not begun:
        return None
    folds = list(_finished_folds(files, facts))
    return recorded(trial, folds, config, pictures=_pictures(files), facts=facts)


def recorded(
    trial: FrozenTrial,
    folds: Sequence[FoldRecord],
    config: Mapping[str, Any],
    *,
    pictures: Mapping[str, Path],
    facts: SweepFacts,
) -> Recorded:
    """Put together what the storage and the folders say of a trial, see `read_recorded`.

    Args:
        folds: the finished folds, from the first one without a gap.
    """
    values = trial.intermediate_values
    scores = fold_scores(trial) or tuple(fold.score for fold in folds)
    epochs = list(_of_folds(folds, values, facts))
    state = _ENDS.get(trial.state)
    end = None
    if state is not None:
        started = _seconds(trial.datetime_start) or 0.0
        time = _seconds(trial.datetime_complete) or max([started, *(f.ended for f in folds)])
        end = _end(trial, state, scores, folds, pictures, time)
        if state is not EndState.INTERRUPTED:
            missing = values.keys() - {epoch.step for epoch in epochs}
            epochs += _of_reports({step: values[step] for step in missing}, scores, time, facts)
    return Recorded(
        Trial(trial.number, dict(trial.params), config, _seconds(trial.datetime_start)),
        tuple(sorted(epochs, key=lambda epoch: epoch.step)),
        tuple(len(fold.rows) for fold in folds),
        end,
    )


def _of_folds(
    folds: Sequence[FoldRecord], values: Mapping[int, float], facts: SweepFacts
) -> Iterator[Epoch]:
    """The epochs of the finished folds.

    A row of a curve has no time of its own: it follows from the end of the fold run and the
    seconds that the later epochs took.

    Args:
        values: the reported values, by step. A value may be missing while the trial is in
            progress, because the recorder writes behind the driver. Then it is computed as the
            worker computed it.
    """
    for number, fold in enumerate(folds):
        before = [earlier.score for earlier in folds[:number]]
        later_s = math.fsum(row.get("seconds", 0.0) for row in fold.rows)
        for row in fold.rows:
            metrics = {name: value for name, value in row.items() if name != "epoch"}
            later_s -= metrics.get("seconds", 0.0)
            epoch = int(row["epoch"])
            step = number * facts.max_epochs + epoch
            value = (
                values[step]
                if step in values
                else statistics.fmean([*before, metrics[facts.field]])
            )
            yield Epoch(number, epoch, step, fold.ended - max(0.0, later_s), value, metrics)


def _of_reports(
    values: Mapping[int, float], scores: Sequence[float], time: float, facts: SweepFacts
) -> Iterator[Epoch]:
    """The epochs of a fold run that never finished, from the reports that the storage has.

    The running mean is the mean over the finished folds and the epoch's own value. So the own value
    follows from it, up to rounding.

    Args:
        scores: the scores of the finished folds.
        time: when the trial ended; the storage does not say when a report came.
    """
    for step, value in values.items():
        fold, epoch = divmod(step - 1, facts.max_epochs)
        own = value * (fold + 1) - math.fsum(scores[:fold])
        metrics = {facts.field: own} if len(scores) >= fold else {}
        yield Epoch(fold, epoch + 1, step, time, value, metrics)


def _end(
    trial: FrozenTrial,
    state: EndState,
    scores: Sequence[float],
    folds: Sequence[FoldRecord],
    pictures: Mapping[str, Path],
    time: float,
) -> End:
    summary = {f"fold-{fold}/score": score for fold, score in enumerate(scores)}
    if folds:
        summary["seconds"] = math.fsum(fold.seconds for fold in folds)
    if state is EndState.COMPLETED and len(scores) > 1:
        summary["std"] = statistics.stdev(scores)
    summary |= numbers(trial)
    score = trial.value if state is EndState.COMPLETED else None
    return End(state, score, reason(trial), summary, pictures, time)


def _finished_folds(files: TrialFiles, facts: SweepFacts) -> Iterator[FoldRecord]:
    """The finished folds of a trial, from the first one up to the first that is not finished."""
    for fold in range(facts.k):
        directory = files.fold(fold)
        try:
            path = directory / RESULT
            result = json.loads(path.read_text())
            yield FoldRecord(
                rows=read_curve(directory),
                score=float(result["metrics"][facts.field]),
                seconds=float(result["seconds"]),
                ended=path.stat().st_mtime,
            )
        # not finished, or another process trains the fold again at this moment
        except (OSError, ValueError, KeyError, TypeError):
            return


def _config(files: TrialFiles) -> dict[str, Any]:
    """The configuration of a trial; empty if no worker has begun it, or none could."""
    try:
        values: dict[str, Any] = json.loads(files.config.read_text())
    except (OSError, ValueError):
        return {}
    return values


def _pictures(files: TrialFiles) -> dict[str, Path]:
    """The pictures in a trial's directory, by their names without the suffix."""
    paths: Iterable[Path] = files.directory.iterdir() if files.directory.is_dir() else ()
    return {path.stem: path for path in sorted(paths) if path.suffix in PICTURES}


def _seconds(moment: datetime.datetime | None) -> float | None:
    """Seconds since 1970 of a moment in Optuna's storage, which is in local time."""
    return None if moment is None else moment.timestamp()
