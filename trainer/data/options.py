"""The user's options for the data and the folds: the sections `data` and `folds` of a YAML file."""

import math
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from trainer.data.encodings import known_encoding
from trainer.data.folders import IMAGE_SUFFIXES
from trainer.images.manifest import composed
from trainer.images.preprocessing import Reading

NEAR_DUPLICATES = "near_duplicates"
FOLDER = "folder"  # the images of one folder are a group
FILE_NAME = "file_name"  # images whose file names differ only in a counter are a group
COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128)}


def _texts(value: Any, what: str) -> tuple[str, ...]:
    names = (
        (value,)
        if isinstance(value, str)
        else tuple(value)
        if isinstance(value, (list, tuple))
        else ()
    )
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"a {what}'s name, or a list of them, got {value!r}")
    return tuple(map(composed, names))


def _columns(value: Any) -> Any:
    return _texts(value, "column")


def _folders(value: Any) -> Any:
    return _texts(value, "folder")


def _locations(value: Any) -> Any:
    return tuple(map(_expanded, _texts(value, "folder")))


def _four_names(value: Any) -> Any:
    names = tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(names) != 4 or not all(isinstance(name, str) and name for name in names):
        raise ValueError(
            f"a box is four columns' names, e.g. [left, top, right, bottom], got {value!r}"
        )
    return tuple(map(composed, names))


def _borders(value: Any) -> Any:
    ages = tuple(value) if isinstance(value, (list, tuple)) else ()
    if (
        not ages
        or any(type(age) is not int or age < 1 for age in ages)
        or list(ages) != sorted(set(ages))
    ):
        raise ValueError(f"age_borders are ages that rise, e.g. [30, 60], got {value!r}")
    return ages


def _level_pair(value: Any) -> Any:
    pair = tuple(value) if isinstance(value, (list, tuple)) else ()
    numbers = all(type(level) in (int, float) and math.isfinite(level) for level in pair)
    if len(pair) != 2 or not numbers or pair[0] >= pair[1]:
        raise ValueError(f"levels are two numbers that rise, e.g. [0, 4095], got {value!r}")
    return pair


def _colour(value: Any) -> Any:
    if not isinstance(value, str) or (
        value not in COLOURS and not re.fullmatch(r"#[0-9a-fA-F]{6}", value)
    ):
        comment = " (without quotes, # begins a comment)" if value is None else ""
        raise ValueError(f"a colour is {', '.join(COLOURS)} or '#rrggbb', got {value!r}{comment}")
    return value


def _expanded(path: str) -> str:
    """A path with the home folder for `~`, and with the values of variables such as `$HOME`."""
    return os.path.expandvars(os.path.expanduser(path))


def _suffix(value: str) -> str:
    # `png` is meant as `.png`, but an ending such as `_front.png` is taken as it is
    return f".{value}" if f".{value.lower()}" in IMAGE_SUFFIXES else value


Name = Annotated[str, Field(min_length=1)]
# what a file may say where a section holds a tuple of names
OneOrSeveral = Name | Annotated[tuple[Name, ...], Field(min_length=1)]
Locations = Annotated[
    tuple[str, ...], BeforeValidator(_locations, json_schema_input_type=OneOrSeveral)
]
Location = Annotated[str, Field(min_length=1), AfterValidator(_expanded)]
Suffix = Annotated[str, Field(min_length=1), AfterValidator(_suffix)]
Encoding = Annotated[str, AfterValidator(known_encoding)]
Column = Annotated[str, AfterValidator(composed)]  # tables are read with names in this form, too
Columns = Annotated[tuple[str, ...], BeforeValidator(_columns, json_schema_input_type=OneOrSeveral)]
FolderNames = Annotated[
    tuple[str, ...], BeforeValidator(_folders, json_schema_input_type=OneOrSeveral)
]
FourNames = Annotated[tuple[str, str, str, str], BeforeValidator(_four_names)]
Borders = Annotated[tuple[int, ...], BeforeValidator(_borders)]
LevelPair = Annotated[tuple[float, float], BeforeValidator(_level_pair)]
Colour = Annotated[str, BeforeValidator(_colour)]


