"""Say where the images of a table are, if they are not where the table says."""

import dataclasses
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from trainer.data.folders import IMAGE_SUFFIXES, is_left_out
from trainer.data.image_column import is_pattern

TRIED = 8  # missing images that are searched
MAX_FOLDERS = 400  # folders in which they are searched
MAX_PARTS = 3  # of a path are searched at most: its file name and two folders
# folders beside that of the table, such as `images`, `train_images`, `images_001` and `jpeg`
WHAT = "train|test|all|raw|data"
FOR_IMAGES = re.compile(
    rf"(({WHAT})[ _-]?)?"
    r"(images?|imgs?|pictures?|pics?|photos?|jpe?gs?|pngs?|사진|이미지)"
    rf"([ _-]?(\d+|{WHAT}))?"
)
ABSOLUTE = re.compile(r"/|[A-Za-z]:")  # such a path may be that of another machine


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the images are, as options that find them.

    Attributes:
        example: the path of one image that exists, relative to the table's folder.
        folder: `data.folder`, one folder or several; or None.
        suffix: `data.suffix`, or None.
        image: `data.image`, or None if it stays as it is.
    """

    example: str
    folder: tuple[str, ...] | None = None
    suffix: str | None = None
    image: str | None = None

    @property
    def in_yaml(self) -> str:
        """A sentence with the lines to write into a search space."""
        image = self.image and (f"'{self.image}'" if self.image.startswith("{") else self.image)
        names = [_in_yaml(name) for name in self.folder or ()]
        folder = f"[{', '.join(names)}]" if len(names) > 1 else "".join(names) or None
        options = {"image": image, "folder": folder, "suffix": self.suffix}
        lines = [f"`{key}: {value}`" for key, value in options.items() if value is not None]
        return f"{self.example} exists: write {' and '.join(lines)} below data"

    def as_options(self, image: str) -> str:
        """A sentence with the options of a command that predicts.

        Args:
            image: `data.image`, to which the suffix is added: there is no option for it.
        """
        pattern = self.image
        if pattern is None and self.suffix is not None:
            pattern = f"{image if is_pattern(image) else f'{{{image}}}'}{self.suffix}"
        shown = [f"--folder {shlex.quote(name)}" for name in self.folder or ()]
        shown += [] if pattern is None else [f"--image {shlex.quote(pattern)}"]
        return f"{self.example} exists: give {' '.join(shown)}"


def _in_yaml(folder: str) -> str:
    """A folder's name as YAML reads it: `2019` and `a: b` would mean something else."""
    plain = re.fullmatch(r"(\.\./)?[^\W\d][\w ./-]*", folder)
    return folder if plain else "'" + folder.replace("'", "''") + "'"


@dataclasses.dataclass(frozen=True)
class _Form:
    """How a path of the table is changed to find its file.

    Attributes:
        parts: how many of its last parts are kept; 0 for all of them.
        stem: whether the suffix of its file name is left out.
        suffix: what is added then.
    """

    parts: int
    stem: bool
    suffix: str

    def of(self, path: str) -> str:
        """The changed path."""
        kept = "/".join(path.split("/")[-self.parts :])
        return (os.path.splitext(kept)[0] if self.stem else kept) + self.suffix


AS_WRITTEN = _Form(0, stem=False, suffix="")


def place_of(
    base: Path,
    paths: Sequence[str],
    rows: Sequence[int],
    columns: Mapping[str, Sequence[str]],
    *,
    image: str,
) -> Place | None:
    """Search missing images one and two levels below a folder, and in the folders beside it.

    A table may name them without their folder, without their suffix or with another one, or with
    the path that they have on another machine. Folders that are called like the cell of another
    column, such as the class, are found, too.

    Args:
        base: the folder of the table.
        paths: the path of each row as `data.image` says.
        rows: the rows whose image is missing.
        columns: the cells of each column of the table, by its name.
        image: `data.image`.

    Returns:
        None if most of the images that were tried are in none of these folders.
    """
    tried = {row: paths[row].replace("\\", "/") for row in _spread(rows)}
    hits = _hits(base, tried)
    if not hits:
        return None
    (form, folder), found = max(hits.items(), key=lambda hit: len(hit[1]))
    # of places with equally many images, the simplest one
    places = [(len(found), _place(folder, form, tried[found[0]], image))]
    for form in dict.fromkeys(form for form, _ in hits):
        folder_of = {
            row: folder for (each, folder), rows in hits.items() if each == form for row in rows
        }
        row, folder = next(iter(folder_of.items()))
        example = os.path.join(folder, form.of(tried[row]))
        name = _column_of(folder_of, columns, image)
        if name is not None:
            parent = os.path.dirname(folder)
            pattern = _pattern(os.path.join(parent, f"{{{name}}}"), form, image)
            places.append((len(folder_of), Place(example, image=pattern)))
        elif not (form.parts or form.stem or is_pattern(image)):
            several = tuple(sorted(set(folder_of.values())))
            place = Place(example, folder=several, suffix=form.suffix or None)
            places.append((len(folder_of), place))
    count, place = max(places, key=lambda pair: pair[0])
    return place if 2 * count > len(tried) else None


