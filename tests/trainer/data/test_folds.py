"""Folds: every row held out once, groups whole, every class everywhere,
kept from cut to cut, frozen to a file.
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.conftest import paper_manifest
from tests.trainer.data.paper_folds import LABELS_N, Row, cut, manifest_of_rows, people
from trainer.data.fold_column import HOLDOUT
from trainer.data.folds import Folds, deviations, fixed_folds, make_folds, moved
from trainer.errors import DataError
from trainer.images.manifest import Manifest

PINNED = "46d81ce71a7c77e9"  # a change of this value makes every stored fold run start again


@st.composite
def cuts(draw) -> tuple[np.ndarray, int, int]:
    """Labels with at least k images in each class, k, and a seed."""
    k = draw(st.integers(2, 6))
    counts = draw(st.lists(st.integers(k, 25), min_size=2, max_size=5))
    labels_N = np.repeat(np.arange(len(counts)), counts)
    return (
        np.random.default_rng(draw(st.integers(0, 99))).permutation(labels_N),
        k,
        draw(st.integers(0, 2**63)),
    )


@given(cuts())
def test_every_row_is_held_out_exactly_once_and_trained_on_in_all_other_folds(values):
    labels_N, k, seed = values
    folds = cut(labels_N, k=k, seed=seed)
    everything = np.arange(len(labels_N))
    held_out = [folds.valid_rows(fold) for fold in range(k)]
    np.testing.assert_array_equal(np.sort(np.concatenate(held_out)), everything)
    for fold in range(k):
        both = np.concatenate([folds.train_rows(fold), folds.valid_rows(fold)])
        np.testing.assert_array_equal(np.sort(both), everything)
        assert (np.diff(folds.train_rows(fold)) > 0).all()
        assert (np.diff(folds.valid_rows(fold)) > 0).all()


@given(cuts())
def test_a_class_has_the_same_share_of_every_fold_within_one_image(values):
    labels_N, k, seed = values
    folds = cut(labels_N, k=k, seed=seed)
    for label in np.unique(labels_N):
        counts = np.bincount(folds.fold_N[labels_N == label], minlength=k)
        assert counts.min() >= 1
        assert counts.max() - counts.min() <= 1


@given(cuts())
def test_one_seed_gives_one_cut_and_one_hash(values):
    labels_N, k, seed = values
    first = cut(labels_N, k=k, seed=seed)
    second = cut(labels_N, k=k, seed=seed)
    np.testing.assert_array_equal(first.fold_N, second.fold_N)
    assert first.hash == second.hash


def test_another_seed_cuts_otherwise():
    assert len({cut(seed=seed).hash for seed in (0, 1, 2**31, 2**32 - 1)}) == 4


def test_the_hash_of_a_cut_is_pinned_for_ever():
    assert cut().hash == PINNED


def test_a_class_with_fewer_images_than_folds_is_refused_by_name():
    labels_N = np.array([0] * 9 + [1] * 2 + [2] * 1)
    with pytest.raises(
        DataError,
        match=r"^/nowhere: 2 of 3 classes have fewer images than the 3 folds: "
        r"'b' \(2\), 'c' \(1\)\. Write `rare: train` below folds, which ",
    ):
        make_folds(paper_manifest(labels_N), k=3, seed=0)


def test_a_class_with_as_many_images_as_folds_is_enough():
    folds = cut(np.array([0, 0, 0, 1, 1, 1, 1]), k=3)
    assert all(
        (folds.manifest.labels_N[folds.valid_rows(fold)] == 0).sum() == 1 for fold in range(3)
    )


@pytest.mark.parametrize("k", [1, 0, -3])
def test_fewer_than_two_folds_are_refused(k):
    with pytest.raises(DataError, match=rf"folds\.k.*{k}"):
        cut(k=k)


# --- groups


def fold_of(folds: Folds) -> dict[str, int]:
    """Every image's fold by its path."""
    return dict(zip(folds.manifest.paths, folds.fold_N.tolist(), strict=True))


