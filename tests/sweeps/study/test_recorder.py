"""What a driver records, in order and only while it holds the sweep,
on SQLite and on PostgreSQL.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.artifacts import get_all_artifact_meta
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from sweeps.errors import InfrastructureError, LeaseLostError
from sweeps.study.lease import Lease, Times
from sweeps.study.recorder import Recorder
from sweeps.study.records import ELAPSED, GPU_SECONDS, INTERRUPTED, REASON
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.study.stored_trials import ask, assert_same, finished
from tests.sweeps.study.waiting import WAIT_S, until


def test_a_trials_life_is_recorded_in_order(
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
) -> None:
    recorder = record()
    for number in range(3):
        recorder.start(ask(memory, lr=0.1 * (number + 1))).result(WAIT_S)
        for step in (1, 2, 4):
            recorder.report(number, step, step / 10)
    recorder.end(0, TrialState.COMPLETE, 0.75, {"fold_scores": [0.5, 1.0]})
    recorder.end(1, TrialState.PRUNED, 0.4, {REASON: "median rule"})
    recorder.end(2, TrialState.FAIL, None, {REASON: "out of memory"})
    recorder.about_sweep(ELAPSED, 12.5)
    recorder.close()
    trials = sweep.trials()
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
    ]
    assert [trial.params["lr"] for trial in trials] == [0.1, 0.2, 0.1 * 3]
    assert {trial.params["loss"] for trial in trials} == {None}
    assert [trial.user_attrs for trial in trials] == [
        {"fold_scores": [0.5, 1.0]},
        {REASON: "median rule"},
        {REASON: "out of memory"},
    ]
    assert all(trial.intermediate_values == {1: 0.1, 2: 0.2, 4: 0.4} for trial in trials)
    assert [trial.value for trial in trials] == [0.75, 0.4, None]
    assert sweep.record().elapsed_s == 12.5
    assert failures == []


def test_files_are_stored_before_the_end_of_their_trial_and_nothing_else_waits_for_them(
    sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study, tmp_path: Path
) -> None:
    drawing, may_draw = threading.Event(), threading.Event()
    path = tmp_path / "curves.svg"

    def draw() -> Iterator[Path]:
        drawing.set()
        assert may_draw.wait(WAIT_S)
        path.write_text("<svg/>")
        yield path
        raise ValueError("a bug in the next picture")

    recorder = record(store=tmp_path / "store")
    recorder.start(ask(memory)).result(WAIT_S)
    recorder.end(0, TrialState.COMPLETE, 0.5, {"fold_scores": [0.5]}, files=draw)
    assert drawing.wait(WAIT_S)
    recorder.start(ask(memory)).result(WAIT_S)
    assert [trial.state for trial in sweep.trials()] == [TrialState.RUNNING] * 2
    may_draw.set()
    recorder.close()
    ended, other = sweep.trials()
    assert (ended.state, ended.user_attrs) == (TrialState.COMPLETE, {"fold_scores": [0.5]})
    (artifact,) = get_all_artifact_meta(ended, storage=sweep.storage)
    assert (tmp_path / "store" / artifact.artifact_id).read_text() == "<svg/>"
    assert other.state == TrialState.RUNNING


def test_no_files_are_made_for_a_sweep_that_another_driver_has(
    sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study, tmp_path: Path
) -> None:
    lost = threading.Event()

    def fence() -> None:
        if lost.is_set():
            raise LeaseLostError("another driver took over")

    made: list[Path] = []
    recorder = record(fence=fence, store=tmp_path / "store")
    recorder.start(ask(memory)).result(WAIT_S)
    lost.set()
    recorder.end(0, TrialState.COMPLETE, 0.5, {}, files=lambda: [made.append(tmp_path)] and made)
    recorder.close()
    assert made == []
    assert [trial.state for trial in sweep.trials()] == [TrialState.RUNNING]


def test_a_start_is_stored_when_its_future_is_done(
    sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study
) -> None:
    record().start(ask(memory)).result(WAIT_S)
    (trial,) = sweep.trials()
    assert (trial.state, trial.params) == (TrialState.RUNNING, {"lr": 0.1, "loss": None})


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_a_trial_that_is_over_before_it_starts_is_stored_with_all_it_has(
    sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study, state: TrialState
) -> None:
    memory.add_trial(finished(state))
    record().start(memory.trials[0]).result(WAIT_S)
    (trial,) = sweep.trials()
    assert_same(trial, memory.trials[0])


def test_a_running_trial_starts_with_its_attributes_and_reports(
    sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study
) -> None:
    memory.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            params={"lr": 0.5},
            distributions={"lr": FloatDistribution(0.01, 1)},
            user_attrs={"retry_of": 3},
            system_attrs={"x": 1},
            intermediate_values={1: 0.5},
        )
    )
    recorder = record()
    recorder.start(memory.trials[0])
    recorder.report(0, 2, 0.75)
    recorder.close()
    (trial,) = sweep.trials()
    assert (trial.state, trial.user_attrs, trial.system_attrs) == (
        TrialState.RUNNING,
        {"retry_of": 3},
        {"x": 1},
    )
    assert trial.intermediate_values == {1: 0.5, 2: 0.75}


def test_what_is_about_the_sweep_is_found_again(
    storage: RDBStorage, sweep: StoredSweep, record: Callable[..., Recorder]
) -> None:
    recorder = record()
    recorder.about_sweep(GPU_SECONDS, 12.5)
    recorder.close()
    assert sweep.record().gpu_s == 12.5
    assert optuna.load_study(study_name="toy", storage=storage).metric_names == ["valid/f1"]


def test_an_interrupted_trial_goes_on_in_another_driver(
    sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study
) -> None:
    first = record()
    first.start(ask(memory))
    first.report(0, 1, 0.25)
    first.end(0, TrialState.WAITING, None, {INTERRUPTED: True})
    first.close()
    assert sweep.trials()[0].state == TrialState.WAITING
    second = record()
    second.restart(0).result(WAIT_S)
    assert sweep.trials()[0].state == TrialState.RUNNING
    second.report(0, 2, 0.5)
    second.end(0, TrialState.COMPLETE, 0.5, {})
    second.close()
    (trial,) = sweep.trials()
    assert (trial.state, trial.intermediate_values) == (TrialState.COMPLETE, {1: 0.25, 2: 0.5})
    assert trial.user_attrs == {INTERRUPTED: True}


def test_a_trial_can_be_interrupted_and_continued_by_one_driver(
    sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study
) -> None:
    recorder = record()
    recorder.start(ask(memory))
    recorder.end(0, TrialState.WAITING, None, {INTERRUPTED: True})
    recorder.restart(0)
    recorder.end(0, TrialState.COMPLETE, 0.5, {})
    recorder.close()
    assert [trial.state for trial in sweep.trials()] == [TrialState.COMPLETE]


def test_closing_writes_what_is_queued(
    sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study
) -> None:
    recorder = record()
    recorder.start(ask(memory))
    for step in range(1, 30):
        recorder.report(0, step, 0.5)
    recorder.close()
    assert len(sweep.trials()[0].intermediate_values) == 29


def test_a_trial_that_another_program_added_is_not_taken_for_ours(
    storage: RDBStorage,
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
) -> None:
    told: list[InfrastructureError] = []
    heard = threading.Event()

    def on_failed(error: InfrastructureError) -> None:
        told.append(error)
        heard.set()

    recorder = record(on_failed=on_failed)
    theirs = create_trial(
        state=TrialState.WAITING,
        params={"lr": 0.9},
        distributions={"lr": FloatDistribution(0.01, 1)},
    )
    storage.create_new_trial(sweep.study_id, template_trial=theirs)
    recorder.start(ask(memory))
    recorder.close()
    assert heard.is_set()
    assert "another program" in str(told[0])
    assert sweep.trials()[0].params == {"lr": 0.9}


def test_a_trial_that_another_program_marked_as_failed_is_told_once_and_the_others_go_on(
    storage: RDBStorage,
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
) -> None:
    told: list[int] = []
    recorder = record(on_ended=told.append)
    recorder.start(ask(memory))
    recorder.start(ask(memory, lr=0.2)).result(WAIT_S)
    trial_id = storage.get_trial_id_from_study_id_trial_number(sweep.study_id, 0)
    storage.set_trial_state_values(trial_id, TrialState.FAIL)
    recorder.report(0, 1, 0.5)
    recorder.report(1, 1, 0.25)
    recorder.end(0, TrialState.COMPLETE, 0.5, {"fold_scores": [0.5]})
    recorder.end(1, TrialState.COMPLETE, 0.25, {"fold_scores": [0.25]})
    recorder.close()
    assert (told, failures) == ([0], [])
    first, second = sweep.trials()
    assert (first.state, first.user_attrs, first.intermediate_values) == (TrialState.FAIL, {}, {})
    assert (second.state, second.value) == (TrialState.COMPLETE, 0.25)


def test_an_interrupted_trial_that_another_program_marked_as_failed_does_not_start_again(
    storage: RDBStorage, sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study
) -> None:
    told: list[int] = []
    recorder = record(on_ended=told.append)
    recorder.start(ask(memory))
    recorder.end(0, TrialState.WAITING, None, {INTERRUPTED: True})
    recorder.about_sweep(ELAPSED, 1.0)
    recorder.close()
    trial_id = storage.get_trial_id_from_study_id_trial_number(sweep.study_id, 0)
    storage.set_trial_state_values(trial_id, TrialState.FAIL)
    again = record(on_ended=told.append)
    again._ids[0] = trial_id  # read before the trial was marked
    again.restart(0).result(WAIT_S)
    again.close()
    assert told == [0]
    assert sweep.trials()[0].state == TrialState.FAIL


def test_a_trial_that_another_program_completed_is_told_as_a_failure(
    storage: RDBStorage,
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
) -> None:
    recorder = record()
    recorder.start(ask(memory)).result(WAIT_S)
    trial_id = storage.get_trial_id_from_study_id_trial_number(sweep.study_id, 0)
    storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.9])
    recorder.report(0, 1, 0.5)
    recorder.close()
    (error,) = failures
    assert str(error) == "another program ends trials of sweep 'toy'; stopping"


def test_an_abandoned_recorder_writes_nothing_more(
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
) -> None:
    recorder = record()
    recorder.start(ask(memory)).result(WAIT_S)
    recorder.abandon()
    recorder.end(0, TrialState.COMPLETE, 0.5, {})
    recorder.close()
    assert [trial.state for trial in sweep.trials()] == [TrialState.RUNNING]
    assert failures == []


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # a bug keeps its traceback
def test_a_bug_in_the_recorder_is_told_so_that_nobody_waits_for_it(
    record: Callable[..., Recorder], failures: list[InfrastructureError]
) -> None:
    recorder = record()
    recorder.report(7, 1, 0.5)  # a trial that never started
    recorder.close()
    assert [str(error) for error in failures] == [
        "the recorder stopped by a bug; its traceback is above. Finished folds are on disk; run "
        "the same command again to continue"
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_where_the_files_of_an_end_are_made_is_told_too(
    record: Callable[..., Recorder], failures: list[InfrastructureError]
) -> None:
    def interrupted() -> Iterable[Path]:
        raise KeyboardInterrupt  # nothing that a picture does

    recorder = record()
    recorder.end(0, TrialState.COMPLETE, 0.5, {}, files=interrupted)
    recorder.close()
    assert [str(error).partition(";")[0] for error in failures] == [
        "the thread of the trials' pictures stopped by a bug"
    ]


# --- the fence


class Fence:
    """What the lease says before each write, in turn; then that all is well."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        if self.answers:
            raise self.answers.pop(0)


