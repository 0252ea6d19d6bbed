"""The trainer's only word to the outside: after every epoch, how it went; the answer is go on or stop."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class EpochReport:
    """One finished epoch of one fold run, scored on the whole held-out fold.

    `metrics` has those of trainer.metrics.METRICS for the held-out fold (and `metric`, the user's own), `train_loss`
    (mean over the epoch's steps), `lr` (at the last step) and `seconds`. `notes` say what a reader of the score should
    know, all of the fold run so far.
    """

    fold: int
    epoch: int
    epochs: int
    metrics: Mapping[str, float]
    notes: tuple[str, ...] = ()


class Reporter(Protocol):
    """What a fold run asks of the world around it.

    `epoch` is called once after each epoch, in order; False ends the fold run for good (it is pruned: its
    checkpoint is removed). `past` tells the epochs that a continued or finished fold run has on disk, in order and
    before it goes on: what was said just before a process died may not have been heard. `interrupted` is polled before
    each optimizer step and must be cheap; True means that the machine is wanted back: the fold run leaves a checkpoint
    and can be continued later. `owns` is asked before anything is written: False means that another process has taken
    the fold run's directory over.
    """

    def epoch(self, report: EpochReport) -> bool:
        """Go on?"""
        ...

    def past(self, report: EpochReport) -> bool:
        """Go on, given an epoch trained earlier?"""
        ...

    def interrupted(self) -> bool:
        """Shall this fold run stop now and be continued later?"""
        ...

    def owns(self) -> bool:
        """May this process still write into the fold run's directory?"""
        ...


class SilentReporter:
    """Says nothing and always goes on."""

    def epoch(self, report: EpochReport) -> bool:
        """Go on."""
        return True

    def past(self, report: EpochReport) -> bool:
        """Go on."""
        return True

    def interrupted(self) -> bool:
        """Never."""
        return False

    def owns(self) -> bool:
        """Always."""
        return True
