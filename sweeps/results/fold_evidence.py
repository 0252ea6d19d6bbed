"""What the fold scores of all trials, also of stopped ones, say of the complete trials.

The fold race lets a trial go on while its folds look good, so the trials that are complete were
lucky, all of them. Their own predictions cannot tell: the unlucky are gone. The scores of the
stopped trials can. A score is the quality of its trial, the ease of its fold and a residual; which
folds are missing depends on nothing but the scores that are there. The functions are pure.

Shapes: T trials, K folds, S sizes of the true differences between trials.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from sweeps.results.metric import Floats
from trainer.metrics import Goal

# sizes of the true differences between trials, in units of the errors of the measured ones
SIZES_S = np.geomspace(0.03, 30, 60)
# A stopped trial counts if it is at most this many residuals worse than the first fold of any
# complete trial. One that failed to learn had no chance to be complete by luck.
NEAR = 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class FoldEvidence:
    """What the fold scores say of the complete trials.

    Attributes:
        luck: how much the mean score of the complete trials is above (for a loss: below) what they
            would score on other folds, in units of the metric.
        variances_S: possible variances of the true scores of trials.
        weights_S: how likely each of them is; they sum to 1.
    """

    luck: float
    variances_S: Floats
    weights_S: Floats


def fold_evidence(scores: Sequence[Sequence[float]], *, k: int, goal: Goal) -> FoldEvidence | None:
    """Return what the fold scores say, or None if they say nothing.

    The mean of a complete trial's folds is compared with its expected quality, given the scores of
    all trials. The size of the true differences is not known; each of SIZES_S counts by how well it
    explains the scores.

    Args:
        scores: for each trial the scores of its finished folds, the first folds first; a trial with
            `k` of them is complete.

    Returns:
        None with fewer than two complete trials or two folds, and if the scores have no residuals.

    Source: the linear mixed model of Henderson 1975, "Best linear unbiased estimation and
        prediction under a selection model", by restricted maximum likelihood.

    Example:
        >>> found = fold_evidence([(0.8, 0.9), (0.7, 0.9), (0.6,), (0.5,)], k=2, goal=Goal.MAXIMIZE)
        >>> found.luck > 0
        True
    """
    usable = [tuple(folds) for folds in scores if len(folds) and np.isfinite(folds).all()]
    complete_TK = np.array([folds for folds in usable if len(folds) == k])
    if len(complete_TK) < 2 or k < 2:
        return None
    near = _near(usable, complete_TK, goal=goal)
    known_TK = np.array([[fold < len(folds) for fold in range(k)] for folds in near], dtype=float)
    score_TK = np.zeros_like(known_TK)
    score_TK[known_TK > 0] = np.concatenate(near)
    count_T = known_TK.sum(axis=1)
    free = known_TK.sum() - k
    complete_T = count_T == k
    lucks, variances, likelihoods = [], [], []
    for ratio in SIZES_S**2 / k:  # variance of the qualities over that of the residuals
        # the quality of a trial is expected at this share of the sum of its residuals
        share_T = ratio / (1 + count_T * ratio)
        weighted_TK = known_TK * share_T[:, None]
        precision_KK = np.diag(known_TK.sum(axis=0)) - weighted_TK.T @ known_TK
        ease_K = np.linalg.solve(
            precision_KK, score_TK.sum(axis=0) - weighted_TK.T @ score_TK.sum(axis=1)
        )
        residual_TK = known_TK * (score_TK - ease_K)
        sum_T = residual_TK.sum(axis=1)
        squares = float((residual_TK**2).sum() - (share_T * sum_T**2).sum())
        if squares <= 1e-12 * float((score_TK**2).sum()):
            return None
        lucks.append(float((sum_T / k - share_T * sum_T)[complete_T].mean()))
        variances.append(ratio * squares / free)
        log_determinant = np.log1p(count_T * ratio).sum() + np.linalg.slogdet(precision_KK)[1]
        likelihoods.append(-(free * np.log(squares) + log_determinant) / 2)
    weights_S = np.exp(np.array(likelihoods) - max(likelihoods))
    weights_S /= weights_S.sum()
    return FoldEvidence(float(weights_S @ lucks), np.array(variances), weights_S)


def _near(
    trials: Sequence[tuple[float, ...]], complete_TK: Floats, *, goal: Goal
) -> list[tuple[float, ...]]:
    """Return the complete trials, and the stopped ones that are not much worse than all of them."""
    count, k = complete_TK.shape
    ease_K = complete_TK.mean(axis=0)
    beyond_TK = complete_TK - ease_K
    residual_TK = beyond_TK - beyond_TK.mean(axis=1, keepdims=True)
    residual = np.sqrt((residual_TK**2).sum() / ((count - 1) * (k - 1)))
    lowest = (goal.sign * beyond_TK[:, 0]).min() - NEAR * residual

    def is_near(folds: tuple[float, ...]) -> bool:
        beyond = float(np.mean(np.array(folds) - ease_K[: len(folds)]))
        return len(folds) == k or bool(goal.sign * beyond >= lowest)

    return [folds for folds in trials if is_near(folds)]
