"""How the values of a numeric parameter are distributed: quantile functions, so that one number in [0, 1) is one draw.

The formulas are those of W&B's `sweeps` package (`HyperParameter.ppf`), before its rounding to `q`. Its inverse log
uniform, exp(-U) with U uniform from -ln(max) to -ln(min), is the log uniform law: both have one quantile function.
"""

import dataclasses
import math
import sys
from statistics import NormalDist
from typing import ClassVar

TAIL = 1e-12  # probability beyond either bound of a law without bounds; 7.03 standard deviations of a normal law


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Every number from `low` to `high` is as probable."""

    name: ClassVar[str] = "uniform"
    low: float
    high: float

    def quantile(self, u: float) -> float:
        """The number that a share `u` of all draws stays below."""
        return min(self.low + u * (self.high - self.low), self.high)


@dataclasses.dataclass(frozen=True)
class LogUniform:
    """The logarithm is uniform; 0 < low < high."""

    name: ClassVar[str] = "log_uniform"
    low: float
    high: float

    def quantile(self, u: float) -> float:
        """The number that a share `u` of all draws stays below."""
        value = math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        return self.high if u >= 1 else self.low if u <= 0 else min(max(value, self.low), self.high)


@dataclasses.dataclass(frozen=True)
class Normal:
    """Mean `mu`, standard deviation `sigma` > 0, cut where less than TAIL remains."""

    name: ClassVar[str] = "normal"
    mu: float = 0.0
    sigma: float = 1.0

    def quantile(self, u: float) -> float:
        """The number that a share `u` of all draws stays below; finite for 0 and 1, too."""
        return NormalDist(self.mu, self.sigma).inv_cdf(min(max(u, TAIL), 1 - TAIL))


@dataclasses.dataclass(frozen=True)
class LogNormal:
    """The natural logarithm is normal with `mu` and `sigma`, cut where less than TAIL remains."""

    name: ClassVar[str] = "log_normal"
    mu: float = 0.0
    sigma: float = 1.0

    def quantile(self, u: float) -> float:
        """The number that a share `u` of all draws stays below; finite for 0 and 1, too.

        Raises:
            OverflowError: it is too large for a float.
        """
        return math.exp(Normal(self.mu, self.sigma).quantile(u))


@dataclasses.dataclass(frozen=True)
class Beta:
    """From 0 to 1 with the shape parameters `a` and `b`, both > 0."""

    name: ClassVar[str] = "beta"
    a: float = 1.0
    b: float = 1.0

    def quantile(self, u: float) -> float:
        """The number that a share `u` of all draws stays below."""
        from scipy.special import betaincinv  # 0.5 s

        # below the normal floats scipy's answer is NaN; no draw is as small, see search.draws.share
        return float(betaincinv(self.a, self.b, u if u >= sys.float_info.min else 0.0))


Law = Uniform | LogUniform | Normal | LogNormal | Beta
