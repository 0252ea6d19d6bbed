"""Scores of a table of predictions against a table of the truth."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from sweeps.errors import InputError
from sweeps.shipping.answers import read_label_map
from sweeps.shipping.scoring import Scores, score_sheets
from sweeps.shipping.sheets import Sheet
from tests.sweeps.shipping.tables import images, sheet
from trainer.images.manifest import Manifest, write_label_map
from trainer.metrics import score_fold
from trainer.prediction.classes import Classes
from trainer.prediction.rows import prediction_header, prediction_rows

N = 60
RNG = np.random.default_rng(5)
ANIMALS = Classes(("cat", "dog", "owl"))
LABELS_N = np.arange(N) % 3
PROBS_NK = RNG.dirichlet([1, 1, 1], size=N).astype(np.float32)
PROBS_NK[np.arange(N), LABELS_N] += 0.5
PROBS_NK /= PROBS_NK.sum(axis=1, keepdims=True)
TRUTH = sheet("truth.csv", path=images(N), label=[ANIMALS.names[label] for label in LABELS_N])
PARTS = tuple((m, a) for m in ("mask", "none") for a in ("old", "young"))
FACES = Classes(tuple(" / ".join(part) for part in PARTS), ("mask", "age"), PARTS)


def predicted(classes: Classes, probs_NK: np.ndarray, *, probabilities: bool = True) -> Sheet:
    """The predictions as `sweeps predict` writes them without a template, in another order."""
    header = prediction_header(classes, probabilities=probabilities)
    rows = list(
        prediction_rows(
            images(len(probs_NK)),
            probs_NK.argmax(axis=1),
            probs_NK,
            classes=classes,
            probabilities=probabilities,
        )
    )[::-1]
    return sheet("predictions.csv", **dict(zip(header, zip(*rows, strict=True), strict=True)))


def without(table: Sheet, column: str) -> Sheet:
    cells = {name: values for name, values in table.columns.items() if name != column}
    return sheet(table.name, **cells)


def test_scores_of_written_predictions_are_those_of_the_probabilities():
    found = score_sheets(predicted(ANIMALS, PROBS_NK), TRUTH)
    assert (found.images, found.classes, found.columns) == (N, ANIMALS.names, {})
    assert found.metrics == pytest.approx(score_fold(PROBS_NK, LABELS_N), abs=1e-6)
    assert found.metrics["f1"] == pytest.approx(np.mean(found.f1_per_class))


def test_classes_alone_have_no_log_loss():
    found = score_sheets(predicted(ANIMALS, PROBS_NK, probabilities=False), TRUTH)
    expected = score_fold(PROBS_NK, LABELS_N)
    assert found.metrics == pytest.approx(
        {name: expected[name] for name in ("f1", "accuracy", "balanced_accuracy")}
    )


def test_probabilities_alone_predict_the_most_probable_class():
    found = score_sheets(without(predicted(ANIMALS, PROBS_NK), "class"), TRUTH)
    assert found.metrics == pytest.approx(score_fold(PROBS_NK, LABELS_N), abs=1e-6)


def test_predicted_classes_count_where_a_rule_decided_otherwise():
    table = predicted(ANIMALS, PROBS_NK)
    cells = {**table.columns, "class": ("owl",) * N}
    found = score_sheets(sheet("predictions.csv", **cells), TRUTH)
    assert found.metrics["accuracy"] == pytest.approx(1 / 3)
    assert found.metrics["log_loss"] == pytest.approx(
        score_fold(PROBS_NK, LABELS_N)["log_loss"], abs=1e-6
    )


def test_label_columns_are_scored_together_and_each_alone():
    labels_N = np.arange(N) % 4
    probs_NK = RNG.dirichlet([1, 1, 1, 1], size=N).astype(np.float32)
    probs_NK[: N // 2] = np.eye(4, dtype=np.float32)[labels_N[: N // 2]]
    truth = sheet(
        "truth.csv",
        path=images(N),
        mask=[FACES.parts[label][0] for label in labels_N],
        age=[FACES.parts[label][1] for label in labels_N],
        person=["ann"] * N,
    )
    found = score_sheets(predicted(FACES, probs_NK), truth)
    assert found.metrics == pytest.approx(score_fold(probs_NK, labels_N), abs=1e-6)
    said_N = probs_NK.argmax(axis=1)
    assert found.columns["mask"]["accuracy"] == (said_N // 2 == labels_N // 2).mean()
    assert found.columns["age"]["accuracy"] == (said_N % 2 == labels_N % 2).mean()
    assert set(found.columns["age"]) == set(found.metrics)
    only = score_sheets(predicted(FACES, probs_NK, probabilities=False), truth, labels=["age"])
    assert only.classes == ("old", "young")
    assert only.metrics["accuracy"] == found.columns["age"]["accuracy"]


def test_the_label_map_says_what_numbers_mean_and_which_classes_there_are(tmp_path: Path):
    manifest = Manifest(
        Path("/"), (), np.array([], dtype=np.int64), FACES.names, (), FACES.columns, FACES.parts
    )
    write_label_map(manifest, tmp_path / "labels.json")
    classes = read_label_map(tmp_path / "labels.json")
    assert classes == FACES
    truth = sheet("truth.csv", path=images(4), label=["none / old"] * 4)
    submission = sheet("s.csv", ImageID=images(4), ans=["2", "2", "2", "0"])
    found = score_sheets(submission, truth, classes=classes)
    assert (found.classes, found.metrics["accuracy"]) == (FACES.names, 0.75)
    assert found.columns["age"]["accuracy"] == 1
    assert found.metrics["f1"] == pytest.approx(2 * 0.75 / 1.75 / 4)


def test_ids_may_be_written_in_other_forms():
    truth = sheet("truth.csv", id=[name[:-4] for name in images(N)], label=TRUTH.columns["label"])
    found = score_sheets(predicted(ANIMALS, PROBS_NK), truth)
    assert found.notes == ("ids are compared without suffixes",)
    assert found.metrics["accuracy"] == score_fold(PROBS_NK, LABELS_N)["accuracy"]


def test_only_common_images_are_scored_if_the_user_says_so():
    half = sheet("truth.csv", path=[*images(2), "z.png"], label=["cat", "dog", "owl"])
    found = score_sheets(predicted(ANIMALS, PROBS_NK), half, common=True)
    assert found.images == 2


def refused(predictions: Sheet, truth: Sheet, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        score_sheets(predictions, truth, **options)  # type: ignore[arg-type]
    return str(caught.value)


AB = {"path": ["a.png", "b.png"]}


def test_tables_of_other_images_are_refused_with_counts_and_examples():
    truth = sheet("truth.csv", path=["a.png", "c.png", "d.png"], label=["x", "y", "y"])
    predictions = sheet("p.csv", **AB, label=["x", "y"])
    assert refused(predictions, truth) == (
        "2 of 3 images of truth.csv are not in p.csv (c.png, d.png), and 1 of 2 images of p.csv "
        "are not in truth.csv (b.png). Write --common to use only the images that both have"
    )
    assert refused(sheet("p.csv", path=["e.png"], label=["x"]), truth, common=True) == (
        "truth.csv and p.csv have no image in common: the ids are a.png, c.png, d.png and e.png"
    )


@pytest.mark.parametrize(
    ("predictions", "truth", "labels", "message"),
    [
        (
            {**AB, "class": ["0", "1"]},
            {**AB, "label": ["cat", "dog"]},
            [],
            "p.csv has other labels ('0', '1') than t.csv ('cat', 'dog'). If they are numbers of "
            "classes, give --labels labels.json of the sweep",
        ),
        (
            AB,
            {**AB, "label": ["cat", "dog"]},
            [],
            "p.csv: it has ids only, and no column of labels",
        ),
        (
            {**AB, "class": ["cat", "dog"]},
            AB,
            [],
            "t.csv: it has ids only, and no column of labels",
        ),
        (
            {**AB, "class": ["cat", "dog"]},
            {**AB, "label": ["cat", ""]},
            [],
            "t.csv: 1 rows have no 'label'\n  line 3",
        ),
        (
            {**AB, "class": ["cat", "dog"]},
            {**AB, "label": ["cat", "dog"], "person": ["u", "v"]},
            [],
            "t.csv: which of 'label', 'person' are the labels? Write --label COLUMN, several "
            "times for several label columns",
        ),
        (
            {**AB, "class": ["cat", "dog"]},
            {**AB, "label": ["cat", "dog"]},
            ["kind"],
            "--label kind: t.csv has no such column, but 'label'",
        ),
        (
            {**AB, "cat": ["0.5", "0.5"], "dog": ["0.5", "0.4"]},
            {**AB, "label": ["cat", "dog"]},
            [],
            "p.csv: in 1 rows the columns of the classes are not probabilities that sum to 1"
            "\n  line 3",
        ),
        (
            {**AB, "cat": ["0.5", "?"], "dog": ["0.5", "1"]},
            {**AB, "label": ["cat", "dog"]},
            [],
            "p.csv: the columns of the classes hold no probabilities (could not convert string to "
            "float: '?')",
        ),
        (
            {**AB, "cat": ["0.5", "1"], "dog": ["0.5", "0"]},
            {**AB, "label": ["cat", "owl"]},
            [],
            "p.csv: it has no column of predicted classes, and not a column of probabilities for "
            "each of 'cat', 'owl'",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(
    predictions: dict[str, list[str]], truth: dict[str, list[str]], labels: list[str], message: str
):
    found = refused(sheet("p.csv", **predictions), sheet("t.csv", **truth), labels=labels)
    assert found == message


def test_labels_outside_the_label_map_are_refused():
    truth = sheet("t.csv", **AB, label=["cat", "fox"])
    assert refused(sheet("p.csv", **AB, label=["cat", "cat"]), truth, classes=ANIMALS) == (
        "t.csv: 1 of its 2 labels are no class ('fox'); classes are 'cat', 'dog', 'owl'"
    )


@pytest.mark.parametrize("text", ["", "{}", '{"classes": {"1": "cat"}}', "[]"])
def test_a_damaged_label_map_is_named(tmp_path: Path, text: str):
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(f"{path}: not a label map (")):
        read_label_map(path)
    with pytest.raises(InputError, match=r"no\.json: no such file\. A sweep has its labels\.json"):
        read_label_map(tmp_path / "no.json")


def test_scores_can_be_written_as_json():
    found = score_sheets(predicted(ANIMALS, PROBS_NK), TRUTH)
    assert isinstance(found, Scores)
    assert json.loads(json.dumps(found.as_json()))["metrics"] == found.metrics
