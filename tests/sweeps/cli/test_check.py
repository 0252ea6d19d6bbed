"""A search space is validated and shown; nothing is started."""

import csv
import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeps.samples.faces import write_faces
from tests.sweeps.cli.conftest import Ended
from trainer.data.folds import load_folds


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve persons, seven photos each, two persons of each gender and age band; never changed by a test."""
    return write_faces(tmp_path_factory.mktemp("faces"), persons=12, size_HW=(48, 36))


def shown(ended: Ended) -> Ended:
    """Without the lines about progress, which depend on what is known already."""
    progress = re.compile(
        r"^\d\d:\d\d:\d\d  (reading|comparing) images: [\d,]+ of [\d,]+\n", flags=re.MULTILINE
    )
    return dataclasses.replace(ended, err=progress.sub("", ended.err))


def warnings(ended: Ended) -> list[str]:
    return [
        line.removeprefix("warning: ")
        for line in ended.err.splitlines()
        if line.startswith("warning: ")
    ]


def write_rows(path: Path, header: str, rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def test_space_data_and_folds_are_shown(sweeps: Callable[..., Ended], space: Callable[..., Path]):
    path = space(
        ("method: random", "method: bayes\nproject: mine"),
        ("resize: {value: 16}", 'resize: {values: [16, "24x32"]}'),
        ("  lr:", "  momentum: {min: 0.8, max: 0.95, when: {optimizer: sgd}}\n  lr:"),
        ("batch_size: {value: 10}", "batch_size: {distribution: q_uniform, min: 8, max: 32, q: 8}"),
        (
            "lr: {min: 0.001, max: 0.02}",
            "lr: {distribution: log_uniform_values, min: 1e-5, max: 0.02}",
        ),
    )
    assert shown(sweeps("check", path)) == Ended(
        0,
        """\
sweep      tiny: maximize valid/f1, method bayes (tpe)
end        2 trials, 2 folds each, up to 1 epoch a fold
early end  the fold race
resources  1 CPU and 0 GPU per trial; this machine has 2 CPU
points     a continuous space
  fixed   backbone       test_efficientnet
  fixed   weights        none
  sampled resize         16, 24x32
  sampled batch_size     whole numbers 8 to 32 in steps of 8
  fixed   epochs         1
  sampled optimizer      sgd, adamw
  fixed   scheduler      cosine
  fixed   loss           cross_entropy
  sampled momentum       0.8 to 0.95  when optimizer in sgd
  sampled lr             log scale 1e-05 to 0.02
source     photos/train.csv
images     60
classes    3
folds      2 (stratified, seed 42)
shares     every class even over the folds within 10% or one image
decoded    16x16-stretch: 0.0 MB on disk, once
decoded    24x32-stretch: 0.1 MB on disk, once

Classes
class  images  fold 0  fold 1
blue       20      10      10
green      20      10      10
red        20      10      10

Image sizes (smallest 16 x 16, largest 16 x 16)
height x width  images
16 x 16             60

""",
        "note: not used here: project\npage       runs/tiny/check/check.html\n",
    )


def test_a_grid_shows_how_many_points_it_has(
    sweeps: Callable[..., Ended], space: Callable[..., Path]
):
    path = space(
        ("method: random", "method: grid"),
        ("run_cap: 2\n", ""),
        ("{min: 0.001, max: 0.02}", "{values: [0.1, 0.2]}"),
    )
    lines = sweeps("check", path).out.splitlines()
    assert lines[0] == "sweep      tiny: maximize valid/f1, method grid (grid)"
    assert lines[1] == "end        4 trials, 2 folds each, up to 1 epoch a fold"
    assert lines[4] == "points     4"


def test_every_end_and_what_a_trial_gets_is_shown(
    sweeps: Callable[..., Ended], space: Callable[..., Path]
):
    path = space(
        ("run_cap: 2", "budget: {hours: 6, gpu_hours: 2.5}"),
        ("maximize", "maximize, target: 0.9"),
        ("{k: 2}", "{k: 2, race: false}"),
        ("gpu: 0", "gpu: 0.5, cpu: auto"),
    )
    assert sweeps("check", path).out.splitlines()[1:4] == [
        "end        6.0 hours or 2.5 GPU-hours or a score of 0.9, 2 folds each, up to 1 epoch a fold",
        "early end  none: every trial trains all folds",
        "resources  its GPU's share of the CPUs and 0.5 GPU per trial; this machine has 2 CPU",
    ]
    settings = [
        "--set",
        "run_cap=3",
        "--set",
        "early_terminate={type: median}",
        "--set",
        "resources={cpu: 2}",
    ]
    assert sweeps("check", path, *settings).out.splitlines()[1:4] == [
        "end        3 trials or 6.0 hours or 2.5 GPU-hours or a score of 0.9, 2 folds each, up to 1 epoch a fold",
        "early end  median",
        "resources  2 CPU and one GPU where there is one per trial; this machine has 2 CPU",
    ]


def test_odd_data_are_shown_as_they_are(sweeps: Callable[..., Ended], space: Callable[..., Path]):
    """Groups, a holdout, and one row of every kind that is repaired or rejected."""
    odd_data(Path("odd"))
    path = space(
        ("{source: photos/train.csv}", "{source: odd/rows.csv, group: who}"),
        ("k: 2", "k: 2, holdout: 0.2"),
    )
    ended = shown(sweeps("check", path))
    assert (
        ended.out[ended.out.index("source ") :]
        == """\
