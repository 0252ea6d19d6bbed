"""All decisions of a sweep: what to try next, what to stop, what to record, and when to end.

The driver decides from an in-memory Optuna study that mirrors the stored study. A recorder writes
the decisions to the storage on its own thread. The driver's methods may be called from several
threads. No method waits for the storage longer than `ASK_WAIT_S`, and no method raises because a
trial or the storage failed. This module does not depend on Ray.
"""

import dataclasses
import threading
import time
import uuid
from collections.abc import Callable, Iterable

from optuna.trial import TrialState

from sweeps.errors import InfrastructureError, LeaseLostError
from sweeps.running import shown
from sweeps.running.asking import STATES, Asking, Next, Pending
from sweeps.running.breaker import Breaker
from sweeps.running.ending import FAILED_ELSEWHERE, TO_BE_CONTINUED, End, disk_full, end_of
from sweeps.running.events import (
    EndState,
    EpochFinished,
    Event,
    FoldFinished,
    Notice,
    Snapshot,
    TrialEnded,
    TrialStarted,
)
from sweeps.running.listeners import each_told
from sweeps.running.messages import Assignment, Outcome, OutcomeState, TrialReport
from sweeps.running.patience import Silence
from sweeps.running.plan import Plan
from sweeps.running.stops import Stops
from sweeps.running.under_way import UnderWay
from sweeps.search.budget import Meter, enough
from sweeps.search.mirror import Mirror
from sweeps.study.recorder import Recorder
from sweeps.study.records import (
    BROKEN,
    BUDGET,
    CAP,
    DRIVEN,
    ELAPSED,
    ENDED_ELSEWHERE,
    GPU_SECONDS,
    NOTES,
    finish_of,
)

TICK_S = 1.0
# The time spent is written this often: a killed driver loses at most 15 s of it.
SPENT_EVERY_S = 15.0


