"""Images in units, and how values differ within them."""

import numpy as np
import pytest

from trainer.data.units import MAX_PAIRS, agreement, content_keys, differing_pairs, purity, units_of


def array(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_the_same_key_is_one_unit_and_an_empty_key_is_none():
    units = units_of(["ann", "bob", "", "ann"])
    assert units.unit_N.tolist() == [0, 1, -1, 0]
    assert units.names == ["ann", "bob"]
    assert units.sizes_U.tolist() == [2, 1]


def test_of_chosen_units_the_other_images_stand_for_themselves():
    units = units_of(["ann", "bob", "", "cem"]).only(np.array([False, True, True]))
    assert units.unit_N.tolist() == [-1, 0, -1, 1]
    assert units.names == ["bob", "cem"]


def test_a_unit_varies_where_two_of_its_images_differ():
    units = units_of(["ann", "ann", "bob", "bob", "", ""])
    assert units.varied_U(array(0, 1, 2, 2, 3, 4)).tolist() == [True, False]


@pytest.mark.parametrize("digests", [[b"a\0", b"b\0"], np.array([b"a\0", b"b\0"], dtype="V2")])
def test_digests_keep_zero_bytes_at_their_end(digests):
    assert list(content_keys(digests)) == [b"a\0", b"b\0"]


def test_no_digests_are_no_keys():
    assert list(content_keys(np.empty(0, dtype="V16"))) == []


def test_every_unit_gives_one_pair_before_any_gives_two():
    units = units_of(["ann", "ann", "ann", "bob", "bob"])
    assert differing_pairs(units, array(0, 1, 2, 0, 1)) == ((0, 1), (3, 4), (1, 2))


def test_no_more_pairs_than_can_be_shown():
    units = units_of([number // 2 for number in range(4 * MAX_PAIRS)])
    assert len(differing_pairs(units, np.arange(4 * MAX_PAIRS))) == MAX_PAIRS


def test_nothing_that_differs_gives_no_pairs():
    assert differing_pairs(units_of(["ann", "ann"]), array(1, 1)) == ()


def test_purity_is_the_share_of_each_units_most_frequent_class():
    assert purity(units_of(["ann"] * 3 + ["bob"]), array(0, 0, 1, 1)) == 0.75


def test_agreement_is_one_for_units_of_one_class_and_zero_for_no_more_than_chance():
    units = units_of(["ann", "ann", "bob", "bob"])
    assert agreement(units, array(0, 0, 1, 1)) == 1
    assert agreement(units, array(0, 0, 0, 0)) == 0
    assert agreement(units, array(0, 1, 0, 1)) < 0
