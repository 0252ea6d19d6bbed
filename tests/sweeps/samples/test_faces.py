"""Drawn faces: every class, the same for everybody, and persons one can recognise."""

import itertools
import json
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeps.samples import face_drawing
from sweeps.samples import faces as sample_faces
from sweeps.samples.face_drawing import PHOTOS, WORN, take_photo
from sweeps.samples.faces import appearance_of, write_faces
from trainer.errors import DataError

TINY = (16, 16)


@pytest.fixture(scope="module")
def sixty(tmp_path_factory) -> Path:
    """`images` with 60 persons, written once for all tests here."""
    return write_faces(tmp_path_factory.mktemp("faces") / "new", persons=60, size_HW=TINY)


@pytest.fixture(scope="module")
def photos_PVHWC(tmp_path_factory) -> np.ndarray:
    """12 persons, seven photos each in the order of `PHOTOS`, 64 x 48."""
    images = write_faces(tmp_path_factory.mktemp("faces"), persons=12, size_HW=(64, 48))
    return np.array(
        [
            [pixels(folder / f"{photo}.jpg") for photo in PHOTOS]
            for folder in sorted(images.iterdir())
        ]
    )


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image).astype(int)


def contents(images: Path) -> dict[str, bytes]:
    """Every file below the folder with its bytes."""
    return {
        path.relative_to(images).as_posix(): path.read_bytes()
        for path in images.rglob("*")
        if path.is_file()
    }


def band(age: int) -> int:
    return (age >= 30) + (age >= 60)


# names and counts


def test_every_person_is_a_folder_named_by_id_gender_race_and_age_with_seven_photos(sixty):
    folders = sorted(sixty.iterdir())
    assert sixty.name == "images"
    assert [int(folder.name[:6]) for folder in folders] == list(range(1, 61))
    for folder in folders:
        assert re.fullmatch(r"\d{6}_(fe)?male_(Asian|Caucasian|Indian|African)_\d\d", folder.name)
        assert sorted(os.listdir(folder)) == sorted(f"{photo}.jpg" for photo in PHOTOS)
    assert sorted(PHOTOS) == [
        "incorrect_mask",
        "mask1",
        "mask2",
        "mask3",
        "mask4",
        "mask5",
        "normal",
    ]


def test_nothing_but_the_photos_and_the_arguments_is_left(sixty):
    assert sorted(os.listdir(sixty.parent)) == ["faces.json", "images"]
    stated = {"persons": 60, "size_HW": [16, 16], "seed": 0, "complete": True}
    assert json.loads((sixty.parent / "faces.json").read_text()) == stated


def test_sixty_persons_hold_all_eighteen_classes_with_six_persons_each(sixty):
    seen = Counter()
    for photo in sixty.glob("*/*.jpg"):
        _, gender, _, age = photo.parent.name.split("_")
        mask = "worn" if photo.stem in WORN else photo.stem
        seen[mask, gender, band(int(age))] += 1
    assert len(seen) == 18
    assert min(seen[key] for key in seen if key[0] != "worn") >= 6


@pytest.mark.parametrize(("persons", "fewest"), [(6, 1), (36, 6), (200, 6), (2700, 67)])
def test_every_gender_and_age_band_gets_its_share_at_any_count(persons, fewest):
    seen = Counter(sample_faces._cell(number, seed=3) for number in range(persons))
    assert len(seen) == 6
    assert min(seen.values()) >= fewest


def test_most_are_younger_than_26_or_in_their_fifties_and_few_are_older():
    ages_N = np.array([appearance_of(number, seed=0).age for number in range(36, 236)])
    assert ages_N.min() >= 18
    assert 0.25 < np.mean(ages_N < 26) < 0.5
    assert 0.25 < np.mean((ages_N >= 50) & (ages_N < 60)) < 0.5
    assert 0.05 < np.mean(ages_N >= 60) < 0.1


@pytest.mark.parametrize(
    "size_HW", [(16, 16), (17, 33), (75, 51), (16, 200), (300, 16), (512, 384), (1600, 1201)]
)
def test_photos_have_the_size_asked_for(tmp_path, size_HW):
    images = write_faces(tmp_path, persons=1, size_HW=size_HW)
    assert {pixels(file).shape for file in images.glob("*/*.jpg")} == {(*size_HW, 3)}


