"""The schema for editors: it takes what the reader takes, and finds the slips it can know of."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from sweeps.space.advice import metric_problems
from sweeps.space.schema import FILE_NAME, HEADER, schema_text, space_schema, with_header
from sweeps.space.space_file import SpaceFile
from sweeps.space.spec import Budget, Folds, Metric, Notify, Resources, SweepSpec
from sweeps.space.stopping import RULES, Race
from sweeps.space.tracking import MlflowOptions, Tracking, WandbOptions
from tests.sweeps.space.space_texts import POOL, RIGHT
from trainer.data.options import DataOptions

ROOT = Path(__file__).parents[3]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCHEMA = space_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
# where the sections of a file lie -> what reads them, and what they need
SECTIONS: dict[tuple[str, ...], tuple[type[BaseModel], dict[str, Any]]] = {
    ("metric",): (Metric, {"name": "valid/f1", "goal": "maximize"}),
    ("data",): (DataOptions, {"source": "x"}),
    ("folds",): (Folds, {}),
    ("folds", "race"): (Race, {}),
    ("resources",): (Resources, {}),
    ("budget",): (Budget, {}),
    ("notify",): (Notify, {}),
    ("tracking",): (Tracking, {}),
    ("tracking", "wandb"): (WandbOptions, {}),
    ("tracking", "mlflow"): (MlflowOptions, {}),
}
# what the types of these rules need to be complete
RULES_NEED = {
    "hyperband": {"min_iter": 3, "max_iter": 9, "s": 1},
    "percentile": {"percentile": 25},
    "patient": {"patience": 3},
    "threshold": {"lower": 0},
}


def content(text: str) -> dict[str, Any]:
    """A file as the reader sees it."""
    return SpaceFile(Path("space.yaml"), text=text).raw


def slips(raw: Any) -> list[str]:
    """Where the schema does not agree, and why."""
    errors = sorted(VALIDATOR.iter_errors(raw), key=lambda error: list(map(str, error.path)))
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


def examples(page: Path) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def test_it_is_a_schema_of_draft_7():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert json.loads(schema_text()) == SCHEMA


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_our_search_spaces_agree_and_name_it(path: Path):
    text = path.read_text()
    assert slips(content(text)) == []
    assert text.splitlines()[0] == HEADER
    assert with_header(text) == text


def test_the_file_beside_our_search_spaces_is_todays():
    written = (ROOT / "search_spaces" / FILE_NAME).read_text()
    assert written == schema_text(), "run make docs"


def test_every_example_of_the_documentation_agrees():
    """A part of a file stands for that file with what else a file needs."""
    shown = {page.name: examples(page) for page in PAGES}
    theirs = shown["from-wandb.md"].pop(0)
    for name, texts in shown.items():
        for text in texts:
            assert slips(content(RIGHT) | content(text)) == [], f"{name}: {text}"
    assert sum(map(len, shown.values())) > 20
    assert len(slips(content(theirs))) > 5


class TestWhatTheReaderTakes:
    @pytest.mark.parametrize("path", SECTIONS, ids=".".join)
    def test_every_option_of_a_section(self, path: tuple[str, ...]):
        model, needs = SECTIONS[path]
        taken = 0
        for option, value in self.pairs(model):
            section = {**needs, option: value}
            if self.reads(model, section):
                taken += 1
                assert slips(self.at(path, section)) == []
        assert taken > len(model.model_fields)

    @pytest.mark.parametrize("name", RULES)
    def test_every_option_of_a_rule_that_stops_trials(self, name: str):
        model = RULES[name]
        needs = {"type": name, **RULES_NEED.get(name, {})}
        for option, value in self.pairs(model):
            section = {**needs, option: value}
            if self.reads(model, section):
                assert slips(self.at(("early_terminate",), section)) == []
        assert slips(self.at(("early_terminate",), {**needs, "type": name.title()})) == []

    @staticmethod
    def pairs(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
        return ((option, value) for option in model.model_fields for value in POOL)

    @staticmethod
    def reads(model: type[BaseModel], section: dict[str, Any]) -> bool:
        try:
            model(**section)
        except ValidationError:
            return False
        # the reader knows the names of metrics, which are text to the model
        return model is not Metric or not metric_problems(section["name"], section["goal"])

    @staticmethod
    def at(path: tuple[str, ...], section: dict[str, Any]) -> dict[str, Any]:
        raw = content(RIGHT)
        node = raw
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = section
        return raw

    @pytest.mark.parametrize(
        "changed",
        [
            "method: Random\n",
            "method: GRID\n",
            "method: custom\nsampler: NSGAII\n",
            "sampler: null\ndescription: null\nname: null\nfolds: null\nearly_terminate: null\n",
            "name: Chest X-ray (first try)\n",
            "warm_start: old\n",
            "warm_start: [old, 'Older one']\n",
            "start_with: [{lr: 0.1}]\n",
            "start_with: null\nwarm_start: []\n",
            "program: train.py\ncommand: [python, '${program}']\nproject: 7\nentity: null\n",
            "early_terminate: {type: Hyperband, min_iter: 3.0}\n",
        ],
    )
    def test_the_top_of_a_file(self, changed: str, read: Callable[..., SweepSpec]):
        keys = content(f"{changed}run_cap: 1\n")
        text = json.dumps(content(RIGHT) | keys | {"run_cap": 3, "parameters": VALUE})
        read(text)
        assert slips(content(text)) == []

    @pytest.mark.parametrize(
        "end", ["budget: {hours: 1}", "method: grid", "method: Custom\nsampler: brute_force"]
    )
    def test_every_end_of_a_sweep(self, end: str, read: Callable[..., SweepSpec]):
        text = f"{RIGHT}{end}\n".replace("run_cap: 10\n", "")
        read(text)
        assert slips(content(text)) == []


VALUE = {"lr": {"values": [0.1, 0.2]}}


class TestWhatItFinds:
    @pytest.mark.parametrize(
        ("changed", "found"),
        [
            ("runcap: 3", "('runcap' was unexpected)"),
            ("run_cap: many", "run_cap: 'many' is not valid under any of the given schemas"),
            ("run_cap: 0", "run_cap: 0 is not valid"),
            ("method: bayess", "method: 'bayess' is not valid"),
            ("metric: {name: valid/f2, goal: maximize}", "metric.name: 'valid/f2' is not valid"),
            ("metric: {name: valid/f1}", "metric: 'goal' is a required property"),
            ("metric: valid/f1", "metric: 'valid/f1' is not of type 'object'"),
            ("data: {source: 3}", "data.source: 3 is not of type 'string'"),
            ("data: {source: x, lable: y}", "('lable' was unexpected)"),
            ("data: {source: x, label: []}", "data.label: [] is not valid"),
            ("data: {source: x, box: [a, b]}", "data.box: ['a', 'b'] is not valid"),
            ("data: {source: x, keep: null}", "data.keep: None is not one of"),
            ("folds: {k: 1}", "folds.k: 1 is less than the minimum of 2"),
            ("folds: {race: {error_rate: 0.9}}", "folds.race: {'error_rate': 0.9} is not valid"),
            ("resources: {cpu: some}", "resources.cpu: 'some' is not valid"),
            ("budget: {hours: 0}", "budget.hours: 0 is not valid"),
            ("tracking: {tensorboard: yes}", "tracking.tensorboard: 'yes' is not of type"),
            ("early_terminate: {type: hyperbant}", "early_terminate.type: 'hyperbant' is not"),
            ("early_terminate: {min_iter: 3}", "early_terminate: 'type' is a required property"),
            (
                "early_terminate: {type: hyperband, min_itr: 3}",
                "('min_itr' was unexpected)",
            ),
            ("start_with: [{learning_rate: 3}]", "start_with.0: 'learning_rate' does not match"),
            ("start_with: [{lr: 20}]", "start_with.0.lr: 20 is greater than the maximum of 10"),
            ("parameters: {}", "parameters: {} "),
        ],
    )
    def test_a_slip(self, changed: str, found: str, problems: Callable[..., list[str]]):
        text = json.dumps(content(RIGHT) | content(changed))
        assert problems(text), "the reader takes it"
        first, *others = slips(content(text))
        assert found in first
        assert others == []

    def test_what_is_missing(self):
        assert sorted(slips({})) == [
            ": 'data' is a required property",
            ": 'metric' is a required property",
            ": 'parameters' is a required property",
            ": 'run_cap' is a required property",
        ]


def test_every_key_is_described_for_the_hover_of_an_editor():
    def undescribed(schema: dict[str, Any], path: str) -> Iterator[str]:
        for key, inner in schema.get("properties", {}).items():
            if "$ref" not in inner and not inner.get("description"):
                yield f"{path}.{key}"
            yield from undescribed(inner, f"{path}.{key}")
        for part in schema.get("anyOf", []):
            yield from undescribed(part, path)
        for rule in schema.get("allOf", []):
            # the type of a rule is described beside the rules
            inner = dict(rule.get("then", {}).get("properties", {}))
            inner.pop("type", None)
            yield from undescribed({"properties": inner}, path)

    assert list(undescribed(SCHEMA, "")) == []
    top = SCHEMA["properties"]
    assert top["run_cap"]["description"] == "The number of trials, repeated ones not counted."
    assert top["data"]["properties"]["label"]["description"] == (
        DataOptions.model_fields["label"].description
    )
    assert (
        top["tracking"]["properties"]["mlflow"]["anyOf"][0]["properties"]["uri"]["description"]
        == "The address of a server or database; null for a database in the runs folder."
    )
