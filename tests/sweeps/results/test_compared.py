import numpy as np
import pytest

from sweeps.results.compared import _true_differences, compare
from sweeps.results.fold_evidence import FoldEvidence
from trainer.seeds import derive

TRIALS = 8


def simulated(spread: float, *, error: float = 1.0, seed: int = 0):
    """True scores, measured scores and resamples of trials whose errors are partly shared."""
    rng = np.random.default_rng(derive(seed, "simulated chances"))
    true_M = spread * rng.standard_normal(TRIALS)
    measured_M = true_M + error * (3 * rng.standard_normal() + rng.standard_normal(TRIALS))
    shared_B1 = 3 * rng.standard_normal((300, 1))
    inside_BM = measured_M + error * (shared_B1 + rng.standard_normal((300, TRIALS)))
    return true_M, measured_M, inside_BM


@pytest.mark.parametrize("spread", [0.7, 2.0])
def test_chances_and_edges_are_as_right_as_they_say(spread: float):
    said, right, errors, shown = [], [], [], []
    for seed in range(300):
        true_M, measured_M, inside_BM = simulated(spread, seed=seed)
        compared = compare(measured_M, inside_BM, seed=seed)
        chosen = measured_M.argmax()
        said.append(compared.chances_M[chosen])
        right.append(true_M.argmax() == chosen)
        errors.append(compared.edges_M[chosen] - (true_M[chosen] - true_M.mean()))
        shown.append((measured_M - measured_M.mean())[chosen])
    assert np.mean(said) == pytest.approx(np.mean(right), abs=0.09)
    assert abs(np.mean(errors)) < 0.2 < 1.1 < np.mean(shown)


def test_trials_that_differ_by_their_errors_only_have_nearly_equal_chances():
    of_chosen = []
    for seed in range(100):
        _, measured_M, inside_BM = simulated(0.0, seed=seed)
        of_chosen.append(compare(measured_M, inside_BM, seed=seed).chances_M.max())
    assert np.mean(of_chosen) < 2 / TRIALS


def test_a_trial_far_above_the_others_is_certain():
    _, measured_M, inside_BM = simulated(0.1)
    lift_M = 100.0 * (np.arange(TRIALS) == 2)
    chances_M = compare(measured_M + lift_M, inside_BM + lift_M, seed=0).chances_M
    assert chances_M[2] == 1.0


def test_the_unit_of_the_score_is_irrelevant():
    _, measured_M, inside_BM = simulated(1.0)
    chances_M = compare(measured_M, inside_BM, seed=0).chances_M
    smaller_M = compare(1e-3 * measured_M, 1e-3 * inside_BM, seed=0).chances_M
    np.testing.assert_allclose(smaller_M, chances_M, atol=1e-9)


def test_equal_trials_share_their_chance():
    _, measured_M, inside_BM = simulated(1.0)
    twice = [*range(TRIALS), int(measured_M.argmax())]
    chances_M = compare(measured_M[twice], inside_BM[:, twice], seed=0).chances_M
    assert chances_M[-1] == chances_M[measured_M.argmax()] > 0.05
    assert chances_M.sum() == pytest.approx(1)


def test_a_trial_without_a_score_is_never_the_best():
    _, measured_M, inside_BM = simulated(1.0)
    measured_M[3] = np.nan
    inside_BM[:, 3] = np.nan
    chances_M = compare(measured_M, inside_BM, seed=0).chances_M
    assert chances_M[3] == 0
    assert chances_M.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("scores", "chances"),
    [
        ([0.7], [1.0]),
        ([0.7, 0.7, 0.6], [0.5, 0.5, 0.0]),
        ([np.nan, np.nan], [0.5, 0.5]),
    ],
)
def test_trials_without_errors_are_compared_by_their_scores(
    scores: list[float], chances: list[float]
):
    scores_M = np.array(scores)
    inside_BM = np.repeat(scores_M[None], 10, axis=0)
    assert compare(scores_M, inside_BM, seed=0).chances_M.tolist() == chances


@pytest.mark.parametrize(("variance", "kept"), [(1e-6, 0.0), (1e6, 1.0)])
def test_fold_scores_say_how_much_trials_differ(variance: float, kept: float):
    _, measured_M, inside_BM = simulated(1.0)
    folds = FoldEvidence(0.0, np.array([variance]), np.array([1.0]))
    compared = compare(measured_M, inside_BM, seed=0, folds=folds)
    expected_M = kept * (measured_M - measured_M.mean())
    np.testing.assert_allclose(compared.edges_M, expected_M, atol=1e-4)


def test_edges_are_the_means_of_what_is_drawn():
    _, measured_M, inside_BM = simulated(1.0)
    expected_M, drawn_RM = _true_differences(measured_M, inside_BM, seed=0, folds=None)
    error_M = drawn_RM.std(axis=0) / len(drawn_RM) ** 0.5
    assert (np.abs(drawn_RM.mean(axis=0) - expected_M) < 4 * error_M).all()
