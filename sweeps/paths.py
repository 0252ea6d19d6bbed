"""Where the files of sweeps and trials lie: every folder and file of the runs folder has its name here, once.

The files of a fold run inside `fold-2` are the trainer's, see trainer.training.result.
"""

import dataclasses
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sweeps.errors import InputError
from trainer.data.folds import Folds, load_folds
from trainer.files import fold_directories, fold_directory


def make_folder(path: Path, *, option: str = "--runs or $SWEEPS_RUNS") -> None:
    """Create a folder with its parents; `option` is what chooses another one.

    Raises:
        InputError: it cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".write-test-{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). Choose another folder with {option}"
        ) from None


def default_storage(runs: Path) -> str:
    """The database URL of the SQLite file in a runs folder."""
    # quoted: a ? or % of a folder's name means something in a URL
    return f"sqlite:///{quote(str(runs / 'sweeps.db'))}"


@dataclasses.dataclass(frozen=True)
class TrialFiles:
    """The directory of one trial."""

    directory: Path

    @property
    def config(self) -> Path:
        """The configuration that its fold runs have."""
        return self.directory / "config.json"

    @property
    def attempt(self) -> Path:
        """Which attempt may write here, see sweeps.running.attempt."""
        return self.directory / "attempt.json"

    @property
    def log(self) -> Path:
        """What its worker process and the libraries in it print."""
        return self.directory / "worker.log"

    @property
    def moved(self) -> Path:
        """The mark that it was sent to another worker process."""
        return self.directory / "moved"

    def fold(self, fold: int) -> Path:
        """The directory of a fold run."""
        return fold_directory(self.directory, fold)

    def folds(self) -> list[Path]:
        """The directories of all fold runs that have begun."""
        return fold_directories(self.directory)


@dataclasses.dataclass(frozen=True)
class SweepFiles:
    """The directory of one sweep below the runs folder.

    Example:
        >>> SweepFiles(Path("runs/mask")).trial(7).fold(2).as_posix()
        'runs/mask/trial-0007/fold-2'
    """

    directory: Path

    @classmethod
    def of(cls, runs: Path, name: str) -> "SweepFiles":
        """The directory of the sweep of that name; it need not exist."""
        return cls(runs.resolve() / name)

    @property
    def about(self) -> Path:
        """The file that makes the directory a sweep: its uuid and what it began with."""
        return self.directory / "sweep.json"

    @property
    def spec(self) -> Path:
        """The search space as it is now."""
        return self.directory / "spec.yaml"

    @property
    def folds_file(self) -> Path:
        """The manifest and the folds, frozen."""
        return self.directory / "folds.npz"

    @property
    def cut(self) -> Path:
        """What the folds were cut from, and how."""
        return self.directory / "cut.json"

    @property
    def manifest(self) -> Path:
        """The manifest for people."""
        return self.directory / "manifest.csv"

    @property
    def labels(self) -> Path:
        """The classes in the order of the probabilities."""
        return self.directory / "labels.json"

    @property
    def rejected(self) -> Path:
        """The rows of the source that are not used, with the reasons."""
        return self.directory / "rejected.csv"

    @property
    def code(self) -> Path:
        """The folder with the files of user functions, frozen."""
        return self.directory / "code"

    @property
    def check(self) -> "SweepFiles":
        """The folder with the same files, as `sweeps check` writes them."""
        return SweepFiles(self.directory / "check")

    @property
    def page(self) -> Path:
        """The page of `sweeps check`, in its own folder."""
        return self.directory / "check.html"

    def stop(self, driver: str) -> Path:
        """The file by which a driver asks its trials to leave a checkpoint and end."""
        return self.directory / f"stop-{driver}"

    def stops(self) -> Iterator[Path]:
        """Such files of all drivers."""
        return self.directory.glob("stop-*")

    def trial(self, number: int) -> TrialFiles:
        """The directory of a trial; it need not exist."""
        return TrialFiles(self.directory / f"trial-{number:04d}")

    def has_trials(self) -> bool:
        """Whether any trial has left files."""
        return any(self.directory.glob("trial-*"))

    def identity(self) -> str | None:
        """The uuid of the sweep, or None where no sweep has begun.

        Raises:
            InputError: the file is damaged.
        """
        if not self.about.is_file():
            return None
        try:
            return str(self._about()["uuid"])
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{self.about}: damaged. Move the folder away to start the sweep anew"
            ) from None

    def folds_hash(self) -> str | None:
        """The hash of the folds that the sweep began with, if it is known."""
        value = self._about().get("folds_hash")
        return None if value is None else str(value)

    def weights(self) -> dict[str, str]:
        """Digests of the files that `weights` may name, by path, from the time when the sweep began."""
        known: dict[str, str] = self._about().get("weights", {})
        return known

    def folds(self) -> Folds:
        """The frozen folds."""
        return load_folds(self.folds_file)

    def _about(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.about.read_text())
        return values
