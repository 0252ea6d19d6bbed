"""The faces sample data set, similar to the data of the mask competition.

The data set has drawn persons with seven photos each, and eighteen classes.
"""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sweeps.samples.face_drawing import PHOTOS, Appearance, any_colour, take_photo
from sweeps.samples.pen import Colour, mixed
from trainer.errors import DataError
from trainer.files import write_json
from trainer.images.parallel import map_in_order
from trainer.seeds import derive

CELLS = tuple(
    (gender, band) for band in ("young", "middle", "old") for gender in ("female", "male")
)
# The first 36 persons take the cells in turn, so that small data sets contain every class.
CYCLED = 36
# Later persons come in blocks of 40. These are the persons of each cell in a block. The shares of
# the cells are similar to those in the competition.
PER_BLOCK = (12, 7, 10, 8, 2, 1)
AGES = {  # the usual ages, then the rarer ages; the upper end is excluded
    "young": ((18, 26), (26, 30)),
    "middle": ((50, 60), (30, 50)),
    "old": ((60, 61), (61, 71)),
}
SKINS: dict[str, tuple[Colour, Colour]] = {  # the lightest and the darkest colour
    "Asian": ((244, 212, 184), (212, 168, 130)),
    "Caucasian": ((247, 218, 200), (226, 180, 154)),
    "Indian": ((196, 146, 106), (150, 104, 70)),
    "African": ((146, 98, 70), (92, 58, 42)),
}
HAIRS: tuple[Colour, ...] = (
    (24, 20, 20),
    (42, 30, 26),
    (72, 48, 34),
    (112, 74, 46),
    (170, 128, 80),
    (124, 58, 36),
)
GREY: Colour = (190, 189, 188)


