"""A node without pretrained weights: it fetches them, or is named with its problem."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from sweeps.ray_tune.cluster import Node
from sweeps.ray_tune.weights import fetch_here, report
from tests.fakes.model_hub import made_weights, model_hub, move_hub, nowhere, on_hub
from trainer.model.hub import cached_weights


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_node_without_weights_fetches_them_and_then_has_them(monkeypatch: pytest.MonkeyPatch):
    with model_hub(on_hub("test_resnet", made_weights("test_resnet"))) as (address, _):
        move_hub(monkeypatch, address)
        assert fetch_here(["test_resnet"], "do not") == ""
    move_hub(monkeypatch, nowhere())
    assert fetch_here(["test_resnet"], "do not") == ""
    assert cached_weights("test_resnet") is not None


def test_a_node_that_cannot_is_named_with_the_ways_out(monkeypatch: pytest.MonkeyPatch):
    address = nowhere()
    move_hub(monkeypatch, address)
    problem = fetch_here(["test_resnet"], "do not")
    node = Node("b", "gpu-2", "10.0.0.2", cpus=8, gpus=1)
    first, second, third = report({node: problem}, nodes=3).splitlines()
    assert first == "1 of the cluster's 3 nodes cannot get the pretrained weights"
    assert second.startswith(
        "  node gpu-2 (10.0.0.2): the pretrained weights of 1 backbone are not on this machine, "
        f"and the model hub {address} cannot be reached ("
    )
    assert third.startswith("    Connect this machine (")
    assert third.endswith(", or do not")
