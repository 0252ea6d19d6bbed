import copy
import itertools
import json
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.search import draws, models
from sweeps.search.distributions import distribution, distributions, labels, values_of
from sweeps.search.models import MODELS
from sweeps.search.sampling import propose
from sweeps.space.domains import Categorical, finite_values
from sweeps.space.language import read_space
from sweeps.space.parameters import Parameter, Space, Values, grid
from sweeps.space.spec import SweepSpec
from sweeps.study.records import START_POINT
from sweeps.study.stored_sweep import StoredSweep

Make = Callable[..., SweepSpec]

# every kind of law: on steps, on a log scale, beyond what Optuna has; weighted; under a condition
PARAMETERS: dict[str, Any] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
    "epochs": {"distribution": "q_uniform", "min": 1, "max": 10, "q": 3},
    "dropout": {"distribution": "q_uniform", "min": 0.0, "max": 0.7, "q": 0.1},
    "batch_size": {"min": 4, "max": 8},
    "width": {"distribution": "q_log_uniform_values", "min": 8, "max": 256, "q": 8},
    "shift": {"distribution": "normal", "mu": 1.0, "sigma": 0.5},
    "optimizer": {"values": ["adamw", "sgd", "madgrad"], "probabilities": [0.2, 0.5, 0.3]},
    "momentum": {"min": 0.5, "max": 0.9, "when": {"optimizer": ["sgd", "madgrad"]}},
    "decay": {
        "distribution": "q_log_normal",
        "mu": 0.0,
        "sigma": 1.0,
        "q": 0.5,
        "when": {"optimizer": "adamw"},
    },
    "backbone": {"value": "test_resnet"},
}
GRID: dict[str, Any] = {
    "optimizer": {"values": ["adamw", "sgd"]},
    "epochs": {"min": 1, "max": 2},
    "momentum": {
        "distribution": "q_uniform",
        "min": 0.5,
        "max": 0.75,
        "q": 0.25,
        "when": {"optimizer": "sgd"},
    },
    "backbone": {"value": "test_resnet"},
}
GRID_POINTS: list[dict[str, Any]] = [
    {"optimizer": "adamw", "epochs": 1},
    {"optimizer": "adamw", "epochs": 2},
    {"optimizer": "sgd", "epochs": 1, "momentum": 0.5},
    {"optimizer": "sgd", "epochs": 1, "momentum": 0.75},
    {"optimizer": "sgd", "epochs": 2, "momentum": 0.5},
    {"optimizer": "sgd", "epochs": 2, "momentum": 0.75},
]
SAMPLERS = ["tpe", "gp", "cmaes", "qmc", "nsgaii", "random", "grid", "brute_force"]
# trials after which a sampler has used its model more than once; GP costs 0.2 s a time
TRIALS = {"gp": 14, "nsgaii": 22, "cmaes": 28, "grid": 6, "brute_force": 6}


@pytest.fixture(autouse=True)
def _small_population(monkeypatch: pytest.MonkeyPatch) -> None:
    """NSGA-II's generations of 6 instead of 50 trials."""
    monkeypatch.setitem(
        MODELS, "nsgaii", lambda seed: models._Genetic(seed=seed, population_size=6)
    )


@pytest.fixture
def make(make_spec: Make) -> Make:
    """A spec with any sampler; parameter names are free."""

    def made(
        sampler: str = "random", *, parameters: dict[str, Any] | None = None, **changes: Any
    ) -> SweepSpec:
        finite = sampler in ("grid", "brute_force")
        space, problems = read_space(parameters or (GRID if finite else PARAMETERS))
        assert problems == []
        return make_spec().model_copy(
            update={"method": "custom", "sampler": sampler, "space": space, **changes}
        )

    return made


def new_study() -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=RandomSampler(seed=0))


def rebuilt(trials: list[FrozenTrial]) -> optuna.Study:
    """What a restarted driver decides from: copies, in a storage that counts its trials differently."""
    storage = InMemoryStorage()
    optuna.create_study(storage=storage).add_trial(create_trial(value=0.0))
    study = optuna.create_study(
        storage=storage, direction="maximize", sampler=RandomSampler(seed=0)
    )
    study.add_trials(copy.deepcopy(trials))
    return study


