"""One trial inside a Ray worker process. A worker is reused: torch stays imported, images stay mapped."""

import dataclasses
import importlib
import logging
import os
import time
from pathlib import Path
from typing import Any

from ray import tune

from sweeps.messages import STOP_FILE, Assignment, RunTrial, TrialReport

logger = logging.getLogger(__name__)

OUTCOME = "outcome"  # key of a trial's last result: the fields of its Outcome as pairs
MOVED_FILE = "moved"  # in a trial's directory: it was sent to another worker process
_full: list[int] = []  # bytes that trials of this process did not give back
LOOK_EVERY_S = 0.5  # at the stop file, which may lie on a network


class TuneReporter:
    """A trial's way to the driver through Tune.

    Tune stops a trial by raising SystemExit out of `tune.report`. It is kept and raised again by `leave`,
    after the trial has tidied up.
    """

    def __init__(self, sweep_directory: str) -> None:
        self._stop_file = Path(sweep_directory) / STOP_FILE
        self._looked_at = 0.0
        self._interrupted = False
        self._exit: SystemExit | None = None

    def report(self, report: TrialReport) -> bool:
        """Go on?"""
        try:
            tune.report(dataclasses.asdict(report))
        except SystemExit as error:
            self._exit = error
            return False
        return True

    def interrupted(self) -> bool:
        """Whether the driver has asked all trials to leave."""
        now = time.monotonic()
        if not self._interrupted and now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at, self._interrupted = now, self._stop_file.exists()
        return self._interrupted

    def leave(self) -> None:
        """Let Tune have its SystemExit."""
        if self._exit is not None:
            raise self._exit


def warm_up() -> None:
    """Ray calls this in every new worker process, before it has anything to do: torch takes seconds."""
    importlib.import_module("sweeps.trial")
    importlib.import_module("trainer.memory").settle()


def _leave_process(moved: Path) -> None:
    """Give a trial another process than this one, in which memory is lacking; once, since Ray counts it as a failure.

    Ray may hand it to another worker that is as full: then it has to do.
    """
    if not moved.exists():
        logger.warning("this worker's last trial left memory behind: Ray starts another one")
        moved.parent.mkdir(parents=True, exist_ok=True)
        moved.touch()
        os._exit(1)  # Ray tries the trial again


def evaluate(config: dict[str, Any], *, run_trial: RunTrial | None) -> None:
    """Tune's trainable: evaluate one assignment and report its outcome as the last result."""
    assignment = Assignment(**config["assignment"])
    if _full:
        _leave_process(Path(assignment.directory) / MOVED_FILE)
    if run_trial is None:
        from sweeps import trial  # torch: here and not in the driver's process

        run_trial = trial.run_trial
    reporter = TuneReporter(assignment.sweep_directory)
    outcome = run_trial(assignment, reporter)
    if outcome.leftover_bytes:
        _full.append(outcome.leftover_bytes)
    reporter.leave()
    # a list of pairs, since Tune flattens mappings; done: saves Tune a round trip
    tune.report({OUTCOME: tuple(dataclasses.asdict(outcome).items()), "done": True})
