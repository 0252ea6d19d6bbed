"""What the columns of a table seem to be: the image, its class, its group, its fold, its box.

The names of the columns and their cells decide; no file is looked at.
"""

import re
from collections.abc import Mapping, Sequence

from trainer.data.fold_column import ALWAYS_TRAINED, read_fold_column
from trainer.data.folders import IMAGE_SUFFIXES
from trainer.errors import DataError
from trainer.images.manifest import composed

Columns = Mapping[str, Sequence[str]]
# Words in names of columns, the surest first.
IMAGE_WORDS = [
    "path",
    "filepath",
    "filename",
    "file",
    "image",
    "img",
    "photo",
    "picture",
    "pic",
    "id",
    "경로",
    "파일",
    "이미지",
    "사진",
]
LABEL_WORDS = [
    "label",
    "labels",
    "class",
    "target",
    "category",
    "diagnosis",
    "dx",
    "y",
    "species",
    "breed",
    "kind",
    "type",
    "grade",
    "level",
    "emotion",
    "expression",
    "라벨",
    "레이블",
    "분류",
    "클래스",
    "정답",
    "종류",
]
GROUP_WORDS = [
    "patient",
    "person",
    "subject",
    "individual",
    "participant",
    "user",
    "video",
    "clip",
    "scene",
    "sequence",
    "session",
    "lesion",
    "case",
    "study",
    "series",
    "slide",
    "animal",
    "specimen",
    "object",
    "product",
    "identity",
    "group",
    "환자",
    "사람",
    "인물",
    "영상",
    "그룹",
]
FOLD_WORDS = [
    "fold",
    "folds",
    "kfold",
    "split",
    "subset",
    "partition",
    "set",
    "폴드",
    "구분",
]
BOXES = (
    (("x", "y", "w", "h"), "xywh"),
    (("x", "y", "width", "height"), "xywh"),
    (("left", "top", "width", "height"), "xywh"),
    (("bbox_x", "bbox_y", "bbox_w", "bbox_h"), "xywh"),
    (("left", "top", "right", "bottom"), "xyxy"),
    (("xmin", "ymin", "xmax", "ymax"), "xyxy"),
    (("x_min", "y_min", "x_max", "y_max"), "xyxy"),
    (("x1", "y1", "x2", "y2"), "xyxy"),
)
MOST_CLASSES = 1_000
MIN_PER_GROUP = 1.1  # rows; with fewer on average, a column of names says nothing about groups


def words_of(name: str) -> list[str]:
    """The words of a column's name, in small letters.

    Example:
        >>> words_of("patientId"), words_of("image_id"), words_of("isValid2")
        (['patient', 'id'], ['image', 'id'], ['is', 'valid'])
    """
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", composed(name))
    return [word for word in re.split(r"[\W_\d]+", apart.casefold()) if word]


def rank(name: str, words: Sequence[str]) -> int:
    """How surely a column's name has one of the words: 0 for the first word, len(words) for none.

    Example:
        >>> rank("image_id", ["path", "image", "id"]), rank("age", ["path", "image", "id"])
        (1, 3)
    """
    found = words_of(name)
    return min((at for at, word in enumerate(words) if word in found), default=len(words))


def image_columns(columns: Columns) -> list[str]:
    """The columns that may have the images' paths or ids, the likeliest first.

    A column whose cells end like image files comes first, then columns of which no cell occurs
    twice, then the others, whose cells may be names of folders.
    """

    def unlikeliness(name: str) -> tuple[int, int]:
        cells = [cell for cell in columns[name] if cell]
        kind = 0 if all(map(_is_image, cells)) else 1 if len(set(cells)) == len(cells) else 2
        return kind, rank(name, IMAGE_WORDS)

    return sorted((name for name in columns if any(columns[name])), key=unlikeliness)


def label_columns(columns: Columns) -> list[str]:
    """The columns that may have the classes, the likeliest first.

    A column of classes has at least two values, at least one of them twice. Columns with a name
    such as `label` come first, and then those with few values.
    """

    def unlikeliness(name: str) -> tuple[int, int]:
        return rank(name, LABEL_WORDS), len(set(columns[name]))

    named = [name for name in columns if rank(name, LABEL_WORDS) < len(LABEL_WORDS)]
    found = []
    for name, cells in columns.items():
        values = set(cells) - {""}
        filled = sum(map(bool, cells))
        if 2 <= len(values) <= MOST_CLASSES and (2 * len(values) <= filled or name in named):
            found.append(name)
    return sorted(found, key=unlikeliness)


def fold_column(source: str, columns: Columns) -> str | None:
    """The column that fixes the folds and holds at least one fold out, or None.

    Args:
        source: the name of the table.
    """
    found = [
        name
        for name, cells in columns.items()
        if rank(name, FOLD_WORDS) < len(FOLD_WORDS) or _is_question(name, cells)
    ]
    for name in sorted(found, key=lambda name: rank(name, FOLD_WORDS)):
        try:
            fold_N, _ = read_fold_column(source, name, list(columns[name]))
        except DataError:  # the column holds something else, such as the set of a collection
            continue
        if fold_N.max(initial=ALWAYS_TRAINED) >= 0 and len(set(fold_N.tolist())) > 1:
            return name
    return None


def group_columns(columns: Columns) -> list[str]:
    """The columns that say which rows belong together, the likeliest first.

    They have a name such as `patient`, or one that ends with `id`, and cells that occur repeatedly.
    """

    def repeats(name: str) -> bool:
        cells = [cell for cell in columns[name] if cell]
        distinct = len(set(cells))
        return distinct > 2 and len(cells) >= MIN_PER_GROUP * distinct

    found = [
        name
        for name in columns
        if (rank(name, GROUP_WORDS) < len(GROUP_WORDS) or words_of(name)[-1:] == ["id"])
        and repeats(name)
    ]
    return sorted(found, key=lambda name: rank(name, GROUP_WORDS))


def box_columns(columns: Columns) -> tuple[tuple[str, ...], str] | None:
    """The four columns of a box, and `data.box_format`; None without such columns."""
    names = {name.casefold(): name for name in columns}
    for four, box_format in BOXES:
        if all(name in names for name in four):
            return tuple(names[name] for name in four), box_format
    return None


def _is_question(name: str, cells: Sequence[str]) -> bool:
    """Whether a column such as `is_valid` says True or False of each row."""
    truths = {cell.casefold() for cell in cells} <= {"true", "false"}
    return truths and words_of(name)[:1] == ["is"]


def _is_image(cell: str) -> bool:
    return any(cell.lower().endswith(suffix) for suffix in IMAGE_SUFFIXES)
