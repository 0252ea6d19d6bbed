"""Every quantile function against scipy's."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from sweeps.space.laws import TAIL, Beta, Law, LogNormal, LogUniform, Normal, Uniform

U = np.linspace(0.0005, 0.9995, 200)


@pytest.mark.parametrize(
    ("law", "reference"),
    [
        (Uniform(-1.5, 2.0), scipy.stats.uniform(-1.5, 3.5)),
        (LogUniform(1e-5, 0.1), scipy.stats.loguniform(1e-5, 0.1)),
        (LogUniform(2, 3000), scipy.stats.loguniform(2, 3000)),
        (Normal(), scipy.stats.norm()),
        (Normal(-3.0, 0.25), scipy.stats.norm(-3.0, 0.25)),
        (LogNormal(), scipy.stats.lognorm(s=1)),
        (LogNormal(-6.0, 0.5), scipy.stats.lognorm(s=0.5, scale=math.exp(-6.0))),
        (Beta(), scipy.stats.uniform()),
        (Beta(2, 5), scipy.stats.beta(2, 5)),
        (Beta(0.5, 0.5), scipy.stats.beta(0.5, 0.5)),
    ],
    ids=lambda value: str(value) if dataclasses.is_dataclass(value) else "",
)
def test_a_law_has_the_quantiles_that_scipy_gives(law: Law, reference: Any) -> None:
    np.testing.assert_allclose(
        [law.quantile(float(u)) for u in U], reference.ppf(U), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    ("law", "low", "high"),
    [(Uniform(0.1, 0.3), 0.1, 0.3), (LogUniform(1e-4, 0.3), 1e-4, 0.3), (Beta(2, 3), 0.0, 1.0)],
    ids=str,
)
def test_a_law_with_bounds_reaches_them_exactly(law: Law, low: float, high: float) -> None:
    assert (law.quantile(0.0), law.quantile(1.0)) == (low, high)
    assert law.quantile(5e-324) == pytest.approx(low, abs=1e-12)  # where scipy's beta gives NaN


def test_a_law_without_bounds_is_cut_where_almost_nothing_is_left() -> None:
    normal = Normal(1.0, 2.0)
    log_normal = LogNormal(1.0, 2.0)
    assert normal.quantile(0.0) == pytest.approx(1 - 7.034 * 2, abs=0.001)
    assert normal.quantile(0.0) == normal.quantile(TAIL) < normal.quantile(2 * TAIL)
    assert normal.quantile(1.0) == pytest.approx(1 + 7.034 * 2, abs=0.001)
    assert [log_normal.quantile(u) for u in (0, 1)] == pytest.approx(
        [math.exp(normal.quantile(u)) for u in (0, 1)]
    )


@pytest.mark.parametrize("u", [1e-101, 2.07e-240, 1.082595284806368e-281, 5e-324])
@pytest.mark.parametrize("shape", [(2, 4), (2, 5), (0.5, 0.5), (30, 1)])
def test_a_beta_law_has_a_number_for_every_probability(shape, u):
    """scipy gives NaN for some of them, and hypothesis found them by chance only."""
    assert 0 <= Beta(*shape).quantile(u) <= Beta(*shape).quantile(1e-90)
