"""What a submission writes into a column for a predicted class: its name, a code or a probability.

The functions are pure.

Shapes: K classes.
"""

import dataclasses
import enum
from collections.abc import Sequence

from sweeps.errors import InputError
from sweeps.shipping.sheets import Sheet
from trainer.data.values import value_key
from trainer.images.manifest import number_of
from trainer.prediction.classes import Classes

SHOWN = 5  # values that a message shows


class Codes(enum.StrEnum):
    """What stands for a class in a label column.

    INDEX is the number of the class in the label map `labels.json`, from 0. PROBABILITY is the
    probability of the second of two classes.
    """

    NAMES = "names"
    INDEX = "index"
    PROBABILITY = "probability"


@dataclasses.dataclass(frozen=True)
class Filling:
    """How a column of a submission is filled in for an image.

    Attributes:
        texts: for each class the text that is written if the class is predicted; or empty.
        probability_of: the class whose probability is written; None with `texts`.
    """

    texts: tuple[str, ...] = ()
    probability_of: int | None = None


def fillings(
    sheet: Sheet, names: Sequence[str], classes: Classes, *, codes: Codes | None = None
) -> tuple[list[Filling], list[str]]:
    """How to fill in the columns `names` of a template, and notes about what was understood.

    The columns are one label column, all or some of the label columns of the training data, or one
    column per class for probabilities.

    Args:
        codes: what stands for a class in label columns; None to see it from the template's values.

    Raises:
        InputError: the columns cannot be understood, or the template has other classes.
    """
    if not names:
        raise InputError(f"{sheet.name}: it has ids only. Add a column for the predicted class")
    by_name = {column.name: column for column in classes.label_columns}
    if classes.parts and set(names) <= set(by_name):
        found: list[Filling] = []
        notes: list[str] = []
        for name in names:
            values = by_name[name].values
            filling, more = _label_column(sheet, name, values, codes)
            if filling.probability_of is not None:
                raise InputError(
                    f"{sheet.name}: column {name!r} of several label columns cannot have "
                    "probabilities. Write --codes names or --codes index"
                )
            of_class = [filling.texts[value] for value in by_name[name].value_of_K.tolist()]
            found.append(Filling(tuple(of_class)))
            notes += more
        return found, notes
    if len(names) == 1:
        filling, notes = _label_column(sheet, names[0], classes.names, codes)
        return [filling], notes
    return _class_columns(sheet, names, classes), []


def _class_columns(sheet: Sheet, names: Sequence[str], classes: Classes) -> list[Filling]:
    """One column per class, called like the class or like its index."""
    at = {value_key(name): label for label, name in enumerate(classes.names)}
    given = [value_key(name) for name in names]
    if set(given) == {str(label) for label in range(len(classes))}:
        at = {str(label): label for label in range(len(classes))}
    there = {at[key] for key in given if key in at}
    missing = [name for label, name in enumerate(classes.names) if label not in there]
    unknown = [name for name, key in zip(names, given, strict=True) if key not in at]
    if missing or unknown:
        lacks = f"; without a column: {_shown(missing)}" if missing else ""
        foreign = f"; no class: {_shown(unknown)}" if unknown else ""
        raise InputError(
            f"{sheet.name}: a template has an id column and one label column, the label columns "
            f"{_shown(classes.columns)}, or one column for each of the {len(classes)} classes"
            f"{lacks}{foreign}"
        )
    return [Filling(probability_of=at[key]) for key in given]


def _label_column(
    sheet: Sheet, column: str, names: Sequence[str], codes: Codes | None
) -> tuple[Filling, list[str]]:
    """How to write one of the classes, or one of the values of a label column, `names`."""
    cells = [cell for cell in dict.fromkeys(sheet.columns[column]) if cell.strip()]
    if codes is None:
        codes = _codes_of(sheet, column, cells, names)
    if codes == Codes.PROBABILITY:
        if len(names) != 2:
            raise InputError(
                f"{sheet.name}: one column {column!r} cannot have the probabilities of "
                f"{len(names)} classes. Give a template with one column per class"
            )
        return Filling(probability_of=1), [
            f"column {column!r} gets the probability of {names[1]!r} (not of {names[0]!r})"
        ]
    if codes == Codes.INDEX:
        texts = tuple(map(str, range(len(names))))
        alike = all(value_key(name) == text for name, text in zip(names, texts, strict=True))
        meaning = [f"{text} is {name!r}" for text, name in zip(texts, names, strict=True)]
        return Filling(texts), [] if alike else [f"column {column!r}: {_listed(meaning)}"]
    spelled = {value_key(cell): cell for cell in cells}
    return Filling(tuple(spelled.get(value_key(name), name) for name in names)), []


def _codes_of(sheet: Sheet, column: str, cells: Sequence[str], names: Sequence[str]) -> Codes:
    """What the values of a template's label column stand for.

    Raises:
        InputError: this is not clear.
    """
    where = f"{sheet.name}: column {column!r}"
    choice = (
        f"Write --codes names ({_shown(names)}) or --codes index (0 to {len(names) - 1}, in the "
        "order of labels.json)"
    )
    known = {value_key(name) for name in names}
    indices = [str(label) for label in range(len(names))]
    if [value_key(name) for name in names] == indices:
        return Codes.INDEX  # which is the name, too
    if not cells:
        raise InputError(f"{where} is empty, so it does not show what a class is called. {choice}")
    are_names = all(value_key(cell) in known for cell in cells)
    are_indices = all(value_key(cell) in indices for cell in cells)
    if are_names and are_indices:
        raise InputError(
            f"{where} has {_shown(cells)}, which may be names of classes or their indices. {choice}"
        )
    if are_names or are_indices:
        return Codes.NAMES if are_names else Codes.INDEX
    if len(names) == 2 and all(_is_share(cell) for cell in cells):
        return Codes.PROBABILITY
    unknown = [cell for cell in cells if value_key(cell) not in known]
    raise InputError(
        f"{where} has values that are no class of this sweep: {_shown(unknown)}. If they are only "
        f"placeholders: {choice[0].lower()}{choice[1:]}"
    )


def _is_share(cell: str) -> bool:
    number = number_of(cell)
    return number is not None and 0 <= number <= 1


def _shown(entries: Sequence[str]) -> str:
    return _listed([repr(entry) for entry in entries])


def _listed(entries: Sequence[str]) -> str:
    more = f", and {len(entries) - SHOWN:,} more" if len(entries) > SHOWN else ""
    return ", ".join(entries[:SHOWN]) + more
