"""By how much one value of a parameter is better than another, all other parameters held equal.

A t test on the fold scores of complete trials promises 95 % and covers 25 to 69 %: the folds of a
trial are not independent, and what survives the race is selected. So all trials with a finished
fold count, at their fold-adjusted scores, and all parameters are fitted at once: good values meet
good values where a sampler learns. benchmarks/results/ has what the intervals cover here.

Differences are averages over what was sampled of the other parameters. The functions are pure.

Shapes: T trials, C columns, R directions of the columns that are estimated, P pairs.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from sweeps.results.design import Design, Level, design
from sweeps.results.metric import Floats
from sweeps.space.domains import Numeric
from sweeps.space.parameters import Space
from trainer.metrics import Goal

LEVEL = 0.05
FEWEST_OF_VALUE = 3  # trials with a value of a choice; with fewer, nothing is said about the value
FEWEST_OF_NUMBER = 8  # trials that have a numeric parameter
FEWEST_FREE = 8  # trials more than coefficients, so that the errors can be estimated
ROUNDING = 1e-8


@dataclasses.dataclass(frozen=True)
class Difference:
    """How two values of a parameter differ.

    Attributes:
        better, worse: the values, ordered by the estimate.
        trials: how many trials have each of them; of numbers, how many have the parameter.
        gain: the estimated difference in units of the metric, never negative.
        low, high: the 95 % interval of this difference alone; below 0 `worse` is the better one.
        p: probability of such a difference, or of a larger one, if there is none; after Holm's
            correction for all pairs of all parameters.
    """

    parameter: str
    better: Any
    worse: Any
    trials: tuple[int, int]
    gain: float
    low: float
    high: float
    p: float

    @property
    def clear(self) -> bool:
        """Whether the difference is no chance, all pairs considered."""
        return self.p < LEVEL

    @property
    def verdict(self) -> str:
        """What the difference means, in words."""
        if self.clear:
            return "clear"
        return "no difference seen" if self.low <= 0 else "may be chance, of so many pairs"

    def as_json(self) -> dict[str, Any]:
        """The difference as `sweeps compare --json` prints it."""
        return {**dataclasses.asdict(self), "trials": list(self.trials), "clear": self.clear}


@dataclasses.dataclass(frozen=True)
class Differences:
    """All pairs of values of all parameters.

    Attributes:
        pairs: what could be estimated, in the order of the space, the largest differences first.
        unsaid: by parameter, sentences about values of which nothing is said.
        too_few: why nothing is said at all; None if something is.
    """

    pairs: tuple[Difference, ...]
    unsaid: Mapping[str, tuple[str, ...]]
    too_few: str | None = None

    def of(self, parameter: str) -> tuple[Difference, ...]:
        """The pairs of one parameter."""
        return tuple(pair for pair in self.pairs if pair.parameter == parameter)


def differences(
    space: Space, values: Sequence[Mapping[str, Any]], scores_T: Floats, *, goal: Goal
) -> Differences:
    """Return by how much the values of each parameter differ.

    Numbers are compared at the 10 %, 50 % and 90 % quantile of what was sampled.

    Args:
        values: for each trial the values of its parameters by name.
        scores_T: the fold-adjusted scores of the trials.

    Source: ordinary least squares with the errors HC3 of MacKinnon and White 1985, "Some
        heteroskedasticity-consistent covariance matrix estimators with improved finite sample
        properties"; Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    if not values:
        return Differences((), {}, "no trial has a finished fold yet")
    columns = design(space, values)
    if not columns.levels:
        return Differences((), {}, "no two trials differ in a parameter")
    fit = _Fit.of(columns.matrix_TC, goal.sign * scores_T)
    if fit.free < FEWEST_FREE:
        return Differences((), {}, _too_few(columns, fit, trials=len(values)))
    found: list[tuple[str, Level, Level, _Contrast]] = []
    unsaid: dict[str, list[str]] = {}
    for name, levels in columns.levels.items():
        of_number = isinstance(space[name].domain, Numeric)
        fewest = FEWEST_OF_NUMBER if of_number else FEWEST_OF_VALUE
        if rare := [level for level in levels if level.trials < fewest]:
            unsaid.setdefault(name, []).append(_rare(name, rare, of_number=of_number))
        usable = [level for level in levels if level.trials >= fewest]
        for one, other in itertools.combinations(usable, 2):
            contrast = fit.contrast(one.row_C - other.row_C)
            if contrast is not None:
                found.append((name, one, other, contrast))
                continue
            unsaid.setdefault(name, []).append(
                f"{_text(one.value)} and {_text(other.value)} cannot be told apart: another "
                "parameter always changed with them"
            )
    p_P = holm(np.array([contrast.p for *_, contrast in found]))
    pairs = [_difference(*each, p=float(p)) for each, p in zip(found, p_P, strict=True)]
    order = list(columns.levels)
    pairs.sort(key=lambda pair: (order.index(pair.parameter), -pair.gain))
    return Differences(tuple(pairs), {name: tuple(why) for name, why in unsaid.items()})


