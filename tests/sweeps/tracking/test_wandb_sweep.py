"""The sweep at W&B: what its configuration says, and that there is one."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import wandb

from sweeps.errors import InputError
from sweeps.space.kinds import DISTRIBUTIONS
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from sweeps.tracking.tracker import SweepFacts
from sweeps.tracking.wandb_sweep import check_project, create, find, to_wandb
from tests.fakes.wandb_server import ENTITY, WandbServer
from tests.sweeps.space import test_language as language
from tests.sweeps.space.raw_parameters import one, read
from tests.sweeps.tracking.told import facts

ROOT = Path(__file__).parents[3]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
# every entry that the tests of the language read, in both of their tables
ENTRIES: list[dict[str, Any]] = [
    entry
    for test in (
        language.test_a_parameter_is_read_by_wandbs_rules,
        language.test_our_distributions_are_those_of_wandbs_own_map,
    )
    for row in test.pytestmark[0].args[1]  # type: ignore[attr-defined]
    for entry in [row[0] if isinstance(row, tuple) else row]
]
# the client's own: `wandb.sweep` reads a setting that it deprecates itself
pytestmark = pytest.mark.filterwarnings("ignore:Read the `app_url` setting:DeprecationWarning")


def facts_of(spec: SweepSpec) -> SweepFacts:
    return SweepFacts(
        name=spec.name,
        uuid="12345678-0000-4000-8000-000000000000",
        description=spec.description,
        metric=spec.metric.name,
        goal=spec.metric.goal.value,
        k=spec.folds.k,
        max_epochs=spec.max_epochs,
        directory=Path("runs") / spec.name,
        spec=spec.raw,
    )


def with_parameters(parameters: dict[str, Any]) -> SweepFacts:
    return dataclasses.replace(facts(Path("runs/mask")), spec={"parameters": parameters})


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(
        json.loads((ROOT / "tests/data/wandb-sweep-schema.json").read_text())
    )


def problems(schema: jsonschema.Draft7Validator, configuration: dict[str, Any]) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in schema.iter_errors(configuration)]


class TestConfiguration:
    def test_it_says_what_the_sweep_is_and_leaves_all_choices_to_us(self, tmp_path: Path):
        assert to_wandb(facts(tmp_path)) == {
            "name": "mask",
            "description": "which optimizer?\n\n"
            "foldsweep sweep 12345678-0000-4000-8000-000000000000",
            "method": "custom",
            "metric": {"name": "valid/f1", "goal": "maximize"},
            "parameters": {"lr": {"distribution": "uniform", "min": 0.001, "max": 0.1}},
        }

    @pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
    def test_our_search_spaces_are_valid_at_wandb(
        self, schema: jsonschema.Draft7Validator, path: Path
    ):
        assert problems(schema, to_wandb(facts_of(read_spec(path)))) == []

    @pytest.mark.parametrize("entry", ENTRIES, ids=str)
    def test_every_parameter_is_valid_at_wandb_and_means_the_same_there(
        self, schema: jsonschema.Draft7Validator, entry: dict[str, Any]
    ):
        configuration = to_wandb(with_parameters({"lr": entry}))
        assert problems(schema, configuration) == []
        sent = configuration["parameters"]["lr"]
        assert sent["distribution"] in DISTRIBUTIONS
        domain = one(entry)
        if getattr(domain, "low", 0) != getattr(domain, "high", 1):
            assert one(sent) == domain

    def test_every_distribution_is_among_those_parameters(self):
        named = {read({"lr": entry})["lr"].distribution for entry in ENTRIES}
        assert named == set(DISTRIBUTIONS)

    @pytest.mark.parametrize(
        ("entry", "sent"),
        [
            ({"value": None}, {"distribution": "constant", "value": None}),
            ({"min": 3, "max": 3}, {"distribution": "constant", "value": 3}),
            ({"min": 1, "max": 2.5}, {"distribution": "uniform", "min": 1, "max": 2.5}),
            (
                {"values": ["a", "b"], "probabilities": [0.25, 0.75]},
                {
                    "distribution": "categorical_w_probabilities",
                    "values": ["a", "b"],
                    "probabilities": [0.25, 0.75],
                },
            ),
            (
                {"distribution": "q_log_normal", "mu": 1, "q": 10},
                {"distribution": "q_log_normal", "mu": 1, "sigma": 1.0, "q": 10},
            ),
        ],
    )
    def test_distributions_are_named(self, entry: dict[str, Any], sent: dict[str, Any]):
        assert to_wandb(with_parameters({"lr": entry}))["parameters"] == {"lr": sent}

    def test_conditions_go_and_nested_names_are_dotted(self, schema: jsonschema.Draft7Validator):
        configuration = to_wandb(
            with_parameters(
                {
                    "optimizer": {"values": ["adam", "sgd"]},
                    "momentum": {"min": 0.8, "max": 0.99, "when": {"optimizer": "sgd"}},
                    "loss_mix": {
                        "parameters": {"focal": {"value": 1}},
                        "when": {"optimizer": ["adam"]},
                    },
                }
            )
        )
        assert problems(schema, configuration) == []
        assert configuration["parameters"] == {
            "optimizer": {"distribution": "categorical", "values": ["adam", "sgd"]},
            "momentum": {"distribution": "uniform", "min": 0.8, "max": 0.99},
            "loss_mix.focal": {"distribution": "constant", "value": 1},
        }

    def test_the_schema_finds_a_slip(self, schema: jsonschema.Draft7Validator):
        wrong = to_wandb(with_parameters({"lr": {"min": 1, "max": 2}}))
        wrong["parameters"]["lr"]["when"] = {"optimizer": "sgd"}
        assert len(problems(schema, wrong)) == 1


class TestCreation:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "wandb"
        folder.mkdir()
        return folder

    def created(self, tmp_path: Path) -> str:
        return create(facts(tmp_path), entity=ENTITY, project="toys", folder=tmp_path / "wandb")

    def test_the_sweep_is_there_with_its_configuration_and_nothing_goes_to_stdout(
        self, server: WandbServer, folder: Path, capfd: pytest.CaptureFixture[str]
    ):
        name = self.created(folder.parent)
        sweep = server.sweeps[name]
        assert (sweep.entity, sweep.project) == (ENTITY, "toys")
        assert sweep.parsed == to_wandb(facts(folder.parent))
        assert sweep.description == sweep.parsed["description"]
        assert capfd.readouterr().out == ""
        assert server.unknown == []

    def test_a_first_creation_looks_for_nothing(self, server: WandbServer, folder: Path):
        self.created(folder.parent)
        assert server.calls["GetSweeps"] == 0

    def test_a_creation_that_was_tried_is_found_again(self, server: WandbServer, folder: Path):
        first = self.created(folder.parent)
        assert self.created(folder.parent) == first
        assert len(server.sweeps) == 1

    def test_a_creation_that_never_arrived_is_made_again(self, server: WandbServer, folder: Path):
        server.break_down("UpsertSweep", status=401)
        with pytest.raises(Exception, match="fault 401"):
            self.created(folder.parent)
        server.heal()
        assert self.created(folder.parent) in server.sweeps
        assert len(server.sweeps) == 1

    def test_a_creation_whose_answer_was_lost_is_not_repeated(
        self, server: WandbServer, folder: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """The client itself asks five times and more; of those sweeps the first listed counts."""
        monkeypatch.setattr(wandb.Api, "_HTTP_TIMEOUT", 0.5)  # of each of the five; 19 s is usual
        server.break_down("UpsertSweep", lose=True)
        with pytest.raises(Exception, match="did not respond in time"):
            self.created(folder.parent)
        wandb.teardown()  # it asks no more
        server.heal()
        monkeypatch.undo()
        made = list(server.sweeps)
        assert made
        assert self.created(folder.parent) == made[0]
        assert list(server.sweeps) == made

    def test_other_sweeps_of_the_project_are_not_ours(self, server: WandbServer, folder: Path):
        ours = facts(folder.parent)
        other = dataclasses.replace(ours, uuid="87654321-0000-4000-8000-000000000000")
        first = create(other, entity=ENTITY, project="toys", folder=folder)
        (folder / "creating").unlink()
        second = self.created(folder.parent)
        assert find(ours, entity=ENTITY, project="toys") == second != first
        assert find(ours, entity=ENTITY, project="elsewhere") is None


class TestProject:
    @pytest.mark.parametrize("name", ["mask", "Mask 2026_b-1.c", "ü", "x" * 128])
    def test_names_that_wandb_takes_pass(self, name: str):
        check_project(name)
        wandb.Settings(project=name)

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("team/mask", "'team/mask' has /"),
            ("a:b?", "'a:b?' has ? and :"),
            ("x" * 129, "has 129 characters"),
        ],
    )
    def test_a_name_that_wandb_refuses_is_refused_with_what_it_takes(self, name: str, problem: str):
        with pytest.raises(InputError, match=r"^tracking\.wandb\.project: ") as caught:
            check_project(name)
        assert problem in str(caught.value)
        assert str(caught.value).endswith(
            "W&B takes names of 1 to 128 characters without / \\ # ? % :"
        )
        with pytest.raises(wandb.UsageError, match="Invalid project name"):
            wandb.Settings(project=name)

    def test_a_name_that_the_client_leaves_out_of_addresses_is_refused(self):
        with pytest.raises(InputError, match="'runs' is a word of W&B's own addresses"):
            check_project("runs")

    def test_an_empty_name_is_refused(self):
        with pytest.raises(InputError, match="'' is empty"):
            check_project("")
