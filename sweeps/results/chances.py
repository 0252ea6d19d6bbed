"""The chance of each trial to be the best on new groups. The functions are pure.

How often a trial is best in resamples is no such chance: resamples vary around the scores of this
sample, in which the best trial is partly the luckiest. With 16 trials that were equally good, the
chosen trial was best in 41 % of the resamples of 86 persons, and really the best in 5 % of the
sweeps.

Shapes: M trials, B resamples, D directions in which the scores of trials differ, S sizes of the
true differences, R draws.
"""

import numpy as np

from sweeps.results.metric import Floats
from trainer.seeds import derive

DRAWS = 4_000
# sizes of the true differences between trials, in units of the errors of the measured ones
SIZES_S = np.geomspace(0.03, 30, 60)
ROUNDING = 1e-9


def chances_to_be_best(scores_M: Floats, inside_BM: Floats, *, seed: int) -> Floats:
    """Return the chance of each trial to be the best; they sum to 1.

    The measured differences between trials are true differences plus errors. The covariance of the
    errors is that of the resamples. The true differences are normal around 0; their size is not
    known, and each of SIZES_S counts by how well it explains the measured differences. If the
    trials differ by no more than their errors, all have about the same chance.

    Args:
        scores_M: a greater score is better. A trial whose score is NaN is never the best.
        inside_BM: the scores of the trials in B resamples.

    Source: empirical Bayes, e.g. Efron and Morris 1975, "Data analysis using Stein's estimator".
    """
    chances_M = np.zeros(len(scores_M))
    finite_M = np.isfinite(scores_M) & np.isfinite(inside_BM).all(axis=0)
    if not finite_M.any():
        return np.full(len(scores_M), 1 / len(scores_M))
    drawn_RM = _true_differences(scores_M[finite_M], inside_BM[:, finite_M], seed=seed)
    top_R1 = drawn_RM.max(axis=1, keepdims=True)
    best_RM = drawn_RM >= top_R1 - ROUNDING * np.ptp(drawn_RM)  # equal trials share a draw
    chances_M[finite_M] = (best_RM / best_RM.sum(axis=1, keepdims=True)).mean(axis=0)
    return chances_M


def _true_differences(scores_M: Floats, inside_BM: Floats, *, seed: int) -> Floats:
    """Return DRAWS of the true differences (R, M) of the trials from their mean."""
    measured_M = scores_M - scores_M.mean()
    errors_BM = inside_BM - inside_BM.mean(axis=1, keepdims=True)
    variance_D, directions_MD = np.linalg.eigh(np.atleast_2d(np.cov(errors_BM, rowvar=False)))
    # no error: the direction of the mean, and equal trials
    real_D = variance_D > ROUNDING * max(variance_D[-1], 0.0)
    variance_D, directions_MD = variance_D[real_D], directions_MD[:, real_D]
    along_D = measured_M @ directions_MD
    prior_S = SIZES_S**2 * variance_D.mean() if len(variance_D) else SIZES_S
    total_SD = prior_S[:, None] + variance_D
    log_likelihood_S = -(np.log(total_SD) + along_D**2 / total_SD).sum(axis=1) / 2
    weights_S = np.exp(log_likelihood_S - log_likelihood_S.max())
    rng = np.random.default_rng(derive(seed, "chances"))
    size_R = rng.choice(len(SIZES_S), size=DRAWS, p=weights_S / weights_S.sum())
    kept_SD = prior_S[:, None] / total_SD
    noise_RD = rng.standard_normal((DRAWS, len(variance_D)))
    drawn_RD = kept_SD[size_R] * along_D + np.sqrt(kept_SD * variance_D)[size_R] * noise_RD
    drawn_RM: Floats = measured_M - directions_MD @ along_D + drawn_RD @ directions_MD.T
    return drawn_RM
