"""Finds mistakes in the sections of a search space file.

This file knows the keys of each section, and turns each error of pydantic into a message for the
user.
"""

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from sweeps.errors import KeyPath, Problem, did_you_mean
from sweeps.space.fields import describe
from sweeps.space.kinds import shown
from sweeps.space.spec import METRIC_NAMES, Budget, Folds, Metric, Notify, Resources, SweepSpec
from sweeps.space.stopping import RULES, Race
from sweeps.space.synonyms import top_key_of
from sweeps.space.tracking import MlflowOptions, Tracking, WandbOptions
from trainer.data.options import DataOptions

# keys of W&B that have no meaning for us; a file with such keys is still a valid search space
UNUSED_KEYS = (
    "program",
    "command",
    "controller",
    "project",
    "entity",
    "launch",
    "imports",
    "display_name",
    "scheduler",
    "job",
    "image_uri",
    "apiVersion",
    "kind",
)
PROGRAM_KEYS = ("program", "command")
GUIDE = "docs/from-wandb.md"
UNUSED_METRIC_KEYS = ("impute", "impute_while_running")
OWN = ("space", "notices", "raw", "path", "text")  # fields of SweepSpec, but no keys of a file
NULL_IS_MEANT = ("stuck_after",)  # keys whose null is not the same as to leave them out
_NEEDED = {
    "metric": "Write metric: {name: valid/f1, goal: maximize}; "
    f"known names: {', '.join(METRIC_NAMES)}",
    "metric.name": f"Known: {', '.join(METRIC_NAMES)}",
    "metric.goal": "Write goal: maximize or goal: minimize (W&B's silent default would minimise)",
    "data": "Write data: {source: images.csv} "
    "or data: {source: folder-with-one-sub-folder-per-class}",
    "data.source": "A CSV or Parquet file, or a folder with one sub-folder per class",
    "early_terminate": "Write early_terminate: {type: hyperband, min_iter: 3}",
}
_ALLOWED = {
    "resources.cpu": "expected a number of CPUs above 0, or auto",
    "folds.race": f"expected true, false, or a mapping with {', '.join(sorted(Race.model_fields))}",
}
# sections whose values are secrets; no message shows them
_SECRET = {"notify": "expected a mapping with webhook, the URL of a webhook"}
_HINTS = {"resources.gpu": "one trial trains on one GPU, or on a share of it such as 0.5"}
_SECTIONS: dict[str, type[BaseModel]] = {
    "metric": Metric,
    "data": DataOptions,
    "folds": Folds,
    "folds.race": Race,
    "resources": Resources,
    "budget": Budget,
    "notify": Notify,
    "tracking": Tracking,
    "tracking.wandb": WandbOptions,
    "tracking.mlflow": MlflowOptions,
}


def known_keys() -> set[str]:
    """The keys that a search space file may have at the top level."""
    return set(SweepSpec.model_fields) - set(OWN) | {"parameters"}


def is_foreign(key: str) -> bool:
    """Whether a key of the top level is none of ours or of W&B's, nor like one of ours.

    W&B runs files with such keys; it only warns of them.
    """
    known = known_keys()
    ours = key in known or top_key_of(key) is not None or did_you_mean(key, known)
    return not ours and key not in UNUSED_KEYS


