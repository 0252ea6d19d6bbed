"""What a sweep that has begun may change."""

from typing import Any

import pytest

from sweeps.preparing.growth import MAY_CHANGE, difference

PART: dict[str, Any] = {
    "method": "bayes",
    "sampler": "tpe",
    "seed": 1,
    "metric": {"name": "valid/f1", "goal": "maximize"},
    "folds": {"k": 5, "race": {"error_rate": 0.01}},
    "early_terminate": {"type": "none"},
    "data": {"face_weights": None},
    "parameters": {
        "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
        "optimizer": {"values": ["sgd", "adam"]},
        "momentum": {"min": 0.5, "max": 0.9, "when": {"optimizer": "sgd"}},
        "batch_size": {"min": 8, "max": 32},
        "resize": {"distribution": "q_uniform", "min": 64, "max": 128, "q": 32},
        "dropout": {"distribution": "q_beta", "a": 2, "b": 2, "q": 0.1},
        "weight_decay": {"distribution": "log_uniform", "min": -9, "max": -3},
        "epochs": {"min": 5, "max": 10},
        "head": {"parameters": {"width": {"min": 1.0, "max": 2.0}}},
    },
}


def with_(**parameters: Any) -> dict[str, Any]:
    """The fixed part with entries of its parameters replaced; None takes one out."""
    new = {
        name: {**PART["parameters"].get(name, {}), **entry}
        for name, entry in parameters.items()
        if entry
    }
    left = {
        name: entry
        for name, entry in PART["parameters"].items()
        if name not in parameters or parameters[name]
    }
    return {**PART, "parameters": {**left, **new}}


def test_no_difference_is_no_growth() -> None:
    growth = difference(PART, with_())
    assert (growth.lines, growth.allowed, growth.advice) == ((), True, "")


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("optimizer", {"distribution": "categorical", "values": ["sgd", "adam"]}),
        ("momentum", {"min": 0.5, "max": 0.9, "when": {"optimizer": ["sgd"]}}),
        (
            "momentum",
            {"distribution": "uniform", "min": 0.5, "max": 0.9, "when": {"optimizer": "sgd"}},
        ),
        ("batch_size", {"distribution": "int_uniform", "min": 8, "max": 32}),
        ("batch_size", {"distribution": "int_uniform", "min": 8.0, "max": 32.0}),
        ("dropout", {"distribution": "q_beta", "a": 2.0, "b": 2, "q": 0.1, "when": None}),
    ],
)
@pytest.mark.parametrize("method", ["bayes", "grid"])
def test_another_way_to_write_a_parameter_is_no_difference(
    name: str, entry: dict[str, Any], method: str
) -> None:
    part = {**PART, "method": method}
    new = {**part, "parameters": {**PART["parameters"], name: entry}}
    assert difference(part, new).lines == difference(new, part).lines == ()


def test_a_default_written_out_is_no_difference() -> None:
    part, full = ({**PART, "parameters": {"lr": {"distribution": "q_normal"}}} for _ in range(2))
    full["parameters"]["lr"] |= {"mu": 0, "sigma": 1, "q": 1}
    assert difference(part, full).lines == ()
    full["parameters"]["lr"]["q"] = 1.0  # its values are no whole numbers
    assert difference(part, full).lines == ("parameters.lr.q: was 1, is 1.0",)


def test_nested_and_dotted_names_are_the_same() -> None:
    optimizer = {"values": ["sgd", "adam"]}
    width = {"min": 1.0, "max": 2.0}
    nested = {
        "optimizer": optimizer,
        "head": {"parameters": {"width": width}, "when": {"optimizer": "sgd"}},
    }
    dotted = {"optimizer": optimizer, "head.width": {**width, "when": {"optimizer": ["sgd"]}}}
    then, now = (
        {**PART, "method": "grid", "parameters": parameters} for parameters in (nested, dotted)
    )
    assert difference(then, now).lines == ()


@pytest.mark.parametrize("entry", [{"min": 0.1, "max": 0.5}, {"min": 1, "max": 5}])
def test_a_range_cannot_come_or_go(entry: dict[str, Any]) -> None:
    with_range = with_(drop_path=entry)
    for then, now in ((PART, with_range), (with_range, PART)):
        growth = difference(then, now, sweep="mask")
        assert (len(growth.lines), growth.allowed, growth.advice) == (2, False, NEW_SWEEP)


@pytest.mark.parametrize(
    ("parameters", "lines"),
    [
        ({"lr": {"max": 0.1}}, ["parameters.lr.max: was 0.01, is 0.1"]),
        (
            {"lr": {"min": 1e-5, "max": 0.1}},
            ["parameters.lr.max: was 0.01, is 0.1", "parameters.lr.min: was 0.0001, is 1e-05"],
        ),
        ({"momentum": {"max": 0.99}}, ["parameters.momentum.max: was 0.9, is 0.99"]),
        ({"batch_size": {"min": 4}}, ["parameters.batch_size.min: was 8, is 4"]),
        (
            {"resize": {"min": 32, "max": 150}},
            ["parameters.resize.max: was 128, is 150", "parameters.resize.min: was 64, is 32"],
        ),
        ({"weight_decay": {"min": -12}}, ["parameters.weight_decay.min: was -9, is -12"]),
        ({"epochs": {"min": 2}}, ["parameters.epochs.min: was 5, is 2"]),
        (
            {"momentum": {"distribution": "uniform", "min": 0, "max": 1}},
            ["parameters.momentum.max: was 0.9, is 1", "parameters.momentum.min: was 0.5, is 0"],
        ),
        (
            {"head": {"parameters": {"width": {"min": 1.0, "max": 3.0}}}},
            ["parameters.head.width.max: was 2.0, is 3.0"],
        ),
    ],
)
@pytest.mark.parametrize("method", ["bayes", "grid"])
def test_a_wider_range_of_a_number_is_allowed(
    parameters: dict[str, Any], lines: list[str], method: str
) -> None:
    growth = difference({**PART, "method": method}, {**with_(**parameters), "method": method})
    assert (list(growth.lines), growth.allowed, growth.advice) == (lines, True, "")


