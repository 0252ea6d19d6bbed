"""Compare values of labels and groups: one spelling for each value, and values that look alike."""

import collections
import re
import unicodedata
from collections.abc import Hashable, Iterable, Sequence

from trainer.images.manifest import Manifest, composed, number_of

# A whole number as people and pandas write it. Leading zeros, a plus sign and an exponent are
# missing on purpose: such texts are often names (the patient `007`), and no program adds them.
WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")
WORDS_OF_YAML = ("true", "false", "null")
MAX_SHOWN = 5  # values that one message shows


def value_key(value: str) -> str:
    """A text that is equal for all spellings of one value.

    The Unicode form makes no difference, and `3.0` is the value `3`: a missing value turns a column
    of whole numbers into real numbers. `007` and `1e3` are texts like others.

    Example:
        >>> value_key("12.0"), value_key("12"), value_key("012"), value_key("1.50")
        ('12', '12', '012', '1.50')
    """
    text = composed(value)
    whole = WHOLE.fullmatch(text) if "." in text or text == "-0" else None
    if whole is None:
        return text
    return "0" if whole[1] == "-0" else whole[1]


def one_spelling(values: Sequence[str], *, what: str) -> tuple[list[str], list[str]]:
    """Give equal values one spelling.

    A value that has only one spelling keeps it, in the Unicode form NFC. So labels that are all
    written `0.0`, `1.0`, ... keep their names.

    Args:
        values: the values of a column.
        what: what the values are, for the notes: `labels (column 'grade')`.

    Returns:
        The values, and a note for each kind of difference that was removed.
    """
    distinct = dict.fromkeys(values)
    changed = {value: key for value in distinct if (key := value_key(value)) != value}
    spellings: dict[str, list[str]] = {key: [key] for key in changed.values() if key in distinct}
    for value, key in changed.items():
        spellings.setdefault(key, []).append(value)
    names: dict[str, str] = {}
    numbers: list[str] = []
    forms: list[str] = []
    for key, written in sorted(spellings.items(), key=lambda entry: (len(entry[0]), entry[0])):
        texts = list(dict.fromkeys(map(composed, written)))
        if len(texts) > 1:
            numbers.append(" and ".join(sorted(texts, key=lambda text: (len(text), text))))
        if len(texts) < len(written):
            forms.append(repr(texts[0]))
        names |= dict.fromkeys(written, texts[0] if len(texts) == 1 else key)
    notes = []
    if numbers:
        notes.append(f"{what}: {_shown(numbers)} are read as one value each")
    if forms:
        notes.append(
            f"{what}: {_shown(forms)} occur in two Unicode forms (composed and decomposed, as on "
            "a Mac), which are read as one value each"
        )
    return [names.get(value, value) for value in values] if names else list(values), notes


def alike_classes(manifest: Manifest) -> list[str]:
    """Warnings about different classes that look like one.

    They differ only in spaces, capitals or invisible characters, or in the way in which a number is
    written (`7` and `007`).
    """
    columns = {"classes": list(manifest.classes)}
    if manifest.class_parts:
        parts = zip(*manifest.class_parts, strict=True)
        columns = {
            f"values of {name}": list(values)
            for name, values in zip(manifest.label_columns, parts, strict=True)
        }
    return [
        f"{what} that differ only in spaces, capitals or spelling: {_shown(alike)}. "
        "If they mean one class, correct the labels"
        for what, names in columns.items()
        if (alike := _alike(names))
    ]


def alike_groups(groups: Iterable[str]) -> list[str]:
    """A warning about different groups that look like one, as in `alike_classes`."""
    alike = _alike(groups)
    if not alike:
        return []
    return [
        f"groups that differ only in spaces, capitals or spelling: {_shown(alike)}. If they "
        "mean one group, its images may be on both sides of a split: correct the column"
    ]


def _alike(names: Iterable[str]) -> list[str]:
    """The sets of names that look alike, each as a text."""
    sets: dict[Hashable, list[str]] = collections.defaultdict(list)
    for name in sorted(set(names)):
        sets[_look(name)].append(name)
    return [" and ".join(map(repr, alike)) for alike in sets.values() if len(alike) > 1]


def _look(name: str) -> Hashable:
    """A value that is equal for names that look alike."""
    text = name
    if not name.isascii():
        text = "".join(
            letter
            for letter in unicodedata.normalize("NFKC", name)
            if unicodedata.category(letter) != "Cf"  # invisible, such as the zero-width space
        )
    text = "".join(text.casefold().split())
    number = number_of(text)
    return text if number is None else number


def _shown(entries: Sequence[str]) -> str:
    more = f", and {len(entries) - MAX_SHOWN:,} more" if len(entries) > MAX_SHOWN else ""
    return ", ".join(entries[:MAX_SHOWN]) + more


def yaml_name(name: str) -> str:
    """A name as an entry of a list in YAML, where a number or a sign would mean something else.

    Example:
        >>> yaml_name("cat"), yaml_name("7"), yaml_name("a: b"), yaml_name("true")
        ('cat', "'7'", "'a: b'", "'true'")
    """
    plain = re.fullmatch(r"[^\W\d][\w -]*", name) and name.casefold() not in WORDS_OF_YAML
    return name if plain else "'" + name.replace("'", "''") + "'"
