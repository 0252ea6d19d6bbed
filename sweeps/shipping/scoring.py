"""Score predictions in a table against the truth in another one.

Shapes: N images, K classes.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from sweeps.errors import InputError
from sweeps.shipping.answers import (
    Ints,
    Pair,
    class_indices,
    classes_of,
    label_columns_of,
    named_classes,
    pair_up,
    probabilities_of,
    texts_of,
)
from sweeps.shipping.ids import examples
from sweeps.shipping.sheets import Sheet
from trainer.data.values import value_key
from trainer.metrics import Labels, Probs, f1_per_class, score_fold
from trainer.prediction.classes import Classes
from trainer.prediction.rows import CLASS

OF_CLASSES = ("f1", "accuracy", "balanced_accuracy")  # the metrics that need no probabilities
OF_PROBABILITIES = ("log_loss", "ece")


@dataclasses.dataclass(frozen=True)
class Scores:
    """The metrics of predictions.

    Attributes:
        images: the number of images that were scored.
        classes: the classes; macro-F1 is the mean over all of them.
        metrics: the value of each metric; `log_loss` and `ece` only with probabilities.
        columns: with several label columns, the metrics of each of them.
        f1_per_class: in the order of the classes.
        notes: sentences about what was understood, for the user.
    """

    images: int
    classes: tuple[str, ...]
    metrics: dict[str, float]
    columns: dict[str, dict[str, float]]
    f1_per_class: tuple[float, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The scores as `sweeps score --json` prints them."""
        return dataclasses.asdict(self)


def score_sheets(
    predictions: Sheet,
    truth: Sheet,
    *,
    labels: Sequence[str] = (),
    classes: Classes | None = None,
    common: bool = False,
) -> Scores:
    """Score the predictions for the images of the truth.

    Where a table has both, the predicted classes count for f1, accuracy and balanced accuracy, and
    the probabilities for log_loss and ece. Without predicted classes the most probable ones count.

    Args:
        labels: the label columns; empty for those that both tables have.
        classes: the classes of the label map; None for those that occur.
        common: score only the images that both tables have.

    Raises:
        InputError: the tables do not fit together.
    """
    pair = pair_up(truth, predictions, common=common)
    columns, said_columns = label_columns_of(pair, labels)
    true_texts = texts_of(truth, columns, pair.rows)
    texts = texts_of(predictions, said_columns, pair.other_rows) if said_columns else None
    if classes is None:
        classes = _classes(pair, true_texts, texts, columns=columns, said_columns=said_columns)
    labels_N = class_indices(truth, true_texts, classes)
    probs_NK = probabilities_of(predictions, pair.other_rows, classes)
    if texts is not None:
        class_N = class_indices(predictions, texts, classes)
    else:
        if probs_NK is None:
            raise InputError(
                f"{predictions.name}: it has no column of predicted classes, and not a column of "
                f"probabilities for each of {examples(list(map(repr, classes.names)))}"
            )
        class_N = probs_NK.argmax(axis=1)
    notes = [f"ids are compared without {pair.ignored}"] if pair.ignored else []
    return Scores(
        len(labels_N),
        classes.names,
        _metrics(class_N, probs_NK, labels_N, count=len(classes)),
        _column_metrics(class_N, probs_NK, labels_N, classes),
        tuple(f1_per_class(_sure(class_N, len(classes)), labels_N).tolist()),
        tuple(notes),
    )


def _classes(
    pair: Pair,
    true_texts: Sequence[str],
    texts: Sequence[str] | None,
    *,
    columns: Sequence[str],
    said_columns: Sequence[str],
) -> Classes:
    """The classes that have a column of probabilities; without such columns those that occur."""
    other = pair.other
    left = [name for name in other.columns if name not in (pair.ids[1], CLASS, *said_columns)]
    if len(left) > 1 and set(true_texts) <= set(map(value_key, left)):
        return named_classes(left, columns=columns)
    said = set(texts or map(value_key, left))
    if said.isdisjoint(true_texts):
        raise InputError(
            f"{other.name} has other labels ({examples(sorted(map(repr, said)))}) than "
            f"{pair.first.name} ({examples(sorted(map(repr, set(true_texts))))}). If they are "
            "numbers of classes, give --labels labels.json of the sweep"
        )
    return classes_of([*true_texts, *(texts or ())], columns=columns)


def _metrics(
    class_N: Ints, probs_NK: Probs | None, labels_N: Labels, *, count: int
) -> dict[str, float]:
    of_classes = score_fold(_sure(class_N, count), labels_N)
    scores = {name: of_classes[name] for name in OF_CLASSES}
    if probs_NK is not None:
        of_probabilities = score_fold(probs_NK, labels_N)
        scores |= {name: of_probabilities[name] for name in OF_PROBABILITIES}
    return scores


def _column_metrics(
    class_N: Ints, probs_NK: Probs | None, labels_N: Labels, classes: Classes
) -> dict[str, dict[str, float]]:
    """The metrics of each of several label columns, for the parts of the predicted classes."""
    if not classes.parts:
        return {}
    return {
        column.name: _metrics(
            column.value_of_K[class_N],
            None if probs_NK is None else column.marginal(probs_NK),
            column.value_of_K[labels_N],
            count=len(column.values),
        )
        for column in classes.label_columns
    }


def _sure(class_N: Ints, count: int) -> Probs:
    """Predicted classes as probabilities of 1."""
    sure_NK = np.zeros((len(class_N), count), dtype=np.float32)
    sure_NK[np.arange(len(class_N)), class_N] = 1
    return sure_NK
