"""What a user whose file has problems should know and do, besides each problem itself."""

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeps.errors import KeyPath, Problem
from sweeps.space.as_meant import value_as_meant
from sweeps.space.domains import Categorical, Constant
from sweeps.space.fields import (
    LIKE_NONE,
    field_problems,
    field_type,
    parameter_names,
    user_function_problems,
)
from sweeps.space.fitting import value_problem
from sweeps.space.parameters import Parameter, Space
from sweeps.space.sections import GUIDE, program_of
from sweeps.space.spec import METRIC_NAMES, SweepSpec, user_metric
from sweeps.space.synonyms import MISSPELT, meaning_of, metric_of
from trainer.metrics import Goal


def advice(raw: Mapping[str, Any], problems: Iterable[Problem], path: Path | None) -> list[str]:
    """Lines about all problems together: the names of all parameters, and what repairs a file.

    Args:
        path: the path of the file; None if the search space is in no file.
    """
    lines = []
    texts = [problem.text for problem in problems]
    if LIKE_NONE in texts:
        lines.append(f"parameters are {', '.join(parameter_names())}")
    metric = raw.get("metric")
    name = metric.get("name") if isinstance(metric, Mapping) else None
    renamed = isinstance(name, str) and name not in METRIC_NAMES and metric_of(name) is not None
    other_words = any(text.startswith("unknown parameter. It is") for text in texts)
    if path is not None and (program_of(raw) or renamed or other_words):
        lines.append(f"`sweeps check {path} --fix > space.yaml` writes it in our words ({GUIDE})")
    return lines


def readable_part(spec: SweepSpec, problems: Iterable[Problem]) -> SweepSpec:
    """The search space without the parameters that have a problem, or depend on one that has."""
    wrong = {tuple(map(str, problem.path)) for problem in problems}
    kept: list[Parameter] = []
    for parameter in spec.space.parameters:
        path = tuple(map(str, parameter.path))
        names = {other.name for other in kept}
        if not any(at[: len(path)] == path for at in wrong) and all(
            name in names for name, _ in parameter.when
        ):
            kept.append(parameter)
    return spec.model_copy(update={"space": Space(tuple(kept)), "start_with": ()})


def problems_once_renamed(space: Space) -> list[Problem]:
    """What will be wrong with parameters that have another name here, once they have it.

    So a user who renames them by hand does not meet a second list.
    """
    problems = []
    for parameter in space.parameters:
        meaning = meaning_of(parameter.name) if field_type(parameter.name) is None else None
        if meaning is not None and meaning.field is not None:
            domain = parameter.domain
            if isinstance(domain, Constant):
                domain = Constant(value_as_meant(meaning.field, domain.value))
            elif isinstance(domain, Categorical):
                values = tuple(value_as_meant(meaning.field, value) for value in domain.values)
                domain = Categorical(values, domain.probabilities)
            renamed = dataclasses.replace(parameter, name=meaning.field, domain=domain)
            problems += field_problems(Space((renamed,))) or list(_unknown_to_timm(renamed))
    return problems


def _unknown_to_timm(parameter: Parameter) -> Iterator[Problem]:
    """One problem for each value that names no backbone or optimizer of timm."""
    domain = parameter.domain
    if isinstance(domain, Constant):
        listed: list[tuple[KeyPath, Any]] = [(("value",), domain.value)]
    elif isinstance(domain, Categorical):
        listed = [(("values", index), value) for index, value in enumerate(domain.values)]
    else:
        return
    for at, value in listed:
        problem = value_problem(parameter.name, value)
        if problem is not None:
            yield Problem((*parameter.path, *at), problem)


def metric_problems(name: str, goal: Any) -> list[Problem]:
    """Problems of the metric's name, and of a goal that is the wrong direction."""
    function = user_metric(name)
    if function is not None:
        return [
            Problem(("metric", "name"), problem) for problem in user_function_problems(function)
        ]
    if name not in METRIC_NAMES:
        known = f"Known: {', '.join(METRIC_NAMES)}, or a function of your own, my_task.py:my_metric"
        ours = metric_of(name)
        near = difflib.get_close_matches(name, METRIC_NAMES, n=1, cutoff=MISSPELT)
        hint = (
            f" It is called {ours} here." if ours else f" Did you mean {near[0]!r}?" if near else ""
        )
        return [Problem(("metric", "name"), f"unknown metric {name!r}.{hint} {known}")]
    if goal in list(Goal) and goal != METRIC_NAMES[name]:
        return [
            Problem(
                ("metric", "goal"),
                f"{name} gets better in the other direction: write goal: {METRIC_NAMES[name]}",
            )
        ]
    return []
