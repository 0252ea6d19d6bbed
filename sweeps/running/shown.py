"""Trials as the progress of a sweep shows them."""

import dataclasses

from optuna.trial import FrozenTrial

from sweeps.paths import SweepFiles
from sweeps.running.events import Leader, Phase, Running
from sweeps.running.messages import TrialReport
from sweeps.study.records import OOF_SCORE, STD, numbers

STARTING = "starting"
CONTINUING = "continuing"
LOADING = "loading weights"


def leader_of(trial: FrozenTrial) -> Leader:
    """A completed trial as one of the best."""
    known = numbers(trial)
    return Leader(
        trial.number, trial.values[0], known.get(STD), known.get(OOF_SCORE), dict(trial.params)
    )


def after_report(running: Running, report: TrialReport, *, best: FrozenTrial | None) -> Running:
    """A running trial as it is after a report.

    Args:
        best: the best trial so far.
    """
    known = None if best is None else best.intermediate_values.get(report.step)
    return dataclasses.replace(
        running,
        fold=report.fold,
        epoch=report.epoch,
        epochs=report.epochs,
        value=report.value,
        versus_best=None if known is None else report.value - known,
        doing="",
    )


def looked_up(running: Running, files: SweepFiles) -> Running:
    """A running trial, after a look at whether its worker has begun with it.

    A new trial has no file of an attempt until then. One that is continued has an earlier one.
    """
    if running.doing == STARTING and files.trial(running.number).attempt.is_file():
        return dataclasses.replace(running, doing=LOADING)
    return running


def phase_of(*, closing: bool, stopping: bool, draining: bool, exhausted: bool) -> Phase:
    """What a driver does.

    Args:
        exhausted: whether no trial is left to start.
    """
    if closing:
        return Phase.CLOSING
    if stopping:
        return Phase.INTERRUPTING
    if draining:
        return Phase.DRAINING
    return Phase.FINISHING if exhausted else Phase.RUNNING