def _hits(base: Path, tried: Mapping[int, str]) -> dict[tuple[_Form, str], list[int]]:
    """The rows whose image is found, for each form of its path and each folder."""
    hits: dict[tuple[_Form, str], list[int]] = {}
    for folder in _folders(base):
        for row, path in tried.items():
            for form in _forms(path):
                if not folder and form == AS_WRITTEN:
                    continue
                file = os.path.join(base, folder, form.of(path))
                # a row may stand for the images of a folder
                if os.path.isfile(file) or (not form.suffix and os.path.isdir(file)):
                    hits.setdefault((form, folder), []).append(row)
        if any(len(rows) == len(tried) for rows in hits.values()):
            break
    return hits


def _spread(rows: Sequence[int]) -> list[int]:
    """At most TRIED of the rows, spread over all of them without a fixed step.

    With a fixed step, all of them may have one class, because tables often change between classes.
    """
    golden = (5**0.5 - 1) / 2
    return sorted({rows[int(at * golden % 1 * len(rows))] for at in range(TRIED)})


def _column_of(
    folder_of: Mapping[int, str], columns: Mapping[str, Sequence[str]], image: str
) -> str | None:
    """The column with the name of each row's folder, if these folders lie in one; else None."""
    if len({os.path.dirname(folder) for folder in folder_of.values()}) > 1:
        return None
    return next(
        (
            name
            for name, cells in columns.items()
            if name != image
            and all(cells[row] == os.path.basename(folder) for row, folder in folder_of.items())
        ),
        None,
    )


def _place(folder: str, form: _Form, path: str, image: str) -> Place:
    example = os.path.normpath(os.path.join(folder, form.of(path)))
    if form.parts or form.stem or is_pattern(image):
        return Place(example, image=_pattern(folder, form, image))
    return Place(example, folder=(folder,) if folder else None, suffix=form.suffix or None)


def _pattern(folder: str, form: _Form, image: str) -> str:
    """A pattern for the images of a folder."""
    if is_pattern(image):
        last = PurePosixPath(image).name
        text = (os.path.splitext(last)[0] if form.stem else last) + form.suffix
    else:
        part = {0: "", 1: ".name"}.get(form.parts, f".last{form.parts}")
        text = f"{{{image}{part}{'.stem' if form.stem else ''}}}{form.suffix}"
    return os.path.join(folder, text)


def _forms(path: str) -> Iterator[_Form]:
    """How a path may be changed; forms that change less come first."""
    parts = path.strip("/").split("/")
    has_suffix = os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES
    of_this_machine = not ABSOLUTE.match(path)
    most = min(MAX_PARTS, len(parts) - of_this_machine)
    for kept in (*([0] if of_this_machine else []), *range(most, 0, -1)):
        yield _Form(kept, False, "")
        for suffix in SUFFIXES:
            yield _Form(kept, has_suffix, suffix)


def _folders(base: Path) -> Iterator[str]:
    """The folder itself, those one and two levels below it, and those for images beside it."""
    yield ""
    below = _sub_folders(base)
    yield from below
    deep = [os.path.join(name, inner) for name in below for inner in _sub_folders(base / name)]
    yield from deep[:MAX_FOLDERS]
    beside = _sub_folders(base.resolve().parent)
    # others may hold another data set with the same names, such as 0.jpg
    yield from (
        os.path.join("..", name) for name in beside if FOR_IMAGES.fullmatch(name.casefold())
    )


def _sub_folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []
    return [name for name in names if not is_left_out(name)][:MAX_FOLDERS]


# the commonest first, each in small and in capital letters
SUFFIXES = tuple(
    spelled
    for suffix in (".jpg", ".png", ".jpeg", *sorted(IMAGE_SUFFIXES - {".jpg", ".png", ".jpeg"}))
    for spelled in (suffix, suffix.upper())
)