def score(params: dict[str, Any]) -> float:
    """A function with a best point, in place of a training."""
    lr, dropout = params.get("lr", 1e-3), params.get("dropout", 0.2)
    return -abs(math.log10(lr) + 2.5) - (params.get("optimizer") == "adamw") - abs(dropout - 0.25)


def end(study: optuna.Study, trial: FrozenTrial) -> None:
    """End a trial; every seventh is pruned, every eleventh fails."""
    if trial.number % 11 == 10:
        study.tell(trial.number, state=TrialState.FAIL)
    elif trial.number % 7 == 6:
        study.tell(trial.number, state=TrialState.PRUNED)
    else:
        study.tell(trial.number, score(trial.params))


def evaluate(
    study: optuna.Study, spec: SweepSpec, *, trials: int, first: int = 0
) -> list[FrozenTrial]:
    """A sweep up to that many trials without an interruption, as asked and (in the study) as ended."""
    asked = []
    for number in range(first, trials):
        asked.append(propose(study, spec, number=number))
        end(study, asked[-1])
    return asked


def asked_of(trial: FrozenTrial) -> tuple[Any, ...]:
    """All that a proposal consists of. CMA-ES's pickled optimizer has an array that is never filled: only its keys."""
    remembered = {
        key: None if "optimizer" in key else value for key, value in trial.system_attrs.items()
    }
    return trial.params, trial.distributions, trial.user_attrs, remembered


def contains(wanted: BaseDistribution, label: Any) -> bool:
    return wanted._contains(wanted.to_internal_repr(label))


# --- a proposal depends on the seed, the number and the history


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_restarted_sweep_proposes_what_the_undisturbed_one_does(make: Make, sampler: str) -> None:
    spec = make(sampler, start_with=({"optimizer": "sgd", "epochs": 1},))
    study, n = new_study(), TRIALS.get(sampler, 14)
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
    spec, study = make(sampler), new_study()
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
    spec, study = make(sampler), new_study()
    evaluate(study, spec, trials=trials)
    as_is, worse = study.trials, copy.deepcopy(study.trials)
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
        study, spec = new_study(), make(sampler, parameters=parameters, seed=seed)
        proposed |= {propose(study, spec, number=number).params["a"] for number in (0, 1)}
    assert len(proposed) == 4


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
    study, spec = new_study(), make(sampler, parameters={"backbone": {"value": "test_resnet"}})
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
    study, spec = new_study(), make(sampler, parameters=parameters)
    for trial in evaluate(study, spec, trials=14):
        assert trial.params.keys() == parameters.keys()


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsgaii", "gp"])
def test_before_its_model_acts_a_sampler_draws_from_the_laws(make: Make, sampler: str) -> None:
    spec, by_law = make(sampler), make("random")
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
    """The seed of a draw is its own: a conditional parameter gets the same value whatever is drawn before it."""
    n = TRIALS[sampler]
    study, spec = new_study(), make(sampler)
    evaluate(study, spec, trials=n)
    trial = propose(study, spec, number=n)
    for name in {"momentum", "decay"} & trial.params.keys():
        share = draws.share(spec, name, number=n)
        assert trial.params[name] == spec.space[name].domain.draw(share)


def test_cmaes_keeps_its_model_when_conditions_change_what_trials_share(make: Make) -> None:
    study, spec = new_study(), make("cmaes")
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
    study, spec = new_study(), make("nsgaii")
    evaluate(study, spec, trials=22)
    sampler = models._Genetic(seed=0, population_size=6)
    first, second = (sampler.get_population(study, generation) for generation in (0, 1))
    assert sampler.get_parent_population(study, 0) == []
    parents = sampler.get_parent_population(study, 2)
    assert parents == sorted([*first, *second], key=lambda t: (-t.values[0], t.number))[:6]


# --- exact laws


