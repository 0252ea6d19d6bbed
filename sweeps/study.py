"""The stored sweep: open, create, record, recover. The only file that writes the Optuna storage.

One sweep is one Optuna study. Writes go through Optuna's public storage interface, one commit each; the
`Recorder` makes them on a thread of its own, so that no decision waits for the database.
"""

import concurrent.futures
import dataclasses
import functools
import logging
import math
import queue
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InfrastructureError, InputError
from sweeps.spec import SweepSpec

logger = logging.getLogger(__name__)

SWEEP = "foldsweep"  # study attribute: uuid, version, spec
ELAPSED = "elapsed_s"  # study attribute: seconds that drivers have spent on the sweep
CAP = "run_cap"  # study attribute: trials in all, as of the last driver
DRIVEN = "driven"  # study attribute: when the last driver began, seconds since 1970
FOLD_SCORES = "fold_scores"  # trial attributes
REASON = "reason"  # of a pruned or failed trial
NOTES = "notes"  # what a reader of the score should know
TRACEBACK = "traceback"  # of a failed trial
INTERRUPTED = "interrupted"  # it was, at least once
PATIENCE_S = 600.0
CLOSING_S = 10.0
STORAGE_ERRORS = (StorageInternalError, sa.exc.SQLAlchemyError)


def open_storage(url: str, *, must_exist: bool = False) -> RDBStorage:
    """Open the storage at a SQLAlchemy URL; a SQLite file is made when absent.

    `postgresql://` means psycopg2 (SQLAlchemy 2.1 alone would look for psycopg 3). SQLite keeps its
    rollback journal: the file may lie on NFS, where WAL does not work.

    Args:
        must_exist: for commands that only read: an absent SQLite file is an error, not a new file.

    Raises:
        InputError: not a URL, a server that does not answer, a path that cannot be written, or a storage
            written by another version of Optuna. Passwords are not shown.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # ValueError: the port is no number
        raise InputError(
            "--storage: not a database URL. Examples: sqlite:///runs/sweeps.db, postgresql://user:password@host/database"
        ) from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg2")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise InputError(
            f"--storage {hidden(url)}: {parsed.get_backend_name()} is not supported; use sqlite or postgresql"
        )
    options: dict[str, Any] = {"pool_pre_ping": True}  # or the first write after a server restart fails
    if parsed.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": 30}  # s that a writer waits for another one
        _check_sqlite_path(parsed, must_exist=must_exist)
    try:
        return RDBStorage(parsed.render_as_string(hide_password=False), engine_kwargs=options)
    except (*STORAGE_ERRORS, RuntimeError, ImportError, TypeError) as error:
        cause = getattr(error, "orig", None) or error
        reason = " ".join(str(cause).split("\n(Background")[0].split())
        raise InputError(f"--storage {hidden(url)}: cannot be opened ({reason})") from None


def _check_sqlite_path(parsed: sa.URL, *, must_exist: bool) -> None:
    if parsed.database in (None, "", ":memory:"):
        raise InputError("--storage: a sweep needs a file or a server, not an in-memory database")
    path = Path(str(parsed.database))
    if must_exist and not path.is_file():
        raise InputError(
            f"{path}: no sweeps stored here yet. `sweeps run SPACE` starts one; --storage names another place"
        )
    if not must_exist:
        make_folder(path.parent, option="--storage")


def make_folder(path: Path, *, option: str = "--runs or $SWEEPS_RUNS") -> None:
    """Create a folder with its parents; `option` is what chooses another one.

    Raises:
        InputError: it cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".write-test-{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}). Choose another folder with {option}") from None


