"""Signs of leaks: seen where images belong together,
and silent over the usual layouts of data sets.
"""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from trainer.data import name_stems
from trainer.data.leaks import Sign, signs_of_leaks
from trainer.data.units import MAX_PAIRS
from trainer.images.manifest import Manifest


def table(paths: list[str], labels: list[str] | None = None) -> Manifest:
    """Images on paper; without labels each is of class a or b by chance."""
    draw = np.random.default_rng(1)
    names = (
        labels
        if labels is not None
        else ["ab"[number] for number in draw.integers(0, 2, len(paths))]
    )
    classes = tuple(sorted(set(names)))
    return Manifest(
        root=Path("/nowhere"),
        paths=tuple(paths),
        labels_N=np.array([classes.index(name) for name in names], dtype=np.int64),
        classes=classes,
        lines=(0,) * len(paths),
    )


def shuffled(count: int, *, k: int = 5) -> np.ndarray:
    return np.random.default_rng(0).permutation(np.arange(count) % k)


def kinds(manifest: Manifest, **more: object) -> list[str]:
    return [sign.kind for sign in signs_of_leaks(manifest, shuffled(len(manifest)), **more)]


def only(signs: list[Sign]) -> Sign:
    (sign,) = signs
    return sign


# folders


def test_person_folders_in_several_folds_are_named_with_an_example_and_what_to_do():
    paths = [
        f"{person:06d}_female_Asian_27/{photo}.jpg"
        for person in range(20)
        for photo in ("mask", "normal", "wrong")
    ]
    fold_N = np.tile([0, 2, 4], 20)
    fold_N[:6] = 1  # two persons lie in one fold
    sign = only(signs_of_leaks(table(paths), fold_N))
    assert sign == Sign(
        "folder",
        "18 of 20 folders with several images have them in several folds, e.g. "
        "000002_female_Asian_27 (3 images in folds 0, 2, 4): probably one person, "
        "video or object each. Name a group: data.group",
        tuple((row, row + 1) for row in range(6, 6 + 3 * MAX_PAIRS, 3)),
    )


def nested(classes: list[str], people: int, photos: int) -> tuple[list[str], list[str]]:
    """class/person/photo."""
    rows = [
        (name, person, photo)
        for name in classes
        for person in range(people)
        for photo in range(photos)
    ]
    return [f"{name}/p{person}/{photo}.jpg" for name, person, photo in rows], [
        name for name, _, _ in rows
    ]


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        nested(["cat", "dog"], 20, 4),
        nested([str(age) for age in range(30)], 10, 3),
        (
            [f"Aaron_Ng{chr(97 + p)}/{p}_{i}.jpg" for p in range(20) for i in range(1 + p % 3)],
            None,
        ),  # many have one
        ([f"clips/v{video}/{frame:05d}.png" for video in range(50) for frame in range(40)], None),
        ([f"민수{person}/{photo}.jpg" for person in range(10) for photo in range(5)], None),
        ([f"all/{i}.png" for i in range(984)] + [f"p{i // 2}/{i}.png" for i in range(16)], None),
        (
            [f"v{video}/{frame}.png" for video in range(40) for frame in range(100)],
            ["ab"[video % 2] for video in range(40) for _ in range(100)],
        ),
    ],
    ids=[
        "below classes",
        "below many classes",
        "words",
        "videos",
        "korean",
        "beside a big folder",
        "long videos",
    ],
)
def test_folders_of_persons_and_videos_are_a_sign(paths, labels):
    assert kinds(table(paths, labels)) == ["folder"]


def test_folders_of_classes_are_not_counted_beside_folders_of_persons():
    paths, labels = nested(["face"], 30, 4)
    paths += [f"{name}/{photo}.jpg" for name in ("Cat", "dog") for photo in range(12)]
    sign = only(
        signs_of_leaks(table(paths, labels + ["cat"] * 12 + ["dog"] * 12), np.arange(144) % 2)
    )
    assert sign.text.startswith("30 of 30 folders")


def layout(pattern: str, count: int, **values: list[str]) -> list[str]:
    """Paths in which {i} is the image and every value takes turns."""
    chosen = [
        {key: options[row % len(options)] for key, options in values.items()}
        for row in range(count)
    ]
    return [pattern.format(i=row, **value) for row, value in enumerate(chosen)]