source     odd/rows.csv
images     60, 3 of 63 rows rejected
classes    2
groups     20 (who)
folds      2 (stratified, seed 42)
shares     every class even over the folds within 10% or one group
holdout    12 images
decoded    16x16-stretch: 0.0 MB on disk, once

Classes
class  images  fold 0  fold 1  holdout
cat        30      12      12        6
dog        30      12      12        6

Groups
images in a group  groups
3                      20

Image sizes (smallest 8 x 20, largest 16 x 16)
height x width  images
16 x 16             59
8 x 20               1

Repaired
what                       images
greyscale turned to RGB         1
transparent pixels filled       1

Rejected
reason         rows
duplicate row     1
no label          1
unreadable        1

"""
    )
    assert (ended.code, ended.err) == (0, "page       runs/tiny/check/check.html\n")
    assert Path("runs/tiny/check/rejected.csv").read_text().splitlines()[1:] == [
        "62,3.png,duplicate row,the same as line 5: 3.png",
        "63,4.png,no label,label is empty",
        '64,text.png,unreadable,"not an image (JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM, JPEG2000, AVIF can be read)"',
    ]


def odd_data(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows: list[list[object]] = []
    for row in range(60):
        size = (
            (8, 20, 3)
            if row == 0
            else (16, 16, 4)
            if row == 1
            else (16, 16)
            if row == 2
            else (16, 16, 3)
        )
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{row}.png")
        rows.append([f"{row}.png", "cat" if row < 30 else "dog", f"person {row // 3}"])
    (folder / "text.png").write_text("no image")
    write_rows(
        folder / "rows.csv",
        "path,label,who",
        [*rows, rows[3], ["4.png", "", "person 1"], ["text.png", "cat", ""]],
    )


class TestFiles:
    def test_the_page_and_three_tables_are_written(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        assert sweeps("check", space(), "--runs", "mine").code == 0
        folder = Path("mine/tiny/check")
        assert json.loads((folder / "labels.json").read_text())["classes"] == {
            "0": "blue",
            "1": "green",
            "2": "red",
        }
        with (folder / "manifest.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert (len(rows), rows[0]["path"], rows[0]["class"], rows[0]["fold"] in "01") == (
            60,
            "00.png",
            "red",
            True,
        )
        assert (folder / "rejected.csv").read_text() == "line,path,reason,detail\n"
        page = (folder / "check.html").read_text()
        assert page.count("data:image/jpeg;base64,") == 3 * 12  # a contact sheet per class
        for text in (
            "blue",
            "green",
            "red",
            "20 images",
            "photos/train.csv",
            "stratified, seed 42",
        ):
            assert text in page
        assert not list(folder.glob("*.tmp"))

    def test_nothing_is_started(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
    ):
        for name in (
            "sweeps.study.storage.open_storage",
            "sweeps.study.lease.Lease.acquire",
            "sweeps.ray_tune.cluster.ray_cluster",
            "sweeps.running.trial.run_trial",
        ):
            monkeypatch.setattr(
                name, lambda *args, name=name, **options: pytest.fail(f"{name} was called")
            )
        assert sweeps("check", space()).code == 0
        assert [path.name for path in Path("runs").iterdir()] == ["tiny"]
        assert [path.name for path in Path("runs/tiny").iterdir()] == ["check"]

    def test_the_folds_are_those_of_the_sweep_that_follows(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        path = space()
        assert sweeps("check", path).code == 0
        assert sweeps("prepare", path).code == 0
        assert (
            load_folds(Path("runs/tiny/check/folds.npz")).hash
            == load_folds(Path("runs/tiny/folds.npz")).hash
        )

    def test_a_sweep_that_has_begun_stays_as_it_is(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        path = space(("photos/train.csv", "all.csv, allow_outside: true"))
        head, *rows = Path("photos/train.csv").read_text().splitlines()
        Path("all.csv").write_text("\n".join([head, *(f"photos/{row}" for row in rows)]))
        assert sweeps("run", path, "--local", "--trials", 1).code == 0
        before = {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()}
        Path("all.csv").write_text("\n".join([head, *(f"photos/{row}" for row in rows[2:])]))
        ended = sweeps("check", path)
        assert shown(ended).err.startswith(
            "note: images keep their folds (0 images are new, 2 are gone)\n"
        )
        now = {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()}
        assert {file: now[file] for file in before} == before
        assert {file.parent for file in now.keys() - before.keys()} == {Path("runs/tiny/check")}
        theirs, ours = (
            load_folds(Path("runs/tiny") / name) for name in ("folds.npz", "check/folds.npz")
        )
        fold_of = dict(zip(theirs.manifest.paths, theirs.fold_N.tolist(), strict=True))
        assert all(
            fold_of[path] == fold
            for path, fold in zip(ours.manifest.paths, ours.fold_N.tolist(), strict=True)
        )


class TestLongTables:
    def test_many_classes_are_cut_off_and_counted(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        for label in range(45):
            for image in range(2):
                file = Path(f"many/class {label}/{image}.png")
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (8, 8), (5 * label, 100 * image, 0)).save(file)
        lines = sweeps("check", space(("photos/train.csv", "many"))).out.splitlines()
        table = lines[lines.index("Classes") :]
        assert [line.split()[0] for line in table[1:42]] == ["class"] * 41
        assert table[42:44] == ["and 5 more on the page", ""]
        assert "class 9" in Path("runs/tiny/check/check.html").read_text()

    def test_too_many_rejected_rows_are_shown_and_not_refused(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        path = space(("photos/train.csv", "all.csv, allow_outside: true"))
        head, *rows = Path("photos/train.csv").read_text().splitlines()
        rows = [
            f"photos/{row}" if at > 6 else f"photos/{row.split(',')[0]},"
            for at, row in enumerate(rows)
        ]
        Path("all.csv").write_text("\n".join([head, *rows]))
        ended = sweeps("check", path)
        assert ended.code == 0
        assert ended.out.endswith("Rejected\nreason    rows\nno label     7\n\n")
        assert warnings(ended) == [
            "7 of 60 rows are rejected, more than data.max_rejected (10%): `sweeps run` refuses. "
            "Repair them (rejected.csv says why), or raise it"
        ]
        assert len(Path("runs/tiny/check/rejected.csv").read_text().splitlines()) == 8
        for command in (["prepare"], ["run", "--local"]):
            assert sweeps(*command, path).code == 2
        assert [file.name for file in Path("runs/tiny").iterdir()] == ["check"]


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
            rf"^{PERSONS} file names with several images have .* e\.g\. 0000\d\d \(7 images in folds 0, 1\)",
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
            "12 groups have images on both sides of a split, so a model would be scored on groups that it has"
            in error
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
            "e.g. line 2: 00.png and line 62: twin.png as 'red' and 'blue'. Correct or drop them: data.corrections"
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
            r"Name a group: data\.group \(a column, or near_duplicates\), or set data\.keep: one_per_cluster",
            leak,
        )
        for repair in ("data.group=near_duplicates", "data.keep=one_per_cluster"):
            assert warnings(sweeps("check", path, "--set", repair)) == []


def copy_photos(photos: Path) -> None:
    shutil.copytree(photos, "own")


WANDB = """\
program: train.py
method: bayes
name: My sweep!
metric: {name: val.loss, goal: minimize, target: 0.1, impute: best}
early_terminate: {type: hyperband, s: 2, eta: 3, max_iter: 27}
command: ["${env}", python, "${program}"]
parameters:
  lr: {distribution: log_uniform, min: -9.21034, max: 0}
  decay: {distribution: normal, mu: 1e-1, sigma: 0.5}
  units: {distribution: q_log_uniform_values, min: 16, max: 256, q: 16}
  opt: {values: [adam, sgd], probabilities: [0.7, 0.3]}
  model:
    parameters:
      layers: {values: [[64, 64], {conv: 3}]}
      act: {value: relu}
  momentum: {min: 0.5, max: 0.9, when: {opt: sgd}}
