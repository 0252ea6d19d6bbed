"""The lines of JSON between the driver and the tracker process."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from sweeps.running.events import EpochFinished, Event, FoldFinished, TrialEnded, TrialStarted
from sweeps.space.tracking import TrackerName
from sweeps.tracking.tracker import Epoch


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
        return _line({**dataclasses.asdict(self), "runs": str(self.runs)})

    @classmethod
    def of_line(cls, line: str) -> "Start":
        """Read what `line` made."""
        values = json.loads(line)
        trackers = tuple(values["trackers"])
        return cls(Path(values["runs"]), values["sweep"], values["storage"], trackers)


@dataclasses.dataclass(frozen=True)
class News:
    """A later line: there is news of a trial.

    Attributes:
        epoch: the epoch that the trial reported; None if the records say what is new.
        started: whether the trial was handed to a worker, so that its records are about to come.
    """

    trial: int
    epoch: Epoch | None = None
    started: bool = False

    def line(self) -> str:
        """The line, with its end.

        Example:
            >>> News(7).line()
            '{"trial": 7, "epoch": null, "started": false}\\n'
        """
        return _line(dataclasses.asdict(self))

    @classmethod
    def of_line(cls, line: str) -> "News":
        """Read what `line` made."""
        values = json.loads(line)
        epoch = None if values["epoch"] is None else Epoch(**values["epoch"])
        return cls(values["trial"], epoch, values["started"])


def news_of(event: Event) -> News | None:
    """What trackers are told of an event of the driver; None if it says nothing of a trial."""
    if isinstance(event, EpochFinished):
        told = event.report
        metrics = dict(told.metrics)
        epoch = Epoch(told.fold, told.epoch, told.step, told.time, told.value, metrics)
        return News(event.number, epoch)
    if isinstance(event, TrialStarted | FoldFinished | TrialEnded):
        return News(event.number, started=isinstance(event, TrialStarted))
    return None


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value) + "\n"
