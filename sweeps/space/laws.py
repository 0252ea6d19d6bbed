"""The distribution laws of numeric parameters, as quantile functions.

A quantile function turns one number from [0, 1) into one draw. The formulas are those of W&B's
`sweeps` package (`HyperParameter.ppf`), before that package rounds to `q`. W&B's inverse log
uniform law, exp(-U) with U uniform from -ln(max) to -ln(min), has the same quantile function as the
log uniform law.
"""

import dataclasses
import math
from statistics import NormalDist
from typing import ClassVar

# the probability that is cut off at each end of a law without bounds; for a normal law this is
# 7.03 standard deviations from the mean
TAIL = 1e-12
LEAST = 1e-100  # a probability below it counts as 0; draws are multiples of 2^-53


@dataclasses.dataclass(frozen=True)
class Uniform:
    """All numbers from `low` to `high` are equally probable."""

    name: ClassVar[str] = "uniform"
    low: float
    high: float

    def quantile(self, u: float) -> float:
        """The u-quantile: a draw is below this number with probability `u`."""
        return min(self.low + u * (self.high - self.low), self.high)


@dataclasses.dataclass(frozen=True)
class LogUniform:
    """The logarithm of the number is uniform. The bounds must be 0 < low < high."""

    name: ClassVar[str] = "log_uniform"
    low: float
    high: float

    def quantile(self, u: float) -> float:
        """The u-quantile: a draw is below this number with probability `u`."""
        value = math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        if u >= 1:
            return self.high
        if u <= 0:
            return self.low
        return min(max(value, self.low), self.high)


@dataclasses.dataclass(frozen=True)
class Normal:
    """The normal law with mean `mu` and standard deviation `sigma` > 0, cut at TAIL."""

    name: ClassVar[str] = "normal"
    mu: float = 0.0
    sigma: float = 1.0

    def quantile(self, u: float) -> float:
        """The u-quantile, which is finite for u = 0 and u = 1, too."""
        return NormalDist(self.mu, self.sigma).inv_cdf(min(max(u, TAIL), 1 - TAIL))


@dataclasses.dataclass(frozen=True)
class LogNormal:
    """The natural logarithm of the number is normal with `mu` and `sigma`, cut at TAIL."""

    name: ClassVar[str] = "log_normal"
    mu: float = 0.0
    sigma: float = 1.0

    def quantile(self, u: float) -> float:
        """The u-quantile, which is finite for u = 0 and u = 1, too.

        Raises:
            OverflowError: the quantile is too large for a float.
        """
        return math.exp(Normal(self.mu, self.sigma).quantile(u))


@dataclasses.dataclass(frozen=True)
class Beta:
    """The beta law on [0, 1] with the shape parameters `a` > 0 and `b` > 0."""

    name: ClassVar[str] = "beta"
    a: float = 1.0
    b: float = 1.0

    def quantile(self, u: float) -> float:
        """The u-quantile: a draw is below this number with probability `u`."""
        from scipy.special import betaincinv  # the import takes 0.5 s

        # scipy returns NaN for some u below 1e-200
        return float(betaincinv(self.a, self.b, u if u >= LEAST else 0.0))


Law = Uniform | LogUniform | Normal | LogNormal | Beta
