"""What the fields of `TrainConfig` take: the names and values of a search space's parameters."""

import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pydantic

from sweeps.errors import KeyPath, Problem, did_you_mean
from sweeps.space.domains import Constant, Numeric
from sweeps.space.language import DEPRECATED, shown
from sweeps.space.laws import TAIL, LogNormal, Normal
from sweeps.space.parameters import Parameter, Space
from trainer.config import TrainConfig, nested
from trainer.fields.declare import USER_FUNCTION, is_user_function

RESERVED = {
    "seed": "every seed derives from the sweep's own seed (the top-level key seed)",
    "metric": "a metric of your own is named at the top: metric: {name: my_task.py:my_metric, goal: maximize}",
    "metric_goal": "it is metric.goal at the top",
}


def field_problems(space: Space) -> list[Problem]:
    """Parameters that are not fields of TrainConfig, and values that a field does not take."""
    problems = []
    for parameter in space.parameters:
        name, path = parameter.name, parameter.path
        if name in RESERVED:
            problems.append(Problem(path, f"cannot be a parameter: {RESERVED[name]}"))
        elif field_type(name) is None:
            known = TrainConfig.model_fields.keys() - RESERVED.keys()
            hint = did_you_mean(name, known) or f" Known: {', '.join(sorted(known))}"
            problems.append(Problem(path, f"unknown parameter.{hint}"))
        elif name == "freeze.up_to" and "freeze" in space:
            problems.append(
                Problem(path, "freeze is given as a whole, too: list up_to:STAGE among its values")
            )
        else:
            problems += _value_problems(parameter)
    return problems


def _value_problems(parameter: Parameter) -> list[Problem]:
    domain, path = parameter.domain, parameter.path
    if isinstance(domain, Constant):
        tries: list[tuple[KeyPath, Any]] = [((*path, "value"), domain.value)]
    elif isinstance(domain, Numeric):
        if field_type(parameter.name) is int and not domain.integer:
            return [
                Problem(
                    path, "takes whole numbers only: give min and max as whole numbers, or values"
                )
            ]
        if domain.law is not None or parameter.distribution in DEPRECATED:
            return _law_problems(parameter, domain)
        tries = [((*path, "min"), domain.low), ((*path, "max"), domain.high)]
    else:
        tries = [((*path, "values", index), value) for index, value in enumerate(domain.values)]
    problems = []
    for where, value in tries:
        problem = field_problem(parameter.name, value)
        if problem:
            problems.append(Problem(where, problem))
    return problems


def _law_problems(parameter: Parameter, domain: Numeric) -> list[Problem]:
    """Bounds that do not stand in the file; those of a law without bounds are only where its tails are cut."""
    if isinstance(domain.law, Normal | LogNormal):
        ends: tuple[float, ...] = (domain.draw(0.5),)
    else:  # a continuous law only touches its bounds
        ends = (
            (domain.low, domain.high)
            if domain.stepped
            else (domain.draw(TAIL), domain.draw(1 - TAIL))
        )
    found = {problem: None for value in ends if (problem := field_problem(parameter.name, value))}
    span = f"its values go from {domain.low:g} to {domain.high:g}"
    return [Problem(parameter.path, f"{problem} ({span})") for problem in found]


def field_notices(space: Space) -> list[str]:
    """What a field takes, but perhaps not as meant."""
    notices = []
    for parameter in space.parameters:
        name, domain = parameter.name, parameter.domain
        if not isinstance(domain, Numeric):
            continue
        if field_type(name) is float and domain.integer and domain.law is None:
            notices.append(
                f"{name}: min and max are whole numbers, so only whole numbers are sampled (W&B's rule); "
                f"write {float(domain.low)} and {float(domain.high)} for the range between them"
            )
        ends = [field_problem(name, value) for value in (domain.low, domain.high)]
        if isinstance(domain.law, Normal | LogNormal) and any(ends):
            notices.append(
                f"{name}: {domain} has tails from {domain.low:.3g} to {domain.high:.3g}, and a trial whose value the "
                f"field does not take will fail: {next(filter(None, ends))}"
            )
    return notices


def field_type(name: str) -> Any:
    """The type of a TrainConfig field, or of the entries of a mapping (`loss_mix.focal`); None if there is no such."""
    field, dot, _ = name.partition(".")
    if field not in TrainConfig.model_fields:
        return None
    annotation = TrainConfig.model_fields[field].annotation
    if not dot:
        return annotation
    if get_origin(annotation) is dict:
        inner = get_args(annotation)[1]
        return get_args(inner)[0] if get_origin(inner) is Annotated else inner
    return str if name == "freeze.up_to" else None


def field_problem(name: str, value: Any) -> str | None:
    """Why a TrainConfig field does not take `value`, or None."""
    field = name.partition(".")[0]
    try:
        TrainConfig.model_validate(nested({name: value}), strict=True)
    except pydantic.ValidationError as error:
        for entry in error.errors():
            if entry["loc"][:1] == (field,):
                return describe(entry, value)
    return (
        next(iter(user_function_problems(value)), None)
        if field in ("backbone", "loss") and is_user_function(value)
        else None
    )


def describe(entry: Any, value: Any) -> str:
    """One error of pydantic's as a sentence about the `value` that was given."""
    if entry["type"] in ("literal_error", "enum"):
        kind, value = (
            ("entry", entry["loc"][-2]) if entry["loc"][-1] == "[key]" else ("value", value)
        )
        known = [word.strip("'") for word in re.findall(r"'[^']+'", entry["ctx"]["expected"])]
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        own = ", or a function of your own, my_task.py:my_loss" if entry["loc"][0] == "loss" else ""
        return f"unknown {kind} {shown(value)}.{hint} Known: {', '.join(known)}{own}"
    if entry["type"] == "bool_type":
        return f"expected true or false, got {shown(value)}"  # yes and no are text in YAML 1.2
    message = entry["msg"].removeprefix("Value error, ")
    # our own validators say what they got
    return f"{message[0].lower()}{message[1:]}" + (
        "" if entry["type"] == "value_error" else f", got {shown(value)}"
    )


def user_function_problems(reference: str) -> list[str]:
    """Why a name is not one of the user's own functions: a worker gets a copy of its file, in a folder of the sweep."""
    if not re.fullmatch(USER_FUNCTION, reference):
        return [
            f"{reference!r} names no function of a file: write FILE.py:FUNCTION, e.g. my_task.py:my_function"
        ]
    path = Path(reference.rpartition(":")[0])
    if path.is_absolute() or ".." in path.parts:
        return [
            f"{reference!r} must lie in the folder of the search space or below, as a relative path"
        ]
    return []
