"""Compare two submissions: which rows change, and which one is probably better.

The functions are pure.

Shapes: N images, K classes, D draws.
"""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from sweeps.errors import InputError
from sweeps.results.metric import Metric, Predicted
from sweeps.shipping.answers import (
    SUM_ERROR,
    Ints,
    Pair,
    class_indices,
    classes_of,
    named_classes,
    probabilities_of,
    texts_of,
)
from sweeps.shipping.ids import examples
from sweeps.shipping.sheets import Sheet
from trainer.metrics import Probs
from trainer.prediction.classes import Classes
from trainer.prediction.rows import CLASS
from trainer.seeds import derive

DRAWS = 300
LOOKED_AT = 100  # rows of a submission that show whether it has probabilities


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a submission says of N images: classes, and probabilities if it has them."""

    class_N: Ints
    probs_NK: Probs | None


@dataclasses.dataclass(frozen=True)
class Gain:
    """What the second of two submissions probably gains over the first.

    Attributes:
        expected: the mean difference of the scores; above 0 is better, whatever the metric's goal.
        chance: the chance that the second one is better; an equal score counts half.
    """

    expected: float
    chance: float


def read_answers(pair: Pair, known: Classes | None) -> tuple[Classes, Answers, Answers]:
    """Read both submissions.

    Args:
        known: the classes of the sweep; None for those that occur in the submissions.

    Raises:
        InputError: a submission has other classes, or no labels.
    """
    both = ((pair.first, pair.ids[0], pair.rows), (pair.other, pair.ids[1], pair.other_rows))
    columns = [_label_columns(sheet, ids, known) for sheet, ids, _ in both]
    texts = [
        texts_of(sheet, names, rows) if names else None
        for (sheet, _, rows), names in zip(both, columns, strict=True)
    ]
    classes = known
    if classes is None:
        with_columns = next((both[at] for at in range(2) if texts[at] is None), None)
        if with_columns is not None:
            sheet, ids, _ = with_columns
            names = [name for name in sheet.columns if name not in (ids, CLASS)]
            classes = named_classes(names, columns=["label"])
        else:
            classes = _occurring(pair, *map(list, filter(None, texts)), columns=columns[0])
    answers = []
    for (sheet, _, rows), said in zip(both, texts, strict=True):
        probs_NK = probabilities_of(sheet, rows, classes)
        if said is not None:
            answers.append(Answers(class_indices(sheet, said, classes), probs_NK))
        elif probs_NK is not None:
            answers.append(Answers(probs_NK.argmax(axis=1), probs_NK))
        else:
            raise InputError(
                f"{sheet.name}: its columns are not those of the {len(classes)} classes of the "
                "sweep"
            )
    return classes, answers[0], answers[1]


def changes(first: Answers, second: Answers, classes: Classes) -> list[tuple[str, str, int]]:
    """The class in the first submission, in the second one, and how many images change so."""
    rows = np.flatnonzero(first.class_N != second.class_N)
    pairs = zip(first.class_N[rows].tolist(), second.class_N[rows].tolist(), strict=True)
    counts = collections.Counter(pairs)
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return [(classes.names[a], classes.names[b], count) for (a, b), count in ordered]


def expected_gain(
    first: Answers, second: Answers, probs_NK: Probs, *, metric: Metric, seed: int
) -> Gain:
    """Draw the true classes from calibrated probabilities, and score both submissions.

    The images are drawn alone, although those of a group are often wrong together. With groups the
    chance is therefore nearer to one half than it says.
    """
    differences = []
    ends_NK = probs_NK.cumsum(axis=1)
    ends_NK[:, -1] = np.inf  # sums of float32 may stay below the drawn number
    sides = [Predicted(probs_NK, answers.class_N) for answers in (first, second)]
    for draw in range(DRAWS):
        rng = np.random.default_rng(derive(seed, "true classes", draw))
        labels_N = (ends_NK > rng.random((len(probs_NK), 1), dtype=np.float32)).argmax(axis=1)
        before, after = (metric.score(predicted, labels_N) for predicted in sides)
        differences.append(metric.goal.sign * (after - before))
    gains_D = np.array(differences)
    return Gain(float(gains_D.mean()), float((gains_D > 0).mean() + (gains_D == 0).mean() / 2))


def _occurring(
    pair: Pair, texts: Sequence[str], others: Sequence[str], *, columns: Sequence[str]
) -> Classes:
    if set(texts).isdisjoint(others):
        raise InputError(
            f"{pair.first.name} and {pair.other.name} have no label in common "
            f"({examples(sorted(map(repr, set(texts))))} and "
            f"{examples(sorted(map(repr, set(others))))}). If one has numbers of classes, give "
            "--sweep"
        )
    return classes_of([*texts, *others], columns=columns)


def _label_columns(sheet: Sheet, ids: str, known: Classes | None) -> Sequence[str]:
    """The label columns of a submission; none if its columns are probabilities of classes.

    Raises:
        InputError: it has ids only.
    """
    names = [name for name in sheet.columns if name != ids]
    if not names:
        raise InputError(f"{sheet.name}: it has ids only, and no column of predictions")
    if CLASS in names:
        return [CLASS]
    if known is not None and known.parts and set(names) == set(known.columns):
        return known.columns
    return [] if len(names) > 1 and _are_shares([sheet.columns[name] for name in names]) else names


def _are_shares(columns: Sequence[Sequence[str]]) -> bool:
    """Whether the first rows of columns hold numbers that sum to 1."""
    try:
        sums = [sum(map(float, cells)) for cells in list(zip(*columns, strict=True))[:LOOKED_AT]]
    except ValueError:
        return False
    return all(abs(total - 1) <= SUM_ERROR for total in sums)
