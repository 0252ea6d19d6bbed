"""What `sweeps check` warns of: photos of one person, one file,
or one scene on both sides of a split.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeps.samples.faces import write_faces
from tests.sweeps.cli.checks import shown, warnings, write_rows
from tests.sweeps.cli.conftest import Ended

pytestmark = pytest.mark.usefixtures("two_cores")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve persons, seven photos each, two persons of each gender and age band;
    never changed by a test.
    """
    return write_faces(tmp_path_factory.mktemp("faces"), persons=12, size_HW=(48, 36))


PERSONS = r"(12 of 12|11 of 12|10 of 12)"
LEAK = rf"{PERSONS} folders with several images have them in several folds, e\.g\. "
ADVICE = r": probably one person, video or object each\. Name a group: data\.group"


class TestLeaks:
    """A leaky copy of the faces data: photos of one person on both sides of a split."""

    def profiles(self, faces: Path, space: Callable[..., Path], more: str = "") -> Path:
        return space(
            ("{source: photos/train.csv}", f"{{source: '{faces}', layout: profile_folders{more}}}"),
            ("k: 2", "k: 2, seed: 1"),
        )

    def rows(self, faces: Path) -> list[tuple[str, str]]:
        """Paths and whether a mask is worn."""
        return [
            (str(path.relative_to(faces)), "worn" if path.stem.startswith("mask") else "other")
            for path in sorted(faces.rglob("*.jpg"))
        ]

    def test_persons_that_stay_whole_are_no_leak(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], faces: Path
    ):
        ended = sweeps("check", self.profiles(faces, space))
        assert (ended.code, warnings(ended)) == (0, [])
        assert "groups     12 (person)" in ended.out
        assert "classes    18 of mask, gender, age" in ended.out

    def test_profile_folders_without_a_group(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], faces: Path
    ):
        ended = sweeps("check", self.profiles(faces, space), "--set", "data.group=null")
        assert ended.code == 0
        (leak,) = warnings(ended)
        assert re.fullmatch(
            rf"{LEAK}0000\d\d_(fe)?male_[A-Z][a-z]+_\d\d \(7 images in folds 0, 1\){ADVICE}", leak
        )
        page = Path("runs/tiny/check/check.html").read_text()
        assert leak in page
        example = re.search(r"e\.g\. (\S+)", leak)
        assert example is not None
        assert len(re.findall(rf"{example[1]}/\w+\.jpg", page)) >= 2  # the pair is shown

    def test_a_csv_without_a_group(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], faces: Path
    ):
        write_rows(
            Path("all.csv"),
            "path,label",
            [[faces / path, label] for path, label in self.rows(faces)],
        )
        path = space(("photos/train.csv", "all.csv, allow_outside: true"))
        (leak,) = warnings(sweeps("check", path))
        assert re.fullmatch(
            rf"{LEAK}\S*0000\d\d_(fe)?male_[A-Z][a-z]+_\d\d \(7 images in folds 0, 1\){ADVICE}",
            leak,
        )

    def test_photos_of_all_persons_in_one_folder(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], faces: Path
    ):
        Path("flat").mkdir()
        rows: list[list[object]] = []
        for number, (path, label) in enumerate(self.rows(faces)):
            name = f"{path.split('/')[0].split('_')[0]}_{number % 7}.jpg"  # 000001_3.jpg
            shutil.copy(faces / path, Path("flat") / name)
            rows.append([name, label])
        write_rows(Path("flat/rows.csv"), "path,label", rows)
        (leak,) = warnings(sweeps("check", space(("photos/train.csv", "flat/rows.csv"))))
        assert re.search(
            rf"^{PERSONS} file names with several images have .* e\.g\. 0000\d\d \(7 images in "
            r"folds 0, 1\)",
            leak,
        )

    @pytest.mark.parametrize("grouped", [False, True])
    def test_folds_of_a_column_that_split_a_person(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], faces: Path, grouped: bool
    ):
        rows = [
            [faces / path, label, path.split("/")[0], number % 2]
            for number, (path, label) in enumerate(self.rows(faces))
        ]
        write_rows(Path("all.csv"), "path,label,who,fold", rows)
        more = ", group: who" if grouped else ""
        path = space(
            ("photos/train.csv", f"all.csv, allow_outside: true{more}"),
            ("{k: 2}", "{column: fold}"),
        )
        ended = sweeps("check", path)
        if not grouped:
            assert "folds      2 (column fold)" in ended.out
            (leak,) = warnings(ended)
            assert re.fullmatch(rf"{LEAK}\S+ \(7 images in folds 0, 1\){ADVICE}", leak)
            return
        assert (ended.code, ended.out) == (2, "")
        error = shown(ended).err
        assert error.startswith(f"error: {Path.cwd().root}")
        assert (
            "12 groups have images on both sides of a split, so a model would be scored on groups "
            "that it has" in error
        )
        assert "\n  000001_female_Caucasian_19: fold 0, fold 1\n" in error
        assert not Path("runs").exists()

    def test_one_file_with_two_classes(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], photos: Path
    ):
        copy_photos(photos)
        shutil.copy("own/00.png", "own/twin.png")  # red
        with Path("own/train.csv").open("a") as file:
            file.write("twin.png,blue\n")
        told = warnings(sweeps("check", space(("photos/train.csv", "own/train.csv"))))
        assert told[0] == (
            "1 file is there several times with different classes (2 images), "
            "e.g. line 2: 00.png and line 62: twin.png as 'red' and 'blue'. Correct or drop them: "
            "data.corrections"
        )
        page = Path("runs/tiny/check/check.html").read_text()
        assert "1 file is there several times" in page
        assert re.search(r"red, fold [01] \| blue, fold [01]", page)

    def test_near_duplicates_across_folds(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], faces: Path
    ):
        """Shots repeated at another quality, under names that tell nothing."""
        rows: list[list[object]] = []
        Path("shots").mkdir()
        for number, (path, label) in enumerate(self.rows(faces)):
            for copy, quality in enumerate((95, 70)):
                name = f"{np.random.default_rng([number, copy]).bytes(8).hex()}.jpg"
                with Image.open(faces / path) as image:
                    image.resize((72, 96)).save(Path("shots") / name, quality=quality)
                rows.append([name, label])
        write_rows(Path("shots/rows.csv"), "path,label", rows)
        path = space(("photos/train.csv", "shots/rows.csv"))
        (leak,) = warnings(sweeps("check", path))
        assert re.fullmatch(
            r"\d\d clusters of near-duplicates \(\d{2,3} images\) have images in several folds, "
            r"e\.g\. line \d+: \w+\.jpg \(fold [01]\) and line \d+: \w+\.jpg \(fold [01]\)\. "
            r"Name a group: data\.group \(a column, or near_duplicates\), or set data\.keep: "
            r"one_per_cluster",
            leak,
        )
        for repair in ("data.group=near_duplicates", "data.keep=one_per_cluster"):
            assert warnings(sweeps("check", path, "--set", repair)) == []


def copy_photos(photos: Path) -> None:
    shutil.copytree(photos, "own")
