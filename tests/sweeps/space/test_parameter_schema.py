"""The schema of `parameters`: every field, in every form of W&B's language."""

import itertools
import json
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.space.as_meant import WORDS, as_meant, choices_of, value_as_meant
from sweeps.space.fields import field_problem, field_problems, parameter_names
from sweeps.space.kinds import DEFAULTS, DISTRIBUTIONS
from sweeps.space.language import read_space
from sweeps.space.parameter_schema import KEYS
from sweeps.space.schema import space_schema
from tests.sweeps.space.space_texts import POOL

NAMES = parameter_names()
ENTRIES = ("freeze.up_to", "head_crops.mask", "head_weights.age", "loss_mix.focal")
SCHEMA = space_schema()
OF_PARAMETERS = {**SCHEMA["properties"]["parameters"], "definitions": SCHEMA["definitions"]}
VALIDATOR = jsonschema.Draft7Validator(OF_PARAMETERS)


def agrees(parameters: Any) -> bool:
    return VALIDATOR.is_valid(parameters)


def reads(parameters: dict[str, Any]) -> bool:
    """Whether the reader takes these parameters, the ways they must fit together aside."""
    meant, _ = as_meant({"parameters": parameters}, Path("space.yaml"))
    space, problems = read_space(meant["parameters"])
    return not problems and not field_problems(space)


def spellings(name: str) -> Iterator[str]:
    for word in (*choices_of(name), *WORDS.get(name, {})):
        yield from (word, word.upper(), word.title().replace("_", ""), word.replace("_", "-"))
        yield f" {word.replace('_', ' ')}"


@pytest.mark.parametrize("name", [*NAMES, *ENTRIES])
def test_every_value_that_a_field_takes_agrees(name: str):
    taken = 0
    for value in (*POOL, *spellings(name)):
        if field_problem(name, value_as_meant(name, value)) is None:
            taken += 1
            assert agrees({name: {"value": value}}), value
            assert agrees({name: {"values": [value]}}), value
    assert taken


@pytest.mark.parametrize("name", [*NAMES, *ENTRIES[1:]])
def test_values_that_a_field_refuses_do_not_agree(name: str):
    """A whole number with a point is one to a schema, and not all that text may be is known."""
    for value in POOL:
        if field_problem(name, value_as_meant(name, value)) is not None and agrees(
            {name: {"value": value}}
        ):
            whole = isinstance(value, float) and value.is_integer()
            assert whole or name in ("resize", "weights", "backbone", "loss"), value


NUMBERS = st.sampled_from([-2, 0, 1, 3, 0.5, 1.0, 1e-4, 0.1, 8, 64.0, 1e5])
ANY = st.sampled_from([*POOL, "sgd", "cosine", "focal"])


@st.composite
def leaf(draw: st.DrawFn) -> dict[str, Any]:
    """The entry of one parameter; mostly of a right form."""
    kind = draw(st.sampled_from([*DISTRIBUTIONS, None]))
    keys = DISTRIBUTIONS[kind or draw(st.sampled_from(["constant", "categorical", "uniform"]))]
    entry: dict[str, Any] = {} if kind is None else {"distribution": kind}
    for key in (*keys.needs, *(key for key in keys.takes if draw(st.booleans()))):
        if key == "value":
            entry[key] = draw(ANY)
        elif key == "values":
            entry[key] = draw(st.lists(ANY, min_size=1, max_size=3))
        elif key == "probabilities":
            entry[key] = [1 / len(entry["values"])] * len(entry["values"])
        else:
            entry[key] = draw(NUMBERS)
    if "max" in entry and entry["min"] > entry["max"]:
        entry["min"], entry["max"] = entry["max"], entry["min"]
    if draw(st.integers(0, 9)) == 0:
        entry[draw(st.sampled_from([*KEYS, "valeus"]))] = draw(ANY)
    return entry


@st.composite
def several(draw: st.DrawFn) -> dict[str, Any]:
    """One or two parameters, the second with a condition, a mapping perhaps nested."""
    name = draw(st.sampled_from([*NAMES, *ENTRIES, "seed", "learning_rate"]))
    parameters = {name: draw(leaf())}
    if draw(st.booleans()):
        other = draw(st.sampled_from([each for each in (*NAMES, *ENTRIES) if each != name]))
        values = parameters[name].get("values") or [parameters[name].get("value")]
        wanted = draw(st.sampled_from([values, values[0], None]))
        parameters[other] = {**draw(leaf()), "when": None if wanted is None else {name: wanted}}
    for dotted in [name for name in parameters if "." in name and draw(st.booleans())]:
        outer, inner = dotted.split(".")
        parameters[outer] = {"parameters": {inner: parameters.pop(dotted)}}
    return parameters


