"""Where units go: large groups first, and single images up to the even share of their class."""

import numpy as np

from trainer.data.placing import place_units


def placed(
    labels: list[int], units: list[int], bins: list[int], *, shares: list[float], order: list[int]
) -> list[int]:
    bins_U = np.array(bins, dtype=np.int64)
    labels_N = np.array(labels, dtype=np.int64)
    units_N = np.array(units, dtype=np.int64)
    place_units(labels_N, units_N, bins_U, order=order, shares_B=np.array(shares))
    return bins_U.tolist()


def test_the_largest_group_comes_first_and_the_others_go_where_their_class_is_missing():
    units = [0, 0, 0, 1, 1, 2]
    first, second, third = placed([0] * 6, units, [-1] * 3, shares=[0.5, 0.5], order=[1, 2, 3])
    assert second == third == 1 - first


def test_a_unit_that_has_a_bin_keeps_it_and_counts():
    assert placed(
        [0, 0, 0, 0], [0, 1, 2, 3], [1, 1, -1, -1], shares=[0.5, 0.5], order=[4, 3, 2, 1]
    ) == [1, 1, 0, 0]


def test_single_images_fill_every_class_up_to_its_even_share():
    bins = placed(
        [0, 0, 0, 0, 1, 1], list(range(6)), [-1] * 6, shares=[0.5, 0.5], order=[5, 3, 1, 2, 4, 6]
    )
    assert sorted(bins[:4]) == [0, 0, 1, 1]
    assert sorted(bins[4:]) == [0, 1]


def test_a_bin_with_a_larger_share_gets_more():
    bins = placed([0] * 10, list(range(10)), [-1] * 10, shares=[0.8, 0.2], order=list(range(10)))
    assert (bins.count(0), bins.count(1)) == (8, 2)


def test_equals_are_ordered_by_the_numbers_given_and_not_by_their_place():
    forward = placed([0] * 4, [0, 1, 2, 3], [-1] * 4, shares=[0.5, 0.5], order=[1, 2, 3, 4])
    backward = placed([0] * 4, [0, 1, 2, 3], [-1] * 4, shares=[0.5, 0.5], order=[4, 3, 2, 1])
    assert forward == backward[::-1]
