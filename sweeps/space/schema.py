"""The JSON schema of a search space: what an editor knows of the file while somebody writes it.

It is generated from what reads a file: the sections of `SweepSpec`, the fields of `TrainConfig` and
W&B's language. The reader is the authority: the schema takes all that the reader takes, and more,
because it cannot say how values must fit together. It is of draft 7, which editors know best.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_jsonable_python

from sweeps.space.as_meant import LOWER, pattern_of
from sweeps.space.parameter_schema import NULL, Schema, given, parameters_schema
from sweeps.space.points import KEY as START_WITH
from sweeps.space.sections import GUIDE, OWN, PROGRAM_KEYS, UNUSED_KEYS, UNUSED_METRIC_KEYS
from sweeps.space.spec import METRIC_NAMES, SAMPLERS, SweepSpec
from sweeps.space.spec_reader import FINITE
from sweeps.space.stopping import RULES
from trainer.config import TrainConfig
from trainer.fields.declare import USER_FUNCTION
from trainer.files import atomic_write

FILE_NAME = ".foldsweep.schema.json"  # beside the search spaces that use it
# the line with which a file names its schema, for VS Code, PyCharm and others; where the schema is
# not there, an editor says so, and everything else takes the line for the comment that it is
HEADER = f"# yaml-language-server: $schema={FILE_NAME}"
_ANY_HEADER = re.compile(r"^# *yaml-language-server: *\$schema=.*\n", re.MULTILINE)
REQUIRED = ("metric", "data", "parameters")  # a name is that of the file
UNUSED = "A key of W&B that has no effect here."
NOT_CALLED = f"W&B's: it is not called, foldsweep trains timm models itself ({GUIDE})."
# in the schemas of pydantic, what says nothing to somebody who writes a file
_LEFT_OUT = ("description", "title", "discriminator", "writeOnly")
_HEADING = re.compile(r"^(Attributes|Examples?|Raises|Source):$", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^    (\w+(?:, \w+)*): ((?:.+\n?)(?: {8}.+\n?)*)", re.MULTILINE)


class _Generator(GenerateJsonSchema):
    """Pydantic's schemas, with defaults as they are: the models themselves check them."""

    def encode_default(self, dft: Any) -> Any:
        return to_jsonable_python(dft)


def schema_text() -> str:
    """The whole schema, as the text of a file."""
    return json.dumps(space_schema(), indent=1, ensure_ascii=False) + "\n"


def write_schema(path: Path) -> None:
    """Write the schema to a file, in a folder that exists."""
    with atomic_write(path) as file:
        file.write(schema_text().encode())


def with_header(text: str) -> str:
    """The text of a search space that names our schema, and no other."""
    return f"{HEADER}\n{_ANY_HEADER.sub('', text)}"


def space_schema() -> Schema:
    """The schema of a search space file."""
    found = SweepSpec.model_json_schema(schema_generator=_Generator)
    parts = found["$defs"]
    fields = TrainConfig.model_json_schema(schema_generator=_Generator)["properties"]
    parameters, definitions = parameters_schema(
        {name: _cleaned(field, {}) for name, field in fields.items() if "$ref" not in field}
    )
    described = _attributes(str(found["description"]))
    top = {
        name: _cleaned({"description": described.get(name), **section}, parts)
        for name, section in found["properties"].items()
        if name not in OWN
    }
    top["early_terminate"] = _early_terminate(parts)
    top[START_WITH] |= {"items": {"$ref": "#/definitions/point"}}
    _complete_metric(top["metric"])
    for section, key in LOWER:
        if section != "early_terminate":
            holder = top[section]["properties"] if key else top
            holder[key or section] = _in_any_case(holder[key or section])
    optional = {name: _or_null(top[name]) for name in top if name not in REQUIRED}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": "Written by `sweeps schema`; docs/search-spaces.md explains the file.",
        "description": "A search space of foldsweep.",
        "type": "object",
        "properties": {**top, **optional, "parameters": parameters, **_unused()},
        "additionalProperties": False,
        "required": list(REQUIRED),
        **_has_an_end(),
        "definitions": definitions,
    }


