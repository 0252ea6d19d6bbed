"""The images that an epoch trains on, and their order.

Shapes: N images of the manifest, T images trained on. An epoch draws T images.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

Rows = npt.NDArray[np.int64]


def epoch_rows(
    train_rows: Rows, labels_N: Rows, *, sampling: Literal["shuffled", "balanced"], seed: int
) -> Rows:
    """Return the T rows of an epoch in their order, which depends only on `seed`.

    With "shuffled" each of `train_rows` comes once. With "balanced" each of the T draws picks a
    class and then one image of that class, with repetition. All classes in `train_rows` have the
    same probability.
    """
    if sampling == "shuffled":
        order_T = torch.randperm(
            len(train_rows), generator=torch.Generator().manual_seed(seed)
        ).numpy()
        shuffled: Rows = train_rows[order_T]
        return shuffled
    rng = np.random.default_rng(seed)
    by_class = train_rows[np.argsort(labels_N[train_rows], kind="stable")]
    _, start_C, count_C = np.unique(labels_N[by_class], return_index=True, return_counts=True)
    class_T = rng.integers(len(start_C), size=len(train_rows))
    drawn: Rows = by_class[start_C[class_T] + rng.integers(count_C[class_T])]
    return drawn
