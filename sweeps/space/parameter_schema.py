"""The part of the JSON schema about `parameters`: every field of `TrainConfig` in W&B's language.

The fields, their types and bounds come from `TrainConfig`, the other spellings of a value from
`as_meant`, and the keys of a distribution from `kinds`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sweeps.space.as_meant import MARKS, SIZE, choices_of, pattern_of, words_for
from sweeps.space.fields import parameter_names
from sweeps.space.kinds import DEFAULTS, DEPRECATED, DISTRIBUTIONS, NUMERIC, SUM_TOLERANCE
from trainer.fields.images import MAX_SIDE, MIN_SIDE
from trainer.fields.network import UP_TO, WEIGHT_FILES
from trainer.parameters import code

Schema = dict[str, Any]
STAGE = UP_TO.removesuffix(":")  # the key of a stage in a mapping
NUMBER: Schema = {"type": "number"}
ABOVE_ZERO: Schema = {"type": "number", "exclusiveMinimum": 0}
NULL: Schema = {"type": "null"}
CONSTANT = "A constant."
SEVERAL = "The values to choose from."
# the other keys of W&B's language for one parameter: what each means, and what it may be
KEYS: dict[str, tuple[str, Schema]] = {
    "probabilities": (
        "The probability of each of the values; their sum is 1.",
        {
            "type": ["array", "null"],
            "items": {"type": "number", "minimum": 0, "maximum": 1 + SUM_TOLERANCE},
        },
    ),
    "min": ("The lower bound.", NUMBER),
    "max": ("The upper bound.", NUMBER),
    "q": ("The distance between two steps.", ABOVE_ZERO),
    "mu": ("The mean, of a log normal law that of the logarithm.", NUMBER),
    "sigma": ("The standard deviation, likewise.", ABOVE_ZERO),
    "a": ("The first parameter of the beta law.", ABOVE_ZERO),
    "b": ("The second parameter of the beta law.", ABOVE_ZERO),
}
WHEN = (
    "The parameter is sampled only if other parameters have these values, e.g. "
    "{optimizer: [sgd, madgrad]}."
)
NAMED = "W&B's name of the distribution; left out, it follows from value, values, or min and max."
# distributions whose min and max are values of the parameter
_BETWEEN = tuple(
    kind
    for kind, build in NUMERIC.items()
    if "min" in DISTRIBUTIONS[kind].needs
    and kind not in DEPRECATED
    and build({**DEFAULTS, "min": 1, "max": 2}).law is None
)
OF_CHOICES = "-of-choices"  # in the names of definitions for fields that take no numbers
_OF_CHOICES = tuple(kind for kind in DISTRIBUTIONS if kind not in NUMERIC)


def parameters_schema(fields: Mapping[str, Schema]) -> tuple[Schema, dict[str, Schema]]:
    """The schema of `parameters`, and the definitions that it refers to.

    Args:
        fields: the schema of each field of `TrainConfig`, as pydantic makes it.
    """
    definitions = {"when": _when(fields), "point": _point(fields), **_of_language()}
    definitions |= {name: _values(name, fields[name]) for name in parameter_names()}
    properties = {name: _leaf(name, fields[name], definitions[name]) for name in parameter_names()}
    patterns: dict[str, Schema] = {}
    for name, keys in _mappings(fields):
        inner, entry = f"{name}.entry", f"entry-of-{name}"
        definitions[inner] = _values(inner, _inner(fields[name]))
        below = _leaf(inner, fields[name], definitions[inner])
        # where all names are known, they have no dots, so they are not nested more deeply
        definitions[entry] = below if keys else _nested(below, entry, keys)
        properties[name] = _nested(properties[name], entry, keys)
        patterns[f"^{name}\\.{_either(keys)}$"] = _ref(entry)
    return {
        "description": "What a trial varies or fixes. What is not named keeps its default.",
        "type": "object",
        "minProperties": 1,
        "properties": properties,
        "patternProperties": patterns,
        "additionalProperties": False,
    }, definitions


def _of_language() -> dict[str, Schema]:
    """The definitions of W&B's language that are the same for every parameter."""
    found: dict[str, Schema] = {
        "between": {"properties": {"distribution": {"enum": [*_BETWEEN, None]}}}
    }
    for key, (meaning, schema) in KEYS.items():
        default = f" Default: {DEFAULTS[key]:g}." if key in DEFAULTS else ""
        found[f"key-{key}"] = {"description": meaning + default, **schema}
    for kinds, of in ((tuple(DISTRIBUTIONS), ""), (_OF_CHOICES, OF_CHOICES)):
        found[f"keys{of}"] = _keys(kinds)
        found[f"distribution{of}"] = {"description": NAMED, "enum": [*kinds, None]}
    return found


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


