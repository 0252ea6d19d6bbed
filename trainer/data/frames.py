"""A CSV or Parquet file as a table of text."""

import csv
import dataclasses
import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.data.encodings import decoded
from trainer.errors import DataError
from trainer.images.manifest import composed

if TYPE_CHECKING:
    import pandas as pd
PARQUET = frozenset({".parquet", ".pq"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt"}) | PARQUET


@dataclasses.dataclass(frozen=True)
class Frame:
    """A table of texts.

    Attributes:
        table: the cells; its index counts the lines below the header, from 0.
        header: the names of the columns as the file has them.
        separator: what separates the cells of a line; a comma for a Parquet file.
        notes: sentences about what was read otherwise than it is written.
    """

    table: "pd.DataFrame"
    header: tuple[str, ...]
    separator: str = ","
    notes: tuple[str, ...] = ()


def read_frame(source: Path, *, encoding: str | None = None) -> Frame:
    """Read a CSV or Parquet file. Every cell becomes a text. Names of columns have the form NFC.

    A CSV file is separated by commas, semicolons or tabs; trainer.data.encodings says how its bytes
    are read. White space around names and cells is removed. Missing values become empty texts, and
    so does the text `nan` that pandas writes for them. Blank lines of a CSV file are left out, but
    the index of the table counts them. Therefore a message can name the line that an editor shows.

    Args:
        encoding: the encoding of a CSV file without a mark at its beginning, or None to find it.

    Raises:
        DataError: the file is empty or not readable, or two of its columns have the same name.
    """
    import pandas as pd  # this takes 0.4 s, which `sweeps best` should not need

    kind = "Parquet" if source.suffix.lower() in PARQUET else "CSV"
    try:
        found = _parquet(source) if kind == "Parquet" else _csv(source, encoding)
    except pd.errors.EmptyDataError:
        raise DataError(
            f"{source}: the file is empty. It needs a header line and one row per image"
        ) from None
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        csv.Error,
        OSError,
        ValueError,
    ) as error:
        raise DataError(f"{source}: not a readable {kind} file ({str(error).strip()})") from None
    names = [composed(name.strip()) for name in found.header if name or kind == "Parquet"]
    if len(set(names)) < len(names):
        raise DataError(f"{source}: two columns have one name. {columns_text(names)}")
    table = found.table
    table.columns = table.columns.map(lambda name: composed(str(name).strip()))
    table, spaced = _stripped(table.astype(str))
    if kind == "CSV":
        table = table[(table != "").any(axis=1)]
    table = table.where(~table.isin(["nan", "NaN"]), "")
    return dataclasses.replace(found, table=table, notes=(*found.notes, *spaced))


def _parquet(source: Path) -> Frame:
    import pandas as pd

    frame = pd.read_parquet(source)
    # 0.1 of 32 bits would otherwise become 0.10000000149011612
    short = frame.select_dtypes(["float16", "float32"]).columns
    frame[short] = frame[short].astype(str).astype(float)
    # object, because a column of categories does not accept an empty text
    frame = frame.astype(object)
    names = tuple(str(name) for name in frame.columns)
    frame = frame.apply(lambda column: column.map(_text, na_action="ignore").fillna(""))
    return Frame(frame.reset_index(drop=True), names)


def _csv(source: Path, encoding: str | None) -> Frame:
    import pandas as pd

    data = source.read_bytes()
    if data.startswith(b"PK\x03\x04"):
        raise DataError(f"{source}: no CSV file but an Excel file. Save it as CSV UTF-8")
    text, said = decoded(data, encoding=encoding, where=str(source))
    separator, header = _header(text)
    # for a row that is longer than the header, pandas only gives a warning
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            index_col=False,
        )
    return Frame(frame, tuple(header), separator, () if said is None else (said,))


def _header(text: str) -> tuple[str, list[str]]:
    """The separator of a CSV file's header, and the names of the columns as they are written.

    The separator is the first of comma, semicolon and tab that is in the header. A table that
    pandas wrote with its index has a column whose name is empty.
    """
    header = re.split(r"\r\n|\r|\n", text, maxsplit=1)[0]
    mark = next((mark for mark in (",", ";", "\t") if mark in header), ",")
    return mark, next(csv.reader([header], delimiter=mark), [])


def _stripped(table: "pd.DataFrame") -> tuple["pd.DataFrame", list[str]]:
    """The table without white space around its cells, and a note for each column that had some."""
    notes = []
    columns = {}
    for name in table.columns:
        plain = table[name].map(str.strip)
        columns[name] = plain
        changed = table[name] != plain
        example = next((cell for cell in table[name][changed] if cell.strip()), None)
        if example is not None:
            notes.append(
                f"column {name!r}: white space around {int(changed.sum()):,} of {len(table):,} "
                f"cells is left out ({example!r} is read as {example.strip()!r})"
            )
    return table.assign(**columns), notes


def _text(value: object) -> str:
    """The text of a Parquet file's cell.

    3.0 becomes "3": a missing value turns a column of whole numbers into real numbers.

    Example:
        >>> _text(3.0), _text(2.5), _text("a")
        ('3', '2.5', 'a')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def columns_text(columns: object) -> str:
    """The names of the columns, as a sentence for a message."""
    names = list(columns)  # type: ignore[call-overload]
    return f"Columns there: {', '.join(repr(str(name)) for name in names)}"
