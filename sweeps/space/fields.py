"""Checks the names and values of parameters against the fields of `TrainConfig`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pydantic

from sweeps.errors import KeyPath, Problem, did_you_mean
from sweeps.space.domains import Constant, Numeric
from sweeps.space.kinds import DEPRECATED, shown
from sweeps.space.laws import TAIL, LogNormal, Normal
from sweeps.space.parameters import Parameter, Space
from sweeps.space.synonyms import meaning_of, nearest
from trainer.config import TrainConfig, nested
from trainer.fields.declare import USER_FUNCTION, is_user_function
from trainer.fields.images import parse_size

LIKE_NONE = "unknown parameter, and none of ours is like it"
RESERVED = {
    "seed": "every seed derives from the sweep's own seed (the top-level key seed)",
    "metric": "a metric of your own is named at the top: "
    "metric: {name: my_task.py:my_metric, goal: maximize}",
    "metric_goal": "it is metric.goal at the top",
}


def field_problems(space: Space) -> list[Problem]:
    """One problem for each unknown parameter, and for each value that its field does not accept."""
    problems = []
    for parameter in space.parameters:
        name = parameter.name
        path = parameter.path
        if name in RESERVED:
            problems.append(Problem(path, f"cannot be a parameter: {RESERVED[name]}"))
        elif field_type(name) is None:
            problems.append(Problem(path, unknown_parameter(name)))
        elif name == "freeze.up_to" and "freeze" in space:
            problems.append(
                Problem(path, "freeze is given as a whole, too: list up_to:STAGE among its values")
            )
        else:
            problems += _value_problems(parameter)
    return problems


def unread_names(
    raw: Any, space: Space, path: KeyPath = ("parameters",), prefix: str = ""
) -> list[Problem]:
    """One problem for each unknown name whose entry has a problem, so that it is not in `space`."""
    problems = []
    for key, entry in raw.items() if isinstance(raw, Mapping) else ():
        name = f"{prefix}{key}"
        at = (*path, str(key))
        if isinstance(entry, Mapping) and "parameters" in entry:
            problems += unread_names(entry["parameters"], space, (*at, "parameters"), f"{name}.")
        elif name not in space and name not in RESERVED and field_type(name) is None:
            problems.append(Problem(at, unknown_parameter(name)))
    return problems


def unknown_parameter(name: str) -> str:
    """What is wrong with the name of a parameter that no field has.

    Example:
        >>> unknown_parameter("learning_rate"), unknown_parameter("backbon")
        ('unknown parameter. It is called lr here', "unknown parameter. Did you mean 'backbone'?")
    """
    meaning = meaning_of(name)
    if meaning is not None:
        return f"unknown parameter. {meaning.text}"
    *others, last = [repr(other) for other in nearest(name, parameter_names())] or [""]
    if not last:
        return LIKE_NONE
    either = f"{', '.join(others)} or {last}" if others else last
    return f"unknown parameter. Did you mean {either}?"


def parameter_names() -> list[str]:
    """The names that a parameter of a search space can have, apart from entries of mappings."""
    return sorted(TrainConfig.model_fields.keys() - RESERVED.keys())


def _value_problems(parameter: Parameter) -> list[Problem]:
    """Problems with the values of a known parameter; only the two bounds of a range are checked."""
    domain = parameter.domain
    path = parameter.path
    if isinstance(domain, Constant):
        checked: list[tuple[KeyPath, Any]] = [((*path, "value"), domain.value)]
    elif isinstance(domain, Numeric):
        if field_type(parameter.name) is int and not domain.integer:
            return [
                Problem(
                    path, "takes whole numbers only: give min and max as whole numbers, or values"
                )
            ]
        if domain.law is not None or parameter.distribution in DEPRECATED:
            return _law_problems(parameter, domain)
        checked = [((*path, "min"), domain.low), ((*path, "max"), domain.high)]
    else:
        checked = [((*path, "values", index), value) for index, value in enumerate(domain.values)]
    problems = []
    for where, value in checked:
        problem = field_problem(parameter.name, value)
        if problem:
            problems.append(Problem(where, problem))
    return problems


def _law_problems(parameter: Parameter, domain: Numeric) -> list[Problem]:
    """Problems with the bounds of a law, which the file does not contain as numbers.

    A law without bounds is checked only at its median, because its tails are cut at arbitrary
    places.
    """
    if isinstance(domain.law, Normal | LogNormal):
        ends: tuple[float, ...] = (domain.draw(0.5),)
    else:  # a draw hardly ever is a bound, so numbers just inside are checked
        ends = (
            (domain.low, domain.high)
            if domain.stepped
            else (domain.draw(TAIL), domain.draw(1 - TAIL))
        )
    found = {problem: None for value in ends if (problem := field_problem(parameter.name, value))}
    span = f"its values go from {domain.low:g} to {domain.high:g}"
    return [Problem(parameter.path, f"{problem} ({span})") for problem in found]


def field_notices(space: Space) -> list[str]:
    """Notices about values that a field accepts but that the user may not have intended."""
    notices = []
    for parameter in space.parameters:
        name = parameter.name
        domain = parameter.domain
        if not isinstance(domain, Numeric):
            continue
        if field_type(name) is float and domain.integer and domain.law is None:
            notices.append(
                f"{name}: min and max are whole numbers, so only whole numbers are sampled "
                f"(W&B's rule); write {float(domain.low)} and {float(domain.high)} "
                "for the range between them"
            )
        ends = [field_problem(name, value) for value in (domain.low, domain.high)]
        if isinstance(domain.law, Normal | LogNormal) and any(ends):
            notices.append(
                f"{name}: {domain} has tails from {domain.low:.3g} to {domain.high:.3g}, and a "
                f"trial whose value the field does not take will fail: {next(filter(None, ends))}"
            )
    return notices


def field_type(name: str) -> Any:
    """The type of a TrainConfig field, or of the entries of a field that is a mapping.

    Examples of an entry are `loss_mix.focal` and `freeze.up_to`. The type of a field that may be
    null is the type of its other values. None means that there is no such field.
    """
    field, dot, _ = name.partition(".")
    if field not in TrainConfig.model_fields:
        return None
    annotation: Any = TrainConfig.model_fields[field].annotation
    if type(None) in get_args(annotation):
        (annotation,) = (kind for kind in get_args(annotation) if kind is not type(None))
    if not dot:
        return annotation
    if get_origin(annotation) is dict:
        inner = get_args(annotation)[1]
        return get_args(inner)[0] if get_origin(inner) is Annotated else inner
    return str if name == "freeze.up_to" else None


def field_problem(name: str, value: Any) -> str | None:
    """The reason why the TrainConfig field `name` does not accept `value`, or None."""
    field = name.partition(".")[0]
    if field == "resize":
        # the message of the size itself says more than that of its two types
        try:
            parse_size(value)
        except ValueError as error:
            return str(error)
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
    """One error of pydantic as a sentence about the `value` that the user gave."""
    if entry["type"] in ("literal_error", "enum"):
        kind = "value"
        if entry["loc"][-1] == "[key]":
            kind = "entry"
            value = entry["loc"][-2]
        known = [word.strip("'") for word in re.findall(r"'[^']+'", entry["ctx"]["expected"])]
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        user_function = (
            ", or a function of your own, my_task.py:my_loss" if entry["loc"][0] == "loss" else ""
        )
        return f"unknown {kind} {shown(value)}.{hint} Known: {', '.join(known)}{user_function}"
    if entry["type"] == "bool_type":
        return f"expected true or false, got {shown(value)}"  # YAML 1.2 reads yes and no as text
    message = entry["msg"].removeprefix("Value error, ")
    # the messages of our own validators already contain the value
    return f"{message[0].lower()}{message[1:]}" + (
        "" if entry["type"] == "value_error" else f", got {shown(value)}"
    )


def user_function_problems(reference: str) -> list[str]:
    """Why `reference` cannot name a user function; empty if it can.

    The file must have a relative path, because each worker gets a copy of the file in a folder of
    the sweep.
    """
    if not re.fullmatch(USER_FUNCTION, reference):
        return [
            f"{reference!r} names no function of a file: write FILE.py:FUNCTION, "
            "e.g. my_task.py:my_function"
        ]
    path = Path(reference.rpartition(":")[0])
    if path.is_absolute() or ".." in path.parts:
        return [
            f"{reference!r} must lie in the folder of the search space or below, as a relative path"
        ]
    return []
