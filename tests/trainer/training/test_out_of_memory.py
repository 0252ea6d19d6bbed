"""Too little GPU memory: batches are split into equal parts once, and the fold run goes on;
a second time it ends.
"""

import logging
import re

import pytest
import torch

from tests.trainer.conftest import (
    STEPS,
    Watcher,
    after_an_epoch,
    bits,
    files,
    finish_with_interruptions,
    oof,
    paper_manifest,
    squares,
)
from trainer.data.folds import make_folds
from trainer.errors import OutOfMemoryError
from trainer.images.images import Decoded
from trainer.learning import learner
from trainer.learning.step import Stepper
from trainer.model.network import Network
from trainer.training.reporter import EpochReport

NOTE = (
    "fold 0, epoch {epoch}: CUDA out of memory (batch_size=4, backbone=test_resnet, resize=16); "
    "batches were split into 2 parts of 2"
)


@pytest.fixture
def memory(monkeypatch):
    """A device that trains on so many images at once, from attempt `first` on;
    it notes the sizes of all attempts.
    """
    attempts: list[int] = []
    forward = Network.forward

    def limit(images: int, *, first: int = 0) -> list[int]:
        def forwarded(network, views):
            if torch.is_grad_enabled():
                attempts.append(len(views[0]))
                if len(views[0]) > images and len(attempts) > first:
                    raise torch.OutOfMemoryError(
                        "CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines"
                    )
            return forward(network, views)

        monkeypatch.setattr(Network, "forward", forwarded)
        return attempts

    return limit


def test_the_batch_is_split_and_the_fold_run_goes_on(train, tiny, memory, steps):
    attempts = memory(2)
    watcher = Watcher()
    result = train(tiny(), reporter=watcher)
    assert attempts == [4] + [2, 2] * 3 * STEPS
    assert len(steps) == 3 * STEPS
    assert watcher.epochs == [1, 2, 3]
    assert result.accumulation == 2
    assert result.notes == [NOTE.format(epoch=1)]


def test_it_is_said_in_the_log(train, tiny, memory, caplog):
    memory(2)
    with caplog.at_level(logging.WARNING, "trainer.learning.learner"):
        train(tiny())
    assert caplog.messages == [NOTE.format(epoch=1)]


def test_enough_memory_leaves_no_note(train, tiny, memory):
    memory(4)
    result = train(tiny())
    assert (result.accumulation, result.notes) == (1, [])


@pytest.mark.parametrize(
    "changes", [{}, {"ema": 0.9, "clip_norm": 1.0}, {"dropout": 0.3, "cutmix": 0.5, "flip": 0.5}]
)
def test_split_from_the_first_step_on_it_is_the_same_training_as_with_accumulation(
    train, tiny, memory, tmp_path, changes
):
    memory(2)
    train(tiny(**changes), "split")
    train(tiny(accumulation=2, **changes), "asked for")
    assert bits(tmp_path / "split")["weights"] == bits(tmp_path / "asked for")["weights"]
    assert (oof(tmp_path / "split") == oof(tmp_path / "asked for")).all()


def test_the_epochs_before_are_not_trained_again(train, tiny, memory, steps, monkeypatch):
    """The step that failed is taken with its own batch, and no other one twice."""
    batches = []
    step = Stepper.step
    monkeypatch.setattr(
        Stepper,
        "step",
        lambda stepper, views, targets_BK, **rest: (
            batches.append((rest["index"], rest["parts"])),
            step(stepper, views, targets_BK, **rest),
        )[1],
    )
    attempts = memory(2, first=STEPS + 2)
    watcher = Watcher()
    result = train(tiny(), reporter=watcher)
    assert watcher.epochs == [1, 2, 3]
    assert len(steps) == 3 * STEPS
    bad = STEPS + 2
    assert batches == [(n, 1) for n in range(bad + 1)] + [(n, 2) for n in range(bad, 3 * STEPS)]
    assert attempts[: bad + 1] == [4] * (bad + 1)
    assert result.notes == [NOTE.format(epoch=2)]


def test_the_epochs_before_keep_their_bits(train, tiny, memory, tmp_path):
    train(tiny(), "whole")
    memory(2, first=STEPS)
    train(tiny(), "split")
    whole, split = (bits(tmp_path / name)["curve"] for name in ("whole", "split"))
    assert split[0] == whole[0]
    assert split[1] != whole[1]


def test_a_continued_fold_run_knows_of_it(train, tiny, memory, tmp_path):
    attempts = memory(2)
    train(tiny(), "whole")
    attempts.clear()
    assert len(finish_with_interruptions(train, tiny())) == 3
    assert attempts.count(4) == 1
    assert bits(tmp_path / "continued") == bits(tmp_path / "whole")


