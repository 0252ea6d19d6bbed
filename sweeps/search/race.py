"""The fold race: stop a trial after a finished fold if it has little chance to win.

The functions are pure functions of the scores of finished folds. The model: the score of a trial on
a fold is the quality of the trial, plus the ease of the fold, plus a residual. After k of K folds:

1. The expected final score is the trial's mean over its k folds, minus the extra ease of these k
   folds compared with all K folds. The complete trials give the ease of each fold.
2. The final score differs from the expected score by an error, and the variance of the error is
   s^2 (1/k - 1/K) (1 + 1/n). s^2 is the variance of the residuals of all n complete trials, with
   (n - 1)(K - 1) degrees of freedom.
3. The *incumbent* is the best complete trial. A trial is stopped if its chance to end above the
   incumbent is below `error_rate`. The chance is from Student's t distribution.
4. A trial that is as good as the incumbent on the same folds is never stopped.

Only trials that are over count. Therefore a restarted driver, which reads the trials from the
storage, gets the same result. Trials with exactly equal scores count once, because they give no
information about a residual. For example, all trials that learned nothing and predict one class
have equal scores. A simpler rule, the paired difference to the incumbent alone, has twice this
variance; `benchmarks/LOG.md` has the figures.
"""

import dataclasses
import itertools
import math
import operator
import statistics
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from sweeps.space.stopping import Race
from trainer.metrics import Goal

# shape suffixes: T trials, K folds, F finished folds of the trial
Scores = npt.NDArray[np.float64]

ROUNDING = 1e-12  # a difference below this share of the largest score counts as zero


@dataclasses.dataclass(frozen=True)
class Standing:
    """The fold scores of a trial that is over.

    Attributes:
        fold_scores: scores of the finished folds, in fold order. A complete trial has K scores.
    """

    number: int
    fold_scores: tuple[float, ...]

    @property
    def score(self) -> float:
        """Mean score over the finished folds."""
        return statistics.fmean(self.fold_scores)


def incumbent(finished: Iterable[Standing], *, k: int, goal: Goal) -> Standing | None:
    """The best complete trial, or None; among equally good trials, the one with the lowest number.

    Trials with a score that is not finite do not count.
    """
    complete, scores_TK = _complete(finished, k=k)
    return complete[_best(_turned(scores_TK, goal))] if complete else None


def expected_gains(finished: Iterable[Standing], *, k: int) -> list[float] | None:
    """How much a trial's mean score is expected to grow from its first folds to all K folds.

    The ease of a fold is the median over the complete trials: of a trial's score on the fold, minus
    the trial's mean. The race itself takes means, from which it derives its chance of an error. But
    with the mean here, one complete trial that collapsed on a fold would move the expected score of
    all stopped trials by more than good trials differ; `benchmarks/LOG.md` has the figures.

    Returns:
        K numbers in units of the score. Number f (from 0) is for f + 1 finished folds: the mean
        ease of all folds, minus the mean ease of the first f + 1. None if no trial is complete with
        finite scores.

    Example:
        >>> finished = [Standing(n, (0.80, 0.85 + n / 100, 0.90)) for n in range(3)]
        >>> [round(gain, 3) for gain in expected_gains(finished, k=3)]
        [0.053, 0.023, 0.0]
    """
    complete, scores_TK = _complete(finished, k=k)
    if not complete:
        return None
    ease_K = np.median(scores_TK - scores_TK.mean(axis=1, keepdims=True), axis=0)
    gains: list[float] = (ease_K.mean() - np.cumsum(ease_K) / np.arange(1, k + 1)).tolist()
    return gains


