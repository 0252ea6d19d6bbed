"""Checkpoints and weights: whole, of the very same fold run, and without code."""

import contextlib
import os
import pickle

import pytest
import safetensors.torch
import torch
from torch import nn

from trainer.errors import CheckpointError
from trainer.model import checkpoint
from trainer.model.checkpoint import (
    load_checkpoint,
    load_weights,
    read_header,
    read_parameters,
    save_checkpoint,
    save_weights,
)

IDENTITY = {"config": "c0ffee", "folds": "f01d5", "fold": 1}


def network(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, classes))


@pytest.fixture
def saved(tmp_path):
    """A checkpoint with a trained optimizer's state."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 3, 3, 3)).sum().backward()
    optimizer.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "curve": [{"epoch": 1, "loss": 0.1 + 0.2}],
    }
    save_checkpoint(tmp_path / "last.ckpt", state, identity=IDENTITY)
    return tmp_path / "last.ckpt", state


def load(path, identity=IDENTITY):
    return load_checkpoint(path, identity=identity)


def equal(left: object, right: object) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right


def test_the_state_comes_back_bit_for_bit(saved):
    path, state = saved
    assert equal(load(path), state)


def test_no_checkpoint_is_no_state(tmp_path):
    assert load(tmp_path / "last.ckpt") is None


def test_saving_again_replaces_and_leaves_nothing_else(saved):
    path, _ = saved
    save_checkpoint(path, {"curve": []}, identity=IDENTITY)
    assert load(path) == {"curve": []}
    assert os.listdir(path.parent) == ["last.ckpt"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"config": "other"}, "config"),
        ({"folds": "other"}, "folds"),
        ({"fold": 2}, "fold"),
        ({"config": "other", "fold": 2}, "config, fold"),
    ],
)
def test_a_checkpoint_of_another_fold_run_is_refused_with_what_differs(saved, change, named):
    path, _ = saved
    with pytest.raises(
        CheckpointError,
        match=rf"^{path}: the checkpoint belongs to another fold run \(different: {named}\). "
        r"Remove it, or use another directory$",
    ):
        load(path, {**IDENTITY, **change})


def test_a_checkpoint_of_another_version_is_refused(saved, monkeypatch):
    path, _ = saved
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    with pytest.raises(CheckpointError, match=r"belongs to another fold run \(different: format\)"):
        load(path)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_a_checkpoint_that_is_cut_off_is_refused(saved, part):
    path, _ = saved
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * part)])
    with pytest.raises(
        CheckpointError,
        match=r"last.ckpt: the checkpoint is damaged \((.|\n)*\). Remove it to start this fold "
        r"again$",
    ):
        load(path)


def test_a_damaged_byte_never_ends_in_another_error(saved):
    path, _ = saved
    raw = path.read_bytes()
    for position in range(0, len(raw), 101):
        damaged = bytearray(raw)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            load(path)


@pytest.mark.parametrize(
    "content", [[1, 2], {"other": 1}, "text", {"identity": IDENTITY, "state": {}}, None]
)
def test_a_torch_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"last.ckpt: the checkpoint is damaged"):
        load(tmp_path / "last.ckpt")


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize(
    "write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))]
)
def test_loading_never_runs_code(tmp_path, write):
    write(
        {"format": 1, "identity": IDENTITY, "state": Bomb(tmp_path / "boom")},
        tmp_path / "last.ckpt",
    )
    with pytest.raises(CheckpointError, match=r"last.ckpt: the checkpoint is damaged"):
        load(tmp_path / "last.ckpt")
    assert not (tmp_path / "boom").exists()


def test_weights_come_back_bit_for_bit(tmp_path):
    model = network()
    other = network()
    save_weights(tmp_path / "model.safetensors", model)
    load_weights(tmp_path / "model.safetensors", other)
    assert equal(dict(other.state_dict()), dict(model.state_dict()))
    assert os.listdir(tmp_path) == ["model.safetensors"]


def test_weights_are_the_same_bytes_whatever_the_memory_format(tmp_path):
    model = network()
    save_weights(tmp_path / "a.safetensors", model)
    save_weights(tmp_path / "b.safetensors", model.to(memory_format=torch.channels_last))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize(
    "content", [None, b"", b"\0" * 64, b"{}"], ids=["missing", "empty", "zeros", "text"]
)
def test_weights_that_are_missing_or_damaged_are_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"model.safetensors: the weights do not load \(.+\)$"
    ):
        load_weights(tmp_path / "model.safetensors", network())


def test_weights_of_another_network_are_refused(tmp_path):
    save_weights(tmp_path / "model.safetensors", network(classes=4))
    with pytest.raises(
        CheckpointError,
        match=r"model.safetensors: the weights do not load \(Error.* Sequential:?\)$",
    ):
        load_weights(tmp_path / "model.safetensors", network(classes=3))


def test_the_header_is_read_without_the_weights_and_is_the_same_bytes_whatever_its_order(tmp_path):
    texts = {"size": "16", "classes": '["차", "b"]', "backbone": "own.py:net"}
    model = network()
    save_weights(tmp_path / "a.safetensors", model, header=texts)
    save_weights(tmp_path / "b.safetensors", model, header=dict(reversed(texts.items())))
    assert read_header(tmp_path / "a.safetensors") == {**texts, "parameters": "135"}
    assert read_parameters(tmp_path / "a.safetensors") == 135
    assert sum(each.numel() for each in model.parameters()) == 135
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    other = network()
    load_weights(tmp_path / "a.safetensors", other)
    assert equal(dict(other.state_dict()), dict(model.state_dict()))


def test_a_file_without_a_header_has_no_texts(tmp_path):
    safetensors.torch.save_file(network().state_dict(), tmp_path / "model.safetensors")
    assert read_header(tmp_path / "model.safetensors") == {}
    assert read_parameters(tmp_path / "model.safetensors") is None
    assert read_parameters(tmp_path / "missing.safetensors") is None


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_a_cut_off_file_of_weights_is_noticed_by_its_header(tmp_path, part):
    path = tmp_path / "model.safetensors"
    save_weights(path, network(), header={"size": "16"})
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * part)])
    with pytest.raises(
        CheckpointError, match=r"model.safetensors: the weights do not load \(.+\)$"
    ):
        read_header(path)