def test_nothing_is_written_until_the_lease_is_confirmed(
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
) -> None:
    silent = sa.exc.OperationalError("UPDATE", {}, Exception("server gone"))
    fence = Fence(silent, silent)
    recorder = record(fence=fence)
    recorder.start(ask(memory)).result(WAIT_S)
    recorder.close()
    assert (fence.asked, fence.answers, failures) == (3, [], [])
    assert len(sweep.trials()) == 1


def test_nothing_more_is_written_once_another_driver_has_the_sweep(
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
) -> None:
    fence = Fence()
    recorder = record(fence=fence)
    recorder.start(ask(memory)).result(WAIT_S)
    fence.answers.append(LeaseLostError("another driver took over"))
    late = recorder.start(ask(memory))
    recorder.report(0, 1, 0.5)
    recorder.close()
    assert not late.done()
    assert fence.asked == 2
    assert [trial.intermediate_values for trial in sweep.trials()] == [{}]
    assert failures == []  # the lease tells it


def test_files_of_an_end_are_not_made_any_more_once_another_driver_has_the_sweep(
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
) -> None:
    fence = Fence()
    made: list[str] = []

    def files() -> Iterator[Path]:
        for name in ("curves.svg", "errors.jpg"):
            made.append(name)
            # to draw takes a moment, in which a process may be stopped for an hour
            fence.answers.append(LeaseLostError("another driver took over"))
            yield Path(name)

    recorder = record(fence=fence)
    recorder.start(ask(memory)).result(WAIT_S)
    recorder.end(0, TrialState.COMPLETE, 0.5, {}, files=files)
    recorder.close()
    assert made == ["curves.svg"]
    assert [trial.state for trial in sweep.trials()] == [TrialState.RUNNING]
    assert failures == []