def race_reason(
    finished: Iterable[Standing], own_scores: Sequence[float], *, rule: Race, k: int, goal: Goal
) -> str | None:
    """Why a trial should be stopped after a fold, or None to go on.

    Args:
        finished: trials that are over, in any order; trials without exactly `k` scores do not
            count.
        own_scores: scores of the trial's finished folds, in fold order.
        k: number of folds of a complete trial.

    Example:
        >>> finished = [Standing(n, (0.80, 0.85 + n / 100, 0.90)) for n in range(6)]
        >>> race_reason(finished, [0.75], rule=Race(), k=3, goal=Goal.MAXIMIZE)
        'fold race: less than 0.1 % chance to beat trial 5 (0.8667) after 1 of 3 folds'
    """
    reason = non_finite_reason(own_scores)
    if reason is not None:
        return f"fold race: {reason}"
    if not rule.min_folds <= len(own_scores) < k:
        return None
    complete, scores_TK = _complete(finished, k=k)
    scores_TK = _turned(scores_TK, goal)
    if (len(complete) - 1) * (k - 1) < rule.min_evidence:
        return None
    chance = _chance(scores_TK, _turned(np.asarray(own_scores), goal), near_tie=rule.near_tie)
    if chance >= rule.error_rate:
        return None
    winner = complete[_best(scores_TK)]
    shown = f"{100 * chance:.1f} %" if chance >= 0.0005 else "less than 0.1 %"
    aim = f"come within {rule.near_tie:g} of" if rule.near_tie else "beat"
    after = f"after {len(own_scores)} of {k} folds"
    return f"fold race: {shown} chance to {aim} trial {winner.number} ({winner.score:.4g}) {after}"


def non_finite_reason(own_scores: Sequence[float]) -> str | None:
    """Why a trial with these fold scores can have no score, or None if it can.

    If the score of one fold is not finite, the mean over all folds is not finite either.
    """
    for fold, score in enumerate(own_scores):
        if not math.isfinite(score):
            return f"the score of fold {fold + 1} is not a finite number"
    return None


def _complete(finished: Iterable[Standing], *, k: int) -> tuple[list[Standing], Scores]:
    """The complete trials with finite scores, ordered by number, and their scores.

    Among trials with the same scores, only the first is returned.
    """
    known: dict[tuple[float, ...], Standing] = {}
    for standing in sorted(finished, key=operator.attrgetter("number")):
        if len(standing.fold_scores) == k:
            known.setdefault(standing.fold_scores, standing)
    flat = np.fromiter(itertools.chain.from_iterable(known), dtype=np.float64, count=len(known) * k)
    scores_TK = flat.reshape(-1, k)
    finite_T = np.flatnonzero(np.isfinite(scores_TK).all(axis=1))
    complete = list(known.values())
    return [complete[row] for row in finite_T], scores_TK[finite_T]


def _turned(scores: Scores, goal: Goal) -> Scores:
    """The scores, negated if a smaller score is better."""
    return goal.sign * scores


def _best(scores_TK: Scores) -> int:
    return int(np.argmax(scores_TK.mean(axis=1)))


def _chance(scores_TK: Scores, own_F: Scores, *, near_tie: float) -> float:
    """Chance that the trial's final mean comes within `near_tie` of the best trial's mean.

    Greater scores are better here, see `_turned`. The chance is 1 if the mean over the folds so far
    is within `near_tie` already.
    """
    trials, k = scores_TK.shape
    folds = len(own_F)
    best = _best(scores_TK)
    tolerance = ROUNDING * float(np.abs(scores_TK).max())
    if own_F.mean() - scores_TK[best, :folds].mean() + near_tie >= -tolerance:
        return 1.0
    ease_K = scores_TK.mean(axis=0)
    expected = own_F.mean() + ease_K.mean() - ease_K[:folds].mean()
    ahead = float(expected - scores_TK[best].mean() + near_tie)
    residuals_TK = scores_TK - scores_TK.mean(axis=1, keepdims=True) - (ease_K - ease_K.mean())
    evidence = (trials - 1) * (k - 1)
    variance = float((residuals_TK**2).sum()) / evidence
    error = math.sqrt(variance * (1 / folds - 1 / k) * (1 + 1 / trials))
    if error <= tolerance:  # any two trials differ by the same amount on every fold
        return 1.0 if ahead >= -tolerance else 0.0
    return float(stdtr(evidence, ahead / error))
