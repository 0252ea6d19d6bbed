"""The driver with its trials one after another in this process.

This is for debugging. Tests also compare `ray_tune` with it.
"""

import threading
import time

from sweeps.errors import LeaseLostError
from sweeps.processes import leave_behind
from sweeps.running.asking import Next
from sweeps.running.attempt import Attempt
from sweeps.running.driver import Driver
from sweeps.running.events import Notice
from sweeps.running.messages import Assignment, Outcome, RunTrial, TrialReport
from sweeps.running.patience import left_behind
from sweeps.running.trial import run_trial
from trainer.training.memory import settled

LOOK_EVERY_S = 0.05


def run_local(driver: Driver, *, trial: RunTrial = run_trial) -> None:
    """Evaluate trials until the driver has no more. The caller has entered the driver's `with`.

    A trial that hangs cannot be killed here: it is left behind, and so is its thread.
    """
    with settled():  # without it each trial spends 0.8 s on looking for the memory that it left
        while (assignment := driver.next()) is not Next.FINISHED:
            if assignment is Next.WAIT:
                time.sleep(0.05)
                continue
            assert isinstance(assignment, Assignment)
            attempt = Attempt.begin(
                assignment.files, driver=assignment.driver, alone=assignment.alone
            )
            evaluation = _Evaluation(driver, assignment, attempt, trial)
            evaluation.start()
            try:
                _watch(evaluation, driver)
            finally:
                evaluation.leave()
            outcome = evaluation.result()
            if outcome is None:
                return
            attempt.end()
            driver.finished(assignment.number, outcome)


def _watch(evaluation: "_Evaluation", driver: Driver) -> None:
    """Wait until a trial has ended, or until the grace after a stop is over."""
    while evaluation.is_alive():
        # the time is short, because signal handlers run only between two of these calls
        evaluation.join(timeout=LOOK_EVERY_S)
        for silence in driver.silent():
            driver.notify(
                Notice(
                    f"{silence}. With --local its process cannot be replaced: "
                    "stop the sweep and run it again to continue"
                )
            )
        if evaluation.is_alive() and (left := driver.leave_behind()):
            then = "left behind, to be continued from the last checkpoint"
            driver.notify(Notice(left_behind(left, grace_s=driver.grace_s, then=then)))
            return


class _Evaluation(threading.Thread):
    """Evaluates one trial on its own thread, so that the main thread can handle signals.

    A trial that hangs in a system call would keep the main thread from them.
    """

    def __init__(
        self, driver: Driver, assignment: Assignment, attempt: Attempt, trial: RunTrial
    ) -> None:
        super().__init__(name=f"trial {assignment.number}", daemon=True)
        self.reporter = _DirectReporter(driver, assignment.number, attempt)
        self._assignment = assignment
        self._trial = trial
        self._outcome: Outcome | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._outcome = self._trial(self._assignment, self.reporter)
        except BaseException as error:  # noqa: BLE001 - raised again on the main thread
            self._error = error

    def leave(self) -> None:
        """Let a trial that has not ended write nothing more, and let the process end without it."""
        if self.is_alive():
            self.reporter.left = True
            leave_behind(self)

    def result(self) -> Outcome | None:
        """The trial's outcome; None if it was left before it ended."""
        if self.reporter.left:
            return None
        if self._error is not None:
            raise self._error
        return self._outcome


class _DirectReporter:
    """Passes a trial's reports to a driver in the same process.

    Attributes:
        left: whether the driver no longer waits for the trial, which may then write nothing more.
    """

    def __init__(self, driver: Driver, number: int, attempt: Attempt) -> None:
        self._driver = driver
        self._number = number
        self._attempt = attempt
        self.left = False

    def report(self, report: TrialReport) -> bool:
        return self._driver.epoch(self._number, report)

    def interrupted(self) -> bool:
        return self.left or self._driver.stops(self._number)

    def owns(self) -> bool:
        # nobody may have begun this trial since another driver took over the sweep
        lost = isinstance(self._driver.failure, LeaseLostError)
        return not (self.left or lost) and self._attempt.owns()
