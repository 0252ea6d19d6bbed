"""Reads a YAML file into a frozen `SweepSpec`.

If the file has problems, one error lists all problems with their lines.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pydantic

from sweeps.errors import Problem, SpecError
from sweeps.space import language
from sweeps.space.advice import (
    advice,
    metric_problems,
    problems_once_renamed,
    readable_part,
)
from sweeps.space.as_meant import as_meant
from sweeps.space.domains import Categorical, Constant, Numeric
from sweeps.space.fields import describe, field_notices, field_problems, unread_names
from sweeps.space.parameters import Space, Values
from sweeps.space.points import KEY as START_WITH
from sweeps.space.points import read_points
from sweeps.space.sections import (
    OWN,
    known_keys,
    program_of,
    section_problems,
    unknown_key,
    without_unused,
)
from sweeps.space.space_file import SpaceFile
from sweeps.space.spec import SAMPLERS, SweepSpec
from sweeps.space.sweep_names import name_problem
from trainer.config import TrainConfig, nested
from trainer.seeds import derive

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


PROBES = 64  # the number of sampled points that are checked as configurations
FINITE = ("grid", "brute_force")  # the samplers that try every point of the space
# for each sampler, the kinds of parameters that the sampler cannot model and draws independently
ALONE = {
    "cmaes": ("lists of values", "conditions"),
    "gp": ("conditions",),
    "nsgaii": ("conditions",),
}


def read_spec(
    path: Path,
    *,
    settings: Iterable[str] = (),
    text: str | None = None,
    also: Callable[[SweepSpec, list[Problem]], Iterable[Problem]] = lambda spec, problems: (),
) -> SweepSpec:
    """Read and validate a search space file.

    Args:
        settings: `key=value` overrides; keys are dotted from the top, values are YAML.
        text: what stands in for the content of the file, which then need not exist.
        also: finds further problems in what could be read of a file with problems, so that one
            error lists them all. It gets the problems that are known.

    Raises:
        SpecError: the file has problems; the error lists all problems with their lines.
        InputError: the file cannot be read.
    """
    file = SpaceFile(path, settings, text=text)
    raw, notes = as_meant(file.raw, path)
    spec, problems = _validate(raw, path=path)
    if problems:
        readable = None if spec is None else readable_part(spec, problems)
        problems += [] if readable is None else also(readable, problems)
        last = advice(raw, problems, path if text is None else None)
        file.refuse(problems, first=program_of(raw), last=last)
    file.refuse(())
    assert spec is not None
    notices = tuple(filter(None, [program_of(raw), *notes, *spec.notices]))
    return spec.model_copy(update={"notices": notices, "text": text})


def problems_of(file: SpaceFile, path: Path) -> list[Problem]:
    """What `read_spec` finds wrong with a file, with the lines."""
    _, problems = _validate(as_meant(file.raw, path)[0], path=path)
    return sorted(map(file.placed, problems), key=lambda problem: problem.line)


def reread(spec: SweepSpec, raw: dict[str, Any]) -> SweepSpec:
    """The search space with another content of its file.

    Args:
        raw: the content in the form of `SweepSpec.raw`.

    Raises:
        SpecError: the content has problems.
    """
    found, problems = _validate(raw, path=spec.path)
    if problems:
        raise SpecError(str(spec.path), problems)
    assert found is not None
    kept = {"notify": spec.notify, "tracking": spec.tracking, "text": spec.text}
    return found.model_copy(update=kept)


def _validate(raw: dict[str, Any], *, path: Path) -> tuple[SweepSpec | None, list[Problem]]:
    """The search space and its problems.

    A `SweepSpec` beside problems has only what could be read: it lacks the sections with problems,
    and stands for no sweep. It is None if the data could not be read.
    """
    used, notices = without_unused(raw)
    problems = [unknown_key((key,), known_keys()) for key in OWN if used.pop(key, None) is not None]
    given = used.pop("parameters", {})
    space, in_space = language.read_space(given)
    in_space += field_problems(space) + unread_names(given, space) + problems_once_renamed(space)
    points: tuple[Values, ...] = ()
    # a parameter with a problem is not in the space, so its use in a point would look unknown
    if START_WITH in used and not in_space:
        points, in_points = read_points(used[START_WITH], space)
        problems += in_points
    used.pop(START_WITH, None)
    values = {
        "name": path.stem,
        **used,
        "start_with": points,
        "space": space,
        "raw": {key: value for key, value in raw.items() if key != "notify"},
        "path": path,
    }
    spec, in_sections = _sections(values)
    problems += in_sections
    problems += in_space
    problems += _top_problems({"name": path.stem, **used})
    problems += _combined_problems(used, space)
    if spec is None or problems:
        return spec, problems
    notices += [*language.notices(space), *_notices(spec)]
    problems, probe_notices = _probed(spec)
    return spec.model_copy(update={"notices": (*notices, *probe_notices)}), problems


def _sections(values: Mapping[str, Any]) -> tuple[SweepSpec | None, list[Problem]]:
    """The search space of the sections that are right, and the problems of the others.

    A missing or wrong metric is replaced by any metric. Without data there is no search space.
    """
    try:
        return SweepSpec(**values), []
    except pydantic.ValidationError as error:
        wrong = {str(entry["loc"][0]) for entry in error.errors()}
        problems = section_problems(error)
    right = {key: value for key, value in values.items() if key not in wrong}
    if "metric" not in right:
        right["metric"] = {"name": "valid/f1", "goal": "maximize"}
    return (SweepSpec(**right) if right.keys() >= {"data", "name"} else None), problems


def _top_problems(used: Mapping[str, Any]) -> list[Problem]:
    """Problems of the top level for which pydantic has no clear message."""
    name = used.get("name")
    bad_name = name_problem(name) if isinstance(name, str) else None
    problems = [Problem(("name",), bad_name)] if bad_name else []
    metric = used.get("metric")
    if isinstance(metric, Mapping) and isinstance(metric.get("name"), str):
        problems += metric_problems(metric["name"], metric.get("goal"))
    others = used.get("warm_start")
    if name in (
        [others] if isinstance(others, str) else others if isinstance(others, list) else ()
    ):
        problems.append(Problem(("warm_start",), f"{name!r} is this sweep: name other ones"))
    return problems + sampler_problems(used)


def sampler_problems(used: Mapping[str, Any]) -> list[Problem]:
    """The problem of a sampler that does not fit the method, if there is one."""
    method = used.get("method", "bayes")
    sampler = used.get("sampler")
    if (
        not isinstance(method, str)
        or not isinstance(sampler, str)
        or sampler in SAMPLERS.get(method, (sampler,))
    ):
        return []
    fitting = " or ".join(other for other, samplers in SAMPLERS.items() if sampler in samplers)
    if not fitting:  # an unknown sampler, which pydantic reports
        return []
    allowed = ", ".join(SAMPLERS[method])
    text = (
        f"{sampler!r} does not fit method: {method}. Allowed: {allowed}; "
        f"{sampler} goes with method: {fitting}"
    )
    return [Problem(("sampler",), text)]


def _combined_problems(used: Mapping[str, Any], space: Space) -> list[Problem]:
    """Problems that several sections of the file cause together."""
    problems = []
    resize = space["resize"].domain if "resize" in space else Constant(0)
    if isinstance(resize, Numeric) and not resize.integer:
        problems.append(
            Problem(
                ("parameters", "resize"),
                "needs values, not a continuous range: each size is decoded once",
            )
        )
    search = search_of(used)
    if search in FINITE:
        problems += grid_problems(space, search)
    else:
        problems += _end_problems(used)
    return problems + _comparison_problems(used.get("metric"), space)


def search_of(used: Mapping[str, Any]) -> Any:
    """The sampler of a file, with the same rule as `SweepSpec.search`.

    The file may be invalid. Then the result may be any value, or None.
    """
    method = used.get("method", "bayes")
    default = SAMPLERS[method][0] if isinstance(method, str) and method in SAMPLERS else None
    return used.get("sampler") or default


def grid_problems(space: Space, search: str) -> list[Problem]:
    """One problem for each continuous parameter, because a grid cannot try all its values."""
    return [
        Problem(
            p.path,
            f"a {search.replace('_', ' ')} needs values or a step (q_uniform with q), "
            "not a continuous range",
        )
        for p in space.varying()
        if isinstance(p.domain, Numeric) and not p.domain.stepped
    ]


def _end_problems(used: Mapping[str, Any]) -> list[Problem]:
    """The problem of a sweep that may never end, if there is one.

    A target score is not an end, because no trial may reach the target.
    """
    budget, resources, metric = (
        section if isinstance(section := used.get(name), Mapping) else {}
        for name in ("budget", "resources", "metric")
    )
    if used.get("run_cap") is not None or budget.get("hours") is not None:
        return []
    if budget.get("gpu_hours") is not None:
        if resources.get("gpu") == 0:
            return [
                Problem(
                    ("budget", "gpu_hours"),
                    "is no end without a GPU (resources.gpu: 0): give run_cap or hours",
                )
            ]
        return []
    target = (
        "; metric.target is none, it may never be reached"
        if metric.get("target") is not None
        else ""
    )
    text = (
        "give run_cap (a number of trials) or budget: {hours: ...} or {gpu_hours: ...}; "
        "only a grid needs neither"
    )
    return [Problem((), f"no end: {text}{target}")]


def _comparison_problems(metric: Any, space: Space) -> list[Problem]:
    """Problems of settings that give the scores of different trials a different meaning."""
    problems = []
    if isinstance(metric, Mapping) and metric.get("name") == "valid/loss":
        # a constant with a condition varies, too: a trial without the constant has the default
        varying = [p for p in space.parameters if p.when or not isinstance(p.domain, Constant)]
        changing_loss = [p for p in varying if p.name.partition(".")[0] in LOSS_FIELDS]
        problems += [
            Problem(
                p.path,
                f"valid/loss is each trial's own loss, which {p.name} changes: "
                "use metric valid/log_loss",
            )
            for p in changing_loss
        ]
    if "checkpoint" in space:
        parameter = space["checkpoint"]
        chosen = (
            set(space.values_of("checkpoint"))
            if not isinstance(parameter.domain, Numeric)
            else set()
        )
        # a trial whose conditions exclude `checkpoint` has the default, last
        chosen |= {"last"} if parameter.when else set()
        if "fold_best" in chosen and len(chosen) > 1:
            text = (
                "fold_best scores are 0.4-0.5 points too good and cannot be compared with others: "
                "give one value"
            )
            problems.append(Problem(parameter.path, text))
    return problems


def _notices(spec: SweepSpec) -> list[str]:
    """Notices about settings that are allowed but may not be intended."""
    notices = field_notices(spec.space)
    if "fold_best" in spec.space.values_of("checkpoint"):
        notices.append(
            "checkpoint: fold_best takes the best epoch on the fold it scores: "
            "scores are 0.4-0.5 points too good"
        )
    rule = spec.early_terminate.type
    raced = spec.folds.race_rule is not None
    if not spec.folds_comparable and (raced or rule == "wilcoxon"):
        notices.append(
            "checkpoint: best scores all folds by one epoch that is chosen at the end, so the fold "
            "race (and wilcoxon) cannot compare a running trial: they are off"
        )
    elif rule != "none" and raced:
        notices.append(
            f"early_terminate ({rule}) together with the fold race costs ensemble candidates: "
            "in a simulation it lost the best trial in 12-14 % of sweeps; "
            "leave it out, or set folds.race: false"
        )
    alone = [
        parameter.name
        for parameter in spec.space.varying()
        for reason in ALONE.get(spec.search, ())
        if (
            isinstance(parameter.domain, Categorical)
            if reason == "lists of values"
            else parameter.when
        )
    ]
    if alone:
        reasons = " and ".join(ALONE[spec.search])
        names = ", ".join(dict.fromkeys(alone))
        notices.append(
            f"sampler {spec.search} does not model {reasons}: "
            f"drawn at random by themselves: {names}"
        )
    return notices


def _probed(spec: SweepSpec) -> tuple[list[Problem], list[str]]:
    """Problems and notices from sampled points that are not valid configurations.

    PROBES points of the space are sampled, and PROBES completions of each point of `start_with`.
    """
    problems = []
    notices = []
    invalid, reason = _invalid_points(spec, {}, PROBES)
    if invalid == PROBES:
        problems.append(
            Problem(("parameters",), f"no sampled point is a valid configuration: {reason}")
        )
    elif invalid:
        notices.append(
            f"about {100 * invalid // PROBES} % of the sampled points will fail: {reason}"
        )
    for index, point in enumerate(spec.start_with if not problems else ()):
        invalid, reason = _invalid_points(spec, point, PROBES)
        if invalid == PROBES:
            problems.append(Problem((START_WITH, index), f"is no valid configuration: {reason}"))
    return problems, notices


def _invalid_points(spec: SweepSpec, point: Values, count: int) -> tuple[int, str]:
    """Sample `count` points that have the values of `point`, and check each as a configuration.

    Returns:
        The number of invalid points, and the reason of the last invalid point.
    """
    rng = random.Random(derive(spec.seed, "probe"))
    given = {} if spec.metric.user_function is None else {"metric": spec.metric.user_function}
    invalid = 0
    reason = ""
    for _ in range(count):
        values = spec.space.resolve(
            lambda p: point[p.name] if p.name in point else p.domain.draw(rng.random())
        )
        try:
            TrainConfig(**nested({**values, **given}))
        except pydantic.ValidationError as error:
            invalid += 1
            reason = describe(error.errors()[0], None).removesuffix(", got null")
    return invalid, reason
