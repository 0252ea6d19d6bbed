import itertools

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from sweeps.space.stopping import RULES, EarlyTerminate, Hyperband, Percentile, Race, Threshold


def bands(rule: Hyperband, *, epochs: int = 100) -> list[int]:
    """All bands that a trial of so many epochs meets."""
    return [
        band
        for band, _ in itertools.groupby(rule.band(epoch) for epoch in range(epochs + 1))
        if band is not None
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"min_iter": 3}, [3, 9, 27, 81]),
        ({"min_iter": 1, "eta": 2}, [1, 2, 4, 8, 16, 32, 64]),
        (
            {"min_iter": 4, "eta": 1.5},
            [4, 6, 9, 13, 20, 30, 45, 68],
        ),  # rounded down at the end only
        ({"min_iter": 3, "s": 2}, [3, 9, 27, 81]),
        ({"max_iter": 27, "s": 2}, [3, 9]),
        ({"max_iter": 27, "s": 9}, [1, 3, 9]),  # a band is at least one epoch
        ({"max_iter": 18, "s": 2, "eta": 4}, [1, 4]),
        ({"max_iter": 3, "s": 1}, [1]),
        ({"max_iter": 18, "s": 2, "min_iter": 5}, [2, 6]),
        ({"max_iter": 27.0, "s": 2.0}, [3, 9]),  # whole numbers to W&B's JSON schema
        ({"min_iter": 3.0}, [3, 9, 27, 81]),
        ({"max_iter": 27, "min_iter": 4}, [4, 12, 36]),  # without s, it is min_iter that counts
    ],
)
def test_bands_grow_from_min_iter_or_shrink_from_max_iter(
    options: dict[str, float], expected: list[int]
) -> None:
    assert bands(Hyperband(type="hyperband", **options)) == expected  # type: ignore[arg-type]


def test_the_band_is_the_last_one_reached() -> None:
    rule = Hyperband(type="hyperband", min_iter=3)
    assert [rule.band(epochs) for epochs in (0, 2, 3, 8, 9, 10)] == [None, None, 3, 3, 9, 9]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "hyperband needs min_iter, or max_iter and s"),
        ({"s": 2}, "hyperband needs min_iter, or max_iter and s"),
        ({"max_iter": 27}, "hyperband with max_iter needs s, the number of bands"),
        (
            {"max_iter": 2, "s": 1},
            r"max_iter 2 divided by eta 3 is less than one epoch: no band is left. Give a larger",
        ),
        ({"min_iter": 0}, "greater than or equal to 1"),
        ({"min_iter": 0.0}, "greater than or equal to 1"),
        ({"min_iter": 2.5}, "valid integer"),
        ({"min_iter": True}, "valid integer"),
        ({"min_iter": 1, "eta": 1}, "greater than 1"),
        ({"min_iter": 1, "keep_at_least": -1}, "greater than or equal to 0"),
    ],
)
def test_hyperband_without_a_band_is_an_error_that_says_what_to_give(
    options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Hyperband(type="hyperband", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "threshold needs lower, upper or both"),
        ({"lower": 2.0, "upper": 1.0}, "lower must not be above upper, got 2.0 and 1.0"),
    ],
)
def test_a_threshold_needs_an_interval(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Threshold(type="threshold", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("percentile", [0, 100])
def test_a_percentile_that_keeps_all_or_none_is_an_error(percentile: float) -> None:
    with pytest.raises(ValidationError, match="percentile"):
        Percentile(type="percentile", percentile=percentile)


@pytest.mark.parametrize(
    "options",
    [
        {"error_rate": 0},
        {"error_rate": 0.5},
        {"min_folds": 0},
        {"min_evidence": 0},
        {"near_tie": -0.1},
        {"alpha": 1},
    ],
)
def test_a_race_that_makes_no_sense_is_an_error(options: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        Race(**options)  # type: ignore[arg-type]


NEEDED: dict[str, dict[str, object]] = {
    "hyperband": {"min_iter": 3},
    "percentile": {"percentile": 25},
    "patient": {"patience": 3},
    "threshold": {"lower": 0.5},
}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_chosen_by_its_name_and_keeps_20_complete_trials(name: str) -> None:
    rule: BaseModel = TypeAdapter(EarlyTerminate).validate_python(
        {"type": name, **NEEDED.get(name, {})}
    )
    assert type(rule) is RULES[name]
    assert getattr(rule, "keep_at_least", 20) == 20
