"""YAML to a frozen `SweepSpec`, or one error that lists every problem of the file with its line."""

import json
import math
import random
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pydantic
from pydantic import BaseModel

from sweeps.errors import Problem, SpecError, did_you_mean
from sweeps.space import Constant, Numeric, Parameter, Space, finite_values, read_space
from sweeps.spec import METRIC_NAMES, Budget, EarlyTerminate, Metric, Resources, SweepSpec
from sweeps.yaml_file import KeyPath, YamlFile, read_scalar
from trainer.config import TrainConfig
from trainer.data.options import DataOptions, FoldOptions
from trainer.seeds import derive

# W&B's keys that have no meaning here; an existing sweep file stays valid
UNUSED_KEYS = ("program", "command", "controller", "project", "entity", "launch", "imports", "display_name")
RESERVED = {"seed": "every seed derives from the sweep's own seed (the top-level key seed)"}
MAX_NAME = 100
PROBES = 64  # sampled points that are tried as configurations when a space is read


def read_spec(path: Path, *, settings: Iterable[str] = ()) -> SweepSpec:
    """Read and validate a search space file.

    Args:
        settings: `key=value` overrides; keys are dotted from the top, values are YAML.

    Raises:
        SpecError: everything that is wrong, with lines.
        InputError: the file cannot be read.
    """
    file = YamlFile(path)
    raw, set_paths, problems = _with_settings(file.values, settings)
    spec, more = _validate(raw, default_name=path.stem)
    problems += more
    if problems or spec is None:
        raise SpecError(str(path), [_placed(problem, file, set_paths) for problem in problems])
    return spec


def _placed(problem: Problem, file: YamlFile, set_paths: Iterable[KeyPath]) -> Problem:
    """With its line; a value that came from --set has none."""
    text = tuple(map(str, problem.path))
    if any(text[: len(path)] == path or (text and path[: len(text)] == text) for path in set_paths):
        return Problem(problem.path, f"{problem.text} (from --set)")
    return Problem(problem.path, problem.text, problem.line or file.line(problem.path))


def _with_settings(
    values: Mapping[str, Any], settings: Iterable[str]
) -> tuple[dict[str, Any], list[KeyPath], list[Problem]]:
    raw = json.loads(json.dumps(values, default=str))
    paths: list[KeyPath] = []
    problems = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        *parents, last = path = tuple(key.strip().split("."))
        try:
            value = read_scalar(text)
        except ValueError as error:
            problems.append(Problem(("--set", setting), str(error)))
            continue
        if not (equals and all(path)):
            problems.append(Problem(("--set", setting), "expected key=value, e.g. --set run_cap=20"))
            continue
        node = raw
        for parent in parents:
            child = node.get(parent)
            node[parent] = child if isinstance(child, dict) else {}
            node = node[parent]
        node[last] = json.loads(json.dumps(value, default=str))
        paths.append(path)
    return raw, paths, problems


def _validate(raw: dict[str, Any], *, default_name: str) -> tuple[SweepSpec | None, list[Problem]]:
    used = {key: value for key, value in raw.items() if key not in UNUSED_KEYS}
    notices = []
    unused = [key for key in raw if key in UNUSED_KEYS]
    if unused:
        notices.append(f"not used here: {', '.join(unused)}")
    problems = [
        Problem((key,), f"unknown key. Allowed here: {', '.join(sorted(_known_keys(())))}")
        for key in ("space", "raw", "notices")
        if used.pop(key, None) is not None
    ]
    space, more = read_space(used.pop("parameters", {}))
    problems += more
    problems += _field_problems(space)
    spec = None
    try:
        values = {"name": default_name, **used, "space": space, "raw": raw}
        spec = SweepSpec(**values)
    except pydantic.ValidationError as error:
        problems += [_from_pydantic(entry) for entry in error.errors()]
    problems += _top_problems({"name": default_name, **used})
    problems += _whole_problems(used, space)
    if spec is None:
        return None, problems
    if not problems:
        notices += _notices(spec)
        impossible, reason = _probe(spec)
        if impossible == PROBES:
            problems.append(Problem(("parameters",), f"no sampled point is a valid configuration: {reason}"))
        elif impossible:
            notices.append(f"about {100 * impossible // PROBES} % of the sampled points will fail: {reason}")
    return spec.model_copy(update={"notices": tuple(notices)}), problems


