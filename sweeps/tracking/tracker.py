"""What a tracker is told: the trials of a sweep, their epochs and how they ended.

A tracker shows a sweep in a program of others: W&B, TensorBoard, MLflow. It lives in the process
`python -m sweeps.tracking`, or in the command `sweeps sync`. Neither the driver nor a worker ever
imports one. What a tracker is told is in our own records, too; so whatever a tracker misses can be
told again later.
"""

import dataclasses
import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sweeps.running.events import EndState
from sweeps.space.spec import result_field


@dataclasses.dataclass(frozen=True)
class SweepFacts:
    """What every tracker knows of its sweep from the start.

    Attributes:
        uuid: identity of the sweep, the same in every process and on every machine.
        description: the question of the sweep, as the search space says it.
        metric: name of the metric as in the search space, such as `valid/f1`.
        goal: `maximize` or `minimize`.
        k: number of folds.
        max_epochs: E, the largest number of epochs of one fold run.
        directory: the sweep's directory, in which a tracker may keep files of its own.
        spec: the content of the search space file after overrides; it has no secrets.
    """

    name: str
    uuid: str
    description: str
    metric: str
    goal: str
    k: int
    max_epochs: int
    directory: Path
    spec: Mapping[str, Any]

    @property
    def field(self) -> str:
        """The key of the metric in the metrics of an epoch: `f1` for `valid/f1`."""
        return result_field(self.metric)


@dataclasses.dataclass(frozen=True)
class Trial:
    """A trial that was trained.

    Attributes:
        number: number of the trial in the sweep.
        params: the values of the parameters that vary, by name.
        config: all fields of the trial's TrainConfig, as JSON-like values; nested ones are nested.
        started: seconds since 1970; None if unknown.
    """

    number: int
    params: Mapping[str, Any]
    config: Mapping[str, Any]
    started: float | None = None


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One finished epoch of one fold run.

    Attributes:
        fold: counts from 0.
        epoch: counts from 1.
        step: fold x E + epoch; increases from epoch to epoch of a trial, with gaps.
        time: when the epoch ended, in seconds since 1970.
        value: mean over the scores of the finished folds and the value of this epoch.
        metrics: the metrics of the epoch, by the names that `curve.csv` has: `f1`, `loss`,
            `train_loss`, `lr`, `seconds` and so on. Only the sweep's own metric is there if the
            fold run never finished and its reports were missed.
    """

    fold: int
    epoch: int
    step: int
    time: float
    value: float
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class End:
    """How a trial ended, or was interrupted.

    Attributes:
        score: the trial's score; None unless the trial is completed.
        reason: why the trial was pruned or failed; else empty.
        summary: numbers that describe the whole trial, as far as they are known: `std`, `oof`,
            `worst_fold`, `seconds`, `images_per_s`, `parameters`, and `fold-0/score` and so on for
            each finished fold.
        pictures: files of pictures that belong to the trial, by name such as `confusion`.
        time: when the trial ended, in seconds since 1970.
    """

    state: EndState
    score: float | None
    reason: str
    summary: Mapping[str, float]
    pictures: Mapping[str, Path]
    time: float


class Command(enum.Enum):
    """What users ask a whole sweep to do, the mildest first."""

    RUN = "run"
    PAUSE = "pause"  # start no trial until the sweep is asked to run again
    DRAIN = "drain"  # start no more trials; running trials go on to their end
    INTERRUPT = "interrupt"  # running trials leave a checkpoint, and the sweep ends


@dataclasses.dataclass(frozen=True)
class Orders:
    """What users ask for in the program of a tracker.

    Attributes:
        stop: numbers of the trials that a user stopped.
    """

    command: Command = Command.RUN
    stop: frozenset[int] = frozenset()


class Tracker(Protocol):
    """Shows a sweep in another program.

    A tracker is told only what the records of the sweep hold. It may be told everything again, by
    another process, after a crash at any moment. It must then show everything exactly once: it
    finds out what its program knows already, and skips that.

    For one trial the calls come in this order: `begin`, the epochs with increasing steps, `end`. A
    trial that was interrupted and goes on is told by another `begin` after its `end`. Several
    trials may be in progress at the same time.

    All calls come from one thread. A call may take as long as the other program takes; nothing
    waits for it but the tracker's own process.

    Every method may raise TrackerError if the other program cannot be reached or refuses. The
    caller then makes a new tracker after a while, and tells it everything again. If the program is
    well, but refuses one trial, the error is TrialRefusedError. Then the caller makes a new tracker
    at once, and tells it everything but that trial. The error may come from a later call than the
    one that told what is refused.
    """

    def begin(self, trial: Trial) -> None:
        """Show that a trial is in progress; or again in progress, if it was interrupted before.

        It is told also for trials that ended long ago. So a tracker should not yet open what is
        expensive here, but at the first call that has news.
        """
        ...

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Show one epoch, unless this or a later step of the trial is shown already."""
        ...

    def end(self, trial: Trial, end: End) -> None:
        """Show how the trial ended, unless that is shown already."""
        ...

    def orders(self) -> Orders:
        """What users ask for at this moment in the other program.

        A tracker without such a thing answers `Orders()`. The caller compares one answer with the
        next: only a change of the command is an order, and the first answer of a process is no
        change. A stopped trial stays in `stop`. The caller asks every few seconds, so a tracker
        whose program must not be asked so often answers from its memory.
        """
        ...

    def close(self) -> None:
        """Hand over what is still in memory, and release everything; a second call does nothing.

        Raises:
            TrackerError: something that was told has not arrived in the other program.
        """
        ...


class NullTracker:
    """The tracker that shows nothing.

    Example:
        >>> NullTracker().orders()
        Orders(command=<Command.RUN: 'run'>, stop=frozenset())
    """

    def begin(self, trial: Trial) -> None:
        """Do nothing."""

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        """Do nothing."""

    def end(self, trial: Trial, end: End) -> None:
        """Do nothing."""

    def orders(self) -> Orders:
        """Nobody can ask for anything."""
        return Orders()

    def close(self) -> None:
        """Do nothing."""
