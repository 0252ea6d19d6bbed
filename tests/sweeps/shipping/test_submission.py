"""What is written: classes and probabilities of images, also of those that cannot be read."""

import json
from pathlib import Path

import numpy as np
import pytest

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.shipping.submission import Averaging, Prepared, Submission, Wanted, check, write
from sweeps.shipping.template import TemplateOptions
from trainer.prediction.classes import Classes
from trainer.prediction.decision import Decision
from trainer.prediction.mixture import Member, Mixture
from trainer.prediction.predicting import Predicted, Predictor
from trainer.prediction.unseen import Unseen

CLASSES = Classes(("cat", "dog", "owl"))
PRIOR_K = (0.2, 0.5, 0.3)
OWL = Decision("f1", scale=(1.0, 1.0, 10.0), offset=(0.0, 0.0, 0.0))
PROBS_NK = np.array([[0.9, 0.05, 0.05], PRIOR_K, [0.3, 0.5, 0.2]], dtype=np.float32)


def written(
    folder: Path, *, out: str = "sub.csv", averaging: Averaging | None = None, **rest: object
) -> Submission:
    """Three images, of which the second one cannot be read."""
    paths = ("a.png", "b.png", "c.png")
    wanted = Wanted(str(folder), folder / out, options=TemplateOptions(**rest))
    unseen = Unseen(str(folder), folder, paths, (0, 0, 0))
    prepared = Prepared(wanted, unseen, CLASSES, None, averaging, ("a note",))
    predictor = Predictor(Mixture((Member("x", 1.0),), decision=OWL), {}, PRIOR_K)
    predicted = Predicted(PROBS_NK.copy(), {1: "empty file"})
    return write(prepared, predictor, predicted, about={"what": "trial 1"})


def test_the_rule_decides_but_an_image_that_cannot_be_read_gets_the_commonest_class(tmp_path):
    done = written(tmp_path)
    assert (tmp_path / "sub.csv").read_text() == ("path,class\na.png,cat\nb.png,dog\nc.png,owl\n")
    assert (done.images, done.rows, done.bad) == (3, 3, {"b.png": "empty file"})
    assert done.mix["cat"] == (0.2, pytest.approx(1 / 3, abs=1e-5))
    made = json.loads((tmp_path / "sub.json").read_text())
    assert (made["what"], made["notes"], made["skipped"]) == (
        "trial 1",
        ["a note"],
        {"b.png": "empty file"},
    )


def test_a_name_that_ends_with_tsv_gives_tabs(tmp_path):
    written(tmp_path, out="sub.tsv", probabilities=True)
    lines = (tmp_path / "sub.tsv").read_text().splitlines()
    assert lines[:3] == [
        "path\tclass\tcat\tdog\towl",
        "a.png\tcat\t0.9\t0.05\t0.05",
        "b.png\tdog\t0.2\t0.5\t0.3",
    ]


def test_an_image_that_cannot_be_read_is_not_averaged_over_its_group(tmp_path):
    averaging = Averaging(np.array([0, 0, 0]), CLASSES.label_columns, (0.5, 0.6))
    written(tmp_path, averaging=averaging)
    with np.load(tmp_path / "sub.probs.npz") as file:
        probs_NK = file["probs"]
    mean_K = PROBS_NK[[0, 2]].mean(axis=0)
    np.testing.assert_allclose(probs_NK, [mean_K, PRIOR_K, mean_K], atol=1e-6)
    made = json.loads((tmp_path / "sub.json").read_text())
    assert made["group"] == {"by": None, "columns": ["label"], "gain": [0.5, 0.6]}


def test_the_source_has_the_columns_of_the_training_data(tmp_path):
    (tmp_path / "spec.yaml").write_text("data: {source: x, image: file, box: [l, t, r, b]}\n")
    (tmp_path / "test.csv").write_text("file,path\na.png,b.png\n")
    (tmp_path / "a.png").touch()
    files = SweepFiles(tmp_path)
    check(Wanted(str(tmp_path / "test.csv"), tmp_path / "sub.csv"), files=files)
    with pytest.raises(InputError, match=r"spec.yaml: no such file"):
        check(
            Wanted(str(tmp_path / "test.csv"), tmp_path / "sub.csv"),
            files=SweepFiles(tmp_path / "gone"),
        )


def test_a_folder_that_cannot_be_written_is_said_first(tmp_path):
    (tmp_path / "file").touch()
    wanted = Wanted("nowhere", tmp_path / "file" / "sub.csv")
    with pytest.raises(InputError, match=r"file: cannot be written \(.*\). Choose another folder "):
        check(wanted, files=SweepFiles(tmp_path))
