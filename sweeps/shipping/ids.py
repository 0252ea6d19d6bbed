"""Match the ids of two tables, although people write the id of one image in many forms.

The functions are pure.
"""

import collections
import dataclasses
import os.path
from collections.abc import Callable, Mapping, Sequence

from sweeps.errors import InputError
from trainer.data.folders import IMAGE_SUFFIXES
from trainer.data.image_files import named
from trainer.images.manifest import composed

EXAMPLES = 3  # ids that a message shows of each kind
VARIED = 0.9  # of the most different values that a column of a table has


def _plain(text: str) -> str:
    """The text in the form NFC, with slashes as Linux writes them and without `./` at its start."""
    text = composed(text.strip()).replace("\\", "/")
    return os.path.normpath(text) if "./" in text or "//" in text else text


def _split(text: str) -> tuple[str, str]:
    """The text without its suffix, and the suffix in small letters; only image files have one."""
    stem, suffix = os.path.splitext(_plain(text))
    return (stem, suffix.lower()) if suffix.lower() in IMAGE_SUFFIXES else (stem + suffix, "")


def _file(text: str) -> str:
    stem, suffix = _split(text)
    return os.path.basename(stem) + suffix


def _stem(text: str) -> str:
    return os.path.basename(_split(text)[0])


def _number(text: str) -> str:
    stem = _stem(text)
    return str(int(stem)) if stem.isascii() and stem.isdigit() else stem


# What makes no difference between two ids -> the text that is compared. An entry ignores more than
# the entries before it, except that a folder and a suffix are ignored in turn.
FORMS: dict[str, Callable[[str], str]] = {
    "": _plain,
    "capitals in suffixes": lambda text: "".join(_split(text)),
    "suffixes": lambda text: _split(text)[0],
    "folders": _file,
    "folders and suffixes": _stem,
    "folders, suffixes and leading zeros": _number,
}


# How a table may write the id of an image, given the image's path.
STYLES: tuple[Callable[[str], str], ...] = (
    _plain,
    FORMS["suffixes"],
    lambda text: os.path.basename(_plain(text)),
    _stem,
    _number,
)


def style_of(ids: Sequence[str], others: Sequence[str]) -> Callable[[str], str] | None:
    """The function that makes each id from the other one; None if there is none.

    Args:
        others: for each id how another table writes it.

    Example:
        >>> style_of(["0001", "0002"], ["a/0001.jpg", "a/0002.jpg"])("b/0007.jpg")
        '0007'
    """
    pairs = list(zip(map(_plain, ids), others, strict=True))
    return next(
        (style for style in STYLES if all(style(other) == name for name, other in pairs)), None
    )


@dataclasses.dataclass(frozen=True)
class Matching:
    """How the N ids of one table and the M ids of another one belong together.

    Attributes:
        ignored: what makes no difference between two ids (a key of FORMS); "" if they are written
            alike.
        other_N: for each id of the first table the row of the other table, or None.
        left: the rows of the other table that belong to no id of the first one, ascending.
        alike: two different ids of one table that a form with more matches would take for one id;
            empty if there is no such form.
    """

    ignored: str
    other_N: tuple[int | None, ...]
    left: tuple[int, ...]
    alike: tuple[str, ...] = ()

    @property
    def matches(self) -> int:
        """The number of ids that both tables have."""
        return sum(row is not None for row in self.other_N)

    @property
    def complete(self) -> bool:
        """Whether each id has its row in the other table, in both directions."""
        return not self.left and self.matches == len(self.other_N)


def match_ids(ids: Sequence[str], others: Sequence[str]) -> Matching:
    """Match ids in the form that ignores least among those with the most matches.

    A form is not used if two different ids of one table would be the same in it.

    Example:
        >>> found = match_ids(["0002", "0001"], ["test/0001.JPG", "test/0002.JPG"])
        >>> found.ignored, found.other_N
        ('folders and suffixes', (1, 0))
    """
    best = _matching("", ids, others)
    alike: tuple[str, ...] = ()
    for ignored in FORMS:
        if best.complete:
            break
        found = _matching(ignored, ids, others)
        if found.matches > best.matches and not found.alike:
            best, alike = found, ()
        elif found.matches > best.matches:
            alike = alike or found.alike
    return dataclasses.replace(best, alike=alike)


def _matching(ignored: str, ids: Sequence[str], others: Sequence[str]) -> Matching:
    key = FORMS[ignored]
    keys = [key(name) for name in ids]
    row_of = {key(name): row for row, name in reversed(list(enumerate(others)))}
    other_N = tuple(row_of.get(name) for name in keys)
    taken = set(other_N)
    return Matching(
        ignored,
        other_N,
        tuple(row for row in range(len(others)) if row not in taken),
        _alike(ids, key) or _alike(others, key),
    )


def _alike(ids: Sequence[str], key: Callable[[str], str]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for name in ids:
        earlier = first.setdefault(key(name), name)
        if earlier != name:
            return (earlier, name)
    return ()


@dataclasses.dataclass(frozen=True)
class IdColumns:
    """The two columns by which the rows of two tables belong together."""

    name: str
    other: str
    matching: Matching


def find_id_columns(
    columns: Mapping[str, Sequence[str]], others: Mapping[str, Sequence[str]]
) -> IdColumns:
    """Find the columns of two tables that have the most ids in common.

    Of equally good pairs, the first one in the order of the columns is found. Columns of classes or
    probabilities, with few different values, are not tried.

    Args:
        columns, others: the candidates by name; columns of the same table have the same length.
    """
    pairs = [
        IdColumns(name, other, match_ids(columns[name], others[other]))
        for name in _varied(columns)
        for other in _varied(others)
    ]
    return max(pairs, key=lambda pair: pair.matching.matches)


def _varied(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The columns with nearly as many different values as the column with most of them.

    Ids may be repeated by mistake, but a column of classes has far fewer values, and it would match
    the column of classes in another table.
    """
    distinct = {name: len(set(values)) for name, values in columns.items()}
    return [name for name, count in distinct.items() if count >= VARIED * max(distinct.values())]


def refuse_bad_ids(name: str, ids: Sequence[str], *, lines: Sequence[int]) -> None:
    """Refuse ids that are empty or occur twice.

    Args:
        name: the name of the table, for the message.
        lines: the line of each row.

    Raises:
        InputError: there are such ids.
    """
    empty = [f"line {line}" for text, line in zip(ids, lines, strict=True) if not text.strip()]
    if empty:
        raise InputError(f"{name}: {len(empty):,} rows have no id{named(empty)}")
    lines_of: dict[str, list[str]] = collections.defaultdict(list)
    for text, line in zip(ids, lines, strict=True):
        lines_of[_plain(text)].append(str(line))
    twice = [
        f"{text} in lines {' and '.join(found)}" for text, found in lines_of.items() if found[1:]
    ]
    if twice:
        raise InputError(
            f"{name}: {len(twice):,} ids occur more than once. Keep one row of each{named(twice)}"
        )


def examples(ids: Sequence[str]) -> str:
    """The first EXAMPLES ids and an ellipsis for more, as part of a message.

    Example:
        >>> examples(["1.png", "2.png", "3.png", "4.png"])
        '1.png, 2.png, 3.png, ...'
    """
    return ", ".join(ids[:EXAMPLES]) + (", ..." if len(ids) > EXAMPLES else "")
