"""A trial that trackers are told in tests, and what their programs show of it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from sweeps.running.events import EndState
from sweeps.tracking.tracker import End, Epoch, SweepFacts, Trial

TRIAL = Trial(
    number=7,
    params={"lr": 0.003, "optimizer": "adam"},
    config={"lr": 0.003, "optimizer": "adam", "epochs": 2, "loss_mix": None, "ema": True},
    started=1_790_000_000.0,
)
E = 4  # another trial of the sweep has four epochs
EPOCHS = tuple(
    Epoch(
        fold=fold,
        epoch=epoch,
        step=fold * E + epoch,
        time=1_790_000_000.0 + 60 * (2 * fold + epoch),
        value=0.5 + (2 * fold + epoch) / 32,  # exact in float32, in which TensorBoard stores
        metrics={"f1": 0.5 + epoch / 16, "loss": 1 / 2**epoch, "lr": 0.0078125, "seconds": 60.0},
    )
    for fold in (0, 1)
    for epoch in (1, 2)
)


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a program shows of one trial.

    Attributes:
        steps: the steps of the running mean, in the order of the program.
        values: the running mean at these steps.
        fold_epochs: fold and epoch of every epoch in the curves of the folds.
        ended: how the trial ended; None if the program does not know.
        score: the score that the program compares trials by; None if it has none.
    """

    steps: list[int]
    values: list[float]
    fold_epochs: list[tuple[int, int]]
    ended: EndState | None
    score: float | None


def nothing(folder: Path, number: int) -> Shown:
    """What a program shows that was told nothing."""
    return Shown([], [], [], None, None)


def facts(folder: Path) -> SweepFacts:
    """A sweep with two folds in this folder."""
    return SweepFacts(
        name="mask",
        uuid="12345678-0000-4000-8000-000000000000",
        description="which optimizer?",
        metric="valid/f1",
        goal="maximize",
        k=2,
        max_epochs=E,
        directory=folder,
        spec={"name": "mask", "parameters": {"lr": {"min": 0.001, "max": 0.1}}},
    )


def end(
    state: EndState,
    summary: Mapping[str, float],
    *,
    pictures: Mapping[str, Path] = MappingProxyType({}),
) -> End:
    """The end of the trial."""
    completed = state is EndState.COMPLETED
    return End(
        state=state,
        score=0.625 if completed else None,
        reason="" if completed else "no chance",
        summary=summary,
        pictures=pictures,
        time=1_790_000_000.0 + 300,
    )
