"""Calibration of probabilities: one temperature, and one bias per class.

The values are fitted in `sweeps.results.calibrating`; here they are only applied.

Shapes: N images, K classes.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.metrics import Probs

SMALLEST = 1e-7  # a probability below it counts as it: float32 has 0 for an improbable class


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Probabilities become softmax(log(p) / temperature + bias).

    Attributes:
        temperature: above 1 for a network that is too sure of its predictions.
        bias: one number per class, in units of a logarithm of probability; empty for no bias.

    Example:
        >>> Calibration(2.0).of(np.array([[0.9, 0.1]], dtype=np.float32)).round(2).tolist()
        [[0.75, 0.25]]
    """

    temperature: float = 1.0
    bias: tuple[float, ...] = ()

    def of(self, probs_NK: Probs) -> Probs:
        """Return the calibrated probabilities (N, K) in float32."""
        return softmax(
            logs(probs_NK) / np.float32(self.temperature) + np.asarray(self.bias or 0.0, np.float32)
        )

    def as_json(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return {"temperature": self.temperature, "bias": list(self.bias)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Calibration":
        """Return the calibration that `as_json` described."""
        return cls(float(values["temperature"]), tuple(map(float, values["bias"])))


def logs(probs_NK: Probs) -> npt.NDArray[np.float32]:
    """Return the logarithms of probabilities; a probability below SMALLEST counts as SMALLEST."""
    logs_NK: npt.NDArray[np.float32] = np.log(
        np.maximum(probs_NK, np.float32(SMALLEST)), dtype=np.float32
    )
    return logs_NK


def softmax(logs_NK: npt.NDArray[np.float32]) -> Probs:
    """Return probabilities (N, K) from their logarithms up to a constant per image."""
    powers_NK = np.exp(logs_NK - logs_NK.max(axis=1, keepdims=True))
    probs_NK: Probs = powers_NK / powers_NK.sum(axis=1, keepdims=True)
    return probs_NK
