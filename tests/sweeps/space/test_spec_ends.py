"""What only the whole file shows: a sweep that never ends, a grid without steps."""

from collections.abc import Callable

import pytest

from sweeps.space.spec import SweepSpec
from tests.sweeps.space.space_texts import RIGHT


def test_a_budget_is_an_end(read: Callable[..., SweepSpec]) -> None:
    for budget in ("hours", "gpu_hours"):
        assert read(RIGHT.replace("run_cap: 10", f"budget: {{{budget}: 1}}")).trial_cap is None


def test_a_target_is_no_end(
    problems: Callable[..., list[str]], read: Callable[..., SweepSpec]
) -> None:
    text = RIGHT.replace("goal: maximize", "goal: maximize, target: 0.9")
    (found,) = problems(text.replace("run_cap: 10\n", ""))
    assert found.endswith(
        "only a grid needs neither; metric.target is none, it may never be reached"
    )
    assert read(text).metric.target == 0.9


def test_a_grid_ends_with_its_points(read: Callable[..., SweepSpec]) -> None:
    spec = read(
        RIGHT.replace("run_cap: 10", "method: grid").replace("{value: 0.1}", "{values: [0.1, 0.2]}")
    )
    assert spec.trial_cap == 2


def test_run_cap_cuts_a_grid(read: Callable[..., SweepSpec]) -> None:
    text = RIGHT.replace("run_cap: 10", "run_cap: 2\nmethod: grid").replace(
        "{value: 0.1}", "{values: [0.1, 0.2, 0.3]}"
    )
    assert read(text).trial_cap == 2


@pytest.mark.parametrize(
    "entry",
    [
        "{min: 0.1, max: 0.2}",
        "{distribution: log_uniform_values, min: 0.1, max: 0.2}",
        "{distribution: inv_log_uniform_values, min: 0.1, max: 0.2}",
        "{distribution: normal, mu: 0.5, sigma: 0.1}",
        "{distribution: log_normal, mu: -3, sigma: 0.1}",
        "{distribution: beta, a: 2, b: 2}",
    ],
)
@pytest.mark.parametrize(
    "end", ["method: grid", "method: custom\nsampler: grid", "method: grid\nsampler: brute_force"]
)
def test_a_grid_needs_steps(problems: Callable[..., list[str]], entry: str, end: str) -> None:
    name = "brute force" if "brute" in end else "grid"
    assert problems(f"{RIGHT}  dropout: {entry}\n{end}\n") == [
        f"line 7  parameters.dropout: a {name} needs values or a step (q_uniform with q), "
        "not a continuous range"
    ]


@pytest.mark.parametrize(
    ("entry", "points"),
    [
        ("{min: 1, max: 5}", 5),
        ("{distribution: q_uniform, min: 0.1, max: 0.5, q: 0.1}", 5),
        ("{distribution: q_log_uniform_values, min: 0.1, max: 0.5, q: 0.1}", 5),
        ("{distribution: q_normal, mu: 1, sigma: 0.01, q: 0.01}", 15),
        ("{values: [0.1, 0.2], probabilities: [0.9, 0.1]}", 2),
    ],
)
def test_a_grid_takes_every_kind_of_steps(
    read: Callable[..., SweepSpec], entry: str, points: int
) -> None:
    text = RIGHT.replace("{value: 0.1}", entry).replace("run_cap: 10", "method: grid")
    assert read(text).trial_cap == points


def test_sizes_need_to_be_finite(problems: Callable[..., list[str]]) -> None:
    text = RIGHT + "  resize: {distribution: log_uniform_values, min: 32, max: 64}\n"
    assert problems(text) == [
        "line 7  parameters.resize: needs values, not a continuous range: each size is decoded once"
    ]


@pytest.mark.parametrize("other", ["colour: 1\n", "seed: -1\n", "name: ..\n"])
def test_a_missing_end_is_named_beside_any_other_problem(
    problems: Callable[..., list[str]], other: str
) -> None:
    text = RIGHT.replace("run_cap: 10\n", "").replace("name: toy\n", "") + other
    found = problems(text)
    assert len(found) == 2
    assert found[0].startswith("no end: ")


def test_a_space_without_a_valid_configuration_is_a_problem(
    problems: Callable[..., list[str]],
) -> None:
    text = RIGHT + "  scheduler: {value: cyclic}\n  base_lr: {value: 0.2}\n"
    assert problems(text) == [
        "line 5  parameters: no sampled point is a valid configuration: "
        "cyclic needs base_lr <= lr, got base_lr=0.2 and lr=0.1"
    ]
