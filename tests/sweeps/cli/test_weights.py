"""Pretrained weights come before the first trial, or the command ends with what to do."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.fakes.model_hub import fill_cache, made_weights, model_hub, move_hub, nowhere, on_hub
from tests.sweeps.cli.conftest import Ended
from tests.sweeps.cli.refusals import refused
from trainer.model.timm_names import weights_source

Sweeps = Callable[..., Ended]
NONE = "  weights: {value: none}\n"


@pytest.fixture(autouse=True)
def hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The hub's cache on this machine, still empty."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def error_of(address: str, *, cache: object, without: str) -> str:
    return (
        "the pretrained weights of 2 backbones are not on this machine, and the model hub "
        f"{address} cannot be reached ([Errno 111] Connection refused): test_efficientnet, "
        "test_resnet.\nConnect this machine (HF_ENDPOINT names a mirror of the hub, HTTPS_PROXY a "
        f"proxy), or copy the hub's cache of a machine that has the weights to {cache} (HF_HOME "
        f"moves it), or train from random weights with --set {without}"
    )


@pytest.mark.parametrize("command", ["check", "prepare", "run"])
def test_an_unreachable_hub_ends_each_command_before_it_writes_anything(
    command: str,
    sweeps: Sweeps,
    space: Callable[..., Path],
    hub_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    address = nowhere()
    move_hub(monkeypatch, address)
    file = space(
        (NONE, ""), ("value: test_efficientnet", "values: [test_efficientnet, test_resnet]")
    )
    expected = error_of(address, cache=hub_cache, without="parameters.weights.value=none")
    refused(sweeps(command, file), expected)


def test_a_space_that_lists_weights_is_told_how_it_does_without_them(
    sweeps: Sweeps,
    space: Callable[..., Path],
    hub_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    address = nowhere()
    move_hub(monkeypatch, address)
    file = space(
        (NONE, "  weights: {values: [none, pretrained]}\n"),
        ("value: test_efficientnet", "values: [test_efficientnet, test_resnet]"),
    )
    without = "'parameters.weights={value: none}'"
    refused(sweeps("check", file), error_of(address, cache=hub_cache, without=without))
    assert sweeps("check", file, "--set", without.strip("'")).code == 0


def test_the_real_command_meets_a_hub_that_is_not_there(
    process: Sweeps, space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, home: Path
):
    address = nowhere()
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "empty"))
    file = space(
        (NONE, ""), ("value: test_efficientnet", "values: [test_efficientnet, test_resnet]")
    )
    without = "parameters.weights.value=none"
    refused(process("run", file), error_of(address, cache=home / "empty", without=without))


def test_weights_are_fetched_once_and_the_sweep_then_runs_without_the_hub(
    sweeps: Sweeps, space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, hub_cache: Path
):
    file = space((NONE, ""))
    with model_hub(on_hub("test_efficientnet", made_weights("test_efficientnet"))) as (address, _):
        move_hub(monkeypatch, address)
        prepared = sweeps("prepare", file)
        assert "pretrained weights: 1 of 1\n" in prepared.err
        assert f"weights    of 1 backbone in {hub_cache}\n" in prepared.out
    source = weights_source("test_efficientnet")
    assert source is not None
    assert list(hub_cache.glob(f"models--{source.hub_id.replace('/', '--')}/snapshots/*/*"))
    move_hub(monkeypatch, nowhere())  # trials do not ask it, nor does a check
    assert sweeps("check", file).code == 0
    ran = sweeps("run", file, "--local")
    assert ran.code == 0, ran.err
    assert "2 completed, 0 pruned, 0 failed" in ran.out
    assert "pretrained weights:" not in ran.err


def test_what_the_hub_refuses_is_told_before_the_first_trial(
    sweeps: Sweeps, space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, hub_cache: Path
):
    fill_cache(hub_cache, "test_efficientnet", made_weights("test_efficientnet"))
    file = space(
        (NONE, ""), ("value: test_efficientnet", "values: [test_efficientnet, test_resnet]")
    )
    with model_hub({}) as (address, _):
        move_hub(monkeypatch, address)
        ended = sweeps("run", file, "--local")
    assert ended.code == 2
    assert re.search(
        r"^error: the pretrained weights of 1 backbone could not be fetched:\n  test_resnet: .*404",
        ended.err,
        re.MULTILINE,
    )
    assert not os.path.exists("runs/tiny")


def test_a_finished_sweep_does_not_miss_weights_that_are_gone(
    sweeps: Sweeps, space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, hub_cache: Path
):
    path = fill_cache(hub_cache, "test_efficientnet", made_weights("test_efficientnet"))
    move_hub(monkeypatch, nowhere())
    file = space((NONE, ""))
    assert sweeps("run", file, "--local").code == 0
    path.unlink()
    again = sweeps("run", file, "--local")
    assert (again.code, again.err) == (
        0,
        "all trials are done already; more with --trials or a larger run_cap\n",
    )
    more = sweeps("run", file, "--local", "--trials", "3")
    assert more.code == 2
    assert "error: the pretrained weights of 1 backbone are not on this machine" in more.err


def test_what_is_wrong_with_the_file_is_told_before_the_hub_is_missed(
    sweeps: Sweeps, space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    move_hub(monkeypatch, nowhere())
    file = space((NONE, ""), ("test_efficientnet", "test_convnext"))
    refused(
        sweeps("run", file),
        "tiny.yaml: 1 problem\n  line 9  parameters: backbone test_convnext does not take resize "
        "16. The nearest size that it takes is 32",
    )
