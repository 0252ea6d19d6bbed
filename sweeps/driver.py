"""All decisions of a sweep: what to try next, what to stop, what to record, when to end. Knows no Ray.

It decides from an in-memory Optuna study that mirrors the stored one; the recorder writes on its own
thread. Its methods may be called from several threads; none waits for the storage longer than
`ASK_WAIT_S`, and none raises because a trial or the storage failed.
"""

import concurrent.futures
import contextlib
import dataclasses
import enum
import logging
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeps.budget import Meter, Spent, enough
from sweeps.database import PATIENCE_S
from sweeps.errors import InfrastructureError, LeaseLostError
from sweeps.events import EndState, Event, FoldFinished, Notice, Running, Snapshot, TrialEnded, TrialStarted
from sweeps.messages import Assignment, Outcome, TrialReport
from sweeps.mirror import Mirror
from sweeps.paths import SweepFiles
from sweeps.records import (
    BUDGET,
    CAP,
    DRIVEN,
    ELAPSED,
    FOLD_SCORES,
    GPU_SECONDS,
    INTERRUPTED,
    NOTES,
    REASON,
    TRACEBACK,
)
from sweeps.records import reason as reason_of
from sweeps.sampling import fields_of
from sweeps.spec import SweepSpec
from sweeps.study import Recorder, StoredSweep

logger = logging.getLogger(__name__)

ASK_WAIT_S = 0.25  # an ask is usually recorded within 10 ms; past this the caller comes back later
TICK_S = 1.0
SPENT_EVERY_S = 15.0  # what a driver has spent is written, so that a killed one takes little along
REPEATS = 20  # results taken over before the caller gets a word in
MOST_REPEATS = 200  # in a row, after which a sampler has nothing new to say
FREE = "Free some space and run the same command again to continue"


class Next(enum.Enum):
    """Answers of `Driver.next` other than a trial."""

    WAIT = "ask again"
    FINISHED = "nothing more to start"


_STATES: dict[EndState, TrialState] = {
    "completed": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "interrupted": TrialState.WAITING,
}
_ENDS: dict[TrialState, EndState] = {state: name for name, state in _STATES.items()}


@dataclasses.dataclass
class _Pending:
    """A trial that starts once the storage knows of it."""

    number: int
    continued: bool
    recorded: concurrent.futures.Future[None]
    wait_s: float = ASK_WAIT_S