TEN = list("abcdefghij")
USUAL = {
    "one folder per class": (layout("{c}/{i:04d}.png", 600, c=TEN), TEN * 60),
    "class in another case": (layout("{c}/{i:04d}.png", 600, c=[c.upper() for c in TEN]), TEN * 60),
    "another name of each class": (layout("n0{c}/{i:04d}.png", 600, c=TEN), TEN * 60),
    "train and valid": (
        layout("{s}/{c}/{i:04d}.png", 600, c=TEN, s=["train", "valid", "test"]),
        TEN * 60,
    ),
    "train and valid of ids": (
        layout("{s}/n0{c}/{i}.png", 600, c=TEN, s=["train", "valid", "test"]),
        TEN * 60,
    ),
    "a folder below each class": (layout("{c}/images/{i:04d}.png", 600, c=TEN), TEN * 60),
    "folders below each class": (
        layout("{c}/{s}/{i}.png", 600, c=TEN, s=["part1", "part2", "part3"]),
        TEN * 60,
    ),
    "a folder per joint class": (
        layout("{a}/{b}/{i:04d}.png", 600, a=["x", "y"], b=["b1", "b2", "b3", "b4", "b5"]),
        layout("{a} / {b}", 600, a=["x", "y"], b=["b1", "b2", "b3", "b4", "b5"]),
    ),
    "corrected labels": (
        layout("n0{c}/{i:04d}.png", 600, c=TEN),
        [*(TEN * 58), *(TEN[1:] + TEN[:1]), *TEN],
    ),
    "corrected labels of classes": (
        layout("{s}/{c}1/{i:04d}.png", 600, c=TEN, s=["fold1", "fold2", "fold3"]),
        [f"{c}1" for c in [*(TEN * 58), *(TEN[1:] + TEN[:1]), *TEN]],
    ),
    "four odd folders": (layout("{i}.png", 580) + layout("s{s}/{i}.png", 20, s=list("1234")), None),
    "the same numbers in every class": (
        layout("{c}/{n}_{i}.png", 600, c=TEN, n=[f"{n:04d}" for n in range(61)]),
        TEN * 60,
    ),
    "one folder": (layout("images/{i:04d}.png", 600), None),
    "no folder": (layout("{i:04d}.png", 600), None),
    "a few sources": (layout("{s}/{i:04d}.png", 600, s=["utk1", "fair2", "celeb3", "own4"]), None),
    "five parts": (layout("part{s}/{i:04d}.png", 600, s=list("12345")), None),
    "shards of 60": (layout("0{s}/{i:04d}.png", 6000, s=[f"{n:02d}" for n in range(100)]), None),
    "shards of 1000": (layout("0{s}/{i:06d}.png", 70_000, s=[f"{n:02d}" for n in range(70)]), None),
    "breeds within species": (
        layout("{s}/{i:04d}.png", 3000, s=[f"breed_{a}{b}" for a in "abcde" for b in "vwxyz"]),
        [["cat", "dog"][row % 25 % 2] for row in range(3000)],
    ),
    "one image per folder": (layout("p{i}/photo.png", 600), None),
    "camera numbers": (layout("IMG_{i:04d}.jpg", 600), None),
    "camera times": (
        layout("IMG_202401{d}_{i:06d}.jpg", 600, d=[f"{d:02d}" for d in range(1, 31)]),
        None,
    ),
    "class and number": (layout("{c}_{i:03d}.jpg", 600, c=TEN), TEN * 60),
    "class of two words": (layout("big-{c}.{i}.jpg", 600, c=TEN), [f"big {c}" for c in TEN * 60]),
    "other class names": (layout("n0{c}_{i}.jpg", 600, c=TEN), TEN * 60),
    "class, its number, image": (layout("{c}_{i:04d}_{i}.jpg", 600, c=TEN), TEN * 60),
    "attributes and time": (
        layout(
            "{a}_{g}_{r}_201701161745{i:05d}.jpg",
            600,
            a=[str(a) for a in range(20)],
            g=["0", "1"],
            r=list("012"),
        ),
        [str(row % 20) for row in range(600)],
    ),
    "attributes and number": (
        layout(
            "{a}_{g}_{r}_{i}.jpg", 3000, a=[str(a) for a in range(20)], g=list("01"), r=list("012")
        ),
        [str(row % 20) for row in range(3000)],
    ),
    "hashes": ([f"{(row * 2654435761) % 2**32:08x}.jpg" for row in range(4000)], None),
    "words and number": (
        layout("{w}_s_{i:06d}.png", 6000, w=[f"word{a}{b}" for a in TEN for b in TEN]),
        [["x", "y"][row % 100 // 10 % 2] for row in range(6000)],
    ),
}


@pytest.mark.parametrize("usual", USUAL)
def test_a_usual_layout_gives_no_alarm(usual):
    assert signs_of_leaks(table(*USUAL[usual]), shuffled(len(USUAL[usual][0]))) == []


def test_folders_that_keep_to_their_folds_are_no_sign():
    manifest = table([f"p{row // 4}/{row}.png" for row in range(80)])
    assert signs_of_leaks(manifest, np.arange(80) // 4 % 5) == []


@pytest.mark.parametrize(("leaking", "signs"), [(2, []), (3, ["folder"])])
def test_two_folders_across_folds_may_be_chance_and_three_are_not(leaking, signs):
    fold_N = np.arange(80) // 4 % 5
    fold_N[: 4 * leaking : 4] = (fold_N[1 : 4 * leaking : 4] + 1) % 5
    assert [
        sign.kind
        for sign in signs_of_leaks(table([f"p{row // 4}/{row}.png" for row in range(80)]), fold_N)
    ] == signs


@pytest.mark.parametrize(
    ("sides", "where"),
    [
        ([-1, 0], "fold 0 and the images always trained on"),
        ([-2, 3], "fold 3 and the holdout"),
        ([-2, -1], "the holdout and the images always trained on"),
    ],
)
def test_the_holdout_and_what_is_always_trained_on_are_sides_too(sides, where):
    manifest = table([f"p{row // 2}/{row}.png" for row in range(20)])
    sign = only(signs_of_leaks(manifest, np.tile(sides, 10)))
    assert sign.text.startswith(
        "10 of 10 folders with several images have them in several folds, e.g. "
        f"p0 (2 images in {where}): "
    )


# names


@pytest.mark.parametrize(
    "pattern",
    [
        "ann{p}_{i:02d}.jpg",
        "{p:06d}-{i}.png",
        "video{p}_frame{i:04d}.png",
        "IMG {p} ({i}).jpg",
        "민수{p}_사진{i}.jpg",
        "p{p}.img.{i}.jpg",
        "photo{p}_png.rf.{i:032x}.jpg",
        "all/{p:05d}_{i:05d}.ppm",
    ],
)
def test_names_that_differ_in_a_counter_are_a_sign(pattern):
    manifest = table(
        [pattern.format(p=person, i=photo) for person in range(30) for photo in range(6)]
    )
    sign = only(signs_of_leaks(manifest, shuffled(180)))
    assert sign.kind == "name"
    assert sign.text.startswith("30 of 30 ")


def test_the_name_is_shown_without_its_counter():
    manifest = table(
        [
            f"Ann{'xyz'[person % 3] * (person // 3 + 1)}_{photo}.jpg"
            for person in range(12)
            for photo in "12"
        ]
    )
    assert only(signs_of_leaks(manifest, np.tile([0, 1], 12))) == Sign(
        "name",
        "12 of 12 file names with several images have them in several folds, e.g. "
        "annx (2 images in folds 0, 1): probably one person, video or object each. Name a group: "
        "data.group",
        tuple((row, row + 1) for row in range(0, 24, 2)),
    )


def test_two_spellings_of_one_korean_name_are_one():
    spellings = [
        unicodedata.normalize(form, f"{name}_{form == 'NFC':d}.jpg")
        for name in "가나다라마바"
        for form in ("NFC", "NFD")
    ]
    assert len(set(spellings)) == 12
    assert kinds(table(spellings)) == ["name"]


def test_a_person_photographed_for_several_classes_is_one():
    rows = [(person, mood) for person in range(15) for mood in ("happy", "sad")]
    manifest = table(
        [f"p{person}_{mood}_1.jpg" for person, mood in rows], [mood for _, mood in rows]
    )
    assert only(signs_of_leaks(manifest, np.tile([0, 1], 15))).text.startswith(
        "15 of 15 file names"
    )


def test_a_number_behind_the_class_belongs_to_that_class():
    rows = [(name, number) for name in ("cat", "dog") for number in range(40)]
    manifest = table(
        [f"{name}_{number}_1.jpg" for name, number in rows], [name for name, _ in rows]
    )
    assert kinds(manifest) == []


def test_names_within_folders_that_are_a_sign_are_not_told_again():
    manifest = table(
        [f"p{person}/p{person}_{photo}.jpg" for person in range(30) for photo in range(6)]
    )
    assert kinds(manifest) == ["folder"]


def test_names_shared_by_folders_that_are_a_sign_are_told_too():
    rows = [(day, person) for day in range(10) for person in range(20)]
    assert kinds(table([f"day{day}/p{person}_{day}.jpg" for day, person in rows])) == [
        "folder",
        "name",
    ]


# groups


def test_a_group_in_several_folds_is_named_before_anything_else():
    manifest = table([f"{row}.png" for row in range(6)])
    sign = only(
        signs_of_leaks(manifest, [0, 1, 0, 0, 1, 1], groups=["ann", "ann", "bob", "bob", "", ""])
    )
    assert sign == Sign(
        "group",
        "1 of 2 groups have images in several folds, e.g. ann (2 images in folds 0, 1): "
        "a model is scored on groups that it was trained on. Give all rows of a group one fold, "
        "or leave the folds to folds.k instead of folds.column",
        ((0, 1),),
    )


def test_folders_are_a_sign_only_where_the_group_does_not_cover_them():
    rows = np.arange(120)
    by_person = [f"p{row // 4}" for row in rows]
    covered = table([f"{name}/{row}.png" for row, name in enumerate(by_person)])
    crossing = table([f"day{row % 24}/{row}.png" for row in rows])
    fold_N = rows // 4 % 5
    assert signs_of_leaks(covered, fold_N, groups=by_person) == []
    sign = only(signs_of_leaks(crossing, fold_N, groups=by_person))
    assert sign.kind == "folder"
    assert sign.text.endswith(
        "data.group does not keep them together; name another column if it should"
    )


# content


DIGESTS = [b"one\0", b"two\0", b"one\0", b"four", b"two\0", b"", b""]


@pytest.mark.parametrize(
    "digests",
    [
        DIGESTS[:5],
        np.array(DIGESTS[:5], dtype="S4"),
        np.array(DIGESTS[:5], dtype="V4"),
        np.array([list(digest) for digest in DIGESTS[:5]], dtype=np.uint8),
        np.array([1, 256, 1, 4, 256], dtype=np.uint64),
    ],
    ids=["bytes", "S", "V", "2d", "integers"],
)
def test_identical_files_on_both_sides_are_named(digests):
    manifest = table([f"{row}.png" for row in range(5)], list("ababb"))
    assert only(signs_of_leaks(manifest, [0, 1, 0, 2, 3], digests=digests)) == Sign(
        "identical",
        "1 file is in several folds, byte for byte (2 images), e.g. 1.png (fold 1) "
        "and 4.png (fold 3). Set data.keep: one_per_cluster, or data.group: near_duplicates",
        ((1, 4),),
    )


def test_an_unknown_digest_matches_nothing():
    manifest = table([f"{row}.png" for row in range(7)], list("abaabab"))
    signs = signs_of_leaks(manifest, [0, 0, 0, 0, 0, 0, 1], digests=DIGESTS)
    assert signs == []


def test_identical_files_of_different_classes_contradict_each_other_in_any_fold():
    manifest = table([f"{row}.png" for row in range(4)], ["cat", "dog", "dog", "cat"])
    assert only(signs_of_leaks(manifest, [2, 2, 0, 1], digests=[b"x", b"x", b"y", b"z"])) == Sign(
        "contradiction",
        "1 file is there several times with different classes (2 images), e.g. "
        "0.png and 1.png as 'cat' and 'dog'. Correct or drop them: data.corrections",
        ((0, 1),),
    )


def test_near_duplicates_on_both_sides_are_named():
    manifest = table([f"{row}.png" for row in range(6)])
    sign = only(
        signs_of_leaks(manifest, [0, 0, 1, 1, -2, 2], clusters_N=np.array([0, 0, 2, 3, 2, 0]))
    )
    assert sign == Sign(
        "near_duplicate",
        "2 clusters of near-duplicates (5 images) have images in several folds, e.g. "
        "1.png (fold 0) and 5.png (fold 2). Name a group: data.group (a column, "
        "or near_duplicates), or set data.keep: one_per_cluster",
        ((1, 5), (2, 4)),
    )


def test_copies_of_one_file_are_not_told_again_as_near_duplicates():
    manifest = table([f"{row}.png" for row in range(5)], list("aabbb"))
    clusters_N = [0, 0, 2, 2, 2]
    fold_N = [0, 1, 0, 1, 1]
    signs = signs_of_leaks(
        manifest, fold_N, clusters_N=clusters_N, digests=[b"x", b"x", b"y", b"y", b"z"]
    )
    assert [sign.kind for sign in signs] == ["identical", "near_duplicate"]
    assert signs[1].text.startswith("1 cluster of near-duplicates (3 images)")


def test_every_cluster_shows_one_pair_before_any_shows_two():
    manifest = table([f"{row}.png" for row in range(40)])
    clusters_N = np.r_[np.zeros(30, int), np.repeat([30, 32, 34, 36, 38], 2)]
    pairs = only(signs_of_leaks(manifest, np.arange(40) % 2, clusters_N=clusters_N)).pairs
    assert pairs[:5] == ((30, 31), (32, 33), (34, 35), (36, 37), (38, 39))
    assert pairs[5:] == tuple((row, row + 1) for row in range(7))


# all of it


def test_the_surest_sign_comes_first():
    rows = np.arange(100)
    manifest = table([f"p{row // 5}/ann{row % 20}_{row}.png" for row in rows])
    contents = [b"%d" % (row % 50) for row in rows]
    signs = kinds(
        manifest, digests=contents, clusters_N=rows % 49, groups=[f"g{row // 7}" for row in rows]
    )
    assert signs == ["group", "contradiction", "identical", "near_duplicate", "folder", "name"]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_images_are_no_sign(count):
    paths = [f"p/{row}.png" for row in range(count)]
    manifest = (
        table(paths, ["a"] * count)
        if count
        else Manifest(Path("/"), (), np.empty(0, np.int64), ("a",), ())
    )
    digests = np.empty((count, 16), np.uint8)
    digests[:] = np.arange(count)[:, None]
    fold_N = np.arange(count)
    assert signs_of_leaks(manifest, fold_N, digests=digests, clusters_N=fold_N, groups=paths) == []


@pytest.mark.parametrize("what", ["folds", "digests", "clusters", "groups"])
def test_a_value_missing_for_some_image_is_refused(what):
    values = {
        "fold_N": [0, 1, 2],
        "digests": [b"a", b"b", b"c"],
        "clusters_N": [0, 1, 2],
        "groups": ["a", "b", "c"],
    }
    key = {"folds": "fold_N", "clusters": "clusters_N"}.get(what, what)
    values[key] = values[key][:2]
    with pytest.raises(ValueError, match=rf"^3 images, but 2 {what}$"):
        signs_of_leaks(table(["1.png", "2.png", "3.png"]), values.pop("fold_N"), **values)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("ann_01", "ann"),
        ("ann-2", "ann"),
        ("Ann2", "ann"),
        ("ann", "ann"),
        ("0001", ""),
        ("_7", ""),
        ("video7_frame0031", "video7"),
        ("surface_01", "surface"),
        ("frame_01", "frame"),
        ("IMG 12 (3)", "img_12"),
        ("IMG 12 (b)", "img_12_(b)"),
        ("00013_005", "00013"),
        ("20240131_174525", "20240131_174525"),
        ("a_201701161745", "a_201701161745"),
        ("f3a9c21", "f3a9c21"),
        ("a_jpg.rf.0f3e", "a_jpg"),
    ],
)
def test_a_counter_is_told_from_a_time_and_a_hash(name, stem):
    assert name_stems._without_counter(name_stems.plain_name(name)) == stem