def test_after_an_outage_longer_than_the_lease_a_driver_that_was_replaced_writes_nothing(
    storage: RDBStorage, sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study
) -> None:
    now = [0.0]
    told = []
    options: dict[str, Any] = {"times": Times(renew_every_s=3600.0, poll_every_s=3600.0)}
    lease = Lease.acquire(
        storage.engine, "toy", on_lost=told.append, clock=lambda: now[0], **options
    )
    recorder = record(fence=lease.confirm)
    recorder.start(ask(memory)).result(WAIT_S)
    now[0] += 3600  # nothing answered
    with storage.engine.begin() as connection:
        connection.execute(sa.text("UPDATE foldsweep_leases SET expires = 0"))
    second = Lease.acquire(storage.engine, "toy", on_lost=told.append, **options)
    recorder.report(0, 1, 0.5)
    recorder.close()
    assert [type(error) for error in told] == [LeaseLostError]
    assert [trial.intermediate_values for trial in sweep.trials()] == [{}]
    lease.release()
    second.release()


@pytest.mark.parametrize(
    "write",
    [
        lambda recorder, memory: recorder.report(0, 1, 0.5),
        lambda recorder, memory: recorder.start(ask(memory)),
        lambda recorder, memory: recorder.end(0, TrialState.COMPLETE, 0.5, {"fold_scores": [0.5]}),
        lambda recorder, memory: recorder.about_sweep(ELAPSED, 1.0),
    ],
    ids=["report", "start", "end", "about_sweep"],
)
def test_a_sweep_that_another_program_deletes_is_one_clear_failure(
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
    write: Callable[[Recorder, optuna.Study], object],
) -> None:
    recorder = record()
    recorder.start(ask(memory)).result(WAIT_S)
    optuna.delete_study(study_name=sweep.name, storage=sweep.storage)
    write(recorder, memory)
    until(lambda: failures)
    (error,) = failures
    assert str(error).startswith(
        f"sweep {sweep.name!r} was deleted from the storage, by the Optuna"
    )
