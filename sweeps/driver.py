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
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InfrastructureError, LeaseLostError
from sweeps.events import EndState, Event, FoldFinished, Notice, Running, Snapshot, TrialEnded, TrialStarted
from sweeps.messages import STOP_FILE, Assignment, Outcome, TrialReport
from sweeps.pruning import stop_reason
from sweeps.sampling import propose, values_of
from sweeps.spec import SweepSpec
from sweeps.study import (
    CAP,
    DRIVEN,
    ELAPSED,
    FOLD_SCORES,
    INTERRUPTED,
    NOTES,
    PATIENCE_S,
    REASON,
    TRACEBACK,
    Recorder,
    StoredSweep,
)
from trainer.seeds import derive

logger = logging.getLogger(__name__)

ASK_WAIT_S = 0.25  # an ask is usually recorded within 10 ms; past this the caller comes back later
ELAPSED_EVERY_S = 60.0


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
        directory: Path,
        device: str,
        trial_cap: int | None,
        streamed: tuple[str, ...] = (),
        listener: Callable[[Event], None] = lambda event: None,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Prepare; nothing is written yet.

        Args:
            directory: the sweep's, absolute, on a path every worker sees.
            trial_cap: trials in all, earlier ones included; None if only the budget ends the sweep.
            streamed: choices of preprocessing (their keys) that workers decode per batch.
            listener: told every event, on the thread that caused it; must not block or raise.
        """
        self.spec, self.directory = spec, directory
        self._sweep, self._device, self._cap, self._streamed = sweep, device, trial_cap, streamed
        self._listener, self._clock, self._patience_s = listener, clock, patience_s
        self._lock = threading.RLock()
        self._memory = InMemoryStorage()
        self._study = optuna.create_study(storage=self._memory, study_name=spec.name, direction=spec.metric.goal)
        self._study_id = self._memory.get_study_id_from_name(spec.name)
        self._pending: _Pending | None = None
        self._running: dict[int, Running] = {}
        self._started_at: dict[int, float] = {}
        self._durations_s: list[float] = []
        self._stop_reasons: dict[int, str] = {}
        self._notes: dict[int, list[str]] = {}
        self._stopping = False
        self.interrupted = False
        self.failure: InfrastructureError | None = None
        self._timer: threading.Timer | None = None

    def __enter__(self) -> "Driver":
        self._opened_at = self._recorded_at = self._clock()
        (self.directory / STOP_FILE).unlink(missing_ok=True)
        recovered = self._sweep.recover()
        self._elapsed_before_s = self._sweep.elapsed_s()
        self._study.add_trials(self._sweep.trials())
        self._waiting = [t.number for t in self._trials() if t.state == TrialState.WAITING]
        self._recorder = Recorder(self._sweep, on_failed=self.fail, patience_s=self._patience_s)
        self._recorder.about_sweep(DRIVEN, time.time())
        self._recorder.about_sweep(CAP, self._cap)
        if recovered:
            self._listener(Notice(f"the last driver died; trials to be continued: {', '.join(map(str, recovered))}"))
        if self.spec.budget.hours is not None:
            left_s = max(0.0, self.spec.budget.hours * 3600 - self._elapsed_before_s)
            self._timer = threading.Timer(left_s, self._out_of_time)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._stopping = True
            for number in list(self._running):
                self.finished(number, Outcome("interrupted"))
            if self._pending is not None:  # never begun: nobody has to be told
                self._record_end(self._pending.number, "interrupted", None, {INTERRUPTED: True})
                self._pending = None
            self._recorder.about_sweep(ELAPSED, round(self._elapsed_s(), 1))
        self._recorder.close()
        (self.directory / STOP_FILE).unlink(missing_ok=True)

    def next(self) -> Assignment | Next:
        """A trial to evaluate now, once its start is recorded."""
        with self._lock:
            if self._time_is_up():
                self._out_of_time()
            if self._stopping:
                return Next.FINISHED
            self._pending = pending = self._pending or self._ask()
        if pending is None:
            return Next.FINISHED
        try:
            pending.recorded.result(timeout=pending.wait_s)
        except concurrent.futures.TimeoutError:
            pending.wait_s = 0.0  # the storage is slow or gone: do not hold up the caller again
            return Next.WAIT
        with self._lock:
            if self._stopping:
                return Next.FINISHED
            return self._begin(pending) if self._pending is pending else Next.WAIT  # another thread was faster

    def epoch(self, number: int, report: TrialReport) -> bool:
        """Take a report; True to go on, False to stop the trial (it is then pruned).

        A report that is already known, as after a resumed fold, decides nothing.
        """
        with self._lock:
            before = self._running.get(number)
            if before is None:
                return False
            if report.fold_scores and report.fold > before.fold and report.epoch == 1:
                self._listener(FoldFinished(number, report.fold - 1, self.spec.folds.k, report.fold_scores[-1]))
            self._running[number] = Running(number, report.fold, report.epoch, report.epochs, report.value)
            self._note(number, report.notes)
            trial = self._trial(number)
            if trial.last_step is not None and report.step <= trial.last_step:
                return True
            self._memory.set_trial_intermediate_value(self._id(number), report.step, report.value)
            self._recorder.report(number, report.step, report.value)
            reason = stop_reason(self._study, self._trial(number), self.spec)
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
                self._listener(FoldFinished(number, len(scores) - 1, self.spec.folds.k, scores[-1]))
                self._end(number, "completed", statistics.fmean(scores), {FOLD_SCORES: scores})
            elif outcome.state == "stopped" or (outcome.state == "interrupted" and number in self._stop_reasons):
                # the second: Ctrl-C came between our word and the worker's answer
                reason = self._stop_reasons.pop(number, "stopped")
                self._end(number, "pruned", None, {FOLD_SCORES: scores, REASON: reason})
            elif outcome.state == "interrupted":
                self._end(number, "interrupted", None, {INTERRUPTED: True})
            else:
                self._end(number, "failed", None, {REASON: outcome.reason, TRACEBACK: outcome.traceback})

    def stop(self) -> None:
        """Start nothing more; running trials leave a checkpoint and end as interrupted."""
        with self._lock:
            self.interrupted = True
            self._drain()

    def fail(self, error: InfrastructureError) -> None:
        """The infrastructure or the lease is gone: end as `stop` does, for `error`."""
        with self._lock:
            self.failure = self.failure or error
            if isinstance(error, LeaseLostError):
                self._recorder.abandon()
            self._drain()

    @property
    def stopping(self) -> bool:
        """Whether running trials are asked to leave."""
        return self._stopping

    @property
    def done(self) -> bool:
        """Nothing runs, and nothing more is to be started."""
        with self._lock:
            more = bool(self._waiting) or self._pending is not None
            more = more or self._cap is None or len(self._trials()) < self._cap
            return not self._running and (self._stopping or not more)

    def snapshot(self) -> Snapshot:
        """Where the sweep stands."""
        with self._lock:
            trials = self._trials()
            count = {state: sum(t.state == state for t in trials) for state in TrialState}
            best = self._best()
            return Snapshot(
                completed=count[TrialState.COMPLETE],
                pruned=count[TrialState.PRUNED],
                failed=count[TrialState.FAIL],
                interrupted=count[TrialState.WAITING],
                running=tuple(self._running[number] for number in sorted(self._running)),
                cap=self._cap,
                k=self.spec.folds.k,
                best_score=None if best is None else best.value,
                best_number=None if best is None else best.number,
                elapsed_s=self._clock() - self._opened_at,
                eta_s=self._eta_s(),
                stopping=self._stopping,
            )

    def _ask(self) -> "_Pending | None":
        """The next trial, on its way into the storage: an interrupted one, else a new one, else None."""
        if self._waiting:
            number = self._waiting.pop(0)
            self._memory.set_trial_state_values(self._id(number), TrialState.RUNNING)
            return _Pending(number, continued=True, recorded=self._recorder.restart(number))
        number = len(self._trials())
        if self._cap is not None and number >= self._cap:
            return None
        trial = propose(self._study, self.spec, number=number)
        assert trial.number == number
        return _Pending(number, continued=False, recorded=self._recorder.start(trial))

    def _begin(self, pending: "_Pending") -> Assignment:
        self._pending = None
        number = pending.number
        self._started_at[number] = self._clock()
        trial = self._trial(number)
        self._running[number] = Running(number, fold=0, epoch=0, epochs=self.spec.max_epochs, value=None)
        self._listener(TrialStarted(number, dict(trial.params), pending.continued))
        return self._assignment(trial)

    def _assignment(self, trial: FrozenTrial) -> Assignment:
        return Assignment(
            number=trial.number,
            values=self._values(trial),
            sweep_directory=str(self.directory),
            metric=self.spec.metric.field,
            max_epochs=self.spec.max_epochs,
            device=self._device,
            threads=self.spec.resources.cpu,
            streamed=self._streamed,
        )

    def _values(self, trial: FrozenTrial) -> dict[str, object]:
        """Fields of TrainConfig: the sampled ones, and what the sweep itself decides."""
        values: dict[str, object] = values_of(self.spec.space, trial.params)
        values["seed"] = derive(self.spec.seed, "trial", trial.number)
        if self.spec.metric.own is not None:
            values |= {"metric": self.spec.metric.own, "metric_goal": self.spec.metric.goal}
        weights = values.get("weights", "none")
        if weights not in ("pretrained", "none"):  # workers have other working directories
            values["weights"] = str(Path(str(weights)).resolve())
        return values

    def _end(self, number: int, state: EndState, score: float | None, attributes: dict[str, object]) -> None:
        self._record_end(number, state, score, {**attributes, NOTES: self._notes.pop(number, [])})
        self._running.pop(number, None)
        seconds = self._clock() - self._started_at.pop(number, self._clock())
        if state in ("completed", "pruned"):
            self._durations_s.append(seconds)
        best = self._best()
        is_best = state == "completed" and best is not None and best.number == number
        self._listener(TrialEnded(number, state, score, str(attributes.get(REASON, "")), is_best, seconds))
        if self._clock() - self._recorded_at > ELAPSED_EVERY_S:
            self._recorded_at = self._clock()
            self._recorder.about_sweep(ELAPSED, round(self._elapsed_s(), 1))

    def _note(self, number: int, notes: Iterable[str]) -> None:
        known = self._notes.setdefault(number, [])
        known += [note for note in notes if note not in known]

    def _record_end(self, number: int, state: EndState, score: float | None, attributes: dict[str, object]) -> None:
        attributes = {key: value for key, value in attributes.items() if value not in ("", [])}
        trial_id = self._id(number)
        for key, value in attributes.items():
            self._memory.set_trial_user_attr(trial_id, key, value)
        self._memory.set_trial_state_values(trial_id, _STATES[state], None if score is None else [score])
        self._recorder.end(number, _STATES[state], score, attributes)

    def _drain(self) -> None:
        if not self._stopping:
            self._stopping = True
            with contextlib.suppress(OSError):  # a full disk: trials then end with their folds
                (self.directory / STOP_FILE).touch()

    def _out_of_time(self) -> None:
        with self._lock:
            if not self._stopping:
                self._listener(Notice(f"the budget of {self.spec.budget.hours} hours is used up"))
                self._drain()

    def _time_is_up(self) -> bool:
        hours = self.spec.budget.hours
        return hours is not None and self._elapsed_s() >= hours * 3600

    def _elapsed_s(self) -> float:
        return self._elapsed_before_s + self._clock() - self._opened_at

    def _eta_s(self) -> float | None:
        if self._cap is None or not self._durations_s:
            return None
        left = self._cap - sum(trial.state.is_finished() for trial in self._trials())
        at_once = max(1, len(self._running))
        return max(0.0, left * statistics.fmean(self._durations_s) / at_once)

    def _best(self) -> FrozenTrial | None:
        done = [t for t in self._trials() if t.state == TrialState.COMPLETE]
        sign = 1 if self.spec.metric.goal == "maximize" else -1
        return max(done, key=lambda t: (sign * t.values[0], -t.number), default=None)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _trial(self, number: int) -> FrozenTrial:
        return self._memory.get_trial(self._id(number))

    def _id(self, number: int) -> int:
        return self._memory.get_trial_id_from_study_id_trial_number(self._study_id, number)
