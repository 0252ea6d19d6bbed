"""What touches the storage runs on SQLite and on PostgreSQL."""

import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.errors import InfrastructureError, InputError, LeaseLostError
from sweeps.paths import make_folder
from sweeps.space.spec import SweepSpec
from sweeps.study import stored_sweep as study_module
from sweeps.study.lease import Lease, Times
from sweeps.study.recorder import Recorder
from sweeps.study.records import ELAPSED, GPU_SECONDS, INTERRUPTED, REASON, SWEEP, TAKEN_FROM
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from tests.postgres import Server
from tests.sweeps.conftest import close

Make = Callable[..., SweepSpec]


# --- open


def test_a_storage_is_made_where_there_is_none_and_opened_again(
    storage_url: str, make_spec: Make
) -> None:
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
    with pytest.raises(
        InputError,
        match=r"sweeps\.db: cannot be opened \(file is not a database\)\. Name another file",
    ):
        open_storage(f"sqlite:///{tmp_path / 'sweeps.db'}")


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder") as caught:
        open_storage(f"sqlite:///{tmp_path}")
    assert (
        str(caught.value)
        == f"--storage: {tmp_path} is a folder, not a database. Name a file in it, as sweeps.db"
    )


def test_a_driver_that_is_not_installed_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^--storage postgresql\+pg8000://u:\*\*\*@h/db: cannot be opened \("
    ):
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


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """PostgreSQL that trusts everybody but carol, whose database is `carols`."""
    server = Server()
    server.run(
        f"CREATE ROLE carol LOGIN PASSWORD '{PASSWORD}'", "CREATE DATABASE carols OWNER carol"
    )
    server.ask_for_passwords("carol")
    yield server
    server.close()


PASSWORD = "p@ss:w/rd%41{}?#secret"  # all that has a meaning of its own in a URL, a format or a percent code


def url_of_carol(server: Server, *, password: str, database: str = "carols") -> str:
    host = server.url.query["host"]
    return f"postgresql://carol:{quote(password, safe='')}@/{database}?host={host}"


def test_a_password_of_special_characters_is_written_percent_encoded(server: Server) -> None:
    storage = open_storage(url_of_carol(server, password=PASSWORD))
    assert storage.get_all_studies() == []
    close(storage)


WAYS_TO_BE_REFUSED = [
    (
        lambda server: url_of_carol(server, password="not the secret"),
        r'FATAL: password authentication failed for user "carol"\)\. User or password are wrong; special characters',
    ),
    (
        lambda server: url_of_carol(server, password="secret").replace(":secret", ""),
        r"no password supplied\)\. Write the password into the URL, postgresql://user:password@host/database$",
    ),
    (
        lambda server: url_of_carol(server, password=PASSWORD, database="postgres"),
        r"permission denied for schema public\)\. The user may not make tables there: GRANT CREATE ON SCHEMA public",
    ),
    (
        lambda server: url_of_carol(server, password=PASSWORD, database="nobodys"),
        r'database "nobodys" does not exist\)\. Create it first, or name another one$',
    ),
    (
        lambda server: url_of_carol(server, password="secret").replace("carol:", "nobody:"),
        r'role "nobody" does not exist\)\. Create it first, or name another one$',
    ),
]


@pytest.mark.parametrize(
    ("url", "problem"), WAYS_TO_BE_REFUSED, ids=["wrong", "none", "tables", "database", "role"]
)
def test_whom_a_server_does_not_let_in_is_told_why_and_what_to_do(
    server: Server, url: Callable[[Server], str], problem: str
) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        open_storage(url(server))
    text = str(caught.value)
    assert text.startswith("--storage postgresql://")
    assert "secret" not in text
    assert "\n" not in text


def set_version(url: str, version: str) -> None:
    storage = open_storage(url)
    with storage.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{version}'"))
    close(storage)


def test_a_storage_of_a_newer_optuna_is_refused_with_what_to_do(storage_url: str) -> None:
    set_version(storage_url, "v99.0.0.a")
    with pytest.raises(
        InputError, match=r"its tables were made by a newer version of Optuna than"
    ) as caught:
        open_storage(storage_url)
    assert str(caught.value).endswith(
        f"than {optuna.__version__}, which is here. Update: pip install -U optuna"
    )


def test_a_storage_of_an_older_optuna_is_refused_with_what_to_do(storage_url: str) -> None:
    set_version(storage_url, "v0.9.0.a")
    with pytest.raises(
        InputError,
        match=r"by an older version of Optuna\. Bring it up to date: optuna storage upgrade",
    ):
        open_storage(storage_url)


