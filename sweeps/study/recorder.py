"""Writes to the stored sweep, in order, on a thread of its own: no decision waits for the database."""

import concurrent.futures
import functools
import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InfrastructureError, LeaseLostError
from sweeps.study.database import PATIENCE_S, reason
from sweeps.study.storage import STORAGE_ERRORS
from sweeps.study.stored_sweep import StoredSweep

logger = logging.getLogger(__name__)

CLOSING_S = 10.0


Write = Callable[[], None]


class Recorder:
    """Writes to the storage, in order, on its own thread.

    A storage that does not answer is tried again for `patience_s`; what was queued meanwhile is written
    afterwards. Past that, `on_failed` is called once (from the thread) and nothing more is written. Nothing
    is written either once `fence` says that the sweep is another driver's; the lease tells of that itself.
    """

    def __init__(
        self,
        sweep: StoredSweep,
        *,
        on_failed: Callable[[InfrastructureError], None],
        fence: Callable[[], None] = lambda: None,
        patience_s: float = PATIENCE_S,
        retry_every_s: float = 0.5,
    ) -> None:
        """Begin to write.

        Args:
            fence: called before each write, as `Lease.confirm`. LeaseLostError ends all writing; where
                nobody knows, it raises what a storage raises, and is called again.
        """
        self._sweep, self._storage = sweep, sweep.storage
        self._on_failed, self._fence = on_failed, fence
        self._patience_s, self._retry_every_s = patience_s, retry_every_s
        self._queue: queue.SimpleQueue[tuple[Write, concurrent.futures.Future[None]] | None] = (
            queue.SimpleQueue()
        )
        self._closing_deadline, self._abandoned = math.inf, threading.Event()
        self._ids = sweep.ids(TrialState.RUNNING, TrialState.WAITING)
        self._thread = threading.Thread(
            target=self._work, name=f"recorder {sweep.name}", daemon=True
        )
        self._thread.start()

    def start(self, trial: FrozenTrial) -> "concurrent.futures.Future[None]":
        """A new trial with all it has: parameters, attributes and reports; RUNNING, or over from the beginning."""
        return self._submit(lambda: self._create(trial))

    def restart(self, number: int) -> "concurrent.futures.Future[None]":
        """An interrupted trial goes on."""
        return self._submit(lambda: self._set_state(number, TrialState.RUNNING))

    def report(self, number: int, step: int, value: float) -> None:
        """One epoch's value."""
        self._submit(
            lambda: self._storage.set_trial_intermediate_value(self._ids[number], step, value)
        )

    def end(
        self, number: int, state: TrialState, score: float | None, attributes: dict[str, Any]
    ) -> None:
        """A trial is over, or (WAITING) interrupted."""
        for key, value in attributes.items():
            self._submit(functools.partial(self._set_attribute, number, key, value))
        self._submit(lambda: self._set_state(number, state, None if score is None else [score]))

    def about_sweep(self, key: str, value: Any) -> None:
        """Something about the sweep as a whole."""
        self._submit(lambda: self._storage.set_study_user_attr(self._sweep.study_id, key, value))

    def close(self) -> None:
        """Write what is queued, then end; a storage that is gone is waited for only `CLOSING_S` longer."""
        self._closing_deadline = time.monotonic() + CLOSING_S
        self._queue.put(None)
        self._thread.join()

    def _submit(self, write: Write) -> "concurrent.futures.Future[None]":
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._queue.put((write, future))
        return future

    def abandon(self) -> None:
        """Write nothing more: the sweep belongs to another driver now."""
        self._abandoned.set()

    def _work(self) -> None:
        error: InfrastructureError | None = InfrastructureError(
            "the recorder stopped by a bug; its traceback is above"
        )
        try:
            error = self._write_all()
        finally:  # whatever happened, nobody must wait for a thread that is gone
            if error is not None:
                self._on_failed(error)

    def _write_all(self) -> InfrastructureError | None:
        """Write until closed or abandoned; the error that ended it early."""
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
        """Write, trying again while patience lasts; the error if it did not."""
        began, tries = time.monotonic(), 0
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
            except (
                UpdateFinishedTrialError
            ):  # _set_state alone may meet one that is over: its own lost commit
                return InfrastructureError(
                    f"another program ends trials of sweep {self._sweep.name!r}; stopping"
                )
            except STORAGE_ERRORS as error:
                said = reason(error)
                if not tries:
                    logger.warning("storage: %s; trying again", said)
                tries += 1
                if time.monotonic() > min(began + self._patience_s, self._closing_deadline):
                    return InfrastructureError(
                        f"the storage of sweep {self._sweep.name!r} cannot be written ({said}). "
                        "Finished folds are on disk; run the same command again to continue"
                    )
                self._abandoned.wait(self._retry_every_s)
        return None

    def _create(self, trial: FrozenTrial) -> None:
        trial_id = self._id_of(trial.number)
        if trial_id is None:
            trial_id = self._storage.create_new_trial(self._sweep.study_id, template_trial=trial)
            if self._id_of(trial.number) != trial_id:
                raise self._meddled()
        elif (
            self._storage.get_trial(trial_id).params != trial.params
        ):  # else our own commit, whose answer was lost
            raise self._meddled()
        self._ids[trial.number] = trial_id

    def _set_state(self, number: int, state: TrialState, values: list[float] | None = None) -> None:
        try:
            self._storage.set_trial_state_values(self._ids[number], state, values)
        except UpdateFinishedTrialError:  # a commit whose answer was lost has been made
            logger.debug("trial %d was already %s", number, state)

    def _meddled(self) -> InfrastructureError:
        return InfrastructureError(
            f"another program adds trials to sweep {self._sweep.name!r}; stopping"
        )

    def _set_attribute(self, number: int, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._ids[number], key, value)

    def _id_of(self, number: int) -> int | None:
        try:
            return self._storage.get_trial_id_from_study_id_trial_number(
                self._sweep.study_id, number
            )
        except KeyError:
            return None
