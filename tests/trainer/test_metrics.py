"""Metrics against scikit-learn and closed forms."""

import itertools
import math
import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from trainer.metrics import (
    METRICS,
    Goal,
    confusion,
    expected_calibration_error,
    f1_per_class,
    log_loss,
    macro_f1,
    score_fold,
)


def predictions(n: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probs_NK = rng.dirichlet(np.ones(k), n).astype(np.float32)
    return probs_NK, rng.integers(0, k, n)


def confident(predicted: list[int], k: int) -> np.ndarray:
    return np.eye(k, dtype=np.float32)[predicted]


@given(n=st.integers(1, 40), k=st.integers(2, 8), seed=st.integers(0, 2**32 - 1))
def test_every_metric_equals_scikit_learn(n, k, seed):
    probs_NK, labels_N = predictions(n, k, seed)
    scores = score_fold(probs_NK, labels_N)
    predicted_N = probs_NK.argmax(axis=1)
    f1_K = sklearn.metrics.f1_score(
        labels_N, predicted_N, labels=range(k), average=None, zero_division=0
    )
    with (
        warnings.catch_warnings()
    ):  # float32 rows sum to 1 within 1e-7, and a class is predicted that does not occur
        warnings.simplefilter("ignore", UserWarning)
        loss = sklearn.metrics.log_loss(labels_N, probs_NK.astype(np.float64), labels=range(k))
        balanced = sklearn.metrics.balanced_accuracy_score(labels_N, predicted_N)
    assert f1_per_class(probs_NK, labels_N) == pytest.approx(f1_K, abs=1e-12)
    assert scores["f1"] == pytest.approx(f1_K.mean(), abs=1e-12)
    assert scores["accuracy"] == pytest.approx(
        sklearn.metrics.accuracy_score(labels_N, predicted_N), abs=1e-12
    )
    assert scores["balanced_accuracy"] == pytest.approx(balanced, abs=1e-12)
    assert scores["log_loss"] == pytest.approx(loss, rel=1e-5)


@given(n=st.integers(1, 60), k=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_the_confusion_cells_are_scikit_learns_matrix(n, k, seed):
    probs_NK, labels_N = predictions(n, k, seed)
    matrix_KK = np.zeros((k, k), dtype=np.int64)
    cells = confusion(probs_NK, labels_N)
    matrix_KK[cells[:, 0], cells[:, 1]] = cells[:, 2]
    assert np.array_equal(
        matrix_KK,
        sklearn.metrics.confusion_matrix(labels_N, probs_NK.argmax(axis=1), labels=range(k)),
    )
    assert (cells[:, 2] > 0).all()
    assert cells.dtype == np.int64


def test_confusion_rows_are_in_the_order_of_the_classes():
    cells = confusion(confident([2, 0, 2, 1], k=3), np.array([1, 0, 1, 0]))
    assert cells.tolist() == [[0, 0, 1], [0, 1, 1], [1, 2, 2]]


def test_ten_thousand_classes_make_no_matrix():
    labels_N = np.array([9_999, 0])
    probs_NK = np.zeros((2, 10_000), dtype=np.float32)
    probs_NK[:, 9_999] = 1
    assert confusion(probs_NK, labels_N).tolist() == [[0, 9_999, 1], [9_999, 9_999, 1]]


@given(n=st.integers(1, 60), k=st.integers(2, 100), seed=st.integers(0, 2**32 - 1))
def test_the_calibration_error_is_the_sum_over_bins_of_its_paper(n, k, seed):
    probs_NK, labels_N = predictions(n, k, seed)
    top_N = probs_NK.max(axis=1).astype(np.float64)
    right_N = probs_NK.argmax(axis=1) == labels_N
    expected = 0.0
    for m in range(15):
        inside = (top_N > m / 15) & (top_N <= (m + 1) / 15)
        if inside.any():
            expected += inside.sum() / n * abs(right_N[inside].mean() - top_N[inside].mean())
    assert expected_calibration_error(probs_NK, labels_N) == pytest.approx(expected, abs=1e-12)


def test_the_calibration_error_of_one_confidence_is_its_distance_from_the_accuracy():
    probs_NK = np.tile(np.array([0.9, 0.1], dtype=np.float32), (10, 1))
    assert expected_calibration_error(probs_NK, np.array([0] * 6 + [1] * 4)) == pytest.approx(
        0.3, abs=1e-6
    )
    assert expected_calibration_error(probs_NK, np.array([0] * 9 + [1])) == pytest.approx(
        0, abs=1e-6
    )


def test_errors_of_opposite_sign_cancel_within_a_bin_only():
    # all in the bin up to 12/15: 0.75 right, 0.78 wrong
    same = np.array([[0.75, 0.25], [0.78, 0.22]], dtype=np.float32)
    assert expected_calibration_error(same, np.array([0, 1])) == pytest.approx(
        (0.25 - 0.78) / -2, abs=1e-6
    )
    apart = np.array([[0.75, 0.25], [0.85, 0.15]], dtype=np.float32)
    assert expected_calibration_error(apart, np.array([0, 1])) == pytest.approx(
        (0.25 + 0.85) / 2, abs=1e-6
    )


@pytest.mark.parametrize(("predicted", "error"), [([0, 1], 0.0), ([1, 0], 1.0), ([0, 0], 0.5)])
def test_certainty_is_as_far_off_as_it_is_wrong(predicted, error):
    assert expected_calibration_error(confident(predicted, k=2), np.array([0, 1])) == error


def test_a_row_of_zeros_falls_into_the_first_bin():
    assert expected_calibration_error(np.zeros((2, 3), dtype=np.float32), np.array([0, 1])) == 0.5


def test_a_class_that_neither_occurs_nor_is_predicted_counts_as_zero():
    assert macro_f1(confident([0, 1, 0], k=4), np.array([0, 1, 0])) == 0.5
    assert f1_per_class(confident([0, 1, 0], k=4), np.array([0, 1, 0])).tolist() == [1, 1, 0, 0]


def test_a_class_that_is_predicted_but_never_right_counts_as_zero():
    assert macro_f1(confident([1, 1], k=2), np.array([0, 1])) == pytest.approx((0 + 2 / 3) / 2)


def test_balanced_accuracy_leaves_out_classes_that_do_not_occur():
    assert (
        score_fold(confident([0, 0, 0, 2], k=4), np.array([0, 0, 0, 1]))["balanced_accuracy"] == 0.5
    )


def test_perfect_predictions_score_one_and_lose_nothing():
    scores = score_fold(confident([0, 1, 2], k=3), np.array([0, 1, 2]))
    assert scores == {
        "f1": 1.0,
        "accuracy": 1.0,
        "balanced_accuracy": 1.0,
        "log_loss": 0.0,
        "ece": 0.0,
    }


def test_a_certain_mistake_costs_the_clipped_logarithm_and_not_infinity():
    assert log_loss(confident([1], k=2), np.array([0])) == pytest.approx(-np.log(1e-12))


def test_even_probabilities_cost_the_logarithm_of_the_number_of_classes():
    assert log_loss(
        np.full((5, 4), 0.25, dtype=np.float32), np.zeros(5, dtype=np.int64)
    ) == pytest.approx(np.log(4))


def test_a_tie_goes_to_the_lower_class():
    assert score_fold(np.array([[0.5, 0.5]], dtype=np.float32), np.array([0]))["accuracy"] == 1.0


@given(seed=st.integers(0, 1000))
def test_the_order_of_the_images_does_not_matter(seed):
    probs_NK, labels_N = predictions(20, 3, seed)
    order = np.random.default_rng(seed).permutation(20)
    shuffled = score_fold(probs_NK[order], labels_N[order])
    assert shuffled == pytest.approx(score_fold(probs_NK, labels_N), rel=1e-12)


def test_nan_stays_visible():
    probs_NK = np.array([[np.nan, np.nan]], dtype=np.float32)
    assert np.isnan(log_loss(probs_NK, np.array([0])))
    assert np.isnan(expected_calibration_error(probs_NK, np.array([0])))


def test_the_scores_are_the_metrics_that_a_search_space_can_name_but_for_the_training_loss():
    scores = score_fold(*predictions(5, 3, 0))
    assert {*scores, "loss"} == set(METRICS)
    assert all(type(value) is float for value in scores.values())
    assert {name for name, goal in METRICS.items() if goal == "minimize"} == {
        "loss",
        "log_loss",
        "ece",
    }


@pytest.mark.parametrize("goal", Goal)
def test_a_goal_orders_scores_and_puts_not_a_number_last(goal: Goal):
    ordered = [goal.sign * score for score in (math.inf, 0.9, 0.0, -0.9)] + [goal.worst_possible]
    assert ordered[-1] == -ordered[0]
    assert goal.best(reversed(ordered)) == ordered[0]
    assert goal.worst(ordered) == goal.worst_possible
    assert goal.best([math.nan, ordered[1]]) == ordered[1]
    assert math.isnan(goal.worst([ordered[1], math.nan]))
    for (at, score), (later, other) in itertools.product(enumerate(ordered), repeat=2):
        assert goal.better(score, other) == (at < later)
        assert goal.reached(score, target=other) == (at <= later)
    for score in ordered:
        assert goal.better(score, math.nan)
        assert not goal.better(math.nan, score)
        assert not goal.reached(math.nan, target=score)
    assert not goal.better(math.nan, math.nan)


def test_a_goal_is_its_word_in_a_search_space():
    assert [*Goal] == ["maximize", "minimize"]
    assert Goal("minimize") is Goal.MINIMIZE
    assert f"{Goal.MAXIMIZE}" == "maximize"
