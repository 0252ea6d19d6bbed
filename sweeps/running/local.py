"""The driver with its trials one after another in this process.

This is for debugging. Tests also compare `ray_tune` with it.
"""

import time

from sweeps.errors import LeaseLostError
from sweeps.running.asking import Next
from sweeps.running.attempt import Attempt
from sweeps.running.driver import Driver
from sweeps.running.messages import Assignment, RunTrial, TrialReport
from sweeps.running.trial import run_trial
from trainer.training.memory import settled


def run_local(driver: Driver, *, trial: RunTrial = run_trial) -> None:
    """Evaluate trials until the driver has no more. The caller has entered the driver's `with`."""
    with settled():  # without it each trial spends 0.8 s on looking for the memory that it left
        while (assignment := driver.next()) is not Next.FINISHED:
            if assignment is Next.WAIT:
                time.sleep(0.05)
                continue
            assert isinstance(assignment, Assignment)
            attempt = Attempt.begin(
                assignment.files, driver=assignment.driver, alone=assignment.alone
            )
            outcome = trial(assignment, _DirectReporter(driver, assignment.number, attempt))
            attempt.end()
            driver.finished(assignment.number, outcome)


class _DirectReporter:
    """Passes a trial's reports to a driver in the same process."""

    def __init__(self, driver: Driver, number: int, attempt: Attempt) -> None:
        self._driver = driver
        self._number = number
        self._attempt = attempt

    def report(self, report: TrialReport) -> bool:
        return self._driver.epoch(self._number, report)

    def interrupted(self) -> bool:
        return self._driver.stops(self._number)

    def owns(self) -> bool:
        # nobody may have begun this trial since another driver took over the sweep
        return self._attempt.owns() and not isinstance(self._driver.failure, LeaseLostError)
