"""A sweep in the storage: find, create, read, recover. One sweep is one Optuna study.

Only this module and `recorder` write to the Optuna storage. They use Optuna's public storage
interface, with one commit for each write. While a driver runs, the `Recorder` writes on its own
thread. Therefore no decision of the driver waits for the database.
"""

import contextlib
import dataclasses
import functools
import gc
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InfrastructureError, InputError
from sweeps.space.spec import SweepSpec
from sweeps.study.database import reason
from sweeps.study.records import (
    FORMAT,
    INTERNAL,
    INTERNAL_SINCE,
    INTERRUPTED,
    REASON,
    SWEEP,
    SweepRecord,
)
from sweeps.study.storage import STORAGE_ERRORS
from trainer.metrics import Goal

# system attributes of a study, as the Optuna dashboard has them
NOTE_VERSION = "dashboard:note_ver"
NOTE_TEXT = "dashboard:note_str"
PLOT = "dashboard:plot_data:folds:"  # `folds` is the id of the plot
PIECE = 2_045  # characters; MySQL holds no more in one attribute

P = ParamSpec("P")
T = TypeVar("T")


def _answered(method: Callable[P, T]) -> Callable[P, T]:
    """Decorate a method to raise InfrastructureError when the storage does not answer."""

    @functools.wraps(method)
    def call(*args: P.args, **options: P.kwargs) -> T:
        try:
            return method(*args, **options)
        except STORAGE_ERRORS as error:
            raise InfrastructureError(
                f"the storage does not answer ({reason(error)}). "
                "Run the same command again when it does"
            ) from error

    return call


