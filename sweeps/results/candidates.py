"""The candidates for an ensemble: complete trials of one or several sweeps with the same folds.

This module only reads.

Shapes: N images that are scored, K classes.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.results.calibrating import Ints
from sweeps.results.ensemble import Library
from sweeps.results.foreign import Foreign
from sweeps.results.ranking import trial_directory
from sweeps.results.view import SweepView
from sweeps.study.records import origin
from trainer.data.folds import Folds
from trainer.errors import DataError
from trainer.files import fold_directories
from trainer.images.manifest import Manifest
from trainer.prediction.classes import Classes
from trainer.training.oof import read_oof
from trainer.training.result import WEIGHTS, FoldResult, read_results

# The best trials by score of each sweep. Out-of-fold probabilities of 18,900 images and 18 classes
# take 1.4 MB per trial; in memory they stay below MOST_BYTES.
MOST_TRIALS = 300
MOST_BYTES = 1_500_000_000


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A complete trial whose out-of-fold predictions are whole, or a file of foreign predictions.

    Attributes:
        name: the directory below the runs folder, or the file's name.
        sweep, number: the trial as its leaderboard shows it; None for foreign predictions.
        directory: the directory of the trial that was trained; None for foreign predictions.
        results: the results of the trial's fold runs; empty for foreign predictions.
        predicts: whether it can predict new images: weights of a fold model are left. Foreign
            predictions have their own.
    """

    name: str
    sweep: str | None
    number: int | None
    directory: Path | None
    results: Sequence[FoldResult]
    predicts: bool = True

    @property
    def seconds(self) -> float:
        """The time that the trial's fold runs took, 0 for foreign predictions."""
        return sum(result.seconds for result in self.results)


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """The candidates and their predictions.

    Attributes:
        library: the predictions, in the order of `trials`.
        rows: the manifest rows of the N images, which are those of the library.
        left_out: one line for each complete trial that is not a candidate, with the reason.
    """

    folds: Folds
    rows: Ints
    library: Library
    trials: Sequence[Candidate]
    left_out: Sequence[str]


def find_candidates(
    views: Sequence[SweepView], *, runs: Path, foreign: Sequence[Foreign] = ()
) -> Candidates:
    """Read the predictions of all complete trials of sweeps with the same folds.

    A trial whose files are missing or damaged is left out; the others go on. Of more than
    MOST_TRIALS trials of a sweep, only the best are read.

    Args:
        views: the sweeps; the first one decides the folds.

    Raises:
        InputError: a sweep has other folds, or foreign predictions do not fit them.
    """
    folds = SweepFiles.of(runs, views[0].name).folds()
    for view in views[1:]:
        other = SweepFiles.of(runs, view.name).folds()
        if other.hash != folds.hash:
            raise InputError(
                f"--from {view.name}: its folds ({other.hash}) are not those of "
                f"{views[0].name} ({folds.hash}), so an image that one sweep held out was trained "
                "on in the other. Only sweeps with the same data and folds can be mixed; set "
                f"folds.file to {SweepFiles.of(runs, views[0].name).folds_file} in a new sweep"
            )
    rows = folds.scored_rows()
    bytes_each = 4 * len(rows) * len(folds.manifest.classes)
    most = max(1, min(MOST_TRIALS, MOST_BYTES // bytes_each // len(views)))
    trials: dict[str, Candidate] = {}
    probs = {}
    left_out = []
    for view in views:
        ranked = view.ranked()
        if len(ranked) > most:
            left_out.append(f"{view.name}: only its best {most} of {len(ranked)} trials are read")
        for trial in ranked[:most]:
            name = _name(view, trial)
            if name in trials:  # history that another of the sweeps has as its own
                continue
            directory = trial_directory(runs.resolve(), trial, sweep=view.name)
            try:
                probs[name] = read_oof(directory, folds)[rows]
                results = read_results(directory, folds)
            except DataError as error:
                left_out.append(f"trial {trial.number} of {view.name} is left out: {error}")
                continue
            trials[name] = Candidate(
                name,
                view.name,
                trial.number,
                directory,
                results,
                predicts=any((fold / WEIGHTS).is_file() for fold in fold_directories(directory)),
            )
    for file in foreign:
        probs[file.name] = file.probs_for(folds)[rows]
        trials[file.name] = Candidate(file.name, None, None, None, ())
    manifest = folds.manifest
    library = Library(
        list(trials),
        [probs[name] for name in trials],
        manifest.labels_N[rows],
        group_numbers(manifest, rows),
        [column.value_of_K for column in Classes.of(manifest).label_columns],
        [trial.seconds for trial in trials.values()],
    )
    return Candidates(folds, rows, library, list(trials.values()), left_out)


def group_numbers(manifest: Manifest, rows: Ints) -> Ints | None:
    """Return the group of each of these rows as a number from 0; None without groups."""
    if manifest.groups is None:
        return None
    numbers_N: Ints = np.unique(np.array(manifest.groups)[rows], return_inverse=True)[1]
    return numbers_N


def _name(view: SweepView, trial: FrozenTrial) -> str:
    source = origin(trial, sweep=view.name)
    return f"{source.sweep}/{SweepFiles(Path()).trial(source.number).directory.name}"
