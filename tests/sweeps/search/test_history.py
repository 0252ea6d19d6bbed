from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.search.distributions import distributions, labels, values_of
from sweeps.search.history import history, refitted, repeated
from sweeps.space.language import read_space
from sweeps.space.parameters import Space
from sweeps.study.records import FOLD_SCORES, REASON, START_POINT, TAKEN_FROM

THERE: dict[str, Any] = {
    "lr": {"min": 0.0, "max": 1.0},
    "epochs": {"min": 1, "max": 9},
    "optimizer": {"values": ["adamw", "sgd"]},
    "momentum": {"min": 0.5, "max": 0.9, "when": {"optimizer": "sgd"}},
    "milestones": {"values": [[1], [2]]},
}
SWITCHED_OFF: dict[str, Any] = {
    "optimizer": {"values": ["sgd", "adamw"]},  # the middle is adamw
    "momentum": {"min": 0.5, "max": 0.8, "when": {"optimizer": "sgd"}},
}


def space_of(raw: dict[str, Any], **changes: Any) -> Space:
    entries = {name: entry for name, entry in {**raw, **changes}.items() if entry is not None}
    space, problems = read_space(entries)
    assert problems == []
    return space


def trial_of(
    space: Space, *, state: TrialState = TrialState.COMPLETE, score: float = 0.5, **given: Any
) -> FrozenTrial:
    """A trial with these values; others are the middle of their domains."""
    names = {name: value for name, value in given.items() if name in space}
    values = space.resolve(lambda p: names.get(p.name, p.domain.draw(0.5)))
    return create_trial(
        state=state,
        value=score if state == TrialState.COMPLETE else None,
        params=labels(space, values),
        distributions=distributions(space, values),
        user_attrs=given.get("attributes", {}),
        intermediate_values=given.get("reports", {}),
    )


def numbered(*trials: FrozenTrial) -> list[FrozenTrial]:
    """The trials as a study has them."""
    study = optuna.create_study()
    study.add_trials(trials)
    return study.trials


# --- a configuration that was evaluated already


def test_a_finished_trial_with_the_same_parameters_is_found() -> None:
    space = space_of(THERE)
    *trials, new = numbered(
        trial_of(space, epochs=1),
        trial_of(space, epochs=2),
        trial_of(space, epochs=2, state=TrialState.RUNNING),
    )
    assert repeated([*trials, new], new) is trials[1]


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL])
def test_a_trial_that_has_no_result_is_not_taken_over(state: TrialState) -> None:
    space = space_of(THERE)
    *trials, new = numbered(trial_of(space, state=state), trial_of(space, state=TrialState.RUNNING))
    assert repeated(trials, new) is None


def test_more_or_fewer_parameters_are_another_configuration() -> None:
    space = space_of(THERE)
    adamw, sgd = (trial_of(space, optimizer=name) for name in ("adamw", "sgd"))
    assert (
        repeated(numbered(adamw), trial_of(space, optimizer="sgd", state=TrialState.RUNNING))
        is None
    )
    assert (
        repeated(numbered(sgd), trial_of(space, optimizer="adamw", state=TrialState.RUNNING))
        is None
    )


@pytest.mark.parametrize(("one", "other"), [(1, True), (1, 1.0), (0, False)])
def test_equal_values_of_two_kinds_are_two_configurations(one: Any, other: Any) -> None:
    space = space_of({"a": {"values": [one, other]}})
    (trained,) = numbered(trial_of(space, a=one))
    assert repeated([trained], trial_of(space, a=other, state=TrialState.RUNNING)) is None
    assert repeated([trained], trial_of(space, a=one, state=TrialState.RUNNING)) is trained


def test_completed_comes_before_pruned_then_trained_before_taken_over_then_the_lower_number() -> (
    None
):
    space = space_of(THERE)
    own = {TAKEN_FROM: {"sweep": "other", "trial": 9}}
    pruned = trial_of(space, state=TrialState.PRUNED)
    trials = numbered(
        pruned, pruned, trial_of(space, attributes=own), trial_of(space), trial_of(space)
    )
    new = trial_of(space, state=TrialState.RUNNING)
    for left, first in ((range(5), 3), (range(3), 2), (range(2), 0)):
        found = repeated([trials[number] for number in left], new)
        assert found is trials[first]


# --- another sweep's trials


def taken_over(here: Space, there: Space, *trials: FrozenTrial) -> list[FrozenTrial]:
    """What `here` takes over of a sweep `first` over `there`."""
    return history(here, trials, source="first", source_space=there)


OLD: dict[str, Any] = {"weight_decay": 0.0, "step_epochs": 7, "cycle_epochs": 2.0}


