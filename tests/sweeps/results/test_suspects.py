"""Labels that are probably wrong, found in simulated predictions."""

from pathlib import Path

import numpy as np
import pytest

from sweeps.results.ensemble import Library
from sweeps.results.metric import Metric
from sweeps.results.suspects import (
    Suspect,
    believed,
    correction_header,
    correction_rows,
    find_suspects,
    usual_count,
)
from trainer.images.manifest import Manifest
from trainer.metrics import Goal, Probs
from trainer.prediction.calibration import softmax
from trainer.prediction.classes import Classes

FACES = Classes(
    tuple(f"{m} / {g} / {a}" for m in "win" for g in "fm" for a in "yo"),
    ("mask", "gender", "age"),
    tuple((m, g, a) for m in "win" for g in "fm" for a in "yo"),
)
PERSONS, PHOTOS, K = 400, 7, 12
N = PERSONS * PHOTOS
GROUPS_N = np.repeat(np.arange(PERSONS), PHOTOS)
F1 = Metric.named("f1", Goal.MAXIMIZE)


def persons(*, seed: int = 0) -> tuple[np.ndarray, list[Probs]]:
    """True classes of persons with seven photos, and three trials that share some mistakes.

    Masks are easy to see, genders less so and ages hardly; the trials are over-confident.
    """
    rng = np.random.default_rng(seed)
    person_G = rng.integers(4, size=PERSONS)
    mask_N = np.tile([0, 0, 0, 0, 0, 1, 2], PERSONS)
    label_N = 4 * mask_N + person_G[GROUPS_N]
    parts = ((mask_N, 3, 6.0), (label_N // 2 % 2, 2, 2.5), (label_N % 2, 2, 0.9))
    shared = [rng.normal(size=(N, count)) for _, count, _ in parts]
    trials = []
    for _ in range(3):
        logits_NK = np.zeros((N, K))
        for column, ((value_N, count, seen), common) in enumerate(zip(parts, shared, strict=True)):
            own = rng.normal(size=(N, count))
            logits = seen * np.eye(count)[value_N] + common + 0.5 * own
            logits_NK += 2 * logits[:, FACES.label_columns[column].value_of_K]
        trials.append(softmax(logits_NK.astype(np.float32)))
    return label_N, trials


def mislabelled(label_N: np.ndarray, *, seed: int = 1) -> np.ndarray:
    """The labels, 2 % of them wrong: masks, the gender of two whole persons, and any class."""
    rng = np.random.default_rng(seed)
    given_N = label_N.copy()
    masks = rng.choice(N, size=28, replace=False)
    given_N[masks] = (given_N[masks] + 4 * rng.integers(1, 3, size=len(masks))) % K
    given_N[np.isin(GROUPS_N, rng.choice(PERSONS, size=2, replace=False))] ^= 2
    rows = rng.choice(N, size=14, replace=False)
    given_N[rows] = (given_N[rows] + rng.integers(1, K, size=len(rows))) % K
    return given_N


def library(probs: list[Probs], given_N: np.ndarray) -> Library:
    columns = [column.value_of_K for column in FACES.label_columns]
    names = [f"trial-{number}" for number in range(len(probs))]
    return Library(names, probs, given_N, GROUPS_N, columns)


def average_precision(ranked: list[int], wrong_N: np.ndarray) -> float:
    """The mean precision at the places of the wrong labels; labels never named are not found."""
    hits = wrong_N[list(dict.fromkeys(ranked))]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].sum() / wrong_N.sum())


def test_most_of_the_first_suspects_have_wrong_labels():
    label_N, probs = persons()
    given_N = mislabelled(label_N)
    wrong_N = given_N != label_N
    p_NK = believed(library(probs, given_N), metric=F1)
    rows = [s.row for s in find_suspects(p_NK, given_N, FACES, GROUPS_N)]
    assert wrong_N[rows[:50]].mean() >= 0.95
    alone = [s.row for s in find_suspects(p_NK, given_N, FACES, None)]
    assert wrong_N[alone[:50]].mean() >= 0.8
    naive = np.argsort(p_NK[np.arange(N), given_N]).tolist()  # without columns and groups
    of_naive, of_alone, of_groups = (
        average_precision(ranked, wrong_N) for ranked in (naive, alone, rows)
    )
    assert of_naive < of_alone < of_groups
    assert of_groups >= 0.95


def test_most_proposals_are_the_true_values():
    label_N, probs = persons()
    given_N = mislabelled(label_N)
    found = find_suspects(believed(library(probs, given_N), metric=F1), given_N, FACES, GROUPS_N)[
        :50
    ]
    column_of = {column.name: column for column in FACES.label_columns}
    right = [
        column_of[s.column].values[column_of[s.column].value_of_K[label_N[s.row]]] == s.proposed
        for s in found
    ]
    assert np.mean(right) >= 0.9


def test_images_that_differ_from_their_group_come_first_and_need_no_trial():
    label_N, probs = persons()
    given_N = label_N.copy()
    given_N[[10, 24]] ^= 2  # gender
    given_N[40] ^= 1  # age
    expected = [(10, "gender", (6, 7)), (24, "gender", (6, 7)), (40, "age", (6, 7))]
    without = find_suspects(None, given_N, FACES, GROUPS_N)
    assert [(s.row, s.column, s.others) for s in without] == expected
    assert {s.probability for s in without} == {None}
    p_NK = believed(library(probs, given_N), metric=F1)
    found = find_suspects(p_NK, given_N, FACES, GROUPS_N)
    assert sorted((s.row, s.column, s.others) for s in found[:3]) == sorted(expected)
    assert all(s.others is None for s in found[3:])
    assert not {s.row for s in found[3:]} & {10, 24, 40}


