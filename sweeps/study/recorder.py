"""The recorder writes to the stored sweep, on its own thread and in the order of the calls.

Therefore no decision of the driver waits for the database. The files of a trial's end are made on
another thread, because pictures take a moment and the start of the next trial does not wait for
them: only the end itself is stored after its files.
"""

import concurrent.futures
import functools
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InfrastructureError, LeaseLostError
from sweeps.study.artifacts import attach
from sweeps.study.database import PATIENCE_S, reason
from sweeps.study.storage import STORAGE_ERRORS
from sweeps.study.stored_sweep import StoredSweep
from sweeps.threads import vital
from trainer.errors import first_line

logger = logging.getLogger(__name__)

CLOSING_S = 10.0  # `close` waits at most this long for a storage that does not answer

Write = Callable[[], None]
MakeFiles = Callable[[], Iterable[Path]]


class Recorder:
    """Writes to the storage, on its own thread and in the order of the calls.

    If the storage does not answer, the recorder repeats the write for `patience_s`. Meanwhile the
    other writes wait in a queue. After `patience_s`, the recorder calls `on_failed` once, from its
    thread, and writes nothing more. The recorder also writes nothing more after `fence` raised
    LeaseLostError. It does not call `on_failed` then, because the lease itself reports its loss.

    A user may mark a running trial as failed in the Optuna dashboard. Then nothing more can be
    stored about this trial: the recorder calls `on_ended` once, from its thread, and skips the
    trial's other writes. Any other end that another program stores is a failure of the recorder.
    """

    def __init__(
        self,
        sweep: StoredSweep,
        *,
        on_failed: Callable[[InfrastructureError], None],
        on_ended: Callable[[int], None] = lambda number: None,
        fence: Callable[[], None] = lambda: None,
        store: Path | None = None,
        patience_s: float = PATIENCE_S,
        retry_every_s: float = 0.5,
    ) -> None:
        """Start the thread.

        Args:
            on_ended: gets the number of a trial that another program marked as failed.
            fence: called before each write, for example `Lease.confirm`. LeaseLostError means that
                another driver has the sweep, and ends all writing. A storage error means that the
                owner of the sweep is unknown; then `fence` is called again.
            store: the folder of the artifact store; None attaches no files.
        """
        self._sweep = sweep
        self._storage = sweep.storage
        self._on_failed = on_failed
        self._on_ended = on_ended
        self._fence = fence
        self._store = store
        self._patience_s = patience_s
        self._retry_every_s = retry_every_s
        self._queue: queue.SimpleQueue[tuple[Write, concurrent.futures.Future[None]] | None] = (
            queue.SimpleQueue()
        )
        self._closing_deadline = math.inf
        self._abandoned = threading.Event()
        self._ended_elsewhere: set[int] = set()
        self._ids = sweep.ids(TrialState.RUNNING, TrialState.WAITING)
        self._making: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._maker = threading.Thread(
            target=self._make, name=f"files of ended trials, {sweep.name}", daemon=True
        )
        self._maker.start()
        self._thread = threading.Thread(
            target=self._work, name=f"recorder {sweep.name}", daemon=True
        )
        self._thread.start()

    def start(
        self, trial: FrozenTrial, *, files: Write = lambda: None
    ) -> "concurrent.futures.Future[None]":
        """Store a new trial with its parameters, attributes and reports.

        The trial is RUNNING, WAITING, or already finished.

        Args:
            files: writes the files that the trial begins with. It is called before the trial is
                stored, so a stored trial always has them, and once more if storing it is tried once
                more. It raises InfrastructureError if it cannot write.

        Returns:
            A future that is done after the write. It is never done if the recorder stops before.
        """

        def write() -> None:
            files()
            self._create(trial)

        return self._submit(write)

    def restart(self, number: int) -> "concurrent.futures.Future[None]":
        """Mark an interrupted trial as RUNNING again; the future is as that of `start`."""
        return self._submit_about(number, lambda: self._set_state(number, TrialState.RUNNING))

    def report(self, number: int, step: int, value: float) -> None:
        """Store the value of one epoch."""
        self._submit_about(
            number,
            lambda: self._storage.set_trial_intermediate_value(self._ids[number], step, value),
        )

    def end(
        self,
        number: int,
        state: TrialState,
        value: float | None,
        attributes: dict[str, Any],
        *,
        files: MakeFiles | None = None,
    ) -> None:
        """Store that a trial is over, or interrupted (state WAITING).

        Args:
            value: the score of a completed trial, or the last report of a pruned trial.
            files: makes the files that explain the end, and yields those that become artifacts of
                the trial. It is called on another thread, and the end is stored after it. If it
                fails, for example on a full disk, the end is stored without the other files.
        """

        def store(paths: Sequence[Path]) -> None:
            for path in paths:
                self._submit_about(number, functools.partial(self._attach, number, path))
            for key, content in attributes.items():
                self._submit_about(
                    number, functools.partial(self._set_attribute, number, key, content)
                )
            values = None if value is None else [value]
            self._submit_about(number, lambda: self._set_state(number, state, values))

        if files is None:
            store(())
        else:
            self._making.put(lambda: store(self._made(files, number)))

    def about_sweep(self, key: str, value: Any) -> None:
        """Store an attribute of the sweep as a whole."""
        self._submit(lambda: self._sweep.write_attribute(key, value))

    def close(self) -> None:
        """Write everything in the queue, then end the threads.

        If the disk or the storage does not answer, this waits at most `CLOSING_S` for each.
        """
        self._making.put(None)
        self._maker.join(CLOSING_S)
        self._closing_deadline = time.monotonic() + CLOSING_S
        self._queue.put(None)
        self._thread.join()

    def _submit(self, write: Write) -> "concurrent.futures.Future[None]":
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._queue.put((write, future))
        return future

    def _submit_about(self, number: int, write: Write) -> "concurrent.futures.Future[None]":
        """Submit a write about a trial; it is left out if another program ended the trial."""

        def unless_ended() -> None:
            if number in self._ended_elsewhere:
                return
            try:
                write()
            except UpdateFinishedTrialError:
                self._find_out(number)

        return self._submit(unless_ended)

    def _find_out(self, number: int) -> None:
        """Find out how another program ended a trial, and report it.

        Raises:
            InfrastructureError: the trial was not marked as failed, but completed or pruned.
        """
        if self._state_of(number) != TrialState.FAIL:
            raise InfrastructureError(
                f"another program ends trials of sweep {self._sweep.name!r}; stopping"
            )
        self._ended_elsewhere.add(number)
        self._on_ended(number)

    def _state_of(self, number: int) -> TrialState:
        return self._storage.get_trial(self._ids[number]).state

    def abandon(self) -> None:
        """Write nothing more, because another driver holds the sweep's lease now."""
        self._abandoned.set()

    def _work(self) -> None:
        with vital("the recorder", on_end=self._on_failed):
            error = self._write_all()
        if error is not None:
            self._on_failed(error)

    def _write_all(self) -> InfrastructureError | None:
        """Write until `close` or `abandon` is called, or until a write fails; return its error."""
        while (item := self._queue.get()) is not None:
            write, future = item
            error = self._write(write)
            if error is not None:
                return error
            if self._abandoned.is_set():
                break
            future.set_result(None)
        return None

    def _write(self, write: Write) -> InfrastructureError | None:
        """Write, and repeat for at most `patience_s`; return the error of a write that failed."""
        began = time.monotonic()
        tries = 0
        while not self._abandoned.is_set():
            try:
                self._fence()
                write()
                if tries:
                    logger.warning("storage: answers again after %.0f s", time.monotonic() - began)
                return None
            except LeaseLostError:
                self.abandon()
            except InfrastructureError as error:
                return error
            except KeyError:
                if not self._is_deleted():
                    raise
                return self._deleted()
            except STORAGE_ERRORS as error:
                if self._is_deleted():
                    return self._deleted()
                message = reason(error)
                if not tries:
                    logger.warning("storage: %s; trying again", message)
                tries += 1
                if time.monotonic() > min(began + self._patience_s, self._closing_deadline):
                    return InfrastructureError(
                        f"the storage of sweep {self._sweep.name!r} cannot be written ({message}). "
                        "Finished folds are on disk; run the same command again to continue"
                    )
                self._abandoned.wait(self._retry_every_s)
        return None

    def _create(self, trial: FrozenTrial) -> None:
        trial_id = self._id_of(trial.number)
        if trial_id is None:
            trial_id = self._storage.create_new_trial(self._sweep.study_id, template_trial=trial)
            if self._id_of(trial.number) != trial_id:
                raise self._foreign_trial()
        # equal parameters: this recorder created it in an earlier try, whose answer was lost
        elif self._storage.get_trial(trial_id).params != trial.params:
            raise self._foreign_trial()
        self._ids[trial.number] = trial_id

    def _set_state(self, number: int, state: TrialState, values: list[float] | None = None) -> None:
        try:
            self._storage.set_trial_state_values(self._ids[number], state, values)
        except UpdateFinishedTrialError:
            if self._state_of(number) != state:
                raise
            # an earlier commit was made, and the connection broke before the answer came
            logger.debug("trial %d was already %s", number, state)

    def _is_deleted(self) -> bool:
        """Whether the storage has no sweep of this id any more; False if it cannot be asked."""
        try:
            self._storage.get_study_name_from_id(self._sweep.study_id)
        except KeyError:
            return True
        except STORAGE_ERRORS:
            pass
        return False

    def _deleted(self) -> InfrastructureError:
        """The error for a sweep that another program deletes, as the Optuna dashboard can."""
        return InfrastructureError(
            f"sweep {self._sweep.name!r} was deleted from the storage, by the Optuna dashboard or "
            "another program. Its files are left; `sweeps delete` would have removed both"
        )

    def _foreign_trial(self) -> InfrastructureError:
        """The error for a sweep to which another program adds trials."""
        return InfrastructureError(
            f"another program adds trials to sweep {self._sweep.name!r}; stopping"
        )

    def _make(self) -> None:
        """Make the files of one trial's end after another, until `close` is called."""
        with vital("the thread of the trials' pictures", on_end=self._on_failed):
            while (make := self._making.get()) is not None:
                make()

    def _made(self, files: MakeFiles, number: int) -> list[Path]:
        """Make the files of a trial's end, unless another driver has the sweep; return them."""
        made: list[Path] = []
        try:
            self._fence()
            for path in files():
                made.append(path)
                self._fence()
        except LeaseLostError:
            self.abandon()
        except Exception as error:  # noqa: BLE001 - the end must be stored, whatever a picture does
            logger.warning("trial %d: files of its end are missing (%s)", number, first_line(error))
        return made

    def _attach(self, number: int, path: Path) -> None:
        if self._store is None:
            return
        owner = f"{self._sweep.uuid}/{number}"
        try:
            attach(self._storage, self._ids[number], path, store=self._store, owner=owner)
        except OSError as error:
            logger.warning("trial %d: %s is no artifact (%s)", number, path.name, error)

    def _set_attribute(self, number: int, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._ids[number], key, value)

    def _id_of(self, number: int) -> int | None:
        try:
            return self._storage.get_trial_id_from_study_id_trial_number(
                self._sweep.study_id, number
            )
        except KeyError:
            return None