NEW_SWEEP = (
    "Change it back, or give the search space another name and `warm_start: [mask]`, "
    "which takes the finished trials over. Of the parameters only the range of a number can grow; "
    f"{MAY_CHANGE}"
)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"lr": {"max": 0.001}}, "lr would become narrower"),
        ({"lr": {"min": 1e-5, "max": 0.001}}, "lr would become narrower"),
        (
            {"momentum": {"min": 0, "max": 1}},
            "momentum would not be a range of the same kind: uniform 0.5 to 0.9, "
            "int_uniform whole numbers 0 to 1",
        ),
        (
            {"batch_size": {"max": 32.5}},
            "batch_size would not be a range of the same kind: int_uniform whole numbers 8 to 32, "
            "uniform 8 to 32.5",
        ),
        (
            {"resize": {"min": 50}},
            "the steps of resize would move: lower its min by multiples of 32",
        ),
        (
            {"epochs": {"max": 20}},
            "the steps of all reports are counted by the largest number of epochs",
        ),
        (
            {"lr": {"max": 0.001}, "momentum": {"max": 0.6}},
            "lr would become narrower; momentum would become narrower",
        ),
    ],
)
def test_another_range_is_refused_with_the_reason(parameters: dict[str, Any], reason: str) -> None:
    growth = difference(PART, with_(**parameters), sweep="mask")
    assert growth.lines
    assert (growth.allowed, growth.advice) == (False, f"{reason}. {NEW_SWEEP}")


@pytest.mark.parametrize(
    ("now", "lines"),
    [
        (
            with_(optimizer={"values": ["sgd", "adam", "lion"]}),
            ["parameters.optimizer.values: was ['sgd', 'adam'], is ['sgd', 'adam', 'lion']"],
        ),
        (with_(dropout={"a": 3}), ["parameters.dropout.a: was 2, is 3"]),
        (with_(loss={"value": "focal"}), ["parameters.loss.value: was (absent), is focal"]),
        (
            with_(dropout=None),
            [
                "parameters.dropout.a: was 2, is (absent)",
                "parameters.dropout.b: was 2, is (absent)",
                "parameters.dropout.q: was 0.1, is (absent)",
            ],
        ),
        (
            with_(momentum={"when": {"optimizer": "adam"}}),
            ["parameters.momentum.when.optimizer: was ['sgd'], is ['adam']"],
        ),
        (with_(resize={"q": 64}), ["parameters.resize.q: was 32, is 64"]),
        (
            with_(lr={"max": 0.1}) | {"seed": 2},
            ["parameters.lr.max: was 0.01, is 0.1", "seed: was 1, is 2"],
        ),
        ({**PART, "sampler": "gp"}, ["sampler: was tpe, is gp"]),
        (
            {**PART, "early_terminate": {"type": "median"}},
            ["early_terminate.type: was none, is median"],
        ),
        (
            {**PART, "folds": {"k": 5, "race": None}},
            ["folds.race: was (absent), is None", "folds.race.error_rate: was 0.01, is (absent)"],
        ),
    ],
)
def test_another_search_is_a_new_sweep_that_learns_from_the_old_one(
    now: dict[str, Any], lines: list[str]
) -> None:
    growth = difference(PART, now, sweep="mask")
    assert (list(growth.lines), growth.allowed, growth.advice) == (lines, False, NEW_SWEEP)


@pytest.mark.parametrize(
    "change",
    [
        {"metric": {"name": "valid/accuracy", "goal": "maximize"}},
        {"folds": {"k": 4, "race": {"error_rate": 0.01}}},
        {"data": {"face_weights": "yunet.onnx"}},
        {"seed": 2, "metric": {"name": "valid/accuracy", "goal": "maximize"}},
    ],
)
def test_scores_that_mean_something_else_cannot_be_taken_over(change: dict[str, Any]) -> None:
    growth = difference(PART, {**PART, **change}, sweep="mask")
    assert not growth.allowed
    assert growth.advice == f"Change it back, or give the search space another name ({MAY_CHANGE})"


@pytest.mark.parametrize(
    ("method", "sampler"), [("grid", "grid"), ("custom", "grid"), ("custom", "brute_force")]
)
def test_the_order_of_the_parameters_is_that_of_a_grids_points(method: str, sampler: str) -> None:
    part = {**PART, "method": method, "sampler": sampler}
    turned = {**part, "parameters": dict(reversed(PART["parameters"].items()))}
    assert [line.split(":")[0] for line in difference(part, turned).lines] == ["order"]
    assert not difference(part, turned).allowed
    assert difference(PART, {**PART, "parameters": turned["parameters"]}).lines == ()
