"""The augmenter: per image, as the seed decides, in 0..1, whatever else is on."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from tests.trainer.augmentation.conftest import pictures
from trainer.augmentation.draws import Draws, Reals
from trainer.augmentation.pipeline import Augmenter
from trainer.config import AUGMENTERS, TrainConfig

CHANGING = [name for name in AUGMENTERS if name != "trivial"]  # its identity changes nothing
EVERYTHING = dict.fromkeys(AUGMENTERS, 1.0)
PARTS = [
    {"affine": 1, "scale": 0, "rotate": 0},
    {"affine": 1, "shift": 0, "rotate": 0},
    {"affine": 1, "shift": 0, "scale": 0},
    {"resized_crop": 1},
    {"jitter": 1, "contrast": 0, "saturation": 0, "hue": 0},
    {"jitter": 1, "brightness": 0, "saturation": 0, "hue": 0},
    {"jitter": 1, "brightness": 0, "contrast": 0, "hue": 0},
    {"jitter": 1, "brightness": 0, "contrast": 0, "saturation": 0},
    {"blur": 1},
    {"erasing": 1},
]


def augmented(images_BCHW: Tensor, *, seed: int = 1, **fields: Any) -> Tensor:
    strong = {"blur_sigma": 0.1}  # of a side of 16 pixels
    config = TrainConfig(backbone="test_resnet", weights="none", **{**strong, **fields})
    return Augmenter(config)(images_BCHW.clone(memory_format=torch.preserve_format), seed=seed)


def changed_images(before_BCHW: Tensor, after_BCHW: Tensor) -> Tensor:
    return (before_BCHW != after_BCHW).flatten(1).any(1)


def test_without_augmentation_the_input_comes_back():
    augmenter = Augmenter(TrainConfig(backbone="test_resnet", weights="none"))
    images_BCHW = pictures(2)
    assert not augmenter.active
    assert augmenter(images_BCHW, seed=0) is images_BCHW


@pytest.mark.parametrize("name", AUGMENTERS)
def test_any_augmentation_makes_it_active(name):
    assert Augmenter(TrainConfig(backbone="test_resnet", weights="none", **{name: 0.1})).active


@pytest.mark.parametrize("name", CHANGING)
def test_at_probability_1_every_image_changes(name):
    images_BCHW = pictures(32)
    assert changed_images(images_BCHW, augmented(images_BCHW, **{name: 1.0})).all()


@pytest.mark.parametrize("name", CHANGING)
def test_the_share_of_changed_images_is_the_probability_and_the_others_keep_their_bits(name):
    images_BCHW = pictures(600, size_HW=(8, 8))
    share = changed_images(images_BCHW, augmented(images_BCHW, **{name: 0.3})).float().mean()
    assert share == pytest.approx(0.3, abs=0.08)  # four standard deviations


def test_where_no_draw_says_so_no_bit_changes():
    images_BCHW = pictures(8)
    assert torch.equal(augmented(images_BCHW, **dict.fromkeys(AUGMENTERS, 1e-9)), images_BCHW)


@pytest.mark.parametrize("fields", PARTS, ids=str)
def test_equal_images_of_one_batch_become_different_ones(fields):
    images_BCHW = pictures(1).repeat(8, 1, 1, 1)
    flat = augmented(images_BCHW, **fields).flatten(1)
    distances = (flat[:, None] - flat[None]).abs().amax(2) + torch.eye(8)
    assert distances.min() > 1e-4


@pytest.mark.parametrize("name", AUGMENTERS)
def test_one_seed_gives_the_same_bits_and_another_seed_others(name):
    images_BCHW = pictures(16)
    first = augmented(images_BCHW, **{name: 0.5})
    assert torch.equal(augmented(images_BCHW, **{name: 0.5}), first)
    assert not torch.equal(augmented(images_BCHW, seed=2, **{name: 0.5}), first)


def test_global_generators_neither_matter_nor_move():
    images_BCHW = pictures(8)
    first = augmented(images_BCHW, **EVERYTHING)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    assert torch.equal(augmented(images_BCHW, **EVERYTHING), first)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size_HW", [(16, 16), (12, 20), (20, 12)])
@pytest.mark.parametrize("count", [1, 5])
def test_everything_at_once_keeps_shape_type_range_and_lies_channels_last(size_HW, count):
    images_BCHW = (
        pictures(count, size_HW=size_HW) > 0.5
    ).float()  # black and white: rounding leads out first here
    for seed in range(5):
        result = augmented(images_BCHW, seed=seed, **EVERYTHING)
        assert result.shape == images_BCHW.shape
        assert result.dtype == torch.float32
        assert result.is_contiguous(memory_format=torch.channels_last)
        assert result.min() >= 0
        assert result.max() <= 1


@pytest.mark.parametrize("name", AUGMENTERS)
def test_each_alone_stays_in_range(name):
    images_BCHW = (pictures(32) > 0.5).float()
    result = augmented(images_BCHW, **{name: 1.0}, brightness=1, contrast=1, saturation=1, hue=0.5)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("name", AUGMENTERS)
@pytest.mark.parametrize("count", [1, 6])
def test_the_layout_in_memory_does_not_matter(name, count):
    images_BCHW = pictures(count)
    contiguous = augmented(images_BCHW.contiguous(), **{name: 0.7})
    assert torch.equal(contiguous, augmented(images_BCHW, **{name: 0.7}))
    assert contiguous.is_contiguous(memory_format=torch.channels_last)


def test_autocast_around_it_does_not_matter():
    images_BCHW = pictures(4)
    expected = augmented(images_BCHW, **EVERYTHING)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(augmented(images_BCHW, **EVERYTHING), expected)


def test_an_image_is_augmented_the_same_in_a_longer_batch():
    images_BCHW = pictures(20)
    short, long = (augmented(images_BCHW[:count], **EVERYTHING)[:6] for count in (6, 20))
    torch.testing.assert_close(short, long, atol=1e-5, rtol=0)  # sums in another order


@pytest.mark.parametrize("name", AUGMENTERS)
def test_on_a_gpu_the_host_never_waits_for_a_result(name, monkeypatch):
    """Tensors without values refuse what would need them on the host,
    and operations over two devices.
    """
    monkeypatch.setattr(
        torch.Tensor, "pin_memory", lambda tensor: tensor
    )  # they know nothing of it
    with FakeTensorMode():
        images_BCHW = torch.empty((200, 3, 16, 24), device="cuda")
        result = augmented(images_BCHW, **{name: 0.9})
        assert result.device.type == "cuda"
        with pytest.raises(DataDependentOutputException, match="_local_scalar_dense"):
            result.max().item()


# draws do not depend on what else is on


def test_no_two_draws_share_a_purpose(monkeypatch):
    purposes = []
    uniform = Draws.uniform

    def noted(draws: Draws, purpose: str, **bounds: Any) -> Reals:
        purposes.append(purpose)
        return uniform(draws, purpose, **bounds)

    monkeypatch.setattr(Draws, "uniform", noted)
    augmented(pictures(4), **EVERYTHING)
    assert len(purposes) > 20
    assert len(set(purposes)) == len(purposes)


@pytest.mark.parametrize("other", [name for name in AUGMENTERS if name != "erasing"])
def test_the_same_noise_is_erased_whatever_happened_before(other):
    images_BCHW = pictures(16)
    alone = augmented(images_BCHW, erasing=0.5)
    noise = alone != images_BCHW
    assert torch.equal(augmented(images_BCHW, erasing=0.5, **{other: 1.0})[noise], alone[noise])


@pytest.mark.parametrize(
    "other", ["affine", "resized_crop", "jitter", "grey", "blur", "flip_vertical"]
)
def test_the_same_images_are_flipped_whatever_follows(other):
    dark_to_light_W = torch.linspace(0, 1, 24)
    images_BCHW = dark_to_light_W.expand(32, 3, 16, 24)

    def flipped(result_BCHW: Tensor) -> list[bool]:
        return (
            result_BCHW[..., :12].mean((1, 2, 3)) > result_BCHW[..., 12:].mean((1, 2, 3))
        ).tolist()

    alone = flipped(augmented(images_BCHW, flip=0.5))
    assert flipped(augmented(images_BCHW, flip=0.5, **{other: 0.5})) == alone
    assert 0 < sum(alone) < 32


def test_a_flip_together_with_another_move_is_still_that_flip():
    """A shift of at most nothing: every image is sampled, and the flips are part of the maps."""
    images_BCHW = pictures(16)
    still = {"affine": 1.0, "shift": 0, "scale": 0, "rotate": 0}
    expected = augmented(images_BCHW, flip=0.5, flip_vertical=0.5)
    result = augmented(images_BCHW, flip=0.5, flip_vertical=0.5, **still)
    torch.testing.assert_close(result, expected, atol=5e-5, rtol=0)


# the fields say how much


def test_brightness_stays_within_its_field():
    images_BCHW = torch.full((200, 3, 4, 4), 0.5)
    result = augmented(images_BCHW, jitter=1, brightness=0.4, contrast=0, saturation=0, hue=0)[
        :, 0, 0, 0
    ]
    assert 0.3 <= result.min() < 0.31
    assert 0.69 < result.max() <= 0.7


def test_shift_is_a_share_of_each_side():
    columns_W = torch.linspace(0, 1, 101)
    images_BCHW = columns_W.expand(300, 3, 5, 101)
    result = augmented(images_BCHW, affine=1, shift=0.2, scale=0, rotate=0)[:, 0, 2, 50]
    moved = (result - 0.5) * 100 / 101
    assert -0.2 <= moved.min() < -0.19
    assert 0.19 < moved.max() <= 0.2


def test_scale_enlarges_and_shrinks_about_the_middle():
    rows_W = torch.linspace(-0.5, 0.5, 101).abs()
    images_BCHW = rows_W.expand(300, 3, 5, 101)
    result = augmented(images_BCHW, affine=1, shift=0, scale=0.25, rotate=0)[:, 0, 2, 70]
    scales = 0.2 / result
    assert 0.75 <= scales.min() < 0.77
    assert 1.23 < scales.max() <= 1.2501


def test_a_crop_shows_at_least_its_share_of_the_area():
    places_HW = torch.stack(
        torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 32), indexing="ij")
    )
    images_BCHW = torch.cat([places_HW, places_HW[:1]]).expand(300, 3, 32, 32)
    result = augmented(images_BCHW, resized_crop=1, crop_area=0.5)
    steps = (
        torch.stack(
            [
                result[:, 0, 17, 16] - result[:, 0, 16, 16],
                result[:, 1, 16, 17] - result[:, 1, 16, 16],
            ]
        )
        * 31
    )
    areas = steps.prod(0)
    assert 0.5 - 1e-3 <= areas.min() < 0.52
    assert 0.97 < areas.max() <= 1 + 1e-3


@pytest.mark.parametrize("fields", [{"blur": 1}, {"affine": 1, "rotate": 0, "scale": 0}])
def test_an_image_of_twice_the_size_is_changed_by_twice_as_many_pixels(fields):
    """A blur or a shift is a share of the image: a sampled size does not change what it means."""
    small_BCHW = torch.zeros(1, 3, 32, 32)
    small_BCHW[:, :, 8:24, 8:24] = 1
    large_BCHW = small_BCHW.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    small = augmented(small_BCHW, blur_sigma=0.06, **fields)
    large = torch.nn.functional.avg_pool2d(augmented(large_BCHW, blur_sigma=0.06, **fields), 4)
    assert not torch.allclose(small, small_BCHW, atol=0.05)
    torch.testing.assert_close(small, large, rtol=0, atol=0.08)