"""


class TestSpaceOnly:
    """The language alone."""

    def test_a_sweep_file_of_wandbs_is_shown_as_it_is(self, sweeps: Callable[..., Ended]):
        Path("theirs.yaml").write_text(WANDB)
        notice = (
            "lr: log_uniform is deprecated, its min and max are exponents of e: write "
            "distribution: log_uniform_values, min: 0.0001, max: 1"
        )
        name = (
            "name: 'My sweep!' cannot name a folder: letters, digits, '.', '_' and '-', starting with a letter or "
            "digit, at most 100; `sweeps run` needs another name"
        )
        assert sweeps("check", "--space-only", "theirs.yaml") == Ended(
            0,
            """\
sweep      My sweep!: minimize val.loss, method bayes (tpe)
early end  hyperband: keep_at_least 20, max_iter 27, s 2, eta 3.0, strict False
points     a continuous space
  sampled lr             log scale 0.0001 to 1
  sampled decay          normal (mu 0.1, sigma 0.5)
  sampled units          whole numbers log scale 16 to 256 in steps of 16
  sampled opt            adam (0.7), sgd (0.3)
  sampled model.layers   [64, 64], {'conv': 3}
  fixed   model.act      relu
  sampled momentum       0.5 to 0.9  when opt in sgd
""",
            f"note: not used here: program, command, metric.impute\nnote: {name}\nnote: {notice}\n",
        )
        assert not Path("runs").exists()
        ended = sweeps("check", "--space-only", "theirs.yaml", "--json")
        assert (ended.code, ended.err) == (0, "")
        found = json.loads(ended.out)
        assert found.pop("notices") == [
            "not used here: program, command, metric.impute",
            name,
            notice,
        ]
        parameters = found.pop("parameters")
        assert found == {
            "name": "My sweep!",
            "method": "bayes",
            "sampler": "tpe",
            "metric": {"name": "val.loss", "goal": "minimize", "target": 0.1},
            "run_cap": None,
            "grid_points": None,
            "grid_points_or_more": False,
            "early_terminate": {
                "type": "hyperband",
                "min_iter": None,
                "max_iter": 27,
                "s": 2,
                "eta": 3.0,
                "strict": False,
                "keep_at_least": 20,
            },
        }
        assert list(parameters) == [
            "lr",
            "decay",
            "units",
            "opt",
            "model.layers",
            "model.act",
            "momentum",
        ]
        assert parameters["units"] == {
            "kind": "q_log_uniform_values",
            "min": 16,
            "max": 256,
            "q": 16,
            "integer": True,
            "log": True,
            "law": {"name": "log_uniform", "low": 16, "high": 256},
            "when": {},
        }
        assert parameters["decay"]["law"] == {"name": "normal", "mu": 0.1, "sigma": 0.5}
        weighted = {
            "kind": "categorical",
            "values": ["adam", "sgd"],
            "probabilities": [0.7, 0.3],
            "when": {},
        }
        assert parameters["opt"] == weighted
        assert parameters["model.layers"]["values"] == [[64, 64], {"conv": 3}]
        assert parameters["model.act"] == {"kind": "constant", "value": "relu", "when": {}}
        assert parameters["momentum"]["when"] == {"opt": ["sgd"]}

    @pytest.mark.parametrize(
        ("entry", "shown", "points", "or_more"),
        [
            ("{a: {min: 1, max: 3}, b: {values: [x, y], when: {a: 2}}}", "4", 4, False),
            ("{a: {min: 1, max: 3000000}}", "1,000,000 or more", 1_000_000, True),
            ("{a: {distribution: q_beta, q: 0.1}}", "11", 11, False),
        ],
    )
    def test_a_grid_is_counted(
        self, sweeps: Callable[..., Ended], entry: str, shown: str, points: int, or_more: bool
    ):
        Path("grid.yaml").write_text(f"method: grid\nparameters: {entry}\n")
        ended = sweeps("check", "--space-only", "grid.yaml")
        assert ended.out.splitlines()[:2] == [
            "sweep      grid: method grid (grid)",
            f"points     {shown}",
        ]
        found = json.loads(sweeps("check", "--space-only", "grid.yaml", "--json").out)
        assert (found["grid_points"], found["grid_points_or_more"]) == (points, or_more)

    def test_a_search_space_of_ours_is_read_as_well(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        path = space(("photos/train.csv", "not/there.csv"))
        assert sweeps("check", "--space-only", path).code == 0
        assert (
            "minimize" in sweeps("check", "--space-only", path, "--set", "metric={name: any}").out
        )

    def test_a_key_that_is_null_is_absent(self, sweeps: Callable[..., Ended]):
        keys = ("early_terminate", "metric", "run_cap", "name", "sampler")
        Path("x.yaml").write_text("method: random\nparameters: {a: {values: [1, 2]}}\n")
        plain = sweeps("check", "--space-only", "x.yaml", "--json")
        with Path("x.yaml").open("a") as file:
            file.writelines(f"{key}: null\n" for key in keys)
        assert sweeps("check", "--space-only", "x.yaml", "--json") == plain
        assert plain.code == 0

    def test_a_missing_goal_is_a_note(self, sweeps: Callable[..., Ended]):
        Path("x.yaml").write_text(
            "method: bayes\nmetric: {name: any}\nparameters: {a: {values: [1, 2]}}\n"
        )
        ended = sweeps("check", "--space-only", "x.yaml")
        expected = (
            "note: metric.goal is missing: W&B minimises then; `sweeps run` wants it written\n"
        )
        assert (ended.code, ended.err) == (0, expected)

    def test_all_problems_are_told_with_their_lines(self, sweeps: Callable[..., Ended]):
        Path("wrong.yaml").write_text(
            """\
