"""Decisions: which class is predicted for an image with these probabilities.

A rule is fitted in `sweeps.results.deciding`; here it is only applied.

Shapes: N images, K classes.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.metrics import Probs


@dataclasses.dataclass(frozen=True)
class Decision:
    """The predicted class is the class with the greatest p * scale - offset.

    The rule depends on one image alone. Of equally good classes, the first one is predicted.

    Attributes:
        rule: what the rule makes best: "argmax" (accuracy and all other metrics), "f1" or
            "balanced_accuracy".
        scale, offset: one number per class; empty for "argmax".

    Example:
        >>> probs_NK = np.array([[0.6, 0.4], [0.9, 0.1]], dtype=np.float32)
        >>> Decision().of(probs_NK).tolist()
        [0, 0]
        >>> Decision("balanced_accuracy", scale=(1.0, 2.0), offset=(0.0, 0.0)).of(probs_NK).tolist()
        [1, 0]
    """

    rule: str = "argmax"
    scale: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()

    def of(self, probs_NK: Probs) -> npt.NDArray[np.int64]:
        """Return the index (N) of the predicted class of each image."""
        gains_NK: npt.NDArray[np.floating] = probs_NK
        if self.scale:
            gains_NK = probs_NK * np.asarray(self.scale) - np.asarray(self.offset)  # in float64
        class_N: npt.NDArray[np.int64] = gains_NK.argmax(axis=1)
        return class_N

    def as_json(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return {"rule": self.rule, "scale": list(self.scale), "offset": list(self.offset)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Decision":
        """Return the decision that `as_json` described."""
        scale, offset = (tuple(map(float, values[name])) for name in ("scale", "offset"))
        return cls(str(values["rule"]), scale, offset)
