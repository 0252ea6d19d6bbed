"""What fold scores say of the trials that a race let live."""

from collections.abc import Sequence

import numpy as np
import pytest

from sweeps.results.fold_evidence import FoldEvidence, fold_evidence
from trainer.metrics import Goal

K = 5
RESIDUAL = 0.03
EASE_K = np.array([0.05, -0.04, 0.0, 0.03, -0.02])


def raced(
    spread: float, *, seed: int, trials: int = 60
) -> tuple[list[tuple[float, ...]], np.ndarray]:
    """Return the fold scores of trials of which only the better half of each fold went on.

    The second result has the qualities of all trials.
    """
    rng = np.random.default_rng(seed)
    quality_T = 0.7 + spread * rng.standard_normal(trials)
    score_TK = quality_T[:, None] + EASE_K + RESIDUAL * rng.standard_normal((trials, K))
    folds_T = np.ones(trials, dtype=int)
    alive_T = np.arange(trials)
    for folds in (1, 2):
        means_T = score_TK[alive_T, :folds].mean(axis=1)
        alive_T = alive_T[means_T >= np.median(means_T)]
        folds_T[alive_T] = folds + 1
    folds_T[alive_T] = K
    return [tuple(row[:n].tolist()) for row, n in zip(score_TK, folds_T, strict=True)], quality_T


def found(scores: Sequence[tuple[float, ...]], goal: Goal = Goal.MAXIMIZE) -> FoldEvidence:
    evidence = fold_evidence(scores, k=K, goal=goal)
    assert evidence is not None
    return evidence


def true_luck(scores: Sequence[tuple[float, ...]], quality_T: np.ndarray) -> float:
    of_complete = [
        np.mean(folds) - quality
        for folds, quality in zip(scores, quality_T, strict=True)
        if len(folds) == K
    ]
    return float(np.mean(of_complete) - EASE_K.mean())


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.05])
def test_it_sees_the_luck_of_the_trials_that_the_race_let_live(spread: float):
    said, true = [], []
    for seed in range(60):
        scores, quality_T = raced(spread, seed=seed)
        said.append(found(scores).luck)
        true.append(true_luck(scores, quality_T))
    assert np.mean(true) > 0.004
    assert np.mean(said) == pytest.approx(np.mean(true), abs=0.0025)


@pytest.mark.parametrize("spread", [0.02, 0.05])
def test_it_sees_how_much_trials_differ(spread: float):
    said = [
        evidence.weights_S @ evidence.variances_S
        for seed in range(30)
        for evidence in [found(raced(spread, seed=seed)[0])]
    ]
    assert np.sqrt(np.mean(said)) == pytest.approx(spread, rel=0.35)


def test_a_loss_is_seen_as_a_score_is():
    scores, _ = raced(0.02, seed=0)
    losses = [tuple(1 - score for score in folds) for folds in scores]
    assert found(losses, Goal.MINIMIZE).luck == pytest.approx(-found(scores).luck)


def test_trials_that_failed_to_learn_change_little():
    scores, _ = raced(0.0, seed=0)
    failed = [(score,) for score in np.linspace(0.05, 0.4, 20).tolist()]
    assert found([*scores, *failed]).luck == pytest.approx(found(scores).luck, rel=0.1)


def test_complete_trials_alone_had_no_luck():
    rng = np.random.default_rng(0)
    scores = [tuple(row) for row in (0.7 + RESIDUAL * rng.standard_normal((20, K))).tolist()]
    assert found(scores).luck == pytest.approx(0.0, abs=1e-12)


def test_the_order_of_the_trials_is_irrelevant():
    scores, _ = raced(0.02, seed=0)
    assert found(scores[::-1]).luck == pytest.approx(found(scores).luck, rel=1e-9)


@pytest.mark.parametrize(
    ("scores", "k"),
    [
        ([], 2),
        ([(0.9, 0.8), (0.7,)], 2),
        ([(0.9, float("nan")), (0.8, 0.7), (0.6,)], 2),
        ([(0.9, 0.8), (0.9, 0.8), (0.9,)], 2),
        ([(0.9,), (0.8,), (0.7,)], 1),
    ],
    ids=["none", "one complete", "one without a score", "no residual", "one fold"],
)
def test_too_few_scores_say_nothing(scores: list[tuple[float, ...]], k: int):
    assert fold_evidence(scores, k=k, goal=Goal.MAXIMIZE) is None
