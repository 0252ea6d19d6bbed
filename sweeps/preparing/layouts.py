"""Find the options that read somebody's data: a folder, a table, or a folder with a table in it.

Each answer has been tried with `read_table`, so what is found here is what a sweep reads.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeps.errors import InputError
from sweeps.preparing.columns import (
    Columns,
    box_columns,
    fold_column,
    group_columns,
    image_columns,
    label_columns,
)
from trainer.data.folder_parts import misread, role_of_name
from trainer.data.folders import PATH, PROFILE, class_folders, profiles
from trainer.data.frames import TABLE_SUFFIXES, read_frame
from trainer.data.image_column import image_paths
from trainer.data.image_files import existing, find_files
from trainer.data.lost_images import place_of
from trainer.data.options import DataOptions
from trainer.data.sources import FOLD, read_table
from trainer.data.targets import one_column_per_class, refuse_other_tasks
from trainer.errors import DataError

MOST_PROFILES = 0.8  # of the images in a folder of persons that have the names of this layout
NOT_FOR_TRAINING = ("submission", "sample", "answers", "solution")
MAX_OTHERS = 5  # columns that a comment names
MOST_TRIED = 8  # columns whose images are searched; each needs a look at the disk for every row


@dataclasses.dataclass(frozen=True)
class Layout:
    """How data are read.

    Attributes:
        what: one line for the user about the layout.
        data: options of the section `data`, in the order in which they are written.
        fold_column: `folds.column`, or None.
        groups: columns that seem to say which images belong together, the likeliest first.
        remarks: comments on options, by the option's name.
    """

    what: str
    data: dict[str, Any]
    fold_column: str | None = None
    groups: tuple[str, ...] = ()
    remarks: dict[str, str] = dataclasses.field(default_factory=dict)


def layout_of(path: str) -> Layout:
    """The layout of the data at `path`: a folder, a CSV file or a Parquet file.

    Raises:
        DataError, InputError: the data cannot be read; the message says what to write.
    """
    place = existing(path)
    if not place.is_dir():
        return _tried(_table(place))
    found = _profiles(place)
    if found is not None:
        return _tried(found)
    tables = _tables(place)
    found = _best_table([table for table in tables if isinstance(table, Layout)])
    if found is not None:
        return _tried(found)
    refused = [table for table in tables if not isinstance(table, Layout)]
    try:
        folders = _tried(_folders(place))
    except DataError:
        if not refused:
            raise
        # what is wrong with a table that lies there says more than that there are no classes
        raise refused[0] from None
    if not refused:
        return folders
    return _with_remark(folders, "source", f"the sub-folders, not the table there: {refused[0]}")


def _tried(layout: Layout) -> Layout:
    """The layout, after it has been read.

    Raises:
        DataError: it cannot be read.
    """
    read_table(DataOptions(**layout.data), fold_column=layout.fold_column)
    return layout


def _profiles(place: Path) -> Layout | None:
    """The layout of the mask competition, in the folder or in one below it."""
    for folder in (place, *sorted(path for path in place.iterdir() if path.is_dir())):
        names = [path.name for path in folder.iterdir() if path.is_dir()]
        named = sum(PROFILE.fullmatch(name) is not None for name in names)
        if not names or named < MOST_PROFILES * len(names):
            continue
        part = profiles(folder, (30, 60))
        if len(part.lines) >= MOST_PROFILES * (len(part.lines) + len(part.ignored)):
            return Layout(
                "one folder per person, named <id>_<gender>_<race>_<age>",
                {"source": str(folder), "layout": "profile_folders", "group": "person"},
                remarks={
                    "layout": "the classes are mask x gender x age; "
                    "`label: [mask]` below data would be one of them",
                    "group": "all photos of a person stay on one side of every split",
                },
            )
    return None


def _folders(place: Path) -> Layout:
    """The layout of a folder whose sub-folders are the classes, or parts of the data."""
    part = class_folders(place)
    # what holds no images at all is refused by the reader, which says what a source needs
    found = misread(place, part.columns[PATH]) if part.lines else None
    if found is None:
        return Layout("one sub-folder per class", {"source": str(place)})
    if not found.options:
        raise DataError(f"{place}: {found.text}")
    data = {"source": str(place), **found.options}
    if "exclude" in data:
        what = "one sub-folder per class, and beside them one that is no class"
        why = "called like a part of a data set; its images would become a class"
        return Layout(what, data, remarks={"exclude": why})
    if "valid" not in data:
        return Layout("one sub-folder per class, in a folder of folders", data)
    if not found.held_out:
        why = "one data set with the source; the folds are cut from both"
        return Layout("two folders with the same classes in each", data, remarks={"valid": why})
    return Layout(
        "a folder for training and one for validation, with one sub-folder per class in each",
        data,
        fold_column=FOLD,
    )


def _tables(place: Path) -> list[Layout | DataError | InputError]:
    """The layout of each table in a folder, or why it cannot be read as a table of images.

    Tables whose names say that they are not for training are left out.
    """
    found: list[Layout | DataError | InputError] = []
    for path in sorted(place.iterdir()):
        if path.suffix.lower() not in TABLE_SUFFIXES or not path.is_file():
            continue
        if _role(path) == "test" or any(word in path.stem.casefold() for word in NOT_FOR_TRAINING):
            continue
        try:
            found.append(_tried(_table(path)))
        except (DataError, InputError) as error:
            found.append(error)
    return found


def _best_table(tables: Sequence[Layout]) -> Layout | None:
    """The table for training, together with that for validation if there is one.

    If the names do not say which one is for training, the first by name is taken and the others are
    named.
    """
    if not tables:
        return None
    valid = [table for table in tables if _role(Path(table.data["source"])) == "valid"]
    train = [table for table in tables if _role(Path(table.data["source"])) == "train"]
    first = next((table for table in (*train, *tables) if table not in valid), tables[0])
    others = [table for table in tables if table is not first]
    if first not in valid and valid and first.fold_column is None:
        return _with_valid(first, valid[0])
    if not others:
        return first
    names = ", ".join(Path(table.data["source"]).name for table in others[:MAX_OTHERS])
    return _with_remark(first, "source", f"or {names}? It could be read, too.")


def _role(path: Path) -> str | None:
    return role_of_name(path.stem)


def _with_valid(first: Layout, second: Layout) -> Layout:
    """The layout of a table for training together with one for validation, if both read alike."""
    data = {
        "source": first.data["source"],
        "valid": second.data["source"],
        **{key: value for key, value in first.data.items() if key != "source"},
    }
    both = dataclasses.replace(
        first, what=f"{first.what}; a second table for validation", data=data, fold_column=FOLD
    )
    try:
        return _tried(both)
    except DataError as error:
        name = Path(second.data["source"]).name
        return _with_remark(first, "source", f"{name} is left out, as it reads otherwise: {error}")


def _with_remark(layout: Layout, key: str, text: str) -> Layout:
    return dataclasses.replace(layout, remarks={**layout.remarks, key: text})


def _table(path: Path) -> Layout:
    """The layout of a CSV or Parquet file.

    Raises:
        DataError: it is no readable table, or its targets are no classes.
        InputError: no column has images that exist, or none has classes.
    """
    if path.suffix.lower() not in TABLE_SUFFIXES or not path.is_file():
        read_table(DataOptions(source=str(path)))  # this says what a source can be
    frame = read_frame(path)
    columns = {str(name): frame.table[name].tolist() for name in frame.table.columns}
    if not len(frame.table):
        raise InputError(f"{path}: the table has no rows. It needs one row per image")
    folds = fold_column(str(path), columns)
    box = box_columns(columns)
    taken = {folds, *(box[0] if box else ())}
    free = {name: cells for name, cells in columns.items() if name not in taken}
    image = _image(path, free)
    free.pop(image["image"], None)
    groups = group_columns(free)
    label, why = _label(path, {name: free[name] for name in free if name not in groups} or free)
    data: dict[str, Any] = {"source": str(path), **image, **label}
    if box is not None:
        data |= {"box": list(box[0]), "box_format": box[1]}
    used = {*label.get("class_columns", ()), label.get("label")}
    return Layout(
        "a table of images and classes",
        data,
        fold_column=folds,
        groups=tuple(name for name in groups if name not in used),
        remarks=why,
    )


def _image(path: Path, columns: Columns) -> dict[str, Any]:
    """The options that find the images of a table.

    Raises:
        InputError: the images of no column are found.
    """
    lengths = [len(cells) for cells in columns.values()]
    for name in image_columns(columns)[:MOST_TRIED]:
        options = _place(path, name, columns)
        if options is not None:
            return options
    names = ", ".join(map(repr, columns))
    likeliest = image_columns(columns)
    example = columns[likeliest[0]][0] if likeliest else ""
    raise InputError(
        f"{path}: the images of its {max(lengths, default=0):,} rows are not found by any column "
        f"({names}), neither beside the table nor in folders one and two levels below it"
        + (f" ({likeliest[0]!r} begins with {example!r})" if likeliest else "")
        + ". Put the table into the folder that holds the folder of images, or write a column "
        "`path` with each image's path relative to the table"
    )


def _place(path: Path, name: str, columns: Columns) -> dict[str, Any] | None:
    """The options with which a column's cells lead to images; None if most lead nowhere.

    A cell may be a folder of images, unless it occurs repeatedly: then it is rather the class.
    """
    cells = image_paths(columns, name, suffix=None, where=str(path))
    home = path.parent
    found = find_files(list(cells), root=home, homes=[str(home.resolve())])
    filled = [cell for cell in cells if cell]
    repeated = len(set(filled)) < len(filled)
    folders = set() if repeated else set(found.folders)
    missing = [row for row in found.missing if row not in folders]
    if 2 * len(missing) <= len(filled):
        return {"image": name}
    place = place_of(home, list(cells), missing, columns, image=name)
    if place is None or (repeated and os.path.isdir(home / place.example)):
        return None
    options: dict[str, Any] = {"image": place.image or name}
    if place.folder is not None:
        options["folder"] = place.folder[0] if len(place.folder) == 1 else list(place.folder)
    return options if place.suffix is None else {**options, "suffix": place.suffix}


def _label(path: Path, columns: Columns) -> tuple[dict[str, Any], dict[str, str]]:
    """The options that name the classes, and comments on them.

    Raises:
        DataError: a column with a name such as `label` holds something else than one class.
        InputError: no column has classes.
    """
    per_class = one_column_per_class(columns)
    if len(per_class) > 2:
        return {"class_columns": list(per_class)}, {}
    found = label_columns(columns)
    refused: DataError | None = None
    usable = []
    for name in found:
        try:
            refuse_other_tasks(columns[name], name=name, where=str(path))
        except DataError as error:
            refused = refused or error
        else:
            usable.append(name)
    if not usable and refused is not None:
        raise refused
    if not usable:
        counts = ", ".join(f"{name!r} ({len(set(columns[name])):,})" for name in columns)
        raise InputError(
            f"{path}: no column looks like classes. Different values of each: "
            f"{counts or 'no column but that of the images'}. A column of classes has at least two "
            "values, which occur repeatedly"
        )
    if refused is not None and found[0] not in usable:
        raise refused
    return {"label": usable[0]}, _other_labels(columns, usable)


def _other_labels(columns: Columns, usable: Sequence[str]) -> dict[str, str]:
    others = [f"{name} ({len(set(columns[name])):,} values)" for name in usable[1:]]
    if not others:
        return {}
    more = f" and {len(others) - MAX_OTHERS:,} more" if len(others) > MAX_OTHERS else ""
    return {"label": f"or is the class {', '.join(others[:MAX_OTHERS])}{more}?"}