class Section(BaseModel):
    """The base class of every section of a YAML file. A section is frozen.

    An unknown key is an error. A value of another type ("5" instead of 5) is an error, too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DataOptions(Section):
    """Where the images are, what the columns mean, and how to treat unusual images.

    Paths in a CSV or Parquet file are relative to the folder of this file, or to `folder`. All
    other paths are relative to the working folder. `~` is the home folder in all of them.

    Example:
        >>> DataOptions(source="train.csv", label="kind").label_columns
        ('kind',)
    """

    source: Annotated[
        Location,
        Field(description="A CSV or Parquet file, or a folder with one sub-folder per class."),
    ]
    valid: Annotated[
        Location | None,
        Field(description="A second source of the same kind, held out when folds: {column: fold}."),
    ] = None
    folder: Annotated[
        Locations | None,
        Field(
            description="Where the images of a table lie, in one folder or in several: relative to "
            "the table's folder, or else to the working folder."
        ),
    ] = None
    layout: Annotated[
        Literal["class_folders", "profile_folders"] | None,
        Field(
            description="class_folders: sub-folders are classes even if they are called train or "
            "test, or hold the same sub-folders. profile_folders: <id>_<gender>_<race>_<age>/ "
            "with photos named mask*, incorrect*, normal*."
        ),
    ] = None
    exclude: Annotated[
        FolderNames | None,
        Field(description="Classes that are not read: sub-folders, or values of the label column."),
    ] = None
    image: Annotated[
        Column,
        Field(
            description="The column with the image's path, or a pattern of columns such as "
            "images/{id}.png."
        ),
    ] = "path"
    suffix: Annotated[
        Suffix | None,
        Field(description="What is added to the path of each row without it, e.g. .png."),
    ] = None
    encoding: Annotated[
        Encoding | None,
        Field(
            description="Of CSV files without a byte order mark, e.g. cp949, utf-16, latin-1; left "
            "out, UTF-8, UTF-16 and Korean are recognised."
        ),
    ] = None
    label: Annotated[
        Columns | None, Field(description="The column with the class; several make a joint class.")
    ] = None
    class_columns: Annotated[
        Columns | None,
        Field(description="One column per class, with 1 for the image's class and 0 elsewhere."),
    ] = None
    group: Annotated[
        Column | None,
        Field(
            description="The column whose rows stay on one side of a split; or near_duplicates; "
            "or folder, or file_name (without the counter at its end)."
        ),
    ] = None
    box: Annotated[
        FourNames | None, Field(description="The four columns of a box in pixels, for crop: box.")
    ] = None
    box_format: Annotated[
        Literal["xyxy", "xywh"],
        Field(description="left, top, right, bottom; or left, top, width, height."),
    ] = "xyxy"
    bad_boxes: Annotated[
        Literal["drop", "clip"],
        Field(description="Rows whose box leaves the image: reject, or cut the box."),
    ] = "drop"
    age_borders: Annotated[
        Borders, Field(description="profile_folders: where the next age band begins.")
    ] = (30, 60)
    corrections: Annotated[
        Location | None,
        Field(description="A CSV with path and label (the class, or drop); it has the last word."),
    ] = None
    keep: Annotated[
        Literal["all", "one_per_cluster"],
        Field(description="one_per_cluster: one image per near-duplicate cluster."),
    ] = "all"
    near_distance: Annotated[
        int,
        Field(
            ge=0,
            le=64,
            description="Near-duplicates: bits of 256 in which their fingerprints may differ.",
        ),
    ] = 12
    fill: Annotated[
        Colour,
        Field(
            description="Colour under alpha, behind a removed background, around a fitted image."
        ),
    ] = "white"
    levels: Annotated[
        LevelPair | None,
        Field(
            description="Files of more than 8 bits: the values that become black and white, e.g. "
            "[0, 4095]; left out, a sample of the files decides."
        ),
    ] = None
    max_pixels: Annotated[
        int, Field(ge=1, description="Larger images are rejected (decompression bombs).")
    ] = 89_478_485
    max_rejected: Annotated[
        float,
        Field(ge=0, le=1, description="Share of rows that may be rejected before nothing starts."),
    ] = 0.1
    allow_outside: Annotated[
        bool, Field(description="Let paths and links leave the source's folder.")
    ] = False
    cache_gb: Annotated[
        float | None,
        Field(
            ge=0, description="Bound of the decoded cache; what does not fit is decoded per batch."
        ),
    ] = None
    face_weights: Annotated[
        Location | None, Field(description="crop: face: a YuNet model (.onnx).")
    ] = None
    background_weights: Annotated[
        Location | None, Field(description="background: remove: a rembg model (.onnx).")
    ] = None

    @property
    def grouping(self) -> str | None:
        """The column of the groups, or one of NEAR_DUPLICATES, FOLDER and FILE_NAME, or None.

        If the layout is profile_folders and the user does not set `group`, the persons are the
        groups.
        """
        if (
            self.group is None
            and self.layout == "profile_folders"
            and "group" not in self.model_fields_set
        ):
            return "person"
        return self.group

    @model_validator(mode="after")
    def _one_way_to_name_the_class(self) -> "DataOptions":
        if self.class_columns is not None:
            if self.label is not None:
                raise ValueError("class_columns and label both name the class: leave one out")
            if len(self.class_columns) < 2:
                raise ValueError("class_columns needs at least two columns, one per class")
        return self

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns whose values together make the class."""
        profile = self.layout == "profile_folders"
        return tuple(self.label or (("mask", "gender", "age") if profile else ("label",)))

    @property
    def needs_fingerprints(self) -> bool:
        """Whether the data set can be cleaned and cut only if near-duplicates are known."""
        return self.group == NEAR_DUPLICATES or self.keep == "one_per_cluster"

    @property
    def reading(self) -> Reading:
        """How the image files become pixels, without the levels: they depend on the files."""
        fill = COLOURS.get(self.fill) or tuple(int(self.fill[at : at + 2], 16) for at in (1, 3, 5))
        return Reading(
            fill_rgb=(fill[0], fill[1], fill[2]),
            max_pixels=self.max_pixels,
            face_weights=_absolute(self.face_weights),
            background_weights=_absolute(self.background_weights),
        )


