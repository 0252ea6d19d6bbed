"""One trial inside a worker process of Ray.

A worker process evaluates many trials: torch stays imported, and the images stay mapped in memory.
"""

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
from sweeps.running.deaths import last_lines, why_over, why_worker_died, with_last_line
from sweeps.running.messages import Assignment, Outcome, OutcomeState, RunTrial, TrialReport
from trainer.files import is_disk_full

logger = logging.getLogger(__name__)

OUTCOME = "outcome"  # key of a trial's last result: the fields of its Outcome as pairs
# How often the stop file and the attempt file are read. They may be on a network file system.
CHECK_EVERY_S = 0.5
# Memory that a trial of this process did not free. If it is not 0, the next trial needs a new
# process.
leaked_bytes = 0


class TuneReporter:
    """Passes a trial's reports to the driver through Tune.

    Attributes:
        leave: the SystemExit with which Tune stops a trial, or None. `tune.report` raises it. It is
            kept here, and raised again after the trial has removed its superfluous files.
    """

    def __init__(self, assignment: Assignment, attempt: Attempt) -> None:
        self._stop_files = (
            assignment.sweep.stop(assignment.driver),
            assignment.files.stop(assignment.driver),
        )
        self._attempt = attempt
        self._checked_at = 0.0
        self._interrupted = False
        self.leave: SystemExit | None = None

    def report(self, report: TrialReport) -> bool:
        """Send a report; returns True if the trial goes on, False if the trial has to stop."""
        try:
            tune.report(dataclasses.asdict(report))
        except SystemExit as error:
            self.leave = error
            return False
        return True

    def interrupted(self) -> bool:
        """Whether the trial has to stop now and is continued later.

        This is so if the driver has asked this trial or all trials to stop, or if another process
        has begun this trial.
        """
        now = time.monotonic()
        if not self._interrupted and now - self._checked_at >= CHECK_EVERY_S:
            asked = any(file.exists() for file in self._stop_files)
            self._interrupted = asked or not self.owns()
            self._checked_at = now
        return self._interrupted

    def owns(self) -> bool:
        """Whether no other process has begun this trial since this process began it."""
        return self._attempt.owns()


def warm_up() -> None:
    """Import a trial's code in a new worker process, before the process gets its first trial.

    Ray calls this function in every new worker process, because the import of torch takes seconds.
    """
    importlib.import_module("sweeps.running.trial")
    importlib.import_module("trainer.training.memory").settle()


def _leave_process(moved: Path) -> None:
    """End this process, so that Ray evaluates the trial in a process with more free memory.

    This happens at most once per trial. Ray may give the trial to another process that has leaked
    memory as well: then the trial is evaluated there.

    Args:
        moved: the file that marks that the trial has left a process before.
    """
    if not moved.exists():
        logger.warning("this worker's last trial left memory behind: Ray starts another one")
        moved.parent.mkdir(parents=True, exist_ok=True)
        moved.touch()
        os._exit(1)  # Ray evaluates the trial again in another process


def evaluate(config: dict[str, Any], *, run_trial: RunTrial | None) -> None:
    """Tune's trainable: evaluate one assignment and report its outcome as the last result.

    Args:
        config: the trial's configuration in Tune; `assignment` has the fields of an Assignment.
        run_trial: evaluates the assignment; None for `sweeps.running.trial.run_trial`.

    Raises:
        FileNotFoundError: this node does not see the sweep's directory.
        SystemExit: Tune has stopped the trial.
    """
    global leaked_bytes
    assignment = Assignment(**config["assignment"])
    if leaked_bytes:
        _leave_process(assignment.files.moved)
    # only a node that joined after the start can fail here: `probe` has tested all other nodes
    if not assignment.sweep.directory.is_dir():
        raise FileNotFoundError(
            f"{assignment.sweep_directory}: not visible on {socket.gethostname()}"
        )
    try:
        outcome, leave = _attempt(assignment, run_trial)
    # an error outside the training: `run_trial` itself returns an outcome for a full disk
    except OSError as error:
        if not is_disk_full(error, assignment.sweep.directory):
            raise
        outcome = Outcome(OutcomeState.NO_SPACE, reason=str(error))
        leave = None
    except Exception:
        with contextlib.suppress(OSError), assignment.files.log.open("a") as log:
            traceback.print_exc(file=log)
        raise
    if outcome.leftover_bytes:
        leaked_bytes = outcome.leftover_bytes
    if leave is not None:
        raise leave
    # The outcome is a list of pairs, because Tune flattens mappings. `done` saves one more message
    # between Tune and this process.
    tune.report({OUTCOME: tuple(dataclasses.asdict(outcome).items()), "done": True})


def _attempt(
    assignment: Assignment, run_trial: RunTrial | None
) -> tuple[Outcome, SystemExit | None]:
    """Evaluate the assignment as a new attempt.

    Returns:
        The trial's outcome; and the SystemExit of TuneReporter if Tune has stopped the trial.
    """
    attempt = Attempt.begin(
        assignment.files,
        driver=assignment.driver,
        alone=assignment.alone,
        node=ray.get_runtime_context().get_node_id(),
        is_alive=lambda node: any(
            known["NodeID"] == node and known["Alive"] for known in ray.nodes()
        ),
    )
    reporter = TuneReporter(assignment, attempt)
    if attempt.tries.died_alone:
        outcome = _gave_up(why_over(attempt.tries), assignment.files.log)
    elif attempt.deaths > assignment.retries:
        reason = why_worker_died(attempt.deaths, out_of_memory=attempt.out_of_memory)
        outcome = _gave_up(reason, assignment.files.log)
    else:
        if run_trial is None:
            from sweeps.running import trial

            run_trial = trial.run_trial
        with _logged(assignment.files.log):
            outcome = run_trial(assignment, reporter)
    # If the file cannot be written, a later attempt at this trial counts a death that did not
    # happen. This is better than a lost outcome.
    with contextlib.suppress(OSError):
        attempt.end()
    return outcome, reporter.leave


def _gave_up(reason: str, log: Path) -> Outcome:
    """The outcome of a trial that is not tried again, because too many of its processes died."""
    return Outcome(
        OutcomeState.FAILED,
        reason=with_last_line(reason, log),
        traceback="\n".join(last_lines(log)),
    )


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Append what this process and its libraries print to a file.

    The file still exists after the process has ended, even after a crash.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(number) for number in (1, 2)]
    try:
        with path.open("ab", buffering=0) as file:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            faulthandler.enable(2)  # prints the Python stack after a segmentation fault
            yield
    finally:
        with contextlib.suppress(OSError):  # the disk may be full
            sys.stdout.flush()
            sys.stderr.flush()
        for number, copy in zip((1, 2), before, strict=True):
            os.dup2(copy, number)
            os.close(copy)
