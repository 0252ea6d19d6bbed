"""Predictions as a user asks for them: the file, what is said, and what made it."""

import csv
import dataclasses
import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sweeps.cli.predict import mix_rows
from sweeps.paths import SweepFiles
from tests.sweeps.cli.conftest import Ended
from tests.sweeps.trained import write_people
from trainer.files import file_digest
from trainer.metrics import Probs
from trainer.prediction import predicting
from trainer.prediction.mixture import Mixture
from trainer.prediction.predicting import Predictor, answers, mix, plan_of
from trainer.prediction.store import Store
from trainer.prediction.unseen import read_unseen
from trainer.training.fit import pick_device

Call = Callable[..., Ended]
NEW = 6  # persons with four photos each
CLASSES = ("dark / day", "dark / night", "light / day", "light / night")


@pytest.fixture(autouse=True)
def _new_people(people: Path, home: Path) -> None:
    """In the working folder: `runs` with a trained sweep, and `test` with photos of new persons."""
    write_people(home / "test", persons=NEW, seed=1)
    (home / "test" / "train.csv").rename(home / "test" / "test.csv")


def table(path: str) -> list[list[str]]:
    with Path(path).open(newline="") as file:
        return list(csv.reader(file))


def about(path: str = "sub.json") -> dict:
    return json.loads(Path(path).read_text())


def expected(made: dict, source: str = "test") -> tuple[Mixture, Probs]:
    """The mixture that a .json names, and its probabilities, without the command."""
    from sweeps.shipping.members import TrialFiles
    from trainer.data.options import DataOptions
    from trainer.prediction.fold_model import read_fold_model

    mixture = Mixture.from_json(made["mixture"])
    folds = SweepFiles.of(Path("runs"), "people").folds()
    models = {}
    for member in mixture.members:
        files = TrialFiles(Path("runs", member.name))
        models[member.name] = [
            read_fold_model(files.fold(fold), config=files.config, folds=folds) for fold in (0, 1)
        ]
    predictor = Predictor(mixture, models, (0.25,) * 4)
    unseen = read_unseen(DataOptions(source=source))
    plan = plan_of(predictor, unseen)
    found = answers(plan, device=pick_device("cpu"), store=Store())
    return mixture, mix(predictor, unseen, found).probs_NK


def test_a_folder_of_images_becomes_a_table_of_classes(sweeps: Call):
    ended = sweeps("predict", "--source", "test", "--out", "out/sub.csv")
    made = about("out/sub.json")
    assert ended.code == 0
    head, estimate, columns, *classes = ended.out.splitlines()
    assert head == f"out/sub.csv: 24 rows, 24 images predicted by {made['what']}"
    assert re.fullmatch(r"f1 on new groups: \d\.\d{4} \(95 %: -?\d\.\d{4} to \d\.\d{4}\)", estimate)
    assert columns.split() == ["class", "training", "predicted"]
    assert [re.split(r"  +", line)[:2] for line in classes] == [[c, "25.0 %"] for c in CLASSES]
    assert re.search(r"\d\d:\d\d:\d\d  predicting: (\d+) of \1\n$", ended.err)
    assert sorted(os.listdir("out")) == ["sub.csv", "sub.json", "sub.probs.npz"]
    mixture, probs_NK = expected(made)
    paths = [f"p{person:02d}/{person:02d}-{photo}.png" for person in range(6) for photo in range(4)]
    names = [CLASSES[label] for label in mixture.decision.of(probs_NK)]
    assert table("out/sub.csv") == [
        ["path", "class", "tone", "time"],
        *([path, name, *name.split(" / ")] for path, name in zip(paths, names, strict=True)),
    ]
    with np.load("out/sub.probs.npz") as file:
        assert file["ids"].tolist() == paths
        assert file["classes"].tolist() == list(CLASSES)
        np.testing.assert_array_equal(file["probs"], probs_NK)


def test_everything_that_made_the_file_is_beside_it(sweeps: Call):
    sweeps("predict", "--source", "test", "--out", "sub.csv", "--tta", "flip", "--trial", 2)
    made = about()
    assert made["what"] == "trial 2"
    assert (made["sweep"], made["metric"], made["tta"]) == ("people", "f1", "flip")
    assert made["folds_hash"] == SweepFiles.of(Path("runs"), "people").folds().hash
    assert made["digest"] == file_digest(Path("sub.csv"))
    assert (made["images"], made["rows"], made["skipped"], made["estimate"]) == (24, 24, {}, None)
    assert made["source"] == str(Path("test").resolve())
    assert [(model["member"], model["fold"]) for model in made["models"]] == [
        ("people/trial-0002", 0),
        ("people/trial-0002", 1),
    ]
    for model in made["models"]:
        assert file_digest(Path(model["weights"])) == model["digest"]
    assert sum(shares["predicted"] for shares in made["classes"].values()) == pytest.approx(1)
    assert set(made["versions"]) == {"python", "torch", "timm", "numpy", "pillow"}


