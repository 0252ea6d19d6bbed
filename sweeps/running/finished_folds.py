"""Finished fold runs that a new trial takes over from an earlier trial with the same configuration.

The new trial repeats a failed trial (`upkeep.retry`) or finishes a pruned one (`finishing`).
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sweeps.paths import TrialFiles
from trainer.training.oof import OOF
from trainer.training.result import CURVE, RESULT, WEIGHTS


def finished_folds(trial: TrialFiles, *, without_weights: bool = False) -> Iterator[Path]:
    """The fold runs in a trial's directory that another trial need not train again.

    With `checkpoint: best`, one epoch is chosen for all folds from the kept epochs. Then a fold
    without kept epochs has to be trained again.

    Args:
        without_weights: whether a fold counts whose weights were removed.
    """
    needed = (RESULT, OOF, CURVE) if without_weights else (RESULT, OOF, CURVE, WEIGHTS)
    needs_epochs = _common_epoch(trial.config)
    for fold in trial.folds():
        whole = all((fold / name).is_file() for name in needed)
        if whole and (not needs_epochs or _kept_epochs(fold)):
            yield fold


def take_over_folds(source: Path, target: Path, *, without_weights: bool = False) -> int:
    """Put the finished folds of one trial's directory into the directory of another trial.

    The new directory appears complete or not at all.

    Args:
        without_weights: whether folds are taken over whose weights were removed.

    Returns:
        The number of finished folds.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    folds = list(finished_folds(TrialFiles(source), without_weights=without_weights))
    # the weights may be removed at this moment
    gone = contextlib.suppress(FileNotFoundError) if without_weights else contextlib.nullcontext()
    try:
        for fold in folds:
            for file in [fold / name for name in (OOF, CURVE)] + [
                path for folder in _kept_epochs(fold) for path in folder.iterdir()
            ]:
                _link_or_copy(file, temporary / file.relative_to(source))
            with gone:
                _link_or_copy(fold / WEIGHTS, temporary / fold.name / WEIGHTS)
            _link_or_copy(fold / RESULT, temporary / fold.name / RESULT)
        # an existing directory belongs to a trial that was never recorded
        shutil.rmtree(target, ignore_errors=True)
        if folds:
            temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(folds)


def _common_epoch(config: Path) -> bool:
    try:
        return bool(json.loads(config.read_text()).get("checkpoint") == "best")
    except (FileNotFoundError, ValueError):  # the trial failed before it wrote its configuration
        return False


def _kept_epochs(fold: Path) -> list[Path]:
    """The folders with the kept epochs of a fold run, see trainer.training.kept_epochs.

    Hidden folders are being removed, so they do not count.
    """
    return [path for path in fold.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy the file where hard links are impossible.

    A second name is safe, because no program changes these files in place.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