def write_faces(
    folder: Path,
    *,
    persons: int = 200,
    size_HW: tuple[int, int] = (512, 384),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw a folder `images/<id>_<gender>_<race>_<age>/` with seven JPEG files for each person.

    The files are mask1 ... mask5, incorrect_mask and normal. The photos of a person depend only on
    the seed, the person's number and the size, not on the count of persons. With at least 36
    persons, each pair of gender and age band (below 30, below 60, from 60) has at least
    max(6, persons / 40) persons. With at least 6 persons, each pair has at least one person. A
    person whose photos are complete is not drawn again, so the same call completes an interrupted
    call.

    Args:
        size_HW: the height and width of a photo in pixels, at least 16 each.
        progress: a function called with the persons done and the persons in all.

    Returns:
        the folder `images`. The file `faces.json` beside it holds the arguments. As the last step,
        that file records that the data set is complete.

    Raises:
        DataError: an argument is out of range, the folder holds other images, or the folder cannot
            be written.
    """
    if persons < 1 or min(size_HW) < 16:
        size = f"{size_HW[0]}x{size_HW[1]}"
        raise DataError(
            f"cannot draw {persons} persons of {size} pixels; at least 1 person and 16x16 pixels "
            "are needed"
        )
    progress = progress or (lambda done, total: None)
    asked = {"persons": persons, "size_HW": list(size_HW), "seed": seed}
    write = functools.partial(_write_person, folder, size_HW=size_HW, seed=seed)
    try:
        _claim(folder, asked)
        for done, _ in enumerate(map_in_order(write, range(persons))):
            progress(done, persons)
        shutil.rmtree(folder / ".drafts", ignore_errors=True)
        write_json(folder / "faces.json", {**asked, "complete": True})
    except OSError as error:
        raise DataError(
            f"{folder}: the faces cannot be written ({error.strerror or error}). Choose another "
            "folder"
        ) from None
    progress(persons, persons)
    return folder / "images"


def _claim(folder: Path, asked: dict[str, Any]) -> None:
    """Write the arguments to `faces.json`, so that two data sets never mix in one folder.

    Raises:
        DataError: the folder holds another data set, or images without a `faces.json`.
    """
    source = folder / "faces.json"
    if source.is_file():
        try:
            drawn = json.loads(source.read_bytes())
        except ValueError:
            drawn = None
        if drawn not in [{**asked, "complete": complete} for complete in (False, True)]:
            raise DataError(
                f"{folder}: holds {_in_words(drawn)}, asked for are {_in_words(asked)}. "
                "Delete the folder or choose another one"
            )
    elif (folder / "images").exists():
        raise DataError(
            f"{folder / 'images'}: exists, but was not drawn here (no faces.json). Choose another "
            "folder"
        )
    else:
        write_json(source, {**asked, "complete": False})


def _in_words(faces: Any) -> str:
    try:
        height, width = faces["size_HW"]
        return f"{faces['persons']:,} persons of {height}x{width} pixels (seed {faces['seed']})"
    except (TypeError, KeyError, ValueError):
        return "something else"


def _write_person(folder: Path, number: int, *, size_HW: tuple[int, int], seed: int) -> None:
    """Draw the photos of one person, unless they are complete.

    The photos are drawn in a draft folder, which is then renamed, so that the person's folder is
    whole or absent. A power cut can leave an empty file; such a file counts as missing.
    """
    looks = appearance_of(number, seed=seed)
    name = f"{number + 1:06d}_{looks.gender}_{looks.race}_{looks.age}"
    final = folder / "images" / name
    draft = folder / ".drafts" / name
    files = [final / f"{photo}.jpg" for photo in PHOTOS]
    if all(file.is_file() and file.stat().st_size for file in files):
        return
    draft.mkdir(parents=True, exist_ok=True)
    final.parent.mkdir(exist_ok=True)
    for photo, file in zip(PHOTOS, files, strict=True):
        rng = np.random.default_rng(derive(seed, "faces", "person", number, "photo", photo))
        take_photo(looks, photo, size_HW=size_HW, rng=rng).save(draft / file.name, quality=88)
    shutil.rmtree(final, ignore_errors=True)
    draft.rename(final)


def _cell(number: int, *, seed: int) -> tuple[str, str]:
    """The gender and age band of a person; for any n, the first n persons hold enough of each."""
    if number < CYCLED:
        return CELLS[number % len(CELLS)]
    block, place = divmod(number - CYCLED, sum(PER_BLOCK))
    order = np.random.default_rng(derive(seed, "faces", "block", block)).permutation(
        np.repeat(range(6), PER_BLOCK)
    )
    return CELLS[order[place]]


def appearance_of(number: int, *, seed: int) -> Appearance:
    """Draw the appearance of a person at random.

    The visible signs of age and gender overlap between the classes: a person seems up to about
    15 years older or younger than their age.
    """
    rng = np.random.default_rng(derive(seed, "faces", "person", number, "looks"))
    gender, band = _cell(number, seed=seed)
    age = int(rng.integers(*AGES[band][rng.random() < 0.25]))
    race = str(rng.choice(list(SKINS), p=[0.82, 0.09, 0.05, 0.04]))
    seems = age + rng.normal(0, 7)
    ageing = float(np.clip((seems - 28) / 38, 0, 1))
    feminine = (1 if gender == "female" else -1) + rng.normal(0, 0.8)
    skin = mixed(*SKINS[race], rng.random())
    natural = HAIRS[rng.integers(6 if race == "Caucasian" else 3)]
    # a quarter of the persons dye their hair
    grey = 0 if rng.random() < 0.25 else np.clip((seems - 44) / 22 + rng.normal(0, 0.2), 0, 1)
    clothes = mixed(
        any_colour(rng), (226, 120, 150) if feminine > 0 else (40, 48, 70), rng.uniform(0, 0.6)
    )
    left = rng.uniform(-0.3, 0.9)
    return Appearance(
        gender=gender,
        race=race,
        age=age,
        skin=skin,
        hair=mixed(natural, GREY, float(grey)),
        lips=mixed(
            skin,
            (176, 62, 70),
            float(np.clip(0.42 + 0.16 * feminine + rng.normal(0, 0.1), 0.2, 0.85)),
        ),
        clothes=clothes,
        trim=mixed(clothes, (250, 250, 250), rng.uniform(0.3, 1)),
        wall=mixed((220, 216, 208), any_colour(rng), rng.uniform(0.05, 0.6)),
        door=(left, left + rng.uniform(0.1, 0.5)),
        width=rng.uniform(0.7, 0.8),
        jaw=float(np.clip(0.86 - 0.06 * feminine + rng.normal(0, 0.05), 0.68, 1)),
        eye=rng.uniform(0.125, 0.16) + 0.008 * feminine - 0.02 * ageing,
        nose=rng.uniform(0.11, 0.16) - 0.01 * feminine,
        mouth=rng.uniform(0.22, 0.3),
        brow=float(np.clip(0.065 - 0.016 * feminine + rng.normal(0, 0.008), 0.03, 0.11)),
        hair_length=float(
            np.clip(0.42 + 0.36 * feminine - 0.1 * ageing + rng.normal(0, 0.16), 0, 1)
        ),
        hairline=rng.uniform(-0.68, -0.5) - (0.4 * ageing * rng.random() if feminine < 0 else 0),
        parting=rng.uniform(-0.45, 0.45),
        wrinkles=ageing * rng.uniform(0.6, 1),
        beard=rng.uniform(0.15, 0.6) if gender == "male" and rng.random() < 0.35 else 0,
        glasses=bool(rng.random() < 0.15 + 0.35 * ageing),
        collar=str(rng.choice(["round", "v", "shirt"])),
        sun=rng.uniform(-22, 22),
    )
