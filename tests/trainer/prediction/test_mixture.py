"""Mixing members."""

import numpy as np
import pytest

from trainer.prediction.calibration import Calibration
from trainer.prediction.decision import Decision
from trainer.prediction.mixture import Member, Mixture, mean

MIXTURE = Mixture(
    (
        Member("mask/trial-0007", 0.75, Calibration(1.5, (0.1, -0.1, 0.0))),
        Member("mask/trial-0003", 0.25, Calibration(0.8)),
    ),
    Calibration(1.1, (0.0, 0.2, 0.0)),
    Decision("f1", (1.0, 1.5, 2.0), (0.3, 0.3, 0.1)),
)


@pytest.fixture
def probs() -> dict[str, list[np.ndarray]]:
    """Two fold models of each member."""
    rng = np.random.default_rng(3)
    return {
        member.name: [rng.dirichlet([1.0] * 3, size=9).astype(np.float32) for _ in range(2)]
        for member in MIXTURE.members
    }


def test_fold_models_are_calibrated_one_by_one_then_averaged_then_weighted(
    probs: dict[str, list[np.ndarray]],
):
    first, second = MIXTURE.members
    mixed = 0.75 * np.mean([first.calibration.of(p) for p in probs[first.name]], axis=0)
    mixed += 0.25 * np.mean([second.calibration.of(p) for p in probs[second.name]], axis=0)
    expected = MIXTURE.calibration.of(mixed.astype(np.float32))
    assert MIXTURE.of(probs) == pytest.approx(expected, abs=1e-6)


def test_the_order_of_what_is_given_is_irrelevant(probs: dict[str, list[np.ndarray]]):
    turned = dict(reversed(probs.items()))
    assert (MIXTURE.of(turned) == MIXTURE.of(probs)).all()


def test_the_given_probabilities_stay_as_they_are(probs: dict[str, list[np.ndarray]]):
    before = {name: [p.copy() for p in parts] for name, parts in probs.items()}
    MIXTURE.of(probs)
    mean(probs[MIXTURE.members[0].name])
    for name, parts in probs.items():
        assert all((p == b).all() for p, b in zip(parts, before[name], strict=True))


def test_json_keeps_every_bit():
    assert Mixture.from_json(MIXTURE.as_json()) == MIXTURE
