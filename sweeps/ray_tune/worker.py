"""One trial inside a Ray worker process. A worker is reused: torch stays imported, images stay mapped."""

import dataclasses
import importlib
import time
from pathlib import Path
from typing import Any

from ray import tune

from sweeps.messages import STOP_FILE, Assignment, RunTrial, TrialReport

OUTCOME = "outcome"  # key of a trial's last result: the fields of its Outcome as pairs
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


def evaluate(config: dict[str, Any], *, run_trial: RunTrial | None) -> None:
    """Tune's trainable: evaluate one assignment and report its outcome as the last result."""
    if run_trial is None:
        from sweeps import trial  # torch: here and not in the driver's process

        run_trial = trial.run_trial
    assignment = Assignment(**config["assignment"])
    reporter = TuneReporter(assignment.sweep_directory)
    outcome = run_trial(assignment, reporter)
    reporter.leave()
    # a list of pairs, since Tune flattens mappings; done: saves Tune a round trip
    tune.report({OUTCOME: tuple(dataclasses.asdict(outcome).items()), "done": True})
