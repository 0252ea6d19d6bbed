"""`sweeps export`: a sweep as tidy tables of its trials, fold runs and epochs, in files.

A table has one row for each thing and one column for each fact. What is not known is an empty cell.
All trials are there, pruned and failed ones included.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.results.view import SweepView
from sweeps.search.distributions import value_of
from sweeps.space.language import read_space
from sweeps.space.parameters import Space
from sweeps.space.spec import max_epochs
from sweeps.study import records
from trainer.files import atomic_write, csv_bytes
from trainer.training.result import RESULT, read_curve

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
STATES = {
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "interrupted",
}
# keys of `result.json` that a row of the folds has
OF_RESULT = ("epochs", "scored_epoch", "biased", "seconds", "accumulation", "device", "threads")
CSV = (".csv",)
PARQUET = (".parquet", ".pq")


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows and the names of their columns, in order."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, columns: Iterable[str], rows: Sequence[Row]) -> "Table":
        """Make a table; a column that only rows have comes after the given columns.

        Example:
            >>> Table.of(["trial", "score"], [{"trial": 0, "lr": 0.1}]).columns
            ('trial', 'score', 'lr')
        """
        known = dict.fromkeys(columns)
        known.update(dict.fromkeys(name for row in rows for name in row))
        return cls(tuple(known), tuple(rows))


def trials_table(view: SweepView) -> Table:
    """One row for each trial: its state, its scores, its times, and its parameters.

    `score` is the score of a completed trial. `value` is the last value that the trial reported,
    the mean over the folds up to then. `repeats`, `retries` and `finishes` are numbers of other
    trials, see `sweeps.study.records`; `of_sweep` and `of_trial` name the trained trial of a result
    that was taken over. A parameter has a column with its name, and no value where it is not used.
    """
    space, _ = read_space(view.sweep.spec["parameters"])
    names = [parameter.name for parameter in space.varying()]
    columns = (
        *("trial", "state", "score", "value", "folds"),
        *(records.STD, records.WORST_FOLD, records.OOF_SCORE),
        *(records.SECONDS, records.IMAGES_PER_S, records.PARAMETERS),
        *("reason", "started", "ended", "of_sweep", "of_trial", "retries", "finishes"),
    )
    return Table.of([*columns, *names], [_trial(view, trial, space) for trial in view.trials])


def _trial(view: SweepView, trial: FrozenTrial, space: Space) -> Row:
    source = records.origin(trial, sweep=view.name) if records.took_over(trial) else None
    scores = records.fold_scores(trial)
    root = records.root_of(trial)
    reported = trial.last_step is not None
    row: Row = {
        "trial": trial.number,
        "state": STATES[trial.state],
        "score": trial.values[0] if trial.state == TrialState.COMPLETE else None,
        "value": trial.intermediate_values[trial.last_step] if reported else None,  # type: ignore[index]
        "folds": len(scores),
        "reason": records.reason(trial) or None,
        "started": _time(trial.datetime_start),
        "ended": _time(trial.datetime_complete),
        "of_sweep": None if source is None else source.sweep,
        "of_trial": None if source is None else source.number,
        "retries": root if records.is_retry(trial) else None,
        "finishes": records.finish_of(trial),
    }
    # the spread is known of trials from before 2026-11-28, too
    if trial.state == TrialState.COMPLETE and scores:
        row |= records.spread(scores, goal=view.goal)
    params = {name: value_of(space[name], label) for name, label in trial.params.items()}
    return row | records.numbers(trial) | params


def _time(moment: Any) -> str | None:
    return None if moment is None else moment.astimezone().isoformat(timespec="seconds")


def folds_table(view: SweepView, files: SweepFiles) -> Table:
    """One row for each finished fold run of the sweep's own trials, with all its metrics.

    `score` is the sweep's metric. What only the files of the fold run say is empty where they are
    missing. Results that were taken over are left out: no fold run made them.
    """
    columns = ("trial", "fold", "score", *OF_RESULT)
    rows = [
        row for trial in view.trials if not records.took_over(trial) for row in _folds(trial, files)
    ]
    return Table.of(columns, rows)


def _folds(trial: FrozenTrial, files: SweepFiles) -> Iterable[Row]:
    scores = records.fold_scores(trial)
    directories = {_number(path): path for path in files.trial(trial.number).folds()}
    for fold in sorted({*range(len(scores)), *directories}):
        result = _result(directories[fold] / RESULT) if fold in directories else {}
        if fold < len(scores) or result:
            score = scores[fold] if fold < len(scores) else None
            known = {key: result[key] for key in OF_RESULT if key in result}
            metrics = result.get("metrics", {})
            yield {"trial": trial.number, "fold": fold, "score": score, **known, **metrics}


def epochs_table(view: SweepView, files: SweepFiles) -> Table:
    """One row for each epoch that a trial reported, or that a finished fold run trained.

    `value` is what was reported: the mean over the scores of the finished folds and the value of
    this epoch. The metrics are known of finished fold runs only. Epochs count from 1. Results that
    were taken over are left out.
    """
    space, _ = read_space(view.sweep.spec["parameters"])
    most = max_epochs(space)
    rows = [
        row
        for trial in view.trials
        if not records.took_over(trial)
        for row in _epochs(trial, files, max_epochs=most)
    ]
    return Table.of(("trial", "fold", "epoch", "value"), rows)


def _epochs(trial: FrozenTrial, files: SweepFiles, *, max_epochs: int) -> Iterable[Row]:
    found: dict[tuple[int, int], Row] = {}
    for step, value in trial.intermediate_values.items():
        fold, epoch = divmod(step - 1, max_epochs)
        found[fold, epoch + 1] = {"value": value}
    for directory in files.trial(trial.number).folds():
        for line in _curve(directory):
            at = (_number(directory), int(line.pop("epoch")))
            found[at] = {**found.get(at, {}), **line}
    for (fold, epoch), row in sorted(found.items()):
        yield {"trial": trial.number, "fold": fold, "epoch": epoch, **row}


def _number(directory: Path) -> int:
    return int(directory.name.rpartition("-")[2])


def _result(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):  # the fold run is unfinished, or its file is damaged
        return {}
    return content if isinstance(content, dict) else {}


def _curve(directory: Path) -> list[dict[str, float]]:
    # an unfinished fold run may have the curve of an earlier configuration
    if not (directory / RESULT).is_file():
        return []
    try:
        return read_curve(directory)
    except (OSError, ValueError, TypeError):
        return []


def frame_of(table: Table) -> "pd.DataFrame":
    """The table as a data frame; the Parquet file of the table reads as the same one.

    A column has one type, with a value for what is missing. Values of several types, such as the
    sizes 128 and "280x210" of `resize`, become texts; a list or a mapping becomes JSON.
    """
    import pandas as pd  # this takes 0.4 s, which a CSV file does not need

    frame = pd.DataFrame(_cells(table), columns=list(table.columns)).convert_dtypes()
    for name in frame.columns:
        if frame[name].dtype == object:
            frame[name] = frame[name].map(str, na_action="ignore").astype("string")
    return frame


def write_tables(tables: Mapping[Path, Callable[[], Table]]) -> dict[Path, int]:
    """Write tables as CSV or Parquet files, by the suffix. Each file is whole or absent.

    Args:
        tables: the file of each table, and a function that makes the table.

    Returns:
        The number of rows in each file.

    Raises:
        InputError: a suffix is unknown (then nothing is written), or a file cannot be written.
    """
    for path in tables:
        if path.suffix.lower() not in (*CSV, *PARQUET):
            raise InputError(
                f"{path}: expected a file that ends with {', '.join((*CSV, *PARQUET))}"
            )
    counts = {}
    for path, make in tables.items():
        table = make()
        try:
            with atomic_write(path) as file:
                file.write(_bytes(table, parquet=path.suffix.lower() in PARQUET))
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}). Choose another file"
            ) from None
        counts[path] = len(table.rows)
    return counts


def _bytes(table: Table, *, parquet: bool) -> bytes:
    if parquet:
        return frame_of(table).to_parquet(index=False)
    return csv_bytes(table.columns, _cells(table))


def _cells(table: Table) -> list[list[Any]]:
    return [[_plain(row.get(name)) for name in table.columns] for row in table.rows]


def _plain(value: Any) -> Any:
    """The value as one cell of a table: a list or a mapping becomes JSON."""
    return json.dumps(value, sort_keys=True) if isinstance(value, list | tuple | dict) else value
