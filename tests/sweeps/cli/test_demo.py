"""The sample data and its search space."""

import csv
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import sklearn.datasets
from PIL import Image

from tests.sweeps.cli.conftest import Ended

ROOT = Path(__file__).parents[3]


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first hundred only; writing all takes seconds."""
    all_digits = sklearn.datasets.load_digits()
    few = types.SimpleNamespace(images=all_digits.images[:100], target=all_digits.target[:100])
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: few)


def test_real_digits_and_their_search_space_are_written(sweeps: Callable[..., Ended]):
    assert sweeps("demo", "digits") == Ended(
        0,
        "",
        "1,797 handwritten digits (32x32 PNG, 10 classes): data/digits/digits.csv\n"
        "their search space: search_spaces/digits.yaml\n"
        "next: sweeps run search_spaces/digits.yaml\n",
    )
    with Path("data/digits/digits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1797
    assert {row["label"] for row in rows} == set("0123456789")
    with Image.open(Path("data/digits") / rows[0]["path"]) as image:
        assert (image.format, image.size) == ("PNG", (32, 32))
    packaged = (ROOT / "search_spaces" / "digits.yaml").read_text()
    assert Path("search_spaces/digits.yaml").read_text() == packaged
    assert sweeps("check", "search_spaces/digits.yaml").code == 0


@pytest.mark.usefixtures("few_digits")
def test_a_second_time_leaves_files_alone(sweeps: Callable[..., Ended]):
    def images() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in Path("data").rglob("*.png")}

    sweeps("demo", "digits")
    before = images()
    Path("search_spaces/digits.yaml").write_text("# mine now\n")
    again = sweeps("demo", "digits")
    assert again.code == 0
    assert "their search space" not in again.err
    assert Path("search_spaces/digits.yaml").read_text() == "# mine now\n"
    assert images() == before
    next(iter(before)).unlink()
    sweeps("demo", "digits")
    assert images().keys() == before.keys()  # what is missing is written again


@pytest.mark.usefixtures("few_digits")
def test_the_next_command_works_wherever_the_data_were_written(sweeps: Callable[..., Ended]):
    ended = sweeps("demo", "digits", "--data", "elsewhere")
    assert ended.err.splitlines()[0].endswith("elsewhere/digits/digits.csv")
    following = ended.err.splitlines()[-1].removeprefix("next: sweeps run ").split()
    checked = sweeps("check", *following)
    assert (checked.code, checked.err) == (0, "")


@pytest.mark.usefixtures("few_digits")
def test_a_folder_that_cannot_be_written_is_named(sweeps: Callable[..., Ended]):
    Path("file").touch()
    ended = sweeps("demo", "digits", "--data", "file")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: file/digits: cannot be written (Not a directory).")
    assert "--runs" not in ended.err  # that would not help
    assert not Path("search_spaces").exists()
