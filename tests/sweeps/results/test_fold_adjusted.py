"""Scores of trials with some finished folds, at the level of all folds."""

import numpy as np
import pytest

from sweeps.results.fold_adjusted import fold_adjusted

EASE_K = np.array([0.05, -0.04, 0.0, 0.03, -0.04])


def test_a_complete_trial_keeps_its_mean_exactly():
    rng = np.random.default_rng(0)
    scores = [tuple(rng.random(5 if trial % 3 else 2).tolist()) for trial in range(30)]
    adjusted = fold_adjusted(scores)
    for trial, folds in enumerate(scores):
        if len(folds) == 5:
            assert adjusted.scores_T[trial] == sum(folds) / 5


def test_a_stopped_trial_is_raised_by_as_much_as_its_folds_are_harder():
    quality_T = np.array([0.7, 0.8, 0.6, 0.75])
    folds_T = (5, 5, 1, 3)
    scores = [
        (quality + EASE_K[:folds]).tolist()
        for quality, folds in zip(quality_T, folds_T, strict=True)
    ]
    adjusted = fold_adjusted(scores)
    assert adjusted.scores_T == pytest.approx(quality_T)  # the mean ease is 0
    assert adjusted.ease_K == pytest.approx(EASE_K)
    assert adjusted.counts_T.tolist() == [5, 5, 1, 3]


def test_it_is_the_least_squares_fit_of_trials_and_folds():
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 6, 40)
    scores = [rng.normal(0.7, 0.1, count).tolist() for count in counts]
    cells = [
        (trial, fold, score)
        for trial, folds in enumerate(scores)
        for fold, score in enumerate(folds)
    ]
    columns = np.zeros((len(cells), 40 + 5))
    for row, (trial, fold, _) in enumerate(cells):
        columns[row, [trial, 40 + fold]] = 1
    fitted = np.linalg.lstsq(columns, np.array([score for *_, score in cells]))[0]
    expected_T = fitted[:40] + fitted[40:].mean()
    assert fold_adjusted(scores).scores_T == pytest.approx(expected_T)


def test_without_a_complete_trial_the_folds_that_are_known_count():
    adjusted = fold_adjusted([(0.7,), (0.8, 0.9)])
    assert adjusted.scores_T == pytest.approx([0.75, 0.85])
    assert adjusted.ease_K == pytest.approx([-0.05, 0.05])


def test_no_trials_have_no_scores():
    adjusted = fold_adjusted([])
    assert adjusted.scores_T.shape == adjusted.ease_K.shape == (0,)
