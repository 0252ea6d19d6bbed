"""YAML to a frozen `SweepSpec`, or one error that lists every problem of the file with its line."""

import json
import math
import random
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pydantic
from pydantic import BaseModel

from sweeps.errors import Problem, SpecError, did_you_mean
from sweeps.space import Constant, Numeric, Parameter, Space, finite_values, read_space
from sweeps.spec import METRIC_NAMES, Budget, EarlyTerminate, Metric, Resources, SweepSpec, own_metric
from sweeps.yaml_file import KeyPath, YamlFile, read_scalar
from trainer.config import TrainConfig, nested
from trainer.data.options import DataOptions, FoldOptions
from trainer.fields.declare import OWN_FUNCTION, is_own
from trainer.seeds import derive

# W&B's keys that have no meaning here; an existing sweep file stays valid
UNUSED_KEYS = ("program", "command", "controller", "project", "entity", "launch", "imports", "display_name")
RESERVED = {
    "seed": "every seed derives from the sweep's own seed (the top-level key seed)",
    "metric": "a metric of your own is named at the top: metric: {name: my_task.py:my_metric, goal: maximize}",
    "metric_goal": "it is metric.goal at the top",
}
LOSS_FIELDS = {
    "loss",
    "loss_mix",
    "focal_gamma",
    "smoothing",
    "class_weights",
    "effective_beta",
    "heads",
    "head_weights",
}
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
    spec, more = _validate(raw, default_name=path.stem, folder=path.absolute().parent)
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


def _validate(raw: dict[str, Any], *, default_name: str, folder: Path) -> tuple[SweepSpec | None, list[Problem]]:
    used = {key: value for key, value in raw.items() if key not in UNUSED_KEYS}
    notices = []
    unused = [key for key in raw if key in UNUSED_KEYS]
    if unused:
        notices.append(f"not used here: {', '.join(unused)}")
    problems = [
        Problem((key,), f"unknown key. Allowed here: {', '.join(sorted(_known_keys(())))}")
        for key in ("space", "raw", "notices", "folder")
        if used.pop(key, None) is not None
    ]
    space, more = read_space(used.pop("parameters", {}))
    problems += more
    problems += _field_problems(space)
    spec = None
    try:
        values = {"name": default_name, **used, "space": space, "raw": raw, "folder": folder}
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
    own = own_metric(name)
    if own is not None:
        return [Problem(("metric", "name"), problem) for problem in _own_problems(own)]
    if name not in METRIC_NAMES:
        hint = did_you_mean(name, METRIC_NAMES)
        known = f"Known: {', '.join(METRIC_NAMES)}, or a function of your own, my_task.py:my_metric"
        return [Problem(("metric", "name"), f"unknown metric {name!r}.{hint} {known}")]
    if goal in ("maximize", "minimize") and goal != METRIC_NAMES[name]:
        return [
            Problem(("metric", "goal"), f"{name} gets better in the other direction: write goal: {METRIC_NAMES[name]}")
        ]
    return []


def _own_problems(reference: str) -> list[str]:
    """A worker gets a copy of the file, in a folder of the sweep."""
    if not re.fullmatch(OWN_FUNCTION, reference):
        return [f"{reference!r} names no function of a file: write FILE.py:FUNCTION, e.g. my_task.py:my_function"]
    path = Path(reference.rpartition(":")[0])
    if path.is_absolute() or ".." in path.parts:
        return [f"{reference!r} must lie in the folder of the search space or below, as a relative path"]
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
    return problems + _comparison_problems(used.get("metric"), space)


def _comparison_problems(metric: Any, space: Space) -> list[Problem]:
    """Scores that mean different things in different trials."""
    problems = []
    if isinstance(metric, Mapping) and metric.get("name") == "valid/loss":
        # a constant with a condition differs from the default where it is switched off
        varying = [p for p in space.parameters if p.when or not isinstance(p.domain, Constant)]
        moving = [p for p in varying if p.name.partition(".")[0] in LOSS_FIELDS]
        problems += [
            Problem(p.path, f"valid/loss is each trial's own loss, which {p.name} changes: use metric valid/log_loss")
            for p in moving
        ]
    if "checkpoint" in space:
        parameter = space["checkpoint"]
        chosen = set(finite_values(parameter.domain)) if not isinstance(parameter.domain, Numeric) else set()
        chosen |= {"last"} if parameter.when else set()  # where it is switched off
        if "fold_best" in chosen and len(chosen) > 1:
            text = "fold_best scores are 0.4-0.5 points too good and cannot be compared with others: give one value"
            problems.append(Problem(parameter.path, text))
    return problems


def _field_problems(space: Space) -> list[Problem]:
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
            problems.append(Problem(path, "freeze is given as a whole, too: list up_to:STAGE among its values"))
        else:
            problems += _value_problems(parameter)
    return problems


def _value_problems(parameter: Parameter) -> list[Problem]:
    domain, path = parameter.domain, parameter.path
    if isinstance(domain, Constant):
        tries: list[tuple[KeyPath, Any]] = [((*path, "value"), domain.value)]
    elif isinstance(domain, Numeric):
        if field_type(parameter.name) is int and not domain.integer:
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
                return _describe(entry, value)
    return next(iter(_own_problems(value)), None) if field in ("backbone", "loss") and is_own(value) else None


def _describe(entry: Any, value: Any) -> str:
    if entry["type"] == "literal_error":
        kind, value = ("entry", entry["loc"][-2]) if entry["loc"][-1] == "[key]" else ("value", value)
        known = [word.strip("'") for word in re.findall(r"'[^']+'", entry["ctx"]["expected"])]
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        own = ", or a function of your own, my_task.py:my_loss" if entry["loc"][0] == "loss" else ""
        return f"unknown {kind} {value!r}.{hint} Known: {', '.join(known)}{own}"
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
    return set(SweepSpec.model_fields) - {"space", "notices", "raw", "folder"} | {"parameters"}


def _notices(spec: SweepSpec) -> list[str]:
    notices = []
    if "checkpoint" in spec.space and "fold_best" in finite_values(spec.space["checkpoint"].domain):
        notices.append(
            "checkpoint: fold_best takes the best epoch on the fold it scores: scores are 0.4-0.5 points too good"
        )
    for parameter in spec.space.varying():
        domain = parameter.domain
        real = field_type(parameter.name) is float
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

    given = {} if spec.metric.own is None else {"metric": spec.metric.own}
    impossible, reason = 0, ""
    for _ in range(PROBES):
        try:
            TrainConfig(**nested({**spec.space.resolve(choose), **given}))
        except pydantic.ValidationError as error:
            impossible, reason = impossible + 1, _describe(error.errors()[0], None).removesuffix(", got None")
    return impossible, reason
