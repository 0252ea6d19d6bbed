"""A driver takes a stored sweep over, whatever the last driver left."""

import dataclasses
import time
from collections.abc import Callable, Iterable

from optuna.trial import TrialState

from sweeps.paths import artifacts_folder
from sweeps.running.asking import STATES, Asking
from sweeps.running.attempt import tries_at
from sweeps.running.deaths import Turn, suspected, turn_of
from sweeps.running.driver import Driver
from sweeps.running.ending import given_up
from sweeps.running.events import Event, Notice, TrialEnded
from sweeps.running.finishing import Finishing, chooser
from sweeps.running.plan import Plan
from sweeps.search.budget import Meter, Spent
from sweeps.search.mirror import Mirror
from sweeps.study.database import PATIENCE_S
from sweeps.study.recorder import Recorder
from sweeps.study.records import BEGUN
from sweeps.study.stored_sweep import StoredSweep


def open_driver(
    plan: Plan,
    sweep: StoredSweep,
    *,
    listener: Callable[[Event], None] = lambda event: None,
    clock: Callable[[], float] = time.monotonic,
    patience_s: float = PATIENCE_S,
    fence: Callable[[], None] = lambda: None,
) -> "Driver":
    """Make a driver for a stored sweep. The caller holds the sweep's lease.

    Trials that a dead driver left RUNNING become interrupted; the new driver hands them out first.
    Those that are suspected of having killed drivers come last, or fail, see `deaths.turn_of`.

    Args:
        listener: gets every event, on the thread that caused the event; must not block. What it
            raises is logged.
        clock: seconds; only differences of its values are used.
        patience_s: how long the storage may fail to answer, in seconds.
        fence: see Recorder.
    """
    fence()
    # stop files of killed drivers, whose workers are gone as well
    for stop_file in plan.files.stops():
        stop_file.unlink(missing_ok=True)
    recovered = sweep.recover()
    record = sweep.record()
    spec = plan.spec.as_begun(record.identity)
    mirror = Mirror(spec, sweep.trials())
    recorder = Recorder(
        sweep,
        on_failed=lambda error: driver.fail(error),
        on_ended=lambda number: driver.ended_elsewhere(number),
        patience_s=patience_s,
        fence=fence,
        store=artifacts_folder(plan.files.directory.parent),
    )
    if record.begun is None:
        recorder.about_sweep(BEGUN, time.time())
    turns = _turns(plan, mirror)
    ended = _give_up(turns[Turn.NEVER], plan, mirror=mirror, recorder=recorder)
    finishing = Finishing(
        spec,
        plan.files,
        mirror,
        recorder,
        known=record.finishes,
        choose=chooser(sweep, record, files=plan.files, goal=spec.metric.goal),
        notify=lambda event: driver.notify(event),
    )
    driver = Driver(
        dataclasses.replace(plan, spec=spec, defaults=record.defaults),
        mirror=mirror,
        recorder=recorder,
        asking=Asking(
            mirror,
            recorder,
            cap=plan.trial_cap,
            finishing=finishing,
            notify=lambda event: driver.notify(event),
            suspects=turns[Turn.ALONE],
        ),
        meter=Meter(Spent(record.elapsed_s, record.gpu_s), gpu=plan.share.gpu, clock=clock),
        listener=listener,
        clock=clock,
    )
    if record.format == 1:
        driver.notify(
            Notice(
                "an earlier version of foldsweep began this sweep and scored otherwise (see its "
                "changelog): new trials cannot be compared exactly with the old ones. A search "
                "space with another name starts afresh"
            )
        )
    if recovered:
        driver.notify(
            Notice(
                f"the last driver died; trials to be continued: {', '.join(map(str, recovered))}"
            )
        )
    for event in ended:
        driver.notify(event)
    if turns[Turn.ALONE]:
        driver.notify(Notice(suspected(turns[Turn.ALONE])))
    return driver


def _turns(plan: Plan, mirror: Mirror) -> dict[Turn, list[int]]:
    """The numbers of the interrupted trials, by the turn that each of them has."""
    turns: dict[Turn, list[int]] = {turn: [] for turn in Turn}
    for trial in mirror.trials():
        if trial.state == TrialState.WAITING:
            tries = tries_at(plan.files.trial(trial.number))
            turns[turn_of(tries, retries=plan.spec.retries)].append(trial.number)
    return turns


def _give_up(
    numbers: Iterable[int], plan: Plan, *, mirror: Mirror, recorder: Recorder
) -> list[TrialEnded]:
    """Record that these interrupted trials have failed, and return the events of their ends."""
    events = []
    for number in numbers:
        files = plan.files.trial(number)
        end = given_up(tries_at(files), files.log)
        mirror.change(number, STATES[end.state], attributes=end.attributes)
        recorder.end(
            number,
            STATES[end.state],
            None,
            dict(end.attributes),
            files=end.files(number, files, plan.draw),
        )
        events.append(TrialEnded(number, end.state, None, end.reason, best=False, seconds=0.0))
    return events
