from collections.abc import Callable, Sequence

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.pruning import stop_reason
from sweeps.space import Constant, Parameter, Space
from sweeps.spec import EarlyTerminate, Metric, SweepSpec
from trainer.data.options import DataOptions

Rule = Callable[..., SweepSpec]


@pytest.fixture
def rule(make_spec: Callable[..., SweepSpec]) -> Rule:
    """A search space of 3 epochs and 2 folds with that rule; 2 startup trials, no warm-up."""

    def rule(goal: str = "maximize", **changes: object) -> SweepSpec:
        metric = {"name": "valid/f1" if goal == "maximize" else "valid/loss", "goal": goal}
        terminate = {"type": "median", "startup_trials": 2, "warmup_epochs": 0, **changes}
        return make_spec(metric=metric, early_terminate=terminate, parameters={"epochs": {"value": 3}})

    return rule


def completed(values: Sequence[float]) -> FrozenTrial:
    """A completed trial with its reports from step 1 on."""
    return create_trial(value=values[-1], intermediate_values=dict(enumerate(values, start=1)))


def running(values: Sequence[float], *, first_step: int = 1) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING, intermediate_values=dict(enumerate(values, start=first_step)), params={}
    )


def study_of(*trials: FrozenTrial, goal: str = "maximize") -> optuna.Study:
    study = optuna.create_study(direction=goal)
    study.add_trials(trials)
    return study


def reason(spec: SweepSpec, trial: FrozenTrial, *others: FrozenTrial) -> str | None:
    study = study_of(*others, trial, goal=spec.metric.goal)
    return stop_reason(study, study.trials[-1], spec)


@pytest.mark.parametrize(("goal", "bad", "good"), [("maximize", 0.3, 0.7), ("minimize", 0.7, 0.3)])
def test_a_trial_worse_than_the_median_is_stopped_and_a_better_one_goes_on(
    rule: Rule, goal: str, bad: float, good: float
) -> None:
    others = [completed([value] * 6) for value in (0.4, 0.5, 0.6)]
    assert reason(rule(goal), running([bad]), *others) == (
        "median rule: at fold 1, epoch 1 worse than half of the completed trials"
    )
    assert reason(rule(goal), running([good]), *others) is None


@pytest.mark.parametrize(("step", "fold", "epoch"), [(1, 1, 1), (3, 1, 3), (4, 2, 1), (6, 2, 3)])
def test_the_reason_names_fold_and_epoch_of_the_last_report(rule: Rule, step: int, fold: int, epoch: int) -> None:
    others = [completed([0.5] * 6), completed([0.6] * 6)]
    text = reason(rule(), running([0.1], first_step=step), *others)
    assert text == f"median rule: at fold {fold}, epoch {epoch} worse than half of the completed trials"


def test_a_trial_as_good_as_the_median_goes_on(rule: Rule) -> None:
    assert reason(rule(), running([0.5]), *(completed([value] * 6) for value in (0.4, 0.5, 0.6))) is None


def test_the_best_value_so_far_counts_not_the_last(rule: Rule) -> None:
    assert reason(rule(), running([0.7, 0.1]), completed([0.5] * 6), completed([0.5] * 6)) is None


@pytest.mark.parametrize(("finished", "stopped"), [(1, False), (2, True), (3, True)])
def test_nothing_is_stopped_before_the_startup_trials_are_complete(rule: Rule, finished: int, stopped: bool) -> None:
    others = [completed([0.5] * 6)] * finished
    assert (reason(rule(), running([0.1]), *others) is not None) == stopped


def test_pruned_and_failed_trials_are_no_startup_trials(rule: Rule) -> None:
    others = [create_trial(state=state, intermediate_values={1: 0.5}) for state in (TrialState.PRUNED, TrialState.FAIL)]
    assert reason(rule(), running([0.1]), completed([0.5] * 6), *others) is None


@pytest.mark.parametrize(("warmup", "stopped_at"), [(0, [1, 2, 3, 4]), (1, [2, 3, 4]), (3, [4])])
def test_nothing_is_stopped_in_the_warm_up_epochs_of_the_first_fold(
    rule: Rule, warmup: int, stopped_at: list[int]
) -> None:
    others = [completed([0.5] * 6), completed([0.5] * 6)]
    spec = rule(warmup_epochs=warmup)
    stopped = [step for step in (1, 2, 3, 4) if reason(spec, running([0.1] * step), *others) is not None]
    assert stopped == stopped_at


def test_a_trial_without_a_report_goes_on(rule: Rule) -> None:
    assert reason(rule(), running([]), completed([0.5] * 6), completed([0.5] * 6)) is None


def test_completed_trials_without_a_report_at_the_step_do_not_count(rule: Rule) -> None:
    short, long = completed([0.9] * 3), completed([0.2] * 6)
    assert reason(rule(), running([0.3] * 6), short, short, long) is None
    assert reason(rule(), running([0.3] * 6), short, short, short) is None


def test_a_trial_whose_values_are_not_numbers_is_stopped(rule: Rule) -> None:
    assert reason(rule(), running([float("nan")]), completed([0.5] * 6), completed([0.5] * 6)) is not None


def test_without_a_rule_nothing_is_stopped(rule: Rule) -> None:
    assert reason(rule(type="none"), running([0.0]), *[completed([0.5] * 6)] * 9) is None


scores = st.floats(0, 1, width=16)
SPEC = SweepSpec(
    name="toy",
    metric=Metric(name="valid/f1", goal="maximize"),
    data=DataOptions(source="train.csv"),
    early_terminate=EarlyTerminate(type="median", startup_trials=1, warmup_epochs=0),
    space=Space((Parameter("epochs", Constant(4)),)),
    raw={},
)


@given(st.lists(st.lists(scores, min_size=4, max_size=4), min_size=2, max_size=6), st.data())
def test_the_best_so_far_always_survives(table: list[list[float]], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, 4))
    best = [max(row[step] for row in table) for step in range(at)]
    assert reason(SPEC, running(best), *map(completed, table)) is None


@given(st.lists(st.lists(scores, min_size=4, max_size=4), min_size=2, max_size=6), st.lists(scores, min_size=1))
def test_the_answer_is_a_function_of_the_reports(table: list[list[float]], values: list[float]) -> None:
    study = study_of(*map(completed, table), running(values[:4]))
    before = [(trial.state, trial.intermediate_values, trial.system_attrs) for trial in study.trials]
    trial = study.trials[-1]
    first = stop_reason(study, trial, SPEC)
    assert [stop_reason(study, trial, SPEC) for _ in range(3)] == [first] * 3
    assert stop_reason(study_of(*study.trials), trial, SPEC) == first
    assert [(trial.state, trial.intermediate_values, trial.system_attrs) for trial in study.trials] == before
