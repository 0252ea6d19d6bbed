"""What the network is fed: batches, sizes, mixing in step with its pixels;
or features computed once.
"""

from collections.abc import Iterable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.fakes import manifest_of
from tests.trainer.conftest import CPU, squares
from trainer.augmentation.mixing import Mixing
from trainer.augmentation.pipeline import Augmenter
from trainer.config import AUGMENTERS, MIXERS, TrainConfig
from trainer.images.batches import Batches, unit
from trainer.images.images import Decoded, ImageSource, Streamed
from trainer.images.order import epoch_rows
from trainer.model.network import Head, Network
from trainer.seeds import derive
from trainer.training.inputs import FeatureInputs, ImageInputs, TrainingRows, size_at
from trainer.training.tta_views import TTA_TRANSFORMS

N = 20
IMAGES_NHWC, LABELS_N = squares(N, side=16)
TRAIN_ROWS = np.arange(2, N)  # 18 rows: 5 batches, of 4 and 3 images
HELD_OUT = np.array([1, 0])
MEAN_STD = ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
SEED = 5
ALL_AUGMENTED = dict.fromkeys(AUGMENTERS, 0.5)
ALL_MIXED = dict.fromkeys(MIXERS, 0.25)


def config_of(**changes: object) -> TrainConfig:
    small = {"resize": 16, "blur_sigma": 0.1}
    return TrainConfig(
        **{**small, "batch_size": 4, "epochs": 4, "backbone": "test_resnet", **changes}
    )


def inputs(config: TrainConfig, *sources: ImageSource) -> ImageInputs:
    views = sources or (Decoded(IMAGES_NHWC),)
    batches = [Batches(view, device=CPU, mean_std=MEAN_STD) for view in views]
    return ImageInputs(config, batches, TrainingRows(config, TRAIN_ROWS, LABELS_N, 3))


