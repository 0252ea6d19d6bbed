"""W&B's parameter language: what is read, and that it means what it means at W&B's."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.stats
from optuna.distributions import BaseDistribution, CategoricalDistribution

from sweeps.search.distributions import distribution
from sweeps.space.domains import Categorical, Constant, Domain, Numeric
from sweeps.space.language import notices
from sweeps.space.laws import Beta, LogNormal, LogUniform, Normal
from tests.sweeps.space.raw_parameters import one, read

# --- one parameter


@pytest.mark.parametrize(
    ("entry", "domain"),
    [
        ({"value": 3}, Constant(3)),
        ({"value": None}, Constant(None)),
        ({"value": [1, 2]}, Constant([1, 2])),
        ({"distribution": "constant", "value": 3}, Constant(3)),
        ({"values": [1, "a", None]}, Categorical((1, "a", None))),
        ({"values": [1, True, 1.0]}, Categorical((1, True, 1.0))),
        ({"distribution": "categorical", "values": ["a"]}, Categorical(("a",))),
        ({"min": 1, "max": 5}, Numeric(1, 5, integer=True)),
        ({"min": 0, "max": 0}, Numeric(0, 0, integer=True)),
        ({"min": -1.5, "max": 2}, Numeric(-1.5, 2)),
        ({"distribution": "int_uniform", "min": 1, "max": 5}, Numeric(1, 5, integer=True)),
        ({"distribution": "int_uniform", "min": 1.0, "max": 5.0}, Numeric(1, 5, integer=True)),
        ({"distribution": "uniform", "min": 1, "max": 5}, Numeric(1, 5)),
        (
            {"distribution": "q_uniform", "min": 1, "max": 5, "q": 2},
            Numeric(1, 5, q=2, integer=True),
        ),
        ({"distribution": "q_uniform", "min": 1, "max": 5}, Numeric(1, 5, q=1, integer=True)),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, Numeric(0, 1, q=0.25)),
        ({"distribution": "log_uniform_values", "min": 1e-5, "max": 1}, Numeric(1e-5, 1, log=True)),
        # log(1/X) is uniform: the same law
        (
            {"distribution": "inv_log_uniform_values", "min": 1e-5, "max": 1},
            Numeric(1e-5, 1, log=True),
        ),
        (
            {"distribution": "q_log_uniform_values", "min": 1, "max": 100},
            Numeric(1, 100, log=True, q=1, integer=True, law=LogUniform(1, 100)),
        ),
        (
            {"distribution": "q_log_uniform_values", "min": 0.04, "max": 1.0, "q": 0.1},
            Numeric(
                0.0, 1.0, q=0.1, law=LogUniform(0.04, 1.0)
            ),  # 0.04 rounds to 0, which has no logarithm
        ),
        ({"distribution": "normal"}, Numeric.following(Normal(0.0, 1.0))),
        ({"distribution": "normal", "mu": 3, "sigma": 0.5}, Numeric.following(Normal(3, 0.5))),
        (
            {"distribution": "q_normal", "sigma": 2, "q": 0.5},
            Numeric(-14.0, 14.0, q=0.5, law=Normal(0.0, 2)),
        ),
        (
            {"distribution": "q_normal", "mu": 0.5},
            Numeric(-7, 8, q=1, integer=True, law=Normal(0.5)),
        ),
        ({"distribution": "log_normal", "mu": -6}, Numeric.following(LogNormal(-6), log=True)),
        (
            {"distribution": "q_log_normal", "mu": 1, "q": 10},
            Numeric(0, 3090, q=10, integer=True, law=LogNormal(1)),
        ),
        ({"distribution": "beta", "a": 2, "b": 5}, Numeric(0.0, 1.0, law=Beta(2, 5))),
        ({"distribution": "beta"}, Numeric(0.0, 1.0, law=Beta(1.0, 1.0))),
        ({"distribution": "q_beta", "a": 2, "q": 0.4}, Numeric(0.0, 0.8, q=0.4, law=Beta(2, 1.0))),
        (
            {"distribution": "log_uniform", "min": -2, "max": 0},
            Numeric(math.exp(-2), 1.0, log=True),
        ),
        (
            {"distribution": "inv_log_uniform", "min": 0, "max": 2},
            Numeric(math.exp(-2), 1.0, log=True),
        ),
        (
            {"distribution": "q_log_uniform", "min": 0, "max": 2, "q": 2},
            Numeric(0, 8, q=2, integer=True, law=LogUniform(1.0, math.exp(2))),
        ),
        (
            {"values": ["a", "b"], "probabilities": [0.25, 0.75]},
            Categorical(("a", "b"), (0.25, 0.75)),
        ),
        (
            {
                "distribution": "categorical_w_probabilities",
                "values": ["a", "b", "c"],
                "probabilities": [1, 0, 0],
            },
            Categorical(("a", "b", "c"), (1.0, 0.0, 0.0)),
        ),
        (
            {"values": ["a", "b", "c"], "probabilities": [0.333333] * 3},
            Categorical(("a", "b", "c"), (0.333333,) * 3),
        ),
        ({"values": [[1, 2], {"a": 1}]}, Categorical(([1, 2], {"a": 1}))),
    ],
)
def test_a_parameter_is_read_by_wandbs_rules(entry: dict[str, Any], domain: Domain) -> None:
    assert repr(one(entry)) == repr(domain)  # 1 is not 1.0


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"value": 1}, "constant"),
        ({"values": [1]}, "categorical"),
        ({"min": 1, "max": 2}, "int_uniform"),
        ({"min": 1, "max": 2.0}, "uniform"),
        ({"distribution": "inv_log_uniform_values", "min": 1, "max": 2}, "inv_log_uniform_values"),
    ],
)
def test_a_parameter_knows_wandbs_name_of_its_distribution(
    entry: dict[str, Any], name: str
) -> None:
    assert read({"lr": entry})["lr"].distribution == name


def test_nested_parameters_have_dotted_names() -> None:
    space = read(
        {"a": {"parameters": {"b": {"parameters": {"c": {"value": 1}}}, "d": {"value": 2}}}}
    )
    assert [parameter.name for parameter in space.parameters] == ["a.b.c", "a.d"]


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            {"distribution": "log_uniform", "min": -11.512925, "max": -2.302585},
            "lr: log_uniform is deprecated, its min and max are exponents of e: write "
            "distribution: log_uniform_values, min: 1e-05, max: 0.1",
        ),
        (
            {"distribution": "q_log_uniform", "min": 0, "max": 4.60517, "q": 5},
            "lr: q_log_uniform is deprecated, its min and max are exponents of e: write "
            "distribution: q_log_uniform_values, min: 1, max: 100",
        ),
        (
            {"distribution": "inv_log_uniform", "min": 2.302585, "max": 11.512925},
            "lr: inv_log_uniform is deprecated, its min and max are exponents of e: write "
            "distribution: inv_log_uniform_values, min: 1e-05, max: 0.1",
        ),
    ],
)
def test_a_deprecated_distribution_is_read_with_a_notice_that_says_what_to_write(
    entry: dict[str, Any], text: str
) -> None:
    assert notices(read({"lr": entry})) == [text]


def test_other_distributions_are_read_without_a_notice() -> None:
    assert (
        notices(
            read({"a": {"distribution": "normal"}, "b": {"value": 1}, "c": {"min": 1, "max": 2}})
        )
        == []
    )


# --- against W&B's own map


@pytest.mark.parametrize(
    "entry",
    [
        {"values": ["adam", "sgd"]},
        {"values": [1, 2.5, None, True]},
        {"distribution": "categorical", "values": ["adam"]},
        {"min": 1, "max": 9},
        {"min": 0.25, "max": 0.75},
        {"min": 0, "max": 0.75},
        {"distribution": "int_uniform", "min": -3, "max": 3},
        {"distribution": "uniform", "min": 1, "max": 9},
        {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
        {"distribution": "log_uniform_values", "min": 1, "max": 1000},
        {"distribution": "log_uniform_values", "min": 1e-5, "max": 1},
        {"distribution": "q_log_uniform_values", "min": 1, "max": 1000},
        {"distribution": "q_log_uniform_values", "min": 16, "max": 512, "q": 1},
        {"distribution": "q_uniform", "min": 0, "max": 9, "q": 3},
        {"distribution": "q_uniform", "min": 1, "max": 9},
        {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25},
        {"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1},
        {"distribution": "q_uniform", "min": 0.0, "max": 0.7, "q": 0.1},
        {"distribution": "q_uniform", "min": 0.1, "max": 0.9, "q": 0.2},
    ],
)
def test_our_distributions_are_those_of_wandbs_own_map(entry: dict[str, Any]) -> None:
    assert distribution(read({"a": entry})["a"]) == wandbs(entry)


@pytest.mark.parametrize(
    "entry",
    [
        {"distribution": "q_uniform", "min": 1, "max": 10, "q": 4},
        {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.3},
    ],
)
@pytest.mark.filterwarnings(
    "ignore:The distribution is specified by:UserWarning"
)  # W&B's side, not ours
def test_where_the_step_does_not_divide_the_range_we_agree_with_wandb_and_do_not_warn(
    entry: dict[str, Any],
) -> None:
    expected = wandbs(entry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert distribution(read({"a": entry})["a"]) == expected


def test_a_constant_is_wandbs_only_choice() -> None:
    assert wandbs({"value": "sgd"}) == CategoricalDistribution(["sgd"])
    assert one({"value": "sgd"}) == Constant("sgd")


def wandbs(entry: dict[str, Any]) -> BaseDistribution:
    from wandb.sdk.sweeps.scheduler.optuna import sweep_parameter_to_distribution  # 1.3 s

    return sweep_parameter_to_distribution(entry)


# --- against the formulas of W&B's random search (HyperParameter.ppf of its package `sweeps`)


U = np.linspace(0.0005, 0.9995, 400)


def rounded(values: Any, q: float) -> Any:
    return np.round(values / q) * q


NORMAL = scipy.stats.norm(1, 2)
LOGNORMAL = scipy.stats.lognorm(s=0.5, scale=math.exp(2))
BETA = scipy.stats.beta(2, 5)
LOG = scipy.stats.loguniform(3, 1000)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"distribution": "int_uniform", "min": -3, "max": 3}, scipy.stats.randint(-3, 4).ppf(U)),
        ({"distribution": "uniform", "min": -3, "max": 3}, scipy.stats.uniform(-3, 6).ppf(U)),
        (
            {"distribution": "q_uniform", "min": 0, "max": 10, "q": 2},
            rounded(scipy.stats.uniform(0, 10).ppf(U), 2),
        ),
        (
            {"distribution": "q_uniform", "min": -0.5, "max": 2.0, "q": 0.25},
            rounded(-0.5 + 2.5 * U, 0.25),
        ),
        ({"distribution": "log_uniform_values", "min": 3, "max": 1000}, LOG.ppf(U)),
        (
            {"distribution": "q_log_uniform_values", "min": 3, "max": 1000, "q": 7},
            rounded(LOG.ppf(U), 7),
        ),
        (
            {"distribution": "inv_log_uniform_values", "min": 3, "max": 1000},
            np.exp(-scipy.stats.uniform(-math.log(1000), math.log(1000 / 3)).ppf(1 - U)),
        ),
        ({"distribution": "log_uniform", "min": -4, "max": -1}, np.exp(-4 + 3 * U)),
        (
            {"distribution": "q_log_uniform", "min": 1, "max": 5, "q": 0.5},
            rounded(np.exp(1 + 4 * U), 0.5),
        ),
        ({"distribution": "inv_log_uniform", "min": 1, "max": 3}, np.exp(-(1 + 2 * (1 - U)))),
        ({"distribution": "normal", "mu": 1, "sigma": 2}, NORMAL.ppf(U)),
        ({"distribution": "q_normal", "mu": 1, "sigma": 2, "q": 0.3}, rounded(NORMAL.ppf(U), 0.3)),
        ({"distribution": "log_normal", "mu": 2, "sigma": 0.5}, LOGNORMAL.ppf(U)),
        ({"distribution": "q_log_normal", "mu": 2, "sigma": 0.5}, rounded(LOGNORMAL.ppf(U), 1)),
        ({"distribution": "beta", "a": 2, "b": 5}, BETA.ppf(U)),
        ({"distribution": "q_beta", "a": 2, "b": 5, "q": 0.1}, rounded(BETA.ppf(U), 0.1)),
    ],
    ids=lambda value: value["distribution"] if isinstance(value, dict) else "",
)
def test_a_draw_is_the_quantile_that_wandb_takes(entry: dict[str, Any], expected: Any) -> None:
    domain = one(entry)
    np.testing.assert_allclose([domain.draw(float(u)) for u in U], expected, rtol=1e-9, atol=1e-12)


def test_a_weighted_draw_follows_the_cumulated_probabilities() -> None:
    domain = one({"values": [0, 1, 2], "probabilities": [0.2, 0.5, 0.3]})
    weights = np.cumsum([0.2, 0.5, 0.3])
    assert [domain.draw(float(u)) for u in U] == [int(np.argmin(u >= weights)) for u in U]
