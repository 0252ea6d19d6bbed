"""Sweeps on a SQLite storage of their own, and a trial that a worker can run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeps.running.messages import Assignment
from tests.fakes import manifest_of, write_photos
from tests.sweeps.running.curve_sweep import Sweep
from tests.sweeps.running.trial_runs import VALUES
from trainer.data.fold_files import save_folds
from trainer.data.folds import make_folds


@pytest.fixture
def sweep(tmp_path: Path, sqlite_template: Path) -> Callable[..., Sweep]:
    shutil.copy(sqlite_template, tmp_path / "sweeps.db")
    return lambda *settings: Sweep(tmp_path, *settings)


@pytest.fixture
def assignment(tmp_path: Path) -> Callable[..., Assignment]:
    """A trial of a sweep with two folds over 60 images in three classes."""
    folds = make_folds(manifest_of(write_photos(tmp_path / "photos")), k=2, seed=0)
    save_folds(folds, tmp_path / "runs" / "toy" / "folds.npz")

    def make(*, metric: str = "f1", **values: Any) -> Assignment:
        return Assignment(
            number=3,
            values={**VALUES, **values},
            sweep_directory=str(tmp_path / "runs" / "toy"),
            metric=metric,
            max_epochs=4,  # another trial of the space trains longer
            device="cpu",
            threads=1,
        )

    return make