def test_a_table_is_predicted_in_its_order_and_a_template_keeps_its_own(sweeps: Call):
    lines = Path("test/test.csv").read_text().splitlines()
    Path("test/some.csv").write_text("\n".join([lines[0], *lines[:0:-1][:5]]) + "\n")
    sweeps("predict", "people", "--source", "test/some.csv", "--out", "some.csv")
    rows = table("some.csv")[1:]
    assert [row[0] for row in rows] == [line.split(",")[0] for line in lines[:0:-1][:5]]
    ids = [row[0].rpartition("/")[2].removesuffix(".png") for row in rows]
    Path("sample.csv").write_text("time;ID\n" + "".join(f"day;{name}\n" for name in ids[::-1]))
    filling = ("--source", "test/some.csv", "--template", "sample.csv", "--out", "filled.csv")
    ended = sweeps("predict", *filling)
    assert ended.err.startswith("note: sample.csv: ids are compared without folders and suffixes: ")
    assert Path("filled.csv").read_text() == "time;ID\n" + "".join(
        f"{row[3]};{name}\n" for row, name in zip(rows[::-1], ids[::-1], strict=True)
    )


def test_the_column_of_the_paths_may_have_another_name(sweeps: Call):
    text = Path("test/test.csv").read_text().replace("file,", "ImageID,")
    Path("test/test.csv").write_text(text)
    command = ("predict", "--source", "test/test.csv", "--out", "sub.csv")
    ended = sweeps(*command)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "error: test/test.csv: no column 'file' with the paths of the images. Columns there: "
        "'ImageID', 'tone', 'time', 'person'. Name the right one with --image\n"
    )
    assert sweeps(*command, "--image", "ImageID").code == 0


def test_probabilities_of_the_best_trials_and_fewer_fold_models(sweeps: Call):
    ended = sweeps(
        *("predict", "--source", "test", "--out", "sub.csv", "--topk", 3),
        *("--folds", 1, "--probabilities", "--plain", "--device", "cpu"),
    )
    assert ended.err.splitlines()[0] == (
        "note: 1 of 2 fold models of each trial: to a single trial the average of 2 fold models is "
        "worth 1 to 3 points, to an ensemble less (simulated, and on digits)"
    )
    assert ended.out.startswith("sub.csv: 24 rows, 24 images predicted by the best 3 trials\nclass")
    header, *rows = table("sub.csv")
    assert header == ["path", "class", "tone", "time", *CLASSES]
    np.testing.assert_allclose([sum(map(float, row[4:])) for row in rows], 1, atol=1e-5)
    assert [model["fold"] for model in about()["models"]] == [0, 0, 0]


def test_what_is_constant_in_a_group_is_averaged_and_its_gain_said_first(sweeps: Call):
    command = ("predict", "--source", "test", "--out", "sub.csv", "--trial", 0)
    sweeps(*command)
    with np.load("sub.probs.npz") as file:
        plain_NK = file["probs"]
    ended = sweeps(*command, "--group", "folder")
    assert re.match(
        r"note: --group: tone averaged over each group; on the out-of-fold predictions f1 goes "
        r"from \d\.\d{4} to \d\.\d{4} \([+-]\d\.\d{4}\)\n",
        ended.err,
    )
    with np.load("sub.probs.npz") as file:
        dark_N = file["probs"][:, :2].sum(axis=1)
    expected_N = np.repeat(plain_NK[:, :2].sum(axis=1).reshape(NEW, 4).mean(axis=1), 4)
    np.testing.assert_allclose(dark_N, expected_N, atol=1e-5)
    assert about()["group"]["columns"] == ["tone"]
    by_column = sweeps(
        *("predict", "--source", "test/test.csv", "--out", "csv.csv"),
        *("--trial", 0, "--group", "person"),
    )
    assert by_column.code == 0
    assert sorted(table("csv.csv")) == sorted(table("sub.csv"))


