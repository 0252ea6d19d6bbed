"""A search space is validated and shown; nothing is started."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.sweeps.cli.checks import shown, warnings, write_rows
from tests.sweeps.cli.conftest import Ended
from trainer.data.fold_files import load_folds

pytestmark = pytest.mark.usefixtures("two_cores")


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
        "end        6.0 hours or 2.5 GPU-hours or a score of 0.9, 2 folds each, "
        "up to 1 epoch a fold",
        "early end  none: every trial trains all folds",
        "resources  its GPU's share of the CPUs and 0.5 GPU per trial; this machine has 2 CPU",
    ]
    raced = sweeps("check", path, "--set", "run_cap=16", "--set", "folds.race=true")
    assert raced.out.splitlines()[2] == (
        "early end  the fold race; up to 4 that help the ensemble are finished at the end"
    )
    settings = [
        "--set",
        "run_cap=3",
        "--set",
        "early_terminate={type: median}",
        "--set",
        "resources={cpu: 2}",
    ]
    assert sweeps("check", path, *settings).out.splitlines()[1:4] == [
        "end        3 trials or 6.0 hours or 2.5 GPU-hours or a score of 0.9, 2 folds each, "
        "up to 1 epoch a fold",
        "early end  median",
        "resources  2 CPU and one GPU where there is one per trial; this machine has 2 CPU",
    ]


def test_what_would_be_ranked_as_an_artefact_is_a_warning(
    sweeps: Callable[..., Ended], space: Callable[..., Path]
):
    path = space(
        ("[sgd, adamw]}", "[adam, adamw]}\n  weight_decay: {value: 0}"),
        ("{value: cosine}", "{values: [cosine, step]}\n  step_epochs: {value: 7}"),
        ("epochs: {value: 1}", "epochs: {value: 3}"),
    )
    ended = sweeps("check", path)
    assert ended.code == 0
    assert warnings(ended) == [
        "scheduler step: the learning rate ends at 100% of lr "
        "(epochs=3, step_epochs=7, step_gamma=0.1), so weights are scored while they still move "
        "fast: leave step_epochs out, or make it smaller",
        "optimizer: adam and adamw cannot differ: trained on made-up images they gave the same "
        "weights, bit for bit, whatever the other parameters were. "
        "Keep one of them, or let a parameter vary that tells them apart",
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
        '64,text.png,unreadable,"not an image (JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM, JPEG2000, '
        'AVIF can be read)"',
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
        assert {file.parent for file in now.keys() - before.keys()} == {Path("runs/tiny-2/check")}
        theirs, ours = (
            load_folds(Path("runs") / name / "folds.npz") for name in ("tiny", "tiny-2/check")
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
