"""Turn images in folders into rows.

A source has one folder per class, or one folder per person as in the mask competition.
"""

import dataclasses
import itertools
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from trainer.images.manifest import composed

# The formats that trainer.images.decode reads, HEIC with an optional library, and DICOM. DICOM
# cannot be read: its files are listed here so that the user sees them among the rejected rows.
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
        ".dcm",
        ".dicom",
    }
)
# Folders that programs make, with thumbnails or deleted files: Synology, QNAP, macOS, Windows,
# Linux. Hidden folders are left out, too.
MADE_BY_PROGRAMS = frozenset(
    {
        "@eadir",
        "@recycle",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "__macosx",
        "__pycache__",
    }
)
# Folders that may hold small copies of the images beside them.
THUMBNAILS = frozenset({"thumbnails", "thumbnail", "thumbs", "_thumbs", "thumb"})
PROFILE = re.compile(r"(?P<person>[^_]+)_(?P<gender>[^_]+)_(?P<race>[^_]+)_(?P<age>\d{1,3})")
# the first word of a photo's file name, in the order of the competition's classes
MASKS = ("mask", "incorrect", "normal")
GENDERS = ("male", "female")
Columns = dict[str, list[str]]
PATH = "\0path"  # the zero byte makes this name different from all column names of users


@dataclasses.dataclass
class Part:
    """The rows of one source.

    Attributes:
        columns: the values of each column; the column `PATH` has the paths.
        lines: the line of each row in its file, or 0 for a folder.
        ignored: (path, reason) of each file that is not a row.
        notes: sentences for the user about how the source was read.
    """

    columns: Columns
    lines: list[int]
    ignored: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def class_folders(source: Path, exclude: Collection[str] = ()) -> Part:
    """The rows of a folder with one sub-folder per class. Images may be at any depth below it.

    Args:
        exclude: the names of sub-folders that are not read, in the Unicode form NFC.
    """
    paths: list[str] = []
    labels: list[str] = []
    ignored = _images_beside_folders(source)
    for folder in _sub_folders(source, exclude):
        for path in _images(folder, source, ignored):
            paths.append(path)
            labels.append(folder.name)
    return Part({PATH: paths, "label": labels}, [0] * len(paths), ignored)


def profiles(source: Path, borders: tuple[int, ...], exclude: Collection[str] = ()) -> Part:
    """The rows of a folder in the mask competition's layout.

    The source has one sub-folder per person. The name of a photo begins with a word of MASKS.

    Args:
        borders: the ages at which a new age band begins, see `age_bands`.
        exclude: the names of sub-folders that are not read, in the Unicode form NFC.
    """
    names = ("mask", "gender", "age", "race", "person")
    columns: Columns = {name: [] for name in (PATH, *names)}
    part = Part(columns, [], _images_beside_folders(source))
    for folder in _sub_folders(source, exclude):
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


def image_files(folder: Path) -> list[str]:
    """The sorted paths of all image files in a folder and below it, relative to the folder.

    Hidden files and folders, those of MADE_BY_PROGRAMS and thumbnails are left out, and each folder
    that a link leads to is read once.
    """
    home = folder.resolve()
    return _images(home, home, [])


def age_bands(borders: tuple[int, ...]) -> tuple[str, ...]:
    """The names of the age bands between the borders, in ascending order.

    Example:
        >>> age_bands((30, 60))
        ('<30', '30-59', '>=60')
    """
    middle = [f"{low}-{high - 1}" for low, high in itertools.pairwise(borders)]
    return (f"<{borders[0]}", *middle, f">={borders[-1]}")


def age_band(age: int, borders: tuple[int, ...]) -> str:
    """The name of the band of an age in years. A border belongs to the band above it.

    Example:
        >>> age_band(59, (30, 60))
        '30-59'
        >>> age_band(60, (30, 60))
        '>=60'
    """
    return age_bands(borders)[sum(age >= border for border in borders)]


def _sub_folders(source: Path, exclude: Collection[str]) -> Iterator[Path]:
    for folder in sorted(source.iterdir()):
        left_out = is_left_out(folder.name) or composed(folder.name) in exclude
        if not left_out and folder.is_dir():
            yield folder


def is_left_out(name: str) -> bool:
    """Whether a folder of this name is read by nobody: it is hidden, or a program made it.

    Example:
        >>> is_left_out("@eaDir"), is_left_out(".cache"), is_left_out("cat")
        (True, True, False)
    """
    return name.startswith(".") or name.casefold() in MADE_BY_PROGRAMS


def _images_beside_folders(source: Path) -> list[tuple[str, str]]:
    """(path, reason) of each image that is directly in the source. Such an image is not a row."""
    names = sorted(
        path.name for path in source.iterdir() if _is_image(path.name) and path.is_file()
    )
    return [(name, "image lies beside the folders") for name in names]


def _images(folder: Path, source: Path, ignored: list[tuple[str, str]]) -> list[str]:
    """The sorted paths of the image files below a folder, relative to the source.

    The function follows links, and it reads each folder once. A link to a parent folder, or to a
    folder that was read before, is added to `ignored`: its images are read already, or they belong
    to other classes.
    """
    found: list[str] = []
    seen: set[str] = set()
    home = os.path.realpath(folder)
    for parent, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        base = Path(parent).relative_to(source).as_posix()
        leads_up = real != home and within(home, real)
        if real in seen or leads_up or within(os.path.realpath(os.path.dirname(parent)), real):
            ignored.append((base, "link back to a folder that is read already"))
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(
            name
            for name in folders
            if not is_left_out(name) and not _are_thumbnails(os.path.join(parent, name), files)
        )
        prefix = "" if base == "." else f"{base}/"
        found += [f"{prefix}{name}" for name in files if _is_image(name)]
    return sorted(found)


def _are_thumbnails(folder: str, beside: Collection[str]) -> bool:
    """Whether a folder is called so and holds a file with the name of one of the files beside it.

    A folder `thumb` without such files may be a class or a part of one.
    """
    if os.path.basename(folder).casefold() not in THUMBNAILS:
        return False
    try:
        return not set(beside).isdisjoint(os.listdir(folder))
    except OSError:
        return False


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")


def within(path: str, root: str) -> bool:
    """Whether `path` is the folder `root` or below it. Both paths must be resolved.

    Example:
        >>> within("/data/cats/1.jpg", "/data/cats"), within("/data/cats2", "/data/cats")
        (True, False)
    """
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
