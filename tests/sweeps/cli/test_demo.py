"""The sample data and its search space."""

import csv
import re
import shlex
import shutil
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import sklearn.datasets
import torch
from huggingface_hub import constants
from PIL import Image

from tests.fakes.model_hub import model_hub, move_hub, nowhere
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
        "1,438 handwritten digits (32x32 PNG, 10 classes), and 359 more to predict: "
        "data/digits/digits.csv\n"
        "their search space: search_spaces/digits.yaml\n"
        "next: sweeps run search_spaces/digits.yaml\n",
    )
    with Path("data/digits/digits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 1438
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
    assert checked.code == 0


@pytest.mark.usefixtures("few_digits")
def test_a_folder_that_cannot_be_written_is_named(sweeps: Callable[..., Ended]):
    Path("file").touch()
    ended = sweeps("demo", "digits", "--data", "file")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: file/digits: cannot be written (Not a directory).")
    assert "--runs" not in ended.err  # that would not help
    assert not Path("search_spaces").exists()


SMALL = ("--persons", 12, "--size", "32x24")


class TestFaces:
    @pytest.fixture(autouse=True)
    def no_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of this machine, whatever it has."""
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}

    def test_persons_are_drawn_in_the_layout_of_the_competition(self, sweeps: Callable[..., Ended]):
        ended = sweeps("demo", "faces", *SMALL)
        assert (ended.code, ended.out) == (0, "")
        assert ended.err.splitlines()[-5:] == [
            "84 drawn photos of 12 persons (32x24 JPEG, up to 18 classes): data/faces/images",
            "their search spaces: search_spaces/mask.yaml, search_spaces/mask_small.yaml",
            "recommended here: search_spaces/mask_small.yaml (no GPU)",
            "next: sweeps check search_spaces/mask_small.yaml --train",
            "      sweeps run search_spaces/mask_small.yaml",
        ]
        folders = sorted(Path("data/faces/images").iterdir())
        assert len(folders) == 12
        for folder in folders:
            assert re.fullmatch(r"0000\d\d_(male|female)_[A-Z][a-z]+_\d\d", folder.name)
            assert {path.name for path in folder.iterdir()} == {
                *(f"mask{number}.jpg" for number in range(1, 6)),
                "incorrect_mask.jpg",
                "normal.jpg",
            }
            with Image.open(folder / "normal.jpg") as image:
                assert (image.format, image.size) == ("JPEG", (24, 32))
        for space in ("mask.yaml", "mask_small.yaml"):
            written = Path("search_spaces") / space
            assert written.read_text() == (ROOT / written).read_text()
        assert {path.name for path in Path("data/faces").iterdir()} == {"images", "faces.json"}

    def test_the_same_call_draws_the_same_and_completes_what_is_missing(
        self, sweeps: Callable[..., Ended]
    ):
        sweeps("demo", "faces", *SMALL)
        before = self.files()
        shutil.rmtree(next(Path("data/faces/images").iterdir()))
        assert sweeps("demo", "faces", *SMALL).code == 0
        assert self.files() == before

    def test_a_space_that_the_user_has_stays_and_the_other_one_is_written(
        self, sweeps: Callable[..., Ended]
    ):
        Path("search_spaces").mkdir()
        Path("search_spaces/mask.yaml").write_text("# mine now\n")
        said = sweeps("demo", "faces", *SMALL).err.splitlines()
        assert said[-4] == "their search space: search_spaces/mask_small.yaml"
        assert Path("search_spaces/mask.yaml").read_text() == "# mine now\n"
        again = sweeps("demo", "faces", *SMALL).err
        assert "their search space" not in again
        assert again.splitlines()[-3:] == said[-3:]

    def test_with_a_gpu_and_weights_the_pretrained_networks_are_recommended(
        self, sweeps: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        with model_hub({}) as (address, asked):
            move_hub(monkeypatch, address)
            said = sweeps("demo", "faces", *SMALL, "--data", "else").err.splitlines()
        assert len([question for question in asked if question.startswith("HEAD ")]) == 1
        data = "--set data.source=else/faces/images"
        assert said[-3:] == [
            "recommended here: search_spaces/mask.yaml (a GPU, and pretrained weights can be had)",
            f"next: sweeps check search_spaces/mask.yaml {data} --train",
            f"      sweeps run search_spaces/mask.yaml {data}",
        ]
        move_hub(monkeypatch, nowhere())
        said = sweeps("demo", "faces", *SMALL).err.splitlines()
        assert said[-3] == (
            "recommended here: search_spaces/mask_small.yaml (pretrained weights are not in the "
            "cache, and the model hub does not answer)"
        )

    def test_the_next_commands_work_wherever_they_were_drawn(self, sweeps: Callable[..., Ended]):
        ended = sweeps("demo", "faces", *SMALL, "--data", "else where")
        check, run = ended.err.splitlines()[-2:]
        program, command, *following = shlex.split(run)
        assert (program, command) == ("sweeps", "run")
        assert shlex.split(check) == ["next:", "sweeps", "check", *following, "--train"]
        checked = sweeps("check", *following, "--set=folds.k=2")
        assert checked.code == 0
        assert "classes    18 of mask, gender, age" in checked.out
        assert "groups     12 (person)" in checked.out

    @pytest.mark.parametrize("size", ["x", "32", "32x", "axb", "0x24", "4x4", "8x8", "-32x24"])
    def test_a_size_that_is_none_is_refused(self, sweeps: Callable[..., Ended], size: str):
        ended = sweeps("demo", "faces", "--persons", 1, f"--size={size}")
        if size == "32":
            assert ended.code == 0  # a square
            return
        assert (ended.code, ended.out) == (2, "")
        assert re.match(
            rf"error: (--size: .* got '{size}'$|cannot draw .* of {size} pixels; at least)",
            ended.err,
        )
        assert len(ended.err.splitlines()) == 1
        assert not Path("data").exists()
        assert not Path("search_spaces").exists()

    @pytest.mark.parametrize("persons", ["0", "-1", "many"])
    def test_a_number_of_persons_that_is_none_is_refused(
        self, sweeps: Callable[..., Ended], persons: str
    ):
        ended = sweeps("demo", "faces", f"--persons={persons}")
        assert (ended.code, ended.out) == (2, "")
        assert "--persons" in ended.err
        assert "Traceback" not in ended.err
        assert not Path("data").exists()

    @pytest.mark.parametrize(
        "option", [("--persons", 3), ("--size", "32x24")], ids=["persons", "size"]
    )
    def test_options_of_the_faces_are_not_silently_ignored_for_the_digits(
        self, sweeps: Callable[..., Ended], option: tuple[str, object]
    ):
        ended = sweeps("demo", "digits", *option)
        assert ended == Ended(
            2, "", "error: --persons and --size are for faces; the digits are what they are\n"
        )
        assert not Path("data").exists()

    def test_other_arguments_in_the_same_folder_are_refused(self, sweeps: Callable[..., Ended]):
        sweeps("demo", "faces", *SMALL)
        before = self.files()
        for other in (("--persons", 13, "--size", "32x24"), ("--persons", 12, "--size", "24x32")):
            ended = sweeps("demo", "faces", *other)
            assert (ended.code, ended.out) == (2, "")
            assert ended.err.startswith("error: data/faces: holds 12 persons of 32x24 pixels")
            assert "Delete the folder or choose another one" in ended.err
            assert len(ended.err.splitlines()) == 1
        assert self.files() == before

    def test_photos_that_were_not_drawn_here_are_left_alone(self, sweeps: Callable[..., Ended]):
        mine = Path("data/faces/images/000001_female_Asian_20/normal.jpg")
        mine.parent.mkdir(parents=True)
        mine.write_bytes(b"my sister")
        ended = sweeps("demo", "faces", *SMALL)
        assert ended == Ended(
            2,
            "",
            "error: data/faces/images: exists, but was not drawn here (no faces.json). "
            "Choose another folder\n",
        )
        assert self.files() == {mine: b"my sister"}