def test_a_random_draw_is_the_laws_at_a_share_of_its_own(make: Make) -> None:
    spec, study = make("random"), new_study()
    for number in range(20):
        for name, value in propose(study, spec, number=number).params.items():
            assert value == spec.space[name].domain.draw(draws.share(spec, name, number=number))


def test_the_shares_are_uniform_and_independent(make: Make) -> None:
    spec = make("random")
    shares_NP = np.array(
        [[draws.share(spec, name, number=number) for name in "ab"] for number in range(2000)]
    )
    assert shares_NP.min() >= 0
    assert shares_NP.max() < 1
    assert scipy.stats.kstest(shares_NP[:, 0], "uniform").pvalue > 0.01
    assert abs(np.corrcoef(shares_NP.T)[0, 1]) < 0.05
    assert abs(np.corrcoef(shares_NP[1:, 0], shares_NP[:-1, 0])[0, 1]) < 0.05


def test_the_greatest_share_is_below_one(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "derive", lambda *purpose: 2**63 - 1)
    assert draws.share(make(), "a", number=0) < 1


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_normal_and_weighted_parameters_follow_their_laws(make: Make, sampler: str) -> None:
    parameters = {"shift": PARAMETERS["shift"], "optimizer": PARAMETERS["optimizer"]}
    spec, study = make(sampler, parameters=parameters), new_study()
    drawn = [propose(study, spec, number=number).params for number in range(512)]
    assert (
        scipy.stats.kstest([d["shift"] for d in drawn], scipy.stats.norm(1.0, 0.5).cdf).pvalue
        > 0.01
    )
    counts = [sum(d["optimizer"] == name for d in drawn) for name in ("adamw", "sgd", "madgrad")]
    assert scipy.stats.chisquare(counts, [512 * p for p in (0.2, 0.5, 0.3)]).pvalue > 0.01


def test_qmc_fills_the_space_evenly_from_the_first_trial_on(make: Make) -> None:
    parameters = {name: {"min": 0.0, "max": 1.0} for name in "ab"}
    spec, study = make("qmc", parameters=parameters), new_study()
    points = [propose(study, spec, number=number).params for number in range(16)]
    for name in "ab":  # one point in each sixteenth; one in each cell of 4 x 4
        assert sorted(int(16 * point[name]) for point in points) == list(range(16))
    assert len({(int(4 * point["a"]), int(4 * point["b"])) for point in points}) == 16


# --- distributions


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ({"min": 1, "max": 9}, IntDistribution(1, 9)),
        ({"distribution": "q_uniform", "min": 1, "max": 10, "q": 4}, IntDistribution(1, 9, step=4)),
        (
            {"distribution": "q_uniform", "min": 0.0, "max": 0.75, "q": 0.1},
            FloatDistribution(0.0, 0.7, step=0.1),
        ),
        (
            {"distribution": "q_uniform", "min": 0.1, "max": 0.7, "q": 0.3},
            FloatDistribution(0.1, 0.7, step=0.3),
        ),
        (
            {"distribution": "log_uniform_values", "min": 0.1, "max": 1.0},
            FloatDistribution(0.1, 1.0, log=True),
        ),
        (PARAMETERS["width"], IntDistribution(8, 256, log=True)),
        ({**PARAMETERS["width"], "q": 1.5}, FloatDistribution(7.5, 256.5, log=True)),
        ({**PARAMETERS["width"], "q": 20}, IntDistribution(0, 260, step=20)),
        ({"distribution": "q_normal", "mu": 0, "sigma": 1, "q": 2}, IntDistribution(-8, 8, step=2)),
        ({"distribution": "beta", "a": 2, "b": 5}, FloatDistribution(0.0, 1.0)),
    ],
)
def test_a_distribution_has_the_bounds_of_its_law(
    entry: dict[str, Any], wanted: BaseDistribution
) -> None:
    space, problems = read_space({"a": entry})
    assert problems == []
    assert distribution(space["a"]) == wanted