def test_images_that_cannot_be_read_are_listed_and_make_exit_code_1(sweeps: Call):
    command = ("predict", "--source", "test", "--out", "sub.csv", "--trial", 0)
    Path("test/p00/00-1.png").write_bytes(b"")
    Path("test/p03/03-0.png").write_text("x")
    ended = sweeps(*command)
    assert ended.code == 1
    assert ended.err.splitlines()[-3:] == [
        "warning: 2 of 24 images cannot be read; they get the shares of the classes in the "
        "training data (sub.skipped.csv)",
        "  p00/00-1.png: empty file",
        "  p03/03-0.png: not an image (JPEG, PNG, WEBP, GIF, BMP, TIFF, PPM, JPEG2000, AVIF can "
        "be read)",
    ]
    assert [row[:2] for row in table("sub.skipped.csv")] == [
        ["line", "path"],
        ["0", "p00/00-1.png"],
        ["0", "p03/03-0.png"],
    ]
    assert list(about()["skipped"]) == ["p00/00-1.png", "p03/03-0.png"]
    assert table("sub.csv")[2] == ["p00/00-1.png", "dark / day", "dark", "day"]
    with np.load("sub.probs.npz") as file:
        np.testing.assert_allclose(file["probs"][1], [0.25] * 4)
    assert sweeps(*command, "--skip-bad").code == 0
    write_people(Path("again"), persons=NEW, seed=1)
    (Path("again") / "train.csv").unlink()
    assert sweeps("predict", "--source", "again", *command[3:]).code == 0
    assert not Path("sub.skipped.csv").exists()  # of the earlier submission


def test_other_members_may_come_from_a_file(sweeps: Call):
    manifest = SweepFiles.of(Path("runs"), "people").folds().manifest
    probs_NK = np.full((len(manifest), 4), 0.01, dtype=np.float32)
    probs_NK[np.arange(len(manifest)), manifest.labels_N] = 0.97
    paths = [f"p{person:02d}/{person:02d}-{photo}.png" for person in range(6) for photo in range(4)]
    test_NK = np.tile(np.array([[0.0, 0.0, 1.0, 0.0]], dtype=np.float32), (24, 1))
    arrays = {"ids": np.array(manifest.paths), "probs": probs_NK}
    command = ("predict", "--source", "test", "--out", "sub.csv", "--from", "notebook.npz")
    np.savez("notebook.npz", **arrays)
    ended = sweeps(*command)
    assert (ended.code, Path("sub.csv").exists()) == (2, False)
    assert "notebook.npz: no predictions of new images. Add the arrays test_ids" in ended.err
    np.savez("notebook.npz", **arrays, test_ids=np.array(paths), test_probs=test_NK)
    assert sweeps(*command).code == 0
    assert about()["given"] == {"notebook.npz": file_digest(Path("notebook.npz"))}
    assert {row[1] for row in table("sub.csv")[1:]} == {"light / day"}  # it is nearly alone


# what dies


class Killed(BaseException):
    """Ends a command as a kill does."""