def without_unused(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The content of a file without the unused keys of W&B, and a notice that names these keys.

    `program_of` has the sentence about the program and the command.
    A known key with the value null is left out, too, as if the file did not have the key, except
    for the keys of `NULL_IS_MEANT`.
    """
    known = known_keys() - set(NULL_IS_MEANT)
    used = {
        k: value
        for k, value in raw.items()
        if k not in UNUSED_KEYS and (value is not None or k not in known)
    }
    unused = [key for key in raw if key in UNUSED_KEYS and key not in PROGRAM_KEYS]
    metric = used.get("metric")
    if isinstance(metric, Mapping):
        used["metric"] = {
            key: value for key, value in metric.items() if key not in UNUSED_METRIC_KEYS
        }
        unused += [f"metric.{key}" for key in metric if key in UNUSED_METRIC_KEYS]
    return used, [f"not used here: {', '.join(unused)}"] if unused else []


def program_of(raw: Mapping[str, Any]) -> str:
    """The sentence about the program that a file of W&B calls; empty if it names none.

    Example:
        >>> program_of({"program": "train.py"})
        'train.py is not called: foldsweep trains timm models itself (docs/from-wandb.md)'
    """
    if all(raw.get(key) is None for key in PROGRAM_KEYS):
        return ""
    command = raw.get("command")
    words = map(str, command) if isinstance(command, list) else ()
    scripts = [word for word in words if word.endswith(".py")]
    program = raw.get("program") or next(iter(scripts), "the command")
    fixed = [name if text is None else f"{name} {text}" for name, text in arguments_of(command)]
    without = f"; so its arguments have no effect: {', '.join(fixed)}" if fixed else ""
    return f"{program} is not called: foldsweep trains timm models itself ({GUIDE}){without}"


def arguments_of(command: Any) -> list[tuple[str, str | None]]:
    """The arguments that a command of W&B gives in every trial, with their values.

    Example:
        >>> arguments_of(["python", "${program}", "--lr", 0.1, "--amp", "--opt=sgd", "${args}"])
        [('lr', '0.1'), ('amp', None), ('opt', 'sgd')]
    """
    words = list(map(str, command)) if isinstance(command, list) else []
    found: list[tuple[str, str | None]] = []
    for word, after in itertools.zip_longest(words, words[1:], fillvalue="-"):
        match = re.fullmatch(r"--([A-Za-z][\w.-]*)(?:=(.*))?", word)
        if match is not None:
            alone = after.startswith(("-", "$"))
            found.append((match[1], match[2] if "=" in word else None if alone else after))
    return found


def unknown_key(path: KeyPath, known: Iterable[str]) -> Problem:
    """The problem of a key that its section does not have."""
    instead = top_key_of(str(path[0])) if len(path) == 1 else None
    hint = f" {instead}." if instead else did_you_mean(str(path[-1]), known)
    return Problem(path, f"unknown key.{hint} Allowed here: {', '.join(sorted(known))}")


def section_problems(error: ValidationError) -> list[Problem]:
    """The errors of pydantic as problems, each problem once and at its key in the file."""
    problems = [_problem(entry) for entry in error.errors()]
    return list(dict.fromkeys(problem for problem in problems if problem is not None))


def _problem(entry: Any) -> Problem | None:
    """One error of pydantic as a problem, or None if another error covers the same mistake."""
    path, rule = _path_in_file(tuple(entry["loc"]))
    name = ".".join(map(str, path))
    value = entry["input"]
    if name in _ALLOWED:
        # pydantic gives one error per type that the key may have; of a mapping, only the errors of
        # the keys inside are useful
        return (
            None
            if name in _SECTIONS and isinstance(value, Mapping)
            else Problem(path, f"{_ALLOWED[name]}, got {shown(value)}")
        )
    if entry["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return _type_problem(path, value)
    if entry["type"] == "extra_forbidden":
        return unknown_key(path, _keys(path[:-1], rule))
    if path[0] in _SECRET:
        return Problem(path, f"{_SECRET[str(path[0])]} (it is a secret and not shown)")
    if entry["type"] == "missing":
        return Problem(path, f"missing. {_NEEDED.get(name, 'It is required')}")
    if entry["type"] in ("model_type", "model_attributes_type", "dict_type"):
        text = f"expected a mapping with {', '.join(sorted(_keys(path, rule)))}, got {shown(value)}"
        return Problem(path, text + (f". {_NEEDED[name]}" if name in _NEEDED else ""))
    hint = f": {_HINTS[name]}" if name in _HINTS else ""
    return Problem(path, describe(entry, value) + hint)


def _path_in_file(loc: KeyPath) -> tuple[KeyPath, str | None]:
    """The place in the file that pydantic calls `loc`, and the stopping rule of that place.

    If a key may have several types, pydantic puts the type into `loc`. The place in the file has no
    type. The rule is the `type` of `early_terminate`, or None outside that section.
    """
    if loc[0] == "early_terminate" and len(loc) > 1:
        return (loc[0], *loc[2:]), str(loc[1])
    if loc[:2] in (("resources", "cpu"), ("folds", "race")):
        return (*loc[:2], *loc[3:]), None
    return loc, None


def _type_problem(path: KeyPath, value: Mapping[str, Any]) -> Problem:
    """The problem of a stopping rule whose `type` is missing or unknown."""
    known = ", ".join(RULES)
    type_path = (*path, "type")
    if "type" not in value:
        return Problem(type_path, f"missing. Known: {known}")
    hint = did_you_mean(str(value["type"]), RULES)
    return Problem(type_path, f"unknown value {shown(value['type'])}.{hint} Known: {known}")


def _keys(path: KeyPath, rule: str | None) -> set[str]:
    """The keys that the section at `path` may have."""
    if not path:
        return known_keys()
    if path[0] == "early_terminate":
        return set(RULES[rule].model_fields) if rule else {"type"}
    return set(_SECTIONS[".".join(map(str, path))].model_fields)
