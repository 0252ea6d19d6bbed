"""Models trained on all images."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cli.refit import NO_SCORE
from sweeps.study.lease import Lease
from sweeps.study.storage import open_storage
from tests.sweeps.cli.conftest import Ended
from trainer.training.refit_result import refit_models
from trainer.training.reporter import EpochReport

TRIAL = Path("runs/people/trial-0001")
Command = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _swept(people: Path, home: Path) -> None:
    """In the working folder: `runs` with a trained sweep."""


def test_what_is_printed(sweeps: Command):
    ended = sweeps("refit", "people", "--trial", 1, "--seeds", 2)
    assert ended.code == 0
    assert re.fullmatch(
        "trial              model    images  epochs  train loss\n"
        r"people/trial-0001  refit-0      64       3      \d\.\d{4}\n"
        r"people/trial-0001  refit-1      64       3      \d\.\d{4}\n",
        ended.out,
    )
    first, *lines, last = ended.err.splitlines()
    assert first == (
        "people/trial-0001: 2 models on all 64 images for 3 epochs (epochs that score the folds: "
        "3, 3)"
    )
    assert len(lines) == 6
    assert re.fullmatch(
        r"people/trial-0001  model 2 of 2  epoch 3/3  train loss \d\.\d{4}  lr [\d.e-]+  "
        r"\d+\.\d s",
        lines[-1],
    )
    assert last == NO_SCORE
    assert len(refit_models(TRIAL)) == 2


def test_the_ensemble_and_the_holdout(sweeps: Command):
    ended = sweeps("refit", "--ensemble", "--holdout", "--seeds", 1)
    assert ended.code == 0
    rows = [line.split() for line in ended.out.splitlines()[1:]]
    assert {row[1] for row in rows} == {"refit-0"}
    assert {row[2] for row in rows} == {"64"}
    assert "choosing the members of the ensemble" in ended.err


def test_a_second_call_trains_nothing(sweeps: Command):
    first = sweeps("refit", "--trial", 1, "--seeds", 1)
    again = sweeps("refit", "--trial", 1, "--seeds", 1)
    assert again.out == first.out
    assert "epoch 1/" not in again.err


def test_ctrl_c_saves_the_state(sweeps: Command, monkeypatch: pytest.MonkeyPatch):
    from sweeps.shipping import refit

    told = refit._Reporter.epoch

    def press(reporter: object, report: EpochReport) -> bool:
        signal.raise_signal(signal.SIGINT)
        return told(reporter, report)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(refit._Reporter, "epoch", press)
        ended = sweeps("refit", "--trial", 1)
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.endswith("interrupted; run the same command again to continue\n")
    assert (TRIAL / "refit-0/last.ckpt").is_file()
    assert "epoch 1/" not in sweeps("refit", "--trial", 1, "--seeds", 1).err


def test_a_running_sweep_is_not_disturbed(sweeps: Command):
    engine = open_storage("sqlite:///runs/sweeps.db").engine
    lease = Lease.acquire(engine, "people", on_lost=lambda error: pytest.fail(str(error)))
    try:
        ended = sweeps("refit", "--trial", 1, "--seeds", 1)
        lease.confirm()
    finally:
        lease.release()
    assert ended.code == 0
    assert re.match(
        r"note: sweep 'people' is running \(process \d+ on .*\); "
        "it goes on, and shares the machine",
        ended.err,
    )


def test_gc_keeps_the_models_unless_asked(sweeps: Command):
    sweeps("refit", "--trial", 1, "--seeds", 1)
    sweeps("gc", "--keep", 1)
    assert refit_models(TRIAL) == [TRIAL / "refit-0"]
    sweeps("gc", "--refits")
    assert refit_models(TRIAL) == [TRIAL / "refit-0"]  # it may be in training


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((), "give either --trial N, or --ensemble for all members of the ensemble"),
        (
            ("--trial", 0, "--ensemble"),
            "give either --trial N, or --ensemble for all members of the ensemble",
        ),
        (("--ensemble", "--device", "gpu"), "--device gpu: must be auto, cpu or cuda"),
        (
            ("--trial", 5),
            "--trial 5: not a completed trial of people, and only these have epochs that all folds "
            "agreed on. Completed are 0, 1, 2, 3",
        ),
        (("other", "--ensemble"), "no sweep 'other' in this storage. `sweeps list` shows them"),
    ],
)
def test_what_is_refused(sweeps: Command, arguments: tuple[object, ...], error: str):
    assert sweeps("refit", *arguments) == Ended(2, "", f"error: {error}\n")
