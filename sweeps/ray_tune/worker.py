"""One trial inside a Ray worker process. A worker is reused: torch stays imported, images stay mapped."""

import contextlib
import dataclasses
import faulthandler
import importlib
import logging
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune

from sweeps.running.attempt import Attempt
from sweeps.running.messages import Assignment, Outcome, OutcomeState, RunTrial, TrialReport
from trainer.files import is_disk_full

logger = logging.getLogger(__name__)

OUTCOME = "outcome"  # key of a trial's last result: the fields of its Outcome as pairs
LOG_LINES = 20  # of a worker's log, for a trial whose process keeps dying
_full: list[int] = []  # bytes that trials of this process did not give back
LOOK_EVERY_S = 0.5  # at the stop file and the attempt file, which may lie on a network


class TuneReporter:
    """A trial's way to the driver through Tune.

    Tune stops a trial by raising SystemExit out of `tune.report`. It is kept as `leave`, to be raised again after the
    trial has tidied up.
    """

    def __init__(self, assignment: Assignment, attempt: Attempt) -> None:
        self._stop_file = assignment.sweep.stop(assignment.driver)
        self._attempt = attempt
        self._looked_at = 0.0
        self._interrupted = False
        self.leave: SystemExit | None = None

    def report(self, report: TrialReport) -> bool:
        """Go on?"""
        try:
            tune.report(dataclasses.asdict(report))
        except SystemExit as error:
            self.leave = error
            return False
        return True

    def interrupted(self) -> bool:
        """Whether the driver has asked all trials to leave, or the trial belongs to another process now."""
        now = time.monotonic()
        if not self._interrupted and now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at, self._interrupted = now, self._stop_file.exists() or not self.owns()
        return self._interrupted

    def owns(self) -> bool:
        """Whether no other process has begun this trial since."""
        return self._attempt.owns()


def warm_up() -> None:
    """Ray calls this in every new worker process, before it has anything to do: torch takes seconds."""
    importlib.import_module("sweeps.running.trial")
    importlib.import_module("trainer.training.memory").settle()


def _leave_process(moved: Path) -> None:
    """Give a trial another process than this one, in which memory is lacking; once.

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
        _leave_process(assignment.files.moved)
    if (
        not assignment.sweep.directory.is_dir()
    ):  # of a node that joined later: the others were asked
        raise FileNotFoundError(
            f"{assignment.sweep_directory}: not visible on {socket.gethostname()}"
        )
    try:
        outcome, leave = _attempt(assignment, run_trial)
    except OSError as error:  # beside the training, which tells by itself
        if not is_disk_full(error, assignment.sweep.directory):
            raise
        outcome, leave = Outcome(OutcomeState.NO_SPACE, reason=str(error)), None
    except Exception:
        with contextlib.suppress(OSError), assignment.files.log.open("a") as log:
            traceback.print_exc(file=log)
        raise
    if outcome.leftover_bytes:
        _full.append(outcome.leftover_bytes)
    if leave is not None:
        raise leave
    # a list of pairs, since Tune flattens mappings; done: saves Tune a round trip
    tune.report({OUTCOME: tuple(dataclasses.asdict(outcome).items()), "done": True})


def _attempt(
    assignment: Assignment, run_trial: RunTrial | None
) -> tuple[Outcome, SystemExit | None]:
    """How it ended, and Tune's order to leave if it gave one."""
    attempt = Attempt.begin(
        assignment.files,
        driver=assignment.driver,
        node=ray.get_runtime_context().get_node_id(),
        is_alive=lambda node: any(
            known["NodeID"] == node and known["Alive"] for known in ray.nodes()
        ),
    )
    reporter = TuneReporter(assignment, attempt)
    if attempt.deaths > assignment.retries:
        outcome = _gave_up(attempt.deaths, assignment.files.log)
    else:
        if run_trial is None:
            from sweeps.running import trial

            run_trial = trial.run_trial
        with _logged(assignment.files.log):
            outcome = run_trial(assignment, reporter)
    with contextlib.suppress(
        OSError
    ):  # it then counts as a death if the trial ever comes back: better than no outcome
        attempt.end()
    return outcome, reporter.leave


def _gave_up(deaths: int, log: Path) -> Outcome:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:] if log.exists() else []
    last = f": {lines[-1].strip()}" if lines else " is empty"
    times = "once" if deaths == 1 else f"{deaths} times"
    reason = f"its worker process died {times} (out of memory?); last line of {log.name}{last}"
    return Outcome(OutcomeState.FAILED, reason=reason, traceback="\n".join(lines))


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Send what this process and its libraries print to a file: it outlives the process, however that ends."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(number) for number in (1, 2)]
    try:
        with path.open("ab", buffering=0) as file:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            faulthandler.enable(2)  # where in Python a segmentation fault was
            yield
    finally:
        with contextlib.suppress(OSError):  # a full disk
            sys.stdout.flush()
            sys.stderr.flush()
        for number, copy in zip((1, 2), before, strict=True):
            os.dup2(copy, number)
            os.close(copy)
