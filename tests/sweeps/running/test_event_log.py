"""The log of a sweep's events."""

import datetime
from pathlib import Path

import pytest

from sweeps.errors import InfrastructureError
from sweeps.paths import SweepFiles
from sweeps.running.event_log import EventLog
from sweeps.running.events import (
    EndState,
    EpochFinished,
    Event,
    FoldFinished,
    Notice,
    TrialEnded,
    TrialStarted,
)
from sweeps.running.messages import TrialReport


@pytest.fixture
def files(tmp_path: Path) -> SweepFiles:
    return SweepFiles.of(tmp_path, "mask")


def begin(files: SweepFiles) -> None:
    """Make the directory that of a sweep."""
    files.directory.mkdir(exist_ok=True)
    files.about.write_text("{}")


def lines(files: SweepFiles) -> list[str]:
    """The lines of the log without their times, which are checked."""
    found = []
    for line in files.log.read_text().splitlines():
        time, text = line.split("  ", 1)
        assert datetime.datetime.fromisoformat(time).tzinfo is not None
        found.append(text)
    return found


def test_events_are_lines_but_epochs_are_not(files: SweepFiles):
    begin(files)
    events: list[Event] = [
        Notice("two\nlines"),
        TrialStarted(3, {"lr": 0.00123456}, continued=False),
        EpochFinished(3, TrialReport(1, 0.5, 0, 1, 2, ())),
        FoldFinished(3, 0, 5, 0.75),
        TrialEnded(3, EndState.PRUNED, None, "race: no chance", best=False, seconds=1.0),
    ]
    with EventLog(files) as log:
        for event in events:
            log.notify(event)
        log.images("images decoded", 1, 2)
        log.images("images decoded", 2, 2)
    assert lines(files) == [
        "two lines",
        "trial 3 started  lr=0.00123",
        "trial 3 fold 1/5 scored 0.7500",
        "trial 3 pruned after 1.0 s: race: no chance",
        "images decoded: 2 of 2",
    ]


def test_lines_wait_for_the_directory_and_a_refused_sweep_leaves_none(files: SweepFiles):
    with EventLog(files) as log:
        log.add("early")
        files.directory.mkdir()
        log.add("earlier than the sweep")
        begin(files)
        log.add("late")
    assert lines(files) == ["early", "earlier than the sweep", "late"]
    refused = SweepFiles.of(files.directory.parent, "refused")
    with EventLog(refused) as log:
        log.add("early")
    assert not refused.directory.exists()


def test_later_runs_continue_the_log_and_an_error_is_its_end(files: SweepFiles):
    begin(files)
    with EventLog(files) as log:
        log.add("first run")
    with pytest.raises(InfrastructureError), EventLog(files):
        raise InfrastructureError("the storage does not answer")
    assert lines(files) == ["first run", "ended: the storage does not answer"]


def test_a_disk_that_refuses_lines_ends_nothing(files: SweepFiles):
    begin(files)
    files.log.mkdir()  # no file can be written there
    with EventLog(files) as log:
        log.add("lost")
