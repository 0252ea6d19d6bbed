"""Data sets and options of the data that cannot be used, and what to do about each."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweeps.cli.conftest import Ended
from tests.sweeps.cli.refusals import broken, refused


class TestData:
    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (
                None,
                "all.csv: no such file or folder. Set data.source to one (`sweeps demo digits` "
                "writes one)",
            ),
            ("", "all.csv: the file is empty. It needs a header line and one row per image"),
            (
                "path,label\n",
                "all.csv: no images found. A CSV needs at least one row, a folder one sub-folder "
                "per class",
            ),
            (
                "path,class\n1.png,a\n",
                "all.csv: no column 'label' (data.label). Columns there: 'path', 'class'",
            ),
            (
                "file,label\n1.png,a\n",
                "all.csv: no column 'path' (data.image). Columns there: 'file', 'label'. The cells "
                "of 'file' look like paths: write `image: file` below data",
            ),
        ],
        ids=["missing", "empty", "only a header", "no label column", "no image column"],
    )
    @pytest.mark.parametrize("command", [["run", "--local"], ["check"]], ids=["run", "check"])
    def test_a_csv_that_cannot_be_used(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        command: list[str],
        content: str | None,
        problem: str,
    ):
        if content is not None:
            Path("all.csv").write_text(content)
        refused(sweeps(*command, space(("photos/train.csv", "all.csv"))), problem)

    def test_an_image_that_is_missing_is_named_with_its_row(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], rows: list[str]
    ):
        Path("all.csv").write_text("\n".join([*rows[:5], "photos/gone.png,red", *rows[5:]]))
        path = space(("photos/train.csv", "all.csv"))
        refused(
            sweeps("run", path, "--local", "--set", "data.max_rejected=0"),
            f"all.csv: 1 of 61 images do not exist (paths are relative to {Path.cwd()}), more than "
            "data.max_rejected (0%) allows\n  line 6: photos/gone.png",
        )
        checked = sweeps("check", path, "--set", "data.allow_outside=true")
        assert checked.code == 0
        note = "note: 1 of 61 images do not exist, and their rows are rejected: line 6: photos/gone"
        assert note in checked.err
        assert "missing     1" in checked.out

    def test_an_image_that_is_unreadable_is_named_with_its_row(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], rows: list[str]
    ):
        broken(rows)
        refused(
            sweeps(
                "run",
                space(("photos/train.csv", "all.csv, allow_outside: true")),
                "--local",
                "--set",
                "data.max_rejected=0",
            ),
            "all.csv: 1 of 61 rows cannot be used (1 unreadable), more than data.max_rejected (0%) "
            "allows. Repair them, or raise it; the rejected.csv of `sweeps check` lists them\n"
            "  line 62: broken.png (unreadable: not an image "
            "(JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM, JPEG2000, AVIF can be read))",
        )

    def test_a_class_with_fewer_images_than_folds(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], photos: Path
    ):
        refused(
            sweeps("run", space(("k: 2", "k: 21")), "--local"),
            f"{photos.resolve()}: 3 of 3 classes have fewer images than the 21 folds: 'blue' (20), "
            "'green' (20), 'red' (20). Lower folds.k to 20",
        )


COLUMNS = "Columns there: 'path', 'label'"
INSTALL = (
    r"needs OpenCV, which cannot be imported \(.*\)\. Install it: pip install 'foldsweep\[crops\]'"
)


class TestOptionsOfTheData:
    """What a new user gets wrong in the sections data and folds."""

    @pytest.mark.parametrize(
        "command", [["run", "--local"], ["check"], ["prepare"]], ids=["run", "check", "prepare"]
    )
    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            (["data.label=class"], f"photos/train.csv: no column 'class' (data.label). {COLUMNS}"),
            (
                ["data.label=[label, age]"],
                f"photos/train.csv: no column 'age' (data.label). {COLUMNS}",
            ),
            (
                ["data.group=person"],
                f"photos/train.csv: no column 'person' (data.group). {COLUMNS}",
            ),
            (["data.box=[l, t, r, b]"], f"photos/train.csv: no column 'l' (data.box). {COLUMNS}"),
            (
                ["parameters.crop.value=box"],
                "photos/train.csv: crop: box needs the columns of the box: data.box: [left, top, "
                "right, bottom]",
            ),
            (
                ["folds={column: fold}"],
                f"photos/train.csv: no column 'fold' (folds.column). {COLUMNS}",
            ),
            (["folds.file=gone.npz"], "gone.npz: no such file (folds.file)"),
            (["data.corrections=gone.csv"], "gone.csv: no such file (data.corrections)"),
            (["data.valid=gone.csv"], "gone.csv: no such file or folder"),
            (
                ["data.layout=profile_folders"],
                "photos/train.csv: data.layout profile_folders needs a folder, and this is",
            ),
            (
                ["data.fill=pink"],
                "tiny.yaml: 1 problem\n"
                "  data.fill: a colour is white, black, grey or '#rrggbb', got 'pink' (from --set)",
            ),
        ],
        ids=[
            "label",
            "labels",
            "group",
            "box",
            "no box",
            "fold",
            "folds file",
            "corrections",
            "valid",
            "layout",
            "fill",
        ],
    )
    def test_each_is_named(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        command: list[str],
        settings: list[str],
        problem: str,
    ):
        ended = sweeps(
            *command, space(), *(word for setting in settings for word in ("--set", setting))
        )
        assert ended.err.startswith(f"error: {problem}")  # at once: no image has been read
        refused(ended, ended.err.removeprefix("error: ").removesuffix("\n"))
        assert not Path("runs").exists()

    def test_a_space_without_data(self, sweeps: Callable[..., Ended], space: Callable[..., Path]):
        for command in (["run", "--local"], ["check"], ["prepare"]):
            refused(
                sweeps(*command, space(("data: {source: photos/train.csv}\n", ""))),
                "tiny.yaml: 1 problem\n"
                "  data: missing. "
                "Write data: {source: images.csv} or data: {source: "
                "folder-with-one-sub-folder-per-class}",
            )
            refused(
                sweeps(*command, space(("{source: photos/train.csv}", "{image: path}"))),
                "tiny.yaml: 1 problem\n"
                "  line 6  data.source: missing. A CSV or Parquet file, or a folder with one "
                "sub-folder per class",
            )
        assert not Path("runs").exists()

    @pytest.mark.parametrize(
        "command", [["run", "--local"], ["check"], ["prepare"]], ids=["run", "check", "prepare"]
    )
    def test_what_has_to_be_installed_is_said(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        command: list[str],
    ):
        monkeypatch.setitem(sys.modules, "cv2", None)
        for setting, purpose in (
            ("parameters.crop.value=face", "crop: face"),
            ("parameters.background.value=remove", "background: remove"),
        ):
            ended = sweeps(*command, space(), "--set", setting)
            assert re.fullmatch(rf"error: {purpose} {INSTALL}\n", ended.err)
            refused(ended, ended.err.removeprefix("error: ").removesuffix("\n"))
        assert not Path("runs").exists()

    def test_weights_that_are_not_there(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        pytest.importorskip("cv2", reason="needs the extra 'crops', which CI installs")
        for command in (["run", "--local"], ["check"], ["prepare"]):
            settings = [
                "--set",
                "parameters.crop.value=face",
                "--set",
                "data.face_weights=gone.onnx",
            ]
            refused(
                sweeps(*command, space(), *settings),
                f"data.face_weights: {Path.cwd()}/gone.onnx is not a file. "
                "Give the path of a model (.onnx); none is downloaded",
            )
        assert not Path("runs").exists()

    def test_a_folds_file_that_is_none(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        Path("mine.npz").write_text("fold 0")
        for command in (["run", "--local"], ["check"], ["prepare"]):
            ended = sweeps(*command, space(), "--set", "folds.file=mine.npz")
            assert ended.err.startswith("error: mine.npz: not a readable folds file (")
            refused(ended, ended.err.removeprefix("error: ").removesuffix("\n"))

    def test_corrections_of_unknown_images_and_classes(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        Path("fixes.csv").write_text("path,label\ngone.png,red\n00.png,pink\n")
        for command in (["run", "--local"], ["check"], ["prepare"]):
            refused(
                sweeps(*command, space(), "--set", "data.corrections=fixes.csv"),
                "fixes.csv: 2 corrections cannot be used\n"
                "  line 2: gone.png is not in photos/train.csv (there: 00.png, ...)\n"
                "  line 3: unknown class 'pink'. Known: blue, green, red, or drop",
            )

    def test_no_row_that_can_be_used(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        """Nothing can be shown of a data set without a usable row, however tolerant one is."""
        path = space(("photos/train.csv", "all.csv, allow_outside: true"))
        Path("all.csv").write_text("path,label\nphotos/00.png,\nphotos/01.png,nan\n")
        ended = sweeps("check", path)
        assert (ended.code, ended.out) == (2, "")
        kept = Path("runs/tiny/check/rejected.csv").read_text()
        assert kept.splitlines() == [
            "line,path,reason,detail",
            "2,photos/00.png,no label,label is empty",
            "3,photos/01.png,no label,label is empty",
        ]
        for line in (2, 3):
            assert (
                f"  line {line}: photos/{line - 2:02d}.png (no label: label is empty)\n"
                in ended.err
            )
