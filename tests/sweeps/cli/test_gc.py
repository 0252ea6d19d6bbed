"""Disk space."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.running.messages import Outcome
from sweeps.study.lease import Lease
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended

Recorded = Callable[..., StoredSweep]
ENDED = (
    [0, 0, 0],
    [1, 1, 1],
    [2, 2, 2],
    Outcome("stopped", (0.1,)),
    Outcome("failed", reason="out of luck"),
    None,
)


@pytest.fixture
def trained(recorded: Recorded) -> Callable[..., Path]:
    """Six trials of all ends, each with 1.5 kB of weights and a checkpoint."""

    def train(name: str = "curve") -> Path:
        recorded(*ENDED, name=name, settings=("keep=2",))
        for number in range(len(ENDED)):
            fold = Path("runs", name, f"trial-{number:04d}", "fold-0")
            fold.mkdir(parents=True, exist_ok=True)
            (fold / "model.safetensors").write_bytes(b"w" * 1500)
            (fold / "last.ckpt").write_bytes(b"c" * 100)
        return Path("runs", name)

    return train


def files(folder: Path, name: str) -> list[int]:
    return [int(path.parts[-3][-4:]) for path in sorted(folder.glob(f"trial-*/fold-0/{name}"))]


def test_what_was_removed_and_how_much_it_freed(
    sweeps: Callable[..., Ended], trained: Callable[..., Path]
):
    folder = trained()
    assert sweeps("gc") == Ended(
        0,
        "sweep  weights  checkpoints  temporary  unknown   freed\n"
        "curve        2            5          0        0  3.5 kB\n",
        "",
    )
    assert files(folder, "model.safetensors") == [0, 1, 4, 5]
    assert files(folder, "last.ckpt") == [5]
    assert files(folder, "oof.npz") == [0, 1, 2]


def test_a_dry_run_removes_nothing(sweeps: Callable[..., Ended], trained: Callable[..., Path]):
    folder = trained()
    assert sweeps("gc", "curve.yaml", "--dry-run", "--keep", 1, "--failed").out == (
        "sweep  weights  checkpoints  temporary  unknown  would be freed\n"
        "curve        4            5          0        0          6.5 kB\n"
    )
    assert len(files(folder, "model.safetensors")) == len(files(folder, "last.ckpt")) == len(ENDED)
    sweeps("gc", "--keep", 1, "--failed")
    assert files(folder, "model.safetensors") == [0, 5]


def test_all_sweeps_are_meant_when_none_is_named_and_busy_ones_are_left_alone(
    sweeps: Callable[..., Ended], trained: Callable[..., Path]
):
    for name in ("busy", "first", "second"):
        trained(name)
    engine = open_storage("sqlite:///runs/sweeps.db").engine
    lease = Lease.acquire(engine, "busy", on_lost=lambda error: pytest.fail(str(error)))
    try:
        ended = sweeps("gc")
        named = sweeps("gc", "busy")
    finally:
        lease.release()
    assert (ended.code, ended.out) == (
        0,
        "sweep   weights  checkpoints  temporary  unknown   freed\n"
        "first         2            5          0        0  3.5 kB\n"
        "second        2            5          0        0  3.5 kB\n"
        "all           4           10          0        0  7.0 kB\n",
    )
    assert ended.err.startswith("note: busy: skipped. sweep 'busy' is already running: process ")
    assert (named.code, named.out) == (2, "")
    assert named.err.startswith("error: sweep 'busy' is already running: process ")
    assert len(files(Path("runs/busy"), "last.ckpt")) == len(ENDED)


def test_json(sweeps: Callable[..., Ended], trained: Callable[..., Path]):
    trained()
    ended = sweeps("gc", "--json", "--dry-run")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == {
        "dry_run": True,
        "sweeps": [
            {
                "sweep": "curve",
                "keep": 2,
                "weights": 2,
                "checkpoints": 5,
                "temporary": 0,
                "unknown": 0,
                "freed_bytes": 3500,
                "skipped": None,
            }
        ],
        "freed_bytes": 3500,
    }


def test_what_cannot_be_cleaned_up_is_an_error(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded()
    elsewhere = ("--runs", "elsewhere", "--storage", "sqlite:///runs/sweeps.db")
    for arguments, error in (
        (("nobody",), "no sweep 'nobody' in this storage"),
        (
            ("curve", *elsewhere),
            "elsewhere/curve has no files of it. Give the --runs folder it was started with",
        ),
        (("--keep", "0"), "Invalid value for '--keep'"),
    ):
        ended = sweeps("gc", *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert error in ended.err
    assert sweeps("gc", *elsewhere).err.startswith(
        "note: curve: skipped. sweep 'curve' is in the storage, but "
    )


def test_sizes_are_for_people():
    from sweeps.cli.gc import size_text

    sizes = (0, 999, 1000, 1_234_567, 2.5e9, 3e12, 4e15)
    assert [size_text(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.2 MB",
        "2.5 GB",
        "3.0 TB",
        "4000.0 TB",
    ]
