"""What the records hold of a trial: the same values that a running sweep reports."""

import datetime
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.paths import SweepFiles, TrialFiles
from sweeps.results.view import find_sweep
from sweeps.running.events import EndState
from sweeps.study.storage import open_storage
from sweeps.tracking.recorded import Recorded, facts_of, read_recorded
from sweeps.tracking.tracker import Epoch, Trial
from tests.sweeps.tracking.told import facts
from trainer.files import write_csv, write_json
from trainer.training.result import CURVE, RESULT

BEGAN = datetime.datetime(2026, 11, 28, 10, 0)  # noqa: DTZ001 - as Optuna stores it
ENDED = datetime.datetime(2026, 11, 28, 11, 0)  # noqa: DTZ001
RESULT_AT = 1_790_000_000.0


def stored(state: TrialState, values: Mapping[int, float], **attributes: Any) -> FrozenTrial:
    """A trial as the storage gives it."""
    trial = create_trial(
        state=state,
        value=0.75 if state == TrialState.COMPLETE else None,
        params={"lr": 0.25},
        distributions={"lr": FloatDistribution(0, 1)},
        user_attrs=attributes,
        intermediate_values=dict(values),
    )
    trial.number = 7
    trial.datetime_start = BEGAN
    trial.datetime_complete = ENDED if state.is_finished() else None
    return trial


def write_fold(folder: Path, fold: int, *scores: float) -> None:
    """A finished fold run with an epoch of ten seconds for each score."""
    directory = files_in(folder).fold(fold)
    rows = [[epoch, score, 10.0] for epoch, score in enumerate(scores, 1)]
    write_csv(directory / CURVE, ["epoch", "f1", "seconds"], rows)
    result = {"metrics": {"f1": scores[-1]}, "seconds": 10.0 * len(scores)}
    write_json(directory / RESULT, result)
    os.utime(directory / RESULT, (RESULT_AT, RESULT_AT))


def files_in(folder: Path) -> TrialFiles:
    return SweepFiles(folder).trial(7)


def read(folder: Path, trial: FrozenTrial) -> Recorded:
    found = read_recorded(trial, facts(folder))
    assert found is not None
    return found


class TestEpochs:
    def test_a_finished_fold_has_all_metrics_of_its_curve_and_a_time_for_each_row(
        self, tmp_path: Path
    ):
        write_fold(tmp_path, 0, 0.5, 0.625)
        found = read(tmp_path, stored(TrialState.RUNNING, {1: 0.5, 2: 0.625}))
        first = Epoch(0, 1, 1, RESULT_AT - 10, 0.5, {"f1": 0.5, "seconds": 10.0})
        assert found.epochs == (
            first,
            Epoch(0, 2, 2, RESULT_AT, 0.625, {"f1": 0.625, "seconds": 10.0}),
        )
        assert (found.finished, found.end) == ((2,), None)

    def test_the_value_is_the_mean_over_finished_folds_where_the_storage_lags_behind(
        self, tmp_path: Path
    ):
        write_fold(tmp_path, 0, 0.5)
        write_fold(tmp_path, 1, 0.25, 0.75)
        found = read(tmp_path, stored(TrialState.RUNNING, {1: 0.5}))
        assert [(epoch.step, epoch.value) for epoch in found.epochs] == [
            (1, 0.5),
            (5, 0.375),
            (6, 0.625),
        ]

    def test_a_reported_value_counts_more_than_one_computed_later(self, tmp_path: Path):
        """`checkpoint: best` changes the scores of all folds when the trial is over."""
        write_fold(tmp_path, 0, 0.5)
        found = read(tmp_path, stored(TrialState.COMPLETE, {1: 0.4375}, fold_scores=[0.5]))
        assert [epoch.value for epoch in found.epochs] == [0.4375]

    @pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.WAITING])
    def test_a_fold_in_progress_is_left_out_because_its_curve_may_come(
        self, tmp_path: Path, state: TrialState
    ):
        write_fold(tmp_path, 0, 0.5)
        found = read(tmp_path, stored(state, {1: 0.5, 5: 0.5, 6: 0.625}))
        assert [epoch.step for epoch in found.epochs] == [1]

    @pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL])
    def test_a_fold_that_never_finished_is_told_from_the_reports(
        self, tmp_path: Path, state: TrialState
    ):
        write_fold(tmp_path, 0, 0.5)
        found = read(tmp_path, stored(state, {1: 0.5, 5: 0.5, 6: 0.625}))
        assert found.epochs[1:] == (
            Epoch(1, 1, 5, ENDED.timestamp(), 0.5, {"f1": 0.5}),
            Epoch(1, 2, 6, ENDED.timestamp(), 0.625, {"f1": 0.75}),
        )

    def test_without_its_files_the_reports_are_told_with_the_stored_fold_scores(
        self, tmp_path: Path
    ):
        found = read(tmp_path, stored(TrialState.PRUNED, {1: 0.5, 5: 0.625}, fold_scores=[0.5]))
        assert [epoch.metrics for epoch in found.epochs] == [{"f1": 0.5}, {"f1": 0.75}]
        found = read(tmp_path, stored(TrialState.FAIL, {1: 0.5, 5: 0.625}))
        assert [(epoch.value, epoch.metrics) for epoch in found.epochs] == [
            (0.5, {"f1": 0.5}),
            (0.625, {}),
        ]

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda fold: (fold / CURVE).write_text("epoch,f1\n1,half\n"),
            lambda fold: (fold / CURVE).unlink(),
            lambda fold: (fold / RESULT).write_text("{"),
            lambda fold: (fold / RESULT).write_text('{"metrics": {}}'),
        ],
    )
    def test_a_fold_whose_files_cannot_be_read_is_not_finished(self, tmp_path: Path, spoil: Any):
        write_fold(tmp_path, 0, 0.5)
        write_fold(tmp_path, 1, 0.5)
        spoil(files_in(tmp_path).fold(0))
        assert read(tmp_path, stored(TrialState.RUNNING, {1: 0.5})).epochs == ()


