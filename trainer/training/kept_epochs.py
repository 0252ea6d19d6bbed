"""Epochs that may yet score a fold: weights and probabilities of each, in the fold run's directory.

A fold that is scored by its last epoch keeps none. `fold_best` keeps those that were the best so far, and of these at
each checkpoint only the last. `best` keeps all, until all folds are done and one common epoch is chosen; that is K
times `epochs` times the weights for as long as a trial lasts.
"""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from trainer.data.folds import Folds
from trainer.files import atomic_write, fold_directory
from trainer.images.images import Rows
from trainer.learning.curve import best_epoch
from trainer.metrics import Goal, Probs
from trainer.model.checkpoint import save_weights
from trainer.training.oof import OOF, read_probs, write_oof
from trainer.training.result import (
    CHECKPOINT,
    WEIGHTS,
    FoldResult,
    details,
    read_curve,
    write_result,
)

FOLDER, GONE = "epochs", ".epochs.gone"


class KeptEpochs:
    """The kept epochs of one fold run."""

    def __init__(self, directory: Path) -> None:
        self._fold, self._directory = directory, directory / FOLDER

    def keep(self, epoch: int, network: nn.Module, *, rows_N: Rows, probs_NK: Probs) -> None:
        """Write an epoch; one of the same number is replaced."""
        save_weights(self._weights(epoch), network)
        write_oof(self._oof(epoch), rows_N, probs_NK)

    def keep_only(self, epoch: int) -> None:
        """Remove all but one."""
        for path in self._directory.glob("*"):
            if path not in (self._weights(epoch), self._oof(epoch)):
                path.unlink()

    def probs(self, epoch: int) -> Probs:
        """The probabilities of an epoch."""
        return read_probs(self._oof(epoch))

    def adopt(self, epoch: int) -> None:
        """Make an epoch the one that the fold run leaves; it stays kept until `discard`."""
        for kept, final in ((self._weights(epoch), WEIGHTS), (self._oof(epoch), OOF)):
            with kept.open("rb") as source, atomic_write(self._fold / final) as file:
                shutil.copyfileobj(source, file)

    def discard(self) -> None:
        """Remove all, and what an earlier call left: from here on they do not count, even if it is cut short."""
        gone = self._fold / GONE
        shutil.rmtree(gone, ignore_errors=True)
        if self:
            self._directory.replace(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def __bool__(self) -> bool:
        return self._directory.is_dir()

    def _weights(self, epoch: int) -> Path:
        return self._directory / f"{epoch:04d}.safetensors"

    def _oof(self, epoch: int) -> Path:
        return self._directory / f"{epoch:04d}.npz"


def leave_results_only(fold: Path) -> None:
    """Remove what only a continued fold run, or a choice among its epochs, would need."""
    (fold / CHECKPOINT).unlink(missing_ok=True)
    KeptEpochs(fold).discard()


def score_common_epoch(
    results: Sequence[FoldResult], folds: Folds, *, directory: Path, metric: str, goal: Goal
) -> list[FoldResult]:
    """Score all folds of a trial by one epoch: the best on average over the folds, of those that every fold reached.

    Safe to repeat: a fold that was scored so before keeps its result, and the choice follows from the curves alone.

    Args:
        directory: the trial's; fold n lies in `fold-n`.
    """
    places = [fold_directory(directory, result.fold) for result in results]
    curves = [read_curve(place) for place in places]
    mean = [
        {metric: float(np.mean([row[metric] for row in rows]))}
        for rows in zip(*curves, strict=False)
    ]
    epoch = best_epoch(mean, metric=metric, goal=goal)
    return [
        _scored(result, curve[epoch - 1], folds, place=place, epoch=epoch)
        for result, curve, place in zip(results, curves, places, strict=True)
    ]


def _scored(
    result: FoldResult, row: Mapping[str, float], folds: Folds, *, place: Path, epoch: int
) -> FoldResult:
    kept = KeptEpochs(place)
    if kept:
        labels_N = folds.manifest.labels_N[folds.valid_rows(result.fold)]
        scores = {name: row[name] for name in result.metrics}
        kept.adopt(epoch)
        found = details(kept.probs(epoch), labels_N)
        result = dataclasses.replace(result, scored_epoch=epoch, metrics=scores, **found)  # type: ignore[arg-type]
        write_result(place, result)
    kept.discard()
    return result
