"""From more than 8 bits to 8: what a sample of files holds becomes black to white."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.images.levels import FULL, Range, levels_of, range_of, to_grey


def whole(low: float, high: float) -> Range:
    return Range(real=False, low=low, high=high, most=high)


def real(low: float, high: float) -> Range:
    return Range(real=True, low=low, high=high, most=high)


@pytest.mark.parametrize(
    ("ranges", "levels"),
    [
        ([whole(0, 4095)], (0, 4095)),
        ([whole(30, 2500), whole(200, 3100)], (0, 4095)),
        ([whole(0, 1023)], (0, 1023)),
        ([whole(12, 9000)], (0, 16383)),
        ([whole(0, 65535)], FULL),
        ([whole(700, 40000)], FULL),
        ([whole(0, 3)], (0, 255)),
        ([whole(0, 200)], (0, 255)),
        ([whole(29130, 31482)], (29100, 31500)),
        ([whole(903, 1828)], (900, 1830)),
        ([whole(1001, 1009)], (1001, 1009)),
        ([whole(-1024, 3071)], (-1100, 3100)),
        ([whole(0, 2**24)], (0, 2**25 - 1)),
        ([whole(500, 500)], (0, 511)),
        ([whole(-5, -5)], (-5, -4)),
        ([real(0, 0.7)], (0, 1)),
        ([real(0, 0.7), real(3, 200)], (0, 255)),
        ([real(-0.5, 1.25)], (-0.5, 1.25)),
        ([real(-0.517, 1.263)], (-0.52, 1.27)),
        ([real(3.0, 2999.0)], (0, 3000)),
        ([real(7000, 7000)], (7000, 7001)),
    ],
)
def test_levels_hold_the_sample_and_half_of_them_are_used(ranges, levels):
    assert levels_of(ranges) == levels


def test_no_sample_has_no_levels():
    assert levels_of([]) is None


@given(
    st.integers(0, 2**31 - 1).flatmap(
        lambda low: st.tuples(st.just(low), st.integers(low + 1, 2**31))
    )
)
def test_the_levels_hold_the_range_and_are_at_most_twice_as_wide(bounds):
    low, high = bounds
    bottom, top = levels_of([whole(low, high)])
    assert bottom <= low
    assert high <= top
    assert top == 255 or (top - bottom + 1) <= 2 * (high - low + 1)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
def test_a_range_leaves_out_a_few_hot_and_dead_pixels(dtype):
    values_HW = np.full((100, 100), 1000, dtype=dtype)
    values_HW[:50] = 2000
    values_HW[0, 0] = 60000
    values_HW[1, 1] = 0
    assert range_of(values_HW) == whole(1000, 2000)


def test_a_single_bright_spot_on_black_is_a_range():
    values_HW = np.zeros((100, 100), dtype=np.uint16)
    values_HW[4, 4] = 3000
    assert range_of(values_HW) == Range(real=False, low=0, high=3000, most=0)


def test_real_numbers_that_are_none_do_not_count():
    values_HW = np.array([[np.nan, 0.25], [np.inf, 0.5]], dtype=np.float32)
    assert range_of(values_HW) == real(0.25, 0.5)
    assert range_of(np.full((2, 2), np.nan, dtype=np.float32)) is None


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_every_number_of_bits_becomes_all_256_values_in_order(bits, dtype):
    grey, beyond = to_grey(np.arange(2**bits).astype(dtype), (0, 2**bits - 1))
    assert sorted(set(grey.tolist())) == list(range(256))
    assert (np.diff(grey.astype(int)) >= 0).all()
    assert beyond == 0


def test_values_outside_the_levels_are_black_or_white_and_counted():
    grey, beyond = to_grey(np.array([0, 100, 150, 200, 300], dtype=np.uint16), (100, 200))
    assert (grey.tolist(), beyond) == ([0, 0, 128, 255, 255], 0.4)
    signed, beyond = to_grey(np.array([-2000, -1024, 3071], dtype=np.int32), (-1024, 3071))
    assert (signed.tolist(), beyond) == ([0, 0, 255], pytest.approx(1 / 3))


def test_real_numbers_are_rounded_and_no_number_is_black():
    values = np.array([0, 0.5, 1, 2, np.nan, np.inf], dtype=np.float32)
    grey, beyond = to_grey(values, (0, 1))
    assert (grey.tolist(), beyond) == ([0, 128, 255, 255, 0, 0], pytest.approx(1 / 6))


def test_without_levels_sixteen_bits_lose_the_lower_eight():
    values = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(to_grey(values, None)[0], values >> 8)
    np.testing.assert_array_equal(to_grey(values.astype(np.int32), None)[0], values >> 8)