def _too_few(columns: Design, fit: "_Fit", *, trials: int) -> str:
    those = "the parameter" if len(columns.levels) == 1 else f"{len(columns.levels)} parameters"
    return (
        f"{trials} trials with a finished fold are too few to estimate {those} at once; "
        f"{fit.rank + FEWEST_FREE} are needed"
    )


def _rare(name: str, levels: Sequence[Level], *, of_number: bool) -> str:
    if of_number:
        return f"fewer than {FEWEST_OF_NUMBER} trials have {name}"
    values = ", ".join(_text(level.value) for level in levels)
    return f"fewer than {FEWEST_OF_VALUE} trials have {values}"


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def holm(p_P: Floats) -> Floats:
    """Return probabilities corrected for their number.

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    order_P = np.argsort(p_P, kind="stable")
    left_P = len(p_P) - np.arange(len(p_P))
    corrected_P = np.empty(len(p_P))
    corrected_P[order_P] = np.minimum(1.0, np.maximum.accumulate(left_P * p_P[order_P]))
    return corrected_P


@dataclasses.dataclass(frozen=True)
class _Contrast:
    """An estimated sum of coefficients, its standard error and the degrees of freedom."""

    value: float
    error: float
    free: int

    @property
    def p(self) -> float:
        if self.error == 0:
            return 1.0 if self.value == 0 else 0.0
        return float(2 * stdtr(self.free, -abs(self.value) / self.error))

    def half_width(self) -> float:
        return float(stdtrit(self.free, 1 - LEVEL / 2)) * self.error


@dataclasses.dataclass(frozen=True, eq=False)
class _Fit:
    """Least squares by singular values, so that dependent columns do no harm.

    Attributes:
        basis_TR: orthonormal columns; what they span is what the columns of the matrix span.
        directions_CR: orthonormal; a sum of coefficients is determined if it lies in their span.
        scaled_CR: `scaled_CR @ basis_TR.T` is the pseudo-inverse of the matrix.
        leverage_T: how much each trial determines its own fitted score, from 0 to 1.
    """

    basis_TR: Floats
    directions_CR: Floats
    scaled_CR: Floats
    scores_T: Floats
    residual_T: Floats
    leverage_T: Floats

    @classmethod
    def of(cls, matrix_TC: Floats, scores_T: Floats) -> "_Fit":
        basis_TR, size_R, directions_RC = np.linalg.svd(matrix_TC, full_matrices=False)
        real_R = size_R > ROUNDING * size_R[0]
        basis_TR, size_R = basis_TR[:, real_R], size_R[real_R]
        directions_CR = directions_RC[real_R].T
        residual_T = scores_T - basis_TR @ (basis_TR.T @ scores_T)
        leverage_T = (basis_TR**2).sum(axis=1)
        return cls(
            basis_TR, directions_CR, directions_CR / size_R, scores_T, residual_T, leverage_T
        )

    @property
    def rank(self) -> int:
        return int(self.basis_TR.shape[1])

    @property
    def free(self) -> int:
        return len(self.scores_T) - self.rank

    def contrast(self, row_C: Floats) -> _Contrast | None:
        """Estimate a sum of coefficients; None if the trials do not determine it, or its error."""
        inside_C = self.directions_CR @ (self.directions_CR.T @ row_C)
        if np.linalg.norm(row_C - inside_C) > ROUNDING * np.linalg.norm(row_C):
            return None
        share_T = self.basis_TR @ (self.scaled_CR.T @ row_C)  # the estimate is the sum of shares
        alone_T = 1 - self.leverage_T < ROUNDING  # trials that are fitted whatever they score
        if np.abs(share_T[alone_T]).sum() > ROUNDING * np.abs(share_T).sum():
            return None
        weight_T = np.where(alone_T, 0.0, share_T / np.where(alone_T, 1.0, 1 - self.leverage_T))
        error = float(np.linalg.norm(weight_T * self.residual_T))
        return _Contrast(float(share_T @ self.scores_T), error, self.free)


def _difference(
    name: str, one: Level, other: Level, contrast: _Contrast, *, p: float
) -> Difference:
    if contrast.value < 0:
        one, other = other, one
    gain, half = abs(contrast.value), contrast.half_width()
    return Difference(
        parameter=name,
        better=one.value,
        worse=other.value,
        trials=(one.trials, other.trials),
        gain=gain,
        low=gain - half,
        high=gain + half,
        p=p,
    )