def test_a_continued_fold_run_has_no_second_chance_either(train, tiny, memory):
    memory(4)
    train(tiny(batch_size=8), reporter=Watcher(interrupt=after_an_epoch))
    memory(2)
    with pytest.raises(OutOfMemoryError, match=r"^fold 0, epoch 2: .* in 2 parts\)\. "):
        train(tiny(batch_size=8))


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "parts"),
    [(4, 1, 2), (9, 1, 3), (12, 2, 4), (18, 2, 6), (20, 4, 10), (24, 4, 8)],
)
def test_parts_are_equal_and_at_least_twice_as_many_where_a_batch_can_be_split_so(
    train, tiny, memory, batch_size, accumulation, parts
):
    attempts = memory(batch_size // accumulation - 1)
    config = tiny(batch_size=batch_size, accumulation=accumulation, epochs=1, backbone="test_vit")
    images_NHWC, labels_N = squares(3 * batch_size, side=16)  # two batches are trained on
    folds = make_folds(paper_manifest(labels_N), k=3, seed=0)
    result = train(config, images=Decoded(images_NHWC), folds=folds)
    assert result.accumulation == parts
    assert attempts[0] == batch_size // accumulation
    assert set(attempts[1:]) == {batch_size // parts}


def test_a_batch_that_has_no_equal_parts_is_split_as_equally_as_can_be(train, tiny, memory):
    attempts = memory(4)
    assert train(tiny(batch_size=7, epochs=1, backbone="test_vit")).accumulation == 2
    assert attempts == [6] + [3, 3] * 4  # 24 images make four batches of 6


def test_the_next_fold_starts_with_parts(train, tiny, memory, tmp_path):
    attempts = memory(2)
    first = train(tiny(), "first")
    attempts.clear()
    second = train(tiny(), "second", fold=1, parts=first.accumulation)
    assert set(attempts) == {2}
    assert (second.accumulation, second.notes) == (2, [])
    assert second.config_hash == first.config_hash


def test_fewer_parts_than_asked_for_do_not_count(train, tiny):
    assert train(tiny(accumulation=4, backbone="test_vit", epochs=1), parts=2).accumulation == 4


def test_a_later_fold_has_no_second_chance(train, tiny, memory):
    attempts = memory(2)
    with pytest.raises(OutOfMemoryError, match=r"in 2 parts\)\. "):
        train(tiny(batch_size=8), parts=2)
    assert attempts == [4]


def test_a_second_failure_ends_with_the_numbers(train, tiny, memory, tmp_path, steps):
    attempts = memory(1)
    with pytest.raises(OutOfMemoryError) as caught:
        train(tiny())
    assert str(caught.value) == (
        "fold 0, epoch 1: CUDA out of memory (batch_size=4, backbone=test_resnet, resize=16, "
        "with batches in 2 parts). A smaller batch_size or resize helps, or more accumulation. "
        "Torch says: CUDA out of memory. Tried to allocate 2.00 GiB."
    )
    assert (attempts, steps) == ([4, 2], [])
    assert files(tmp_path / "fold-0") == []


def test_a_second_failure_in_a_later_epoch_ends_it_too(train, tiny, memory, tmp_path):
    attempts = memory(4)

    def less(report: EpochReport) -> None:
        if report.epoch == 2:
            memory(2)

    with pytest.raises(OutOfMemoryError, match=r"^fold 0, epoch 3: "):
        train(tiny(batch_size=8), reporter=Watcher(at_epoch=less), checkpoint_every_s=0)
    assert attempts == [8] + [4] * 12 + [4]  # three steps of two parts in each of two epochs
    assert files(tmp_path / "fold-0") == ["last.ckpt"]


@pytest.mark.parametrize(
    ("batch_size", "accumulation"), [(1, 1), (2, 1), (3, 1), (2, 2), (4, 2), (4, 4)]
)
def test_parts_are_never_single_images(train, tiny, memory, batch_size, accumulation):
    attempts = memory(0)
    config = tiny(backbone="test_vit", batch_size=batch_size, accumulation=accumulation)
    with pytest.raises(
        OutOfMemoryError, match=rf"\(batch_size={batch_size}, backbone=test_vit, resize=16[,)]"
    ):
        train(config)
    assert attempts == [batch_size // accumulation]


def test_nothing_of_a_failed_step_is_applied(train, tiny, memory, networks):
    memory(2, first=STEPS)
    known: list[dict[str, torch.Tensor]] = []

    def remember(_: object) -> None:
        known.append({name: value.clone() for name, value in networks[0].state_dict().items()})
        memory(0)

    with pytest.raises(OutOfMemoryError, match="epoch 2"):
        train(tiny(), reporter=Watcher(at_epoch=remember))
    assert all(
        torch.equal(value, known[0][name]) for name, value in networks[0].state_dict().items()
    )
    assert all(parameter.grad is None for parameter in networks[0].parameters())


def test_another_error_is_not_taken_for_too_little_memory(train, tiny, monkeypatch):
    def broken(network, views):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Network, "forward", broken)
    with pytest.raises(RuntimeError, match=re.escape("illegal memory access")):
        train(tiny())


# beside the training passes


@pytest.mark.parametrize(
    ("changes", "name"), [({}, "forward"), ({"freeze": "backbone"}, "features")]
)
def test_scoring_and_features_are_tried_again_with_split_batches(
    train, tiny, monkeypatch, steps, changes, name
):
    plain = getattr(Network, name)

    def limited(network, seen):
        images = len(seen) if name == "features" else len(seen[0])
        if not torch.is_grad_enabled() and images > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(network, seen)

    monkeypatch.setattr(Network, name, limited)
    watcher = Watcher()
    result = train(tiny(**changes), reporter=watcher)
    assert (result.accumulation, result.notes) == (2, [NOTE.format(epoch=1)])
    assert watcher.epochs == [1, 2, 3]
    assert len(steps) == 3 * STEPS  # no step is taken twice


def test_a_step_of_the_optimizer_that_began_is_never_tried_again(train, tiny, monkeypatch):
    build = learner.build_optimizer
    tries = []

    def without_room(*args, **settings):
        optimizer = build(*args, **settings)

        def refuse(*_: object) -> None:
            tries.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory")

        optimizer.register_step_pre_hook(refuse)
        return optimizer

    monkeypatch.setattr(learner, "build_optimizer", without_room)
    with pytest.raises(
        OutOfMemoryError, match=r"^fold 0, epoch 1: CUDA out of memory \(batch_size=4, "
    ):
        train(tiny())
    assert tries == [1]
