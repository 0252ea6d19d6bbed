"""The lines of JSON between the driver and the tracker process."""

import dataclasses
import enum
import json
from pathlib import Path
from typing import Any

from sweeps.running.events import EpochFinished, Event, FoldFinished, TrialEnded, TrialStarted
from sweeps.space.tracking import TrackerName
from sweeps.tracking.tracker import Epoch

NOTICE = "notice"  # key of a sentence for the user, in a line of the tracker process


@dataclasses.dataclass(frozen=True)
class Start:
    """The first line: which sweep is shown, and where its records are.

    It goes through a pipe, because the URL of the storage may have a password.

    Attributes:
        trackers: names of the trackers that show the sweep.
    """

    runs: Path
    sweep: str
    storage: str
    trackers: tuple[TrackerName, ...]

    def line(self) -> str:
        """The line, with its end."""
        return _line({**vars(self), "runs": str(self.runs)})

    @classmethod
    def of_line(cls, line: str) -> "Start":
        """Read what `line` made."""
        values = json.loads(line)
        trackers = tuple(values["trackers"])
        return cls(Path(values["runs"]), values["sweep"], values["storage"], trackers)


class About(enum.StrEnum):
    """What happened to a trial."""

    STARTED = "started"  # it was handed to a worker, which is about to write its configuration
    EPOCH = "epoch"  # it reported an epoch
    FOLD = "fold"  # a fold run finished, so its curve is in its folder
    ENDED = "ended"  # it ended or was interrupted, which the recorder is about to store


@dataclasses.dataclass(frozen=True)
class News:
    """A later line: there is news of a trial.

    Attributes:
        epoch: the epoch that the trial reported; None unless the news is about one.
        lost: whether news before this one, of whatever trials, was dropped.
    """

    trial: int
    about: About
    epoch: Epoch | None = None
    lost: bool = False

    def line(self) -> str:
        """The line, with its end.

        Example:
            >>> News(7, About.ENDED).line()
            '{"trial": 7, "about": "ended", "epoch": null, "lost": false}\\n'
        """
        # not `asdict`, which copies deeply: the driver's thread pays for this
        epoch = None if self.epoch is None else vars(self.epoch)
        return _line({**vars(self), "epoch": epoch})

    @classmethod
    def of_line(cls, line: str) -> "News":
        """Read what `line` made."""
        values = json.loads(line)
        epoch = None if values["epoch"] is None else Epoch(**values["epoch"])
        return cls(values["trial"], About(values["about"]), epoch, values["lost"])


def news_of(event: Event) -> News | None:
    """What trackers are told of an event of the driver; None if it says nothing of a trial."""
    if isinstance(event, EpochFinished):
        told = event.report
        metrics = dict(told.metrics)
        epoch = Epoch(told.fold, told.epoch, told.step, told.time, told.value, metrics)
        return News(event.number, About.EPOCH, epoch)
    if isinstance(event, TrialStarted):
        return News(event.number, About.STARTED)
    if isinstance(event, FoldFinished):
        return News(event.number, About.FOLD)
    if isinstance(event, TrialEnded):
        return News(event.number, About.ENDED)
    return None


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value) + "\n"