def test_a_person_whose_photos_are_all_wrong_is_found_by_the_trials():
    label_N, probs = persons()
    given_N = label_N.copy()
    given_N[GROUPS_N == 5] ^= 2
    p_NK = believed(library(probs, given_N), metric=F1)
    found = find_suspects(p_NK, given_N, FACES, GROUPS_N)
    assert {s.row for s in found[:7]} == set(range(35, 42))
    assert {s.column for s in found[:7]} == {"gender"}
    assert len({s.probability for s in found[:7]}) == 1


def test_rare_defects_within_groups_are_no_mistakes():
    """4 % of the frames of a video are defects, so 96 % agree with their video."""
    classes = Classes(("fine", "defect"))
    labels_N = (np.arange(1000) % 25 == 0).astype(np.int64)
    assert find_suspects(None, labels_N, classes, np.arange(1000) // 50) == []
    assert find_suspects(None, labels_N, classes, np.arange(1000) // 2) == []


def test_two_images_that_differ_have_no_majority():
    classes = Classes(("cat", "dog"))
    labels_N = np.repeat(np.arange(100) % 2, 2)
    labels_N[0] = 1 - labels_N[0]
    assert find_suspects(None, labels_N, classes, np.repeat(np.arange(100), 2)) == []


def test_an_image_whose_label_is_the_most_probable_is_no_suspect():
    label_N, probs = persons()
    p_NK = believed(library(probs, label_N), metric=F1)
    for suspect in find_suspects(p_NK, label_N, FACES, GROUPS_N):
        assert suspect.given != suspect.proposed
    sure_NK = np.eye(K, dtype=np.float32)[label_N]
    assert find_suspects(sure_NK, label_N, FACES, GROUPS_N) == []


def test_the_five_best_trials_are_asked_each_calibrated():
    label_N, probs = persons()
    lost = np.full((N, K), 1 / K, dtype=np.float32)
    five = library([*probs, *probs[:2]], label_N)
    more = library([lost, *probs, *probs[:2], lost], label_N)
    np.testing.assert_allclose(
        believed(five, metric=F1), believed(more, metric=F1), rtol=1e-5, atol=1e-7
    )
    sharper = library([softmax(1.3 * np.log(p)) for p in (*probs, *probs[:2])], label_N)
    np.testing.assert_allclose(believed(five, metric=F1), believed(sharper, metric=F1), atol=0.03)


@pytest.mark.parametrize(
    ("images", "count"), [(100, 50), (5_000, 50), (10_000, 100), (100_000, 200)]
)
def test_so_many_suspects_are_worth_a_look(images: int, count: int):
    assert usual_count(images) == count


def manifest(**changes: object) -> Manifest:
    values: dict[str, object] = {
        "root": Path("/data"),
        "paths": ("a.png", "b.png", "c.png"),
        "labels_N": np.array([0, 1, 2]),
        "classes": FACES.names,
        "lines": (2, 3, 4),
        "label_columns": FACES.columns,
        "class_parts": FACES.parts,
        "groups": ("ann", "bob", "bob"),
    }
    return Manifest(**{**values, **changes})  # type: ignore[arg-type]


GENDER = Suspect(0, "gender", "f", "m", 0.98765, (6, 7))
AGE = Suspect(0, "age", "y", "o", 0.75, (5, 7))
MASK = Suspect(1, "mask", "w", "n", None)


def test_corrections_fill_in_only_what_is_in_doubt():
    rows = list(correction_rows([GENDER, MASK, AGE], manifest(), np.array([0, 2])))
    assert correction_header(FACES) == (
        *("path", "mask", "gender", "age"),
        *("line", "group", "column", "given", "proposed", "probability", "others"),
    )
    assert rows == [
        ["a.png", "", "m", "o", "2", "ann", "gender age", "f y", "m o", "0.988", "6 of 7"],
        ["c.png", "n", "", "", "4", "bob", "mask", "w", "n", "", ""],
    ]


def test_a_single_label_column_is_called_label_in_corrections():
    plain = manifest(classes=("cat", "dog", "owl"), label_columns=("kind",), class_parts=())
    classes = Classes.of(plain)
    rows = list(correction_rows([Suspect(1, "kind", "dog", "cat", 0.9)], plain, np.arange(3)))
    assert dict(zip(correction_header(classes), rows[0], strict=True)) == {
        "path": "b.png",
        "label": "cat",
        "line": "3",
        "group": "bob",
        "column": "kind",
        "given": "dog",
        "proposed": "cat",
        "probability": "0.900",
        "others": "",
    }


def test_a_label_column_called_like_a_remark_keeps_its_meaning():
    odd = manifest(label_columns=("mask", "group", "given"))
    header = correction_header(Classes.of(odd))
    assert header.count("group") == 1
    row = next(correction_rows([Suspect(0, "mask", "w", "n", None)], odd, np.arange(3)))
    cells = dict(zip(header, row, strict=True))
    assert (cells["mask"], cells["group"], cells["given"]) == ("n", "", "")


def test_an_image_in_several_rows_is_not_corrected():
    boxes = manifest(paths=("a.png", "b.png", "a.png"))
    rows = correction_rows([GENDER, MASK], boxes, np.arange(3))
    assert [row[0] for row in rows] == ["b.png"]
