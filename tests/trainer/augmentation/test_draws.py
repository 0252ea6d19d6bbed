"""Draws: named, per image, the same whatever else is drawn; rectangles that fit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.augmentation.draws import Draws, Reals, sides

MANY = Draws(7, count=20_000)


def test_a_purpose_has_its_own_numbers_and_repeats_them():
    assert np.array_equal(MANY.uniform("a"), Draws(7, count=20_000).uniform("a"))
    assert not np.array_equal(MANY.uniform("a"), MANY.uniform("b"))
    assert not np.array_equal(MANY.uniform("a"), Draws(8, count=20_000).uniform("a"))


def test_other_draws_in_between_change_nothing():
    draws = Draws(7, count=5)
    alone = draws.uniform("a")
    draws.uniform("b")
    draws.chosen("c", probability=0.5)
    assert np.array_equal(draws.uniform("a"), alone)


def test_an_image_draws_the_same_in_a_longer_batch():
    assert np.array_equal(Draws(7, count=3).uniform("a"), Draws(7, count=40).uniform("a")[:3])


def test_no_global_generator_is_touched():
    torch_before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()
    MANY.chosen("a", probability=0.5)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)


def test_uniform_numbers_fill_their_range_evenly():
    shares = np.histogram(MANY.uniform("a", low=-2, high=3), bins=10, range=(-2, 3))[0] / MANY.count
    assert shares.sum() == 1
    assert np.abs(shares - 0.1).max() < 0.01  # 0.01 is five standard deviations


def test_numbers_around_a_middle_keep_their_distance():
    values_B = MANY.around(1, "a", largest=0.2)
    assert values_B.min() == pytest.approx(0.8, abs=1e-3)
    assert values_B.max() == pytest.approx(1.2, abs=1e-3)


def test_integers_are_equally_likely():
    shares = np.bincount(MANY.below("a", 14)) / MANY.count
    assert shares.shape == (14,)
    assert np.abs(shares - 1 / 14).max() < 0.01


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_chosen_images_is_the_probability(probability):
    share = MANY.chosen("a", probability=probability).mean()
    assert share == pytest.approx(
        probability, abs=5 * (probability * (1 - probability) / MANY.count) ** 0.5
    )


# rectangles


def rectangles(
    count: int = 5_000,
    *,
    area: tuple[float, float] = (0.3, 1.0),
    size_HW: tuple[int, int] = (40, 40),
) -> tuple[Reals, Reals]:
    return sides(Draws(3, count=count), "crop", area=area, ratio=4 / 3, size_HW=size_HW)


def test_areas_are_evenly_distributed_whatever_fits():
    height_B, width_B = rectangles(20_000)
    shares = np.histogram(height_B * width_B / 1600, bins=7, range=(0.3, 1.0 + 1e-9))[0] / 20_000
    assert shares.sum() == 1
    assert np.abs(shares - 1 / 7).max() < 0.015


def test_ratios_stay_in_their_range_and_use_it_evenly():
    height_B, width_B = rectangles(area=(0.1, 0.5))
    logs = np.log(height_B / width_B)
    assert np.abs(logs).max() <= np.log(4 / 3) + 1e-9
    assert abs(logs.mean()) < 0.01
    assert logs.std() == pytest.approx(np.log(4 / 3) / 3**0.5, rel=0.05)


@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    areas=st.tuples(st.floats(1e-3, 1), st.floats(1e-3, 1)),
)
def test_rectangles_fit_into_images_of_any_shape(height, width, areas):
    height_B, width_B = rectangles(50, area=(min(areas), max(areas)), size_HW=(height, width))
    assert ((height_B >= 1) & (height_B <= height)).all()
    assert ((width_B >= 1) & (width_B <= width)).all()


def test_the_whole_area_is_the_whole_image():
    height_B, width_B = rectangles(20, area=(1.0, 1.0), size_HW=(20, 70))
    np.testing.assert_allclose(height_B, 20)
    np.testing.assert_allclose(width_B, 70)