class FoldOptions(Section):
    """How the images are cut into folds."""

    k: Annotated[int, Field(ge=2, le=100, description="Folds; not used with column.")] = 5
    seed: Annotated[int, Field(ge=0, description="Another seed cuts otherwise.")] = 42
    holdout: Annotated[
        float,
        Field(
            ge=0,
            le=0.9,
            description="Share of the images that no fold run sees, whole groups each.",
        ),
    ] = 0.0
    column: Annotated[
        Column | None,
        Field(
            description="Fixed folds: a column with fold numbers, or with train, valid and test; "
            "empty or -1 is always trained on."
        ),
    ] = None
    rare: Annotated[
        Literal["train"] | None,
        Field(
            description="train: classes with fewer images (or groups) than folds are always "
            "trained on and never held out. Left out, they are refused."
        ),
    ] = None
    file: Annotated[
        Location | None,
        Field(description="A folds file (runs/<sweep>/folds.npz): its images keep their folds."),
    ] = None

    @model_validator(mode="after")
    def _a_column_decides_alone(self) -> "FoldOptions":
        given = [
            name
            for name in ("k", "holdout", "rare", "file")
            if self.column is not None and name in self.model_fields_set
        ]
        if given:
            raise ValueError(f"the column decides the folds: leave out {' and '.join(given)}")
        return self


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).resolve())