def test_a_killed_command_goes_on_where_it_was_and_leaves_no_half_file(sweeps: Call, monkeypatch):
    command = ("predict", "--source", "test", "--topk", 3)
    assert sweeps(*command, "--out", "whole.csv").code == 0
    predict_chunk = predicting.predict_chunk
    done = []

    def counted(*args: object, **rest: object) -> Probs:
        if len(done) == 4:
            raise Killed
        done.append(1)
        return predict_chunk(*args, **rest)

    monkeypatch.setattr(predicting, "predict_chunk", counted)
    with pytest.raises(Killed):
        sweeps(*command, "--out", "sub.csv")
    assert not list(Path().glob("sub*"))
    assert len(list(Path(".sub.csv.work").iterdir())) == 4
    done.clear()
    assert sweeps(*command, "--out", "sub.csv").code == 0
    assert len(done) == 2
    assert not Path(".sub.csv.work").exists()
    assert Path("sub.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert about()["mixture"] == about("whole.json")["mixture"]


def test_a_full_disk_leaves_nothing_half_written_and_the_same_command_continues(
    sweeps: Call, monkeypatch
):
    command = ("predict", "--source", "test", "--trial", 1, "--out", "sub.csv")
    replace = os.replace

    def full(source: object, target: object) -> None:
        if Path(str(target)).name == "sub.csv":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        ended = sweeps(*command)
    assert (ended.code, ended.out) == (3, "")
    assert "Free some space and run the same command again to continue" in ended.err
    assert {path.name for path in Path().glob("sub.*")} == {"sub.probs.npz"}
    assert Path(".sub.csv.work").is_dir()
    assert sweeps(*command).code == 0
    assert {path.name for path in Path().glob("*sub.*")} == {"sub.csv", "sub.json", "sub.probs.npz"}


def test_what_is_gone_or_damaged_is_said(sweeps: Call):
    command = ("predict", "--source", "test", "--out", "sub.csv", "--trial", 0)
    weights = [Path(f"runs/people/trial-0000/fold-{fold}/model.safetensors") for fold in (0, 1)]
    weights[1].unlink()
    ended = sweeps(*command)
    assert ended.code == 0
    assert "note: trial 0 is averaged without fold 1, whose weights are gone\n" in ended.err
    assert about()["notices"] == ["trial 0 is averaged without fold 1, whose weights are gone"]
    Path("sub.csv").unlink()
    weights[0].unlink()
    ended = sweeps(*command)
    assert (ended.code, ended.out, Path("sub.csv").exists()) == (2, "", False)
    assert ended.err.startswith("error: trial 0: the weights of all its 2 fold models were removed")
    assert re.search(r"Trials that still have theirs: [123], [123], [123] \(--trial", ended.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--source", "gone"), "gone: no such file or folder. Name a folder of images, or a CSV"),
        (("--trial", 7), "--trial 7: not a completed trial of people with whole files. Completed"),
        (("--trial", 0, "--topk", 2), "--trial and --topk name different trials: give one of them"),
        (("--out", "sub"), "--out sub: a submission is a table; name it e.g. sub.csv"),
        (("--out", "test"), "--out test: this is a folder. Name a file, e.g. test/submission.csv"),
        (
            ("--source", "test/test.csv", "--out", "test/test.csv"),
            "--out test/test.csv: this is the file of --source. Name another file",
        ),
        (
            ("--template", "test/test.csv", "--out", "test/test.csv"),
            "--out test/test.csv: this is the file of --template. Name another file",
        ),
        (("--template", "gone.csv"), "gone.csv: no such file. Give a CSV or Parquet file"),
        (("--group", "person"), "test: a folder has no column 'person'. Group its images by fold"),
        (("--address", "head"), "--address head: expected host:port, as `ray start --head` prints"),
        (("--device", "cuda"), "device cuda: torch sees no CUDA GPU on this machine. Use cpu or"),
    ],
)
def test_mistakes_are_found_before_anything_is_predicted(
    sweeps: Call, monkeypatch, arguments, message
):
    monkeypatch.setattr(predicting, "answers", None)
    if "cuda" in arguments and pick_device().type == "cuda":
        pytest.skip("this machine has a GPU")
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    options = {"--source": "test", "--out": "sub.csv", **given}
    ended = sweeps("predict", *(part for pair in options.items() for part in pair))
    assert (ended.code, ended.out) == (2, "")
    assert f"error: {message}" in ended.err
    assert not list(Path().glob("*sub*"))


def test_groups_need_groups_in_the_training_data(sweeps: Call, monkeypatch):
    folds = SweepFiles.folds

    def without(files: SweepFiles) -> object:
        found = folds(files)
        return dataclasses.replace(found, manifest=dataclasses.replace(found.manifest, groups=None))

    monkeypatch.setattr(SweepFiles, "folds", without)
    ended = sweeps(
        *("predict", "--source", "test", "--out", "sub.csv", "--trial", 0, "--group", "folder")
    )
    assert (ended.code, ended.err) == (
        2,
        "error: --group: the training data have no groups (data.group), so it is not known what "
        "the images of a group share. Leave out --group\n",
    )


def test_of_many_classes_those_that_differ_most_are_shown():
    mix = {"a": (0.5, 0.25), "b": (0.25, 0.25), "c": (0.125, 0.125), "d": (0.125, 0.375)}
    assert mix_rows(mix, most=2) == [
        ["a", "50.0 %", "25.0 %"],
        ["d", "12.5 %", "37.5 %"],
        ["2 more", "", ""],
    ]
    assert len(mix_rows(mix, most=4)) == 4


# --- models trained on all images


def test_models_trained_on_all_images_predict_in_place_of_the_fold_models(sweeps: Call):
    predict = ("predict", "--trial", 1, "--source", "test", "--out", "sub.csv", "--probabilities")
    ended = sweeps(*predict, "--refit")
    assert (ended.code, ended.err) == (
        2,
        "error: --refit: trial 1 has no model that was trained on all images. "
        "`sweeps refit people --trial 1` trains them\n",
    )
    assert sweeps("refit", "--trial", 1, "--seeds", 2).code == 0
    assert sweeps(*predict).code == 0
    by_folds = table("sub.csv")
    ended = sweeps(*predict, "--refit")
    assert ended.code == 0
    assert (
        "note: models trained on all images predict, which have no score of their own: the honest "
        "estimate is that of the fold models with the same configurations\n"
    ) in ended.err
    assert table("sub.csv") != by_folds
    made = about()
    assert made["refit"]
    assert [(Path(model["weights"]).parent.name, model["fold"]) for model in made["models"]] == [
        ("refit-0", None),
        ("refit-1", None),
    ]
