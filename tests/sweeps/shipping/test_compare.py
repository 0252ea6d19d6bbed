"""What changes from one submission to another one."""

import numpy as np
import pytest

from sweeps.errors import InputError
from sweeps.results.metric import Metric
from sweeps.shipping.answers import pair_up
from sweeps.shipping.compare import Answers, changes, expected_gain, read_answers
from sweeps.shipping.sheets import Sheet
from tests.sweeps.shipping.tables import images, sheet
from trainer.metrics import Goal
from trainer.prediction.classes import Classes

ANIMALS = Classes(("cat", "dog", "owl"))
PARTS = tuple((m, a) for m in ("mask", "none") for a in ("old", "young"))
FACES = Classes(tuple(" / ".join(part) for part in PARTS), ("mask", "age"), PARTS)
F1 = Metric.named("f1", Goal.MAXIMIZE)


def answers(
    first: Sheet, second: Sheet, known: Classes | None = None
) -> tuple[Classes, Answers, Answers]:
    return read_answers(pair_up(first, second), known)


def submission(labels: list[str], *, name: str = "a.csv", order: int = 1) -> Sheet:
    return sheet(name, id=images(len(labels))[::order], ans=labels[::order])


def test_rows_that_change_are_counted_by_class_whatever_their_order():
    first = submission(["cat", "cat", "cat", "dog", "owl"])
    second = submission(["dog", "cat", "dog", "owl", "owl"], name="b.csv", order=-1)
    classes, before, after = answers(first, second)
    assert classes.names == ("cat", "dog", "owl")
    assert changes(before, after, classes) == [("cat", "dog", 2), ("dog", "owl", 1)]
    assert changes(before, before, classes) == []


def test_numbers_of_classes_get_their_names_from_the_sweep():
    first = submission(["0", "1", "2"])
    second = submission(["cat", "owl", "owl"], name="b.csv")
    classes, before, after = answers(first, second, ANIMALS)
    assert changes(before, after, classes) == [("dog", "owl", 1)]


@pytest.mark.parametrize("known", [None, ANIMALS])
def test_probabilities_predict_their_most_probable_class(known: Classes | None):
    ids = images(2)
    first = sheet("a.csv", id=ids, cat=["0.7", "0.2"], dog=["0.2", "0.7"], owl=["0.1", "0.1"])
    second = sheet("b.csv", id=ids, ans=["cat", "owl"])
    classes, before, after = answers(first, second, known)
    assert changes(before, after, classes) == [("dog", "owl", 1)]
    assert before.probs_NK is not None
    assert after.probs_NK is None


def test_label_columns_are_put_together_in_the_order_of_the_sweep():
    ids = images(2)
    first = sheet("a.csv", id=ids, age=["old", "young"], mask=["mask", "none"])
    second = sheet("b.csv", id=ids, ans=["0", "2"])
    classes, before, after = answers(first, second, FACES)
    assert changes(before, after, classes) == [("none / young", "none / old", 1)]


def test_the_right_answers_gain_and_the_chance_says_how_surely():
    rng = np.random.default_rng(0)
    probs_NK = rng.dirichlet([0.3, 0.3, 0.3], size=600).astype(np.float32)
    best_N = probs_NK.argmax(axis=1)
    worse_N = best_N.copy()
    worse_N[:100] = (worse_N[:100] + 1) % 3
    best, worse = Answers(best_N, None), Answers(worse_N, None)
    gain = expected_gain(worse, best, probs_NK, metric=F1, seed=0)
    assert gain.expected > 0.05
    assert gain.chance > 0.99
    back = expected_gain(best, worse, probs_NK, metric=F1, seed=0)
    assert (back.expected, back.chance) == pytest.approx((-gain.expected, 1 - gain.chance))
    same = expected_gain(best, best, probs_NK, metric=F1, seed=0)
    assert (same.expected, same.chance) == (0, 0.5)


def test_the_expected_gain_in_accuracy_is_the_difference_of_the_probabilities():
    accuracy = Metric.named("accuracy", Goal.MAXIMIZE)
    probs_NK = np.tile(np.array([[0.6, 0.4]], dtype=np.float32), (2000, 1))
    before = Answers(np.ones(2000, dtype=np.int64), None)
    after = Answers(np.zeros(2000, dtype=np.int64), None)
    gain = expected_gain(before, after, probs_NK, metric=accuracy, seed=0)
    assert gain.expected == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    ("second", "known", "message"),
    [
        (
            submission(["0", "1"], name="b.csv"),
            None,
            "a.csv and b.csv have no label in common ('cat', 'dog' and '0', '1'). If one has "
            "numbers of classes, give --sweep",
        ),
        (
            sheet("b.csv", id=images(2)),
            None,
            "b.csv: it has ids only, and no column of predictions",
        ),
        (
            submission(["cat", "cow"], name="b.csv"),
            ANIMALS,
            "b.csv: 1 of its 2 labels are no class ('cow'); classes are 'cat', 'dog', 'owl'",
        ),
        (
            sheet("b.csv", id=images(2), cat=["0.5", "1"], cow=["0.5", "0"]),
            ANIMALS,
            "b.csv: its columns are not those of the 3 classes of the sweep",
        ),
        (
            submission(["cat"], name="b.csv"),
            None,
            "1 of 2 images of a.csv are not in b.csv (01.png). Write --common to use only the "
            "images that both have",
        ),
    ],
)
def test_submissions_that_do_not_fit_are_refused(
    second: Sheet, known: Classes | None, message: str
):
    with pytest.raises(InputError) as caught:
        answers(submission(["cat", "dog"]), second, known)
    assert str(caught.value) == message
