"""The kept epochs of a fold run: weights and probabilities of each epoch that may score the fold.

`checkpoint: last` keeps no epoch. `fold_best`, and `last` with `patience`, keep each epoch that is
the best so far; at each checkpoint only the latest of these epochs stays. `best` keeps all epochs
until all folds are done and one common epoch is chosen. During a trial `best` needs the disk space
of K times `epochs` times the weights.
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

FOLDER = "epochs"
GONE = ".epochs.gone"  # the new name of the folder while it is removed


class KeptEpochs:
    """The kept epochs of one fold run. The object is false if no epoch was kept.

    Args:
        directory: the directory of the fold run.
        header: is written with the weights, see `save_weights`.
    """

    def __init__(self, directory: Path, *, header: Mapping[str, str] | None = None) -> None:
        self._fold = directory
        self._directory = directory / FOLDER
        self._header = header

    def keep(
        self, epoch: int, network: nn.Module, *, rows_N: Rows, probs_NK: Probs, folds_hash: str
    ) -> None:
        """Write weights and probabilities of an epoch; an epoch of the same number is replaced."""
        save_weights(self._weights(epoch), network, header=self._header)
        write_oof(self._oof(epoch), rows_N, probs_NK, folds_hash=folds_hash)

    def keep_only(self, epoch: int) -> None:
        """Remove all kept epochs except `epoch`."""
        for path in self._directory.glob("*"):
            if path not in (self._weights(epoch), self._oof(epoch)):
                path.unlink()

    def probs(self, epoch: int) -> Probs:
        """Return the probabilities of a kept epoch."""
        return read_probs(self._oof(epoch))

    def adopt(self, epoch: int) -> None:
        """Copy a kept epoch to the final weights and OOF of the fold run.

        The epoch stays kept until `discard`.
        """
        for kept, final in ((self._weights(epoch), WEIGHTS), (self._oof(epoch), OOF)):
            with kept.open("rb") as source, atomic_write(self._fold / final) as file:
                shutil.copyfileobj(source, file)

    def discard(self) -> None:
        """Remove all kept epochs, and the files that an earlier interrupted call left.

        The folder is renamed first, so that no epoch counts as kept even if this call is
        interrupted.
        """
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
    """Remove the checkpoint and the kept epochs from the directory of a fold run."""
    (fold / CHECKPOINT).unlink(missing_ok=True)
    KeptEpochs(fold).discard()


def score_common_epoch(
    results: Sequence[FoldResult], folds: Folds, *, directory: Path, metric: str, goal: Goal
) -> list[FoldResult]:
    """Score all folds of a trial by one common epoch.

    The common epoch is the epoch with the best mean over the folds, of the epochs that every fold
    has reached. The call may be repeated: the choice depends only on the curves, and a fold that
    was scored by an earlier call keeps its result.

    Args:
        directory: the directory of the trial; the directory of fold n is `fold-n` in it.
    """
    directories = [fold_directory(directory, result.fold) for result in results]
    curves = [read_curve(fold) for fold in directories]
    mean = [
        {metric: float(np.mean([row[metric] for row in rows]))}
        for rows in zip(*curves, strict=False)
    ]
    epoch = best_epoch(mean, metric=metric, goal=goal)
    return [
        _scored(result, curve[epoch - 1], folds, directory=fold, epoch=epoch)
        for result, curve, fold in zip(results, curves, directories, strict=True)
    ]


def _scored(
    result: FoldResult, row: Mapping[str, float], folds: Folds, *, directory: Path, epoch: int
) -> FoldResult:
    """Score one fold by `epoch`, whose row of the curve is `row`, and write the fold's result."""
    kept = KeptEpochs(directory)
    if kept:
        labels_N = folds.manifest.labels_N[folds.valid_rows(result.fold)]
        scores = {name: row[name] for name in result.metrics}
        kept.adopt(epoch)
        per_class = details(kept.probs(epoch), labels_N)
        result = dataclasses.replace(
            result,
            scored_epoch=epoch,
            metrics=scores,
            **per_class,  # type: ignore[arg-type]
        )
        write_result(directory, result)
    kept.discard()
    return result
