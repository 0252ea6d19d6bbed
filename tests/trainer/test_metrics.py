"""Metrics against scikit-learn."""

import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from trainer.metrics import METRICS, log_loss, macro_f1, score_fold


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
    f1 = sklearn.metrics.f1_score(labels_N, predicted_N, labels=range(k), average="macro", zero_division=0)
    with warnings.catch_warnings():  # float32 rows sum to 1 within 1e-7, which scikit-learn remarks on
        warnings.simplefilter("ignore", UserWarning)
        loss = sklearn.metrics.log_loss(labels_N, probs_NK.astype(np.float64), labels=range(k))
    assert scores["f1"] == pytest.approx(f1, abs=1e-12)
    assert scores["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels_N, predicted_N), abs=1e-12)
    assert scores["loss"] == pytest.approx(loss, rel=1e-5)


def test_a_class_that_neither_occurs_nor_is_predicted_counts_as_zero():
    assert macro_f1(confident([0, 1, 0], k=4), np.array([0, 1, 0])) == 0.5


def test_a_class_that_is_predicted_but_never_right_counts_as_zero():
    assert macro_f1(confident([1, 1], k=2), np.array([0, 1])) == pytest.approx((0 + 2 / 3) / 2)


def test_perfect_predictions_score_one_and_lose_nothing():
    scores = score_fold(confident([0, 1, 2], k=3), np.array([0, 1, 2]))
    assert scores == {"f1": 1.0, "accuracy": 1.0, "loss": 0.0}


def test_a_certain_mistake_costs_the_clipped_logarithm_and_not_infinity():
    assert log_loss(confident([1], k=2), np.array([0])) == pytest.approx(-np.log(1e-12))


def test_even_probabilities_cost_the_logarithm_of_the_number_of_classes():
    assert log_loss(np.full((5, 4), 0.25, dtype=np.float32), np.zeros(5, dtype=np.int64)) == pytest.approx(np.log(4))


def test_a_tie_goes_to_the_lower_class():
    assert score_fold(np.array([[0.5, 0.5]], dtype=np.float32), np.array([0]))["accuracy"] == 1.0


@given(seed=st.integers(0, 1000))
def test_the_order_of_the_images_does_not_matter(seed):
    probs_NK, labels_N = predictions(20, 3, seed)
    order = np.random.default_rng(seed).permutation(20)
    assert score_fold(probs_NK[order], labels_N[order]) == pytest.approx(score_fold(probs_NK, labels_N), rel=1e-12)


def test_nan_stays_visible_in_the_loss():
    assert np.isnan(log_loss(np.array([[np.nan, np.nan]], dtype=np.float32), np.array([0])))


def test_the_scores_are_the_metrics_that_a_search_space_can_name():
    scores = score_fold(*predictions(5, 3, 0))
    assert set(scores) == set(METRICS)
    assert all(type(value) is float for value in scores.values())
    assert METRICS == {"f1": "maximize", "accuracy": "maximize", "loss": "minimize"}
