"""Drivers of one machine know of each other."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sweeps.processes import started_s
from sweeps.running.neighbours import Neighbour, registered

RUNS = Path("runs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cache" / "running" / socket.gethostname()
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def another() -> Iterator[psutil.Process]:
    """A process that lives as long as the test."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield psutil.Process(process.pid)
        process.kill()


def known(folder: Path, *, pid: int, start: float) -> Path:
    path = folder / f"{pid}.json"
    values = {"pid": pid, "started_s": start, "sweep": "x", "runs": "/runs", "gpus": 1.0}
    path.write_text(json.dumps(values))
    return path


def test_the_first_driver_has_no_neighbours_and_is_known_while_it_runs(folder: Path):
    with registered("mask", gpus=0.5, cpus=2, runs=RUNS) as neighbours:
        assert neighbours == []
        (path,) = folder.iterdir()
        assert json.loads(path.read_text()) == {
            "pid": os.getpid(),
            "started_s": pytest.approx(started_s(), abs=2),
            "sweep": "mask",
            "runs": str(RUNS.resolve()),
            "gpus": 0.5,
            "cpus": 2,
        }
    assert list(folder.iterdir()) == []


def test_a_driver_that_fails_is_not_known_any_more(folder: Path):
    with (
        pytest.raises(RuntimeError, match="it failed"),
        registered("mask", gpus=1, cpus=2, runs=RUNS),
    ):
        raise RuntimeError("it failed")
    assert list(folder.iterdir()) == []


def test_a_driver_that_lives_is_a_neighbour_and_stays_known(folder: Path, another: psutil.Process):
    path = known(folder, pid=another.pid, start=started_s(another.pid))
    with registered("mask", gpus=1, cpus=2, runs=RUNS) as neighbours:
        assert neighbours == [
            Neighbour(another.pid, pytest.approx(started_s(another.pid), abs=2), "x", "/runs", 1.0)
        ]
    assert path.exists()


@pytest.mark.parametrize(
    "age_s", [0, 100], ids=["its process is gone", "its pid is another process now"]
)
def test_a_dead_driver_is_no_neighbour_and_its_file_is_removed(
    folder: Path, another: psutil.Process, age_s: float
):
    path = known(folder, pid=another.pid, start=started_s(another.pid) - age_s)
    if not age_s:
        another.kill()
        another.wait()
    with registered("mask", gpus=1, cpus=2, runs=RUNS) as neighbours:
        assert neighbours == []
        assert not path.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_file_that_is_not_ours_is_left_alone(folder: Path, content: str):
    path = folder / "1.json"
    path.write_text(content)
    with registered("mask", gpus=1, cpus=2, runs=RUNS) as neighbours:
        assert neighbours == []
    assert path.exists()


GPUS = (
    "sweep 'x' (process 123) also uses this machine's GPUs (1.0): both may run out of GPU "
    "memory; use resources.gpu shares or CUDA_VISIBLE_DEVICES"
)
CPUS = (
    "sweep 'x' (process 123) also uses this machine's CPUs (3 of 4): both take longer than alone; "
    "`taskset` gives each sweep CPUs of its own"
)


@pytest.mark.parametrize(
    ("theirs", "ours", "warning"),
    [
        ((1.0, 2.0), (0.5, 2.0), GPUS),
        ((0.0, 3.0), (0.0, 2.0), CPUS),
        ((0.0, 3.0), (0.0, 1.0), None),  # there is room for both
        ((0.0, 3.0), (1.0, 4.0), None),
        ((1.0, 3.0), (0.0, 4.0), None),
        ((0.0, 0.0), (0.0, 5.0), None),  # it trains on a cluster
        ((0.0, 5.0), (0.0, 0.0), None),
    ],
)
def test_the_warning_says_what_both_use_and_what_to_do(
    theirs: tuple[float, float],
    ours: tuple[float, float],
    warning: str | None,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("sweeps.running.neighbours.cores", lambda: 4)
    gpus, cpus = ours
    found = Neighbour(123, 0.0, "x", "/runs", *theirs).warning(gpus=gpus, cpus=cpus)
    assert found == warning