@pytest.mark.parametrize(
    ("point", "fits"),
    [
        ({"optimizer": "sgd"}, True),
        ({"optimizer": "adamw"}, False),  # had no weight decay
        ({"optimizer": "sgd", "scheduler": "step"}, False),  # never dropped
        ({"optimizer": "sgd", "scheduler": "exponential"}, True),  # the same then as now
    ],
)
def test_a_sweep_with_other_defaults_gives_what_they_did_not_change(
    point: dict[str, str], fits: bool
) -> None:
    raw = {
        "optimizer": {"values": ["adamw", "sgd"]},
        "scheduler": {"values": ["cosine", "step", "exponential"]},
    }
    space = space_of(raw)
    trial = trial_of(space, **{"scheduler": "cosine", **point})
    given = history(space, numbered(trial), source="first", source_space=space, source_defaults=OLD)
    assert [taken.params for taken in given] == [trial.params] * fits
    decay = {"weight_decay": {"values": [0.0, 0.1]}, "step_epochs": {"value": 7}}
    named = space_of({**raw, **decay})
    (taken,) = history(
        named, numbered(trial), source="first", source_space=space, source_defaults=OLD
    )
    assert taken.params == {**trial.params, "weight_decay": 0.0}


def test_a_value_that_follows_from_others_equals_the_value_written_out() -> None:
    there = space_of(THERE)
    here = space_of(THERE, weight_decay={"values": [0.01, 0.1]})
    (taken,) = taken_over(here, there, *numbered(trial_of(there, optimizer="adamw")))
    assert taken.params["weight_decay"] == 0.01
    (back,) = taken_over(
        there, here, *numbered(trial_of(here, weight_decay=0.01, optimizer="adamw"))
    )
    assert "weight_decay" not in back.params


def test_another_sweeps_completed_trials_become_trials_of_this_space() -> None:
    there = space_of(THERE)
    here = space_of(THERE, lr={"min": 0.0, "max": 2.0}, patience={"value": 0})
    attributes = {FOLD_SCORES: [0.4, 0.6], REASON: "x", START_POINT: "{}"}
    running, trained = numbered(
        trial_of(there, state=TrialState.RUNNING),
        trial_of(there, attributes=attributes, reports={1: 0.4, 2: 0.5}),
    )
    (taken,) = taken_over(here, there, running, trained)
    assert taken.params == trained.params
    assert taken.distributions == distributions(here, values_of(here, taken.params))
    assert taken.distributions["lr"] == FloatDistribution(0.0, 2.0)
    assert (taken.state, taken.values, taken.intermediate_values) == (
        TrialState.COMPLETE,
        [0.5],
        {1: 0.4, 2: 0.5},
    )
    assert taken.user_attrs == {FOLD_SCORES: [0.4, 0.6], TAKEN_FROM: {"sweep": "first", "trial": 1}}


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING])
def test_a_trial_without_a_score_is_no_history(state: TrialState) -> None:
    space = space_of(THERE)
    assert taken_over(space, space, *numbered(trial_of(space, state=state))) == []


def test_what_the_other_sweep_had_taken_over_itself_is_no_history() -> None:
    space = space_of(THERE)
    taken = trial_of(space, attributes={TAKEN_FROM: {"sweep": "zeroth", "trial": 0}})
    assert taken_over(space, space, *numbered(taken)) == []


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"lr": {"min": 0.0, "max": 0.2}}, False),  # out of range
        (
            {"lr": {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}},
            True,
        ),  # 0.5 is one of the steps
        ({"lr": {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.3}}, False),
        ({"epochs": {"min": 1.0, "max": 9.0}}, True),  # 7 as 7.0
        ({"epochs": {"values": [5, 7]}}, True),
        ({"epochs": {"values": [True, 5]}}, False),
        ({"epochs": {"value": 7}}, True),  # now a constant, of the same value
        ({"epochs": {"value": 5}}, False),
        ({"epochs": None}, False),  # 5 by default
        ({"milestones": {"value": [1]}}, False),
        ({"milestones": {"value": [2]}}, True),  # the label stands for the list
        ({"milestones": {"values": [[3], [2]]}}, True),
        ({"optimizer": {"values": ["lion", "sgd"]}}, True),
        ({"patience": {"value": 0}}, True),  # what it was by default
        ({"patience": {"value": 3}}, False),
        ({"patience": {"values": [0, 3]}}, True),
        ({"patience": {"values": [3, 4]}}, False),
        (
            {"patience": {"values": [3, 4], "when": {"optimizer": "adamw"}}},
            True,
        ),  # not under this trial's conditions
        (
            {"momentum": {"min": 0.5, "max": 0.9, "when": {"milestones": [[1]]}}},
            False,
        ),  # switched off here
        ({"momentum": {"value": 0.7, "when": {"milestones": [[1]]}}}, False),
        ({"momentum": {"value": 0.7}}, True),
        ({"monitor": {"value": "metric"}}, False),
    ],
)
def test_a_trial_fits_if_this_space_could_have_asked_it(
    changes: dict[str, Any], fits: bool
) -> None:
    there = space_of(THERE)
    here = space_of(THERE, **changes)
    trial = trial_of(there, lr=0.5, epochs=7, optimizer="sgd", momentum=0.7, milestones=[2])
    taken = taken_over(here, there, *numbered(trial))
    assert len(taken) == fits
    for again in taken:
        values = values_of(here, again.params)
        assert {name: values[name] for name in ("lr", "optimizer", "milestones")} == (
            {"lr": 0.5, "optimizer": "sgd", "milestones": [2]}
        )
        assert set(again.params) == {
            parameter.name for parameter in here.varying() if parameter.name in values
        }