@st.composite
def grouped(draw, *, most: int = 12) -> tuple[list[Row], int, int]:
    """Images of groups that mix classes, number of classes, and k;
    every class has at least k groups of its own.
    """
    k = draw(st.integers(2, 4))
    n_classes = draw(st.integers(2, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = []
    group = 0
    for label in range(n_classes):
        for _ in range(k + draw(st.integers(0, 4))):
            rows += [
                Row(f"{group}/{at}.png", label, f"g{group}") for at in range(rng.integers(1, most))
            ]
            group += 1
    for _ in range(draw(st.integers(0, 6))):
        labels = rng.integers(0, n_classes, rng.integers(1, most))
        rows += [
            Row(f"{group}/{at}.png", int(label), f"g{group}") for at, label in enumerate(labels)
        ]
        group += 1
    return [rows[at] for at in rng.permutation(len(rows))], n_classes, k


@given(grouped(), st.sampled_from([0.0, 0.1]), st.integers(0, 2**63))
def test_groups_stay_whole_and_every_image_outside_the_holdout_is_held_out_once(
    values, holdout, seed
):
    rows, n_classes, k = values
    folds = make_folds(manifest_of_rows(rows, n_classes=n_classes), k=k, seed=seed, holdout=holdout)
    places: dict[str, set[int]] = {}
    for row, fold in zip(rows, folds.fold_N.tolist(), strict=True):
        places.setdefault(str(row.group), set()).add(fold)
    assert all(len(place) == 1 for place in places.values())
    kept = np.flatnonzero(folds.fold_N != HOLDOUT)
    held_out = [folds.valid_rows(fold) for fold in range(k)]
    assert all(len(part) for part in held_out)
    np.testing.assert_array_equal(np.sort(np.concatenate(held_out)), kept)
    np.testing.assert_array_equal(folds.scored_rows(), kept)
    for fold in range(k):
        both = np.concatenate([folds.train_rows(fold), folds.valid_rows(fold)])
        np.testing.assert_array_equal(np.sort(both), kept)


@given(grouped(), st.booleans(), st.sampled_from([0.0, 0.1]), st.integers(0, 99))
def test_the_order_of_the_rows_decides_nothing(values, grouping, holdout, order):
    rows, n_classes, k = values
    if not grouping:
        rows = [dataclasses.replace(row, group=None) for row in rows]
    cuts = [
        make_folds(manifest_of_rows(some, n_classes=n_classes), k=k, seed=3, holdout=holdout)
        for some in (rows, [rows[at] for at in np.random.default_rng(order).permutation(len(rows))])
    ]
    assert fold_of(cuts[0]) == fold_of(cuts[1])


def test_boxes_of_one_photo_stay_together_wherever_their_rows_stand():
    labels_N = np.arange(40) % 2
    boxes_N4 = np.array([[row, 0, row + 8, 8] for row in range(40)], dtype=np.int32)
    paths = tuple(f"{row // 2}.png" for row in range(40))
    manifest = dataclasses.replace(
        paper_manifest(labels_N, ("a", "b")), paths=paths, boxes_N4=boxes_N4
    )
    fold_N = make_folds(manifest, k=4, seed=0).fold_N
    np.testing.assert_array_equal(fold_N[::2], fold_N[1::2])
    assert np.bincount(fold_N).tolist() == [10] * 4
    order = np.random.default_rng(0).permutation(40)
    turned = dataclasses.replace(
        manifest,
        paths=tuple(paths[row] for row in order),
        labels_N=labels_N[order],
        boxes_N4=boxes_N4[order],
    )
    folds = make_folds(manifest, k=4, seed=0)
    np.testing.assert_array_equal(make_folds(turned, k=4, seed=0).fold_N, folds.fold_N[order])
    np.testing.assert_array_equal(
        make_folds(turned, k=4, seed=1, earlier=folds).fold_N, folds.fold_N[order]
    )


def test_folds_of_a_column_pin_nothing_since_what_is_always_trained_on_would_be_held_out():
    manifest = paper_manifest(np.arange(30) % 3)
    fixed = fixed_folds(manifest, np.arange(30) % 5 // 2 - 1)
    with pytest.raises(
        DataError, match=r"have images that are always trained on: give the column again .*"
    ):
        make_folds(manifest, k=2, seed=0, earlier=fixed)


def test_as_many_classes_as_pairs_of_images_are_cut_class_by_class():
    labels_N = np.arange(40_000) % 20_000
    folds = make_folds(paper_manifest(labels_N, tuple(map(str, range(20_000)))), k=2, seed=0)
    assert (folds.counts() == 1).all()


def worst_share(fold_N: np.ndarray, labels_N: np.ndarray, *, k: int) -> float:
    """The largest deviation of a class's count in a fold, relative to its even share."""
    counts_Kk = np.bincount(labels_N * k + fold_N, minlength=(labels_N.max() + 1) * k).reshape(
        -1, k
    )
    even_K1 = counts_Kk.sum(axis=1, keepdims=True) / k
    return float((np.abs(counts_Kk - even_K1) / even_K1).max())


def sklearn_folds(manifest: Manifest, *, k: int, seed: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    fold_N = np.empty(len(manifest), dtype=np.int64)
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    for fold, (_, rows) in enumerate(
        splitter.split(manifest.labels_N, manifest.labels_N, manifest.groups)
    ):
        fold_N[rows] = fold
    return fold_N


@pytest.mark.parametrize("pure", [True, False], ids=["one class per group", "mixed groups"])
@pytest.mark.parametrize(("count", "k", "n_classes"), [(300, 5, 3), (600, 3, 18), (1000, 5, 6)])
def test_classes_are_spread_as_evenly_as_by_scikit_learn_and_within_the_stated_bound(
    count, k, n_classes, pure
):
    ours = []
    theirs = []
    for seed in range(2):
        rows = people(np.random.default_rng(seed), count=count, n_classes=n_classes, pure=pure)
        manifest = manifest_of_rows(rows, n_classes=n_classes)
        folds = make_folds(manifest, k=k, seed=seed)
        assert deviations(folds) == []
        ours.append(worst_share(folds.fold_N, manifest.labels_N, k=k))
        theirs.append(worst_share(sklearn_folds(manifest, k=k, seed=seed), manifest.labels_N, k=k))
    assert np.mean(ours) <= 1.5 * np.mean(theirs)


@pytest.mark.parametrize("holdout", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("grouping", [True, False])
def test_the_holdout_has_the_share_that_was_asked_for_in_every_class_and_shares_no_group(
    holdout, grouping
):
    rows = people(np.random.default_rng(1), count=400, n_classes=4)
    if not grouping:
        rows = [dataclasses.replace(row, group=None) for row in rows]
    manifest = manifest_of_rows(rows, n_classes=4)
    folds = make_folds(manifest, k=4, seed=0, holdout=holdout)
    kept_out = folds.fold_N == HOLDOUT
    within = 20 if grouping else 1  # a whole group, or one image
    for label in range(4):
        mine = manifest.labels_N == label
        assert abs((kept_out & mine).sum() - holdout * mine.sum()) <= within
    for fold in range(4):
        assert not kept_out[folds.train_rows(fold)].any()
        assert not kept_out[folds.valid_rows(fold)].any()
    if grouping:
        groups = np.array(manifest.groups)
        assert not set(groups[kept_out]) & set(groups[~kept_out])


def test_a_class_in_fewer_groups_than_folds_is_refused_by_name_however_many_images_it_has():
    rows = [Row(f"{at}.png", 0, f"g{at}") for at in range(9)] + [
        Row(f"x{at}.png", 1, f"g{at % 2}") for at in range(50)
    ]
    with pytest.raises(
        DataError,
        match=r"^/nowhere: 1 of 2 classes have fewer groups than the 3 folds: 'c1' \(2\)\. "
        r"Write `rare: train` below folds, which always trains on them and never holds them out; "
        r"or write `exclude: \[c1\]` below data, which leaves them out; or lower folds\.k to 2$",
    ):
        make_folds(manifest_of_rows(rows, n_classes=2), k=3, seed=0)


def with_folds(
    labels: list[int], fold: list[int], *, k: int, holdout: float = 0.0, **fields: object
) -> Folds:
    manifest = dataclasses.replace(paper_manifest(np.array(labels)), **fields)
    return Folds(manifest, np.array(fold), k=k, seed=0, holdout=holdout)


def test_a_class_that_a_fold_lacks_is_named():
    folds = with_folds([0, 1, 2, 0, 1, 1], [0, 0, 0, 1, 1, 1], k=2)
    assert deviations(folds) == [
        "fold 1 has no image of class 'c': its F1 there is 0 for every trial"
    ]


def test_a_share_that_is_far_from_even_is_named_unless_one_group_explains_it():
    labels = [0] * 1000 + [1, 2] * 500
    fold = [0] * 560 + [1] * 440 + [0, 0, 1, 1] * 250
    assert deviations(with_folds(labels, fold, k=2)) == [
        "fold 0 has 560 images of class 'a', 500 would be even",
        "fold 1 has 440 images of class 'a', 500 would be even",
    ]
    crowd = ("crowd",) * 60 + tuple(f"g{row}" for row in range(1940))
    assert deviations(with_folds(labels, fold, k=2, groups=crowd)) == []
    near = [0] * 550 + [1] * 450 + [0, 0, 1, 1] * 250
    assert deviations(with_folds(labels, near, k=2)) == []


def test_many_odd_folds_are_counted():
    # class c lies in fold 0 alone: 11 folds lack it, and one has too much
    lines = deviations(
        with_folds([0] * 12 + [1] * 12 + [2] * 12, [*range(12), *range(12), *[0] * 12], k=12)
    )
    assert len(lines) == 11
    assert lines[-1] == "and 2 more such folds"


@pytest.mark.parametrize(
    "fold", [[0, 1] * 50, [HOLDOUT] * 40 + [0, 1] * 30], ids=["empty", "too large"]
)
def test_a_holdout_that_is_not_what_was_asked_for_is_named(fold):
    got = fold.count(HOLDOUT)
    folds = with_folds([0, 0, 1, 1, 2, 2] * 16 + [0, 0, 1, 1], fold, k=2, holdout=0.2)
    assert f"the holdout has {got} images, 20 were asked for" in deviations(folds)


# --- images keep their folds


@st.composite
def changed_rows(draw) -> tuple[list[Row], list[Row], int, int]:
    """A grouped data set before and after rows were added, removed, relabelled and shuffled."""
    before, n_classes, k = draw(grouped())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    # the first images of each class's first k groups stay, so that the new data can be cut at all
    firm: set[str] = set()
    for label in range(n_classes):
        groups = {row.group: row.path for row in reversed(before) if row.label == label}
        firm |= set(list(groups.values())[:k])
    after = []
    for row in before:
        fate = rng.random() if row.path not in firm else 1.0
        if fate < 0.2:
            continue
        label = int(rng.integers(n_classes)) if fate < 0.4 else row.label
        after.append(dataclasses.replace(row, label=label))
    known = sorted({str(row.group) for row in before})
    for at in range(draw(st.integers(0, 30))):
        group = str(rng.choice(known)) if rng.random() < 0.5 else f"new{rng.integers(8)}"
        after.append(Row(f"new/{at}.png", int(rng.integers(n_classes)), group))
    return before, [after[at] for at in rng.permutation(len(after))], n_classes, k


@given(changed_rows(), st.booleans(), st.sampled_from([0.0, 0.1]))
def test_the_fold_of_an_image_never_changes_whatever_becomes_of_other_rows(
    values, grouping, holdout
):
    before, after, n_classes, k = values
    if not grouping:
        before, after = (
            [dataclasses.replace(row, group=None) for row in rows] for rows in (before, after)
        )
    first = make_folds(manifest_of_rows(before, n_classes=n_classes), k=k, seed=1, holdout=holdout)
    # another seed must not matter to what is known
    second = make_folds(
        manifest_of_rows(after, n_classes=n_classes), k=k, seed=2, holdout=holdout, earlier=first
    )
    then = fold_of(first)
    now = fold_of(second)
    assert {path: now[path] for path in then.keys() & now.keys()} == {
        path: then[path] for path in then.keys() & now
    }
    assert moved(second, first) == 0
    if grouping:
        home = {row.group: then[row.path] for row in before if row.path in now}
        assert all(now[row.path] == home[row.group] for row in after if row.group in home)


@given(grouped(), st.sampled_from([0.0, 0.1]), st.integers(0, 99))
def test_the_same_data_cut_with_earlier_folds_have_the_same_hash(values, holdout, seed):
    rows, n_classes, k = values
    manifest = manifest_of_rows(rows, n_classes=n_classes)
    folds = make_folds(manifest, k=k, seed=0, holdout=holdout)
    again = make_folds(manifest, k=k, seed=seed, holdout=holdout, earlier=folds)
    assert again.hash == folds.hash


@pytest.mark.parametrize("grouping", [True, False])
def test_new_images_go_where_their_classes_are_missing(grouping):
    rows = people(np.random.default_rng(2), count=600, n_classes=5)
    if not grouping:
        rows = [dataclasses.replace(row, group=None) for row in rows]
    first = make_folds(
        manifest_of_rows(rows[: len(rows) // 2], n_classes=5), k=5, seed=0, holdout=0.1
    )
    manifest = manifest_of_rows(rows, n_classes=5)
    second = make_folds(manifest, k=5, seed=0, holdout=0.1, earlier=first)
    assert moved(second, first) == 0
    assert deviations(second) == []
    counts_Kk = second.counts()
    even_K1 = counts_Kk.sum(axis=1, keepdims=True) / 5
    assert np.abs(counts_Kk - even_K1).max() <= (20 if grouping else 1)
    share = (second.fold_N == HOLDOUT).mean()
    assert share == pytest.approx(0.1, abs=0.01)


def test_a_fold_that_lost_its_images_is_filled_first():
    first = cut(np.arange(60) % 2, k=3)
    kept = np.flatnonzero(first.fold_N != 1)
    paths = [f"{row}.png" for row in kept] + [f"new{row}.png" for row in range(20)]
    labels = [*(kept % 2), *(row % 2 for row in range(20))]
    rows = [Row(path, int(label)) for path, label in zip(paths, labels, strict=True)]
    second = make_folds(manifest_of_rows(rows, n_classes=2), k=3, seed=0, earlier=first)
    assert second.counts().tolist() == [[10, 10, 10], [10, 10, 10]]
    assert {fold for path, fold in fold_of(second).items() if path.startswith("new")} == {1}


def test_groups_that_grow_together_go_where_most_of_their_images_are():
    rows = [Row(f"{row}.png", row % 2, f"g{row // 2}") for row in range(24)]
    first = make_folds(manifest_of_rows(rows, n_classes=2), k=3, seed=0)
    then = fold_of(first)
    home = then["0.png"]
    away = next(row for row in rows if then[row.path] != home)
    # g0 swallows one image of a group elsewhere: two votes against one
    grown = [dataclasses.replace(row, group="g0") if row.path == away.path else row for row in rows]
    second = make_folds(manifest_of_rows(grown, n_classes=2), k=3, seed=0, earlier=first)
    now = fold_of(second)
    assert now[away.path] == home
    assert moved(second, first) == 1
    assert {path: fold for path, fold in now.items() if path != away.path} == {
        path: fold for path, fold in then.items() if path != away.path
    }


def test_what_was_held_out_of_everything_stays_so():
    rows = people(np.random.default_rng(3), count=100, n_classes=3)
    first = make_folds(manifest_of_rows(rows, n_classes=3), k=3, seed=0, holdout=0.2)
    more = [*rows, *(Row(f"new/{at}.png", at % 3, f"new{at}") for at in range(50))]
    second = make_folds(
        manifest_of_rows(more, n_classes=3), k=3, seed=9, holdout=0.3, earlier=first
    )
    kept_out = {path for path, fold in fold_of(first).items() if fold == HOLDOUT}
    assert kept_out
    assert all(fold_of(second)[path] == HOLDOUT for path in kept_out)


def test_a_holdout_is_never_trained_on_by_forgetting_to_ask_for_it():
    rows = people(np.random.default_rng(3), count=100, n_classes=3)
    manifest = manifest_of_rows(rows, n_classes=3)
    first = make_folds(manifest, k=3, seed=0, holdout=0.2)
    with pytest.raises(
        DataError, match=r"^the earlier folds have a holdout.*: set folds\.holdout to 0\.2$"
    ):
        make_folds(manifest, k=3, seed=0, earlier=first)


def test_another_number_of_folds_than_before_is_refused():
    with pytest.raises(DataError, match=r"^the earlier folds are 3 and not 5: set folds\.k to 3$"):
        make_folds(paper_manifest(LABELS_N), k=5, seed=0, earlier=cut(k=3))


# --- fixed folds


def fixed(labels: list[int], fold: list[int], **fields: object) -> Folds:
    manifest = paper_manifest(np.array(labels), ("a", "b"))
    return fixed_folds(dataclasses.replace(manifest, **fields), np.array(fold))


def test_one_fixed_fold_is_held_out_and_the_rest_is_always_trained_on():
    folds = fixed([0, 1, 0, 1], [-1, -1, 0, 0])
    assert (folds.k, folds.train_rows(0).tolist(), folds.valid_rows(0).tolist()) == (
        1,
        [0, 1],
        [2, 3],
    )
    assert folds.scored_rows().tolist() == [2, 3]
    assert folds.counts().tolist() == [[1], [1]]
    assert deviations(folds) == []


def test_several_fixed_folds_are_kept_as_they_are():
    folds = fixed([0, 1, 0, 1, 0, 1], [1, 0, 0, 2, 2, 1])
    assert (folds.k, folds.fold_N.tolist()) == (3, [1, 0, 0, 2, 2, 1])


def test_fixed_folds_that_hold_nothing_out_are_refused():
    with pytest.raises(
        DataError, match=r"^/nowhere: folds\.column holds no fold out; fold numbers begin with 0$"
    ):
        fixed([0, 1], [-1, -1])


def test_an_empty_fixed_fold_is_refused():
    with pytest.raises(DataError, match=r"^/nowhere: fold 1 of 3 would be empty$"):
        fixed([0, 1, 0, 1], [0, 0, 2, 2])


def test_a_group_on_both_sides_of_a_split_is_refused_and_named():
    with pytest.raises(
        DataError, match=r"^/nowhere: 2 groups have images on both sides of a split"
    ) as caught:
        fixed(
            [0, 1, 0, 1, 0, 1],
            [-1, 0, 0, -1, 0, 1],
            groups=("ann", "bob", "ann", "cid", "dan", "dan"),
        )
    assert str(caught.value) == (
        "/nowhere: 2 groups have images on both sides of a split, so a model would be scored on "
        "groups that it has seen. Repair folds.column, or leave data.group out if that is meant\n"
        "  ann: always trained, fold 0\n"
        "  dan: fold 0, fold 1"
    )


def test_a_class_that_is_held_out_but_never_trained_on_is_refused_by_name():
    with pytest.raises(DataError, match="classes are held out without being trained on") as caught:
        fixed([0, 0, 1, 1], [-1, 0, 0, 0])
    assert str(caught.value).startswith("/nowhere: 1 classes are held out without being trained on")
    assert str(caught.value).endswith("\n  'b': all 2 images are in fold 0")