def _top_problems(used: Mapping[str, Any]) -> list[Problem]:
    """What pydantic cannot say well about the top level."""
    problems = []
    name = used.get("name")
    if isinstance(name, str) and not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}", name):
        problems.append(
            Problem(
                ("name",),
                f"{name!r} cannot name a folder: letters, digits, '.', '_' and '-', "
                f"starting with a letter or digit, at most {MAX_NAME}",
            )
        )
    metric = used.get("metric")
    if isinstance(metric, Mapping) and isinstance(metric.get("name"), str):
        problems += _metric_problems(metric["name"], metric.get("goal"))
    method, sampler = used.get("method", "bayes"), used.get("sampler")
    by_method = {"bayes": ("tpe",), "random": ("random",), "grid": ("grid",)}
    if sampler is not None and isinstance(method, str) and method in by_method and sampler not in by_method[method]:
        problems.append(
            Problem(("sampler",), f"{sampler!r} does not fit method: {method}. Allowed: {', '.join(by_method[method])}")
        )
    return problems


def _metric_problems(name: str, goal: Any) -> list[Problem]:
    if name not in METRIC_NAMES:
        hint = did_you_mean(name, METRIC_NAMES)
        return [Problem(("metric", "name"), f"unknown metric {name!r}.{hint} Known: {', '.join(METRIC_NAMES)}")]
    if goal in ("maximize", "minimize") and goal != METRIC_NAMES[name]:
        return [
            Problem(("metric", "goal"), f"{name} gets better in the other direction: write goal: {METRIC_NAMES[name]}")
        ]
    return []


def _whole_problems(used: Mapping[str, Any], space: Space) -> list[Problem]:
    """What only the whole file shows."""
    problems = []
    resize = space["resize"].domain if "resize" in space else Constant(0)
    if isinstance(resize, Numeric) and not resize.integer:
        problems.append(
            Problem(("parameters", "resize"), "needs values, not a continuous range: each size is decoded once")
        )
    budget = used.get("budget")
    if used.get("method") == "grid":
        for parameter in space.varying():
            domain = parameter.domain
            if isinstance(domain, Numeric) and domain.q is None and not domain.integer:
                problems.append(
                    Problem(parameter.path, "a grid needs values or a step (q_uniform with q), not a continuous range")
                )
    elif used.get("run_cap") is None and not (isinstance(budget, Mapping) and budget.get("hours") is not None):
        problems.append(
            Problem((), "no end: give run_cap (a number of trials) or budget: {hours: ...}; only a grid needs neither")
        )
    return problems


def _field_problems(space: Space) -> list[Problem]:
    """Parameters that are not fields of TrainConfig, and values that a field does not take."""
    problems = []
    for parameter in space.parameters:
        name, path = parameter.name, parameter.path
        if name in RESERVED:
            problems.append(Problem(path, f"cannot be a parameter: {RESERVED[name]}"))
        elif name not in TrainConfig.model_fields:
            known = TrainConfig.model_fields.keys() - RESERVED.keys()
            hint = did_you_mean(name, known) or f" Known: {', '.join(sorted(known))}"
            problems.append(Problem(path, f"unknown parameter.{hint}"))
        else:
            problems += _value_problems(parameter)
    return problems


def _value_problems(parameter: Parameter) -> list[Problem]:
    domain, path = parameter.domain, parameter.path
    if isinstance(domain, Constant):
        tries: list[tuple[KeyPath, Any]] = [((*path, "value"), domain.value)]
    elif isinstance(domain, Numeric):
        if TrainConfig.model_fields[parameter.name].annotation is int and not domain.integer:
            return [Problem(path, "takes whole numbers only: give min and max as whole numbers, or values")]
        tries = [((*path, "min"), domain.low), ((*path, "max"), domain.high)]
    else:
        tries = [((*path, "values", index), value) for index, value in enumerate(domain.values)]
    problems = []
    for where, value in tries:
        problem = field_problem(parameter.name, value)
        if problem:
            problems.append(Problem(where, problem))
    return problems


