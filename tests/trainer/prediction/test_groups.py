"""Averages over the images of a group."""

import numpy as np
import pytest

from trainer.metrics import Probs, macro_f1
from trainer.prediction.calibration import softmax
from trainer.prediction.classes import Classes
from trainer.prediction.groups import (
    average_groups,
    constant_columns,
    group_gain,
    group_numbers,
)

FACES = Classes(
    tuple(f"{m} / {g} / {a}" for m in "wn" for g in "fm" for a in "yo"),
    ("mask", "gender", "age"),
    tuple((m, g, a) for m in "wn" for g in "fm" for a in "yo"),
)
MASK, GENDER, AGE = FACES.label_columns
PERSONS = 60
GROUPS_N = np.repeat(np.arange(PERSONS), 5)


def persons() -> tuple[np.ndarray, Probs]:
    """The labels of 60 persons with five photos, and noisy predictions."""
    rng = np.random.default_rng(3)
    labels_N = np.repeat(rng.integers(4, size=PERSONS), 5) + 4 * rng.integers(2, size=5 * PERSONS)
    noise_NK = rng.normal(size=(len(labels_N), 8)).astype(np.float32)
    return labels_N, softmax(noise_NK + 1.5 * np.eye(8, dtype=np.float32)[labels_N])


def test_columns_that_do_not_change_within_groups_are_found():
    labels_N, _ = persons()
    assert constant_columns(FACES, labels_N, GROUPS_N) == (GENDER, AGE)


@pytest.mark.parametrize(("groups", "found"), [(100, 1), (99, 0)])
def test_one_group_of_a_hundred_may_have_wrong_labels(groups: int, found: int):
    classes = Classes(("cat", "dog"))
    labels_N = np.zeros(2 * groups, dtype=np.int64)
    labels_N[0] = 1
    groups_N = np.repeat(np.arange(groups), 2)
    assert len(constant_columns(classes, labels_N, groups_N)) == found


def test_groups_of_one_image_say_nothing():
    assert constant_columns(FACES, np.arange(8), np.arange(8)) == ()


def test_marginals_of_the_columns_become_their_means():
    _, probs_NK = persons()
    averaged_NK = average_groups(probs_NK, GROUPS_N, [GENDER, AGE])
    for column in (GENDER, AGE):
        mean_GV = column.marginal(probs_NK).reshape(PERSONS, 5, -1).mean(axis=1)
        np.testing.assert_allclose(column.marginal(averaged_NK), mean_GV[GROUPS_N], atol=1e-6)
    np.testing.assert_allclose(averaged_NK.sum(axis=1), 1, atol=1e-6)


def test_what_is_not_averaged_keeps_its_probability_given_the_rest():
    _, probs_NK = persons()
    averaged_NK = average_groups(probs_NK, GROUPS_N, [GENDER, AGE])
    masked_NK = probs_NK[:, :4] / (probs_NK[:, :4] + probs_NK[:, 4:])
    after_NK = averaged_NK[:, :4] / (averaged_NK[:, :4] + averaged_NK[:, 4:])
    np.testing.assert_allclose(after_NK, masked_NK, rtol=1e-5)


def test_all_columns_averaged_give_all_images_of_a_group_one_prediction():
    _, probs_NK = persons()
    averaged_NK = average_groups(probs_NK, GROUPS_N, FACES.label_columns)
    mean_GK = probs_NK.reshape(PERSONS, 5, -1).mean(axis=1)
    np.testing.assert_allclose(averaged_NK, mean_GK[GROUPS_N], rtol=1e-6)


def test_impossible_combinations_stay_finite():
    probs_NK = np.zeros((2, 8), dtype=np.float32)
    probs_NK[0, 0] = probs_NK[1, 7] = 1
    averaged_NK = average_groups(probs_NK, np.array([0, 0]), [GENDER, AGE])
    assert averaged_NK[0].tolist() == [0.5, 0, 0, 0.25, 0, 0, 0, 0.25]
    assert averaged_NK.sum(axis=1).tolist() == [1, 1]


def test_images_alone_and_no_columns_change_nothing():
    _, probs_NK = persons()
    alone_N = np.arange(len(probs_NK))
    assert np.array_equal(average_groups(probs_NK, alone_N, [GENDER]), probs_NK)
    assert average_groups(probs_NK, GROUPS_N, []) is probs_NK


def test_the_order_of_the_images_does_not_matter():
    _, probs_NK = persons()
    order = np.random.default_rng(0).permutation(len(probs_NK))
    shuffled_NK = average_groups(probs_NK[order], GROUPS_N[order], [GENDER, AGE])
    np.testing.assert_allclose(
        shuffled_NK, average_groups(probs_NK, GROUPS_N, [GENDER, AGE])[order], rtol=1e-6
    )


def test_the_gain_is_that_of_the_score_before_and_after():
    labels_N, probs_NK = persons()
    gain = group_gain(probs_NK, labels_N, GROUPS_N, [GENDER, AGE], score=macro_f1)
    assert gain.without == macro_f1(probs_NK, labels_N)
    averaged_NK = average_groups(probs_NK, GROUPS_N, [GENDER, AGE])
    assert gain.averaged == macro_f1(averaged_NK, labels_N)
    assert gain.averaged > gain.without + 0.1


def test_names_become_numbers_and_nameless_images_stay_alone():
    assert group_numbers(["b", "", "a", "b", ""]).tolist() == [0, 1, 2, 0, 3]
    assert group_numbers([]).tolist() == []