def test_progress_counts_every_person_once(tmp_path):
    seen = []
    write_faces(
        tmp_path, persons=3, size_HW=TINY, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


# repeatable


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    first, second = (
        write_faces(tmp_path / name, persons=4, size_HW=(40, 30), seed=5) for name in "ab"
    )
    assert contents(first) == contents(second)


def test_a_person_is_the_same_whatever_the_count(tmp_path):
    few, many = (
        write_faces(tmp_path / str(count), persons=count, size_HW=TINY) for count in (5, 10)
    )
    assert len(contents(few)) == 35
    assert contents(few).items() <= contents(many).items()


def test_another_seed_draws_other_persons(tmp_path):
    first, second = (
        write_faces(tmp_path / str(seed), persons=2, size_HW=TINY, seed=seed) for seed in (0, 1)
    )
    assert not set(contents(first).values()) & set(contents(second).values())


# interrupted, repeated, refused


def test_an_interrupted_set_holds_whole_persons_only_and_is_completed(tmp_path, monkeypatch):
    calls = itertools.count()
    plain = sample_faces.take_photo

    def killed(*args: object, **kwargs: object) -> Image.Image:
        if next(calls) >= 18:
            raise KeyboardInterrupt("killed")
        return plain(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(sample_faces, "take_photo", killed)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            write_faces(tmp_path / "cut", persons=6, size_HW=TINY)
    assert json.loads((tmp_path / "cut" / "faces.json").read_text())["complete"] is False
    assert {len(os.listdir(folder)) for folder in (tmp_path / "cut" / "images").iterdir()} <= {7}
    images = write_faces(tmp_path / "cut", persons=6, size_HW=TINY)
    assert contents(images) == contents(write_faces(tmp_path / "whole", persons=6, size_HW=TINY))
    assert sorted(os.listdir(tmp_path / "cut")) == ["faces.json", "images"]


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda file: file.write_bytes(b"")], ids=["missing", "empty"]
)
def test_only_a_person_that_is_not_whole_is_drawn_again(tmp_path, damage):
    images = write_faces(tmp_path, persons=3, size_HW=TINY)
    before = contents(images)
    one, two, three = sorted(images.iterdir())
    stamps = [(folder / "mask1.jpg").stat().st_mtime_ns for folder in (one, two, three)]
    damage(two / "mask4.jpg")
    write_faces(tmp_path, persons=3, size_HW=TINY)
    assert contents(images) == before
    again = [(folder / "mask1.jpg").stat().st_mtime_ns for folder in (one, two, three)]
    assert [old == new for old, new in zip(stamps, again, strict=True)] == [True, False, True]


@pytest.mark.parametrize("change", [{"persons": 3}, {"size_HW": (16, 17)}, {"seed": 1}])
@pytest.mark.parametrize("complete", [True, False])
def test_other_arguments_in_the_same_folder_are_refused(tmp_path, change, complete):
    asked = {"persons": 2, "size_HW": TINY, "seed": 0}
    images = write_faces(tmp_path, **asked)
    before = contents(images)
    (tmp_path / "faces.json").write_text(json.dumps({**asked, "complete": complete}))
    message = (
        r"holds 2 persons of \d+x\d+ pixels \(seed \d+\), asked for are .*Delete the folder or "
        r"choose another one$"
    )
    with pytest.raises(DataError, match=message):
        write_faces(tmp_path, **{**asked, **change})
    assert contents(images) == before


def test_a_json_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "faces.json").write_text("{")
    with pytest.raises(DataError, match="holds something else, asked for are"):
        write_faces(tmp_path, persons=1, size_HW=TINY)


def test_real_photos_never_get_mixed_with_drawn_ones(tmp_path):
    (tmp_path / "images" / "000001_female_Asian_45").mkdir(parents=True)
    message = r"images: exists, but was not drawn here \(no faces.json\)\. Choose another folder$"
    with pytest.raises(DataError, match=message):
        write_faces(tmp_path, persons=1, size_HW=TINY)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        DataError, match=r"file: the faces cannot be written \(.+\)\. Choose another folder$"
    ):
        write_faces(tmp_path / "file", persons=1, size_HW=TINY)


