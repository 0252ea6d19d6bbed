"""The table of predictions without a template: path, class, label columns or probabilities.

Shapes: N images, K classes.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from trainer.errors import DataError
from trainer.metrics import Probs
from trainer.prediction.classes import Classes

PATH = "path"
CLASS = "class"


def prediction_header(classes: Classes, *, probabilities: bool = False) -> tuple[str, ...]:
    """Return the names of the columns of the table.

    With several label columns, each of them follows the class. With `probabilities`, a column for
    each class follows at the end.

    Raises:
        DataError: two columns would have the same name.

    Example:
        >>> prediction_header(Classes(("cat", "dog")), probabilities=True)
        ('path', 'class', 'cat', 'dog')
    """
    columns = classes.columns if classes.parts else ()
    header = (PATH, CLASS, *columns, *(classes.names if probabilities else ()))
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(
            f"the predictions would have two columns {twice[0]!r}: a label column or a class has "
            "this name. Predict without probabilities, or give a template with other names"
        )
    return header


def prediction_rows(
    ids: Sequence[str],
    class_N: npt.NDArray[np.int64],
    probs_NK: Probs,
    *,
    classes: Classes,
    probabilities: bool = False,
) -> Iterator[tuple[str, ...]]:
    """Yield the row of each image below `prediction_header`, in the order of the images."""
    for name, label, probs_K in zip(ids, class_N.tolist(), probs_NK, strict=True):
        parts = classes.parts[label] if classes.parts else ()
        yield (
            name,
            classes.names[label],
            *parts,
            *(number_texts(probs_K) if probabilities else ()),
        )


def number_texts(probs_K: npt.NDArray[np.float32]) -> list[str]:
    """Return probabilities as texts with seven digits, of which a float32 has no more.

    Raises:
        DataError: a probability is not a number.

    Example:
        >>> number_texts(np.array([0.25, 1e-9], dtype=np.float32))
        ['0.25', '1e-09']
    """
    if not np.isfinite(probs_K).all():
        raise DataError(
            "a predicted probability is not a number (NaN or infinite). The fold models that "
            "predicted it are damaged; leave their trial out"
        )
    return [f"{value:.7g}" for value in probs_K.tolist()]