class Driver:
    """One sweep in progress: a context manager, made by `open_driver`.

    At the end of the `with` block, trials that still run are recorded as interrupted.

    Attributes:
        grace_s: how long trials have to end after a stop.
        interrupted: whether a user asked to interrupt the running trials.
        failure: the error that ended the sweep early: the infrastructure or the lease is lost.
        breaker: ends the sweep if its trials fail alike.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        mirror: Mirror,
        recorder: Recorder,
        meter: Meter,
        asking: Asking,
        listener: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        self.spec = plan.spec
        self.files = plan.files
        self.grace_s = plan.grace_s
        self.interrupted = False
        self.failure: InfrastructureError | None = None
        self._plan = plan
        self._mirror = mirror
        self._tally = mirror.tally
        self.breaker = Breaker(worked=mirror.tally.worked)
        self._recorder = recorder
        self._meter = meter
        self._listener = each_told(listener)
        self._clock = clock
        self._asking = asking
        self._lock = threading.RLock()
        self._id = uuid.uuid4().hex
        self._stops = Stops(plan.files, driver=self._id, grace_s=plan.grace_s, clock=clock)
        self._running = UnderWay(self.spec, clock, expected_s=plan.expected_trial_s)
        self._last: tuple[float, TrialEnded] | None = None
        self._ended_elsewhere: set[int] = set()
        self._spent_written_at = clock()
        self._draining = False
        self._paused = False
        self._closed = threading.Event()

    def __enter__(self) -> "Driver":
        self._recorder.about_sweep(DRIVEN, time.time())
        self._recorder.about_sweep(CAP, self._asking.cap)
        limits = self.spec.budget.model_dump(include={"hours", "gpu_hours"})
        self._recorder.about_sweep(BUDGET, {**limits, "target": self.spec.metric.target})
        name = f"driver {self.spec.name}"
        threading.Thread(target=self._keep_ticking, name=name, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed.set()
        with self._lock:
            self._stops.every = True
            for number in sorted(self._running.numbers):
                self.finished(number, Outcome(OutcomeState.INTERRUPTED))
            pending = self._asking.pending
            # a pending trial has not begun, so the listener needs no event for its end
            if pending is not None and self._asking.begin(pending):
                self._record_end(pending.number, TO_BE_CONTINUED)
            self._write_spent()
        self._recorder.close()
        self._stops.close()

    def next(self) -> Assignment | Next:
        """A trial to evaluate now. The storage has recorded its start.

        Returns:
            The trial's assignment; WAIT if the caller has to ask again later; FINISHED if this
            driver starts no more trials.
        """
        self.tick()
        with self._lock:
            if self._stops.every or self._draining:
                return Next.FINISHED
            if self._paused:
                return Next.WAIT
            pending = self._asking.next(idle=not self._running)
            if isinstance(pending, Next):
                return pending
        if not pending.is_recorded():
            return Next.WAIT
        with self._lock:
            if self._stops.every or self._draining:
                return Next.FINISHED
            if not self._asking.begin(pending):  # another thread has handed out this trial
                return Next.WAIT
            assignment = self._begin(pending)
            if pending.number in self._ended_elsewhere:
                self._end(pending.number, FAILED_ELSEWHERE)
                return Next.WAIT
            return assignment

    def epoch(self, number: int, report: TrialReport) -> bool:
        """Take a report of a trial and decide whether the trial goes on.

        A worker that was started again repeats its reports. Reports before the last known report
        decide nothing. The last known report is answered once more, because the answer may have
        been lost.

        Returns:
            True if the trial goes on, False if the trial has to stop (the trial is then pruned).
        """
        with self._lock:
            ended = number not in self._running or number in self._ended_elsewhere
            if ended or self._stops.alone(number):
                return False
            self._running.reported(number, report, best=self._tally.best)
            last_step = self._mirror[number].last_step or 0
            if report.step < last_step:
                return True
            if report.fold_finished:
                self.notify(
                    FoldFinished(number, report.fold, self.spec.folds.k, report.fold_scores[-1])
                )
                reason = self._mirror.fold_finished(number, report.fold_scores)
            else:
                if report.step > last_step:
                    self.notify(EpochFinished(number, report))
                    self._mirror.report(number, report.step, report.value)
                    self._recorder.report(number, report.step, report.value)
                reason = self._mirror.stop_reason(number)
            if reason is not None:
                self._stops.answer(number, reason)
            return reason is None

    def finished(self, number: int, outcome: Outcome) -> None:
        """Record that a trial has ended on its worker, whatever its outcome is."""
        with self._lock:
            if number not in self._running:
                return
            self._running.note(number, outcome.notes)
            reason = self._stops.over(number)
            end = end_of(outcome, goal=self.spec.metric.goal, stop_reason=reason)
            if number in self._ended_elsewhere:
                end = FAILED_ELSEWHERE
            if end.state == EndState.COMPLETED:
                k = self.spec.folds.k
                assert len(outcome.fold_scores) == k
                self.notify(FoldFinished(number, k - 1, k, outcome.fold_scores[-1]))
            self._end(number, end)
            # another process took over the trial's directory: evaluate the trial once more
            if end.state == EndState.INTERRUPTED and not self._stops.every:
                self._asking.continue_later(number)
            if outcome.state == OutcomeState.NO_SPACE:
                self.fail(disk_full(self.files.directory, outcome.reason))
        self.tick()

    def silent(self, *, restarted: Iterable[int] = ()) -> list[Silence]:
        """The trials that have not reported for too long, unless a worker has `restarted` them."""
        with self._lock:
            for number in self._running.numbers & set(restarted):
                self._running.restarted(number)
            return [] if self._stops.every else self._running.silent()

    def leave_behind(self) -> list[int]:
        """End the trials that still run when the grace after a stop is over.

        They are interrupted, and the caller, who gets their numbers, has to kill their processes.
        """
        with self._lock:
            left = sorted(self._running.numbers) if self._stops.grace_over else []
            for number in left:
                self.finished(number, Outcome(OutcomeState.INTERRUPTED))
            return left

    def ended_elsewhere(self, number: int) -> None:
        """Stop a trial that another program marked as failed; the sweep goes on.

        The trial ends at its next report. Nothing is asked of it before: the other trials go on.
        """
        with self._lock:
            self._ended_elsewhere.add(number)
            if number in self._running:
                self.notify(Notice(f"trial {number} stops: {ENDED_ELSEWHERE}"))

    def tick(self) -> None:
        """End the sweep at its budget or target, or if its trials fail alike; write the time spent.

        The driver calls this method about once a second, and before and after each trial.
        """
        with self._lock:
            best = None if self._tally.best is None else self._tally.best.value
            reason = self.breaker.notice or enough(self.spec, self._meter.spent(), best=best)
            if reason is not None and not self._stops.every:
                self._stops.interrupt()
                self.notify(Notice(reason))
            if self._clock() - self._spent_written_at >= SPENT_EVERY_S:
                self._write_spent()

    def notify(self, event: Event) -> None:
        """Pass an event on to the listener; what it raises is no reason to stop training."""
        self._listener(event)

    def pause(self, paused: bool) -> None:
        """Start no trial while `paused`; running trials go on."""
        with self._lock:
            self._paused = paused

    def stop_trials(self, numbers: Iterable[int], *, reason: str) -> None:
        """Stop running trials now; they are recorded as pruned, with this reason."""
        with self._lock:
            for number in set(numbers) & self._running.numbers:
                self._stops.order(number, reason)

    def stops(self, number: int) -> bool:
        """Whether a running trial has to stop now."""
        return self._stops.asked(number)

    def drain(self) -> None:
        """Start no more trials; running trials go on to their end."""
        with self._lock:
            self._draining = True

    def stop(self) -> None:
        """Start no more trials; running trials write a checkpoint and end as interrupted."""
        with self._lock:
            self.interrupted = True
            self._stops.interrupt()

    def fail(self, error: InfrastructureError) -> None:
        """End as `stop` does, because of `error`; a lost lease explains all earlier errors."""
        with self._lock:
            lost = isinstance(error, LeaseLostError)
            self.failure = error if lost else self.failure or error
            if lost:
                self._recorder.abandon()
            self._stops.interrupt(on_purpose=False)

    @property
    def drained(self) -> bool:
        """Whether the driver was asked to start no more trials, and no trial was interrupted."""
        return self._draining and not self._stops.every

    @property
    def has_results(self) -> bool:
        """Whether the leaderboard has a trial, trials taken over from another sweep included."""
        return bool(self._tally.states[TrialState.COMPLETE] or self._tally.history)

    @property
    def stopping(self) -> bool:
        """Whether running trials are asked to stop now and to be continued later."""
        return self._stops.every

    @property
    def done(self) -> bool:
        """Whether no trial is running and no trial will be started any more."""
        with self._lock:
            return not self._running and (
                self._stops.every or self._draining or self._asking.exhausted
            )

    def snapshot(self) -> Snapshot:
        """The sweep's progress at this moment."""
        with self._lock:
            now = self._snapshot()
        running = tuple(shown.looked_up(each, self.files) for each in now.running)
        return dataclasses.replace(now, running=running)

    def _snapshot(self) -> Snapshot:
        states = self._tally.states
        best = self._tally.best
        cap, asked = self._asking.cap, self._tally.asked
        running, waiting = len(self._running), self._asking.waiting
        return Snapshot(
            completed=states[TrialState.COMPLETE],
            pruned=states[TrialState.PRUNED],
            failed=states[TrialState.FAIL],
            interrupted=states[TrialState.WAITING],
            repeats=self._tally.taken_over,
            finishes=self._tally.finishes,
            running=self._running.shown(),
            cap=cap,
            k=self.spec.folds.k,
            best_score=None if best is None else best.value,
            best_number=None if best is None else best.number,
            elapsed_s=self._meter.own_s,
            eta_s=None if cap is None else self._running.eta_s(cap - asked + running + waiting),
            phase=shown.phase_of(
                closing=self._closed.is_set(),
                stopping=self._stops.every,
                draining=self._draining,
                exhausted=self._asking.exhausted,
            ),
            by_user=self.interrupted,
            spent_s=self._meter.spent().elapsed_s,
            hours=self.spec.budget.hours,
            gpus=self._plan.share.gpu * running,
            leaders=tuple(map(shown.leader_of, self._tally.leaders)),
            last=self._last,
        )

    def _begin(self, pending: Pending) -> Assignment:
        number = pending.number
        self._meter.started(number)
        trial = self._mirror[number]
        self._running.began(trial, continued=pending.continued)
        self.notify(TrialStarted(number, dict(trial.params), pending.continued, finish_of(trial)))
        return self._plan.assignment(trial, driver=self._id, alone=pending.alone)

    def _end(self, number: int, end: End) -> None:
        notes = self._running.ended(number, counts=end.worked)
        end = dataclasses.replace(end, attributes={**end.attributes, NOTES: notes})
        self._record_end(number, end)
        broken = self.breaker.ended(number, end.state, end.reason, self._mirror[number].params)
        if broken is not None:
            self._recorder.about_sweep(BROKEN, list(broken.trials))
        seconds = self._meter.ended(number)
        best = self._tally.best
        is_best = end.state == EndState.COMPLETED and best is not None and best.number == number
        event = TrialEnded(number, end.state, end.score, end.reason, is_best, seconds)
        self._last = (time.time(), event)
        self.notify(event)

    def _record_end(self, number: int, end: End) -> None:
        attributes = {key: value for key, value in end.attributes.items() if value not in ("", [])}
        state = STATES[end.state]
        self._mirror.change(number, state, score=end.score, attributes=attributes)
        files = end.files(number, self.files.trial(number), self._plan.draw)
        value = self._mirror[number].value
        self._recorder.end(number, state, value, attributes, files=files)

    def _keep_ticking(self) -> None:
        while not self._closed.wait(TICK_S):
            self.tick()

    def _write_spent(self) -> None:
        spent = self._meter.spent()
        self._spent_written_at = self._clock()
        self._recorder.about_sweep(ELAPSED, round(spent.elapsed_s, 1))
        self._recorder.about_sweep(GPU_SECONDS, round(spent.gpu_s, 1))
