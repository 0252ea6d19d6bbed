"""Which pruned trials would help an ensemble, by their predictions on paper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.results.calibrating import calibrate
from sweeps.results.ensemble import Library
from sweeps.results.runners_up import SHARES, RunnerUp, best_by_gain, log_loss_gain
from trainer.metrics import Probs, log_loss
from trainer.prediction.calibration import softmax

N, K = 600, 3
RNG = np.random.default_rng(7)
LABELS_N = RNG.integers(0, K, N)
TRUTH = Library([], [], LABELS_N, groups_N=np.arange(N) // 3)


def predictions(seed: int, *, skill: float, sure: float = 1.0) -> Probs:
    """Predictions with mistakes of their own; `skill` 0 knows nothing."""
    noise_NK = np.random.default_rng(seed).normal(0, 1, (N, K))
    return softmax((sure * (skill * np.eye(K)[LABELS_N] + noise_NK)).astype(np.float32))


ENSEMBLE = predictions(1, skill=2.0)


def on_folds(probs_NK: Probs, share: float) -> Probs:
    """The predictions for the first images; those of the other folds do not exist."""
    partial_NK = probs_NK.copy()
    partial_NK[int(share * N) :] = np.nan
    return partial_NK


def test_the_gain_is_that_of_the_best_share_on_the_images_that_were_predicted() -> None:
    probs_NK = predictions(2, skill=1.5, sure=3.0)
    known = slice(0, N // 5)
    calibration = calibrate(probs_NK[known], LABELS_N[known], groups_N=np.arange(N // 5) // 3)
    mixed = [
        (1 - share) * ENSEMBLE[known] + share * calibration.of(probs_NK[known]) for share in SHARES
    ]
    expected = log_loss(ENSEMBLE[known], LABELS_N[known]) - min(
        log_loss(one, LABELS_N[known]) for one in mixed
    )
    assert expected > 0.005
    found = log_loss_gain(TRUTH, ENSEMBLE, on_folds(probs_NK, 0.2))
    assert found == pytest.approx(expected, rel=1e-4)


def test_other_mistakes_help_and_no_knowledge_does_not() -> None:
    assert log_loss_gain(TRUTH, ENSEMBLE, predictions(2, skill=1.5)) > 0.02
    assert log_loss_gain(TRUTH, ENSEMBLE, predictions(3, skill=0.0)) < 0
    nothing_NK = np.full((N, K), np.nan, dtype=np.float32)
    assert log_loss_gain(TRUTH, ENSEMBLE, nothing_NK) == 0


def test_a_trial_that_is_too_sure_is_calibrated_first() -> None:
    plain, sure = (predictions(2, skill=1.5, sure=each) for each in (1.0, 4.0))
    assert log_loss_gain(TRUTH, ENSEMBLE, sure) == pytest.approx(
        log_loss_gain(TRUTH, ENSEMBLE, plain), rel=0.05
    )


@settings(max_examples=20)  # each of them calibrates four trials
@given(order=st.permutations(range(4)), most=st.integers(0, 6))
def test_the_best_gains_are_taken_whatever_the_order_and_ties_go_to_the_lower_number(
    order: list[int], most: int
) -> None:
    good, better = (predictions(2, skill=skill) for skill in (1.5, 2.0))
    trials = [
        RunnerUp(9, on_folds(good, 0.6)),
        RunnerUp(4, better),
        RunnerUp(7, on_folds(good, 0.6)),
        RunnerUp(2, predictions(3, skill=0.0)),
    ]
    found = best_by_gain(TRUTH, ENSEMBLE, [trials[place] for place in order], most=most)
    assert found == [4, 7, 9][:most]