def _mappings(fields: Mapping[str, Schema]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The fields whose entries have names of their own, with all these names if they are known."""
    for name in parameter_names():
        if fields[name].get("type") == "object":
            yield name, tuple(fields[name].get("propertyNames", {}).get("enum", ()))
    yield "freeze", (STAGE,)


def _inner(field: Schema) -> Schema:
    """The schema of one entry of a mapping; of a stage in `freeze`, the network decides."""
    return dict(field.get("additionalProperties", {}))


def _either(keys: tuple[str, ...]) -> str:
    return f"({'|'.join(map(re.escape, keys))})" if keys else ".+"


def _values(name: str, field: Schema) -> Schema:
    """What the value of a field may be in a file, other spellings included.

    Args:
        name: the name of the field, or `mapping.entry` for an entry of a mapping.
    """
    kept = {
        key: value
        for key, value in field.items()
        if key not in ("description", "default", "title", "source")
    }
    # of a mapping, the words are those of its entries
    choices = () if kept.get("type") == "object" else choices_of(name)
    words = words_for(name) if choices else ()
    others = list(_OTHERS.get(name, ()))
    switches = [value for word, value in _SWITCHES.items() if word in words]
    if switches:
        others.append({"enum": switches})
    if not choices:
        return {"anyOf": others} if others else kept
    own = [each for each in kept.get("anyOf", [kept]) if "enum" not in each and "const" not in each]
    spelt = {"type": "string", "pattern": pattern_of(words, marks=MARKS)}
    listed = [{"enum": list(choices)}, spelt]
    return {"anyOf": [*listed, *(own if name not in _OTHERS else ()), *others]}


# values that YAML does not read as text -> the word that they are taken for
_SWITCHES = {"true": True, "false": False, "none": None}
# values of fields whose type in `TrainConfig` says less than their validator
_OTHERS: dict[str, list[Schema]] = {
    "resize": [
        {"type": "integer", "minimum": MIN_SIDE, "maximum": MAX_SIDE},
        {"type": "string", "pattern": rf"^\s*(\d+|{SIZE})\s*$"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
    ],
    "weights": [
        # the home folder and variables stand for what only the machine knows
        {"type": "string", "pattern": f"([~$]|{_either(WEIGHT_FILES)}$)"},
    ],
    "freeze": [
        {"type": "string", "pattern": f"^{UP_TO}."},
        {
            "type": "object",
            "properties": {STAGE: {}},
            "required": [STAGE],
            "additionalProperties": False,
        },
    ],
}


def _leaf(name: str, field: Schema, values: Schema) -> Schema:
    """One parameter: a constant, a list of values or a range."""
    alternatives = values.get("anyOf", [values])
    numeric = any(kind.get("type") in ("integer", "number") or not kind for kind in alternatives)
    kinds, of = (tuple(DISTRIBUTIONS), "") if numeric else (_OF_CHOICES, OF_CHOICES)
    allowed = [key for key in KEYS if any(key in _keys_of(kind) for kind in kinds)]
    properties = {key: _ref(f"key-{key}") for key in allowed}
    properties["value"] = {"description": CONSTANT, "anyOf": [_ref(name)]}
    properties["values"] = {
        "description": SEVERAL,
        "type": "array",
        "minItems": 1,
        "items": _ref(name),
    }
    properties["distribution"] = _ref(f"distribution{of}")
    properties["when"] = _ref("when")
    rules = [_ref(f"keys{of}")]
    if numeric:
        bounds = {"properties": {"min": _ref(name), "max": _ref(name)}}
        rules.append({"if": _ref("between"), "then": bounds})
    return {
        **_described(field),
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "allOf": rules,
    }


def _described(field: Schema) -> Schema:
    """The description of a field with its default and source."""
    text = f"{field['description']} Default: {code(field.get('default')).strip('`')}."
    if "source" in field:
        text += f" Source: {field['source']}."
    return {"description": text}


def _nested(leaf: Schema, entry: str, keys: tuple[str, ...]) -> Schema:
    """A parameter, or a mapping of W&B's nested parameters.

    Args:
        entry: the definition of what the mapping has.
        keys: the names in the mapping, if all are known.
    """
    below = {"type": "object", "minProperties": 1, "additionalProperties": _ref(entry)}
    named = {"propertyNames": {"enum": list(keys)}} if keys else {}
    group = {
        "properties": {"parameters": {**below, **named}, "when": _ref("when")},
        "additionalProperties": False,
    }
    described = {"description": leaf["description"], "type": "object"}
    return {**described, "if": {"required": ["parameters"]}, "then": group, "else": leaf}


def _keys_of(kind: str) -> tuple[str, ...]:
    return (*DISTRIBUTIONS[kind].needs, *DISTRIBUTIONS[kind].takes)


def _keys(kinds: tuple[str, ...]) -> Schema:
    """Which keys go with which distribution, and with none."""
    numeric = any(kind in NUMERIC for kind in kinds)
    unnamed: Schema = {
        "if": {"required": ["value"]},
        "then": _only("constant"),
        "else": {
            "if": {"required": ["values"]},
            "then": _only("categorical"),
            "else": _only("uniform") if numeric else {"required": ["values"]},
        },
    }
    named = [{"if": given("distribution", {"const": kind}), "then": _only(kind)} for kind in kinds]
    return {
        "allOf": [
            *named,
            {"if": {"properties": {"distribution": NULL}}, "then": unnamed},
        ]
    }


def given(key: str, values: Schema) -> Schema:
    """The condition that a key is there with one of some values.

    It is no `required`, because editors would propose the key once for each such condition.
    """
    return {"not": {"properties": {key: {"not": values}}}}


def _only(kind: str) -> Schema:
    """The keys that a distribution needs, and no others than those it takes."""
    names = [*_keys_of(kind), "distribution", "when"]
    return {"required": list(DISTRIBUTIONS[kind].needs), "propertyNames": {"enum": names}}


def _when(fields: Mapping[str, Schema]) -> Schema:
    """The conditions of a parameter: for other parameters, a value or several."""
    several = {
        name: {"anyOf": [_ref(name), {"type": "array", "minItems": 1, "items": _ref(name)}]}
        for name in parameter_names()
    }
    return {
        "description": WHEN,
        "type": ["object", "null"],
        "minProperties": 1,
        **_of_parameters(fields, several),
    }


def _point(fields: Mapping[str, Schema]) -> Schema:
    """A point of `start_with`: values of some parameters."""
    values = {name: _ref(name) for name in parameter_names()}
    # the names of entries may be nested to any depth
    values |= {name: {"type": ["object", "string"]} for name, _ in _mappings(fields)}
    return {"type": "object", "minProperties": 1, **_of_parameters(fields, values)}


def _of_parameters(fields: Mapping[str, Schema], properties: Mapping[str, Schema]) -> Schema:
    """The keys of a mapping whose keys are names of parameters."""
    dotted = "|".join(name for name, _ in _mappings(fields))
    return {
        "properties": dict(properties),
        "patternProperties": {rf"^({dotted})\..+": {}},
        "additionalProperties": False,
    }