@pytest.mark.parametrize(("persons", "size_HW"), [(0, (16, 16)), (1, (15, 16)), (1, (16, 15))])
def test_no_persons_and_photos_too_small_are_refused(tmp_path, persons, size_HW):
    message = (
        f"^cannot draw {persons} persons of {size_HW[0]}x{size_HW[1]} pixels; "
        "at least 1 person and 16x16 pixels"
    )
    with pytest.raises(DataError, match=message):
        write_faces(tmp_path / "new", persons=persons, size_HW=size_HW)
    assert os.listdir(tmp_path) == []


# what the pictures show


def test_the_photos_of_a_person_resemble_each_other_more_than_those_of_others(photos_PVHWC):
    coarse_ND = photos_PVHWC.reshape(12, 7, 16, 4, 12, 4, 3).mean(axis=(3, 5)).reshape(84, -1)
    distances_NN = np.abs(coarse_ND[:, None] - coarse_ND).mean(axis=2)
    person_N = np.arange(84) // 7
    same_NN = person_N[:, None] == person_N
    assert distances_NN[same_NN].mean() < 0.7 * distances_NN[~same_NN].mean()
    nearest_N = (distances_NN + np.diag([np.inf] * 84)).argmin(axis=1)
    assert np.mean(person_N[nearest_N] == person_N) > 0.75  # by chance 0.07


def test_a_person_moves_between_the_photos(photos_PVHWC):
    middle_PVH = photos_PVHWC[:, :, :, 22:27].mean(axis=(3, 4))
    is_hair_PVH = middle_PVH < 0.75 * middle_PVH[:, :, :4].mean(axis=2, keepdims=True)
    top_PV = is_hair_PVH.argmax(axis=2)
    assert np.median(np.ptp(top_PV, axis=1)) >= 3


def change_by(photo: str) -> np.ndarray:
    """Mean difference (64, 48) to the photo without a mask over 12 persons;
    the same draws give the same pose.
    """
    changes_PHW = []
    for number in range(12):
        one, normal = (
            take_photo(
                appearance_of(number, seed=0),
                name,
                size_HW=(64, 48),
                rng=np.random.default_rng(number),
            )
            for name in (photo, "normal")
        )
        changes_PHW.append(np.abs(np.asarray(one).astype(int) - normal).mean(axis=2))
    return np.mean(changes_PHW, axis=0)


def test_a_mask_changes_the_lower_face_and_little_else():
    change_HW = change_by("mask1")
    lower = change_HW[34:44, 18:30]
    eyes = change_HW[20:28, 18:30]
    wall = change_HW[:10]
    assert lower.mean() > 3 * eyes.mean()
    assert lower.mean() > 3 * wall.mean()


@pytest.mark.parametrize(
    ("wearing", "free"), [("nose free", (25, 33)), ("chin", (25, 39)), ("eyes", (37, 45))]
)
def test_a_wrongly_worn_mask_leaves_part_of_the_face_free(wearing, free, monkeypatch):
    only = {name: face_drawing.WEARINGS[name] for name in ("right", wearing)}
    monkeypatch.setattr(face_drawing, "WEARINGS", only)
    middle_H = change_by("incorrect_mask")[:, 21:27].mean(axis=1)
    assert middle_H.max() > 3 * middle_H[slice(*free)].mean()


def test_grey_hair_comes_with_age_but_not_always():
    persons = [appearance_of(number, seed=0) for number in range(200)]
    light = {
        old: [sum(one.hair) for one in persons if (one.age >= 50) == old] for old in (False, True)
    }
    assert np.mean(light[True]) > 1.5 * np.mean(light[False])
    assert min(light[True]) < np.mean(light[False])


def test_long_hair_is_more_common_among_women_but_not_only_theirs():
    persons = [appearance_of(number, seed=0) for number in range(200)]
    long = {
        gender: [one.hair_length for one in persons if one.gender == gender]
        for gender in ("female", "male")
    }
    assert np.mean(long["female"]) > np.mean(long["male"]) + 0.3
    assert max(long["male"]) > np.median(long["female"])
