"""The command as a user calls it, in this process or in its own; small images;
a sweep that has run.
"""

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest

from sweeps import cli
from sweeps.paths import SweepFiles
from sweeps.preparing.data import cut_sweep
from sweeps.preparing.opening import open_sweep
from sweeps.running.messages import Assignment, Outcome, Share
from sweeps.running.plan import Plan
from sweeps.running.signals import ending_signals
from sweeps.running.take_over import open_driver
from sweeps.space.spec_reader import read_spec
from sweeps.study.stored_sweep import StoredSweep
from tests.fakes import CURVE_SPACE, hasty_storage, write_photos
from trainer.data.folds import Folds
from trainer.training.oof import OOF, write_oof
from trainer.training.result import FoldResult, write_result

COMMAND = Path(sys.executable).with_name("sweeps")
TINY_SPACE = """\
name: tiny
method: random
metric: {name: valid/f1, goal: maximize}
run_cap: 2
seed: 3
data: {source: photos/train.csv}
folds: {k: 2}
resources: {gpu: 0}
parameters:
  backbone: {value: test_efficientnet}
  weights: {value: none}
  resize: {value: 16}
  batch_size: {value: 10}
  epochs: {value: 1}
  optimizer: {values: [sgd, adamw]}
  scheduler: {value: cosine}
  loss: {value: cross_entropy}
  lr: {min: 0.001, max: 0.02}
"""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded images and timm's names, made once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 images in three classes, never changed by a test."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos").parent


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> Iterator[Path]:
    """Each test works in an empty folder of its own, and leaves the process as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPS_CACHE", str(cache))
    for name in (
        "SWEEPS_RUNS",
        "SWEEPS_STORAGE",
        "RAY_ADDRESS",
        "FORCE_COLOR",
        "TTY_COMPATIBLE",
        "TTY_INTERACTIVE",
        "COLUMNS",
    ):
        monkeypatch.delenv(name, raising=False)
    handlers = {number: signal.getsignal(number) for number in ending_signals()}
    level = logging.root.level
    verbosity = optuna.logging.get_verbosity()
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logging.root.setLevel(level)
    optuna.logging.set_verbosity(verbosity)


@pytest.fixture
def sweeps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """`sweeps ARGUMENTS` in this process."""

    def call(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["sweeps", *map(str, arguments)])
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as error:
            code = int(error.code or 0)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return call


@pytest.fixture
def process(home: Path) -> Callable[..., Ended]:
    """`sweeps ARGUMENTS` as a process of its own."""

    def call(*arguments: object) -> Ended:
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            cwd=home,
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def space(home: Path, photos: Path) -> Callable[..., Path]:
    """Write TINY_SPACE with some text replaced, and its images."""

    def write(*changes: tuple[str, str], name: str = "tiny.yaml") -> Path:
        text = TINY_SPACE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (home / name).write_text(text)
        if not (home / "photos").exists():
            (home / "photos").symlink_to(photos)
        return Path(name)

    return write


@pytest.fixture
def recorded(home: Path, photos: Path) -> Callable[..., StoredSweep]:
    """Store a grid of nine trials under runs/, the first ones ended with `outcomes`.

    A list holds how many of its 20 images each fold got wrong; None leaves a trial interrupted.
    """

    def record(
        *outcomes: Outcome | list[int] | None, name: str = "curve", settings: tuple[str, ...] = ()
    ) -> StoredSweep:
        (home / "curve.yaml").write_text(CURVE_SPACE)
        grid = ["method=grid", "parameters.lr={values: [0.003, 0.1, 0.00003]}"]
        spec = read_spec(home / "curve.yaml", settings=[f"name={name}", *grid, *settings])
        files = SweepFiles.of(home / "runs", name)
        spec = spec.model_copy(
            update={"data": spec.data.model_copy(update={"source": str(photos / "train.csv")})}
        )
        cut = cut_sweep(spec, files)
        folds = cut.folds
        files.directory.mkdir(parents=True)
        storage = hasty_storage(home / "runs")
        stored = open_sweep(storage, spec, cut, files=files, storage_url="sqlite:///runs/sweeps.db")
        now = [0.0]
        with open_driver(Plan(spec, files, Share(), 9), stored, clock=lambda: now[0]) as driver:
            for number, outcome in enumerate(outcomes):
                while not isinstance(driver.next(), Assignment):
                    threading.Event().wait(0.005)
                now[0] += 90
                if isinstance(outcome, Outcome):
                    driver.finished(number, outcome)
                elif outcome is not None:
                    directory = files.directory / f"trial-{number:04d}"
                    scores = tuple(1 - wrong / 20 for wrong in outcome)
                    for fold, wrong in enumerate(outcome):
                        _write_fold(directory / f"fold-{fold}", folds, fold, wrong)
                    driver.finished(number, Outcome("completed", scores))
        storage.engine.dispose()
        return stored

    return record


def _write_fold(directory: Path, folds: Folds, fold: int, wrong: int) -> None:
    """Sure predictions, the first `wrong` ones of the next class, and a result of 10 seconds."""
    rows = folds.valid_rows(fold)
    predicted = folds.manifest.labels_N[rows].copy()
    predicted[:wrong] = (predicted[:wrong] + 1) % 3
    directory.mkdir(parents=True)
    write_oof(directory / OOF, rows, np.eye(3, dtype=np.float32)[predicted], folds_hash=folds.hash)
    result = FoldResult(
        fold=fold,
        epochs=2,
        scored_epoch=2,
        biased=False,
        metrics={},
        f1_per_class=[],
        confusion=[],
        mean=[],
        std=[],
        accumulation=1,
        notes=[],
        config_hash="",
        folds_hash=folds.hash,
        seconds=10.0,
        device="cpu",
        threads=1,
    )
    write_result(directory, result)


@pytest.fixture
def rows(photos: Path) -> list[str]:
    """Lines of a CSV beside the folder of photos."""
    head, *lines = (photos / "train.csv").read_text().splitlines()
    return [head, *(f"photos/{line}" for line in lines)]


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this machine, whatever it has."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
