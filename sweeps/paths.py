"""Paths of the files of sweeps and trials.

Only this module has the names of the folders and files in the runs folder. For the files inside the
folder of a fold run, such as `fold-2`, see `trainer.training.result`.
"""

import dataclasses
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sweeps.errors import InputError
from trainer.files import fold_directories, fold_directory, refit_directories, refit_directory

if TYPE_CHECKING:
    from trainer.data.folds import Folds

STORAGE_FILE = "sweeps.db"  # the SQLite storage in the runs folder
ARTIFACTS, MLFLOW_ARTIFACTS = "artifacts", "mlartifacts"
RESERVED_FOLDERS = (ARTIFACTS, MLFLOW_ARTIFACTS)  # in the runs folder, so no names of sweeps


def make_folder(path: Path, *, option: str = "--runs or $SWEEPS_RUNS") -> None:
    """Create a folder with its parents, and check that files can be written to it.

    Args:
        option: the option with which a user chooses another folder, for the error message.

    Raises:
        InputError: the folder cannot be created or written.
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
    # The path is quoted because ? and % in a folder's name have a special meaning in a URL.
    return f"sqlite:///{quote(str(runs / STORAGE_FILE))}"


def artifacts_folder(runs: Path) -> Path:
    """The folder with the pictures that the Optuna dashboard shows, of all sweeps."""
    return runs / ARTIFACTS


def mlflow_artifacts_folder(runs: Path) -> Path:
    """The folder with the pictures that MLflow shows, of all sweeps without a server."""
    return runs / MLFLOW_ARTIFACTS


@dataclasses.dataclass(frozen=True)
class TrialFiles:
    """The directory of one trial, and the paths in it."""

    directory: Path

    @property
    def config(self) -> Path:
        """The file with the configuration of the trial's fold runs."""
        return self.directory / "config.json"

    @property
    def attempt(self) -> Path:
        """The file that names the attempt that may write here, see `sweeps.running.attempt`."""
        return self.directory / "attempt.json"

    @property
    def log(self) -> Path:
        """The file with the output of the trial's worker process and its libraries."""
        return self.directory / "worker.log"

    @property
    def error(self) -> Path:
        """The file with the traceback of a failed trial."""
        return self.directory / "error.txt"

    @property
    def moved(self) -> Path:
        """The file that marks that the trial was sent to another worker process."""
        return self.directory / "moved"

    def stop(self, driver: str) -> Path:
        """The file with which a driver asks this trial alone to end."""
        return self.directory / f"stop-{driver}"

    def fold(self, fold: int) -> Path:
        """The directory of a fold run."""
        return fold_directory(self.directory, fold)

    def folds(self) -> list[Path]:
        """The directories of all fold runs that have begun."""
        return fold_directories(self.directory)

    def refit(self, number: int) -> "TrialFiles":
        """The directory of a refit, a training on all images; it has files like a trial's."""
        return TrialFiles(refit_directory(self.directory, number))

    def refits(self) -> list[Path]:
        """The directories of all refits that have begun."""
        return refit_directories(self.directory)


@dataclasses.dataclass(frozen=True)
class SweepFiles:
    """The directory of one sweep below the runs folder, and the paths in it.

    Example:
        >>> SweepFiles(Path("runs/mask")).trial(7).fold(2).as_posix()
        'runs/mask/trial-0007/fold-2'
    """

    directory: Path

    @classmethod
    def of(cls, runs: Path, name: str) -> "SweepFiles":
        """The directory of the sweep of this name; the directory need not exist."""
        return cls(runs.resolve() / name)

    @property
    def about(self) -> Path:
        """The file with the sweep's uuid and its initial state.

        A directory without this file is not the directory of a sweep.
        """
        return self.directory / "sweep.json"

    @property
    def spec(self) -> Path:
        """The file with the present search space."""
        return self.directory / "spec.yaml"

    @property
    def folds_file(self) -> Path:
        """The file with the frozen manifest and folds."""
        return self.directory / "folds.npz"

    @property
    def cut(self) -> Path:
        """The file that describes the source of the folds and how the folds were cut."""
        return self.directory / "cut.json"

    @property
    def manifest(self) -> Path:
        """The file with the manifest for human readers."""
        return self.directory / "manifest.csv"

    @property
    def labels(self) -> Path:
        """The file with the classes, in the order of the predicted probabilities."""
        return self.directory / "labels.json"

    @property
    def rejected(self) -> Path:
        """The file with the rows of the source that are not used, and the reasons."""
        return self.directory / "rejected.csv"

    @property
    def code(self) -> Path:
        """The folder with frozen copies of the files of user functions."""
        return self.directory / "code"

    @property
    def choices(self) -> Path:
        """The folder with the latest choices of an ensemble, see `sweeps.results.choice`."""
        return self.directory / "choices"

    @property
    def holdout(self) -> Path:
        """The file that records each look at the holdout, see `sweeps.shipping.holdout`."""
        return self.directory / "holdout.json"

    @property
    def report(self) -> Path:
        """The HTML page of `sweeps report`."""
        return self.directory / "report.html"

    @property
    def log(self) -> Path:
        """The file with the events of all runs, see `sweeps.running.event_log`."""
        return self.directory / "sweep.log"

    @property
    def tracking_log(self) -> Path:
        """The file with what the tracker process prints, see `sweeps.tracking`."""
        return self.directory / "tracking.log"

    @property
    def tensorboard(self) -> Path:
        """The folder with the files of TensorBoard, see `sweeps.tracking.tensorboard`."""
        return self.directory / "tensorboard"

    @property
    def check(self) -> "SweepFiles":
        """The folder in which `sweeps check` writes the same files."""
        return SweepFiles(self.directory / "check")

    @property
    def page(self) -> Path:
        """The HTML page of `sweeps check`, which lies in the folder `check`."""
        return self.directory / "check.html"

    @property
    def cost(self) -> Path:
        """The file of `sweeps check --train` with what the sweep costs, in the folder `check`."""
        return self.directory / "cost.json"

    @property
    def wandb(self) -> Path:
        """The folder of W&B's client, and of notes about what the client has sent."""
        return self.directory / "wandb"

    def stop(self, driver: str) -> Path:
        """The file with which a driver asks its trials to write a checkpoint and end."""
        return self.directory / f"stop-{driver}"

    def stops(self) -> Iterator[Path]:
        """The `stop` files of all drivers."""
        return self.directory.glob("stop-*")

    def trial(self, number: int) -> TrialFiles:
        """The directory of a trial; the directory need not exist."""
        return TrialFiles(self.directory / f"trial-{number:04d}")

    @property
    def every_error(self) -> Path:
        """A pattern of the files with the tracebacks of all failed trials, for a user."""
        return TrialFiles(self.directory / "trial-*").error

    def has_trials(self) -> bool:
        """Whether the sweep has a directory of any trial."""
        return any(self.directory.glob("trial-*"))

    def identity(self) -> str | None:
        """The uuid of the sweep; None if no sweep has begun in this directory.

        Raises:
            InputError: the file `about` is damaged.
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
        """The hash of the folds with which the sweep began; None if the hash is unknown."""
        value = self._about().get("folds_hash")
        return None if value is None else str(value)

    def weights(self) -> dict[str, str]:
        """Digests of the files that the parameter `weights` may name, by path.

        The digests are from the start of the sweep.
        """
        known: dict[str, str] = self._about().get("weights", {})
        return known

    def folds(self) -> "Folds":
        """Read the frozen folds."""
        from trainer.data.fold_files import load_folds

        return load_folds(self.folds_file)

    def _about(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.about.read_text())
        return values
