"""Pretrained weights: found without the hub, fetched once, or refused within seconds."""

import functools
import re
import threading
import time

import huggingface_hub
import pytest
import safetensors.torch
import torch
from huggingface_hub import constants

from tests.fakes.model_hub import fill_cache, made_weights, model_hub, move_hub, nowhere, on_hub
from trainer.config import TrainConfig
from trainer.errors import HubError
from trainer.model import hub
from trainer.model.backbone import build_backbone
from trainer.model.hub import Fetch, answers, cached_weights
from trainer.model.timm_names import WeightsSource

WAYS_OUT = (
    r"\.\nConnect this machine \(HF_ENDPOINT .+\), or copy .+ \(HF_HOME moves it\), or do not$"
)


@pytest.fixture(scope="module", autouse=True)
def _timm_is_asked_once(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_CACHE", str(tmp_path_factory.mktemp("names")))
        yield


@pytest.fixture(scope="module")
def weights():
    return made_weights("test_resnet")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """The hub's cache on this machine, still empty."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path / "hub"


@pytest.fixture
def at(monkeypatch):
    """Put the hub at an address."""
    return functools.partial(move_hub, monkeypatch)


def started(*names):
    fetch = Fetch(names, otherwise="do not")
    fetch.start()
    return fetch


def fetched(*names):
    """The numbers that the watcher sees until all weights are here."""
    seen = []
    started(*names).result(lambda *numbers: seen.append(numbers), every_s=0.01)
    return seen


def test_weights_in_the_cache_are_found_and_the_hub_is_never_asked(cache, at, weights):
    assert cached_weights("test_resnet") is None
    path = fill_cache(cache, "test_resnet", weights)
    assert cached_weights("test_resnet") == cached_weights("test_resnet.r160_in1k") == path
    with model_hub({}) as (address, asked):
        at(address)
        assert fetched("test_resnet", "test_vit_relpos") == []  # timm has no weights of the other
        config = TrainConfig(backbone="test_resnet", weights="pretrained", resize=32)
        state = build_backbone(config).state_dict()
    assert asked == []
    expected = safetensors.torch.load(weights)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())


def test_what_is_missing_is_fetched_once_and_is_then_in_the_cache(at, weights):
    files = on_hub("test_resnet", weights) | on_hub("test_convnext", b"of another")
    with model_hub(files) as (address, asked):
        at(address)
        assert fetched("test_resnet", "test_convnext", "test_resnet")[-1] == (2, 2)
        got = [question for question in asked if re.match("GET .*/resolve/", question)]
        assert len(got) == 2
        assert fetched("test_resnet", "test_convnext") == []
    assert cached_weights("test_resnet").read_bytes() == weights


def test_a_model_whose_hub_has_only_the_older_file_is_fetched_too(at):
    files = on_hub("test_resnet", b"old", name="pytorch_model.bin")
    with model_hub(files) as (address, _):
        at(address)
        fetched("test_resnet")
    assert cached_weights("test_resnet").name == "pytorch_model.bin"


def test_an_address_at_which_nobody_answers_is_told_at_once_with_the_ways_out(at):
    address = nowhere()
    at(address)
    with pytest.raises(
        HubError,
        match=r"^the pretrained weights of 2 backbones are not on this machine, and the model hub "
        rf"{re.escape(address)} cannot be reached \(.*refused.*\): test_resnet, test_vit"
        + WAYS_OUT,
    ):
        started("test_resnet", "test_vit")


def test_a_look_up_that_hangs_is_given_up_for_all_backbones_together(monkeypatch):
    hangs = threading.Event()
    monkeypatch.setattr(hub, "_ask", lambda source: hangs.wait(60))
    monkeypatch.setattr(hub, "REACHED_S", 0.2)
    before = time.monotonic()
    names = [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
    with pytest.raises(HubError, match=r"reached \(no answer within 0\.2 s\): resnet18, "):
        started(*names)
    assert time.monotonic() - before < 30  # not once for each, nor until the look-up ends
    hangs.set()


def test_a_hub_is_lost_only_when_its_time_is_over(monkeypatch, at):
    at(nowhere())
    monkeypatch.setattr(hub, "REACHED_S", 0.3)
    fetch = Fetch(["test_resnet"], otherwise="do not")
    assert not fetch.lost()
    time.sleep(0.4)
    assert fetch.lost()
    with pytest.raises(HubError):
        fetch.start()
    monkeypatch.setattr(hub, "REACHED_S", 0.0)
    assert not Fetch(["test_vit_relpos"], otherwise="do not").lost()  # nothing is missing


@pytest.mark.parametrize(("status", "reason"), [(503, "503"), (502, "502")])
def test_a_hub_in_trouble_counts_as_unreachable(at, status, reason):
    with model_hub({}, status=status) as (address, asked):
        at(address)
        with pytest.raises(HubError, match=f"cannot be reached .*{reason}"):
            started("test_resnet")
    assert len(asked) == 1


def test_what_answers_in_place_of_the_hub_is_not_taken_for_it(at, monkeypatch):
    with model_hub(on_hub("test_resnet", b"login")) as (address, _):
        at(address)
        monkeypatch.setattr(
            huggingface_hub,
            "get_hf_file_metadata",
            lambda *_, **__: type("Answer", (), {"commit_hash": None})(),
        )
        with pytest.raises(HubError, match="what answers there is no model hub"):
            started("test_resnet")


def test_one_model_that_the_hub_refuses_does_not_keep_the_others_away(at, weights):
    with model_hub(on_hub("test_resnet", weights)) as (address, _):
        at(address)
        fetch = started("test_vit", "test_resnet")
        with pytest.raises(
            HubError,
            match=r"^the pretrained weights of 1 backbone could not be fetched:\n  test_vit: .+",
        ) as raised:
            fetch.result(lambda *_: None, every_s=0.01)
    assert str(raised.value).endswith(", or do not")
    assert cached_weights("test_resnet") is not None


def test_weights_that_are_not_on_the_hub_come_from_their_own_address(monkeypatch, weights):
    with model_hub({("old", "resnet.pth"): weights}) as (address, _):
        url = f"{address}/old/resolve/main/resnet.pth"
        monkeypatch.setattr(hub, "weights_source", lambda _: WeightsSource("", "", url))
        assert cached_weights("it") is None
        assert fetched("it")[-1] == (1, 1)
        assert cached_weights("it").read_bytes() == weights
    monkeypatch.setattr(hub, "weights_source", lambda _: WeightsSource("", "", f"{url}.gone"))
    with pytest.raises(HubError, match=re.escape("127.0.0.1 cannot be reached (")):
        started("it")


def test_a_place_is_asked_whether_it_answers_and_nothing_is_fetched(at, monkeypatch, weights):
    with model_hub(on_hub("test_resnet", weights)) as (address, asked):
        at(address)
        assert answers("test_resnet")
        assert all(question.startswith("HEAD ") for question in asked)
        assert not answers("test_vit_relpos")  # timm has no weights of it
    at(nowhere())
    assert not answers("test_resnet")
    hangs = threading.Event()
    monkeypatch.setattr(hub, "_ask", lambda source: hangs.wait(60))
    assert not answers("test_resnet", within_s=0.1)
    hangs.set()
