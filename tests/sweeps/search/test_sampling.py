"""What the samplers propose depends on the seed, the number and the history,
and is of the laws' values.
"""

import copy
import random
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import TrialState, create_trial

from sweeps.search import draws, models
from sweeps.search.distributions import distributions, values_of
from sweeps.search.sampling import propose
from sweeps.study.records import TAKEN_FROM
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.search.proposals import (
    SAMPLERS,
    TRIALS,
    Make,
    asked_of,
    contains,
    end,
    evaluate,
    new_study,
    rebuilt,
    score,
)

pytestmark = pytest.mark.usefixtures("small_population")


# --- a proposal depends on the seed, the number and the history


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_restarted_sweep_proposes_what_the_undisturbed_one_does(make: Make, sampler: str) -> None:
    spec = make(sampler, start_with=({"optimizer": "sgd", "epochs": 1},))
    study = new_study()
    n = TRIALS.get(sampler, 14)
    undisturbed = evaluate(study, spec, trials=n)
    ended = study.trials
    for number in range(
        n - 2 if sampler == "gp" else 0, n
    ):  # before its model acts, nothing of GP is involved
        random.seed(number)
        np.random.seed(number)  # no global generator may matter
        again = rebuilt(ended[:number])
        assert asked_of(propose(again, spec, number=number)) == asked_of(undisturbed[number])
        if number % 5 == 0:  # to the end, with what that driver itself remembers
            end(again, again.trials[-1])
            went_on = evaluate(again, spec, first=number + 1, trials=n)
            assert [trial.params for trial in went_on] == [
                trial.params for trial in undisturbed[number + 1 :]
            ]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsgaii"])
def test_the_storage_keeps_all_that_a_proposal_depends_on(
    make: Make, sqlite_storage: RDBStorage, sampler: str
) -> None:
    spec = make(sampler)
    study = new_study()
    undisturbed = evaluate(study, spec, trials=21)
    sweep = StoredSweep.create(sqlite_storage, spec, identity="a")
    for trial in study.trials[:20]:
        sqlite_storage.create_new_trial(sweep.study_id, template_trial=trial)
    assert asked_of(propose(rebuilt(sweep.trials()), spec, number=20)) == asked_of(undisturbed[20])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_proposal_leaves_nothing_in_the_studys_attributes(make: Make, sampler: str) -> None:
    storage = InMemoryStorage()
    study = optuna.create_study(study_name="a", storage=storage, direction="maximize")
    evaluate(study, make(sampler), trials=6 if sampler in ("grid", "brute_force") else 13)
    assert storage.get_study_system_attrs(storage.get_study_id_from_name("a")) == {}


@pytest.mark.parametrize(
    ("sampler", "trials"), [("tpe", 13), ("gp", 13), ("cmaes", 12), ("nsgaii", 13)]
)
def test_a_model_learns_from_the_scores(make: Make, sampler: str, trials: int) -> None:
    # cmaes: a population of 8 is told of before another generation begins
    spec = make(sampler)
    study = new_study()
    evaluate(study, spec, trials=trials)
    as_is = study.trials
    worse = copy.deepcopy(study.trials)
    for trial in worse:
        trial.values = None if trial.values is None else [-trial.values[0]]
    one, other = (
        propose(rebuilt(trials_), spec, number=trials).params for trials_ in (as_is, worse)
    )
    assert one != other


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "brute_force"])
def test_another_seed_and_another_number_propose_another_point(make: Make, sampler: str) -> None:
    parameters = {"a": {"min": 1, "max": 100_000}}
    proposed = set()
    for seed in (1, 2):
        study = new_study()
        spec = make(sampler, parameters=parameters, seed=seed)
        proposed |= {propose(study, spec, number=number).params["a"] for number in (0, 1)}
    assert len(proposed) == 4


# --- after repeats


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsgaii", "random", "qmc"])
@pytest.mark.parametrize(("repeats", "untried"), [(2, False), (3, True), (4, True)])
def test_after_three_repeats_in_a_row_an_untried_point_is_proposed(
    make: Make, sampler: str, repeats: int, untried: bool
) -> None:
    spec = make(sampler, parameters={"a": {"values": [*range(6)]}})
    study = new_study()
    for number, value in enumerate((1, 5, 0, 3, *(1,) * repeats)):
        study.add_trial(
            create_trial(
                value=0.5,
                params={"a": value},
                distributions=distributions(spec.space, {"a": value}),
                user_attrs={TAKEN_FROM: {"repeats": 0}} if number >= 4 else {},
            )
        )
    asked = {
        propose(
            rebuilt(study.trials), spec.model_copy(update={"seed": seed}), number=4 + repeats
        ).params["a"]
        for seed in range(20)
    }
    assert (asked <= {2, 4}) == untried


