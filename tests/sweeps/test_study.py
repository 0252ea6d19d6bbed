"""What touches the storage runs on SQLite and on PostgreSQL."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.errors import InfrastructureError, InputError
from sweeps.spec import SweepSpec
from sweeps.study import ELAPSED, INTERRUPTED, REASON, Recorder, StoredSweep, hidden, make_folder, open_storage
from tests.sweeps.conftest import close

WAIT_S = 30.0  # how long a test waits for another thread before it fails
Make = Callable[..., SweepSpec]


# --- open


def test_a_storage_is_made_where_there_is_none_and_opened_again(storage_url: str, make_spec: Make) -> None:
    first = open_storage(storage_url)
    StoredSweep.create(first, make_spec(), identity="a")
    close(first)
    again = open_storage(storage_url, must_exist=True)
    assert StoredSweep.find(again, "toy") is not None
    close(again)


def test_the_folder_of_a_sqlite_file_is_made(tmp_path: Path) -> None:
    close(open_storage(f"sqlite:///{tmp_path / 'deep' / 'er' / 'sweeps.db'}"))
    assert [file.name for file in (tmp_path / "deep" / "er").iterdir()] == ["sweeps.db"]


def test_sqlite_keeps_its_rollback_journal(sqlite_storage: RDBStorage) -> None:
    with sqlite_storage.engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar_one() == "delete"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_postgresql_means_psycopg2(postgresql_url: str, scheme: str) -> None:
    storage = open_storage(postgresql_url.replace("postgresql", scheme, 1))
    assert storage.engine.dialect.driver == "psycopg2"
    close(storage)


NOT_A_URL = (
    "--storage: not a database URL. Examples: sqlite:///runs/sweeps.db, postgresql://user:password@host/database"
)


@pytest.mark.parametrize(
    "url",
    ["", "sweeps.db", "runs/sweeps.db", "//", "user:secret@host/db", "postgresql://u:secret@host:port/db"],
)
def test_what_is_not_a_url_is_told_how_one_looks(url: str) -> None:
    with pytest.raises(InputError, match="not a database URL") as caught:
        open_storage(url)
    assert str(caught.value) == NOT_A_URL


@pytest.mark.parametrize("backend", ["mysql", "mysql+pymysql", "oracle", "redis"])
def test_other_databases_are_not_supported(backend: str) -> None:
    with pytest.raises(InputError, match="is not supported") as caught:
        open_storage(f"{backend}://u:secret@host/db")
    name = backend.split("+")[0]
    assert str(caught.value) == (
        f"--storage {backend}://u:***@host/db: {name} is not supported; use sqlite or postgresql"
    )


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"^--storage: a sweep needs a file or a server, not an in-memory database$"):
        open_storage(url)


def test_a_command_that_only_reads_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "sweeps.db"
    with pytest.raises(InputError, match="no sweeps stored here yet") as caught:
        open_storage(f"sqlite:///{path}", must_exist=True)
    assert str(caught.value) == (
        f"{path}: no sweeps stored here yet. `sweeps run SPACE` starts one; --storage names another place"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written") as caught:
        make_folder(tmp_path / "file" / "runs")
    assert str(caught.value) == (
        f"{tmp_path / 'file' / 'runs'}: cannot be written (Not a directory). "
        "Choose another folder with --runs or $SWEEPS_RUNS"
    )


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    make_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_storage_below_a_regular_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot be written \(File exists\).*--storage"):
        open_storage(f"sqlite:///{tmp_path / 'file' / 'sweeps.db'}")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sweeps.db").write_text("a letter to a friend\n" * 100)
    with pytest.raises(InputError, match=r"sweeps\.db: cannot be opened \(file is not a database\)$"):
        open_storage(f"sqlite:///{tmp_path / 'sweeps.db'}")


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be opened \(unable to open database file\)$"):
        open_storage(f"sqlite:///{tmp_path}")


def test_a_driver_that_is_not_installed_is_refused() -> None:
    with pytest.raises(InputError, match=r"^--storage postgresql\+pg8000://u:\*\*\*@h/db: cannot be opened \("):
        open_storage("postgresql+pg8000://u:secret@h/db")


def test_a_server_that_refuses_is_named_without_its_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: refuses
        port = unused.getsockname()[1]
        with pytest.raises(InputError, match="Connection refused") as caught:
            open_storage(f"postgresql://user:secret@127.0.0.1:{port}/db")
    text = str(caught.value)
    assert text.startswith(
        f"--storage postgresql://user:***@127.0.0.1:{port}/db: cannot be opened (connection to server"
    )
    assert "secret" not in text
    assert "\n" not in text


def test_a_database_that_does_not_exist_is_named(postgresql_server: sa.URL) -> None:
    url = postgresql_server.set(database="nobodys", password="secret").render_as_string(hide_password=False)
    with pytest.raises(InputError, match='database "nobodys" does not exist') as caught:
        open_storage(url)
    assert "secret" not in str(caught.value)


def test_a_user_that_does_not_exist_is_named(postgresql_server: sa.URL) -> None:
    url = postgresql_server.set(username="nobody", password="secret").render_as_string(hide_password=False)
    with pytest.raises(InputError, match="nobody") as caught:
        open_storage(url)
    assert "secret" not in str(caught.value)


def test_a_storage_of_another_version_of_optuna_is_refused(storage_url: str) -> None:
    storage = open_storage(storage_url)
    with storage.engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'v0.9.0.a'"))
    close(storage)
    with pytest.raises(InputError, match=r"cannot be opened \(.*storage upgrade"):
        open_storage(storage_url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:1/db", "postgresql://u:***@h:1/db"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("sqlite:///runs/sweeps.db", "sqlite:///runs/sweeps.db"),
        ("not a url with secret", "***"),
        ("postgresql://u:secret@h:port/db", "***"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert hidden(url) == shown


@pytest.mark.parametrize("key", ["password", "sslpassword"])
def test_passwords_among_the_options_are_hidden(key: str) -> None:
    shown = hidden(f"postgresql://u@h/db?{key}=secret&sslmode=require")
    assert "secret" not in shown
    assert "sslmode=require" in shown


# --- find, create, recover


@pytest.fixture
def sweep(storage: RDBStorage, make_spec: Make) -> StoredSweep:
    """A new sweep in the storage."""
    return StoredSweep.create(storage, make_spec(), identity="the-uuid")


def test_a_created_sweep_is_found_with_all_it_is(storage: RDBStorage, sweep: StoredSweep, make_spec: Make) -> None:
    found = StoredSweep.find(storage, "toy")
    assert found == sweep
    assert (found.name, found.uuid, found.spec) == ("toy", "the-uuid", make_spec().fixed_part())
    assert (found.trials(), found.elapsed_s()) == ([], 0.0)


def test_a_sweep_is_an_optuna_study_with_its_direction_and_metric(storage: RDBStorage, sweep: StoredSweep) -> None:
    study = optuna.load_study(study_name="toy", storage=storage)
    assert study.direction == StudyDirection.MAXIMIZE
    assert study.metric_names == ["valid/f1"]


def test_a_loss_is_minimised(storage: RDBStorage, make_spec: Make) -> None:
    spec = make_spec(metric={"name": "valid/loss", "goal": "minimize"})
    sweep = StoredSweep.create(storage, spec, identity="a")
    assert storage.get_study_directions(sweep.study_id) == [StudyDirection.MINIMIZE]


def test_an_unknown_name_finds_nothing(storage: RDBStorage, sweep: StoredSweep) -> None:
    assert StoredSweep.find(storage, "toyy") is None


def test_an_optuna_study_of_another_program_is_not_a_sweep(storage: RDBStorage) -> None:
    storage.create_new_study([StudyDirection.MAXIMIZE], "theirs")
    with pytest.raises(InputError, match=r"^'theirs' in this storage is an Optuna study of another program\. Give"):
        StoredSweep.find(storage, "theirs")


def test_what_a_dead_driver_left_running_is_interrupted_and_keeps_everything(
    storage: RDBStorage, sweep: StoredSweep
) -> None:
    states = [TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING, TrialState.RUNNING]
    for number, state in enumerate(states):
        storage.create_new_trial(
            sweep.study_id,
            template_trial=create_trial(
                state=state,
                value=0.5 if state == TrialState.COMPLETE else None,
                params={"lr": 0.1 / (number + 1)},
                distributions={"lr": FloatDistribution(0.01, 1)},
                intermediate_values={1: 0.25, 2: 0.5},
            ),
        )
    before = sweep.trials()
    assert sweep.recover() == [1, 4]
    after = sweep.trials()
    states[1] = states[4] = TrialState.WAITING
    assert [trial.state for trial in after] == states
    for old, new in zip(before, after, strict=True):
        assert (new.number, new.params, new.intermediate_values) == (old.number, old.params, old.intermediate_values)
    assert [trial.number for trial in after if trial.user_attrs.get(INTERRUPTED)] == [1, 4]
    assert sweep.recover() == []


# --- record


@pytest.fixture
def memory() -> optuna.Study:
    """What the driver decides from."""
    return optuna.create_study(direction="maximize")


@pytest.fixture
def failures() -> list[InfrastructureError]:
    """What the recorder said it could not do."""
    return []


@pytest.fixture
def record(sweep: StoredSweep, failures: list[InfrastructureError]) -> Iterator[Callable[..., Recorder]]:
    """Open a recorder; closed after the test."""
    recorders = []

    def record(**options: Any) -> Recorder:
        recorders.append(
            Recorder(sweep, **{"on_failed": failures.append, "patience_s": WAIT_S, "retry_every_s": 0.001, **options})
        )
        return recorders[-1]

    yield record
    for recorder in recorders:
        recorder.close()


def ask(memory: optuna.Study, lr: float = 0.1) -> FrozenTrial:
    """The next trial, RUNNING."""
    distributions = {"lr": FloatDistribution(0.01, 1), "loss": CategoricalDistribution(["focal", None])}
    memory.add_trial(
        create_trial(state=TrialState.RUNNING, params={"lr": lr, "loss": None}, distributions=distributions)
    )
    return memory.trials[-1]


def test_a_trials_life_is_recorded_in_order(
    sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study, failures: list[InfrastructureError]
) -> None:
    recorder = record()
    for number in range(3):
        recorder.start(ask(memory, lr=0.1 * (number + 1))).result(WAIT_S)
        for step in (1, 2, 4):
            recorder.report(number, step, step / 10)
    recorder.end(0, TrialState.COMPLETE, 0.75, {"fold_scores": [0.5, 1.0]})
    recorder.end(1, TrialState.PRUNED, None, {REASON: "median rule"})
    recorder.end(2, TrialState.FAIL, None, {REASON: "out of memory"})
    recorder.about_sweep(ELAPSED, 12.5)
    recorder.close()
    trials = sweep.trials()
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert [trial.params["lr"] for trial in trials] == [0.1, 0.2, 0.1 * 3]
    assert {trial.params["loss"] for trial in trials} == {None}
    assert [trial.user_attrs for trial in trials] == [
        {"fold_scores": [0.5, 1.0]},
        {REASON: "median rule"},
        {REASON: "out of memory"},
    ]
    assert all(trial.intermediate_values == {1: 0.1, 2: 0.2, 4: 0.4} for trial in trials)
    assert trials[0].value == 0.75
    assert sweep.elapsed_s() == 12.5
    assert failures == []


def test_a_start_is_stored_when_its_future_is_done(
    sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study
) -> None:
    record().start(ask(memory)).result(WAIT_S)
    (trial,) = sweep.trials()
    assert (trial.state, trial.params) == (TrialState.RUNNING, {"lr": 0.1, "loss": None})


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


WRITES = ("create_new_trial", "set_trial_intermediate_value", "set_trial_user_attr", "set_trial_state_values")


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
    """Each write happens, but its first answer is an error; returns the names of those, as they come."""
    seen, lost = set(), []

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
    outage, recorder = Outage(storage, monkeypatch), record()
    outage.times = 3
    recorder.start(ask(memory)).result(WAIT_S)
    outage.times = 4
    recorder.report(0, 1, 0.25)
    recorder.report(0, 2, 0.5)
    recorder.end(0, TrialState.COMPLETE, 0.5, {REASON: "none"})
    done = recorder.start(ask(memory))
    done.result(WAIT_S)
    first, second = sweep.trials()
    assert (first.state, first.value, first.intermediate_values) == (TrialState.COMPLETE, 0.5, {1: 0.25, 2: 0.5})
    assert second.state == TrialState.RUNNING
    assert failures == []
    warned = [entry.getMessage() for entry in caplog.records if entry.name == "sweeps.study"]
    assert warned == ["storage: the server is gone"] * 7
    assert {entry.levelno for entry in caplog.records if entry.name == "sweeps.study"} == {logging.WARNING}


def test_a_commit_whose_answer_was_lost_is_not_written_twice(
    storage: RDBStorage,
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost, recorder = lose_every_first_answer(storage, monkeypatch), record()
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

    outage, recorder = Outage(storage, monkeypatch), record(patience_s=0.0, on_failed=on_failed)
    outage.times = FOREVER
    started = recorder.start(ask(memory))
    assert told.wait(WAIT_S)
    outage.times = 0
    recorder.report(0, 1, 0.5)
    recorder.close()
    (error,) = failures
    assert str(error) == (
        "the storage of sweep 'toy' cannot be written (the server is gone). "
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
    outage, recorder = Outage(storage, monkeypatch), record(patience_s=3600.0)
    outage.times = FOREVER
    recorder.start(ask(memory))
    assert outage.failed.wait(WAIT_S)
    recorder.close()
    assert len(failures) == 1


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
        state=TrialState.WAITING, params={"lr": 0.9}, distributions={"lr": FloatDistribution(0.01, 1)}
    )
    storage.create_new_trial(sweep.study_id, template_trial=theirs)
    recorder.start(ask(memory))
    recorder.close()
    assert heard.is_set()
    assert "another program" in str(told[0])
    assert sweep.trials()[0].params == {"lr": 0.9}


def test_a_trial_that_another_program_ended_is_told_as_a_failure(
    storage: RDBStorage,
    sweep: StoredSweep,
    record: Callable[..., Recorder],
    memory: optuna.Study,
    failures: list[InfrastructureError],
) -> None:
    recorder = record()
    recorder.start(ask(memory)).result(WAIT_S)
    trial_id = storage.get_trial_id_from_study_id_trial_number(sweep.study_id, 0)
    storage.set_trial_state_values(trial_id, TrialState.FAIL)
    recorder.report(0, 1, 0.5)
    recorder.close()
    (error,) = failures
    assert "another program" in str(error)


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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # a bug keeps its traceback
def test_a_bug_in_the_recorder_is_told_so_that_nobody_waits_for_it(
    record: Callable[..., Recorder], failures: list[InfrastructureError]
) -> None:
    recorder = record()
    recorder.report(7, 1, 0.5)  # a trial that never started
    recorder.close()
    assert [str(error) for error in failures] == ["the recorder stopped by a bug; its traceback is above"]
