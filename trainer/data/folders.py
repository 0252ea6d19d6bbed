"""Images in folders as rows: a folder per class, or the mask competition's folder per person."""

import dataclasses
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

# what trainer.images.decode reads; HEIC is none of it, and rather rejected by name than never seen
IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
) | frozenset(
    {
        ".jpe",
        ".jfif",
        ".apng",
        ".dib",
        ".ppm",
        ".pgm",
        ".pbm",
        ".jp2",
        ".j2k",
        ".avif",
        ".heic",
        ".heif",
    }
)
PROFILE = re.compile(r"(?P<person>[^_]+)_(?P<gender>[^_]+)_(?P<race>[^_]+)_(?P<age>\d{1,3})")
MASKS = (
    "mask",
    "incorrect",
    "normal",
)  # beginnings of a photo's name, in the order of the competition's classes
GENDERS = ("male", "female")
Columns = dict[str, list[str]]
PATH = "\0path"  # no column of a user has this name


@dataclasses.dataclass
class Part:
    """One source: its columns, the path under the name `PATH`."""

    columns: Columns
    lines: list[int]
    ignored: list[tuple[str, str]] = dataclasses.field(default_factory=list)


def class_folders(source: Path) -> Part:
    """One sub-folder per class, images at any depth below it."""
    paths, labels, ignored = [], [], _beside(source)
    for folder in _sub_folders(source):
        for path in _images(folder, source, ignored):
            paths.append(path)
            labels.append(folder.name)
    return Part({PATH: paths, "label": labels}, [0] * len(paths), ignored)


def profiles(source: Path, borders: tuple[int, ...]) -> Part:
    """The mask competition's layout: one folder per person, its photos named by how the mask sits."""
    names = ("mask", "gender", "age", "race", "person")
    columns: Columns = {name: [] for name in (PATH, *names)}
    part = Part(columns, [], _beside(source))
    for folder in _sub_folders(source):
        profile = PROFILE.fullmatch(folder.name)
        for path in _images(folder, source, part.ignored):
            mask = next((mask for mask in MASKS if Path(path).name.lower().startswith(mask)), None)
            if profile is None or mask is None:
                what = (
                    "folder is not named <id>_<gender>_<race>_<age>"
                    if profile is None
                    else "photo is not named"
                )
                part.ignored.append(
                    (path, what if profile is None else f"{what} {'*, '.join(MASKS)}*")
                )
                continue
            band = age_band(int(profile["age"]), borders)
            row = (path, mask, profile["gender"].lower(), band, profile["race"], profile["person"])
            for name, value in zip((PATH, *names), row, strict=True):
                columns[name].append(value)
            part.lines.append(0)
    return part


def age_bands(borders: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the bands that the borders make: (30, 60) gives <30, 30-59, >=60."""
    middle = [f"{low}-{high - 1}" for low, high in itertools.pairwise(borders)]
    return (f"<{borders[0]}", *middle, f">={borders[-1]}")


def age_band(age: int, borders: tuple[int, ...]) -> str:
    """The band of an age in years; a border belongs to the band above it."""
    return age_bands(borders)[sum(age >= border for border in borders)]


def _sub_folders(source: Path) -> Iterator[Path]:
    for folder in sorted(source.iterdir()):
        if folder.is_dir() and not folder.name.startswith("."):
            yield folder


def _beside(source: Path) -> list[tuple[str, str]]:
    """Images that lie in no sub-folder, and why they are no rows."""
    names = sorted(
        path.name for path in source.iterdir() if _is_image(path.name) and path.is_file()
    )
    return [(name, "image lies beside the folders") for name in names]


def _images(folder: Path, source: Path, ignored: list[tuple[str, str]]) -> list[str]:
    """Image files below a folder, relative to the source, sorted; links are followed, each folder once.

    Links back are added to `ignored`: what they lead to is read already, or belongs to other classes.
    """
    found, seen, home = [], set(), os.path.realpath(folder)
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        base = Path(parent).relative_to(source).as_posix()
        leads_up = real != home and within(home, real)
        if real in seen or leads_up or within(os.path.realpath(os.path.dirname(parent)), real):
            ignored.append((base, "link back to a folder that is read already"))
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [f"{base}/{name}" for name in files if _is_image(name)]
    return sorted(found)


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")


def within(path: str, root: str) -> bool:
    """Whether a resolved path is a resolved folder or below it."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
