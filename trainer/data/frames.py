"""A CSV or Parquet file as a table of text."""

import csv
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import DataError
from trainer.images.manifest import composed

if TYPE_CHECKING:
    import pandas as pd


TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".parquet", ".pq"})


def read_frame(source: Path) -> "pd.DataFrame":
    """Read a CSV or Parquet file. Every cell becomes a text. Names of columns have the form NFC.

    A CSV file is separated by commas, semicolons or tabs, and it is UTF-8 with or without a BOM.
    Missing values become empty texts, and so does the text `nan` that pandas writes for them. Blank
    lines of a CSV file are left out, but the index of the frame counts them. Therefore a message
    can name the line that an editor shows.

    Raises:
        DataError: the file is empty or not readable, or two of its columns have the same name.
    """
    import pandas as pd  # this takes 0.4 s, which `sweeps best` should not need

    try:
        if source.suffix.lower() in (".parquet", ".pq"):
            frame = pd.read_parquet(source)
            # 0.1 of 32 bits would otherwise become 0.10000000149011612
            short = frame.select_dtypes(["float16", "float32"]).columns
            frame[short] = frame[short].astype(str).astype(float)
            # object, because a column of categories does not accept an empty text
            frame = frame.astype(object)
            names = [str(name) for name in frame.columns]
            frame = frame.apply(
                lambda column: column.map(_text, na_action="ignore").fillna("")
            ).reset_index(drop=True)
        else:
            separator, written = read_header(source)
            names = [name for name in written if name]
            # for a row that is longer than the header, pandas only gives a warning
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    source,
                    sep=separator,
                    dtype=str,
                    keep_default_na=False,
                    skip_blank_lines=False,
                    index_col=False,
                    encoding="utf-8-sig",
                )
            frame = frame[(frame != "").any(axis=1)]
    except pd.errors.EmptyDataError:
        raise DataError(
            f"{source}: the file is empty. It needs a header line and one row per image"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not a readable CSV file ({error}). Save it as UTF-8") from None
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        csv.Error,
        OSError,
        ValueError,
    ) as error:
        kind = "Parquet" if source.suffix.lower() in (".parquet", ".pq") else "CSV"
        raise DataError(f"{source}: not a readable {kind} file ({str(error).strip()})") from None
    names = list(map(composed, names))
    if len(set(names)) < len(names):
        raise DataError(f"{source}: two columns have one name. {columns_text(names)}")
    frame.columns = frame.columns.map(lambda name: composed(str(name)))
    return frame.where(~frame.isin(["nan", "NaN"]), "").astype(str)


def _text(value: object) -> str:
    """The text of a Parquet file's cell.

    3.0 becomes "3": a missing value turns a column of whole numbers into real numbers.

    Example:
        >>> _text(3.0), _text(2.5), _text("a")
        ('3', '2.5', 'a')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def read_header(source: Path) -> tuple[str, list[str]]:
    """The separator of a CSV file's header, and the names of the columns as they are written.

    The separator is the first of comma, semicolon and tab that is in the header. A table that
    pandas wrote with its index has a column whose name is empty.
    """
    with source.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
    mark = next((mark for mark in (",", ";", "\t") if mark in header), ",")
    return mark, next(csv.reader([header], delimiter=mark), [])


def columns_text(columns: object) -> str:
    """The names of the columns, as a sentence for a message."""
    names = list(columns)  # type: ignore[call-overload]
    return f"Columns there: {', '.join(repr(str(name)) for name in names)}"
