"""`sweeps export` as a user calls it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.running.messages import Outcome
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended

Recorded = Callable[..., StoredSweep]


def test_tables_are_written_and_counted(
    sweeps: Callable[..., Ended], recorded: Recorded, home: Path
):
    recorded([0, 1, 2], Outcome("stopped", (0.1,)), Outcome("failed", reason="x"))
    ended = sweeps("export", "--trials", "t.csv", "--folds", "f.csv", "--epochs", "e.csv")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "t.csv: 3 rows\nf.csv: 4 rows\ne.csv: 0 rows\n"
    states = [line.split(",")[1] for line in (home / "t.csv").read_text().splitlines()]
    assert states == ["state", "completed", "pruned", "failed"]


def test_one_trial_is_printed_as_yaml(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([0, 1, 2])
    ended = sweeps("export", "curve", "--trial", "0")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("# trial 0 of sweep curve: valid/f1 0.9500\n")
    assert "\n  lr: {value: 0.003}\n" in ended.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to export: give --trials, --folds or --epochs, or --trial N"),
        (
            ["--trial", "0", "--trials", "t.csv"],
            "--trial prints one trial, and the other options write tables: give one",
        ),
        (["--trials", "t.csv", "--folds", "t.csv"], "t.csv: each table needs a file of its own"),
        (["--trials", "t.txt"], "t.txt: expected a file that ends with .csv, .parquet, .pq"),
        (["--trial", "7"], "trial 7: sweep 'curve' has no such trial, they are numbered 0 to 0"),
    ],
)
def test_what_cannot_be_exported_is_one_error(
    sweeps: Callable[..., Ended], recorded: Recorded, options: list[str], message: str
):
    recorded([0, 1, 2])
    ended = sweeps("export", *options)
    assert (ended.code, ended.out, ended.err) == (2, "", f"error: {message}\n")