@pytest.mark.parametrize(
    "entry",
    [
        *(entry for entry in PARAMETERS.values() if "value" not in entry),
        {"distribution": "q_uniform", "min": 0.1, "max": 0.7, "q": 0.3},
        {"distribution": "q_log_uniform_values", "min": 0.01, "max": 3.0, "q": 0.1},
        {"distribution": "inv_log_uniform_values", "min": 0.01, "max": 3.0},
        {"distribution": "q_normal", "mu": 0.3, "sigma": 2.0, "q": 0.7},
        {"distribution": "log_normal", "mu": -2.0, "sigma": 1.0},
        {"distribution": "q_log_normal", "mu": 3, "sigma": 1, "q": 4},
        {"distribution": "q_beta", "a": 2, "b": 5, "q": 0.3},
    ],
    ids=lambda entry: entry.get("distribution", "-"),
)
def test_a_distribution_holds_every_value_of_its_law(entry: dict[str, Any]) -> None:
    space, problems = read_space(
        {"a": {key: value for key, value in entry.items() if key != "when"}}
    )
    assert problems == []
    wanted = distribution(space["a"])
    for share in (0.0, 0.01, 0.3, 0.5, 0.77, 0.999, 1 - 2**-53):
        value = space["a"].domain.draw(share)
        assert contains(wanted, value)
        assert wanted.to_external_repr(wanted.to_internal_repr(value)) == value


# --- grid and brute force


def test_a_grid_is_proposed_in_order(make: Make) -> None:
    spec, study = make("grid"), new_study()
    assert [propose(study, spec, number=number).params for number in range(6)] == GRID_POINTS
    assert all(trial.state == TrialState.RUNNING for trial in study.trials)


def test_brute_force_tries_every_point_once_in_an_order_of_chance(make: Make) -> None:
    orders = []
    for seed in (1, 2):
        spec, study = make("brute_force", seed=seed), new_study()
        orders.append([propose(study, spec, number=number).params for number in range(6)])
        assert sorted(orders[-1], key=GRID_POINTS.index) == GRID_POINTS
    assert orders[0] != orders[1] != GRID_POINTS


def test_brute_force_finds_the_points_that_chance_does_not_meet(make: Make) -> None:
    parameters = {"a": {"values": [1, 2, 3], "probabilities": [1.0, 0.0, 0.0]}}
    spec, study = make("brute_force", parameters=parameters), new_study()
    tried = [propose(study, spec, number=number).params["a"] for number in range(3)]
    assert tried[0] == 1
    assert sorted(tried) == [1, 2, 3]


@pytest.mark.parametrize("sampler", ["grid", "brute_force"])
def test_past_the_last_point_there_is_no_proposal(make: Make, sampler: str) -> None:
    spec, study = make(sampler), new_study()
    evaluate(study, spec, trials=6)
    with pytest.raises(IndexError, match="the grid has no point left"):
        propose(study, spec, number=6)
    assert len(study.trials) == 6


def test_a_grid_skips_what_has_been_tried_whoever_has_the_numbers(make: Make) -> None:
    spec, study = make("grid"), new_study()
    tried = [
        (3, TrialState.FAIL),
        (0, TrialState.COMPLETE),
        (3, TrialState.RUNNING),
        (5, TrialState.WAITING),
    ]
    for point, state in tried:
        params = dict(
            reversed(GRID_POINTS[point].items())
        )  # a storage may list them in another order
        wanted = {name: distribution(spec.space[name]) for name in params}
        value = 0.5 if state == TrialState.COMPLETE else None
        study.add_trial(create_trial(state=state, value=value, params=params, distributions=wanted))
    proposed = [propose(study, spec, number=number).params for number in range(4, 7)]
    assert proposed == [GRID_POINTS[1], GRID_POINTS[2], GRID_POINTS[4]]
    with pytest.raises(IndexError, match="the grid has no point left"):
        propose(study, spec, number=7)


