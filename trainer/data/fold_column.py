"""Read the column that fixes the folds: numbers, or the words `train`, `valid` and `test`."""

import re

import numpy as np
import numpy.typing as npt

from trainer.data.part_words import role_of
from trainer.errors import DataError

ALWAYS_TRAINED = -1  # the "fold" of images that are never held out
HOLDOUT = -2  # the "fold" of images that no fold run sees
MEANINGS = (
    ("train", ALWAYS_TRAINED, "always trained on"),
    ("valid", 0, "held out"),
    ("test", HOLDOUT, "seen by no fold run"),
)
NUMBER = re.compile(r"(?:fold[ _-]?)?(-1|[0-9]{1,3})(?:\.0+)?", re.IGNORECASE)


def read_fold_column(
    source: str, name: str, values: list[str]
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The fold of each row, and notes about how the column was read.

    Folds are numbered from 0 or from 1. `1.0` is accepted because spreadsheets turn 1 into 1.0, and
    so is `fold_1`. Images without a fold, with -1 or with the word `train` are always trained on.
    Images with the word `valid` are the one fold that is held out, and no fold run sees images with
    the word `test`. `True` and `False` mean such words if the column is called `is_valid` or
    `is_train`. Capitals make no difference.

    Args:
        source: the name of the source, for messages.
        name: the name of the column.

    Raises:
        DataError: a value is not a fold, the numbers have a gap, or nothing says what is held out.
    """
    where = f"column {name!r} (folds.column)"
    folds, words = _parsed(source, name, where, sorted(set(values) - {""}))
    numbers = sorted({fold for fold in folds.values() if fold >= 0})
    if words["valid"] and numbers:
        raise DataError(
            f"{source}: {where} has the number {numbers[0]} and the word {words['valid'][0]!r}. "
            "Number all folds, or write only words"
        )
    if words["test"] and not (words["valid"] or numbers):
        raise DataError(
            f"{source}: {where} has {words['test'][0]!r} and holds no fold out. "
            "Write valid for the images that score the trials; no fold run sees those of test"
        )
    notes = []
    if numbers and numbers == list(range(1, len(numbers) + 1)):
        folds = {value: fold - 1 if fold > 0 else fold for value, fold in folds.items()}
        last = len(numbers) - 1
        numbered = f"1 to {last + 1} become folds 0 to {last}" if last else "1 becomes fold 0"
        notes.append(f"{where} is numbered from 1: {numbered}")
    elif numbers != list(range(len(numbers))):
        gaps = sorted(set(range(numbers[-1])) - set(numbers))
        raise DataError(
            f"{source}: {where} has no fold {', '.join(map(str, gaps[:10]))}, but "
            f"fold {numbers[-1]}. Number the folds from 0 or from 1 without a gap"
        )
    elif numbers == [0, 1] and _asked_for(name) is not None:
        notes.append(
            f"{where}: 0 and 1 are two folds, and each is held out once. If they mean no and yes, "
            "write False and True"
        )
    for word, fold, meaning in MEANINGS:
        folds |= dict.fromkeys(words[word], fold)
        if words[word]:
            verb = "is" if len(words[word]) == 1 else "are"
            notes.append(f"{where}: {' and '.join(map(repr, words[word]))} {verb} {meaning}")
    return np.array([folds[value] for value in values], dtype=np.int64), notes


def _parsed(
    source: str, name: str, where: str, values: list[str]
) -> tuple[dict[str, int], dict[str, list[str]]]:
    """The number of each value that is one, and the values that mean each word.

    Raises:
        DataError: a value is neither a number nor a word.
    """
    folds: dict[str, int] = {"": ALWAYS_TRAINED}
    words: dict[str, list[str]] = {word: [] for word, _, _ in MEANINGS}
    truths = _truths(name, values)
    for value in values:
        word = truths.get(value) or role_of(value)
        if word is not None:
            words[word].append(value)
        elif number := NUMBER.fullmatch(value):
            folds[value] = int(number[1])
        else:
            raise DataError(
                f"{source}: {value!r} in {where} is not a fold. "
                "Folds are whole numbers from 0 or from 1, or the word valid; "
                "empty, -1 or train is always trained on, and test is seen by no fold run"
            )
    return folds, words


def _truths(name: str, values: list[str]) -> dict[str, str]:
    """The word for each of the values `True` and `False` of a column such as `is_valid`.

    The result is empty for other columns and other values.
    """
    role = _asked_for(name)
    if role is None or not {value.casefold() for value in values} <= {"true", "false"}:
        return {}
    other = "valid" if role == "train" else "train"
    return {value: role if value.casefold() == "true" else other for value in values}


def _asked_for(name: str) -> str | None:
    """`train` or `valid` if a column is called like a question for it: `is_valid`, `train`."""
    role = role_of(re.sub(r"^is[ _-]?", "", name.strip(), flags=re.IGNORECASE))
    return role if role in ("train", "valid") else None