@settings(max_examples=300)
@given(several())
def test_what_the_reader_takes_agrees(parameters: dict[str, Any]):
    if reads(parameters):
        assert agrees(parameters)


@pytest.mark.slow
@settings(max_examples=20_000)
@given(several())
def test_what_the_reader_takes_agrees_in_long_form(parameters: dict[str, Any]):
    if reads(parameters):
        assert agrees(parameters)


@pytest.mark.parametrize("kind", [*DISTRIBUTIONS, None])
def test_a_distribution_goes_with_its_keys_and_no_others(kind: str | None):
    """For a field of numbers, the schema says which keys go together just as the reader does."""
    given_values = {"value": 1, "values": [1, 2], "probabilities": [0.5, 0.5]}
    numbers = {**DEFAULTS, "min": 2, "max": 4, "q": 0.25, "mu": 0.5}
    right = 0
    for count in range(4):
        for keys in itertools.combinations([*given_values, *numbers], count):
            entry = {key: (given_values | numbers)[key] for key in keys}
            entry |= {} if kind is None else {"distribution": kind}
            right += reads({"min_delta": entry})
            assert agrees({"min_delta": entry}) == reads({"min_delta": entry}), entry
    assert right


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"lr": 0.1},
        {"lr": {}},
        {"lr": {"value": "0.1"}},
        {"lr": {"value": 0}},
        {"lr": {"min": 0, "max": 0.1}},
        {"lr": {"values": []}},
        {"lr": {"values": 0.1}},
        {"lr": {"vale": 0.1}},
        {"lr": {"min": 0.1}},
        {"lr": {"value": 0.1, "when": {"optimzer": "sgd"}}},
        {"lr": {"value": 0.1, "when": {"optimizer": []}}},
        {"lr": {"value": 0.1, "when": {}}},
        {"learning_rate": {"value": 0.1}},
        {"seed": {"value": 1}},
        {"metric": {"value": "x.py:f"}},
        {"loss": {"value": "focall"}},
        {"loss": {"min": 0, "max": 1}},
        {"loss_mix.focall": {"value": 1}},
        {"loss_mix": {"parameters": {"focall": {"value": 1}}}},
        {"loss_mix": {"parameters": {"focal": {"value": -1}}}},
        {"loss_mix": {"parameters": {}}},
        {"loss_mix": {"parameters": {"focal": {"value": 1}}, "min": 0}},
        {"optimizer": {"parameters": {"lr": {"value": 0.1}}}},
        {"resize": {"value": "big"}},
        {"resize": {"value": 4}},
        {"freeze": {"value": "layer3"}},
        {"weights": {"value": "weights.zip"}},
        {"epochs": {"value": 2.5}},
        {"dropout": {"distribution": "unifrom", "min": 0.1, "max": 0.2}},
        {"dropout": {"distribution": "normal", "min": 0.1}},
        {"dropout": {"distribution": "q_normal", "q": 0}},
    ],
    ids=json.dumps,
)
def test_slips_do_not_agree(parameters: dict[str, Any]):
    assert not reads(parameters)
    assert not agrees(parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"epochs": {"distribution": "log_uniform", "min": 0.5, "max": 2}},  # exponents
        {"lr": {"distribution": "log_uniform", "min": -7, "max": -2}},
        {"dropout": {"distribution": None, "value": 0.1, "when": None}},
        {"dropout": {"distribution": "categorical", "values": [0.1], "probabilities": None}},
        {"epochs": {"min": 2.0, "max": 5.0, "distribution": "int_uniform"}},
        {"head_weights.a.b": {"value": 1}},
        {"head_weights": {"parameters": {"a": {"parameters": {"b": {"value": 1}}}}}},
        {"freeze": {"value": {"up_to": "layer3"}}},
        {"milestones": {"values": [[5, 10], [8]]}},
        {"resize": {"values": [[96, 128], "96x96", "(64, 48)", 224.0]}},
        {"weight_decay": {"values": [None, 0.1]}},
    ],
    ids=json.dumps,
)
def test_forms_that_are_rare_agree(parameters: dict[str, Any]):
    assert agrees(parameters)


def test_every_key_of_the_language_is_described():
    keys = {key for each in DISTRIBUTIONS.values() for key in (*each.needs, *each.takes)}
    assert keys == {*KEYS, "value", "values"}
    for name in NAMES:
        text = OF_PARAMETERS["properties"][name]["description"]
        assert text[0] in string.ascii_letters
        assert "Default: " in text
