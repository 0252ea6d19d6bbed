"""Real sweeps on small real data: 200 handwritten digits, tiny networks,
Ray and processes as users run them.
"""

import contextlib
import csv
import dataclasses
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial
from ruamel.yaml import YAML

from sweeps import cli
from sweeps.paths import SweepFiles
from sweeps.preparing.data import cut_sweep
from sweeps.preparing.opening import open_sweep
from sweeps.running.driver import Driver
from sweeps.running.messages import Share
from sweeps.running.patience import GRACE_S
from sweeps.running.plan import Plan
from sweeps.running.signals import ending_signals
from sweeps.running.take_over import open_driver
from sweeps.samples.digits import write_digits
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from sweeps.study.lease import Lease
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from trainer.data.data_set import ReadOptions

IMAGES = 200
SWEEPS = Path(sys.executable).with_name("sweeps")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of a few digits whose images are decoded once for all tests."""
    folder = tmp_path_factory.mktemp("digits")
    source = write_digits(folder)
    with source.open() as file:
        rows = list(csv.reader(file))[: IMAGES + 1]
    small = folder / "small.csv"
    with small.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return small


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPS_CACHE", str(cache))


@pytest.fixture
def space(digits: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a search space; keywords replace top-level keys, `parameters` are merged."""

    def write(
        name: str = "small", *, parameters: dict[str, object] | None = None, **keys: object
    ) -> Path:
        values: dict[str, object] = {
            "name": name,
            "metric": {"name": "valid/f1", "goal": "maximize"},
            "run_cap": 3,
            "seed": 5,
            "data": {"source": str(digits)},
            "folds": {"k": 2, "seed": 1},
            "resources": {"cpu": 1, "gpu": 0},
            "early_terminate": {"type": "none"},
            **keys,
            "parameters": {
                "backbone": {"values": ["test_resnet", "test_efficientnet"]},
                "weights": {"value": "none"},
                "resize": {"value": 32},
                "batch_size": {"value": 16},
                "epochs": {"value": 2},
                "optimizer": {"values": ["adam", "sgd", "madgrad"]},
                "momentum": {"min": 0.8, "max": 0.95, "when": {"optimizer": ["sgd", "madgrad"]}},
                "lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 0.02},
                **(parameters or {}),
            },
        }
        path = tmp_path / f"{name}.yaml"
        with path.open("w") as file:
            YAML(typ="safe", pure=True).dump(values, file)
        return path

    return write


@dataclasses.dataclass(frozen=True)
class Opened:
    """A sweep about to run."""

    spec: SweepSpec
    driver: Driver
    sweep: StoredSweep
    directory: Path

    def trials(self) -> list[FrozenTrial]:
        return self.sweep.trials()


@contextmanager
def opened(
    path: Path,
    runs: Path,
    *,
    grace_s: float = GRACE_S,
    expected_trial_s: float | None = None,
    **options: Any,
) -> Iterator[Opened]:
    """Lease, study, files and an entered driver, as `sweeps run` makes them."""
    spec = read_spec(path)
    files = SweepFiles.of(runs, spec.name)
    cut = cut_sweep(spec, files, read=ReadOptions(choices=spec.choices()))
    runs.mkdir(exist_ok=True)
    url = f"sqlite:///{runs}/sweeps.db"
    storage = open_storage(url)
    with Lease.acquire(storage.engine, spec.name):
        sweep = open_sweep(storage, spec, cut, files=files, storage_url=url)
        plan = Plan(
            spec,
            files,
            Share(),
            spec.trial_cap,
            expected_trial_s=expected_trial_s,
            grace_s=grace_s,
        )
        with open_driver(plan, sweep, **options) as driver:
            yield Opened(spec, driver, sweep, files.directory)
    storage.engine.dispose()


def record(trials: list[FrozenTrial]) -> list[dict[str, object]]:
    """What two equal sweeps have in common: everything but ids and times."""
    return [
        {
            "number": trial.number,
            "state": trial.state.name,
            "params": trial.params,
            "values": trial.values,
            "reports": trial.intermediate_values,
            "fold_scores": trial.user_attrs.get("fold_scores"),
        }
        for trial in trials
    ]


def command(
    *arguments: str | Path, cwd: Path, timeout_s: float = 280
) -> subprocess.CompletedProcess[str]:
    """The real `sweeps` command in a process of its own."""
    return subprocess.run(
        [str(SWEEPS), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def called(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in this process, which spares it three seconds of imports."""
    words = ["sweeps", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in ending_signals()}
    code = 0
    try:
        with (
            contextlib.chdir(cwd),
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", words)
            patch.setenv("COLUMNS", "120")
            cli.main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
