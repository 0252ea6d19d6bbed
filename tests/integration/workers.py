"""What workers do in place of a training, or around one. Imported by Ray's worker processes."""

import dataclasses
import os
import signal

from sweeps.running.messages import Assignment, Outcome, TrialReport, TrialReporter

KILLED = "killed"  # in the trial's directory: its worker has died once


def stay_cold() -> None:
    """What a new worker does in place of importing what a training needs."""


def writes_its_process_id(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    assignment.files.directory.mkdir(parents=True, exist_ok=True)
    (assignment.files.directory / "pid").write_text(str(os.getpid()))
    return Outcome("completed", (0.5, 0.5))


def leaves_memory_behind_twice(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    outcome = writes_its_process_id(assignment, reporter)
    return dataclasses.replace(outcome, leftover_bytes=2**30 if assignment.number < 2 else 0)


def raises_in_trial_1(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    """A training whose code raises: through the real trial,
    with a configuration it cannot build.
    """
    from sweeps.running.trial import run_trial

    if assignment.number == 1:
        assignment.values["backbone"] = "no_such_model"
    return run_trial(assignment, reporter)


class _DiesInFold1:
    """Kills its own process in the last epoch of the second fold, the first time it gets there."""

    def __init__(self, assignment: Assignment, reporter: TrialReporter) -> None:
        self._mark = assignment.files.directory / KILLED
        self._reporter = reporter

    def report(self, report: TrialReport) -> bool:
        if report.fold == 1 and report.epoch == report.epochs and not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self._reporter.report(report)

    def owns(self) -> bool:
        return self._reporter.owns()

    def interrupted(self) -> bool:
        return self._reporter.interrupted()


def dies_once(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    from sweeps.running.trial import run_trial

    return run_trial(assignment, _DiesInFold1(assignment, reporter))


def dies_in_trial_0(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    if assignment.number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome("completed", (0.5, 0.5))


def waits_to_be_interrupted(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    """Reports epoch after epoch until somebody asks it to leave."""
    for step in range(1, 1_000_000):
        if reporter.interrupted():
            return Outcome("interrupted")
        if not reporter.report(TrialReport(step, 0.5, 0, step, 1_000_000)):
            return Outcome("stopped")
    raise AssertionError("nobody interrupted this trial")


def hangs(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    """Reports one epoch and then stands still, as a process that waits for a stale mount."""
    reporter.report(TrialReport(1, 0.5, 0, 1, 2))
    os.kill(os.getpid(), signal.SIGSTOP)
    raise AssertionError("nobody lets this process go on")


def hangs_once(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    mark = assignment.files.directory / "hung"
    if mark.exists():
        return Outcome("completed", (0.5, 0.5))
    mark.touch()
    return hangs(assignment, reporter)
