"""A storage that fails, loses its answers or is killed: tried again, told once, written once."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from sweeps.errors import InfrastructureError
from sweeps.study import recorder as recorder_module
from sweeps.study.recorder import Recorder
from sweeps.study.records import ELAPSED, REASON
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from tests.postgres import Server
from tests.sweeps.conftest import close
from tests.sweeps.study.passwords import PASSWORD, url_of_carol
from tests.sweeps.study.stored_trials import Make, ask
from tests.sweeps.study.waiting import WAIT_S

# --- a storage that fails


WRITES = (
    "create_new_trial",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_state_values",
)


class Outage:
    """The storage's next `times` writes fail, and nothing of them is written."""

    def __init__(self, storage: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self.failed = threading.Event()
        for name in WRITES:
            monkeypatch.setattr(storage, name, self._failing(getattr(storage, name)))

    def _failing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self.times == 0:
                return method(*args, **options)
            self.times -= 1
            self.failed.set()
            raise StorageInternalError("the server is gone\nand more")

        return call


def lose_every_first_answer(storage: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each write happens, but its first answer is an error;
    returns the names of those, as they come.
    """
    seen = set()
    lost = []

    def losing(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            result = method(*args, **options)
            if (name, repr((args, options))) not in seen:
                seen.add((name, repr((args, options))))
                lost.append(name)
                raise StorageInternalError("the answer was lost")
            return result

        return call

    for name in WRITES:
        monkeypatch.setattr(storage, name, losing(name, getattr(storage, name)))
    return lost


FOREVER = 10**9


def test_writes_that_fail_are_tried_again_in_order(
    storage: RDBStorage,
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(storage, monkeypatch)
    recorder = record()
    outage.times = 3
    recorder.start(ask(memory)).result(WAIT_S)
    outage.times = 4
    recorder.report(0, 1, 0.25)
    recorder.report(0, 2, 0.5)
    recorder.end(0, TrialState.COMPLETE, 0.5, {REASON: "none"})
    done = recorder.start(ask(memory))
    done.result(WAIT_S)
    first, second = sweep.trials()
    assert (first.state, first.value, first.intermediate_values) == (
        TrialState.COMPLETE,
        0.5,
        {1: 0.25, 2: 0.5},
    )
    assert second.state == TrialState.RUNNING
    assert failures == []
    warned = [
        entry.getMessage() for entry in caplog.records if entry.name == "sweeps.study.recorder"
    ]
    down = "storage: the server is gone and more; trying again"
    up = "storage: answers again after 0 s"
    assert warned == [down, up] * 2
    assert {entry.levelno for entry in caplog.records if entry.name == "sweeps.study.recorder"} == {
        logging.WARNING
    }


def test_a_commit_whose_answer_was_lost_is_not_written_twice(
    storage: RDBStorage,
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = lose_every_first_answer(storage, monkeypatch)
    recorder = record()
    ends = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING]
    for number, end in enumerate(ends):
        recorder.start(ask(memory))
        recorder.report(number, 1, 0.5)
        recorder.end(number, end, 0.5 if end == TrialState.COMPLETE else None, {REASON: "because"})
    recorder.restart(3).result(WAIT_S)
    trials = sweep.trials()
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert [trial.state for trial in trials] == [*ends[:3], TrialState.RUNNING]
    assert trials[0].value == 0.5
    assert all(trial.intermediate_values == {1: 0.5} for trial in trials)
    assert all(trial.user_attrs == {REASON: "because"} for trial in trials)
    assert lost == [*WRITES * 4, "set_trial_state_values"]
    assert failures == []


def test_when_patience_is_over_the_failure_is_told_once_and_nothing_more_is_written(
    storage: RDBStorage,
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = threading.Event()

    def on_failed(error: InfrastructureError) -> None:
        failures.append(error)
        told.set()

    outage = Outage(storage, monkeypatch)
    recorder = record(patience_s=0.0, on_failed=on_failed)
    outage.times = FOREVER
    started = recorder.start(ask(memory))
    assert told.wait(WAIT_S)
    outage.times = 0
    recorder.report(0, 1, 0.5)
    recorder.close()
    (error,) = failures
    assert str(error) == (
        "the storage of sweep 'toy' cannot be written (the server is gone and more). "
        "Finished folds are on disk; run the same command again to continue"
    )
    assert not started.done()
    assert sweep.trials() == []


def test_closing_does_not_wait_for_a_storage_that_is_gone(
    storage: RDBStorage,
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorder_module, "CLOSING_S", 0.05)
    outage = Outage(storage, monkeypatch)
    recorder = record(patience_s=3600.0)
    outage.times = FOREVER
    recorder.start(ask(memory))
    assert outage.failed.wait(WAIT_S)
    recorder.close()
    assert len(failures) == 1


# --- a server that is killed


@pytest.fixture
def carols(server: Server, make_spec: Make) -> Iterator[StoredSweep]:
    """An empty sweep on a server that may be killed."""
    storage = open_storage(url_of_carol(server, password=PASSWORD))
    yield StoredSweep.create(storage, make_spec(), identity="a")
    if not server.alive:
        server.start()
    storage.delete_study(storage.get_study_id_from_name("toy"))
    close(storage)


def record_a_small_sweep(recorder: Recorder, memory: optuna.Study) -> None:
    for number in range(4):
        recorder.start(ask(memory, lr=0.1 * (number + 1)))
        for step in range(1, 6):
            recorder.report(number, step, step / 10 + number)
        recorder.end(number, TrialState.COMPLETE, number / 10, {"fold_scores": [0.0, number / 5]})
    recorder.about_sweep(ELAPSED, 12.5)
    recorder.close()


def table(sweep: StoredSweep) -> list[Any]:
    """All that is stored of the trials, and how many rows that takes."""
    with sweep.storage.engine.connect() as connection:
        names = (
            "trials",
            "trial_intermediate_values",
            "trial_user_attributes",
            "trial_values",
            "trial_params",
        )
        rows = [
            connection.execute(sa.text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in names
        ]
    trials = [
        (t.number, t.state, t.params, t.values, list(t.intermediate_values.items()), t.user_attrs)
        for t in sweep.trials()
    ]
    return [rows, trials, sweep.record().elapsed_s]


def test_a_server_killed_in_the_middle_of_writes_changes_nothing_in_the_table(
    server: Server,
    carols: StoredSweep,
    sqlite_storage: RDBStorage,
    make_spec: Make,
    memory: optuna.Study,
    failures: list[InfrastructureError],
    caplog: pytest.LogCaptureFixture,
) -> None:
    undisturbed = StoredSweep.create(sqlite_storage, make_spec(), identity="a")
    record_a_small_sweep(
        Recorder(undisturbed, on_failed=failures.append), optuna.create_study(direction="maximize")
    )
    commits = [0]
    engine = carols.storage.engine

    def die(connection: Any) -> None:
        commits[0] += 1
        if commits[0] in (7, 15):  # a report and an end, written and not committed
            server.kill()

    def live_again() -> None:
        if not server.alive:
            server.start()

    sa.event.listen(engine, "commit", die)
    recorder = Recorder(
        carols, on_failed=failures.append, fence=live_again, patience_s=WAIT_S, retry_every_s=0.001
    )
    record_a_small_sweep(recorder, memory)
    assert table(carols) == table(undisturbed)
    assert failures == []
    assert commits[0] > 15
    warned = [
        entry.getMessage() for entry in caplog.records if entry.name == "sweeps.study.recorder"
    ]
    assert [line.split(";")[-1].split(" after")[0] for line in warned] == [
        " trying again",
        "storage: answers again",
    ] * 2
    assert not any("secret" in line for line in caplog.messages)


def test_a_server_that_stays_away_is_told_once_without_its_password(
    server: Server, carols: StoredSweep, memory: optuna.Study, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[InfrastructureError] = []
    recorder = Recorder(carols, on_failed=told.append, patience_s=0.05, retry_every_s=0.01)
    recorder.start(ask(memory)).result(WAIT_S)
    server.kill()
    for step in range(3):
        recorder.report(0, step, 0.5)
    recorder.close()
    assert len(told) == 1
    assert str(told[0]).startswith(
        "the storage of sweep 'toy' cannot be written (connection to server on socket "
    )
    assert not any("secret" in line for line in [str(told[0]), *caplog.messages])
    with pytest.raises(
        InfrastructureError, match=r"^the storage does not answer \(connection to server"
    ):
        carols.trials()
