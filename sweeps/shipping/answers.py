"""Read what two tables say of the same images: a truth and predictions, or two submissions.

Shapes: N images, K classes, P label columns.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sweeps.errors import InputError
from sweeps.shipping.ids import examples, find_id_columns, refuse_bad_ids
from sweeps.shipping.sheets import Sheet
from trainer.data.image_files import named
from trainer.data.values import value_key
from trainer.images.manifest import PART_MARK, order_classes
from trainer.metrics import Probs
from trainer.prediction.classes import Classes
from trainer.prediction.rows import CLASS

Ints = npt.NDArray[np.int64]

SUM_ERROR = 1e-3  # probabilities of an image are rounded, so their sum is not exactly 1


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two tables whose rows belong together by their ids.

    Attributes:
        ids: the columns with the ids.
        rows, other_rows: for each of the N common images its row in each table.
        ignored: what makes no difference between two ids, see `sweeps.shipping.ids.FORMS`.
    """

    first: Sheet
    other: Sheet
    ids: tuple[str, str]
    rows: Ints
    other_rows: Ints
    ignored: str


def pair_up(first: Sheet, other: Sheet, *, common: bool = False) -> Pair:
    """Match the rows of two tables by their ids.

    Args:
        common: leave out the ids that only one table has, in place of refusing them.

    Raises:
        InputError: ids are empty, repeated, or only in one table.
    """
    found = find_id_columns(first.columns, other.columns)
    ids, other_ids = first.columns[found.name], other.columns[found.other]
    refuse_bad_ids(first.name, ids, lines=first.lines)
    refuse_bad_ids(other.name, other_ids, lines=other.lines)
    matching = found.matching
    if not matching.matches:
        raise InputError(
            f"{first.name} and {other.name} have no image in common: the ids are "
            f"{examples(ids)} and {examples(other_ids)}"
        )
    if not matching.complete and not common:
        lost = [name for name, row in zip(ids, matching.other_N, strict=True) if row is None]
        others = [other_ids[row] for row in matching.left]
        parts = [
            f"{len(names):,} of {total:,} images of {sheet.name} are not in {without.name} "
            f"({examples(names)})"
            for names, total, sheet, without in (
                (lost, len(ids), first, other),
                (others, len(other_ids), other, first),
            )
            if names
        ]
        raise InputError(
            f"{', and '.join(parts)}. Write --common to use only the images that both have"
        )
    pairs = [(row, at) for row, at in enumerate(matching.other_N) if at is not None]
    rows_N2 = np.array(pairs, dtype=np.int64)
    return Pair(
        first, other, (found.name, found.other), rows_N2[:, 0], rows_N2[:, 1], matching.ignored
    )


def rows_in(third: Sheet, pair: Pair) -> Ints:
    """The row of each of the N common images in a third table, which may have further images.

    Raises:
        InputError: an image is not in this table, or its ids cannot be used.
    """
    found = pair_up(pair.first, third, common=True)
    row_of = dict(zip(found.rows.tolist(), found.other_rows.tolist(), strict=True))
    ids = pair.first.columns[pair.ids[0]]
    missing = [ids[row] for row in pair.rows.tolist() if row not in row_of]
    if missing:
        raise InputError(
            f"{third.name}: {len(missing):,} of {len(pair.rows):,} images of {pair.first.name} are "
            f"not in it ({examples(missing)})"
        )
    return np.array([row_of[row] for row in pair.rows.tolist()], dtype=np.int64)


def read_label_map(path: Path) -> Classes:
    """Read the file `labels.json` of a sweep.

    Raises:
        InputError: the file is missing or no label map.
    """
    try:
        value = json.loads(path.read_text())
        count = len(value["classes"])
        names = tuple(str(value["classes"][str(label)]) for label in range(count))
        parts = [value["parts"][str(label)] for label in range(count)] if "parts" in value else []
        columns = tuple(parts[0]) if parts else ("label",)
        return Classes(names, columns, tuple(tuple(part[c] for c in columns) for part in parts))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file. A sweep has its labels.json in its folder"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path}: not a label map ({type(error).__name__}: {error})") from None


