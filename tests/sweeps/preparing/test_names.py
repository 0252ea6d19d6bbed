"""Names as users write them become the names of the installed timm, with a notice each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeps.preparing.names import in_timms_words
from sweeps.space.spec import SweepSpec
from trainer.model import timm_names

MakeSpec = Callable[..., SweepSpec]
OLD = "tf_efficientnet_b4_ns"
NEW = "tf_efficientnet_b4.ns_jft_in1k"


@pytest.fixture(scope="module", autouse=True)
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """timm's answer, asked once."""
    folder = tmp_path_factory.mktemp("names")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_CACHE", str(folder))
        timm_names.known_backbones()
    return folder


@pytest.fixture(autouse=True)
def _remembered(names: Path, _own_folders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPS_CACHE", str(names))


def backbones(**entry: Any) -> dict[str, Any]:
    return {"backbone": entry, "weights": {"value": "none"}}


def test_a_space_in_timms_words_stays_as_it_is(make_spec: MakeSpec):
    spec = make_spec()
    assert in_timms_words(spec) is spec


def test_the_space_and_what_is_stored_of_it_have_the_new_names(make_spec: MakeSpec):
    spec = in_timms_words(
        make_spec(
            parameters={
                **backbones(values=["resnet18", OLD]),
                "optimizer": {"value": "AdamW"},
                "dropout": {"min": 0.1, "max": 0.5, "when": {"backbone": OLD}},
                "epochs": {"values": [1, 2], "when": {"backbone": ["resnet18", OLD]}},
            },
            start_with=[{"backbone": OLD}],
        )
    )
    assert spec.space.values_of("backbone") == ("resnet18", NEW)
    assert spec.space.values_of("optimizer") == ("adamw",)
    assert spec.space["dropout"].when == (("backbone", (NEW,)),)
    assert spec.space["epochs"].when == (("backbone", ("resnet18", NEW)),)
    assert spec.start_with == ({"backbone": NEW},)
    assert spec.fixed_part()["parameters"]["backbone"] == {"values": ["resnet18", NEW]}
    assert spec.notices[0] == "optimizer: AdamW is read as adamw"
    assert spec.notices[-1] == f"backbone {OLD} is called {NEW} in the installed timm"


def test_two_spellings_of_one_name_become_one_value_with_both_probabilities(make_spec: MakeSpec):
    entry = {"values": ["resnet18", "ResNet18", OLD], "probabilities": [0.25, 0.25, 0.5]}
    domain = in_timms_words(make_spec(parameters=backbones(**entry))).space["backbone"].domain
    assert domain.values == ("resnet18", NEW)  # type: ignore[union-attr]
    assert domain.probabilities == (0.5, 0.5)  # type: ignore[union-attr]


def test_a_second_reading_changes_nothing_more(make_spec: MakeSpec):
    once = in_timms_words(make_spec(parameters=backbones(value=OLD)))
    assert in_timms_words(once) is once


def test_the_webhook_survives_though_the_content_does_not_have_it(make_spec: MakeSpec):
    given = make_spec(
        parameters=backbones(value=OLD), notify={"webhook": "https://example.org/secret"}
    )
    webhook = in_timms_words(given).notify.webhook
    assert webhook is not None
    assert webhook.get_secret_value() == "https://example.org/secret"


def test_a_function_of_the_users_own_keeps_its_upper_case(make_spec: MakeSpec):
    spec = make_spec(parameters=backbones(value="My_task.py:Timm"))
    assert in_timms_words(spec) is spec