# --- what is proposed


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "qmc", "nsgaii", "random"])
def test_every_proposal_is_of_the_laws_values_and_has_what_is_active(
    make: Make, sampler: str
) -> None:
    spec = make(sampler)
    for trial in evaluate(new_study(), spec, trials=TRIALS.get(sampler, 20)):
        p = trial.params
        assert ("momentum" in p) == (p["optimizer"] != "adamw")
        assert ("decay" in p) == (p["optimizer"] == "adamw")
        assert "backbone" not in p
        for name, value in p.items():  # as trained, as stored, as Optuna has it: one number
            own = spec.space[name].domain.take(value)
            assert (value, type(value)) == (own, type(own))
            assert contains(trial.distributions[name], value)
        assert trial.distributions == distributions(spec.space, values_of(spec.space, p))


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_proposal_is_a_running_trial_of_the_study(make: Make, sampler: str) -> None:
    study = new_study()
    for number in range(3):
        trial = propose(study, make(sampler), number=number)
        assert (trial.number, trial.state) == (number, TrialState.RUNNING)
    assert len(study.trials) == 3


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_space_without_a_choice_has_one_point(make: Make, sampler: str) -> None:
    study = new_study()
    spec = make(sampler, parameters={"backbone": {"value": "test_resnet"}})
    assert propose(study, spec, number=0).params == {}


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsgaii"])
@pytest.mark.parametrize(
    "parameters",
    [{"a": {"min": 0.0, "max": 1.0}}, {"a": {"values": [1]}, "b": {"values": ["x", "y"]}}],
    ids=["one number", "no number"],
)
def test_a_model_copes_with_a_small_space(
    make: Make, sampler: str, parameters: dict[str, Any]
) -> None:
    study = new_study()
    spec = make(sampler, parameters=parameters)
    for trial in evaluate(study, spec, trials=14):
        assert trial.params.keys() == parameters.keys()


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsgaii", "gp"])
def test_before_its_model_acts_a_sampler_draws_from_the_laws(make: Make, sampler: str) -> None:
    spec = make(sampler)
    by_law = make("random")
    for number in range(2):  # cmaes begins with its second
        assert propose(new_study_of(number), spec, number=number).params == (
            propose(new_study_of(number), by_law, number=number).params
        )


def new_study_of(trials: int) -> optuna.Study:
    """A study of that many failed trials."""
    study = new_study()
    study.add_trials([create_trial(state=TrialState.FAIL)] * trials)
    return study


@pytest.mark.parametrize("sampler", ["gp", "cmaes", "nsgaii"])
def test_what_a_model_leaves_out_is_drawn_from_its_law(make: Make, sampler: str) -> None:
    """The seed of a draw is its own: a conditional parameter gets the same value
    whatever is drawn before it.
    """
    n = TRIALS[sampler]
    study = new_study()
    spec = make(sampler)
    evaluate(study, spec, trials=n)
    trial = propose(study, spec, number=n)
    for name in {"momentum", "decay"} & trial.params.keys():
        share = draws.share(spec, name, number=n)
        assert trial.params[name] == spec.space[name].domain.draw(share)


def test_cmaes_keeps_its_model_when_conditions_change_what_trials_share(make: Make) -> None:
    study = new_study()
    spec = make("cmaes")
    for number in range(40):
        trial = propose(study, spec, number=number)
        if (
            number < 20 and "momentum" not in trial.params
        ):  # for two generations all that complete have one
            study.tell(number, state=TrialState.FAIL)
        else:
            study.tell(number, score(trial.params))
    generations = [trial.system_attrs.get("cma:generation") for trial in study.trials]
    assert None not in generations[1:]
    assert generations[20] == 1
    assert generations[-1] >= 3


def test_the_parents_of_a_generation_are_the_best_before_it(make: Make) -> None:
    study = new_study()
    spec = make("nsgaii")
    evaluate(study, spec, trials=22)
    sampler = models._Genetic(seed=0, population_size=6)
    first, second = (sampler.get_population(study, generation) for generation in (0, 1))
    assert sampler.get_parent_population(study, 0) == []
    parents = sampler.get_parent_population(study, 2)
    assert parents == sorted([*first, *second], key=lambda t: (-t.values[0], t.number))[:6]
