"""Stand-ins that work: a learning curve in closed form for training, small real images,
a storage in trouble.
"""

import dataclasses
import math
import statistics
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sweeps.running.messages import Assignment, Outcome, TrialReport, TrialReporter

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from trainer.images.manifest import Manifest

BEST_LR = 3e-3
PENALTY = {"adam": 0.0, "adamw": 0.04, "sgd": 0.12}  # adam is the best optimizer
FOLD_OFFSETS = (-0.02, 0.0, 0.02)  # so the folds' mean is what the parameters are worth
K = len(FOLD_OFFSETS)

CURVE_SPACE = """\
name: curve
method: bayes
metric: {name: valid/f1, goal: maximize}
run_cap: 3
seed: 1
data: {source: photos/train.csv}
folds: {k: 3}
early_terminate: {type: none}
parameters:
  optimizer: {values: [sgd, adamw, adam]}
  lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  epochs: {value: 2}
"""


def curve_score(*, lr: float, optimizer: str, fold: int, epoch: int) -> float:
    """The score after an epoch: half of what is left to learn is learned in each.

    A parabola in the decades from BEST_LR, lowered by the optimizer's penalty; 0.2 at worst.
    """
    worth = max(0.2, 0.9 - PENALTY[optimizer] - 0.1 * math.log10(lr / BEST_LR) ** 2)
    return worth * (1 - 0.5**epoch) + FOLD_OFFSETS[fold]


def curve_trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    """A trial without training, to be used where `sweeps.running.trial.run_trial` is;
    for spaces like CURVE_SPACE.

    It leaves no files: a continued trial starts again at its first fold, as after a lost
    checkpoint.

    Raises:
        ValueError: a parameter, metric or number of epochs that it knows nothing of.
    """
    values, sign = _known(assignment)
    scores: list[float] = []
    for fold in range(K):
        score = 0.0
        for epoch in range(1, values["epochs"] + 1):
            if reporter.interrupted():
                return Outcome("interrupted", tuple(scores))
            score = curve_score(
                lr=values["lr"], optimizer=values["optimizer"], fold=fold, epoch=epoch
            )
            score = score if sign > 0 else 1 - score
            report = TrialReport(
                step=fold * assignment.max_epochs + epoch,
                value=statistics.fmean([*scores, score]),
                fold=fold,
                epoch=epoch,
                epochs=values["epochs"],
                fold_scores=tuple(scores),
            )
            if not reporter.report(report):
                return Outcome("stopped", tuple(scores))
        scores.append(score)
        if fold + 1 < K and not reporter.report(
            dataclasses.replace(report, value=statistics.fmean(scores), fold_scores=tuple(scores))
        ):
            return Outcome("stopped", tuple(scores))
    return Outcome("completed", tuple(scores))


def _known(assignment: Assignment) -> tuple[dict[str, Any], int]:
    values = assignment.values
    if set(values) != {"lr", "optimizer", "epochs", "seed"}:
        raise ValueError(
            f"a learning curve has lr, optimizer, epochs and seed, got {sorted(values)}"
        )
    if (
        values["optimizer"] not in PENALTY
        or values["lr"] <= 0
        or not 1 <= values["epochs"] <= assignment.max_epochs
    ):
        raise ValueError(f"outside the learning curve: {values}")
    if assignment.metric not in ("f1", "loss"):
        raise ValueError(f"a learning curve has f1 and loss (1 - f1), got {assignment.metric!r}")
    return values, 1 if assignment.metric == "f1" else -1


COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])


def write_photos(folder: Path, *, count: int = 60, side: int = 16) -> Path:
    """Write PNG files, noisy squares of three colours that are learnable in an epoch
    or two, and their CSV.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = ["path,label\n"]
    for row in range(count):
        pixels_HWC = COLOURS[row % 3] + rng.normal(0, 40, (side, side, 3))
        Image.fromarray(np.clip(pixels_HWC, 0, 255).astype(np.uint8)).save(
            folder / f"{row:02d}.png"
        )
        lines.append(f"{row:02d}.png,{('red', 'green', 'blue')[row % 3]}\n")
    (folder / "train.csv").write_text("".join(lines))
    return folder / "train.csv"


def manifest_of(source: Path) -> "Manifest":
    """The clean manifest of a CSV or folder."""
    from trainer.data.data_set import read_data_set
    from trainer.data.options import DataOptions

    return read_data_set(DataOptions(source=str(source))).manifest


def hasty_storage(folder: Path) -> "RDBStorage":
    """SQLite in a file of `folder` as ever, except that it does not wait for the disk:
    200 trials take seconds.
    """
    import sqlalchemy as sa

    from sweeps.study.storage import open_storage  # a worker that fakes a trial needs no database

    storage = open_storage(f"sqlite:///{folder}/sweeps.db")
    storage.engine.dispose()
    sa.event.listen(
        storage.engine,
        "connect",
        lambda connection, _: connection.execute("PRAGMA synchronous = OFF"),
    )
    return storage


class TroubledStorage:
    """A storage whose writes can be held up (`open.clear()`) or made
    to fail (`error`); reads always work.
    """

    WRITES = (
        "create_new_trial",
        "set_trial_state_values",
        "set_trial_intermediate_value",
        "set_trial_user_attr",
        "set_study_user_attr",
    )

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.open = threading.Event()
        self.open.set()
        self.error: Exception | None = None
        self.written: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)
        return self._guarded(name, method) if name in self.WRITES else method

    def _guarded(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def write(*args: Any, **options: Any) -> Any:
            assert self.open.wait(timeout=60), "the test forgot to open the storage"
            if self.error is not None:
                raise self.error
            self.written.append((name, args))
            return method(*args, **options)

        return write
