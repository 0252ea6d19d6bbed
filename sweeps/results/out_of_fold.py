"""The out-of-fold predictions of one trial, for those who go on with them by hand.

A worker imports `sweeps.results.oof`, and this module needs the records of the storage.

Shapes: N images that are predicted, K classes.
"""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
from optuna.trial import TrialState

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.results.ranking import trial_directory
from sweeps.results.view import SweepView
from trainer.metrics import Probs
from trainer.training.oof import Finished, read_finished, read_oof


@dataclasses.dataclass(frozen=True, eq=False)
class OutOfFold:
    """The out-of-fold predictions of a trial.

    There is a row for each image that a finished fold of the trial held out, in the order of the
    manifest. The images of folds that a pruned trial did not reach have no row, so no row is
    missing or NaN. All complete trials of a sweep have the same rows.

    Attributes:
        trial: the trial's number.
        folds: the numbers of the finished folds, ascending.
        probs_NK: the probabilities of the K classes in float32; a row sums to 1.
        labels_N: the index of the true class.
        fold_N: the fold that held the image out.
        rows_N: the rows in the manifest, with which predictions of several trials are matched.
        paths: the absolute paths of the images.
        classes: the names of the K classes.
    """

    trial: int
    folds: tuple[int, ...]
    probs_NK: Probs
    labels_N: npt.NDArray[np.int64]
    fold_N: npt.NDArray[np.int64]
    rows_N: npt.NDArray[np.int64]
    paths: tuple[str, ...]
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        return (
            f"OutOfFold(trial={self.trial}, folds={self.folds}: "
            f"{len(self.rows_N):,} images, {len(self.classes)} classes)"
        )


def out_of_fold(view: SweepView, number: int, *, runs: Path) -> OutOfFold:
    """The out-of-fold predictions of a trial, of its finished folds if it is not complete.

    Args:
        number: the trial's number.
        runs: the folder of all results.

    Raises:
        InputError: there is no such trial, or none of its folds is finished.
        DataError: a file of predictions is missing or damaged, or belongs to other folds.
    """
    trial = view.trial(number)
    folds = SweepFiles.of(runs, view.name).folds()
    directory = trial_directory(runs.resolve(), trial, sweep=view.name)
    if trial.state == TrialState.COMPLETE:
        found = Finished(read_oof(directory, folds), tuple(range(folds.k)))
    else:
        found = read_finished(directory, folds)
    if not found.folds:
        raise InputError(
            f"trial {number} of sweep {view.name!r} has no out-of-fold predictions: none of its "
            "folds is finished. The column `folds` of the trials counts those that are"
        )
    rows_N = np.flatnonzero(np.isin(folds.fold_N, found.folds))
    manifest = folds.manifest
    return OutOfFold(
        trial=number,
        folds=found.folds,
        probs_NK=found.probs_NK[rows_N],
        labels_N=manifest.labels_N[rows_N],
        fold_N=folds.fold_N[rows_N],
        rows_N=rows_N,
        paths=tuple(str(manifest.file(row)) for row in rows_N.tolist()),
        classes=manifest.classes,
    )
