"""Points to start with, as they stand in the file."""

from collections.abc import Callable

from sweeps.space.spec import SweepSpec
from tests.sweeps.space.space_texts import RIGHT


def test_points_to_start_with_are_read_by_dotted_names(read: Callable[..., SweepSpec]) -> None:
    text = RIGHT.replace("{value: 0.1}", "{min: 0.001, max: 0.1}") + "  epochs: {min: 1, max: 9}\n"
    spec = read(
        text + "  heads: {value: separate}\n  head_weights.age: {min: 0.5, max: 2.0}\n" + START
    )
    assert spec.start_with == ({"lr": 0.01}, {"epochs": 3, "head_weights.age": 1.0})


START = "start_with:\n  - lr: 0.01\n  - epochs: 3\n    head_weights: {age: 1}\n"


def test_a_wrong_point_is_told_with_its_line(problems: Callable[..., list[str]]) -> None:
    text = RIGHT.replace("{value: 0.1}", "{min: 0.001, max: 0.1}") + START.replace("0.01", "0.2")
    known = "Known: lr"
    assert problems(text) == [
        "line 8  start_with.0.lr: 0.2 is not a value of lr: 0.001 to 0.1",
        f"line 9  start_with.1.epochs: unknown parameter 'epochs'. {known}",
        f"line 10  start_with.1.head_weights.age: unknown parameter 'head_weights.age'. {known}",
    ]


def test_a_point_is_not_blamed_for_a_parameter_with_a_problem(
    problems: Callable[..., list[str]],
) -> None:
    assert problems(RIGHT.replace("{value: 0.1}", "{min: 1, max: 0.1}") + START) == [
        "line 6  parameters.lr: min must not be above max, got min=1, max=0.1"
    ]


def test_a_point_that_is_no_valid_configuration_is_a_problem(
    problems: Callable[..., list[str]],
) -> None:
    text = (
        RIGHT.replace("{value: 0.1}", "{values: [0.1, 0.3]}")
        + "  scheduler: {value: cyclic}\n  base_lr: {value: 0.2}\n"
    )
    assert problems(f"{text}start_with: [{{lr: 0.3}}, {{lr: 0.1}}]\n") == [
        "line 9  start_with.1: is no valid configuration: cyclic needs base_lr <= lr, "
        "got base_lr=0.2 and lr=0.1"
    ]