def label_columns_of(pair: Pair, chosen: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The label columns of both tables: those that the user names, else those that both have.

    Tables without a common label column have one column each besides the id; in the second table it
    may be called `class`, or be missing beside one column of probabilities per class.

    Raises:
        InputError: a table has ids only, a chosen column is missing, or it is not clear which
            columns are meant.
    """
    own = [name for name in pair.first.columns if name != pair.ids[0]]
    others = [name for name in pair.other.columns if name != pair.ids[1]]
    for sheet, names in ((pair.first, own), (pair.other, others)):
        if not names:
            raise InputError(f"{sheet.name}: it has ids only, and no column of labels")
    missing = [name for name in chosen if name not in own]
    if missing:
        raise InputError(
            f"--label {missing[0]}: {pair.first.name} has no such column, but "
            f"{', '.join(map(repr, own))}"
        )
    shared = tuple(name for name in (chosen or own) if name in others)
    if shared and (not chosen or len(shared) == len(chosen)):
        return shared, shared
    one = tuple(chosen) or tuple(own)
    if len(one) != 1:
        raise InputError(
            f"{pair.first.name}: which of {', '.join(map(repr, own))} are the labels? "
            "Write --label COLUMN, several times for several label columns"
        )
    if CLASS in others:
        return one, (CLASS,)
    return one, tuple(others) if len(others) == 1 else ()


def texts_of(sheet: Sheet, columns: Sequence[str], rows: Ints) -> list[str]:
    """The label of each row; with several columns, their values joined.

    Raises:
        InputError: a label is empty.
    """
    cells = [[sheet.columns[name][row] for row in rows.tolist()] for name in columns]
    empty = [
        f"line {sheet.lines[row]}"
        for row, parts in zip(rows.tolist(), zip(*cells, strict=True), strict=True)
        if not all(part.strip() for part in parts)
    ]
    if empty:
        what = " or ".join(map(repr, columns))
        raise InputError(f"{sheet.name}: {len(empty):,} rows have no {what}{named(empty)}")
    return [PART_MARK.join(value_key(part) for part in parts) for parts in zip(*cells, strict=True)]


def classes_of(texts: Iterable[str], *, columns: Sequence[str]) -> Classes:
    """The classes that occur among labels, in the order that a sweep would give them.

    Args:
        columns: the label columns, whose values are joined in `texts`.
    """
    labels = [tuple(text.split(PART_MARK)) for text in dict.fromkeys(texts)]
    if len(columns) == 1 or any(len(label) != len(columns) for label in labels):
        labels = [(PART_MARK.join(label),) for label in labels]
    found, _ = order_classes(labels, label_columns=columns[: len(labels[0])], orders={})
    return named_classes([PART_MARK.join(label) for label in found], columns=columns)


def named_classes(names: Sequence[str], *, columns: Sequence[str]) -> Classes:
    """The classes with these names, in this order; names of joint classes are taken apart."""
    parts = tuple(tuple(name.split(PART_MARK)) for name in names)
    several = len(columns) > 1 and all(len(part) == len(columns) for part in parts)
    if several:
        return Classes(tuple(names), tuple(columns), parts)
    return Classes(tuple(names), (" and ".join(columns),))


def class_indices(sheet: Sheet, texts: Sequence[str], classes: Classes) -> Ints:
    """The class of each label, by its name, or by its index if no label is a name.

    Raises:
        InputError: a label is no class.
    """
    at = {value_key(name): label for label, name in enumerate(classes.names)}
    distinct = list(dict.fromkeys(texts))
    if not any(text in at for text in distinct):
        by_index = {str(label): label for label in range(len(classes))}
        at = by_index if all(text in by_index for text in distinct) else at
    unknown = [text for text in distinct if text not in at]
    if unknown:
        raise InputError(
            f"{sheet.name}: {len(unknown):,} of its {len(distinct):,} labels are no class "
            f"({examples(list(map(repr, unknown)))}); classes are "
            f"{examples(list(map(repr, classes.names)))}"
        )
    return np.array([at[text] for text in texts], dtype=np.int64)


def probabilities_of(sheet: Sheet, rows: Ints, classes: Classes) -> Probs | None:
    """The probabilities (N, K) of a table with one column per class; None if it has not all.

    Raises:
        InputError: a cell is no probability, or the probabilities of an image do not sum to 1.
    """
    column_of = {value_key(name): name for name in sheet.columns}
    keys = [value_key(name) for name in classes.names]
    if not all(key in column_of for key in keys):
        keys = [str(label) for label in range(len(classes))]
    if len(classes) < 2 or not all(key in column_of for key in keys):
        return None
    columns = [sheet.columns[column_of[key]] for key in keys]
    try:
        probs_NK = np.array(
            [[float(column[row]) for column in columns] for row in rows.tolist()], dtype=np.float64
        )
    except ValueError as error:
        raise InputError(
            f"{sheet.name}: the columns of the classes hold no probabilities ({error})"
        ) from None
    bad_N = ~np.isfinite(probs_NK).all(axis=1) | (probs_NK < 0).any(axis=1)
    bad_N |= np.abs(probs_NK.sum(axis=1) - 1) > SUM_ERROR
    if bad_N.any():
        lines = [f"line {sheet.lines[row]}" for row in rows[bad_N].tolist()]
        raise InputError(
            f"{sheet.name}: in {len(lines):,} rows the columns of the classes are not "
            f"probabilities that sum to 1{named(lines)}"
        )
    found_NK: Probs = (probs_NK / probs_NK.sum(axis=1, keepdims=True)).astype(np.float32)
    return found_NK