def field_problem(name: str, value: Any) -> str | None:
    """Why a TrainConfig field does not take `value`, or None."""
    try:
        TrainConfig.model_validate({name: value}, strict=True)
    except pydantic.ValidationError as error:
        for entry in error.errors():
            if entry["loc"][:1] == (name,):
                return _describe(entry, value)
    return None


def _describe(entry: Any, value: Any) -> str:
    if entry["type"] == "literal_error":
        known = [word.strip("'") for word in re.findall(r"'[^']+'", entry["ctx"]["expected"])]
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        return f"unknown value {value!r}.{hint} Known: {', '.join(known)}"
    if entry["type"] == "bool_type":
        return f"expected true or false, got {value!r}"  # yes and no are text in YAML 1.2
    message = entry["msg"].removeprefix("Value error, ")
    # our own validators say what they got
    return f"{message[0].lower()}{message[1:]}" + ("" if entry["type"] == "value_error" else f", got {value!r}")


def _from_pydantic(entry: Any) -> Problem:
    path = tuple(entry["loc"])
    key = str(path[-1]) if path else ""
    if entry["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        hint = did_you_mean(key, known)
        return Problem(path, f"unknown key.{hint} Allowed here: {', '.join(sorted(known))}")
    if entry["type"] == "missing":
        return Problem(path, f"missing. {_NEEDED.get('.'.join(map(str, path)), 'It is required')}")
    if entry["type"] in ("model_type", "model_attributes_type", "dict_type"):
        needed = _NEEDED.get(".".join(map(str, path)))
        text = f"expected a mapping with {', '.join(sorted(_known_keys(path)))}, got {entry['input']!r}"
        return Problem(path, text + (f". {needed}" if needed else ""))
    return Problem(path, _describe(entry, entry["input"]))


_NEEDED = {
    "metric": f"Write metric: {{name: valid/f1, goal: maximize}}; known names: {', '.join(METRIC_NAMES)}",
    "metric.name": f"Known: {', '.join(METRIC_NAMES)}",
    "metric.goal": "Write goal: maximize or goal: minimize (W&B's silent default would minimise)",
    "data": "Write data: {source: images.csv} or data: {source: folder-with-one-sub-folder-per-class}",
    "data.source": "A CSV or Parquet file, or a folder with one sub-folder per class",
    "early_terminate.type": "Known: median, none",
}
_SECTIONS: dict[str, type[BaseModel]] = {
    "metric": Metric,
    "data": DataOptions,
    "folds": FoldOptions,
    "resources": Resources,
    "budget": Budget,
    "early_terminate": EarlyTerminate,
}


def _known_keys(path: KeyPath) -> set[str]:
    if path:
        return set(_SECTIONS[str(path[0])].model_fields)
    return set(SweepSpec.model_fields) - {"space", "notices", "raw"} | {"parameters"}


def _notices(spec: SweepSpec) -> list[str]:
    notices = []
    for parameter in spec.space.varying():
        domain = parameter.domain
        real = TrainConfig.model_fields[parameter.name].annotation is float
        if real and isinstance(domain, Numeric) and domain.integer:
            notices.append(
                f"{parameter.name}: min and max are whole numbers, so only whole numbers are sampled (W&B's rule); "
                f"write {float(domain.low)} and {float(domain.high)} for the range between them"
            )
    return notices


def _probe(spec: SweepSpec) -> tuple[int, str]:
    """How many of PROBES sampled points are not valid configurations, and why the last one is not."""
    rng = random.Random(derive(spec.seed, "probe"))

    def choose(parameter: Parameter) -> Any:
        domain = parameter.domain
        if not isinstance(domain, Numeric):
            return rng.choice(tuple(finite_values(domain)))
        if domain.log:
            return math.exp(rng.uniform(math.log(domain.low), math.log(domain.high)))
        if domain.integer or domain.q is not None:
            return rng.choice(domain.steps())
        return rng.uniform(domain.low, domain.high)

    impossible, reason = 0, ""
    for _ in range(PROBES):
        try:
            TrainConfig(**spec.space.resolve(choose))
        except pydantic.ValidationError as error:
            impossible, reason = impossible + 1, _describe(error.errors()[0], None).removesuffix(", got None")
    return impossible, reason