# --- find, create, recover


@pytest.fixture
def sweep(storage: RDBStorage, make_spec: Make) -> StoredSweep:
    """A new sweep in the storage."""
    return StoredSweep.create(storage, make_spec(), identity="the-uuid")


def test_a_created_sweep_is_found_with_all_it_is(
    storage: RDBStorage, sweep: StoredSweep, make_spec: Make
) -> None:
    found = StoredSweep.find(storage, "toy")
    assert found == sweep
    assert (found.name, found.uuid, found.spec) == ("toy", "the-uuid", make_spec().fixed_part())
    assert (found.trials(), found.record().elapsed_s) == ([], 0.0)


def test_a_sweep_is_an_optuna_study_with_its_direction_and_metric(
    storage: RDBStorage, sweep: StoredSweep
) -> None:
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
    theirs = storage.create_new_study([StudyDirection.MAXIMIZE], "theirs")
    storage.create_new_trial(theirs)
    with pytest.raises(
        InputError, match=r"^'theirs' in this storage is an Optuna study of another program\. Give"
    ):
        StoredSweep.find(storage, "theirs")


def test_a_sweep_whose_creation_was_cut_off_is_absent_and_made_again(
    storage: RDBStorage, make_spec: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: Any) -> None:
        raise StorageInternalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "set_study_user_attr", cut)
        with pytest.raises(
            InfrastructureError,
            match=r"^the storage does not answer \(gone\)\. Run the same command",
        ):
            StoredSweep.create(storage, make_spec(), identity="a")
    assert StoredSweep.find(storage, "toy") is None
    made = StoredSweep.create(storage, make_spec(), identity="b")
    assert StoredSweep.find(storage, "toy") == made


def test_a_sweep_of_a_newer_version_is_refused(storage: RDBStorage, sweep: StoredSweep) -> None:
    sweep.set_attribute(SWEEP, {**sweep.record().identity, "format": 2})
    with pytest.raises(InputError, match="newer version") as caught:
        StoredSweep.find(storage, "toy")
    assert str(caught.value) == (
        "sweep 'toy' was stored by a newer version of foldsweep (format 2; this one knows 1). "
        "Update: pip install -U foldsweep"
    )


def test_a_sweep_from_before_formats_had_numbers_is_found(
    storage: RDBStorage, sweep: StoredSweep
) -> None:
    sweep.set_attribute(
        SWEEP, {key: value for key, value in sweep.record().identity.items() if key != "format"}
    )
    assert StoredSweep.find(storage, "toy") == sweep


def test_a_sweep_that_grew_keeps_all_but_its_spec(storage: RDBStorage, sweep: StoredSweep) -> None:
    grown = {**sweep.spec, "seed": 8}
    assert sweep.update_spec(grown).spec == grown
    found = StoredSweep.find(storage, "toy")
    assert found is not None
    assert (found.uuid, found.study_id, found.spec) == (sweep.uuid, sweep.study_id, grown)
    assert found.record().identity["metric"] == "valid/f1"


def test_a_finished_trial_of_another_sweep_is_added_with_all_it_has(sweep: StoredSweep) -> None:
    theirs = finished(TrialState.COMPLETE)
    sweep.add(theirs)
    (trial,) = sweep.trials()
    assert_same(trial, theirs)
    assert sweep.record().gpu_s == 0.0


def finished(state: TrialState) -> FrozenTrial:
    """A trial that was over before it was added."""
    return create_trial(
        state=state,
        value=0.75 if state == TrialState.COMPLETE else None,
        params={"lr": 0.1, "loss": None},
        distributions=DISTRIBUTIONS,
        intermediate_values={1: 0.25, 2: float("nan")},
        user_attrs={"fold_scores": [0.5, 1.0], TAKEN_FROM: {"sweep": "other", "trial": 3}},
        system_attrs={"x": [1]},
    )


DISTRIBUTIONS = {"lr": FloatDistribution(0.01, 1), "loss": CategoricalDistribution(["focal", None])}


def assert_same(stored: FrozenTrial, template: FrozenTrial) -> None:
    for name in (
        "state",
        "values",
        "params",
        "distributions",
        "user_attrs",
        "system_attrs",
        "datetime_complete",
    ):
        assert getattr(stored, name) == getattr(template, name), name
    assert repr(stored.intermediate_values) == repr(template.intermediate_values)  # nan


