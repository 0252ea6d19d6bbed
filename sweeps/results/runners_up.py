"""Which pruned trials would help the ensemble most if they were finished.

The fold race keeps the trials that may win. An ensemble also wants trials that are a little worse
and make other mistakes. A pruned trial shows on its finished folds whether it is one of them.

Shapes: N images that are scored, K classes, R images of a trial's finished folds.
"""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from optuna.trial import FrozenTrial

from sweeps.paths import SweepFiles
from sweeps.results.calibrating import calibrate
from sweeps.results.candidates import Candidates, find_candidates
from sweeps.results.ensemble import Library, fit_ensemble, predict
from sweeps.results.ranking import trial_directory
from sweeps.results.sweep_metric import metric_of
from sweeps.results.view import SweepView
from sweeps.study.records import fold_scores
from trainer.errors import DataError
from trainer.metrics import Probs
from trainer.prediction.calibration import Calibration
from trainer.prediction.decision import Decision
from trainer.training.oof import read_finished

logger = logging.getLogger(__name__)

# the weights with which a pruned trial is mixed into the ensemble; the best of them counts
SHARES = (0.1, 0.2, 0.35)
SMALLEST = np.finfo(np.float32).tiny


@dataclasses.dataclass(frozen=True, eq=False)
class RunnerUp:
    """A pruned trial with its predictions.

    Attributes:
        probs_NK: NaN in the rows of the folds that are not finished.
    """

    number: int
    probs_NK: Probs


def find_runners_up(
    view: SweepView, pruned: Sequence[FrozenTrial], *, runs: Path, most: int
) -> list[int]:
    """Return the numbers of at most `most` pruned trials that help the ensemble, the best first.

    A trial whose files are damaged is left out, with a warning. Without a complete trial there is
    no ensemble, and no trial helps.

    Args:
        pruned: the trials to choose from; each has finished folds.

    Raises:
        TrainerError: the folds file is damaged, or a user's metric fails.
    """
    candidates = find_candidates([view], runs=runs)
    if not candidates.trials:
        return []
    metric = metric_of(view, SweepFiles.of(runs, view.name), candidates.folds)
    library = candidates.library
    # The mean of the calibrated members, by which they were chosen. Calibrated once more, it would
    # be surer than any single trial, and only worse for mixing one in.
    mixture = dataclasses.replace(
        fit_ensemble(library, metric=metric), calibration=Calibration(), decision=Decision()
    )
    ensemble_NK = predict(library, mixture).probs_NK
    read = _read(view, pruned, candidates, runs=runs)
    return best_by_gain(library, ensemble_NK, read, most=most)


def best_by_gain(
    library: Library, ensemble_NK: Probs, runners_up: Iterable[RunnerUp], *, most: int
) -> list[int]:
    """Return the numbers of the trials with the largest gains above 0, the largest first.

    Of equal gains, the lower number comes first.

    Args:
        library: has the labels, groups and label columns of the N images.
        ensemble_NK: the mean of the calibrated members of the present ensemble.
    """
    truth = library.trials([])  # predictions of its trials would be copied in vain
    gains = ((log_loss_gain(truth, ensemble_NK, one.probs_NK), one.number) for one in runners_up)
    best_first = sorted((-gain, number) for gain, number in gains if gain > 0)
    return [number for _, number in best_first[:most]]


def log_loss_gain(truth: Library, ensemble_NK: Probs, probs_NK: Probs) -> float:
    """By how much a trial lowers the ensemble's mean log loss at the best of the SHARES.

    Only the images that the trial has predictions for count. The trial is calibrated on them.

    Args:
        truth: has the labels, groups and label columns of the N images.
        probs_NK: predictions of the trial; NaN in the rows of the folds that are not finished.

    Returns:
        The gain in units of log loss; below 0 if the trial helps at no share. It is 0 for a trial
        without predictions.
    """
    rows = np.flatnonzero(np.isfinite(probs_NK).all(axis=1))
    if not len(rows):
        return 0.0
    part = truth.rows(rows)
    calibration = calibrate(
        probs_NK[rows], part.labels_N, groups_N=part.groups_N, columns=part.columns
    )
    own_R = np.arange(len(rows))
    trial_R = calibration.of(probs_NK[rows])[own_R, part.labels_N].astype(np.float64)
    ensemble_R = ensemble_NK[rows, part.labels_N].astype(np.float64)

    def loss(right_R: npt.NDArray[np.float64]) -> float:
        return float(-np.log(np.maximum(right_R, SMALLEST)).mean())

    mixed = (loss((1 - share) * ensemble_R + share * trial_R) for share in SHARES)
    return loss(ensemble_R) - min(mixed)


def _read(
    view: SweepView, pruned: Sequence[FrozenTrial], candidates: Candidates, *, runs: Path
) -> Iterator[RunnerUp]:
    """Read the predictions of one trial after another: a sweep may have a thousand of them."""
    for trial in pruned:
        directory = trial_directory(runs.resolve(), trial, sweep=view.name)
        try:
            found = read_finished(directory, candidates.folds)
            if len(found.folds) != (scored := len(fold_scores(trial))):
                raise DataError(
                    f"{directory}: {len(found.folds)} folds are finished, and the storage has the "
                    f"scores of {scored}"
                )
        except DataError as error:
            logger.warning("trial %d cannot be finished for the ensemble: %s", trial.number, error)
            continue
        yield RunnerUp(trial.number, found.probs_NK[candidates.rows])
