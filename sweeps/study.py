"""The stored sweep: open, create, record, recover. The only file that writes the Optuna storage.

One sweep is one Optuna study. Writes go through Optuna's public storage interface, one commit each; the
`Recorder` makes them on a thread of its own, so that no decision waits for the database.
"""

import concurrent.futures
import contextlib
import dataclasses
import functools
import gc
import logging
import math
import queue
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import optuna
import sqlalchemy as sa
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeps.database import PATIENCE_S, advice, engine_options, hidden, parse_url, reason, sqlite_file
from sweeps.errors import InfrastructureError, InputError, LeaseLostError
from sweeps.paths import make_folder
from sweeps.records import FORMAT, INTERRUPTED, SWEEP, SweepRecord
from sweeps.spec import SweepSpec
from trainer.metrics import Goal

logger = logging.getLogger(__name__)

CLOSING_S = 10.0
STORAGE_ERRORS = (StorageInternalError, sa.exc.SQLAlchemyError)


def open_storage(url: str, *, must_exist: bool = False) -> RDBStorage:
    """Open the storage at a database URL; a SQLite file is made when absent.

    SQLite keeps its rollback journal: the file may lie on NFS, where WAL does not work.

    Args:
        must_exist: for commands that only read: an absent SQLite file is an error, not a new file.

    Raises:
        InputError: not a URL, a server that does not answer or lets us not in, a path that cannot be
            written, or a storage written by another version of Optuna. Passwords are not shown.
    """
    parsed = parse_url(url)
    file = sqlite_file(parsed)
    if file is not None and must_exist and not file.is_file():
        raise InputError(
            f"{file}: no sweeps stored here yet. `sweeps run SPACE` starts one; --storage names another place"
        )
    if file is not None and not must_exist:
        make_folder(file.parent, option="--storage")
    address = parsed.render_as_string(hide_password=False)
    try:
        storage = RDBStorage(address, engine_kwargs=engine_options(parsed), skip_compatibility_check=True)
        _check_version(storage, url)
    except (*STORAGE_ERRORS, ImportError, TypeError) as error:
        said = reason(error)
        raise InputError(f"--storage {hidden(url)}: cannot be opened ({said}){advice(said)}") from None
    return storage


def _check_version(storage: RDBStorage, url: str) -> None:
    stored, ours = storage.get_current_version(), storage.get_head_version()
    if stored == ours:
        return
    if stored in storage.get_all_versions():
        what = f"an older version of Optuna. Bring it up to date: optuna storage upgrade --storage {hidden(url)}"
    else:
        what = f"a newer version of Optuna than {optuna.__version__}, which is here. Update: pip install -U optuna"
    raise InputError(f"--storage {hidden(url)}: its tables were made by {what}")


P = ParamSpec("P")
T = TypeVar("T")


def _answered(method: Callable[P, T]) -> Callable[P, T]:
    """The method, with InfrastructureError for a storage that does not answer."""

    @functools.wraps(method)
    def call(*args: P.args, **options: P.kwargs) -> T:
        try:
            return method(*args, **options)
        except STORAGE_ERRORS as error:
            raise InfrastructureError(
                f"the storage does not answer ({reason(error)}). Run the same command again when it does"
            ) from error

    return call


