"""The heat map of folds and trials, as a figure of plotly."""

import json
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna_dashboard import save_plotly_graph_object
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects

from sweeps.reporting.fold_map import MOST_TRIALS, fold_map
from sweeps.space.spec import SweepSpec
from sweeps.study.records import FOLD_SCORES
from sweeps.study.stored_sweep import PIECE, StoredSweep, plot_attributes
from trainer.metrics import Goal


def trials(*scores: list[float]) -> list[FrozenTrial]:
    made = []
    for number, each in enumerate(scores):
        trial = create_trial(
            state=TrialState.PRUNED if each else TrialState.FAIL,
            user_attrs={FOLD_SCORES: each} if each else {},
        )
        trial.number = number
        made.append(trial)
    return made


def figure(*scores: list[float], goal: Goal = Goal.MAXIMIZE) -> dict[str, Any]:
    text = fold_map(trials(*scores), metric="valid/f1", goal=goal)
    assert text is not None
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_row_for_each_fold_and_a_gap_where_a_trial_was_stopped():
    (data,) = figure([0.5, 0.75, 0.625], [], [0.25])["data"]
    assert (data["x"], data["y"]) == (["0", "2"], ["fold 1", "fold 2", "fold 3"])
    assert data["z"] == [[0.5, 0.25], [0.75, None], [0.625, None]]


def test_a_low_loss_is_as_bright_as_a_high_score():
    assert figure([0.5], goal=Goal.MINIMIZE)["data"][0]["reversescale"]
    assert not figure([0.5])["data"][0]["reversescale"]


def test_one_trial_that_learned_nothing_does_not_take_all_colours():
    (data,) = figure(*[[0.95 + 0.001 * number] for number in range(40)], [0.1])["data"]
    assert data["zmin"] > 0.9


def test_of_many_trials_the_newest_are_shown():
    (data,) = figure(*[[0.5]] * (MOST_TRIALS + 3))["data"]
    assert (len(data["x"]), data["x"][0]) == (MOST_TRIALS, "3")


def test_before_the_first_finished_fold_there_is_no_plot():
    assert fold_map(trials([]), metric="valid/f1", goal=Goal.MAXIMIZE) is None


class Figure:
    """What `save_plotly_graph_object` needs of a figure of plotly."""

    def __init__(self, text: str) -> None:
        self._text = text

    def to_json(self) -> str:
        return self._text


@pytest.mark.parametrize("length", [10, PIECE + 1])
def test_a_stored_plot_is_what_the_dashboard_would_have_stored(
    length: int, sqlite_storage: RDBStorage
):
    text = json.dumps("x" * length)
    study = optuna.create_study(storage=sqlite_storage)
    save_plotly_graph_object(study, Figure(text), graph_object_id="folds")
    theirs = sqlite_storage.get_study_system_attrs(study._study_id)
    assert plot_attributes(text, known={}) == theirs


def test_a_shorter_plot_replaces_a_longer_one_whole(
    sqlite_storage: RDBStorage, make_spec: Callable[..., SweepSpec]
):
    sweep = StoredSweep.create(sqlite_storage, make_spec(), identity="uuid")
    for text in (json.dumps("x" * 3 * PIECE), json.dumps("short")):
        sweep.write_plot(text)
        stored = sqlite_storage.get_study_system_attrs(sweep.study_id)
        assert get_plotly_graph_objects(stored) == {"folds": text}
