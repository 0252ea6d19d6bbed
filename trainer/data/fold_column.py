"""Read the column that fixes the folds: numbers, or the words `train`, `valid` and `test`."""

import re

import numpy as np
import numpy.typing as npt

from trainer.errors import DataError

ALWAYS_TRAINED = -1  # the "fold" of images that are never held out
HOLDOUT = -2  # the "fold" of images that no fold run sees
TRAIN = ("train", "training")
VALID = ("valid", "val", "validation")
TEST = ("test", "testing", "holdout")
NUMBER = re.compile(r"(?:fold[ _-]?)?(-1|[0-9]{1,3})(?:\.0+)?", re.IGNORECASE)


def read_fold_column(
    source: str, name: str, values: list[str]
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The fold of each row, and notes about how the column was read.

    Folds are numbered from 0 or from 1. `1.0` is accepted because spreadsheets turn 1 into 1.0, and
    so is `fold_1`.
    Images without a fold, with -1 or with the word `train` are always trained on. Images with the
    word `valid` are the one fold that is held out, and no fold run sees images with the word
    `test`. Capitals make no difference to words.

    Args:
        source: the name of the source, for messages.
        name: the name of the column.

    Raises:
        DataError: a value is not a fold, the numbers have a gap, or nothing says what is held out.
    """
    where = f"column {name!r} (folds.column)"
    folds: dict[str, int] = {"": ALWAYS_TRAINED}
    words: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for value in sorted(set(values) - {""}):
        word = _word(value)
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
    numbers = sorted({fold for fold in folds.values() if fold >= 0})
    notes = []
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
    if numbers and numbers[0] == 1 and numbers == list(range(1, len(numbers) + 1)):
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
    for word, fold, meaning in (
        ("train", ALWAYS_TRAINED, "always trained on"),
        ("valid", 0, "held out"),
        ("test", HOLDOUT, "seen by no fold run"),
    ):
        folds |= dict.fromkeys(words[word], fold)
        if words[word]:
            verb = "is" if len(words[word]) == 1 else "are"
            notes.append(f"{where}: {' and '.join(map(repr, words[word]))} {verb} {meaning}")
    return np.array([folds[value] for value in values], dtype=np.int64), notes


def _word(value: str) -> str | None:
    """`train`, `valid` or `test` for a word that means it, else None."""
    text = value.strip().casefold()
    for word, spellings in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        if text in spellings:
            return word
    return None
