"""Scores of trials with some finished folds, comparable with those of complete trials.

The fold race stops most trials after one or two folds. The mean over these folds cannot be compared
with the mean over all folds, because some folds are easier than others. The functions are pure.

Shapes: T trials, K folds.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from sweeps.results.metric import Floats


@dataclasses.dataclass(frozen=True, eq=False)
class FoldAdjusted:
    """Trials at the score that they would have on all folds.

    Attributes:
        scores_T: a complete trial has exactly the mean of its folds.
        counts_T: number of finished folds of each trial.
        ease_K: how much higher scores are on a fold than on the mean of all folds that a trial has
            finished; the mean is 0.
    """

    scores_T: Floats
    counts_T: Floats
    ease_K: Floats


def fold_adjusted(scores: Sequence[Sequence[float]]) -> FoldAdjusted:
    """Return trials at their fold-adjusted scores.

    The score of a trial on a fold is the quality of the trial, plus the ease of the fold, plus a
    residual. Least squares over all finished folds gives both. The fold-adjusted score of a trial
    is its quality plus the mean ease of all folds. K is the number of folds that the trial with the
    most folds has finished.

    Args:
        scores: for each trial the finite scores of its finished folds, at least one; the first
            folds come first.

    Source: least squares of a two-way layout with missing cells, e.g. Yates 1933, "The analysis of
        replicated experiments when the field results are incomplete".

    Example:
        >>> found = fold_adjusted([(0.80, 0.90), (0.60, 0.70), (0.70,)])
        >>> found.scores_T.round(3).tolist(), found.ease_K.round(3).tolist()
        ([0.85, 0.65, 0.75], [-0.05, 0.05])
    """
    counts_T: Floats = np.array([len(folds) for folds in scores], dtype=float)
    k = int(counts_T.max(initial=0))
    if k == 0:
        return FoldAdjusted(counts_T, counts_T, np.zeros(0))
    known_TK = np.arange(k) < counts_T[:, None]
    score_TK = np.zeros(known_TK.shape)
    score_TK[known_TK] = np.fromiter(itertools.chain.from_iterable(scores), dtype=float)
    mean_T = score_TK.sum(axis=1) / counts_T
    # the qualities are eliminated; what is left are K equations of rank K - 1 for the eases
    share_TK = known_TK / counts_T[:, None]
    left_KK = np.diag(known_TK.sum(axis=0)) - share_TK.T @ known_TK
    right_K = score_TK.sum(axis=0) - known_TK.T @ mean_T
    ease_K = np.linalg.lstsq(left_KK, right_K)[0]
    ease_K -= ease_K.mean()
    return FoldAdjusted(mean_T - share_TK @ ease_K * (counts_T < k), counts_T, ease_K)