def test_a_recovery_that_is_cut_off_is_finished_by_the_next_one(
    storage: RDBStorage, sweep: StoredSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        storage.create_new_trial(
            sweep.study_id, template_trial=create_trial(state=TrialState.RUNNING)
        )
    write, calls = storage.set_trial_state_values, []

    def cut(*args: Any) -> bool:
        calls.append(args)
        if len(calls) == 2:
            raise StorageInternalError("gone")
        return write(*args)

    monkeypatch.setattr(storage, "set_trial_state_values", cut)
    with pytest.raises(InfrastructureError, match="does not answer"):
        sweep.recover()
    assert sweep.recover() == [1, 2]
    assert [trial.state for trial in sweep.trials()] == [TrialState.WAITING] * 3
    assert all(trial.user_attrs == {INTERRUPTED: True} for trial in sweep.trials())


DRIVER = """\
import sys
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from sweeps.study.stored_sweep import Recorder, StoredSweep, open_storage

recorder = Recorder(StoredSweep.find(open_storage(sys.argv[1]), "toy"), on_failed=print)
distributions = {name: FloatDistribution(0, 1) for name in "abcd"}
number = 0
while True:
    trial = create_trial(
        state=TrialState.RUNNING, params=dict.fromkeys("abcd", 0.5), distributions=distributions, user_attrs={"u": 1}
    )
    trial.number = number
    started = recorder.start(trial)
    for step in range(3):
        recorder.report(number, step, 0.5)
    if number % 3:
        recorder.end(number, TrialState.COMPLETE, 0.5, {"fold_scores": [0.5]})
    started.result()
    print(number, flush=True)
    number += 1
"""


def test_a_driver_killed_while_it_writes_leaves_whole_trials_that_are_recovered(
    storage: RDBStorage, sweep: StoredSweep, storage_url: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, storage_url], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        while int(driver.stdout.readline()) < 20:
            pass
        driver.kill()
    left = [trial.number for trial in sweep.trials() if trial.state == TrialState.RUNNING]
    assert left[:7] == [0, 3, 6, 9, 12, 15, 18]
    assert sweep.recover() == left
    assert sweep.recover() == []
    trials = sweep.trials()
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert all(set(trial.params) == set("abcd") and trial.user_attrs["u"] == 1 for trial in trials)
    assert {trial.state for trial in trials} == {TrialState.WAITING, TrialState.COMPLETE}


def test_what_a_dead_driver_left_running_is_interrupted_and_keeps_everything(
    storage: RDBStorage, sweep: StoredSweep
) -> None:
    states = [
        TrialState.COMPLETE,
        TrialState.RUNNING,
        TrialState.FAIL,
        TrialState.WAITING,
        TrialState.RUNNING,
    ]
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
        assert (new.number, new.params, new.intermediate_values) == (
            old.number,
            old.params,
            old.intermediate_values,
        )
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
def record(
    sweep: StoredSweep, failures: list[InfrastructureError]
) -> Iterator[Callable[..., Recorder]]:
    """Open a recorder; closed after the test."""
    recorders = []

    def record(**options: Any) -> Recorder:
        recorders.append(
            Recorder(
                sweep,
                **{
                    "on_failed": failures.append,
                    "patience_s": WAIT_S,
                    "retry_every_s": 0.001,
                    **options,
                },
            )
        )
        return recorders[-1]

    yield record
    for recorder in recorders:
        recorder.close()


def ask(memory: optuna.Study, lr: float = 0.1) -> FrozenTrial:
    """The next trial, RUNNING."""
    memory.add_trial(
        create_trial(
            state=TrialState.RUNNING, params={"lr": lr, "loss": None}, distributions=DISTRIBUTIONS
        )
    )
    return memory.trials[-1]


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
    recorder.end(1, TrialState.PRUNED, None, {REASON: "median rule"})
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
    assert trials[0].value == 0.75
    assert sweep.record().elapsed_s == 12.5
    assert failures == []


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
    down, up = (
        "storage: the server is gone and more; trying again",
        "storage: answers again after 0 s",
    )
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
    monkeypatch.setattr(study_module, "CLOSING_S", 0.05)
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


# --- the fence


class Fence:
    """What the lease says before each write, in turn; then that all is well."""

    def __init__(self, *answers: Exception) -> None:
        self.answers, self.asked = list(answers), 0

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


def test_after_an_outage_longer_than_the_lease_a_driver_that_was_replaced_writes_nothing(
    storage: RDBStorage, sweep: StoredSweep, record: Callable[..., Recorder], memory: optuna.Study
) -> None:
    now, told = [0.0], []
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
    commits, engine = [0], carols.storage.engine

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
        "the recorder stopped by a bug; its traceback is above"
    ]