@pytest.mark.parametrize(
    ("there", "here", "params"),
    [
        ({"epochs": {"value": 3}}, {"epochs": {"values": [1, 3]}}, {"epochs": 3}),
        ({"epochs": {"value": 3}}, {"epochs": {"value": 1}}, None),
        ({"epochs": {"value": 3}}, {}, None),
        ({"epochs": {"value": 5}}, {}, {}),  # the default, said or not
        ({"loss": {"value": "focal"}}, {"loss": {"values": ["cross_entropy"]}}, None),
        ({}, {"epochs": {"min": 1, "max": 9}}, {"epochs": 5}),
        ({}, {"epochs": {"min": 6, "max": 9}}, None),
        (
            {"monitor": {"value": "metric"}},
            {"monitor": {"values": ["loss", "metric"]}},
            {"monitor": "metric"},
        ),
        # where the source's condition switched it off, the default was trained
        (SWITCHED_OFF, {"momentum": {"value": 0.9}}, {}),
        (SWITCHED_OFF, {"momentum": {"value": 0.8}}, None),
        # one mapping, or its entries
        (
            {"loss_mix": {"value": {"focal": 0.5}}},
            {"loss_mix.focal": {"values": [0.5, 1.0]}},
            {"loss_mix.focal": 0.5},
        ),
        (
            {"loss_mix": {"value": {"focal": 0.5}}},
            {"loss_mix.soft_f1": {"values": [0.5, 1.0]}},
            None,
        ),
        (
            {"loss_mix": {"value": {"focal": 0.5, "soft_f1": 1}}},
            {"loss_mix.focal": {"values": [0.5, 1.0]}},
            None,
        ),
        ({"loss_mix.focal": {"value": 0.5}}, {"loss_mix": {"value": {"focal": 0.5}}}, {}),
        # no field here, or not any more
        ({"colour": {"value": 3}}, {}, None),
        ({}, {"colour": {"values": [3, 4]}}, None),
        # what was odd there is no configuration
        ({"batch_size": {"value": 0}}, {"batch_size": {"value": 0}}, None),
    ],
)
def test_every_field_has_to_be_as_it_was_whether_it_varies_or_not(
    there: dict[str, Any], here: dict[str, Any], params: dict[str, Any] | None
) -> None:
    common = {"lr": {"min": 0.0, "max": 1.0}}
    before = space_of(common, **there)
    now = space_of(common, **here)
    taken = taken_over(now, before, *numbered(trial_of(before, lr=0.5)))
    assert [trial.params for trial in taken] == ([] if params is None else [{"lr": 0.5, **params}])


def test_a_trial_that_its_own_space_does_not_explain_is_no_history() -> None:
    space = space_of(THERE)
    (trial,) = numbered(trial_of(space_of(THERE, milestones=None)))
    assert taken_over(space, space, trial) == []


@pytest.mark.parametrize(
    ("there", "here", "steps"),
    [
        ({"max": 4}, {"max": 9}, [1, 3, 10, 12, 19, 21]),
        ({"max": 4}, {"max": 3}, [1, 3, 4, 6, 7, 9]),
        ({"max": 4}, {"max": 4}, [1, 3, 5, 7, 9, 11]),
        (
            {"max": 3},
            {"max": 4},
            [1, 3, 5, 7, 9, 11],
        ),  # the last epoch of a fold that is as long as any
    ],
)
def test_reports_are_renumbered_by_the_largest_number_of_epochs_here(
    there: dict[str, int], here: dict[str, int], steps: list[int]
) -> None:
    before, now = (space_of(THERE, epochs={"min": 1, **bounds}) for bounds in (there, here))
    at = [fold * there["max"] + epoch for fold in range(3) for epoch in (1, 3)]
    reports = {step: 0.1 * index for index, step in enumerate(at)}
    (taken,) = taken_over(now, before, *numbered(trial_of(before, epochs=3, reports=reports)))
    assert taken.intermediate_values == dict(zip(steps, reports.values(), strict=True))


# --- a sweep that has grown


def test_a_grown_sweeps_trials_get_the_distributions_of_the_space_as_it_is() -> None:
    before = space_of(THERE)
    now = space_of(THERE, lr={"min": 0.0, "max": 5.0})
    old, new = numbered(
        trial_of(before, reports={1: 0.3}), trial_of(now, lr=4.0, state=TrialState.RUNNING)
    )
    first, second = refitted(now, [old, new])
    assert first.distributions == second.distributions
    assert first.distributions["lr"] == FloatDistribution(0.0, 5.0)
    assert old.distributions["lr"] == FloatDistribution(0.0, 1.0)
    first.distributions = old.distributions
    assert (first, second) == (old, new)  # all else is as it was


def test_a_parameter_that_is_gone_keeps_its_distribution() -> None:
    (trial,) = refitted(space_of(THERE, milestones=None), numbered(trial_of(space_of(THERE))))
    assert trial.distributions["milestones"] == CategoricalDistribution(("[1]", "[2]"))