def _cleaned(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> Schema:
    """A schema of pydantic without references, with the words of its docstring, of draft 7."""
    place = str(schema.get("description") or "")
    if "$ref" in schema:
        schema = parts[schema["$ref"].rpartition("/")[2]]
    docstring = str(schema.get("description") or "")
    kept = {key: value for key, value in schema.items() if key not in _LEFT_OUT}
    if kept.get("default") is None:
        kept.pop("default", None)
    if "enum" in kept or "const" in kept:  # which say it all
        kept.pop("type", None)
    if "properties" in kept:
        described = _attributes(docstring)
        kept["properties"] = {
            name: _cleaned({"description": described.get(name), **each}, parts)
            for name, each in kept["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), dict):
            kept[key] = _cleaned(kept[key], parts)
    if "prefixItems" in kept:  # draft 7 has another name for it
        kept["items"] = [_cleaned(each, parts) for each in kept.pop("prefixItems")]
    if "anyOf" in kept:
        kept["anyOf"] = [_cleaned(each, parts) for each in kept["anyOf"]]
        sections = [each["description"] for each in kept["anyOf"] if "properties" in each]
        docstring = docstring or "".join(sections)
    summary = _summary(place or docstring)
    return {"description": summary, **kept} if summary else kept


def _summary(docstring: str) -> str:
    """The first part of a docstring, each paragraph on one line, in the words of YAML."""
    paragraphs = _HEADING.split(docstring)[0].strip().split("\n\n")
    return _as_yaml("\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs))


def _attributes(docstring: str) -> dict[str, str]:
    """The descriptions of the section `Attributes` of a docstring.

    Example:
        >>> _attributes("Ends.\\n\\nAttributes:\\n    low, high: the ends;\\n        or None.")
        {'low': 'The ends; or null.', 'high': 'The ends; or null.'}
    """
    _, _, after = docstring.partition("Attributes:\n")
    section = _HEADING.split(after)[0]
    described = {}
    for names, text in _ATTRIBUTE.findall(section):
        sentence = " ".join(text.split())
        for name in names.split(", "):
            described[name] = _as_yaml(f"{sentence[0].upper()}{sentence[1:]}")
    return described


def _as_yaml(text: str) -> str:
    return re.sub(r"\bNone\b", "null", text)


def _early_terminate(parts: Mapping[str, Any]) -> Schema:
    """The rule that stops trials: its type says which other keys there are."""
    rules = {name: _cleaned(parts[model.__name__], parts) for name, model in RULES.items()}
    kind = _in_any_case({"enum": list(RULES)})
    kind["anyOf"][0]["enumDescriptions"] = [rule["description"] for rule in rules.values()]
    return {
        "description": "The rule that stops a trial between the ends of two folds.",
        "type": "object",
        "properties": {"type": {"description": "Which rule.", **kind}},
        "required": ["type"],
        "allOf": [
            {
                "if": given("type", {"type": "string", "pattern": pattern_of([name])}),
                "then": {**rule, "properties": {**rule["properties"], "type": {"type": "string"}}},
            }
            for name, rule in rules.items()
        ],
    }


def _complete_metric(metric: Schema) -> None:
    """Add what the reader knows of a metric besides its types."""
    of_users = {"type": "string", "pattern": USER_FUNCTION}
    name = metric["properties"]["name"]
    name.pop("type")
    name["anyOf"] = [{"enum": list(METRIC_NAMES)}, of_users]
    metric["properties"] |= {key: {"description": UNUSED} for key in UNUSED_METRIC_KEYS}


def _in_any_case(schema: Schema) -> Schema:
    """The schema of a word that may have capital letters."""
    described: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    kinds = schema.get("anyOf", [schema])
    words = next(kind["enum"] for kind in kinds if "enum" in kind)
    others = [kind for kind in kinds if "enum" not in kind]
    spelt = {"type": "string", "pattern": pattern_of(words)}
    return {**described, "anyOf": [{"enum": words}, spelt, *others]}


def _or_null(schema: Schema) -> Schema:
    """The schema of a key of the top level: null is as if the file did not have the key."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [*(e for e in schema["anyOf"] if e != NULL), NULL]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def _unused() -> dict[str, Schema]:
    """The keys of W&B that have no effect, with any value."""
    return {
        key: {"description": NOT_CALLED if key in PROGRAM_KEYS else UNUSED} for key in UNUSED_KEYS
    }


def _has_an_end() -> Schema:
    """What says that a sweep ends: a grid, a budget, or a number of trials."""
    grids = [method for method, samplers in SAMPLERS.items() if samplers[0] in FINITE]
    ends_itself = [
        given(key, {"type": "string", "pattern": pattern_of(words)})
        for key, words in (("method", grids), ("sampler", FINITE))
    ]
    return {
        "if": {"anyOf": [{"required": ["budget"]}, *ends_itself]},
        "else": {"required": ["run_cap"]},
    }