class TestTrial:
    def test_it_has_its_parameters_configuration_and_start(self, tmp_path: Path):
        write_json(files_in(tmp_path).config, {"lr": 0.25, "loss_mix": {"focal": 1.0}})
        found = read(tmp_path, stored(TrialState.RUNNING, {}))
        config = {"lr": 0.25, "loss_mix": {"focal": 1.0}}
        assert found.trial == Trial(7, {"lr": 0.25}, config, BEGAN.timestamp())

    def test_a_trial_that_took_a_result_over_was_not_trained(self, tmp_path: Path):
        of = {"sweep": "other", "trial": 3}
        trial = stored(TrialState.COMPLETE, {1: 0.5}, fold_scores=[0.5], taken_from=of)
        assert read_recorded(trial, facts(tmp_path)) is None

    def test_a_trial_whose_worker_has_not_written_its_configuration_is_not_there_yet(
        self, tmp_path: Path
    ):
        running = stored(TrialState.RUNNING, {})
        assert read_recorded(running, facts(tmp_path)) is None
        write_json(files_in(tmp_path).config, {"lr": 0.25})
        assert read(tmp_path, running).trial.config == {"lr": 0.25}

    def test_a_trial_that_failed_before_it_had_a_configuration_is_there(self, tmp_path: Path):
        assert read(tmp_path, stored(TrialState.FAIL, {})).trial.config == {}

    def test_a_trial_that_waits_for_its_first_worker_is_not_there_yet(self, tmp_path: Path):
        waiting = stored(TrialState.WAITING, {}, retry_of=3)
        write_fold(tmp_path, 0, 0.5)  # taken over from the failed trial
        assert read_recorded(waiting, facts(tmp_path)) is None
        write_json(files_in(tmp_path).config, {"lr": 0.25})
        assert read(tmp_path, waiting).end is not None


class TestEnd:
    def test_a_completed_trial_has_its_score_and_the_numbers_of_its_folds(self, tmp_path: Path):
        write_fold(tmp_path, 0, 0.5, 0.5)
        write_fold(tmp_path, 1, 1.0)
        end = read(tmp_path, stored(TrialState.COMPLETE, {}, fold_scores=[0.5, 1.0])).end
        assert end is not None
        assert (end.state, end.score, end.reason) == (EndState.COMPLETED, 0.75, "")
        assert end.summary == {
            "fold-0/score": 0.5,
            "fold-1/score": 1.0,
            "seconds": 30.0,
            "std": pytest.approx(0.5**1.5),
        }
        assert end.time == ENDED.timestamp()

    def test_a_pruned_trial_has_a_reason_and_no_score(self, tmp_path: Path):
        trial = stored(TrialState.PRUNED, {1: 0.5}, fold_scores=[0.5], reason="no chance")
        found = read(tmp_path, trial)
        assert found.end is not None
        assert (found.end.state, found.end.score) == (EndState.PRUNED, None)
        assert (found.end.reason, found.end.summary) == ("no chance", {"fold-0/score": 0.5})
        assert found.over

    def test_an_interrupted_trial_is_not_over(self, tmp_path: Path):
        write_fold(tmp_path, 0, 0.5)
        found = read(tmp_path, stored(TrialState.WAITING, {1: 0.5}))
        assert found.end is not None
        assert (found.end.state, found.over) == (EndState.INTERRUPTED, False)

    def test_the_pictures_in_its_directory_belong_to_it(self, tmp_path: Path):
        for name in ("confusion.svg", "errors.jpg", "worker.log"):
            (files_in(tmp_path).directory).mkdir(exist_ok=True)
            (files_in(tmp_path).directory / name).touch()
        end = read(tmp_path, stored(TrialState.COMPLETE, {}, fold_scores=[0.5])).end
        assert end is not None
        assert end.pictures == {
            "confusion": files_in(tmp_path).directory / "confusion.svg",
            "errors": files_in(tmp_path).directory / "errors.jpg",
        }


class TestASweepThatWasTrained:
    def test_the_values_are_those_that_were_reported_with_all_metrics(self, people: Path):
        """Two folds with three epochs each, by `sweeps run`."""
        sweep = find_sweep(open_storage(f"sqlite:///{people}/sweeps.db"), "people")
        known = facts_of(sweep, SweepFiles.of(people, "people"))
        assert (known.k, known.max_epochs, known.metric, known.goal) == (
            2,
            3,
            "valid/f1",
            "maximize",
        )
        assert known.spec["parameters"]["lr"] == {"values": [0.01, 0.0003]}
        for trial in sweep.trials():
            found = read_recorded(trial, known)
            assert found is not None
            assert {epoch.step: epoch.value for epoch in found.epochs} == trial.intermediate_values
            assert [epoch.step for epoch in found.epochs] == [1, 2, 3, 4, 5, 6]
            computed = read_recorded(_without_reports(trial), known)
            assert computed is not None
            assert computed.epochs == found.epochs
            assert {"f1", "loss", "train_loss", "lr"} <= found.epochs[0].metrics.keys()
            times = [epoch.time for epoch in found.epochs]
            assert times == sorted(times)


def _without_reports(trial: FrozenTrial) -> FrozenTrial:
    """The trial as it is while the recorder has written none of its reports."""
    copy = create_trial(state=TrialState.RUNNING)
    copy.number = trial.number
    return copy
