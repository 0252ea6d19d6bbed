"""What a rehearsal is asked for and what it answers. Nothing here imports torch.

See `trainer.training.rehearsal`, which rehearses.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from trainer.config import TrainConfig
from trainer.data.folds import Folds


@dataclasses.dataclass(frozen=True)
class Size:
    """How many images a whole fold run trains on and scores, in the mean over the folds."""

    trained: float
    scored: float

    @classmethod
    def of(cls, folds: Folds) -> "Size":
        """The size of the fold runs of these folds."""
        each = range(folds.k)
        return cls(
            statistics.fmean(len(folds.train_rows(fold)) for fold in each),
            statistics.fmean(len(folds.valid_rows(fold)) for fold in each),
        )


@dataclasses.dataclass(frozen=True)
class Order:
    """A rehearsal that a process is asked for.

    Attributes:
        folds_file: a file with the images of the rehearsal, see `excerpt`; fold 0 is held out.
        seconds: how long steps are timed, beyond the first `FEWEST`.
        streamed: keys of the choices of preprocessing that are decoded batch by batch.
        code: the folder of the user functions.
        size: the size of a whole fold run.
    """

    config: TrainConfig
    folds_file: Path
    size: Size
    device: str
    threads: int
    seconds: float
    code: Path
    streamed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rehearsed:
    """What a rehearsal measured.

    Attributes:
        start_s: seconds to build network, optimizer and inputs, and to warm up.
        once_s: seconds of what a whole fold run does once with all its images: the features of a
            frozen backbone. Otherwise 0.
        image_s: seconds of a step per image, loading and augmentation included.
        look_s: seconds of scoring per image that goes through the network.
        epoch_s: seconds of an epoch besides steps and scoring.
        end_s: seconds to write the files of the result.
        steps: number of the steps that were timed.
        has_statistics: whether batch norms are trained, whose statistics scoring measures anew.
        memory_bytes: the peak of the memory, see `Memory`.
        memory_kind: whose peak it is.
        notes: messages about batches that were split because they did not fit into memory.
    """

    start_s: float
    once_s: float
    image_s: float
    look_s: float
    epoch_s: float
    end_s: float
    steps: int
    has_statistics: bool
    memory_bytes: int
    memory_kind: str
    notes: tuple[str, ...] = ()

    @classmethod
    def mean(cls, several: Sequence["Rehearsed"]) -> "Rehearsed":
        """The mean of the times of several rehearsals, and the largest peak of their memory."""
        return dataclasses.replace(
            max(several, key=lambda one: one.memory_bytes),
            start_s=statistics.fmean(one.start_s for one in several),
            once_s=statistics.fmean(one.once_s for one in several),
            image_s=statistics.fmean(one.image_s for one in several),
            look_s=statistics.fmean(one.look_s for one in several),
            epoch_s=statistics.fmean(one.epoch_s for one in several),
            end_s=statistics.fmean(one.end_s for one in several),
            steps=sum(one.steps for one in several),
            notes=tuple(dict.fromkeys(note for one in several for note in one.notes)),
        )

    def at_size(self, ratio: float) -> "Rehearsed":
        """The estimate for images with `ratio` times as many pixels."""
        return dataclasses.replace(
            self,
            once_s=self.once_s * ratio,
            image_s=self.image_s * ratio,
            look_s=self.look_s * ratio,
        )


Reason = Literal["memory", "loss", "configuration", "error"]


@dataclasses.dataclass(frozen=True)
class Refused:
    """A rehearsal that failed, as the trial would.

    Attributes:
        reason: `memory`: it does not fit; `loss`: a loss is not finite; `configuration`: an error
            that the trainer explains; `error`: any other.
    """

    reason: Reason
    text: str


@dataclasses.dataclass(frozen=True)
class Gpus:
    """The GPUs of this machine, which are taken to be alike."""

    count: int
    name: str
    memory_bytes: int


Outcome = Rehearsed | Refused
