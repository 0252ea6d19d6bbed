"""Fitting a calibration."""

import numpy as np
import pytest

from sweeps.results.calibrating import calibrate, rows_of_whole_groups
from tests.sweeps.results.simulated import library
from trainer.metrics import log_loss
from trainer.prediction.calibration import Calibration


def test_probabilities_that_are_too_sure_get_a_temperature_above_one():
    sure = library(persons=700, photos=1, sharpness=3.0)
    right = library(persons=700, photos=1, sharpness=1.0)
    hot = calibrate(sure.probs[0], sure.labels_N).temperature
    assert hot == pytest.approx(3 * calibrate(right.probs[0], right.labels_N).temperature, rel=0.1)
    assert hot > 2


def test_it_lowers_the_log_loss_of_images_it_was_not_fitted_on():
    made = library(persons=600, sharpness=2.5)
    first, second = np.arange(900), np.arange(900, 1800)
    calibration = calibrate(
        made.probs[0][first], made.labels_N[first], groups_N=made.groups_N[first]
    )
    before = log_loss(made.probs[0][second], made.labels_N[second])
    after = log_loss(calibration.of(made.probs[0][second]), made.labels_N[second])
    assert after < before - 0.05


def test_what_is_calibrated_already_is_hardly_changed():
    made = library(persons=1500, photos=1, sharpness=2.0)
    first = calibrate(made.probs[0], made.labels_N)
    again = calibrate(first.of(made.probs[0]), made.labels_N)
    assert again.temperature == pytest.approx(1.0, abs=0.05)
    assert np.abs(again.bias).max() < 0.05


def test_networks_that_favour_rare_classes_get_a_bias_against_them():
    made = library(persons=1500, photos=1)
    rare = Calibration(1.0, (0.0, 0.0, 0.0, 1.0)).of(made.probs[0])
    plain = calibrate(made.probs[0], made.labels_N).bias
    found = calibrate(rare, made.labels_N).bias
    assert np.subtract(found, plain)[3] == pytest.approx(-0.75, abs=0.1)
    assert np.mean(found) == pytest.approx(0, abs=1e-9)


def test_seven_photos_of_a_person_are_the_evidence_of_one():
    made = library(persons=20, photos=7, sharpness=4.0)
    alone = calibrate(made.probs[0], made.labels_N)
    together = calibrate(made.probs[0], made.labels_N, groups_N=made.groups_N)
    assert 1 < together.temperature < alone.temperature
    assert np.abs(together.bias).max() < np.abs(alone.bias).max()


def test_label_columns_share_their_biases():
    made = library(classes=4, persons=300)
    columns = [np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])]
    bias = calibrate(made.probs[0], made.labels_N, columns=columns).bias
    # the difference between the values of one column is the same for each value of the other
    assert bias[0] - bias[1] == pytest.approx(bias[2] - bias[3])
    assert bias[0] - bias[2] == pytest.approx(bias[1] - bias[3])


def test_of_many_images_whole_groups_are_used():
    groups_N = np.repeat(np.arange(300), 5)
    rows = rows_of_whole_groups(groups_N, 1500, most=100)
    assert 90 <= len(rows) <= 110
    counts = np.unique(groups_N[rows], return_counts=True)[1]
    assert (counts == 5).all()
    assert groups_N[rows].max() > 250  # data are often sorted by class: all parts are used
    assert len(rows_of_whole_groups(None, 1500, most=100)) == 100
    assert rows_of_whole_groups(groups_N, 1500, most=1500).tolist() == list(range(1500))


def test_the_same_numbers_come_again():
    made = library()
    first, second = (calibrate(made.probs[0], made.labels_N) for _ in range(2))
    assert first == second
