"""`sweeps check --space-only`: W&B's language alone, so that any sweep file of W&B's can be tried as it is.

Names of parameters are free; data, a known metric and an end, which a sweep of ours needs, are not asked for.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from sweeps.errors import Problem
from sweeps.space import language
from sweeps.space.domains import Categorical, Constant, Numeric
from sweeps.space.parameters import Parameter, Space, grid_size
from sweeps.space.points import KEY as START_WITH
from sweeps.space.points import read_points
from sweeps.space.sections import known_keys, section_problems, unknown_key, without_unused
from sweeps.space.spec import MAX_GRID, SamplerName
from sweeps.space.spec_reader import (
    FINITE,
    SpaceFile,
    grid_problems,
    name_problem,
    sampler_problems,
    search_of,
)
from sweeps.space.stopping import EarlyTerminate, NoRule
from trainer.data.options import Section
from trainer.metrics import Goal


class AnyMetric(Section):
    """A metric of any name."""

    name: str
    goal: Annotated[Goal, Field(strict=False)] = Goal.MINIMIZE
    target: Annotated[float | None, Field(allow_inf_nan=False)] = None


class Top(Section):
    """The top level of W&B's language, as far as it means something here."""

    name: str
    description: str = ""
    method: Literal["bayes", "random", "grid", "custom"] = "bayes"
    sampler: SamplerName | None = None
    metric: AnyMetric | None = None
    run_cap: Annotated[int | None, Field(ge=1)] = None
    early_terminate: EarlyTerminate = NoRule()


@dataclasses.dataclass(frozen=True)
class SpaceOnly:
    """What the language of a file says.

    Attributes:
        search: the sampler in effect.
        notices: what is odd but allowed.
    """

    top: Top
    search: str
    space: Space
    notices: tuple[str, ...]

    def grid_points(self) -> int | None:
        """How many points a grid over the space has, counted up to MAX_GRID; None: it is continuous."""
        try:
            return grid_size(self.space, at_most=MAX_GRID)
        except ValueError:
            return None

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
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
        }


def read_space_only(path: Path, *, settings: Iterable[str] = ()) -> SpaceOnly:
    """Read and validate the language of a file.

    Raises:
        SpecError: everything that is wrong, with lines.
        InputError: the file cannot be read.
    """
    file = SpaceFile(path, settings)
    used, notices = without_unused(file.raw)
    space, problems = language.read_space(used.get("parameters", {}))
    if START_WITH in used and not problems:
        problems = read_points(used[START_WITH], space)[1]
    known = known_keys()
    problems += [unknown_key((key,), known) for key in used if key not in known]
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
    file.refuse(problems)
    assert top is not None
    if top.metric is not None and "goal" not in top.metric.model_fields_set:
        notices.append("metric.goal is missing: W&B minimises then; `sweeps run` wants it written")
    if bad_name := name_problem(top.name):
        notices.append(f"name: {bad_name}; `sweeps run` needs another name")
    return SpaceOnly(top, search, space, (*notices, *language.notices(space)))


def _metric_problems(used: Mapping[str, Any]) -> list[Problem]:
    """What compares trials without a metric to compare them by."""
    if used.get("metric") is not None:
        return []
    write = "Write metric: {name: valid/f1, goal: maximize}"
    rule = used.get("early_terminate")
    kind = rule.get("type") if isinstance(rule, Mapping) else None
    problems = []
    if kind not in (None, "none"):
        problems.append(
            Problem(
                ("early_terminate",),
                f"{kind} compares trials by a metric, and there is none. {write}",
            )
        )
    if used.get("method") == "bayes":
        problems.append(
            Problem(("method",), f"bayes learns from a metric, and there is none. {write}")
        )
    return problems


def _parameter_json(parameter: Parameter) -> dict[str, Any]:
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
    law = {"name": domain.shape.name, **dataclasses.asdict(domain.shape)}
    return {
        "min": domain.low,
        "max": domain.high,
        "q": domain.q,
        "integer": domain.integer,
        "log": domain.log,
        "law": law,
    }
