"""The part of a file name that several images of one object share."""

import unicodedata

from trainer.images.manifest import Manifest

# Conditions under which digits at the end of a file name are a counter, see _without_counter.
MAX_COUNTER_DIGITS = 8


MAX_DIGITS_AFTER_DIGITS = 5


SEPARATORS = str.maketrans(" -.", "___")


# words that belong to the counter: `ann_frame12` is an image of `ann`
COUNTED = (
    "frame",
    "image",
    "img",
    "photo",
    "pic",
    "crop",
    "copy",
    "face",
    "사진",
    "프레임",
)


def stems_of(manifest: Manifest) -> list[str]:
    """The file name of each image, without the counter at its end and without the class.

    The class is removed if at least half of the file names contain it. A stem is empty if the file
    name contains nothing else.
    """
    classes = [plain_name(name) for name in manifest.classes]
    paths = [path.rpartition("/") for path in manifest.paths]
    stems = [_without_counter(plain_name(name.rpartition(".")[0] or name)) for _, _, name in paths]
    labels = manifest.labels_N.tolist()
    without = [
        _without_class(stem, classes[label]) for stem, label in zip(stems, labels, strict=True)
    ]
    if sum(map(str.__ne__, stems, without)) >= len(stems) / 2:
        # The stem `25_0_2` of class 25 becomes `0_2`, the attributes. But `cat_12` and `dog_12` do
        # not become `12`, because they are two units.
        stems = [
            stem if rest.isdecimal() else rest for stem, rest in zip(stems, without, strict=True)
        ]
    # the same number in two folders makes two units
    return [
        f"{folder}/{stem}" if folder and stem.isdecimal() else stem
        for stem, (folder, _, _) in zip(stems, paths, strict=True)
    ]


def plain_name(name: str) -> str:
    """A name in one spelling: Unicode in the form NFC, small letters, and `_` between words.

    NFC is needed because file systems have two Unicode forms for Korean.
    """
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    return name.casefold().translate(SEPARATORS)


def _without_counter(stem: str) -> str:
    """A file name (see `plain_name`) without the counter at its end.

    `ann_01`, `ann2` and `ann_frame0031` become `ann`, and `0001` becomes the empty text. A name
    without a counter does not change.
    """
    # Roboflow gives the augmented copies of an image the name <name>_jpg.rf.<hash>
    if "_rf_" in stem:
        return stem.partition("_rf_")[0]
    if stem.endswith(")"):  # e.g. `IMG 12 (3)`
        before, _, number = stem[:-1].rpartition("(")
        return before.rstrip("_") if number.isdecimal() else stem
    rest = stem.rstrip("0123456789")
    name = rest.rstrip("_#")
    digits = len(stem) - len(rest)
    if not digits or not name:
        return stem if name else ""
    for word in COUNTED if name.endswith(COUNTED) else ():
        if name.endswith(word) and name[: -len(word)].rstrip("_") != name[: -len(word)]:
            return name[: -len(word)].rstrip("_")
    is_time = name[-1].isdecimal() and digits > MAX_DIGITS_AFTER_DIGITS  # e.g. 20240131_174525
    is_hash = name == rest and not name.isalpha()  # e.g. f3a9c21, without a separator
    return stem if is_time or is_hash or digits > MAX_COUNTER_DIGITS else name


def _without_class(stem: str, name: str) -> str:
    """The stem without the first occurrence of the class `name` as a whole word."""
    if name not in stem:
        return stem
    return f"_{stem}_".replace(f"_{name}_", "_", 1).strip("_")
