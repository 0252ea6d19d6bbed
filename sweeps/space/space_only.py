"""Reads a file for `sweeps check --space-only`, which checks W&B's language and nothing else.

So a user can check every sweep file of W&B without changes. Parameters may have any name. The file
needs no data, no known metric and no end (`run_cap` or a budget), which `sweeps run` requires.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from sweeps.errors import Problem
from sweeps.space import language
from sweeps.space.as_meant import listed_once
from sweeps.space.domains import Categorical, Constant, Numeric
from sweeps.space.parameters import Parameter, Space, grid_size
from sweeps.space.points import KEY as START_WITH
from sweeps.space.points import read_points
from sweeps.space.sections import (
    is_foreign,
    known_keys,
    program_of,
    section_problems,
    unknown_key,
    without_unused,
)
from sweeps.space.space_file import SpaceFile
from sweeps.space.spec import MAX_GRID, SamplerName
from sweeps.space.spec_reader import (
    FINITE,
    grid_problems,
    problems_of,
    sampler_problems,
    search_of,
)
from sweeps.space.stopping import EarlyTerminate, NoRule
from sweeps.space.sweep_names import name_problem, sweep_name_of
from trainer.data.options import Section
from trainer.metrics import Goal


class AnyMetric(Section):
    """A metric with any name."""

    name: str
    goal: Annotated[Goal, Field(strict=False)] = Goal.MINIMIZE
    target: Annotated[float | None, Field(allow_inf_nan=False)] = None


class Top(Section):
    """The top-level keys of W&B's language that have a meaning for us."""

    name: str
    description: str = ""
    method: Literal["bayes", "random", "grid", "custom"] = "bayes"
    sampler: SamplerName | None = None
    metric: AnyMetric | None = None
    run_cap: Annotated[int | None, Field(ge=1)] = None
    early_terminate: EarlyTerminate = NoRule()


@dataclasses.dataclass(frozen=True)
class SpaceOnly:
    """The content of a file that was checked as W&B's language only.

    Attributes:
        search: the sampler: `top.sampler`, or the default sampler of the method.
        notices: messages about content that is allowed but may not be intended.
        to_run: what `sweeps run` would refuse, and what it lacks.
    """

    top: Top
    search: str
    space: Space
    notices: tuple[str, ...]
    to_run: tuple[Problem, ...]

    def grid_points(self) -> int | None:
        """The number of points of a grid over the space, at most MAX_GRID; None if continuous."""
        try:
            return grid_size(self.space, at_most=MAX_GRID)
        except ValueError:
            return None

    def as_json(self) -> dict[str, Any]:
        """The content of the output of `--json`."""
        top = self.top.model_dump(mode="json", exclude={"description", "sampler", "run_cap"})
        points = self.grid_points()
        return {
            "name": top["name"],
            "method": top["method"],
            "sampler": self.search,
            "metric": top["metric"],
            "run_cap": self.top.run_cap,
            "parameters": {p.name: _parameter_json(p) for p in self.space.parameters},
            "grid_points": points,
            "grid_points_or_more": points == MAX_GRID,
            "early_terminate": top["early_terminate"],
            "notices": list(self.notices),
            "to_run": list(map(str, self.to_run)),
        }


def read_space_only(path: Path, *, settings: Iterable[str] = ()) -> SpaceOnly:
    """Read a file and check its W&B language.

    Args:
        settings: `key=value` overrides, as in `read_spec`.

    Raises:
        SpecError: the file has problems; the error lists all problems with their lines.
        InputError: the file cannot be read.
    """
    file = SpaceFile(path, settings)
    raw, twice = listed_once(file.raw)
    used, unused = without_unused(raw)
    notices = [*filter(None, [program_of(raw)]), *unused, *twice]
    space, problems = language.read_space(used.get("parameters", {}))
    if START_WITH in used and not problems:
        problems = read_points(used[START_WITH], space)[1]
    known = known_keys()
    foreign = [key for key in used if is_foreign(key)]
    notices += [f"not used here, and not known to W&B: {', '.join(foreign)}"] if foreign else []
    problems += [unknown_key((key,), known) for key in used if key not in {*known, *foreign}]
    problems += sampler_problems(used) + _metric_problems(used)
    search = search_of(used)
    if search in FINITE:
        problems += grid_problems(space, search)
    top = None
    try:
        top = Top(
            **{"name": path.stem, **{key: used[key] for key in Top.model_fields if key in used}}
        )
    except ValidationError as error:
        problems += section_problems(error)
    file.refuse(problems, first=program_of(raw))
    assert top is not None
    if top.metric is not None and "goal" not in top.metric.model_fields_set:
        notices.append("metric.goal is missing: W&B minimises then; `sweeps run` wants it written")
    if bad_name := name_problem(name := sweep_name_of(top.name)):
        notices.append(f"name: {bad_name}; `sweeps run` needs another name")
    elif name != top.name:
        notices.append(f"name: `sweeps run` calls the sweep and its folder {name}")
    to_run = tuple(problems_of(file, path))
    return SpaceOnly(top, search, space, (*notices, *language.notices(space)), to_run)


def _metric_problems(used: Mapping[str, Any]) -> list[Problem]:
    """Problems of a file without a metric: parts of the file that compare trials by a metric."""
    if used.get("metric") is not None:
        return []
    advice = "Write metric: {name: valid/f1, goal: maximize}"
    rule = used.get("early_terminate")
    kind = rule.get("type") if isinstance(rule, Mapping) else None
    problems = []
    if kind not in (None, "none"):
        problems.append(
            Problem(
                ("early_terminate",),
                f"{kind} compares trials by a metric, and there is none. {advice}",
            )
        )
    if used.get("method") == "bayes":
        problems.append(
            Problem(("method",), f"bayes learns from a metric, and there is none. {advice}")
        )
    return problems


def _parameter_json(parameter: Parameter) -> dict[str, Any]:
    """The entry of one parameter in the output of `--json`."""
    domain = parameter.domain
    values: dict[str, Any] = {"kind": parameter.distribution}
    if isinstance(domain, Constant):
        values["value"] = domain.value
    elif isinstance(domain, Categorical):
        values["values"] = list(domain.values)
        values["probabilities"] = (
            None if domain.probabilities is None else list(domain.probabilities)
        )
    else:
        values |= _numeric_json(domain)
    return {**values, "when": {name: list(allowed) for name, allowed in parameter.when}}


def _numeric_json(domain: Numeric) -> dict[str, Any]:
    """The keys of a numeric parameter in the output of `--json`."""
    law = {"name": domain.shape.name, **dataclasses.asdict(domain.shape)}
    return {
        "min": domain.low,
        "max": domain.high,
        "q": domain.q,
        "integer": domain.integer,
        "log": domain.log,
        "law": law,
    }
