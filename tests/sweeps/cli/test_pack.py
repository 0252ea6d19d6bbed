"""Packed models, as a user makes and uses them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import write_photos
from tests.sweeps.cli.conftest import Ended
from trainer import predict

Command = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _swept(people: Path, home: Path) -> None:
    """In the working folder: `runs` with a trained sweep."""


@pytest.fixture
def unseen(home: Path) -> Path:
    folder = write_photos(home / "unseen", count=9, side=20).parent
    (folder / "train.csv").unlink()
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_what_is_printed(sweeps: Command):
    ended = sweeps("pack", "people", "--trial", 1, "--out", "model")
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(
        r"model: trial 1, 2 models trained on folds, \d\.\d MB\n"
        r"python -m trainer\.predict model IMAGES > predictions\.csv\n",
        ended.out,
    )


@pytest.mark.parametrize("more", [(), ("--probabilities",), ("--tta", "flip")])
@pytest.mark.parametrize("what", [(), ("--topk", 2)])
def test_it_predicts_the_same_bytes_as_the_sweep(
    sweeps: Command,
    unseen: Path,
    what: tuple[object, ...],
    more: tuple[str, ...],
):
    assert sweeps("pack", "--out", "model", *what).code == 0
    ended = sweeps("predict", "--source", unseen, "--out", "sweep.csv", "--skip-bad", *what, *more)
    assert ended.code == 0
    arguments = ["model", str(unseen), "--out", "packed.csv", "--device", "cpu", "--skip-bad"]
    assert predict.main([*arguments, *more]) == 0
    packed = Path("packed.csv").read_bytes()
    assert packed == Path("sweep.csv").read_bytes()
    assert len(packed.splitlines()) == 11


def test_models_of_all_images(sweeps: Command):
    assert sweeps("refit", "--trial", 1, "--seeds", 1).code == 0
    ended = sweeps("pack", "--trial", 1, "--refit", "--out", "model")
    assert ended.out.startswith("model: trial 1, 1 model trained on all images, ")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--out", "runs"), "--out runs: it exists and is no packed model. Name another folder"),
        (
            ("--trial", 0, "--topk", 1, "--out", "model"),
            "--trial and --topk name different trials: give one of them",
        ),
        (
            ("--trial", 0, "--refit", "--out", "model"),
            "--refit: trial 0 has no model that was trained on all images. "
            "`sweeps refit people --trial 0` trains them",
        ),
        (("nobody", "--out", "model"), "no sweep 'nobody' in this storage. `sweeps list` shows "),
    ],
)
def test_what_is_refused(sweeps: Command, arguments: tuple[object, ...], error: str):
    ended = sweeps("pack", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {error}")
    assert len(ended.err.splitlines()) == 1
    assert not Path("model").exists()