@dataclasses.dataclass(frozen=True)
class StoredSweep:
    """A sweep in the storage.

    The methods raise InfrastructureError when the storage does not answer.

    Attributes:
        spec: the fixed part of the spec, which must not change while the sweep goes on.
        format: the format in which the sweep is stored, see `records.FORMAT`.
    """

    storage: RDBStorage
    study_id: int
    name: str
    uuid: str
    spec: dict[str, Any]
    format: int = FORMAT

    @classmethod
    @_answered
    def find(cls, storage: RDBStorage, name: str) -> "StoredSweep | None":
        """The stored sweep of this name, or None.

        Raises:
            InputError: the study of this name was made by another program, or by a newer version
                of foldsweep.
        """
        try:
            study_id = storage.get_study_id_from_name(name)
        except KeyError:
            return None
        shown = storage.get_study_user_attrs(study_id)
        if not shown and not storage.get_n_trials(study_id):
            return None  # the driver died in `create`, before it stored the attributes
        record = SweepRecord.of(shown, storage.get_study_system_attrs(study_id))
        if not record.identity:
            raise InputError(
                f"{name!r} in this storage is an Optuna study of another program. "
                "Give the sweep another name"
            )
        if record.format > FORMAT:
            raise InputError(
                f"sweep {name!r} was stored by a newer version of foldsweep "
                f"(format {record.format}; this one knows {FORMAT}). "
                "Update: pip install -U foldsweep"
            )
        identity = record.identity
        return cls(
            storage, study_id, name, identity["uuid"], identity["spec"], format=record.format
        )

    @classmethod
    @_answered
    def create(cls, storage: RDBStorage, spec: SweepSpec, *, identity: str) -> "StoredSweep":
        """Store a new sweep; the caller holds its lease.

        A process that dies in this method leaves an empty study. `find` treats an empty study as
        absent, and the next call of `create` replaces it.
        """
        direction = StudyDirection[spec.metric.goal.name]
        with contextlib.suppress(KeyError):
            storage.delete_study(storage.get_study_id_from_name(spec.name))
        study_id = storage.create_new_study([direction], spec.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of set_metric_names
            study = optuna.load_study(study_name=spec.name, storage=storage)
            study.set_metric_names([spec.metric.name])  # the axis label of the Optuna dashboard
        fixed = spec.fixed_part()
        shown = {"format": FORMAT, "uuid": identity, "metric": spec.metric.name}
        sweep = cls(storage, study_id, spec.name, identity, fixed)
        sweep.write_attribute(SWEEP, {**shown, "spec": fixed, "finish": spec.folds.finish})
        # the last write: a study with this attribute is complete
        storage.set_study_user_attr(study_id, SWEEP, shown)
        return sweep

    def update_spec(self, fixed: dict[str, Any]) -> "StoredSweep":
        """Replace the fixed part of the spec, for example when ranges grow.

        The caller holds the lease.
        """
        self.set_attribute(SWEEP, {**self.record().identity, "spec": fixed})
        return dataclasses.replace(self, spec=fixed)

    @_answered
    def trials(self) -> list[FrozenTrial]:
        """All trials, ordered by number.

        Call this once: to read 5,000 trials with ten reports each takes seconds.
        """
        collects = gc.isenabled()
        # The garbage collector would take half of the time: it would check a million new objects
        # again and again, and all of them stay in use.
        gc.disable()
        try:
            return self.storage.get_all_trials(self.study_id, deepcopy=False)
        finally:
            if collects:
                gc.enable()

    @_answered
    def trial(self, number: int) -> FrozenTrial | None:
        """One trial; None if it is not stored yet."""
        try:
            trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
        except KeyError:
            return None
        return self.storage.get_trial(trial_id)

    @_answered
    def goal(self) -> Goal:
        """The direction in which scores get better."""
        return Goal[self.storage.get_study_directions(self.study_id)[0].name]

    @_answered
    def record(self) -> SweepRecord:
        """The attributes that `set_attribute` and `Recorder.about_sweep` stored."""
        return SweepRecord.of(
            self.storage.get_study_user_attrs(self.study_id),
            self.storage.get_study_system_attrs(self.study_id),
        )

    @_answered
    def set_attribute(self, key: str, value: Any) -> None:
        """Store an attribute of the sweep as a whole, immediately; the caller holds the lease."""
        self.write_attribute(key, value)

    def write_attribute(self, key: str, value: Any) -> None:
        """Do as `set_attribute`, but raise the errors of the storage as they are."""
        # the attributes of an older sweep stay where older versions of foldsweep read them
        if self.format < INTERNAL_SINCE:
            self.storage.set_study_user_attr(self.study_id, key, value)
        else:
            self.storage.set_study_system_attr(self.study_id, INTERNAL + key, value)

    @_answered
    def add_note(self, text: str) -> None:
        """Store the note that the Optuna dashboard shows, unless the sweep has one.

        The caller holds the lease. The keys and the length of the pieces are those of
        `optuna_dashboard.save_note`, whose import would cost the start of a sweep 1.5 s.
        """
        if NOTE_VERSION in self.storage.get_study_system_attrs(self.study_id):
            return
        for key, piece in pieces(f"{NOTE_TEXT}:", text).items():
            self.storage.set_study_system_attr(self.study_id, key, piece)
        self.storage.set_study_system_attr(self.study_id, NOTE_VERSION, 1)

    @_answered
    def write_plot(self, figure: str) -> None:
        """Store the plot that the Optuna dashboard shows of the sweep, in place of an earlier one.

        The caller holds the lease. The keys are those of
        `optuna_dashboard.save_plotly_graph_object`.

        Args:
            figure: a figure of plotly as JSON.
        """
        known = self.storage.get_study_system_attrs(self.study_id)
        for key, piece in plot_attributes(figure, known=known).items():
            if known.get(key) != piece:
                self.storage.set_study_system_attr(self.study_id, key, piece)

    @_answered
    def add(self, trial: FrozenTrial) -> int:
        """Store a trial that is over or WAITING, immediately, and return its number.

        The caller holds the lease.
        """
        assert trial.state != TrialState.RUNNING
        trial_id = self.storage.create_new_trial(self.study_id, template_trial=trial)
        return self.storage.get_trial_number_from_id(trial_id)

    @_answered
    def fail(self, number: int, reason: str) -> None:
        """Mark a trial that is not over as failed, immediately.

        The caller may hold the lease. If a driver has it, the driver stops the trial at its next
        report, as if the Optuna dashboard had marked it.

        Raises:
            InputError: the trial has ended in the meantime.
        """
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self.study_id, number)
        try:
            self.storage.set_trial_user_attr(trial_id, REASON, reason)
            self.storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            raise InputError(f"trial {number} has ended in the meantime") from None

    @_answered
    def delete(self) -> None:
        """Delete the sweep and its trials from the storage; the caller holds the lease."""
        self.storage.delete_study(self.study_id)

    @_answered
    def recover(self) -> list[int]:
        """Mark the trials that a dead driver left RUNNING as interrupted, and return their numbers.

        The caller holds the lease.
        """
        left = self.ids(TrialState.RUNNING)
        for trial_id in left.values():
            self.storage.set_trial_user_attr(trial_id, INTERRUPTED, True)
            self.storage.set_trial_state_values(trial_id, TrialState.WAITING)
        return list(left)

    @_answered
    def ids(self, *states: TrialState) -> dict[int, int]:
        """The storage's ids of the trials in these states, by trial number."""
        trials = self.storage.get_all_trials(self.study_id, deepcopy=False, states=states)
        return {
            t.number: self.storage.get_trial_id_from_study_id_trial_number(self.study_id, t.number)
            for t in trials
        }


def plot_attributes(figure: str, *, known: Mapping[str, Any]) -> dict[str, str]:
    """The attributes of a plot, which replace all that an earlier plot has among the known ones."""
    return {key: "" for key in known if key.startswith(PLOT)} | pieces(PLOT, figure)


def pieces(prefix: str, text: str) -> dict[str, str]:
    """A long text as attributes: the prefix and a number from 0 as keys."""
    starts = range(0, len(text), PIECE)
    return {f"{prefix}{number}": text[at : at + PIECE] for number, at in enumerate(starts)}
