"""Which trials of a stored sweep the statistics see, and at what scores."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.results.statistics import Statistics
from sweeps.results.view import SweepView
from sweeps.search.distributions import distributions
from sweeps.space.spec import SweepSpec
from sweeps.study.records import FINISH_OF, FOLD_SCORES, TAKEN_FROM
from tests.sweeps.fabricated import Fabricated

POINT = {"resize": 8, "lr": 0.01, "optimizer": "adamw"}
SWEEP = {"sweep": "toy", "trial": 0, "repeats": 0}


def stored(
    spec: SweepSpec,
    folds: Sequence[float],
    state: TrialState = TrialState.COMPLETE,
    **attributes: Any,
) -> FrozenTrial:
    return create_trial(
        state=state,
        value=sum(folds) / len(folds) if state == TrialState.COMPLETE else None,
        params=POINT,
        distributions=distributions(spec.space, POINT),
        user_attrs={FOLD_SCORES: list(folds), **attributes},
    )


@pytest.fixture
def statistics(
    sqlite_storage: RDBStorage, make_spec: Callable[..., SweepSpec], tmp_path: Path
) -> Callable[..., Statistics]:
    def make(*trials: Callable[[SweepSpec], FrozenTrial], **changes: Any) -> Statistics:
        spec = make_spec(**changes)
        sweep = Fabricated(sqlite_storage, spec, tmp_path / "runs").sweep
        for trial in trials:
            sweep.storage.create_new_trial(sweep.study_id, template_trial=trial(spec))
        return Statistics.of(SweepView.read(sweep))

    return make


def test_stopped_trials_count_at_their_adjusted_scores(statistics: Callable[..., Statistics]):
    found = statistics(
        lambda spec: stored(spec, [0.8, 0.9]),
        lambda spec: stored(spec, [0.7], TrialState.PRUNED),
        lambda spec: stored(spec, [], TrialState.PRUNED),  # stopped in its first fold
        lambda spec: stored(spec, [0.1], TrialState.FAIL),
        lambda spec: stored(spec, [float("nan")], TrialState.PRUNED),
    )
    assert [trial.number for trial in found.trials] == [0, 1]
    assert found.adjusted.scores_T == pytest.approx([0.85, 0.75])
    assert found.values == (POINT, POINT)


def test_each_result_counts_once_and_other_sweeps_do_not(statistics: Callable[..., Statistics]):
    found = statistics(
        lambda spec: stored(spec, [0.8, 0.9]),
        lambda spec: stored(spec, [0.8, 0.9], **{TAKEN_FROM: SWEEP}),
        lambda spec: stored(spec, [0.8, 0.9], **{TAKEN_FROM: {"sweep": "older", "trial": 3}}),
        lambda spec: stored(spec, [0.7], TrialState.PRUNED),
        lambda spec: stored(spec, [0.7, 0.8], **{FINISH_OF: {"trial": 3, "root": 3}}),
    )
    assert [trial.number for trial in found.trials] == [0, 4]


def test_where_epochs_are_chosen_only_complete_trials_can_be_compared(
    statistics: Callable[..., Statistics],
):
    found = statistics(
        lambda spec: stored(spec, [0.8, 0.9]),
        lambda spec: stored(spec, [0.7], TrialState.PRUNED),
        parameters={
            "backbone": {"value": "test_resnet"},
            "checkpoint": {"value": "best"},
            "resize": {"values": [8, "8x16"]},
            "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
            "optimizer": {"values": ["adamw", "sgd"]},
        },
        folds={"k": 2, "race": False},
    )
    assert [trial.number for trial in found.trials] == [0]


def test_a_sweep_without_a_finished_fold_has_sentences(statistics: Callable[..., Statistics]):
    found = statistics(lambda spec: stored(spec, [], TrialState.PRUNED))
    assert found.differences.too_few == "no trial has a finished fold yet"
    assert found.importance.explained is None
