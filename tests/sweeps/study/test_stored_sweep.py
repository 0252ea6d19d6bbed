"""Sweeps that are made, found and recovered, on SQLite and on PostgreSQL."""

import dataclasses
import subprocess
import sys
from typing import Any

import optuna
import optuna_dashboard
import pytest
from optuna.distributions import FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from sweeps.errors import InfrastructureError, InputError
from sweeps.study.records import CAP, ELAPSED, FORMAT, INTERRUPTED, SWEEP
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.study.stored_trials import Make, assert_same, finished
from trainer.config import TrainConfig


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


def test_the_dashboard_shows_the_note_and_keeps_what_a_user_made_of_it(
    storage: RDBStorage, sweep: StoredSweep
) -> None:
    study = optuna.load_study(study_name="toy", storage=storage)
    text = "# Is 10 % enough?\n" + "ä line\n" * 1_000
    sweep.add_note(text)
    assert optuna_dashboard.get_note(study) == text
    optuna_dashboard.save_note(study, "yes")
    sweep.add_note("# Is 10 % enough?")
    assert optuna_dashboard.get_note(study) == "yes"


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
    storage.set_study_user_attr(sweep.study_id, SWEEP, {"format": FORMAT + 1, "uuid": "the-uuid"})
    storage.set_study_system_attr(sweep.study_id, "foldsweep:foldsweep", {"format": FORMAT + 1})
    with pytest.raises(InputError, match="newer version") as caught:
        StoredSweep.find(storage, "toy")
    assert str(caught.value) == (
        "sweep 'toy' was stored by a newer version of foldsweep (format 4; this one knows 3). "
        "Update: pip install -U foldsweep"
    )


def test_a_sweep_from_before_formats_had_numbers_is_found(
    storage: RDBStorage, sweep: StoredSweep
) -> None:
    identity = {key: value for key, value in sweep.record().identity.items() if key != "format"}
    storage.delete_study(sweep.study_id)
    study_id = storage.create_new_study([StudyDirection.MAXIMIZE], "toy")
    storage.set_study_user_attr(study_id, SWEEP, identity)
    found = StoredSweep.find(storage, "toy")
    assert found == dataclasses.replace(sweep, study_id=study_id, format=1)


def test_the_study_shows_format_uuid_and_metric_only(
    storage: RDBStorage, sweep: StoredSweep
) -> None:
    """The Optuna dashboard shows each user attribute of a study."""
    sweep.set_attribute(ELAPSED, 12.5)
    shown = {"format": 3, "uuid": "the-uuid", "metric": "valid/f1"}
    assert storage.get_study_user_attrs(sweep.study_id) == {SWEEP: shown}
    record = sweep.record()
    assert record.elapsed_s == 12.5
    assert record.identity == {**shown, "spec": sweep.spec, "finish": 4}


def test_a_sweep_of_an_earlier_format_stays_readable_for_the_version_that_began_it(
    storage: RDBStorage, sweep: StoredSweep
) -> None:
    about = {**sweep.record().identity, "format": 2}
    storage.delete_study(sweep.study_id)
    study_id = storage.create_new_study([StudyDirection.MAXIMIZE], "toy")
    storage.set_study_user_attr(study_id, SWEEP, about)
    storage.set_study_user_attr(study_id, CAP, 7)
    old = StoredSweep.find(storage, "toy")
    assert old is not None
    assert (old.record().run_cap, old.record().format) == (7, 2)
    old.set_attribute(CAP, 9)
    old.update_spec({**old.spec, "seed": 8})
    assert storage.get_study_user_attrs(study_id) == {
        SWEEP: {**about, "spec": {**old.spec, "seed": 8}},
        CAP: 9,
    }
    assert old.record().run_cap == 9


@pytest.mark.parametrize(
    ("stored", "decay"), [({"format": FORMAT}, None), ({"format": 1}, 0.0), ({}, 0.0)]
)
def test_a_sweep_keeps_the_defaults_of_the_version_that_began_it(
    sweep: StoredSweep, stored: dict[str, int], decay: float | None
) -> None:
    identity = {key: value for key, value in sweep.record().identity.items() if key != "format"}
    sweep.set_attribute(SWEEP, {**identity, **stored})
    defaults = sweep.record().defaults
    assert defaults.get("weight_decay") == decay
    assert TrainConfig(**defaults).used_weight_decay == (0.01 if decay is None else decay)


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


def test_one_trial_is_read_by_its_number(sweep: StoredSweep) -> None:
    template = finished(TrialState.PRUNED)
    sweep.add(finished(TrialState.COMPLETE))
    number = sweep.add(template)
    found = sweep.trial(number)
    assert found is not None
    assert_same(found, template)
    assert found.number == number
    assert sweep.trial(number + 1) is None


def test_a_recovery_that_is_cut_off_is_finished_by_the_next_one(
    storage: RDBStorage, sweep: StoredSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        storage.create_new_trial(
            sweep.study_id, template_trial=create_trial(state=TrialState.RUNNING)
        )
    write = storage.set_trial_state_values
    calls = []

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
from sweeps.study.recorder import Recorder
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep

recorder = Recorder(StoredSweep.find(open_storage(sys.argv[1]), "toy"), on_failed=print)
distributions = {name: FloatDistribution(0, 1) for name in "abcd"}
number = 0
while True:
    trial = create_trial(
        state=TrialState.RUNNING, params=dict.fromkeys("abcd", 0.5), distributions=distributions, \
user_attrs={"u": 1}
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
