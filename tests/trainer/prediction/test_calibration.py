"""Applying a calibration."""

import numpy as np
import pytest
from scipy.special import log_softmax

from trainer.prediction.calibration import SMALLEST, Calibration


@pytest.fixture
def probs_NK() -> np.ndarray:
    return np.random.default_rng(1).dirichlet([0.3] * 5, size=40).astype(np.float32)


def test_no_calibration_changes_nothing(probs_NK: np.ndarray):
    assert Calibration().of(probs_NK) == pytest.approx(probs_NK, abs=1e-6)


def test_it_is_the_softmax_of_scaled_logarithms_and_biases(probs_NK: np.ndarray):
    bias = (0.5, -1.0, 0.0, 2.0, 0.1)
    expected = np.exp(log_softmax(np.log(probs_NK.astype(np.float64)) / 1.7 + bias, axis=1))
    found = Calibration(1.7, bias).of(probs_NK)
    assert found == pytest.approx(expected, abs=1e-5)
    assert found.dtype == np.float32
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_a_probability_of_zero_stays_finite():
    found = Calibration(0.5).of(np.array([[1.0, 0.0]], dtype=np.float32))
    assert np.isfinite(found).all()
    assert found[0, 1] == pytest.approx(SMALLEST**2, abs=1e-9)


def test_json_keeps_every_bit(probs_NK: np.ndarray):
    calibration = Calibration(1 / 3, (0.1, 2 / 3, 0.0, -1e-9, 7.0))
    assert Calibration.from_json(calibration.as_json()) == calibration
