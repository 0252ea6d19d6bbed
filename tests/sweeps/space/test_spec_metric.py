"""A metric of the user's own, and scores that can be compared."""

from collections.abc import Callable

import pytest

from sweeps.space.spec import SweepSpec
from tests.sweeps.space.space_texts import BESIDE, NO_FUNCTION, RIGHT


def own(name: str = "my_task.py:kappa") -> str:
    return RIGHT.replace("valid/f1", name)


def test_a_metric_may_be_a_function_and_have_either_direction(
    read: Callable[..., SweepSpec],
) -> None:
    for goal in ("maximize", "minimize"):
        spec = read(own().replace("maximize", goal))
        assert (spec.metric.user_function, spec.metric.goal, spec.notices) == (
            "my_task.py:kappa",
            goal,
            (),
        )


def test_what_watches_the_metric_needs_a_function(
    read: Callable[..., SweepSpec], problems: Callable[..., list[str]]
) -> None:
    watching = "  monitor: {value: metric}\n"
    assert read(own() + watching).notices == ()
    assert problems(RIGHT + watching) == [
        "line 5  parameters: no sampled point is a valid configuration: "
        "monitor: metric needs a metric of your own, e.g. my_task.py:my_metric"
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../my_task.py:kappa", f"'../my_task.py:kappa' {BESIDE}"),
        ("/home/me/my_task.py:kappa", f"'/home/me/my_task.py:kappa' {BESIDE}"),
        ("my_task.py:3kappa", f"'my_task.py:3kappa' {NO_FUNCTION}"),
    ],
)
def test_a_function_that_workers_could_not_have_is_refused(
    problems: Callable[..., list[str]], name: str, problem: str
) -> None:
    assert problems(own(name)) == [f"line 2  metric.name: {problem}"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("seed", "every seed derives from the sweep's own seed (the top-level key seed)"),
        (
            "metric",
            "a metric of your own is named at the top: metric: {name: my_task.py:my_metric, goal: "
            "maximize}",
        ),
        ("metric_goal", "it is metric.goal at the top"),
    ],
)
def test_what_the_sweep_decides_is_no_parameter(
    problems: Callable[..., list[str]], name: str, reason: str
) -> None:
    assert problems(f"{RIGHT}  {name}: {{value: x}}\n") == [
        f"line 7  parameters.{name}: cannot be a parameter: {reason}"
    ]


LOSS = RIGHT.replace("{name: valid/f1, goal: maximize}", "{name: valid/loss, goal: minimize}")


@pytest.mark.parametrize(
    ("lines", "moving"),
    [
        (["loss: {values: [focal, cross_entropy]}"], ["loss"]),
        (
            ["smoothing: {min: 0.0, max: 0.2}", "focal_gamma: {values: [1.0, 2.0]}"],
            ["smoothing", "focal_gamma"],
        ),
        (["class_weights: {values: [none, balanced]}"], ["class_weights"]),
        (["loss: {value: mixture}", "loss_mix.focal: {min: 0.1, max: 1.0}"], ["loss_mix.focal"]),
        (["heads: {values: [joint, separate]}"], ["heads"]),
        (
            ["optimizer: {values: [sgd, adam]}", "smoothing: {value: 0.2, when: {optimizer: sgd}}"],
            ["smoothing"],
        ),
    ],
    ids=lambda value: value[0].partition(":")[0] if isinstance(value, list) else None,
)
def test_the_loss_is_no_score_where_each_trial_has_its_own(
    problems: Callable[..., list[str]], lines: list[str], moving: list[str]
) -> None:
    found = problems(LOSS + "".join(f"  {line}\n" for line in lines))
    at = {line.partition(":")[0]: 7 + number for number, line in enumerate(lines)}
    assert found == [
        f"line {at[name]}  parameters.{name}: valid/loss is each trial's own loss, "
        f"which {name} changes: use metric valid/log_loss"
        for name in moving
    ]


def test_the_loss_is_a_score_where_all_trials_have_the_same(read: Callable[..., SweepSpec]) -> None:
    read(
        LOSS
        + "  loss: {value: focal}\n  focal_gamma: {value: 1.5}\n  dropout: {min: 0.0, max: 0.5}\n"
    )


BIASED = (
    "fold_best scores are 0.4-0.5 points too good and cannot be compared with others: "
    "give one value"
)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{values: [last, fold_best]}", BIASED),
        ("{value: fold_best, when: {optimizer: sgd}}", BIASED),  # else it is last
        ("{values: [last, best]}", None),
        ("{value: best, when: {optimizer: sgd}}", None),
    ],
)
def test_scores_that_flatter_are_not_mixed_with_others(
    read: Callable[..., SweepSpec],
    problems: Callable[..., list[str]],
    entry: str,
    problem: str | None,
) -> None:
    text = f"{RIGHT}  optimizer: {{values: [sgd, adam]}}\n  checkpoint: {entry}\n"
    if problem is None:
        assert read(f"{text}folds: {{race: false}}\n").notices == ()
    else:
        assert problems(text) == [f"line 8  parameters.checkpoint: {problem}"]


def test_scores_that_all_flatter_are_noticed(read: Callable[..., SweepSpec]) -> None:
    for entry in ("{value: fold_best}", "{values: [fold_best]}"):
        assert read(f"{RIGHT}  checkpoint: {entry}\n").notices == (
            "checkpoint: fold_best takes the best epoch on the fold it scores: "
            "scores are 0.4-0.5 points too good",
        )
