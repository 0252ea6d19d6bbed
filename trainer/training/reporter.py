"""The reporter: a fold run reports every epoch to it, and it decides whether to go on or to stop.

The trainer has no other connection to the code that uses it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Protocol


@dataclasses.dataclass(frozen=True)
class EpochReport:
    """One finished epoch of one fold run, scored on the whole held-out fold; or of one refit.

    Attributes:
        fold: the held-out fold; NO_FOLD (-1) for a refit, which holds none out.
        epoch: the epoch, counted from 1.
        epochs: the number of epochs after which the training ends at the latest.
        metrics: the metrics of trainer.metrics.METRICS for the held-out fold, `metric` if the user
            has a metric function, `train_loss` (mean over the epoch's steps), `lr` (of the last
            step) and `seconds`. A refit has only the last three.
        notes: all messages of the fold run so far that a reader of the score should know.
    """

    fold: int
    epoch: int
    epochs: int
    metrics: Mapping[str, float]
    notes: tuple[str, ...] = ()


class Reporter(Protocol):
    """The interface through which a fold run reports its epochs and learns whether to go on."""

    def epoch(self, report: EpochReport) -> bool:
        """Receive the report of a new epoch and return whether to go on.

        The fold run calls this method once after each epoch, in order. False prunes the fold run:
        it never continues, and its checkpoint is removed.
        """
        ...

    def past(self, report: EpochReport) -> bool:
        """Receive the report of an epoch trained earlier and return whether to go on.

        A continued or finished fold run first reports the epochs that it has on disk, in order,
        because the last reports of a process that died may be lost.
        """
        ...

    def interrupted(self) -> bool:
        """Return whether the fold run must stop now and be continued later.

        The fold run calls this method before each optimizer step, so the method must be fast. True
        means that the node is needed for something else. The fold run then leaves a checkpoint.
        """
        ...

    def owns(self) -> bool:
        """Return whether this process may still write to the directory of the fold run.

        The fold run calls this method before it writes anything. False means that another process
        has taken over the directory.
        """
        ...


class SilentReporter:
    """A reporter that drops every report and never stops a fold run."""

    def epoch(self, report: EpochReport) -> bool:
        """Return True: go on."""
        return True

    def past(self, report: EpochReport) -> bool:
        """Return True: go on."""
        return True

    def interrupted(self) -> bool:
        """Return False: the fold run is never interrupted."""
        return False

    def owns(self) -> bool:
        """Return True: no other process takes over the directory."""
        return True
