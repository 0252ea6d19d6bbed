"""The mixture: an ensemble's members with their weights, calibrations and the rule that decides.

The order of the steps for an image: each fold model's probabilities (the mean over its views of
test-time augmentation), the member's calibration, the mean over the member's fold models, the mean
over the members by weight, the mixture's calibration; then the decision.

Shapes: M members, N images, K classes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.metrics import Probs
from trainer.prediction.calibration import Calibration
from trainer.prediction.decision import Decision


@dataclasses.dataclass(frozen=True)
class Member:
    """One member of a mixture.

    Attributes:
        name: the member's directory below the runs folder, e.g. "mask/trial-0012", or the name of a
            file of foreign predictions.
        weight: above 0; the weights of a mixture sum to 1.
    """

    name: str
    weight: float
    calibration: Calibration = dataclasses.field(default_factory=Calibration)


@dataclasses.dataclass(frozen=True)
class Mixture:
    """An ensemble, or a single trial, as it predicts.

    Attributes:
        members: ordered by weight, the greatest first.
        calibration: of the mixed probabilities.
    """

    members: tuple[Member, ...]
    calibration: Calibration = dataclasses.field(default_factory=Calibration)
    decision: Decision = dataclasses.field(default_factory=Decision)

    def of(self, probs: Mapping[str, Sequence[Probs]]) -> Probs:
        """Return the mixture's calibrated probabilities (N, K).

        Args:
            probs: for the name of each member the probabilities (N, K) of its fold models, as the
                networks predicted them.
        """
        mixed_NK = np.zeros_like(probs[self.members[0].name][0])
        for member in self.members:
            calibrated = [member.calibration.of(probs_NK) for probs_NK in probs[member.name]]
            mixed_NK += np.float32(member.weight) * mean(calibrated)
        return self.calibration.of(mixed_NK)

    def as_json(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return {
            "members": [
                {
                    "name": member.name,
                    "weight": member.weight,
                    "calibration": member.calibration.as_json(),
                }
                for member in self.members
            ],
            "calibration": self.calibration.as_json(),
            "decision": self.decision.as_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Mixture":
        """Return the mixture that `as_json` described."""
        return cls(
            tuple(
                Member(m["name"], float(m["weight"]), Calibration.from_json(m["calibration"]))
                for m in values["members"]
            ),
            Calibration.from_json(values["calibration"]),
            Decision.from_json(values["decision"]),
        )


def mean(probs: Sequence[Probs]) -> Probs:
    """Return the mean (N, K) of the probabilities of several fold models, in float32."""
    total_NK = probs[0].copy()
    for more_NK in probs[1:]:
        total_NK += more_NK
    total_NK /= np.float32(len(probs))
    return total_NK