@pytest.mark.parametrize("sampler", ["grid", "brute_force"])
def test_a_grid_tells_equal_values_of_two_kinds_and_lists_apart(make: Make, sampler: str) -> None:
    choices = [1, True, 1.0, None, [1], "[1]", {"a": 1}]
    spec, study = make(sampler, parameters={"a": {"values": choices}}), new_study()
    proposed = [
        values_of(spec.space, propose(study, spec, number=number).params)["a"]
        for number in range(7)
    ]
    assert sorted(map(repr, proposed)) == sorted(map(repr, choices))
    with pytest.raises(IndexError, match="the grid has no point left"):
        propose(study, spec, number=7)


@pytest.mark.parametrize(
    "entry",
    [
        {"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1},
        {"distribution": "q_uniform", "min": 0.0, "max": 0.75, "q": 0.1},
        {"distribution": "q_uniform", "min": 0.1, "max": 0.7, "q": 0.3},
        {"distribution": "q_log_uniform_values", "min": 1, "max": 30, "q": 8},
    ],
)
def test_every_point_of_a_stepped_grid_can_be_stored(make: Make, entry: dict[str, Any]) -> None:
    spec, study = make("grid", parameters={"dropout": entry}), new_study()
    points = list(finite_values(spec.space["dropout"].domain))
    assert [
        propose(study, spec, number=number).params["dropout"] for number in range(len(points))
    ] == points


# --- points to start with

STARTS = (
    {"lr": 0.01, "optimizer": "adamw", "batch_size": 5},
    {"optimizer": "sgd", "momentum": 0.75},
)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "qmc", "nsgaii", "random"])
def test_start_points_come_first_and_the_rest_of_them_is_sampled(make: Make, sampler: str) -> None:
    spec, study = make(sampler, start_with=STARTS), new_study()
    first, second, third = evaluate(study, spec, trials=3)
    for trial, start in ((first, STARTS[0]), (second, STARTS[1])):
        assert start.items() <= trial.params.items()
        assert trial.user_attrs == {START_POINT: json.dumps(start, sort_keys=True)}
        assert set(trial.params) == set(
            distributions(spec.space, values_of(spec.space, trial.params))
        )
    assert first.params["shift"] != second.params["shift"]
    assert third.user_attrs == {}


@pytest.mark.parametrize("state", list(TrialState))
def test_a_start_point_is_asked_once_in_the_sweeps_life(make: Make, state: TrialState) -> None:
    spec, study = make("random", start_with=STARTS), new_study()
    first = copy.deepcopy(propose(study, spec, number=0))
    first.state, first.values = state, [0.5] if state == TrialState.COMPLETE else None
    first.datetime_complete = first.datetime_start if state.is_finished() else None
    restarted = rebuilt([first])
    assert propose(restarted, spec, number=1).user_attrs == {
        START_POINT: json.dumps(STARTS[1], sort_keys=True)
    }
    assert propose(restarted, spec, number=2).user_attrs == {}


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsgaii"])
def test_a_start_point_may_come_when_the_model_acts(make: Make, sampler: str) -> None:
    """As after `start_with` was added to a sweep that goes on; CMA-ES and a mutation leave the rest to its law."""
    study, n = new_study(), TRIALS.get(sampler, 14)
    evaluate(study, make(sampler), trials=n)
    trials = [propose(study, make(sampler, start_with=STARTS), number=n + at) for at in (0, 1)]
    for start, trial in zip(STARTS, trials, strict=True):
        assert start.items() <= trial.params.items()
    by_law = draws.drawn(make("random"), make("random").space, number=n)["shift"]
    assert (trials[0].params["shift"] != by_law) == (sampler in ("tpe", "gp"))


def test_what_a_start_points_own_conditions_switch_off_is_left_out(make: Make) -> None:
    spec = make(
        "random", start_with=({"optimizer": "adamw", "momentum": 0.75, "backbone": "test_resnet"},)
    )
    params = propose(new_study(), spec, number=0).params
    assert params["optimizer"] == "adamw"
    assert "momentum" not in params
    assert "backbone" not in params


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_start_points_value_becomes_the_domains_own(make: Make, sampler: str) -> None:
    parameters = {"lr": {"min": 0.5, "max": 2.5}, "layers": {"values": [[1, 2], {"a": 1}]}}
    spec = make(sampler, parameters=parameters, start_with=({"lr": 1, "layers": {"a": 1}},))
    params = propose(new_study(), spec, number=0).params
    assert repr(params) == repr({"lr": 1.0, "layers": '{"a": 1}'})


