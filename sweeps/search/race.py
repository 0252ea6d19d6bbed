"""The fold race: after each finished fold, can the trial still win? Pure functions of the finished folds' scores.

A score is what the trial is worth, plus how easy the fold is, plus a residual. After k of K folds:

1. Expected in the end: the trial's mean so far, corrected by how much easier these k folds are than all K; the complete
   trials tell that.
2. The end differs from it by an error of variance s^2 (1/k - 1/K) (1 + 1/n): s^2 is the variance of the residuals of
   all n complete trials, with (n - 1)(K - 1) degrees of freedom.
3. Stopped is a trial whose chance to end above the incumbent, the best complete trial, is below `error_rate`
   (Student's t).
4. Never stopped is one that is as good as the incumbent on the same folds.

Only trials that are over count: what a restarted driver reads from the storage gives the same answer. Trials with the
very same scores, such as those that learned nothing and predict one class, count once: they say nothing of a residual.
A paired difference to the incumbent alone has twice that variance; `benchmarks/LOG.md` has the figures.
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

# T trials, K folds, greater is better
Scores = npt.NDArray[np.float64]

ROUNDING = 1e-12  # differences below this part of the largest score are none


@dataclasses.dataclass(frozen=True)
class Standing:
    """What a trial that is over has shown: one that is complete (K scores) or pruned.

    Attributes:
        fold_scores: of its finished folds, in fold order.
    """

    number: int
    fold_scores: tuple[float, ...]

    @property
    def score(self) -> float:
        """Mean over the finished folds."""
        return statistics.fmean(self.fold_scores)


def incumbent(finished: Iterable[Standing], *, k: int, goal: Goal) -> Standing | None:
    """The best complete trial; of equal ones the lowest number. Scores that are not finite do not count."""
    complete, scores_TK = _complete(finished, k=k, goal=goal)
    return complete[_best(scores_TK)] if complete else None


def race_reason(
    finished: Iterable[Standing], own_scores: Sequence[float], *, rule: Race, k: int, goal: Goal
) -> str | None:
    """Why a trial should be stopped after a fold, or None to go on.

    Args:
        finished: trials that are over, in any order; those with other than `k` scores do not count.
        own_scores: of the trial's finished folds, in fold order.
        k: folds of a complete trial.
    """
    for fold, score in enumerate(own_scores):
        if not math.isfinite(score):  # nor will the mean be
            return f"fold race: the score of fold {fold + 1} is not a finite number"
    if not rule.min_folds <= len(own_scores) < k:
        return None
    complete, scores_TK = _complete(finished, k=k, goal=goal)
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


def _complete(finished: Iterable[Standing], *, k: int, goal: Goal) -> tuple[list[Standing], Scores]:
    """The complete trials by number and their scores; of trials with the same scores the first."""
    known: dict[tuple[float, ...], Standing] = {}
    for standing in sorted(finished, key=operator.attrgetter("number")):
        if len(standing.fold_scores) == k:
            known.setdefault(standing.fold_scores, standing)
    flat = np.fromiter(itertools.chain.from_iterable(known), dtype=np.float64, count=len(known) * k)
    scores_TK = _turned(flat.reshape(-1, k), goal)
    finite_T = np.flatnonzero(np.isfinite(scores_TK).all(axis=1))
    complete = list(known.values())
    return [complete[row] for row in finite_T], scores_TK[finite_T]


def _turned(scores: Scores, goal: Goal) -> Scores:
    """The scores as they are, or negated where a smaller one is better."""
    return goal.sign * scores


def _best(scores_TK: Scores) -> int:
    return int(np.argmax(scores_TK.mean(axis=1)))


def _chance(scores_TK: Scores, own_F: Scores, *, near_tie: float) -> float:
    """That the trial's final mean comes within `near_tie` of the best one's; 1 if it does on the folds so far."""
    (trials, k), folds, best = scores_TK.shape, len(own_F), _best(scores_TK)
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
    if error <= tolerance:  # all trials differ by the same on every fold
        return 1.0 if ahead >= -tolerance else 0.0
    return float(stdtr(evidence, ahead / error))
