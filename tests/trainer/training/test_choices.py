"""Every choice of a configuration: it trains,
and it does to a fold run what its description says.
"""

import dataclasses

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.trainer.conftest import STEPS, Watcher, oof, predicted, squares
from trainer.config import AUGMENTERS, MIXERS
from trainer.errors import ConfigError
from trainer.images.images import Decoded
from trainer.learning.average import WeightAverage
from trainer.learning.optimizers import OPTIMIZERS
from trainer.learning.step import Stepper
from trainer.model.network import Network
from trainer.training import epochs

RATES = {"radam": 2e-2, "lion": 5e-4, "rmsprop": 1e-3, "sgd": 1e-2, "adan": 1e-2}  # else 3e-3
MIX = {"soft_f1": 0.4, "focal": 0.6}
LEARNED = {  # every choice that has to be learned with
    **{
        name: {"optimizer": name, "lr": RATES.get(name, 3e-3)}
        for name in (*OPTIMIZERS, "nadamw", "adan")
    },
    "scheduler none": {"scheduler": "none"},
    "scheduler step": {"scheduler": "step", "step_epochs": 2},
    "scheduler multistep": {"scheduler": "multistep", "milestones": [2, 3]},
    "scheduler exponential": {"scheduler": "exponential"},
    "scheduler cosine": {"scheduler": "cosine", "warmup_epochs": 1, "restart_epochs": 2},
    "scheduler one_cycle": {"scheduler": "one_cycle"},
    "scheduler cyclic": {"scheduler": "cyclic", "base_lr": 1e-3},
    "scheduler plateau": {"scheduler": "plateau", "plateau_patience": 1},
    "scheduler two_stage": {"scheduler": "two_stage", "second_epoch": 3, "second_lr": 1e-4},
    "layer_decay": {"layer_decay": 0.8, "head_lr_factor": 2.0, "weight_decay": 0.05},
    "clip_norm": {"clip_norm": 1.0},
    "accumulation": {"accumulation": 2, "epochs": 8},
    "ema": {"ema": 0.9},
    "label_smoothing": {"loss": "label_smoothing"},
    "focal": {"loss": "focal"},
    "soft_f1": {"loss": "soft_f1", "batch_size": 8},
    "mixture": {"loss": "mixture", "loss_mix": MIX},
    "class_weights balanced": {"class_weights": "balanced"},
    "class_weights effective_number": {"class_weights": "effective_number"},
    "sampling balanced": {"sampling": "balanced"},
    "head_norm": {"head_norm": True, "dropout": 0.2},
    "pooling avg": {"pooling": "avg"},
    "pooling max": {"pooling": "max"},
    "pooling avgmax": {"pooling": "avgmax"},
    "pooling catavgmax": {"pooling": "catavgmax"},
    "pooling token": {"pooling": "token", "backbone": "test_vit", "lr": 3e-3},
    "freeze backbone": {"freeze": "backbone", "lr": 0.1},
    "freeze all_but_last_block": {"freeze": "all_but_last_block"},
    "freeze up_to": {"freeze": "up_to:layer2"},
    "unfreeze_epoch": {"freeze": "backbone", "unfreeze_epoch": 2},
    **{name: {name: 0.5} for name in AUGMENTERS},
    **{name: {name: 0.5} for name in MIXERS},
    "tta flip": {"tta": "flip"},
    "tta crops": {"tta": "crops"},
    "tta flip_crops": {"tta": "flip_crops"},
    "normalise none": {"normalise": "none"},
    "normalise dataset": {"normalise": "dataset"},
    "checkpoint best": {"checkpoint": "best"},
    "checkpoint fold_best": {"checkpoint": "fold_best"},
}
OWN_CODE = """
import torch

def share_of_class_c(probs_NK, labels_N, classes):
    return probs_NK[:, classes.index("c")].mean()

def squared(logits_BK, targets_BK):
    return (logits_BK.softmax(dim=1) - targets_BK).square().sum(dim=1).mean()

def broken(logits_BK, targets_BK):
    return logits_BK[:, 7].mean()

def means(size_HW, pretrained):
    return torch.nn.Sequential(torch.nn.AvgPool2d(size_HW), torch.nn.Flatten())
"""


