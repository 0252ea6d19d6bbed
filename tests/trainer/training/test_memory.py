"""What a fold run leaves in memory: nothing."""

import gc

import pytest
import torch
from torch import nn

from tests.trainer.conftest import CPU, Watcher, after_an_epoch
from trainer.errors import NonFiniteLossError
from trainer.training import memory
from trainer.training.fit import Ended
from trainer.training.memory import SLACK_BYTES, leftover_bytes, settled, used_bytes

MB = 2**20
CHOICES = {
    "plain": {},
    "ema": {"ema": 0.9, "optimizer": "madgrad"},
    "two_stage": {"scheduler": "two_stage", "second_gap": 0.001, "epochs": 4},
    "features": {"freeze": "backbone", "tta": "flip"},
    "fold_best": {"checkpoint": "fold_best"},
    "augmented": {
        "flip": 0.5,
        "affine": 0.5,
        "erasing": 0.5,
        "trivial": 0.5,
        "cutmix": 0.5,
        "tta": "flip_crops",
    },
    "class_weights": {"class_weights": "balanced", "accumulation": 2, "clip_norm": 1.0},
}


@pytest.fixture
def before(train, tiny) -> int:
    """Memory in use once everything that stays (modules' constants) has been made,
    in a process that keeps 16 MB.
    """
    train(tiny(epochs=1), "first of all")
    ballast = torch.zeros(4 * MB)
    yield used_bytes(CPU)
    del ballast


@pytest.mark.parametrize("choice", CHOICES)
def test_memory_returns_to_its_starting_value(train, tiny, before, choice):
    train(tiny(**CHOICES[choice]))
    assert abs(used_bytes(CPU) - before) <= 0.01 * before


def test_it_returns_after_separate_heads_too(train, tiny, people, before):
    train(tiny(heads="separate", head_weights={"time": 2.0}), folds=people[1])
    assert abs(used_bytes(CPU) - before) <= 0.01 * before


@pytest.mark.parametrize("reporter", [Watcher(interrupt=after_an_epoch), Watcher(stop_at=1)])
def test_it_returns_after_a_fold_run_that_did_not_finish(train, tiny, before, reporter):
    assert isinstance(train(tiny(), reporter=reporter), Ended)
    assert abs(used_bytes(CPU) - before) <= 0.01 * before


def test_it_returns_after_a_failure(train, tiny, before):
    with pytest.raises(NonFiniteLossError) as caught:
        train(tiny(backbone="test_vit", optimizer="sgd", lr=10))
    del caught  # its traceback holds the fold run
    assert abs(used_bytes(CPU) - before) <= 0.01 * before


def test_a_fold_run_takes_more_than_the_tolerance(train, tiny, before):
    """Or the tests above would prove nothing."""
    during: list[int] = []
    train(tiny(epochs=1), reporter=Watcher(at_epoch=lambda _: during.append(used_bytes(CPU))))
    assert during[0] > 1.01 * before


# what counts


def test_a_tensor_that_is_kept_alive_is_seen_until_it_is_gone():
    before = used_bytes(CPU)
    kept = torch.zeros(MB)
    assert used_bytes(CPU) - before == 4 * MB
    del kept
    assert used_bytes(CPU) == before


def test_a_tensor_in_a_circle_is_collected_first():
    before = used_bytes(CPU)
    circle: list[object] = [torch.zeros(MB)]
    circle.append(circle)
    del circle
    assert used_bytes(CPU) == before


def test_views_of_one_storage_count_once():
    before = used_bytes(CPU)
    kept = torch.zeros(MB)
    views = [kept[:10], kept.view(2, -1)]
    assert used_bytes(CPU) - before == 4 * MB
    del kept  # a view keeps the whole storage
    assert used_bytes(CPU) - before == 4 * MB
    del views


def test_parameters_buffers_and_moments_count():
    before = used_bytes(CPU)
    layer = nn.Linear(1_000, 1_000, bias=False)
    layer.register_buffer("seen", torch.zeros(1_000))
    assert used_bytes(CPU) - before == 4 * (10**6 + 1_000)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.zeros(1, 1_000)).sum().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    assert used_bytes(CPU) - before == pytest.approx(4 * (3 * 10**6 + 1_000), abs=1_000)
    del layer, optimizer


def test_tensors_without_memory_here_do_not_count():
    before = used_bytes(CPU)
    kept = torch.zeros(MB, device="meta")
    assert used_bytes(CPU) == before
    del kept


def test_on_a_gpu_the_data_that_all_trials_share_do_not_count(monkeypatch):
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(memory, "resident_bytes", lambda: 200)
    assert used_bytes(torch.device("cuda")) == 500


def test_on_a_gpu_the_workspaces_of_cublas_do_not_count(monkeypatch):
    reserved = [66, 0]  # MiB on an H200, two workspaces of 32
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: reserved.pop(0))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved[0])
    assert used_bytes(torch.device("cuda")) == 0


# what is too much


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        (0, 0, 0),
        (1_000, 500, 0),  # an earlier trial's data went
        (0, SLACK_BYTES, 0),
        (0, SLACK_BYTES + 1, SLACK_BYTES + 1),
        (50 * MB, 50 * MB + SLACK_BYTES, 0),
        (50 * MB, 50 * MB + SLACK_BYTES + 1, SLACK_BYTES + 1),
        (1_000 * SLACK_BYTES, 1_010 * SLACK_BYTES, 0),  # 1 % of much
        (1_000 * SLACK_BYTES, 1_010 * SLACK_BYTES + 1, 10 * SLACK_BYTES + 1),
    ],
)
def test_left_is_what_exceeds_a_hundredth_and_what_libraries_keep(before, after, left):
    assert leftover_bytes(before, after) == left


def test_a_settled_process_looks_at_new_objects_only_and_ends_as_it_began():
    frozen = gc.get_freeze_count()
    gc.unfreeze()  # as in a process that has not settled
    try:
        old = torch.ones(1)
        with settled():
            assert not any(thing is old for thing in gc.get_objects())
            new = torch.ones(MB)
            assert used_bytes(CPU) >= new.untyped_storage().nbytes()
            count = gc.get_freeze_count()
            with settled():  # a second time changes nothing
                assert gc.get_freeze_count() == count
        assert gc.get_freeze_count() == 0
    finally:
        if frozen:
            gc.freeze()
