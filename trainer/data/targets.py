"""What the label columns hold: one class per image, written in one column or in one per class.

Other targets, such as several classes per image or a real number, are recognised and refused.

Shapes: N rows, K columns.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

from trainer.data.image_files import named
from trainer.errors import DataError
from trainer.images.manifest import number_of

YES = frozenset({"1", "1.0", "true", "yes"})
NO = frozenset({"0", "0.0", "false", "no", ""})
# Between the classes of one cell. Only such a mark as a whole is tried, never two at once.
SEPARATORS = ("|", ";", ",", " ")
MIN_ALONE = 0.8  # of the classes in cells of several, the share that also stands alone
MANY_NUMBERS = 20  # different real numbers that no column of classes has
MIN_ROWS = 10  # with fewer rows, a column cannot be told from one of measurements
MAX_SHOWN = 3


def classes_of_columns(
    cells_K: Sequence[Sequence[str]],
    names: Sequence[str],
    *,
    where: str,
    rows: Sequence[str],
) -> list[str]:
    """The class of each row: the name of the column that has 1.

    A row without any value has no class: an empty text.

    Args:
        cells_K: the cells of each column.
        names: the name of each column, which is the class.
        where: the name of the table, for messages.
        rows: the name of each row, for messages.

    Raises:
        DataError: a cell is neither yes nor no, or a row has several 1 or only 0.

    Example:
        >>> cells = [["1", "0.0", ""], ["0", "1.0", ""]]
        >>> classes_of_columns(cells, ["cat", "dog"], where="a.csv", rows=["1", "2", "3"])
        ['cat', 'dog', '']
    """
    labels = []
    several = []
    none = []
    for row, cells in zip(rows, zip(*cells_K, strict=True), strict=True):
        marks = [_is_yes(cell) for cell in cells]
        if None in marks:
            at = marks.index(None)
            raise DataError(
                f"{where}: {cells[at]!r} in column {names[at]!r} is neither 0 nor 1 "
                f"(data.class_columns); {row}. The columns of classes hold 1 for the image's class "
                "and 0 elsewhere"
            )
        found = [name for name, mark in zip(names, marks, strict=True) if mark]
        labels.append(found[0] if found else "")
        if len(found) > 1:
            several.append(f"{row} ({', '.join(found)})")
        elif not found and any(cells):
            none.append(row)
    if several:
        raise DataError(
            f"{where}: {len(several):,} of {len(labels):,} rows have several classes "
            f"(data.class_columns), and foldsweep trains one class per image, no multi-label "
            f"targets{named(several)}"
        )
    if none:
        raise DataError(
            f"{where}: {len(none):,} of {len(labels):,} rows have no class (data.class_columns): "
            f"each column holds 0. Leave them out, or add a column for them{named(none)}"
        )
    return labels


def _is_yes(cell: str) -> bool | None:
    """Whether a cell says yes; None if it says neither yes nor no."""
    text = cell.casefold()
    return True if text in YES else False if text in NO else None


def class_columns_in(columns: Mapping[str, Sequence[str]]) -> str:
    """Advice for a table without the column of labels, if several of its columns hold 0 and 1.

    Returns:
        A sentence with a space before it, or an empty text.
    """
    marked, counts = _marks(columns)
    names = ", ".join(marked)
    if counts == {1}:
        return f". Of {names}, each row has one: write `class_columns: [{names}]` below data"
    if max(counts, default=0) > 1:
        return (
            f". The columns {names} hold 0 and 1, and some rows have several 1: several classes "
            "per image (multi-label), which foldsweep does not train"
        )
    return ""


def one_column_per_class(columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The columns of 0 and 1 of which each row has exactly one 1; empty if there are none.

    Example:
        >>> one_column_per_class({"id": ["7", "8"], "cat": ["1", "0"], "dog": ["0", "1"]})
        ('cat', 'dog')
    """
    marked, counts = _marks(columns)
    return marked if counts == {1} else ()


def _marks(columns: Mapping[str, Sequence[str]]) -> tuple[tuple[str, ...], set[int]]:
    """The columns of 0 and 1 if there are several, and the numbers of 1 that their rows have."""
    marked = {
        name: [_is_yes(cell) for cell in cells]
        for name, cells in columns.items()
        if cells and any(cells) and all(_is_yes(cell) is not None for cell in cells)
    }
    if len(marked) < 2:
        return (), set()
    return tuple(marked), {sum(map(bool, row)) for row in zip(*marked.values(), strict=True)}


def refuse_other_tasks(values: Sequence[str], *, name: str, where: str) -> None:
    """Refuse a column of labels that holds several classes per image, or numbers to be predicted.

    Args:
        values: the cells of the column.
        name: the name of the column.
        where: the name of the table, for messages.

    Raises:
        DataError: the column holds such targets.
    """
    distinct = sorted(set(values) - {""})
    mark = _mark_of_several(distinct)
    if mark is not None:
        several = next(value for value in distinct if _split(value, mark)[1:])
        other = "another sign" if mark != " " else "_"
        raise DataError(
            f"{where}: column {name!r} holds several classes per image, such as {several!r}, and "
            "foldsweep trains one class per image, no multi-label targets. If such a text is the "
            f"name of one class, write {other} in place of {mark!r}"
        )
    if _are_measured(distinct, rows=len(values)):
        shown = ", ".join(distinct[:MAX_SHOWN])
        raise DataError(
            f"{where}: column {name!r} holds {len(distinct):,} different numbers in "
            f"{len(values):,} rows ({shown}, ...), a quantity to be predicted (regression), and "
            "foldsweep trains classes. Name a column of classes (data.label), or write the band "
            "of each number into one"
        )


def _mark_of_several(distinct: Iterable[str]) -> str | None:
    """What separates the classes in cells of several classes, or None if there are no such cells.

    Classes that stand alone elsewhere show that a cell holds several: `scab rust` beside `scab` and
    `rust`. So do few words that form many sets, and a list as Python writes it.
    """
    values = [value for value in distinct if number_of(value) is None]
    if any(re.fullmatch(r"\[.*,.*\]", value) for value in values):
        return ","
    for mark in SEPARATORS:
        split = [_split(value, mark) for value in values]
        alone = {parts[0] for parts in split if len(parts) == 1}
        together = set(itertools.chain.from_iterable(parts for parts in split if len(parts) > 1))
        # a cell such as `dog dog` or `a, ` has no two classes
        if len(together) > 1 and len(together & alone) >= MIN_ALONE * len(together):
            return mark
        # few words in many sets of different sizes; `male young` and `female old` have one size
        if 2 * len(together | alone) < len(values) and len(set(map(len, split))) > 1:
            return mark
    return None


def _split(value: str, mark: str) -> list[str]:
    return [part for part in (text.strip() for text in value.split(mark)) if part]


def _are_measured(distinct: Sequence[str], *, rows: int) -> bool:
    """Whether the values of a column are measurements: many different numbers, most of them real.

    Whole numbers are often the codes of classes, so they are none.
    """
    numbers = [number for value in distinct if (number := number_of(value)) is not None]
    real = sum(number != int(number) for number in numbers)
    if rows < MIN_ROWS or len(numbers) < len(distinct) or 2 * real <= len(distinct):
        return False
    return len(distinct) > MANY_NUMBERS or 2 * len(distinct) > rows