@pytest.mark.parametrize("choice", LEARNED)
def test_it_learns_a_toy_problem(train, tiny, choice):
    watcher = Watcher()
    result = train(tiny(**{"epochs": 4, "lr": 3e-3, **LEARNED[choice]}), reporter=watcher)
    assert result.metrics["accuracy"] > 0.8
    first, *later = [report.metrics["train_loss"] for report in watcher.reports]
    assert min(later) < first


def test_separate_heads_learn_a_toy_problem(train, tiny, people):
    config = tiny(heads="separate", head_weights={"time": 2.0}, epochs=4)
    assert train(config, folds=people[1]).metrics["accuracy"] > 0.8


def test_progressive_resize_learns_a_toy_problem(train, tiny):
    images = Decoded(squares(36, side=64)[0])
    result = train(tiny(resize=64, progressive=0.5, epochs=3), images=images)
    assert result.metrics["accuracy"] > 0.8


# nothing of the held-out fold reaches the training

PEEKING = [
    {},
    {"class_weights": "balanced"},
    {"class_weights": "effective_number", "loss": "focal"},
    {"sampling": "balanced"},
    {"one_class_cutmix": 1.0},
    {"cutmix": 0.5, "half_cutmix": 0.2, "mixup": 0.3},
    {"normalise": "dataset"},
    {
        "scheduler": "plateau",
        "plateau_patience": 1,
        "monitor": "ece",
        "min_delta": 100,
    },  # never improves
]


@pytest.mark.parametrize("changes", PEEKING)
def test_held_out_images_and_labels_change_no_weight(train, tiny, toy, tmp_path, changes):
    images, folds = toy
    held_out = folds.valid_rows(0)
    labels_N = folds.manifest.labels_N.copy()
    labels_N[held_out] = 0
    pixels_NHWC = images.take(np.arange(36))
    pixels_NHWC[held_out] = 255
    other = dataclasses.replace(
        folds, manifest=dataclasses.replace(folds.manifest, labels_N=labels_N)
    )
    config = tiny(**{"epochs": 2, **changes})
    train(config, "a")
    train(config, "b", folds=other, images=Decoded(pixels_NHWC))
    assert (tmp_path / "a/model.safetensors").read_bytes() == (
        tmp_path / "b/model.safetensors"
    ).read_bytes()
    assert (oof(tmp_path / "a") != oof(tmp_path / "b")).any()


# batches


@pytest.fixture
def seen(monkeypatch):
    """Images of every optimizer step, and of every part that went through the network."""
    batches: list[int] = []
    parts: list[int] = []
    step = Stepper.step
    forward = Network.forward

    def stepped(stepper, views, targets_BK, **settings):
        batches.append(len(targets_BK))
        return step(stepper, views, targets_BK, **settings)

    def forwarded(network, views):
        if torch.is_grad_enabled():
            parts.append(len(views[0]))
        return forward(network, views)

    monkeypatch.setattr(Stepper, "step", stepped)
    monkeypatch.setattr(Network, "forward", forwarded)
    return batches, parts


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "count"),
    [(4, 1, 6), (4, 2, 6), (12, 6, 2), (24, 3, 1), (4, 4, 6)],
)
def test_a_step_is_of_batch_size_images_in_equal_parts(
    train, tiny, seen, batch_size, accumulation, count
):
    backbone = "test_vit"  # takes single images, too
    config = tiny(
        batch_size=batch_size,
        accumulation=accumulation,
        epochs=1,
        one_class_cutmix=0.5,
        backbone=backbone,
    )
    assert train(config).accumulation == accumulation
    assert seen[0] == [batch_size] * count
    assert seen[1] == [batch_size // accumulation] * (accumulation * count)


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "steps", "parts"),
    [
        (10, 1, [8, 8, 8], [8, 8, 8]),  # of 24 images
        (10, 5, [8, 8, 8], [2] * 12),
        (14, 2, [12, 12], [6] * 4),
        (16, 2, [12, 12], [6] * 4),
        (23, 1, [12, 12], [12, 12]),
        (7, 1, [6] * 4, [6] * 4),
    ],
)
def test_every_image_is_trained_on_in_batches_as_even_as_can_be(
    train, tiny, seen, batch_size, accumulation, steps, parts
):
    train(tiny(batch_size=batch_size, accumulation=accumulation, epochs=1, backbone="test_vit"))
    assert (seen[0], seen[1]) == (steps, parts)