def rows_of(config: TrainConfig, epoch: int) -> list[np.ndarray]:
    """The rows of every batch."""
    seed = derive(derive(SEED, "epoch", epoch), "order")
    order = epoch_rows(TRAIN_ROWS, LABELS_N, sampling=config.sampling, seed=seed)
    return np.array_split(order, -(-len(order) // 4))


def normalised(images_NHWC: np.ndarray) -> Tensor:
    mean, std = (np.array(values, dtype=np.float32) for values in MEAN_STD)
    return torch.from_numpy(((images_NHWC / 255 - mean) / std).astype(np.float32)).permute(
        0, 3, 1, 2
    )


def listed(batches: Iterable[Iterable[list[Tensor]]]) -> list[list[list[Tensor]]]:
    """For each batch, for each way of looking, its views."""
    return [list(looks) for looks in batches]


def equal(one: list[tuple[list[Tensor], Tensor]], other: list[tuple[list[Tensor], Tensor]]) -> bool:
    """Whether two epochs have the same bits."""
    return len(one) == len(other) and all(
        torch.equal(targets, more) and all(map(torch.equal, views, others))
        for (views, targets), (others, more) in zip(one, other, strict=True)
    )


# an epoch of images


def test_plain_batches_are_the_normalised_rows_in_order_with_one_hot_targets():
    config = config_of()
    epoch = list(inputs(config).epoch(2, seed=SEED))
    assert [len(targets_BK) for _, targets_BK in epoch] == [4, 4, 4, 3, 3]
    for (views, targets_BK), rows_B in zip(epoch, rows_of(config, 2), strict=True):
        torch.testing.assert_close(views[0], normalised(IMAGES_NHWC[rows_B]), rtol=1e-5, atol=1e-5)
        assert torch.equal(targets_BK, torch.eye(3)[LABELS_N[rows_B]])
        assert views[0].is_contiguous(memory_format=torch.channels_last)


def test_balanced_sampling_decides_the_rows():
    config = config_of(sampling="balanced")
    for (views, _), rows_B in zip(
        inputs(config).epoch(1, seed=SEED), rows_of(config, 1), strict=True
    ):
        torch.testing.assert_close(views[0], normalised(IMAGES_NHWC[rows_B]), rtol=1e-5, atol=1e-5)


def test_augmented_images_are_those_of_the_augmenter_normalised_afterwards():
    config = config_of(**ALL_AUGMENTED)
    seed = derive(SEED, "epoch", 1)
    steps = zip(inputs(config).epoch(1, seed=SEED), rows_of(config, 1), strict=True)
    for step, ((views, _), rows_B) in enumerate(steps):
        seen_BCHW = Augmenter(config)(
            unit(torch.from_numpy(IMAGES_NHWC[rows_B])), seed=derive(seed, "augment", step)
        )
        expected = normalised(seen_BCHW.permute(0, 2, 3, 1).numpy() * 255)
        torch.testing.assert_close(views[0], expected, rtol=1e-4, atol=1e-4)


def test_mixed_images_and_targets_are_those_of_the_plan():
    config = config_of(**ALL_MIXED)
    mixing = Mixing(config, LABELS_N, TRAIN_ROWS)
    seed = derive(SEED, "epoch", 3)
    mixed = 0
    steps = zip(inputs(config).epoch(3, seed=SEED), rows_of(config, 3), strict=True)
    for step, ((views, targets_BK), rows_B) in enumerate(steps):
        plan = mixing.plan(rows_B, seed=derive(seed, "mixing", step))
        torch.testing.assert_close(
            views[0], plan.images(normalised(IMAGES_NHWC[plan.rows])), rtol=1e-5, atol=1e-5
        )
        assert torch.equal(targets_BK, plan.targets(torch.eye(3)[LABELS_N[plan.rows]]))
        mixed += int((plan.way_B < len(MIXERS)).sum())
    assert mixed > 8


@pytest.mark.parametrize(
    "changes",
    [{}, ALL_AUGMENTED, ALL_MIXED, {**ALL_AUGMENTED, **ALL_MIXED}, {"sampling": "balanced"}],
)
def test_seed_and_epoch_decide_every_bit(changes):
    source = inputs(config_of(**changes))
    first = list(source.epoch(1, seed=SEED))
    torch.manual_seed(99)  # whatever was drawn before
    list(source.epoch(3, seed=SEED))
    assert equal(list(source.epoch(1, seed=SEED)), first)
    assert equal(list(inputs(config_of(**changes)).epoch(1, seed=SEED)), first)
    assert not equal(list(source.epoch(2, seed=SEED)), first)
    assert not equal(list(source.epoch(1, seed=SEED + 1)), first)


@pytest.mark.parametrize("name", AUGMENTERS)
def test_an_image_is_augmented_anew_in_every_epoch(name):
    """One image, all of the time."""
    config = config_of(**{name: 0.5}, batch_size=18)
    same = Decoded(np.repeat(IMAGES_NHWC[:1], N, axis=0))
    source = inputs(config, same)
    images = set()
    for epoch in range(1, 25):
        ((views, _),) = source.epoch(epoch, seed=0)
        images.add(views[0][0].numpy().tobytes())
    assert len(images) > 1


def test_the_source_is_never_written_to():
    images_NHWC = IMAGES_NHWC.copy()
    list(inputs(config_of(**ALL_AUGMENTED, **ALL_MIXED), Decoded(images_NHWC)).epoch(1, seed=SEED))
    np.testing.assert_array_equal(images_NHWC, IMAGES_NHWC)


# several views


def test_every_view_of_an_image_is_augmented_and_mixed_alike():
    config = config_of(**ALL_AUGMENTED, **ALL_MIXED)
    twice = inputs(config, Decoded(IMAGES_NHWC), Decoded(IMAGES_NHWC.copy()))
    for views, _ in twice.epoch(1, seed=SEED):
        assert torch.equal(*views)


def test_views_are_of_the_same_rows():
    config = config_of()
    more_NHWC = squares(N, side=16, seed=1)[0]
    both = inputs(config, Decoded(IMAGES_NHWC), Decoded(more_NHWC))
    for (views, _), rows_B in zip(both.epoch(1, seed=SEED), rows_of(config, 1), strict=True):
        for view, source_NHWC in zip(views, (IMAGES_NHWC, more_NHWC), strict=True):
            torch.testing.assert_close(view, normalised(source_NHWC[rows_B]), rtol=1e-5, atol=1e-5)


# images decoded per batch


@pytest.fixture
def both(photos):
    """The same images decoded per batch, some batches ahead, and decoded before."""
    manifest = manifest_of(photos(N))
    return Streamed(manifest, config_of().preprocessing, threads=2), Decoded(IMAGES_NHWC)


@pytest.mark.parametrize(
    "changes", [{}, ALL_MIXED, {**ALL_AUGMENTED, **ALL_MIXED}, {"one_class_cutmix": 1.0}]
)
def test_plans_and_pixels_of_a_streamed_source_stay_in_step(both, changes):
    streamed, decoded = both
    config = config_of(**changes, batch_size=2)  # 9 batches: more than are decoded ahead
    assert equal(
        *(list(inputs(config, source).epoch(1, seed=SEED)) for source in (streamed, decoded))
    )


def test_a_streamed_view_beside_a_decoded_one_stays_in_step(both):
    streamed, decoded = both
    config = config_of(**ALL_MIXED, batch_size=2)
    mixed = inputs(config, streamed, decoded)
    for views, _ in mixed.epoch(1, seed=SEED):
        assert torch.equal(*views)


# the held-out fold


def test_the_held_out_fold_is_neither_augmented_nor_mixed_nor_shrunk():
    images_NHWC = squares(N, side=64)[0]
    config = config_of(**ALL_AUGMENTED, **ALL_MIXED, progressive=0.5, resize=64)
    batches = listed(
        inputs(config, Decoded(images_NHWC)).in_order(np.arange(5), batch_size=2, tta="none")
    )
    assert [len(looks[0][0]) for looks in batches] == [2, 2, 1]
    images_NCHW = torch.cat([looks[0][0] for looks in batches])
    torch.testing.assert_close(images_NCHW, normalised(images_NHWC[:5]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("tta", "count"), [("none", 1), ("flip", 2), ("crops", 6), ("flip_crops", 12)]
)
def test_there_are_as_many_ways_of_looking_as_told_the_plain_one_first(tta, count):
    (looks,) = listed(inputs(config_of(tta=tta)).in_order(HELD_OUT, batch_size=4, tta=tta))
    assert len(looks) == count
    torch.testing.assert_close(looks[0][0], normalised(IMAGES_NHWC[HELD_OUT]), rtol=1e-5, atol=1e-5)
    assert len({look[0].numpy().tobytes() for look in looks}) == count
    assert {tuple(look[0].shape) for look in looks} == {(2, 3, 16, 16)}


@pytest.mark.parametrize("size_HW", [(8, 8), (16, 24), (33, 17)])
def test_every_way_of_looking_keeps_any_size(size_HW):
    images_BCHW = torch.rand(2, 3, *size_HW)
    assert {tuple(transform(images_BCHW).shape) for transform in TTA_TRANSFORMS["flip_crops"]} == {
        (2, 3, *size_HW)
    }


# progressive resize


def test_without_progressive_resize_every_epoch_has_the_full_size():
    config = config_of(resize="100x70")
    assert [size_at(config, epoch) for epoch in (1, 2, 99)] == [(100, 70)] * 3


@pytest.mark.parametrize(
    ("changes", "sides"),
    [
        ({"progressive": 0.5, "progressive_epochs": 4}, [128, 160, 192, 224, 256, 256]),
        (
            {"progressive": 0.5},
            [128, 160, 224, 256, 256, 256],
        ),  # half of six epochs; 170.7, 213.3 rounded
        ({"progressive": 0.25, "progressive_epochs": 1}, [64, 256, 256, 256, 256, 256]),
        ({"progressive": 0.01}, [32, 96, 160, 256, 256, 256]),
        ({"progressive": 0.5, "progressive_epochs": 99}, [128, 128, 128, 128, 128, 128]),
    ],
)
def test_sides_grow_from_their_share_to_the_full_size(changes, sides):
    config = config_of(resize=256, epochs=6, **changes)
    assert [size_at(config, epoch) for epoch in range(1, 7)] == [(side, side) for side in sides]


def test_a_training_of_one_epoch_has_the_full_size():
    assert size_at(config_of(resize=256, epochs=1, progressive=0.5), 1) == (256, 256)


@given(
    height=st.integers(8, 600),
    width=st.integers(8, 600),
    share=st.floats(0.01, 1),
    epochs=st.integers(1, 30),
    until=st.integers(0, 40),
)
def test_sizes_never_shrink_never_exceed_the_full_one_and_are_multiples_below_it(
    height, width, share, epochs, until
):
    config = config_of(
        resize=f"{height}x{width}", epochs=epochs, progressive=share, progressive_epochs=until
    )
    sizes = [size_at(config, epoch) for epoch in range(1, epochs + 2)]
    for sides, full in zip(zip(*sizes, strict=True), (height, width), strict=True):
        assert list(sides) == sorted(sides)
        assert max(sides) <= full
        assert all(side == full or side % 32 == 0 for side in sides)
    if not until or until < epochs + 1:
        assert sizes[-1] == (height, width)


def test_images_are_shrunk_before_they_are_augmented_and_mixed():
    images_NHWC = squares(N, side=64)[0]
    config = config_of(resize=64, progressive=0.5, progressive_epochs=1, half_cutmix=1.0)
    mixing = Mixing(config, LABELS_N, TRAIN_ROWS)
    seed = derive(SEED, "epoch", 1)
    source = inputs(config, Decoded(images_NHWC))
    for step, ((views, _), rows_B) in enumerate(
        zip(source.epoch(1, seed=SEED), rows_of(config, 1), strict=True)
    ):
        plan = mixing.plan(rows_B, seed=derive(seed, "mixing", step), size_HW=(32, 32))
        small = F.interpolate(
            unit(torch.from_numpy(images_NHWC[plan.rows])),
            (32, 32),
            mode="bilinear",
            antialias=True,
        )
        expected = plan.images(normalised(small.permute(0, 2, 3, 1).numpy() * 255))
        torch.testing.assert_close(views[0], expected, rtol=1e-4, atol=1e-4)
    assert {tuple(views[0].shape) for views, _ in source.epoch(2, seed=SEED)} == {
        (4, 3, 64, 64),
        (3, 3, 64, 64),
    }


# features


def seen(images_BCHW: Tensor) -> Tensor:
    """Features: an image's mean and corner, so that each way of looking differs."""
    return torch.cat([images_BCHW.mean(dim=(2, 3)), images_BCHW[:, :, 0, 0]], dim=1)


class Counted(nn.Module):
    """Counts the images."""

    def __init__(self) -> None:
        super().__init__()
        self.images = 0
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        assert not self.training
        self.images += len(images_BCHW)
        return seen(images_BCHW)


@pytest.fixture
def network() -> Network:
    return Network(Counted(), [Head(6, 3, norm=False, dropout=0.0)], view_of=(0,)).train()


def features(
    config: TrainConfig, network: Network, *sources: ImageSource, rows: np.ndarray = HELD_OUT
) -> FeatureInputs:
    train_rows = TrainingRows(config, TRAIN_ROWS, LABELS_N, 3)
    images = inputs(config, *sources)
    return FeatureInputs(
        images, train_rows, network, train_rows=TRAIN_ROWS, valid_rows=rows, batch_size=3
    )


def plain(images_NHWC: np.ndarray) -> Tensor:
    return seen(normalised(images_NHWC))


def test_an_epoch_has_the_features_of_its_rows(network):
    config = config_of()
    source = features(config, network)
    for epoch in (1, 2):
        steps = zip(source.epoch(epoch, seed=SEED), rows_of(config, epoch), strict=True)
        for (views, targets_BK), rows_B in steps:
            torch.testing.assert_close(views[0], plain(IMAGES_NHWC[rows_B]), rtol=1e-5, atol=1e-5)
            assert torch.equal(targets_BK, torch.eye(3)[LABELS_N[rows_B]])
    assert network.backbone.images == N


def test_the_held_out_fold_has_the_features_of_its_rows_in_every_way_of_looking(network):
    config = config_of(tta="crops")
    source = features(config, network)
    batches = listed(source.in_order(HELD_OUT, batch_size=1, tta="crops"))
    expected = listed(inputs(config).in_order(HELD_OUT, batch_size=1, tta="crops"))
    assert [len(looks) for looks in batches] == [6, 6]
    for looks, images in zip(batches, expected, strict=True):
        for (one,), (image_BCHW,) in zip(looks, images, strict=True):
            torch.testing.assert_close(one, seen(image_BCHW))
    assert network.backbone.images == len(TRAIN_ROWS) + 6 * len(HELD_OUT)  # trained on as they are


def test_features_of_training_rows_and_of_the_plain_view_alone_can_be_asked_for(network):
    source = features(config_of(tta="crops"), network)
    (((held_out,),),) = listed(source.in_order(HELD_OUT, batch_size=2, tta="none"))
    torch.testing.assert_close(held_out, plain(IMAGES_NHWC[HELD_OUT]), rtol=1e-5, atol=1e-5)
    (((trained,),),) = listed(source.in_order(TRAIN_ROWS[:3], batch_size=3, tta="none"))
    torch.testing.assert_close(trained, plain(IMAGES_NHWC[TRAIN_ROWS[:3]]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("made", ["images", "features"])
def test_an_epoch_can_begin_in_the_middle(network, made):
    config = config_of() if made == "features" else config_of(**ALL_AUGMENTED, **ALL_MIXED)
    source = features(config, network) if made == "features" else inputs(config)
    whole = list(source.epoch(1, seed=SEED))
    assert equal(list(source.epoch(1, seed=SEED, start=3)), whole[3:])


def test_features_of_each_view_are_of_its_images(network):
    more_NHWC = squares(N, side=16, seed=1)[0]
    source = features(config_of(), network, Decoded(IMAGES_NHWC), Decoded(more_NHWC))
    (((one, other),),) = listed(source.in_order(HELD_OUT, batch_size=2, tta="none"))
    torch.testing.assert_close(one, plain(IMAGES_NHWC[HELD_OUT]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other, plain(more_NHWC[HELD_OUT]), rtol=1e-5, atol=1e-5)


def test_features_are_those_of_eval_mode_and_move_no_statistics(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    features(config_of(), network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_only_the_heads_run_on_features_and_only_they_get_gradients(network):
    source = features(config_of(), network)
    images = network.backbone.images
    views, targets_BK = next(source.epoch(1, seed=SEED))
    F.cross_entropy(source.forward(network, views)[0], targets_BK).backward()
    assert network.backbone.images == images
    assert all(parameter.grad is not None for parameter in network.heads.parameters())
    assert all(parameter.grad is None for parameter in network.backbone.parameters())


def test_rows_may_come_in_any_order_and_leave_gaps(network):
    rows = np.array([19, 3, 7])
    source = features(config_of(), network, rows=rows)
    (((taken,),),) = listed(source.in_order(np.array([7, 19, 7]), batch_size=9, tta="none"))
    torch.testing.assert_close(taken, plain(IMAGES_NHWC[[7, 19, 7]]), rtol=1e-5, atol=1e-5)
    assert network.backbone.images == len(TRAIN_ROWS) + 3