@pytest.mark.parametrize("sampler", ["grid", "brute_force"])
def test_a_start_point_of_a_grid_counts_as_tried(make: Make, sampler: str) -> None:
    starts = ({"optimizer": "sgd", "epochs": 2, "momentum": 0.75}, {"optimizer": "sgd"})
    spec, study = make(sampler, start_with=starts), new_study()
    proposed = [propose(study, spec, number=number) for number in range(6)]
    assert proposed[0].params == GRID_POINTS[5]
    assert proposed[1].params["optimizer"] == "sgd"
    assert sorted((t.params for t in proposed), key=GRID_POINTS.index) == GRID_POINTS
    assert [START_POINT in t.user_attrs for t in proposed] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_start_point_whose_points_have_all_been_tried_is_passed_over(make: Make) -> None:
    spec, study = (
        make(
            "grid",
            start_with=({"optimizer": "adamw", "epochs": 1}, {"epochs": 1, "optimizer": "adamw"}),
        ),
        (new_study()),
    )
    assert [propose(study, spec, number=number).params for number in range(2)] == GRID_POINTS[:2]
    again = make("grid", start_with=({"optimizer": "adamw"},))
    assert propose(study, again, number=2).params == GRID_POINTS[2]


# --- labels


def test_lists_and_mappings_come_back_from_their_labels(make: Make) -> None:
    choices = [[1, 2], {"a": [1], "b": None}, "plain", 3, None]
    spec = make("random", parameters={"layers": {"values": choices}, "kernel": {"value": [3, 3]}})
    study, seen = new_study(), []
    for number in range(30):
        params = propose(study, spec, number=number).params
        assert not isinstance(params["layers"], list | dict)
        values = values_of(spec.space, params)
        assert values["kernel"] == [3, 3]
        seen.append(values["layers"])
    assert all(choice in seen for choice in choices)


def test_conditions_hold_for_the_values_behind_the_labels(make: Make) -> None:
    parameters = {
        "layers": {"values": [[1], [2]]},
        "width": {"min": 1, "max": 3, "when": {"layers": [[1]]}},
    }
    spec, study = make("random", parameters=parameters), new_study()
    for number in range(10):
        params = propose(study, spec, number=number).params
        assert ("width" in params) == (params["layers"] == "[1]")


def test_labels_tell_true_from_one() -> None:
    space = Space((Parameter("a", Categorical((1, True, 1.0))),))
    assert [repr(labels(space, values)["a"]) for values in grid(space)] == ["1", "True", "1.0"]


@given(
    st.lists(
        st.sampled_from(["adamw", "sgd", 1, 2.5, None, [1], {"a": 2}]),
        min_size=1,
        max_size=4,
        unique_by=repr,
    )
)
def test_labels_and_values_are_each_others_inverse(choices: list[Any]) -> None:
    space, _ = read_space(
        {"a": {"values": choices}, "b": {"min": 1, "max": 2}, "c": {"value": "x"}}
    )
    for values in grid(space):
        assert values_of(space, labels(space, values)) == values


def test_a_stored_number_comes_back_in_its_kind() -> None:
    space, _ = read_space({"a": {"min": 1, "max": 2}, "b": {"min": 0.0, "max": 2.0}})
    values: Values = values_of(space, {"a": 1.0, "b": 1})
    assert [(value, type(value)) for value in values.values()] == [(1, int), (1.0, float)]


def test_the_points_of_a_grid_lie_in_the_distributions() -> None:
    space, _ = read_space(GRID)
    for values, parameter in itertools.product(grid(space), space.varying()):
        if parameter.name in values:
            assert contains(distribution(parameter), values[parameter.name])