def test_fewer_images_than_a_batch_go_in_parts_of_no_more_than_usual(train, tiny, seen):
    """24 images are one batch; a part has 30 / 3 = 10 images at most, and more than one."""
    train(tiny(batch_size=30, accumulation=3, epochs=1))
    assert seen[0] == [24]
    assert sum(seen[1]) == 24
    assert 1 < min(seen[1]) <= max(seen[1]) <= 12


# freezing


@pytest.fixture
def states(networks):
    """A reporter, and the network's state before the training and after each epoch."""
    known: list[dict[str, torch.Tensor]] = []

    def note(_: object = None) -> None:
        known.append({name: value.clone() for name, value in networks[-1].state_dict().items()})

    build = epochs.build_network  # of `networks`
    with pytest.MonkeyPatch.context() as patch:

        def built(*args, **settings):
            network = build(*args, **settings)
            note()
            return network

        patch.setattr(epochs, "build_network", built)
        yield Watcher(at_epoch=note), known


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Names of what has other bits."""
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("backbone", ("backbone.",)),
        ("up_to:layer2", ("backbone.conv1", "backbone.bn1", "backbone.layer1", "backbone.layer2")),
        (
            "all_but_last_block",
            ("backbone.conv1", "backbone.bn1", "backbone.layer1", "backbone.layer3"),
        ),
    ],
)
@pytest.mark.parametrize("extra", [{}, {"flip": 0.5, "weight_decay": 0.1, "ema": 0.9}])
def test_what_is_frozen_keeps_its_bits_with_its_statistics(
    train, tiny, states, freeze, frozen, extra
):
    watcher, known = states
    train(tiny(freeze=freeze, **extra), reporter=watcher)
    moved = changed(known[0], known[-1])
    assert not [name for name in moved if name.startswith(frozen)]
    trained = {
        name for name in known[0] if not name.startswith(frozen) and "num_batches" not in name
    }
    assert trained <= moved | {name for name in trained if name.startswith("backbone.layer2")}
    assert any(name.endswith("running_mean") and name.startswith(frozen) for name in known[0])


@pytest.mark.parametrize("freeze", ["backbone", "up_to:layer2"])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "madgrad"])
def test_unfreezing_begins_at_its_epoch(train, tiny, states, freeze, optimizer):
    watcher, known = states
    train(
        tiny(freeze=freeze, unfreeze_epoch=3, optimizer=optimizer, weight_decay=0.1),
        reporter=watcher,
    )
    frozen = ("backbone.conv1", "backbone.bn1", "backbone.layer1")
    assert not [name for name in changed(known[0], known[2]) if name.startswith(frozen)]
    thawed = {name for name in known[0] if name.startswith(frozen)}
    assert thawed <= changed(known[2], known[3])


@pytest.fixture
def looked_at(monkeypatch):
    """Images that went through the backbone, call by call."""
    calls: list[int] = []
    features = Network.features
    monkeypatch.setattr(
        Network,
        "features",
        lambda network, images: (calls.append(len(images)), features(network, images))[1],
    )
    return calls


@pytest.mark.parametrize(
    "extra", [{}, {"ema": 0.9, "tta": "none"}, {"unfreeze_epoch": 9}, {"mixup_alpha": 1.0}]
)
def test_features_of_a_frozen_backbone_are_computed_once(train, tiny, looked_at, extra):
    after: list[int] = []
    watcher = Watcher(at_epoch=lambda _: after.append(sum(looked_at)))
    train(tiny(freeze="backbone", **extra), reporter=watcher)
    assert after == [36, 36, 36]


@pytest.mark.parametrize(("tta", "looks"), [("flip", 2), ("crops", 6), ("flip_crops", 12)])
def test_features_are_computed_for_every_way_of_looking(train, tiny, looked_at, tta, looks):
    train(tiny(freeze="backbone", tta=tta))
    assert sum(looked_at) == 24 + 12 * looks


@pytest.mark.parametrize(
    ("extra", "measured"),  # images for the statistics of batch norms that are trained
    [
        ({"flip": 0.5}, (0, 0, 0)),
        ({"cutmix": 0.5}, (0, 0, 0)),
        ({"unfreeze_epoch": 3}, (0, 0, 24)),
        ({"freeze": "none"}, (4, 4, 24)),
    ],
)
def test_features_are_computed_in_every_epoch_where_they_change(
    train, tiny, looked_at, extra, measured
):
    after: list[int] = []
    watcher = Watcher(at_epoch=lambda _: after.append(sum(looked_at)))
    train(tiny(**{"freeze": "backbone", **extra}), reporter=watcher)
    assert np.diff([0, *after]).tolist() == [36 + images for images in measured]


@pytest.mark.parametrize(
    "extra", [{}, {"tta": "flip_crops"}, {"head_norm": True, "dropout": 0.3}, {"ema": 0.9}]
)
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_training_on_features_is_training_on_images(
    train, tiny, tmp_path, monkeypatch, backbone, extra
):
    config = tiny(freeze="backbone", backbone=backbone, optimizer="sgd", **extra)
    train(config, "features")
    monkeypatch.setattr(epochs, "frozen_backbone", lambda *_, **__: False)
    train(config, "images")
    weights = [
        safetensors.torch.load_file(tmp_path / name / "model.safetensors")
        for name in ("features", "images")
    ]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(oof(tmp_path / "features"), oof(tmp_path / "images"), atol=1e-5)


def test_features_of_two_views_are_those_of_their_images(
    train, tiny, people, tmp_path, monkeypatch
):
    more = Decoded(squares(36, side=16, seed=1)[0])
    config = tiny(freeze="backbone", heads="separate", head_crops={"tone": "box"}, optimizer="sgd")
    train(config, "features", folds=people[1], images=[people[0], more])
    monkeypatch.setattr(epochs, "frozen_backbone", lambda *_, **__: False)
    train(config, "images", folds=people[1], images=[people[0], more])
    np.testing.assert_allclose(oof(tmp_path / "features"), oof(tmp_path / "images"), atol=1e-5)


# heads


@pytest.fixture
def said_logits(monkeypatch):
    """What the network said of the held-out rows after each epoch, per head."""
    said: list[tuple[torch.Tensor, ...]] = []
    predict = epochs.predict

    def noted(*args, **settings):
        prediction = predict(*args, **settings)
        said.append(prediction.logits)
        return prediction

    monkeypatch.setattr(epochs, "predict", noted)
    return said


def test_separate_heads_give_the_product_of_their_parts_over_the_classes_that_occur(
    train, tiny, people, tmp_path, said_logits
):
    train(tiny(heads="separate"), folds=people[1])
    probs_NK = oof(tmp_path / "fold-0")
    assert probs_NK.shape == (12, 3)
    np.testing.assert_allclose(probs_NK.sum(axis=1), 1, atol=1e-6)
    weights = safetensors.torch.load_file(tmp_path / "fold-0" / "model.safetensors")
    assert [tuple(weights[f"heads.{head}.linear.bias"].shape) for head in (0, 1)] == [(2,), (2,)]
    tone, time = (head.softmax(dim=1).numpy() for head in said_logits[-1])
    # warm + day, cold + day, cold + night; warm + night does not occur
    product_NK = np.stack(
        [tone[:, 0] * time[:, 0], tone[:, 1] * time[:, 0], tone[:, 1] * time[:, 1]], axis=1
    )
    np.testing.assert_allclose(
        probs_NK, product_NK / product_NK.sum(axis=1, keepdims=True), atol=1e-6
    )


def test_each_head_sees_its_own_crop(train, tiny, people, said_logits):
    images, folds = people
    whole = images.take(np.arange(36))
    cropped = squares(36, side=16, seed=1)[0]
    config = tiny(heads="separate", head_crops={"time": "box"}, epochs=1)
    assert (config.view_of("tone"), config.view_of("time")) == (0, 1)
    for number, black in enumerate([None, 0, 1]):
        views = [whole.copy(), cropped.copy()]
        if black is not None:
            views[black][folds.valid_rows(0)] = 0  # the held-out rows: the training stays the same
        train(config, str(number), folds=folds, images=[Decoded(view) for view in views])
    plain, without_whole, without_crop = said_logits
    assert not torch.equal(without_whole[0], plain[0])
    assert torch.equal(without_whole[1], plain[1])
    assert torch.equal(without_crop[0], plain[0])
    assert not torch.equal(without_crop[1], plain[1])


def test_a_heads_weight_decides_what_it_learns(train, tiny, people, tmp_path):
    """A head that counts nothing keeps its initial bits but for what all share."""
    config = tiny(heads="separate", head_weights={"time": 0.0}, epochs=1)
    train(config, folds=people[1])
    weights = safetensors.torch.load_file(tmp_path / "fold-0" / "model.safetensors")
    train(tiny(heads="separate", head_weights={"time": 0.0}, epochs=2), "longer", folds=people[1])
    longer = safetensors.torch.load_file(tmp_path / "longer" / "model.safetensors")
    assert torch.equal(weights["heads.1.linear.weight"], longer["heads.1.linear.weight"])
    assert not torch.equal(weights["heads.0.linear.weight"], longer["heads.0.linear.weight"])


# two stages


def test_the_epoch_whose_gap_widened_is_undone(train, tiny, states, widening):
    widening(2)
    watcher, known = states
    config = tiny(
        scheduler="two_stage", second_gap=5.0, second_lr=1e-3, epochs=4, optimizer="sgd", ema=0.5
    )
    result = train(config, reporter=watcher)
    assert changed(known[0], known[1])
    assert not changed(known[1], known[2])  # with batch norms' statistics
    assert changed(known[2], known[3])
    assert [report.metrics["lr"] for report in watcher.reports] == pytest.approx(
        [1e-2, 1e-2, 1e-3, 1e-3]
    )
    assert (result.epochs, result.scored_epoch) == (4, 4)


def test_after_several_epochs_that_overfit_the_best_one_is_where_it_goes_on(
    train, tiny, states, widening
):
    widening(2)
    widening(3)
    watcher, known = states
    config = tiny(scheduler="two_stage", second_gap=5.0, second_patience=2, epochs=4)
    train(config, reporter=watcher)
    assert changed(known[1], known[2])
    assert not changed(known[1], known[3])
    assert [report.metrics["lr"] for report in watcher.reports] == pytest.approx(
        [1e-2, 1e-2, 1e-2, 1e-7]
    )


def test_the_loss_of_training_images_is_measured_as_the_validation_loss_is(train, tiny):
    """Augmentation, mixing and dropout make the loss of the steps ten times as high."""
    hard = {"jitter": 1.0, "erasing": 1.0, "mixup": 1.0, "mixup_alpha": 50, "dropout": 0.9}
    plain, other = Watcher(), Watcher()
    train(tiny(scheduler="two_stage", epochs=8, lr=3e-3, **hard), "two", reporter=plain)
    train(tiny(epochs=8), "other", reporter=other)
    metrics = plain.reports[-1].metrics
    assert abs(metrics["fitted_loss"] - metrics["loss"]) < abs(
        metrics["train_loss"] - metrics["loss"]
    )
    assert "fitted_loss" not in other.reports[-1].metrics


def test_the_average_and_the_moments_go_back_too(train, tiny, tmp_path, widening, monkeypatch):
    """Nothing is left of the undone epoch: whatever was trained in it, the rest is the same."""
    widening(2)
    config = tiny(scheduler="two_stage", second_gap=5.0, second_lr=1e-3, epochs=3, ema=0.9)
    train(config, "a")
    lr_at = epochs.lr_at
    monkeypatch.setattr(
        epochs,
        "lr_at",
        lambda config, *, step, **rest: (
            lr_at(config, step=step, **rest) / (1 + (step // STEPS == 1))
        ),
    )
    train(config, "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (
        tmp_path / "b/model.safetensors"
    ).read_bytes()


def test_the_last_epoch_is_never_undone(train, tiny, toy, tmp_path, widening, states):
    widening(3)
    watcher, known = states
    config = tiny(scheduler="two_stage", second_gap=5.0)
    result = train(config, reporter=watcher)
    assert changed(known[2], known[3])
    assert result.scored_epoch == 3
    probs_NK = predicted(config, tmp_path / "fold-0", [toy[0]], toy[1])
    np.testing.assert_allclose(oof(tmp_path / "fold-0"), probs_NK, atol=1e-6)


# the average of the weights


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_the_average_is_scored_and_saved(
    train, tiny, toy, tmp_path, networks, steps, monkeypatch, decay
):
    values: list[torch.Tensor] = []
    name = "heads.0.linear.weight"
    update = WeightAverage.update

    def noted(average, network, step):
        values.append(network.state_dict()[name].clone())
        update(average, network, step)

    monkeypatch.setattr(WeightAverage, "update", noted)
    config = tiny(ema=decay)
    train(config)
    assert len(values) == len(steps) == 3 * STEPS
    expected = values[0]
    for step, value in enumerate(values):
        share = min(decay, 1 - (1 + step) ** (-2 / 3))
        expected = share * expected + (1 - share) * value
    saved = safetensors.torch.load_file(tmp_path / "fold-0" / "model.safetensors")
    torch.testing.assert_close(saved[name], expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(saved[name], networks[0].state_dict()[name])
    probs_NK = predicted(config, tmp_path / "fold-0", [toy[0]], toy[1])
    np.testing.assert_allclose(oof(tmp_path / "fold-0"), probs_NK, atol=1e-6)


def test_the_average_changes_nothing_of_the_training(train, tiny, networks):
    train(tiny(), "plain")
    train(tiny(ema=0.9), "averaged")
    # the statistics of batch norms are measured on the network that scores the fold only
    plain, averaged = (dict(network.named_parameters()) for network in networks)
    assert not changed(plain, averaged)


# functions of the user's own


def test_own_functions_are_trained_and_scored_with(train, tiny, toy, tmp_path):
    (tmp_path / "my_task.py").write_text(OWN_CODE)
    config = tiny(
        backbone="my_task.py:means",
        loss="my_task.py:squared",
        metric="my_task.py:share_of_class_c",
        lr=1.0,
        epochs=4,
    )
    watcher = Watcher()
    result = train(config, code=tmp_path, reporter=watcher)
    probs_NK = oof(tmp_path / "fold-0")
    labels_N = toy[1].manifest.labels_N[toy[1].valid_rows(0)]
    assert result.metrics["metric"] == pytest.approx(probs_NK[:, 2].mean(), rel=1e-6)
    assert result.metrics["loss"] == pytest.approx(
        np.square(probs_NK - np.eye(3)[labels_N]).sum(1).mean(), rel=1e-5
    )
    assert result.metrics["accuracy"] > 0.8
    weights = safetensors.torch.load_file(tmp_path / "fold-0" / "model.safetensors")
    assert {name: tuple(value.shape) for name, value in weights.items()} == {
        "heads.0.linear.weight": (3, 3),
        "heads.0.linear.bias": (3,),
    }


def test_another_content_of_the_own_file_is_another_configuration(train, tiny, tmp_path, steps):
    config = tiny(loss="my_task.py:squared", epochs=1)
    (tmp_path / "my_task.py").write_text(OWN_CODE)
    first = train(config, code=tmp_path)
    assert first.config_hash.startswith(f"{config.fingerprint()}-")
    assert train(config, code=tmp_path) == first
    (tmp_path / "my_task.py").write_text(OWN_CODE.replace("square()", "abs()"))
    again = train(config, code=tmp_path)
    assert again.config_hash != first.config_hash
    assert len(steps) == 2 * STEPS


def test_a_mistake_in_the_own_loss_is_told_with_its_line(train, tiny, tmp_path):
    (tmp_path / "my_task.py").write_text(OWN_CODE)
    with pytest.raises(ConfigError, match=r"^my_task.py:broken, line 11: \w+Error: "):
        train(tiny(loss="my_task.py:broken"), code=tmp_path)
