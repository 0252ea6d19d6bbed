"""Domains, the grid and stored labels; `test_language` has how they are read."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.space.domains import Categorical, Constant, Domain, Numeric, finite_values
from sweeps.space.language import read_space
from sweeps.space.laws import Beta, LogNormal, LogUniform, Normal, Uniform
from sweeps.space.parameters import Parameter, Space, Values, grid, grid_size


def read(raw: dict[str, Any]) -> Space:
    space, problems = read_space(raw)
    assert problems == []
    return space


def one(entry: dict[str, Any]) -> Domain:
    return read({"lr": entry})["lr"].domain


# --- draws


def drawn(domain: Domain, count: int = 2000) -> list[Any]:
    """Draws at evenly spaced quantiles."""
    return [domain.draw((index + 0.5) / count) for index in range(count)]


def shares(domain: Domain) -> dict[Any, float]:
    values = drawn(domain)
    return {value: round(values.count(value) / len(values), 3) for value in dict.fromkeys(values)}


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        (Constant("x"), {"x": 1.0}),
        (Categorical(("a", "b")), {"a": 0.5, "b": 0.5}),
        (Categorical(("a", "b", "c"), (0.7, 0.0, 0.3)), {"a": 0.7, "c": 0.3}),
        (Numeric(1, 4, integer=True), {1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25}),
        (Numeric(0, 4, q=2, integer=True), {0: 0.25, 2: 0.5, 4: 0.25}),  # as round(x / 2) * 2
        (Numeric(0, 5, q=4, integer=True), {0: 0.4, 4: 0.6}),
        (
            Numeric(1, 9, q=4, integer=True),
            {1: 0.25, 5: 0.5, 9: 0.25},
        ),  # from min: W&B's grid and map, not its draws
        (Numeric(0.0, 0.3, q=0.1), {0.0: 0.167, 0.1: 0.333, 0.2: 0.333, 0.3: 0.167}),
        (Numeric(2, 2, integer=True), {2: 1.0}),
        (Numeric(0.5, 0.5), {0.5: 1.0}),
        (
            Numeric.following(Uniform(0.4, 1.6), q=1),
            {0: 0.083, 1: 0.833, 2: 0.083},
        ),  # rounding leaves the bounds
    ],
)
def test_each_value_gets_its_share_of_the_draws(domain: Domain, expected: dict[Any, float]) -> None:
    found = shares(domain)
    assert found == pytest.approx(expected, abs=0.002)
    assert [type(value) for value in found] == [type(value) for value in expected]


bounds = st.tuples(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)
positive = st.tuples(st.floats(1e-6, 1e3), st.floats(1.001, 1e4)).map(
    lambda pair: (pair[0], pair[0] * pair[1])
)
laws = st.one_of(
    bounds.map(lambda pair: Uniform(*pair)),
    positive.map(lambda pair: LogUniform(*pair)),
    st.tuples(st.floats(-10, 10), st.floats(0.01, 10)).map(lambda pair: Normal(*pair)),
    st.tuples(st.floats(-5, 5), st.floats(0.01, 2)).map(lambda pair: LogNormal(*pair)),
    st.tuples(st.floats(0.2, 20), st.floats(0.2, 20)).map(lambda pair: Beta(*pair)),
)
steps = st.sampled_from([1, 2, 7, 0.1, 0.25, 0.3, 2.5, 1e-3])
numerics = st.one_of(
    bounds.map(lambda pair: Numeric(*pair)),
    positive.map(lambda pair: Numeric(*pair, log=True)),
    st.tuples(st.integers(-50, 50), st.integers(0, 90)).map(
        lambda n: Numeric(n[0], n[0] + n[1], integer=True)
    ),
    st.tuples(bounds, steps).map(lambda drawn: Numeric(*drawn[0], q=drawn[1])),
    laws.map(Numeric.following),
    st.tuples(laws, steps).map(lambda drawn: Numeric.following(drawn[0], q=drawn[1])),
)
quantiles = st.floats(0, 1, exclude_max=True)


@given(numerics, quantiles, quantiles)
def test_a_draw_lies_within_the_bounds_and_never_falls(
    domain: Numeric, one: float, other: float
) -> None:
    low, high = (domain.draw(u) for u in sorted((one, other)))
    assert domain.low <= low <= high <= domain.high


@given(numerics, quantiles)
def test_a_draw_is_one_of_the_steps_and_is_taken_as_it_is(domain: Numeric, u: float) -> None:
    value = domain.draw(u)
    assert isinstance(value, int if domain.integer else float)
    assert repr(domain.take(value)) == repr(value)
    if domain.stepped and domain.count() < 10_000:
        assert value in domain.each_step()


@given(st.tuples(laws, steps).map(lambda drawn: Numeric.following(drawn[0], q=drawn[1])))
def test_the_steps_of_a_law_are_multiples_of_q(domain: Numeric) -> None:
    assert domain.q is not None
    for value in (domain.draw(0), domain.draw(0.5), domain.high):
        assert value / domain.q == pytest.approx(round(value / domain.q), abs=1e-6)


@pytest.mark.parametrize(
    ("domain", "value", "taken"),
    [
        (Constant(3), 3.0, 3),
        (Categorical((1, True, "x")), 1.0, 1),
        (Categorical((1, True, "x")), True, True),
        (Categorical(([1, 2],)), [1, 2], [1, 2]),
        (Numeric(0.0, 2.0), 1, 1.0),
        (Numeric(1, 3, integer=True), 2.0, 2),
        (Numeric(0.0, 1.0, q=0.1), 0.1 + 0.2, 0.3),
    ],
)
def test_a_value_is_taken_as_the_domain_writes_it(domain: Domain, value: Any, taken: Any) -> None:
    assert repr(domain.take(value)) == repr(taken)


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (Constant(1), True),
        (Categorical(("a",)), "b"),
        (Numeric(0.0, 1.0), 1.1),
        (Numeric(0.0, 1.0), "0.5"),
        (Numeric(0.0, 1.0), True),
        (Numeric(0.0, 1.0), float("nan")),
        (Numeric(1, 3, integer=True), 1.5),
        (Numeric(0.0, 1.0, q=0.1), 0.25),
    ],
)
def test_a_value_of_another_domain_is_not_taken(domain: Domain, value: Any) -> None:
    with pytest.raises(ValueError, match="is not"):
        domain.take(value)


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        (Constant([3, 3]), "[3, 3]"),
        (Categorical(("a", 1)), "a, 1"),
        (Categorical(("a", "b"), (2 / 3, 1 / 3)), "a (0.667), b (0.333)"),
        (Numeric(8, 32, q=8, integer=True), "whole numbers 8 to 32 in steps of 8"),
        (Numeric(1_000_000, 2_500_000, integer=True), "whole numbers 1000000 to 2500000"),
        (Numeric(0.8, 0.95), "0.8 to 0.95"),
        (Numeric(1e-5, 0.02, log=True), "log scale 1e-05 to 0.02"),
        (
            Numeric.following(LogUniform(3, 90), log=True, q=5),
            "whole numbers log scale 3 to 90 in steps of 5",
        ),
        (Numeric.following(Normal(0.5, 2), q=0.5), "normal (mu 0.5, sigma 2) in steps of 0.5"),
        (Numeric.following(LogNormal(), log=True), "log normal (mu 0, sigma 1)"),
        (Numeric.following(Beta(2, 5)), "beta (a 2, b 5)"),
    ],
)
def test_a_domain_is_shown_in_words(domain: Domain, text: str) -> None:
    assert str(domain) == text


# --- conditions


def test_a_condition_on_several_parameters_needs_all_of_them() -> None:
    parameter = Parameter("c", Constant(0), when=(("a", (1, 2)), ("b", ("x",))))
    assert parameter.active({"a": 2, "b": "x"})
    assert not parameter.active({"a": 2, "b": "y"})
    assert not parameter.active({"b": "x"})


def test_true_is_not_one_in_a_condition() -> None:
    assert not Parameter("b", Constant(0), when=(("a", (1,)),)).active({"a": True})
    assert Parameter("b", Constant(0), when=(("a", (1,)),)).active({"a": 1.0})


# --- laws over random conditional spaces


def small_domains() -> st.SearchStrategy[Domain]:
    return st.one_of(
        st.integers(0, 2).map(Constant),
        st.lists(
            st.sampled_from([0, 1, 2, "x", True]),
            min_size=1,
            max_size=3,
            unique_by=lambda v: (type(v), v),
        ).map(lambda values: Categorical(tuple(values))),
        st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(1, 2)).map(
            lambda n: Numeric(n[0], n[0] + n[1], q=n[2], integer=True)
        ),
    )


@st.composite
def small_spaces(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Space:
    parameters: list[Parameter] = []
    for name in "abcd"[: draw(st.integers(1, 4))]:
        when = []
        for other in parameters:
            if draw(st.booleans()):
                values = list(finite_values(other.domain))
                when.append(
                    (
                        other.name,
                        tuple(draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))),
                    )
                )
        parameters.append(Parameter(name, draw(small_domains()), tuple(when)))
    return Space(tuple(parameters))


def same(one: Any, other: Any) -> bool:
    return one == other and type(one) is type(other)


def holds(parameter: Parameter, values: Values) -> bool:
    return all(
        name in values and any(same(values[name], v) for v in allowed)
        for name, allowed in parameter.when
    )


def brute_force(space: Space) -> list[Values]:
    """Every combination of all domains, without what is inactive in it, each once."""
    points: list[Values] = []
    names = [parameter.name for parameter in space.parameters]
    for combination in itertools.product(
        *(finite_values(parameter.domain) for parameter in space.parameters)
    ):
        values = dict(zip(names, combination, strict=True))
        while inactive := [
            p.name for p in space.parameters if p.name in values and not holds(p, values)
        ]:
            for name in inactive:
                del values[name]
        if not any(key(values) == key(point) for point in points):
            points.append(values)
    return points


def key(values: Values) -> list[tuple[str, str, str]]:
    return sorted((name, type(value).__name__, str(value)) for name, value in values.items())


@given(small_spaces(), st.randoms(use_true_random=False))
def test_resolve_gives_a_value_to_every_active_parameter_and_to_no_other(
    space: Space, rng: Any
) -> None:
    asked: list[str] = []

    def choose(parameter: Parameter) -> Any:
        asked.append(parameter.name)
        return rng.choice(list(finite_values(parameter.domain)))

    values = space.resolve(choose)
    assert set(values) == {
        parameter.name for parameter in space.parameters if holds(parameter, values)
    }
    assert asked == [parameter.name for parameter in space.varying() if parameter.name in values]


@given(small_spaces())
def test_the_grid_visits_every_point_once_and_no_other(space: Space) -> None:
    points = list(grid(space))
    assert sorted(map(key, points)) == sorted(map(key, brute_force(space)))
    assert grid_size(space, at_most=1000) == len(points)


@given(small_spaces(), st.integers(1, 10))
def test_the_grid_is_counted_up_to_a_bound(space: Space, at_most: int) -> None:
    assert grid_size(space, at_most=at_most) == min(at_most, len(list(grid(space))))


@given(
    low=st.decimals(-2, 2, places=2),
    width=st.decimals(0, 3, places=2),
    q=st.decimals("0.01", 1, places=2),
)
def test_a_stepped_range_stays_within_its_bounds_and_loses_no_step(
    low: Any, width: Any, q: Any
) -> None:
    domain = Numeric(float(low), float(low + width), q=float(q))
    values = list(finite_values(domain))
    assert len(values) == width // q + 1
    assert domain.low <= min(values)
    assert max(values) <= domain.high
    assert values == pytest.approx([float(low + index * q) for index in range(len(values))])


def test_the_last_parameter_of_a_grid_moves_fastest() -> None:
    space = read(
        {
            "a": {"values": ["x", "y"]},
            "b": {"min": 1, "max": 2},
            "c": {"value": 0, "when": {"a": "x"}},
        }
    )
    assert list(grid(space)) == [
        {"a": "x", "b": 1, "c": 0},
        {"a": "x", "b": 2, "c": 0},
        {"a": "y", "b": 1},
        {"a": "y", "b": 2},
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {"min": 0.0, "max": 1.0},
        {"distribution": "log_normal"},
        {"distribution": "beta", "a": 2, "b": 5},
    ],
)
def test_a_continuous_range_has_no_grid(entry: dict[str, Any]) -> None:
    for count in (lambda space: list(grid(space)), lambda space: grid_size(space, at_most=9)):
        with pytest.raises(ValueError, match="a continuous range has no finite grid"):
            count(read({"a": entry}))


def test_a_grid_ignores_probabilities() -> None:
    space = read({"a": {"values": [1, 2, 3], "probabilities": [1, 0, 0]}})
    assert list(grid(space)) == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_a_large_grid_is_counted_and_begun_without_being_listed() -> None:
    space = read({name: {"min": 1, "max": 10**9} for name in "abc"})
    assert grid_size(Space(space.parameters[:1]), at_most=10**18) == 10**9
    assert grid_size(space, at_most=10**18) == 10**18
    assert next(grid(space)) == {"a": 1, "b": 1, "c": 1}


# --- stored labels

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.5, 1.0, -0.0])
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.lists(json_values, min_size=1, max_size=4))
def test_every_value_comes_back_from_its_label(values: list[Any]) -> None:
    space, problems = read_space({"a": {"values": values}})
    if problems:
        return
    domain = space["a"].domain
    assert isinstance(domain, Categorical)
    for value, label in zip(domain.values, domain.labels, strict=True):
        assert repr(domain.value_of(label)) == repr(value)


def test_one_and_true_and_1_0_come_back_as_they_were() -> None:
    domain = Categorical((1, True, 1.0))
    assert [repr(domain.value_of(label)) for label in domain.labels] == ["1", "True", "1.0"]


def test_a_text_that_looks_like_a_lists_label_is_another_value() -> None:
    domain = one({"values": [[1], "[1]"]})
    assert isinstance(domain, Categorical)
    assert [domain.value_of(label) for label in domain.labels] == [[1], "[1]"]