def hidden(url: str) -> str:
    """The URL without its password, also where libpq takes one among the options."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return "***"
    secret = {key: "***" for key in parsed.query if "password" in key}
    return parsed.update_query_dict(secret).render_as_string(hide_password=True)


@dataclasses.dataclass(frozen=True)
class StoredSweep:
    """A sweep in the storage."""

    storage: RDBStorage
    study_id: int
    name: str
    uuid: str
    spec: dict[str, Any]  # the fixed part: what must not change while the sweep goes on

    @classmethod
    def find(cls, storage: RDBStorage, name: str) -> "StoredSweep | None":
        """The stored sweep of that name, if there is one.

        Raises:
            InputError: a study of that name is not ours.
        """
        try:
            study_id = storage.get_study_id_from_name(name)
        except KeyError:
            return None
        identity = storage.get_study_user_attrs(study_id).get(SWEEP)
        if identity is None:
            raise InputError(
                f"{name!r} in this storage is an Optuna study of another program. Give the sweep another name"
            )
        return cls(storage, study_id, name, identity["uuid"], identity["spec"])

    @classmethod
    def create(cls, storage: RDBStorage, spec: SweepSpec, *, identity: str) -> "StoredSweep":
        """Store a new sweep; the caller holds its lease."""
        direction = StudyDirection.MAXIMIZE if spec.metric.goal == "maximize" else StudyDirection.MINIMIZE
        study_id = storage.create_new_study([direction], spec.name)
        fixed = spec.fixed_part()
        storage.set_study_user_attr(study_id, SWEEP, {"uuid": identity, "metric": spec.metric.name, "spec": fixed})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # the dashboard's axis label
            optuna.load_study(study_name=spec.name, storage=storage).set_metric_names([spec.metric.name])
        return cls(storage, study_id, spec.name, identity, fixed)

    def trials(self) -> list[FrozenTrial]:
        """All trials by number."""
        return self.storage.get_all_trials(self.study_id)

    def elapsed_s(self) -> float:
        """Seconds that drivers have spent on the sweep."""
        return float(self.storage.get_study_user_attrs(self.study_id).get(ELAPSED, 0.0))

    def recover(self) -> list[int]:
        """Mark what a dead driver left RUNNING as interrupted; returns the numbers. The caller holds the lease."""
        left = [trial for trial in self.trials() if trial.state == TrialState.RUNNING]
        for trial in left:
            trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, trial.number)
            self.storage.set_trial_user_attr(trial_id, INTERRUPTED, True)
            self.storage.set_trial_state_values(trial_id, TrialState.WAITING)
        return [trial.number for trial in left]


Write = Callable[[], None]


class Recorder:
    """Writes to the storage, in order, on its own thread.

    A storage that does not answer is tried again for `patience_s`; what was queued meanwhile is written
    afterwards. Past that, `on_failed` is called once (from the thread) and nothing more is written.
    """

    def __init__(
        self,
        sweep: StoredSweep,
        *,
        on_failed: Callable[[InfrastructureError], None],
        patience_s: float = PATIENCE_S,
        retry_every_s: float = 0.5,
    ) -> None:
        self._sweep, self._storage = sweep, sweep.storage
        self._on_failed, self._patience_s, self._retry_every_s = on_failed, patience_s, retry_every_s
        self._queue: queue.SimpleQueue[tuple[Write, concurrent.futures.Future[None]] | None] = queue.SimpleQueue()
        self._closing_deadline, self._abandoned = math.inf, threading.Event()
        self._ids = {
            trial.number: self._id_of(trial.number) for trial in sweep.trials() if not trial.state.is_finished()
        }
        self._thread = threading.Thread(target=self._work, name=f"recorder {sweep.name}", daemon=True)
        self._thread.start()

    def start(self, trial: FrozenTrial) -> "concurrent.futures.Future[None]":
        """A new trial, RUNNING with all its parameters."""
        return self._submit(lambda: self._create(trial))

    def restart(self, number: int) -> "concurrent.futures.Future[None]":
        """An interrupted trial goes on."""
        return self._submit(lambda: self._set_state(number, TrialState.RUNNING))

    def report(self, number: int, step: int, value: float) -> None:
        """One epoch's value."""
        self._submit(lambda: self._storage.set_trial_intermediate_value(self._ids[number], step, value))

    def end(self, number: int, state: TrialState, score: float | None, attributes: dict[str, Any]) -> None:
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
        error: InfrastructureError | None = InfrastructureError("the recorder stopped by a bug; its traceback is above")
        try:
            error = self._write_all()
        finally:  # whatever happened, nobody must wait for a thread that is gone
            if error is not None:
                self._on_failed(error)

    def _write_all(self) -> InfrastructureError | None:
        """Write until closed or abandoned; the error that ended it early."""
        while (item := self._queue.get()) is not None and not self._abandoned.is_set():
            write, future = item
            error = self._write(write)
            if error is not None:
                return error
            future.set_result(None)
        return None

    def _write(self, write: Write) -> InfrastructureError | None:
        """Write, trying again while patience lasts; the error if it did not."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                write()
                return None
            except InfrastructureError as error:
                return error
            except UpdateFinishedTrialError:  # _set_state alone may meet one that is over: its own lost commit
                return InfrastructureError(f"another program ends trials of sweep {self._sweep.name!r}; stopping")
            except STORAGE_ERRORS as error:
                reason = str(error).splitlines()[0]
                logger.warning("storage: %s", reason)
                if time.monotonic() > min(deadline, self._closing_deadline):
                    return InfrastructureError(
                        f"the storage of sweep {self._sweep.name!r} cannot be written ({reason}). "
                        "Finished folds are on disk; run the same command again to continue"
                    )
                time.sleep(self._retry_every_s)

    def _create(self, trial: FrozenTrial) -> None:
        study_id = self._sweep.study_id
        try:  # a commit whose answer was lost has been made
            trial_id = self._id_of(trial.number)
        except KeyError:
            pass
        else:
            if self._storage.get_trial(trial_id).params != trial.params:
                raise self._meddled()
            self._ids[trial.number] = trial_id
            return
        trial_id = self._storage.create_new_trial(study_id, template_trial=trial)
        if self._storage.get_trial_number_from_id(trial_id) != trial.number:
            raise self._meddled()
        self._ids[trial.number] = trial_id

    def _set_state(self, number: int, state: TrialState, values: list[float] | None = None) -> None:
        try:
            self._storage.set_trial_state_values(self._ids[number], state, values)
        except UpdateFinishedTrialError:  # a commit whose answer was lost has been made
            logger.debug("trial %d was already %s", number, state)

    def _meddled(self) -> InfrastructureError:
        return InfrastructureError(f"another program adds trials to sweep {self._sweep.name!r}; stopping")

    def _set_attribute(self, number: int, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(self._ids[number], key, value)

    def _id_of(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._sweep.study_id, number)