class Driver:
    """One sweep in progress; a context manager. The caller holds the sweep's lease.

    On entering, trials that a dead driver left RUNNING become interrupted; they are handed out first. On
    leaving, whatever still runs is recorded as interrupted.
    """

    def __init__(
        self,
        spec: SweepSpec,
        sweep: StoredSweep,
        *,
        files: SweepFiles,
        device: str,
        trial_cap: int | None,
        gpu: float = 0.0,
        threads: int = 1,
        streamed: tuple[str, ...] = (),
        listener: Callable[[Event], None] = lambda event: None,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
        fence: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; nothing is written yet.

        Args:
            files: the sweep's directory, absolute, on a path every worker sees.
            trial_cap: trials in all, earlier ones included; None if only the budget ends the sweep.
            gpu: GPUs, or a share of one, that a trial has.
            threads: torch's CPU threads of a trial.
            streamed: choices of preprocessing (their keys) that workers decode per batch.
            listener: told every event, on the thread that caused it; must not block or raise.
            patience_s: how long the storage may be silent.
            fence: see Recorder.
        """
        self.spec, self.files = spec, files
        self._sweep, self._device, self._cap, self._streamed = sweep, device, trial_cap, streamed
        self._gpu, self._threads, self._fence = gpu, threads, fence
        self._listener, self._clock, self._patience_s = listener, clock, patience_s
        self._lock = threading.RLock()
        self._id_of_driver = uuid.uuid4().hex
        self._stop_file = files.stop(self._id_of_driver)
        self._repeats = 0
        self._pending: _Pending | None = None
        self._running: dict[int, Running] = {}
        self._durations_s: list[float] = []
        self._stop_reasons: dict[int, str] = {}
        self._notes: dict[int, list[str]] = {}
        self._stopping = self._draining = False
        self.interrupted = False
        self.failure: InfrastructureError | None = None
        self._closed = threading.Event()

    def __enter__(self) -> "Driver":
        self._fence()
        for left in self.files.stops():  # by killed drivers; their workers are gone, too
            left.unlink(missing_ok=True)
        recovered = self._sweep.recover()
        record = self._sweep.record()
        before = Spent(record.elapsed_s, record.gpu_s)
        self._meter = Meter(before, gpu=self._gpu, clock=self._clock)
        self._spent_written_at = self._clock()
        self._mirror = Mirror(self.spec, self._sweep.trials())
        self._tally = self._mirror.tally
        self._waiting = [t.number for t in self._mirror.trials() if t.state == TrialState.WAITING]
        self._recorder = Recorder(self._sweep, on_failed=self.fail, patience_s=self._patience_s, fence=self._fence)
        self._recorder.about_sweep(DRIVEN, time.time())
        self._recorder.about_sweep(CAP, self._cap)
        limits = self.spec.budget.model_dump(include={"hours", "gpu_hours"})
        self._recorder.about_sweep(BUDGET, {**limits, "target": self.spec.metric.target})
        if recovered:
            self._tell(Notice(f"the last driver died; trials to be continued: {', '.join(map(str, recovered))}"))
        threading.Thread(target=self._keep_ticking, name=f"driver {self.spec.name}", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        with self._lock:
            self._stopping = True
            for number in list(self._running):
                self.finished(number, Outcome("interrupted"))
            if self._pending is not None:  # never begun: nobody has to be told
                self._record_end(self._pending.number, "interrupted", None, {INTERRUPTED: True})
                self._pending = None
            self._write_spent()
        self._recorder.close()
        self._stop_file.unlink(missing_ok=True)

    def next(self) -> Assignment | Next:
        """A trial to evaluate now, once its start is recorded."""
        self.tick()
        with self._lock:
            if self._stopping or self._draining:
                return Next.FINISHED
            answer = self._pending or self._ask()
            if isinstance(answer, Next):
                return answer
            self._pending = pending = answer
        try:
            pending.recorded.result(timeout=pending.wait_s)
        except concurrent.futures.TimeoutError:
            pending.wait_s = 0.0  # the storage is slow or gone: do not hold up the caller again
            return Next.WAIT
        with self._lock:
            if self._stopping or self._draining:
                return Next.FINISHED
            return self._begin(pending) if self._pending is pending else Next.WAIT  # another thread was faster

    def epoch(self, number: int, report: TrialReport) -> bool:
        """Take a report; True to go on, False to stop the trial (it is then pruned).

        A worker that was started again tells the past again: what came before the last known report decides nothing,
        and that one is answered once more, since the answer may have been lost.
        """
        with self._lock:
            if number not in self._running or number in self._stop_reasons:
                return False
            self._note(number, report.notes)
            self._running[number] = Running(number, report.fold, report.epoch, report.epochs, report.value)
            last_step = self._mirror[number].last_step or 0
            if report.step < last_step:
                return True
            if report.fold_finished:
                self._tell(FoldFinished(number, report.fold, self.spec.folds.k, report.fold_scores[-1]))
                reason = self._mirror.fold_finished(report.fold_scores)
            else:
                if report.step > last_step:
                    self._mirror.report(number, report.step, report.value)
                    self._recorder.report(number, report.step, report.value)
                reason = self._mirror.stop_reason(number)
            if reason is not None:
                self._stop_reasons[number] = reason
            return reason is None

    def finished(self, number: int, outcome: Outcome) -> None:
        """A trial has ended on its worker, in whatever way."""
        with self._lock:
            if number not in self._running:
                return
            scores = list(outcome.fold_scores)
            self._note(number, outcome.notes)
            if outcome.state == "completed":
                assert len(scores) == self.spec.folds.k
                self._tell(FoldFinished(number, len(scores) - 1, self.spec.folds.k, scores[-1]))
                self._end(number, "completed", statistics.fmean(scores), {FOLD_SCORES: scores})
            elif outcome.state == "stopped" or (outcome.state == "interrupted" and number in self._stop_reasons):
                # the second: Ctrl-C came between our word and the worker's answer
                reason = self._stop_reasons.pop(number, "stopped")
                self._end(number, "pruned", None, {FOLD_SCORES: scores, REASON: reason})
            elif outcome.state == "failed":
                self._end(number, "failed", None, {REASON: outcome.reason, TRACEBACK: outcome.traceback})
            else:
                self._end(number, "interrupted", None, {INTERRUPTED: True})
                if not self._stopping:  # its directory was taken from it: once more
                    self._waiting.append(number)
                if outcome.state == "no_space":
                    self.fail(
                        InfrastructureError(f"the disk of {self.files.directory} is full ({outcome.reason}). {FREE}")
                    )
        self.tick()

    def tick(self) -> None:
        """Look at what was spent; called about once a second, and around each trial."""
        with self._lock:
            best = None if self._tally.best is None else self._tally.best.value
            reason = None if self._stopping else enough(self.spec, self._meter.spent(), best=best)
            if reason is not None:
                self._tell(Notice(reason))
                self._interrupt()
            if self._clock() - self._spent_written_at >= SPENT_EVERY_S:
                self._write_spent()

    def drain(self) -> None:
        """Start nothing more; running trials go on to their end."""
        with self._lock:
            self._draining = True

    def stop(self) -> None:
        """Start nothing more; running trials leave a checkpoint and end as interrupted."""
        with self._lock:
            self.interrupted = True
            self._interrupt()

    def fail(self, error: InfrastructureError) -> None:
        """The infrastructure or the lease is gone: end as `stop` does, for `error`."""
        with self._lock:
            self.failure = self.failure or error
            if isinstance(error, LeaseLostError):
                self._recorder.abandon()
            self._interrupt()

    @property
    def drained(self) -> bool:
        """Whether it was asked to start nothing more, and did."""
        return self._draining and not self._stopping

    @property
    def has_results(self) -> bool:
        """Whether the leaderboard has a trial, another sweep's included."""
        return bool(self._tally.states[TrialState.COMPLETE] or self._tally.history)

    @property
    def stopping(self) -> bool:
        """Whether running trials are asked to leave."""
        return self._stopping

    @property
    def done(self) -> bool:
        """Nothing runs, and nothing more is to be started."""
        with self._lock:
            more = bool(self._waiting) or self._pending is not None or self._may_ask()
            return not self._running and (self._stopping or self._draining or not more)

    def snapshot(self) -> Snapshot:
        """Where the sweep stands."""
        with self._lock:
            states, best = self._tally.states, self._tally.best
            return Snapshot(
                completed=states[TrialState.COMPLETE],
                pruned=states[TrialState.PRUNED],
                failed=states[TrialState.FAIL],
                interrupted=states[TrialState.WAITING],
                running=tuple(self._running[number] for number in sorted(self._running)),
                cap=self._cap,
                k=self.spec.folds.k,
                best_score=None if best is None else best.value,
                best_number=None if best is None else best.number,
                elapsed_s=self._meter.own_s,
                eta_s=self._eta_s(),
                stopping=self._stopping or self._draining,
            )

    def _ask(self) -> _Pending | Next:
        """The next trial, on its way into the storage: an interrupted one, else a new one."""
        if self._waiting:
            number = self._waiting.pop(0)
            self._mirror.change(number, TrialState.RUNNING)
            return _Pending(number, continued=True, recorded=self._recorder.restart(number))
        for _ in range(REPEATS):
            if not self._may_ask():
                return Next.FINISHED
            if self._mirror.exhausted():
                self._tell(Notice("every point of the search space has been tried"))
                self._close_asking()
                return Next.FINISHED
            if self._repeats >= MOST_REPEATS:
                self._tell(Notice(f"the last {self._repeats} proposals had all been tried before: nothing new comes"))
                self._close_asking()
                return Next.FINISHED
            trial = self._mirror.propose()
            recorded = self._recorder.start(trial)
            if trial.state == TrialState.RUNNING:
                self._repeats = 0
                return _Pending(trial.number, continued=False, recorded=recorded)
            self._repeats += 1
            score, reason = trial.values[0] if trial.values else None, reason_of(trial)
            self._tell(TrialEnded(trial.number, _ENDS[trial.state], score, reason, best=False, seconds=0.0))
        return Next.WAIT

    def _may_ask(self) -> bool:
        return self._cap is None or self._tally.asked < self._cap

    def _close_asking(self) -> None:
        self._cap = self._tally.asked
        self._recorder.about_sweep(CAP, self._cap)

    def _begin(self, pending: _Pending) -> Assignment:
        self._pending = None
        number = pending.number
        self._meter.started(number)
        trial = self._mirror[number]
        self._running[number] = Running(number, fold=0, epoch=0, epochs=self.spec.max_epochs, value=None)
        self._tell(TrialStarted(number, dict(trial.params), pending.continued))
        return self._assignment(trial)

    def _assignment(self, trial: FrozenTrial) -> Assignment:
        return Assignment(
            number=trial.number,
            values=fields_of(self.spec, trial),
            sweep_directory=str(self.files.directory),
            metric=self.spec.metric.field,
            max_epochs=self.spec.max_epochs,
            device=self._device,
            threads=self._threads,
            streamed=self._streamed,
            driver=self._id_of_driver,
            retries=self.spec.retries,
            reported=trial.last_step or 0,
        )

    def _end(self, number: int, state: EndState, score: float | None, attributes: dict[str, Any]) -> None:
        self._record_end(number, state, score, {**attributes, NOTES: self._notes.pop(number, [])})
        self._running.pop(number, None)
        seconds = self._meter.ended(number)
        if state in ("completed", "pruned"):
            self._durations_s.append(seconds)
        best = self._tally.best
        is_best = state == "completed" and best is not None and best.number == number
        self._tell(TrialEnded(number, state, score, str(attributes.get(REASON, "")), is_best, seconds))

    def _tell(self, event: Event) -> None:
        # a terminal or a pipe that is gone is no reason to stop training
        with contextlib.suppress(OSError, ValueError):
            self._listener(event)

    def _note(self, number: int, notes: Iterable[str]) -> None:
        known = self._notes.setdefault(number, [])
        known += [note for note in notes if note not in known]

    def _record_end(self, number: int, state: EndState, score: float | None, attributes: dict[str, Any]) -> None:
        attributes = {key: value for key, value in attributes.items() if value not in ("", [])}
        self._mirror.change(number, _STATES[state], score=score, attributes=attributes)
        self._recorder.end(number, _STATES[state], score, attributes)

    def _interrupt(self) -> None:
        if not self._stopping:
            self._stopping = True
            with contextlib.suppress(OSError):  # a full disk: trials then end with their folds
                self._stop_file.touch()

    def _keep_ticking(self) -> None:
        while not self._closed.wait(TICK_S):
            self.tick()

    def _write_spent(self) -> None:
        spent, self._spent_written_at = self._meter.spent(), self._clock()
        self._recorder.about_sweep(ELAPSED, round(spent.elapsed_s, 1))
        self._recorder.about_sweep(GPU_SECONDS, round(spent.gpu_s, 1))

    def _eta_s(self) -> float | None:
        if self._cap is None or not self._durations_s:
            return None
        left = self._cap - self._tally.asked + len(self._running) + len(self._waiting)
        return max(0.0, left * statistics.fmean(self._durations_s) / max(1, len(self._running)))