@dataclasses.dataclass(frozen=True)
class StoredSweep:
    """A sweep in the storage. Its methods raise InfrastructureError when the storage does not answer."""

    storage: RDBStorage
    study_id: int
    name: str
    uuid: str
    spec: dict[str, Any]  # the fixed part: what must not change while the sweep goes on

    @classmethod
    @_answered
    def find(cls, storage: RDBStorage, name: str) -> "StoredSweep | None":
        """The stored sweep of that name, if there is one.

        Raises:
            InputError: a study of that name is not ours, or a newer version's.
        """
        try:
            study_id = storage.get_study_id_from_name(name)
        except KeyError:
            return None
        attributes = storage.get_study_user_attrs(study_id)
        if not attributes and not storage.get_n_trials(study_id):
            return None  # whoever made it died before it was anything
        record = SweepRecord.of(attributes)
        if not record.identity:
            raise InputError(
                f"{name!r} in this storage is an Optuna study of another program. Give the sweep another name"
            )
        if record.format > FORMAT:
            raise InputError(
                f"sweep {name!r} was stored by a newer version of foldsweep (format {record.format}; this one "
                f"knows {FORMAT}). Update: pip install -U foldsweep"
            )
        return cls(storage, study_id, name, record.identity["uuid"], record.identity["spec"])

    @classmethod
    @_answered
    def create(cls, storage: RDBStorage, spec: SweepSpec, *, identity: str) -> "StoredSweep":
        """Store a new sweep, whole or (who dies here leaves an empty study) absent; the caller holds its lease."""
        direction = StudyDirection[spec.metric.goal.name]
        with contextlib.suppress(KeyError):
            storage.delete_study(storage.get_study_id_from_name(spec.name))
        study_id = storage.create_new_study([direction], spec.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # the dashboard's axis label
            optuna.load_study(study_name=spec.name, storage=storage).set_metric_names([spec.metric.name])
        fixed = spec.fixed_part()
        about = {"format": FORMAT, "uuid": identity, "metric": spec.metric.name, "spec": fixed}
        storage.set_study_user_attr(study_id, SWEEP, about)
        return cls(storage, study_id, spec.name, identity, fixed)

    def update_spec(self, fixed: dict[str, Any]) -> "StoredSweep":
        """Replace the fixed part, as when the sweep grows; the caller holds its lease."""
        self.set_attribute(SWEEP, {**self.record().identity, "spec": fixed})
        return dataclasses.replace(self, spec=fixed)

    @_answered
    def trials(self) -> list[FrozenTrial]:
        """All trials by number; ask once: 5,000 with ten reports each take seconds."""
        collects = gc.isenabled()
        gc.disable()  # it would look again and again through a million objects that all stay, half of the time
        try:
            return self.storage.get_all_trials(self.study_id, deepcopy=False)
        finally:
            if collects:
                gc.enable()

    @_answered
    def goal(self) -> Goal:
        """The direction in which scores get better."""
        return Goal[self.storage.get_study_directions(self.study_id)[0].name]

    @_answered
    def record(self) -> SweepRecord:
        """What `set_attribute` and `Recorder.about_sweep` stored about the sweep as a whole."""
        return SweepRecord.of(self.storage.get_study_user_attrs(self.study_id))

    @_answered
    def set_attribute(self, key: str, value: Any) -> None:
        """Store something about the sweep as a whole, at once; the caller holds its lease."""
        self.storage.set_study_user_attr(self.study_id, key, value)

    @_answered
    def add(self, trial: FrozenTrial) -> int:
        """Add a trial that is over or waits, at once; returns its number. The caller holds the lease."""
        assert trial.state != TrialState.RUNNING
        return self.storage.get_trial_number_from_id(self.storage.create_new_trial(self.study_id, template_trial=trial))

    @_answered
    def recover(self) -> list[int]:
        """Mark what a dead driver left RUNNING as interrupted; returns the numbers. The caller holds the lease."""
        left = self.ids(TrialState.RUNNING)
        for trial_id in left.values():
            self.storage.set_trial_user_attr(trial_id, INTERRUPTED, True)
            self.storage.set_trial_state_values(trial_id, TrialState.WAITING)
        return list(left)

    @_answered
    def ids(self, *states: TrialState) -> dict[int, int]:
        """The storage's ids of the trials in these states, by number."""
        trials = self.storage.get_all_trials(self.study_id, deepcopy=False, states=states)
        return {t.number: self.storage.get_trial_id_from_study_id_trial_number(self.study_id, t.number) for t in trials}


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
        self._queue: queue.SimpleQueue[tuple[Write, concurrent.futures.Future[None]] | None] = queue.SimpleQueue()
        self._closing_deadline, self._abandoned = math.inf, threading.Event()
        self._ids = sweep.ids(TrialState.RUNNING, TrialState.WAITING)
        self._thread = threading.Thread(target=self._work, name=f"recorder {sweep.name}", daemon=True)
        self._thread.start()

    def start(self, trial: FrozenTrial) -> "concurrent.futures.Future[None]":
        """A new trial with all it has: parameters, attributes and reports; RUNNING, or over from the beginning."""
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
            except UpdateFinishedTrialError:  # _set_state alone may meet one that is over: its own lost commit
                return InfrastructureError(f"another program ends trials of sweep {self._sweep.name!r}; stopping")
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
        elif self._storage.get_trial(trial_id).params != trial.params:  # else our own commit, whose answer was lost
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

    def _id_of(self, number: int) -> int | None:
        try:
            return self._storage.get_trial_id_from_study_id_trial_number(self._sweep.study_id, number)
        except KeyError:
            return None