metod: bayes
method: grid
metric: {goal: lowest}
early_terminate: {type: hyperbnd}
run_cap: 0
parameters:
  lr: {distribution: normal, min: 0}
  drop: {min: 0.0, max: 1.0}
  opt: {values: [a, b], probabilities: [1]}
  c: {value: 1, when: {op: a}}
"""
        )
        assert sweeps("check", "--space-only", "wrong.yaml", "--set", "sampler=tpe") == Ended(
            2,
            "",
            """\
error: wrong.yaml: 9 problems
  sampler: 'tpe' does not fit method: grid. Allowed: grid, brute_force; tpe goes with method: bayes or custom (from \
--set)
  line 1  metod: unknown key. Did you mean 'method'? Allowed here: budget, data, description, early_terminate, folds, \
keep, method, metric, name, parameters, resources, retries, run_cap, sampler, seed, start_with, warm_start
  line 3  metric.name: missing. Known: valid/f1, valid/accuracy, valid/balanced_accuracy, valid/loss, valid/log_loss, \
valid/ece
  line 3  metric.goal: unknown value 'lowest'. Known: maximize, minimize
  line 4  early_terminate.type: unknown value 'hyperbnd'. Did you mean 'hyperband'? Known: none, hyperband, median, \
percentile, patient, threshold, wilcoxon
  line 5  run_cap: input should be greater than or equal to 1, got 0
  line 7  parameters.lr.min: normal takes no 'min'. Allowed: distribution, mu, sigma, when
  line 9  parameters.opt.probabilities: expected a list of 2 probabilities, one for each value, got [1]
  line 10  parameters.c.when.op: unknown parameter 'op'. Did you mean 'opt'?
""",
        )

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("method: bayes", "line 1  method: bayes learns from a metric, and there is none. "),
            (
                "early_terminate: {type: hyperband, min_iter: 3}",
                "line 1  early_terminate: hyperband compares trials by a metric, and there is none. ",
            ),
            (
                "method: [grid]",
                "line 1  method: unknown value ['grid']. Known: bayes, random, grid, custom",
            ),
            ("start_with: [{b: 1}]", "line 1  start_with.0.b: unknown parameter 'b'. Known: a"),
            ("name: 3", "line 1  name: input should be a valid string, got 3"),
        ],
    )
    def test_a_rule_of_the_language_is_kept(
        self, sweeps: Callable[..., Ended], text: str, problem: str
    ):
        Path("x.yaml").write_text(f"{text}\nparameters: {{a: {{values: [1, 2]}}}}\n")
        ended = sweeps("check", "--space-only", "x.yaml")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith(f"error: x.yaml: 1 problem\n  {problem}")

    def test_json_is_of_the_language_alone(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        ended = sweeps("check", space(), "--json")
        expected = "error: --json goes with --space-only; the page of `sweeps check` has the data\n"
        assert ended == Ended(2, "", expected)
