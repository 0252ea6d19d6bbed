"""Names of backbones that timm has given up, in the words of the installed timm.

Public code and W&B sweeps name models as timm did when they were written. Other spellings of a name
are read before, by `sweeps.space.as_meant`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.space.points import KEY as START_WITH
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import reread
from trainer.fields.declare import is_user_function
from trainer.model.timm_names import canonical_backbone

BACKBONE = "backbone"


def in_timms_words(spec: SweepSpec) -> SweepSpec:
    """The search space with the names of the installed timm; a notice tells each other name.

    Raises:
        SpecError: with these names, the search space is not valid any more.
    """
    changed = {
        value: known
        for value in spec.space.values_of(BACKBONE)
        if (known := known_name(BACKBONE, value)) != value
    }
    if not changed:
        return spec
    found = reread(spec, renamed(spec.raw))
    notices = [
        f"{BACKBONE} {value} is called {known} in the installed timm"
        for value, known in changed.items()
    ]
    told = dict.fromkeys((*spec.notices, *found.notices, *notices))
    return found.model_copy(update={"notices": tuple(told)})


def renamed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a search space file with the names of the installed timm."""
    result = dict(raw)
    parameters = raw.get("parameters")
    if isinstance(parameters, Mapping):
        result["parameters"] = {
            name: _with_known_conditions(_with_known_values(name, entry))
            for name, entry in parameters.items()
        }
    points = raw.get(START_WITH)
    if isinstance(points, Sequence):
        result[START_WITH] = [_each_known(point) for point in points]
    return result


def _with_known_values(name: str, entry: Any) -> Any:
    """The entry of one parameter. Names that become equal become one, with all its probability."""
    if name != BACKBONE or not isinstance(entry, Mapping):
        return entry
    result = dict(entry)
    if "value" in entry:
        result["value"] = known_name(name, entry["value"])
    values = entry.get("values")
    if isinstance(values, list):
        known = [known_name(name, value) for value in values]
        if known != values and all(isinstance(value, str) for value in known):
            result["values"] = list(dict.fromkeys(known))
            shares = entry.get("probabilities")
            if isinstance(shares, list) and len(shares) == len(known):
                result["probabilities"] = [
                    sum(share for each, share in zip(known, shares, strict=True) if each == value)
                    for value in result["values"]
                ]
    return result


def _with_known_conditions(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    result = dict(entry)
    if isinstance(entry.get("when"), Mapping):
        result["when"] = _each_known(entry["when"])
    if isinstance(entry.get("parameters"), Mapping):
        result["parameters"] = {
            name: _with_known_conditions(inner) for name, inner in entry["parameters"].items()
        }
    return result


def _each_known(values: Any) -> Any:
    """A mapping of parameters to one value, or to a list of values."""
    if not isinstance(values, Mapping):
        return values
    return {
        name: [known_name(name, each) for each in value]
        if isinstance(value, list)
        else known_name(name, value)
        for name, value in values.items()
    }


def known_name(name: str, value: Any) -> Any:
    """The value of a parameter; a backbone in the words of the installed timm."""
    if name != BACKBONE or not isinstance(value, str) or is_user_function(value):
        return value
    return canonical_backbone(value)
