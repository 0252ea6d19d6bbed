"""docker-compose.yml, Dockerfile and .env.example,
as far as they can be judged without an engine that runs them.
"""

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from packaging.specifiers import SpecifierSet
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docker-compose.yml").read_text()
SETTINGS = dict(
    re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
NODES = ["ray-head", "worker", "cpu-worker", "sweeps"]


def read(text: str) -> dict[str, Any]:
    """The file as compose sees it: variables put in, anchors resolved."""
    filled = VARIABLE.sub(lambda found: SETTINGS.get(found[1]) or "filledin", text)
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(filled)
    return values


COMPOSE = read(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        json.loads((ROOT / "tests/data/compose-spec.json").read_text())
    )


def test_the_file_is_valid_by_the_compose_specification(schema: jsonschema.Draft202012Validator):
    assert [f"{error.json_path}: {error.message}" for error in schema.iter_errors(COMPOSE)] == []


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ("db", "port", ["5432"]),
        ("db", "healthcheck", {"tests": "true"}),
        ("worker", "deploy", {"resources": {"gpu": 1}}),
    ],
)
def test_the_schema_finds_a_slip(
    schema: jsonschema.Draft202012Validator, service: str, key: str, value: object
):
    wrong = copy.deepcopy(COMPOSE)
    wrong["services"][service][key] = value
    assert not schema.is_valid(wrong)


def test_the_services_are_those_of_a_sweep():
    assert set(SERVICES) == {"db", "ray-head", "worker", "cpu-worker", "sweeps", "dashboard"}


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_reachable_from_other_machines(name: str):
    service = SERVICES[name]
    assert "network_mode" not in service
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_a_version(name: str):
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert re.match(r"\d+\.\d+", tag)
    if image == "foldsweep":
        assert tag == PROJECT["version"]


def test_secrets_come_from_the_settings_and_are_asked_for_where_they_are_missing():
    for found in VARIABLE.finditer(TEXT):
        secret = found[1] in ("POSTGRES_PASSWORD", "RAY_AUTH_TOKEN")
        assert found[2] == ("?" if secret else "-"), found[0]
    for line in re.findall(r"^.*(?:PASSWORD|TOKEN).*$", TEXT, flags=re.MULTILINE):
        assert VARIABLE.search(line), line
    assert (SETTINGS["POSTGRES_PASSWORD"], SETTINGS["RAY_AUTH_TOKEN"]) == ("", "")


def test_every_setting_is_used_with_its_default_and_every_variable_is_a_setting():
    assert {found[1] for found in VARIABLE.finditer(TEXT)} == set(SETTINGS)
    for found in VARIABLE.finditer(TEXT):
        assert found[2] == "?" or found[3] == SETTINGS[found[1]]


def test_the_database_keeps_its_data_and_tells_when_it_is_ready():
    assert SERVICES["db"]["volumes"] == ["database:/var/lib/postgresql/data"]
    assert "pg_isready" in SERVICES["db"]["healthcheck"]["test"][1]
    for name in ("sweeps", "dashboard"):
        assert SERVICES[name]["depends_on"]["db"] == {"condition": "service_healthy"}


def test_every_named_volume_is_declared_and_used():
    used = {
        str(volume).partition(":")[0]
        for service in SERVICES.values()
        for volume in service["volumes"]
    }
    assert {name for name in used if re.fullmatch(r"\w+", name)} == set(COMPOSE["volumes"])


@pytest.mark.parametrize("name", NODES)
def test_every_ray_node_sees_the_same_folders_and_knows_the_token(name: str):
    service = SERVICES[name]
    assert service["volumes"] == SERVICES["ray-head"]["volumes"]
    assert service["image"] == SERVICES["ray-head"]["image"]
    assert service["environment"]["RAY_AUTH_MODE"] == "token"
    assert service["environment"]["RAY_AUTH_TOKEN"]
    assert re.fullmatch(r"ray start --.* --block", service["command"])


@pytest.mark.parametrize("name", ["worker", "cpu-worker", "sweeps"])
def test_nodes_wait_for_the_head_and_join_it(name: str):
    assert SERVICES[name]["depends_on"]["ray-head"] == {"condition": "service_healthy"}
    assert "--address=ray-head:6379" in SERVICES[name]["command"]
    assert "container_name" not in SERVICES[name]  # several of them with --scale
    assert "ports" not in SERVICES[name]


def test_only_the_worker_has_gpus_and_only_workers_run_trials():
    (device,) = SERVICES["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    for name in ("ray-head", "cpu-worker", "sweeps", "dashboard"):
        assert "deploy" not in SERVICES[name]
    for name in ("ray-head", "sweeps"):
        assert "--num-cpus=0 --num-gpus=0" in SERVICES[name]["command"]


def test_the_image_has_a_python_that_the_project_allows():
    (version,) = re.findall(r"^FROM python:([\d.]+)-slim", DOCKERFILE, flags=re.MULTILINE)
    assert version in SpecifierSet(PROJECT["requires-python"])
    assert (
        f"--python-version {version.rpartition('.')[0]} " in (ROOT / "Makefile").read_text()
    )  # of the lock file


def test_what_the_image_copies_exists_and_is_sent_to_the_builder():
    sent = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE)
    copied = [
        name
        for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
        for name in line.split()
    ]
    assert sorted(copied) == sorted(sent)
    for name in copied:
        assert (ROOT / name).exists(), name


def test_the_image_does_not_run_as_root():
    users = re.findall(r"^USER (\w+)$", DOCKERFILE, flags=re.MULTILINE)
    assert users == ["foldsweep"]


def test_the_secrets_file_is_not_committed():
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()
