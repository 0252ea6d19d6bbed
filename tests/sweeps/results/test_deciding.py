"""Rules that follow from a metric and calibrated probabilities."""

import numpy as np
import pytest

from sweeps.results.deciding import decision_for, f1_decision
from sweeps.results.metric import Predicted
from tests.sweeps.results.simulated import F1
from trainer.metrics import balanced_accuracy
from trainer.prediction.decision import Decision


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right, and labels drawn from them; two classes are rare."""
    rng = np.random.default_rng(0)
    probs_NK = rng.dirichlet([3.0, 1.0, 0.3, 0.15], size=6000).astype(np.float32)
    labels_N = (probs_NK.cumsum(axis=1) > rng.random(6000)[:, None]).argmax(axis=1)
    return probs_NK, labels_N


def test_the_rule_for_macro_f1_beats_argmax_on_labels_it_never_saw(
    drawn: tuple[np.ndarray, np.ndarray],
):
    probs_NK, labels_N = drawn
    rule = f1_decision(probs_NK, kappa=5.0)
    ruled = F1.score(Predicted(probs_NK, rule.of(probs_NK)), labels_N)
    assert ruled > F1.score(Predicted.by_argmax(probs_NK), labels_N) + 0.02


def test_the_rule_for_two_classes_is_the_threshold_of_half_the_best_f1():
    """Lipton et al. 2014: an image is positive where its probability is above F/2.

    With a macro-F1 of two classes both F1 count, so the F1 of the frequent one is held near 1 here.
    """
    rng = np.random.default_rng(0)
    positive_N = rng.beta(0.05, 2.0, size=20_000)
    probs_NK = np.stack([1 - positive_N, positive_N], axis=1).astype(np.float32)
    rule = f1_decision(probs_NK, kappa=0.0)
    predicted = rule.of(probs_NK)
    right = positive_N[predicted == 1].sum()
    f1 = 2 * right / (positive_N.sum() + (predicted == 1).sum())
    assert positive_N[predicted == 1].min() == pytest.approx(f1 / 2, abs=0.03)


def test_kappa_holds_back_classes_of_which_almost_nothing_is_expected():
    probs_NK = np.full((200, 3), [0.979, 0.02, 0.001], dtype=np.float32)
    probs_NK[100:] = [0.02, 0.979, 0.001]
    probs_NK[:7] = [0.6, 0.31, 0.09]  # one person with seven photos: 0.8 images are expected
    assert f1_decision(probs_NK, kappa=0.0).of(probs_NK)[:7].tolist() == [2] * 7
    assert f1_decision(probs_NK, kappa=1000.0).of(probs_NK)[:7].tolist() == [0] * 7


def test_balanced_accuracy_divides_by_the_proportion_of_a_class(
    drawn: tuple[np.ndarray, np.ndarray],
):
    probs_NK, labels_N = drawn
    rule = decision_for("balanced_accuracy", probs_NK, kappa=5.0)
    expected = (probs_NK / probs_NK.sum(axis=0)).argmax(axis=1)
    assert (rule.of(probs_NK) == expected).all()
    said = np.eye(4, dtype=np.float32)[rule.of(probs_NK)]
    assert balanced_accuracy(said, labels_N) > balanced_accuracy(probs_NK, labels_N) + 0.05


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "ece", "kappa.py:weighted"])
def test_every_other_metric_takes_the_most_probable_class(metric: str):
    probs_NK = np.full((4, 2), 0.5, dtype=np.float32)
    assert decision_for(metric, probs_NK, kappa=5.0) == Decision()
