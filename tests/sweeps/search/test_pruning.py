import math
import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.search.pruning import fold_reason, hyperband_reason, stop_reason
from sweeps.search.race import Standing
from sweeps.space.domains import Constant
from sweeps.space.parameters import Parameter, Space
from sweeps.space.spec import Folds, Metric, SweepSpec
from sweeps.space.stopping import EarlyTerminate, Hyperband, Median, NoRule, Race, Wilcoxon
from trainer.data.options import DataOptions
from trainer.metrics import Goal

Rule = Callable[..., SweepSpec]
NAN = float("nan")


@pytest.fixture
def rule(make_spec: Callable[..., SweepSpec]) -> Rule:
    """A search space of 3 epochs and 2 folds with a rule that may stop trials from the start."""

    def rule(name: str = "median", goal: str = "maximize", **options: object) -> SweepSpec:
        metric = {"name": "valid/f1" if goal == "maximize" else "valid/loss", "goal": goal}
        if name == "median":
            options = {"startup_trials": 2, "warmup_epochs": 0, **options}
        terminate = (
            {"type": name} if name == "none" else {"type": name, "keep_at_least": 0, **options}
        )
        return make_spec(
            metric=metric, early_terminate=terminate, parameters={"epochs": {"value": 3}}
        )

    return rule


def completed(values: Sequence[float]) -> FrozenTrial:
    """A completed trial with its reports from step 1 on."""
    return create_trial(value=values[-1], intermediate_values=dict(enumerate(values, start=1)))


def running(values: Sequence[float], *, first_step: int = 1) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING,
        intermediate_values=dict(enumerate(values, start=first_step)),
        params={},
    )


def study_of(*trials: FrozenTrial, goal: str = "maximize") -> optuna.Study:
    study = optuna.create_study(direction=goal)
    study.add_trials(trials)
    return study


def reason(spec: SweepSpec, trial: FrozenTrial, *others: FrozenTrial) -> str | None:
    study = study_of(*others, trial, goal=spec.metric.goal)
    return stop_reason(study, study.trials[-1], spec)


# any rule

ANY = [
    ("hyperband", {"min_iter": 1}),
    ("median", {}),
    ("percentile", {"percentile": 50, "startup_trials": 1, "warmup_epochs": 0}),
    ("patient", {"patience": 1}),
    ("threshold", {"lower": 0.3}),
]


@pytest.mark.parametrize(("name", "options"), ANY)
@pytest.mark.parametrize(("complete", "stopped"), [(2, False), (3, True)])
def test_nothing_is_stopped_before_enough_trials_are_complete(
    rule: Rule, name: str, options: dict[str, Any], complete: int, stopped: bool
) -> None:
    spec = rule(name, keep_at_least=3, **options)
    over = [
        create_trial(state=state, intermediate_values={1: 0.9})
        for state in (TrialState.PRUNED, TrialState.FAIL)
    ]
    others = [*over, *[completed([0.9] * 6)] * complete]
    assert (reason(spec, running([0.29, 0.2, 0.1]), *others) is not None) == stopped


@pytest.mark.parametrize(("name", "options"), [*ANY, ("wilcoxon", {})])
def test_a_trial_whose_values_are_not_numbers_is_stopped_under_any_rule(
    rule: Rule, name: str, options: dict[str, Any]
) -> None:
    assert (
        reason(rule(name, keep_at_least=20, **options), running([NAN, NAN]))
        == "its values are not numbers"
    )


@pytest.mark.parametrize(("name", "options"), [*ANY, ("wilcoxon", {})])
def test_a_trial_without_a_report_goes_on(rule: Rule, name: str, options: dict[str, Any]) -> None:
    assert reason(rule(name, **options), running([]), *[completed([0.5] * 6)] * 3) is None


@pytest.mark.parametrize(("name", "options"), ANY)
def test_single_values_that_are_not_numbers_neither_stop_a_trial_nor_warn(
    rule: Rule, name: str, options: dict[str, Any]
) -> None:
    others = [completed([0.5, NAN, 0.5]), completed([NAN, NAN, 0.5])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reason(rule(name, **options), running([0.5, NAN, NAN, 0.6]), *others) is None
        if name != "threshold":
            assert reason(rule(name, **options), running([0.5, NAN]), *others) is None


def test_without_a_rule_nothing_is_stopped(rule: Rule) -> None:
    others = [completed([0.5] * 6)] * 9
    assert [reason(rule("none"), running([value]), *others) for value in (0.0, NAN)] == [None, None]


@pytest.mark.parametrize(("name", "options"), ANY)
def test_the_answer_is_a_function_of_the_reports(
    rule: Rule, name: str, options: dict[str, Any]
) -> None:
    """Asked again, in another study with the same trials, with reports in another order."""
    rng, spec = random.Random(4), rule(name, **options)
    answers = set()
    for _ in range(40):
        trials = [
            completed([rng.choice((0.2, 0.4, rng.random())) for _ in range(6)]) for _ in range(4)
        ]
        own = running([rng.random() for _ in range(rng.randint(1, 6))])
        study = study_of(*trials, own)
        first = stop_reason(study, study.trials[-1], spec)
        assert [stop_reason(study, study.trials[-1], spec) for _ in range(2)] == [first] * 2
        for trial in (*trials, own):
            trial.intermediate_values = dict(
                sorted(trial.intermediate_values.items(), key=lambda item: -item[0])
            )
        assert reason(spec, own, *trials) == first
        answers.add(first is None)
    assert answers == {True, False}


# median and percentile


@pytest.mark.parametrize(("goal", "bad", "good"), [("maximize", 0.3, 0.7), ("minimize", 0.7, 0.3)])
def test_a_trial_worse_than_the_median_is_stopped_and_a_better_one_goes_on(
    rule: Rule, goal: str, bad: float, good: float
) -> None:
    others = [completed([value] * 6) for value in (0.4, 0.5, 0.6)]
    assert reason(rule(goal=goal), running([bad]), *others) == (
        "median rule: at fold 1, epoch 1 worse than half of the completed trials"
    )
    assert reason(rule(goal=goal), running([good]), *others) is None
    assert reason(rule(goal=goal), running([0.5]), *others) is None  # as good as the median


@pytest.mark.parametrize(
    ("goal", "share", "worse", "better"),
    [("maximize", 20, 0.73, 0.75), ("minimize", 30, 0.35, 0.33)],
)
def test_a_trial_outside_the_best_percent_is_stopped(
    rule: Rule, goal: str, share: int, worse: float, better: float
) -> None:
    """The limits lie between 0.7 and 0.8, between 0.3 and 0.4."""
    others = [completed([value / 10] * 6) for value in range(1, 10)]
    spec = rule("percentile", goal, percentile=share, warmup_epochs=0)
    assert reason(spec, running([worse]), *others) == (
        f"percentile rule: at fold 1, epoch 1 not among the best {share} % of the completed trials"
    )
    assert reason(spec, running([better]), *others) is None


@pytest.mark.parametrize(("step", "fold", "epoch"), [(1, 1, 1), (3, 1, 3), (4, 2, 1), (6, 2, 3)])
def test_the_reason_names_fold_and_epoch_of_the_last_report(
    rule: Rule, step: int, fold: int, epoch: int
) -> None:
    others = [completed([0.5] * 6), completed([0.6] * 6)]
    text = reason(rule(), running([0.1], first_step=step), *others)
    assert (
        text
        == f"median rule: at fold {fold}, epoch {epoch} worse than half of the completed trials"
    )


def test_the_best_value_so_far_counts_not_the_last(rule: Rule) -> None:
    assert reason(rule(), running([0.7, 0.1]), completed([0.5] * 6), completed([0.5] * 6)) is None


@pytest.mark.parametrize(("finished", "stopped"), [(1, False), (2, True), (3, True)])
def test_the_median_waits_for_its_startup_trials(rule: Rule, finished: int, stopped: bool) -> None:
    over = [
        create_trial(state=state, intermediate_values={1: 0.5})
        for state in (TrialState.PRUNED, TrialState.FAIL)
    ]
    others = [*over, *[completed([0.5] * 6)] * finished]
    assert (reason(rule(), running([0.1]), *others) is not None) == stopped


@pytest.mark.parametrize(("warmup", "stopped_at"), [(0, [1, 2, 3, 4]), (1, [2, 3, 4]), (3, [4])])
def test_nothing_is_stopped_in_the_warm_up_epochs_of_the_first_fold(
    rule: Rule, warmup: int, stopped_at: list[int]
) -> None:
    others = [completed([0.5] * 6), completed([0.5] * 6)]
    spec = rule(warmup_epochs=warmup)
    stopped = [
        step for step in (1, 2, 3, 4) if reason(spec, running([0.1] * step), *others) is not None
    ]
    assert stopped == stopped_at


def test_completed_trials_without_a_report_at_the_step_do_not_count(rule: Rule) -> None:
    short, long = completed([0.9] * 3), completed([0.2] * 6)
    assert reason(rule(), running([0.3] * 6), short, short, long) is None
    assert reason(rule(), running([0.3] * 6), short, short, short) is None


scores = st.floats(0, 1, width=16)


def spec_of(
    terminate: EarlyTerminate, *, folds: Folds | None = None, goal: str = "maximize"
) -> SweepSpec:
    return SweepSpec(
        name="toy",
        metric=Metric.model_validate({"name": "valid/f1", "goal": goal}),
        data=DataOptions(source="train.csv"),
        folds=folds or Folds(),
        early_terminate=terminate,
        space=Space((Parameter("epochs", Constant(4)),)),
        raw={},
    )


BY_MEDIAN = spec_of(Median(type="median", startup_trials=1, warmup_epochs=0, keep_at_least=0))
BY_BANDS = [
    spec_of(Hyperband(type="hyperband", min_iter=1, strict=strict, keep_at_least=0))
    for strict in (True, False)
]


@pytest.mark.parametrize(
    "spec", [BY_MEDIAN, *BY_BANDS], ids=["median", "strict hyperband", "hyperband"]
)
@settings(max_examples=30)
@given(st.lists(st.lists(scores, min_size=4, max_size=4), min_size=2, max_size=6), st.data())
def test_the_best_so_far_always_survives(
    spec: SweepSpec, table: list[list[float]], data: st.DataObject
) -> None:
    at = data.draw(st.integers(1, 4))
    best = [max(row[step] for row in table) for step in range(at)]
    assert reason(spec, running(best), *map(completed, table)) is None


# patient and threshold


@pytest.mark.parametrize(
    ("values", "stopped"),
    [
        ([0.6, 0.5, 0.5], True),
        ([0.6, 0.6, 0.6], False),  # as good as its best is not below
        ([0.6, 0.5], False),
        ([0.4, 0.6, 0.5], False),
        ([0.6, 0.5, NAN], True),
        ([0.6, NAN, NAN], True),
    ],
)
@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_a_patient_rule_stops_a_trial_that_stays_below_its_best(
    rule: Rule, goal: str, values: list[float], stopped: bool
) -> None:
    sign = 1 if goal == "maximize" else -1
    text = reason(rule("patient", goal, patience=1), running([sign * value for value in values]))
    assert text == (
        "patient rule: at fold 1, epoch 3 below its best for more than 1 epochs"
        if stopped
        else None
    )


def test_patience_begins_anew_with_each_fold_and_counts_in_its_own_score(rule: Rule) -> None:
    """The second fold starts from scratch: 0.1, 0.4, ... beside 0.9 of the first one."""
    first = [0.7, 0.8, 0.9]

    def after(*second: float, min_delta: float = 0.0) -> str | None:
        values = [*first, *((0.9 + value) / 2 for value in second)]
        return reason(rule("patient", patience=1, min_delta=min_delta), running(values))

    assert after(0.1) is None
    assert after(0.1, 0.05) is None
    assert (
        after(0.5, 0.4, 0.4)
        == "patient rule: at fold 2, epoch 3 below its best for more than 1 epochs"
    )
    assert after(0.5, 0.4, 0.4, min_delta=0.09) is not None
    assert after(0.5, 0.4, 0.4, min_delta=0.11) is None


@pytest.mark.parametrize(
    ("options", "value", "what"),
    [
        ({"lower": 0.3}, 0.29, "its value 0.29 is below 0.3"),
        ({"lower": 0.3}, 0.3, None),
        ({"upper": 2.0}, 2.5, "its value 2.5 is above 2"),
        ({"lower": 0.3, "upper": 2.0}, 0.2, "its value 0.2 is below 0.3"),
        ({"lower": 0.3, "upper": 2.0}, 2.0, None),
        ({"lower": 0.3}, NAN, "its value is not a number"),
    ],
)
def test_a_value_outside_the_thresholds_stops_a_trial(
    rule: Rule, options: dict[str, float], value: float, what: str | None
) -> None:
    text = reason(rule("threshold", **options), running([0.5, value]))
    assert text == (None if what is None else f"threshold rule: at fold 1, epoch 2 {what}")


def test_a_threshold_leaves_every_fold_its_warm_up_epochs(rule: Rule) -> None:
    spec = rule("threshold", lower=0.3, warmup_epochs=2)
    stopped = [
        step for step in range(1, 7) if reason(spec, running([0.1], first_step=step)) is not None
    ]
    assert stopped == [3, 6]


# hyperband


@pytest.mark.parametrize(("goal", "sign"), [("maximize", 1), ("minimize", -1)])
def test_hyperband_stops_at_a_band_who_is_not_among_the_best(
    rule: Rule, goal: str, sign: int
) -> None:
    spec = rule("hyperband", goal, min_iter=1)
    others = [completed([sign * value] * 6) for value in (0.1, 0.2, 0.3, 0.6, 0.9)]
    assert reason(spec, running([sign * 0.25]), *others) == (
        "hyperband: at epoch 1 not among the best third of 6 trials"
    )
    assert reason(spec, running([sign * 0.7]), *others) is None


@pytest.mark.parametrize(
    ("eta", "share"), [(2, "half"), (3, "third"), (4, "quarter"), (2.5, "40 %"), (10, "10 %")]
)
def test_the_reason_names_the_share_that_goes_on(eta: float, share: str) -> None:
    text = hyperband_reason(
        Hyperband(type="hyperband", min_iter=2, eta=eta),
        [0.1, 0.1, 0.1],
        others=[[0.5] * 9] * 29,
        goal=Goal.MAXIMIZE,
    )
    assert text == f"hyperband: at epoch 2 not among the best {share} of 30 trials"


def test_only_strict_hyperband_forgets_a_better_epoch_before_the_band(rule: Rule) -> None:
    others = [completed([0.1, 0.1, value, value, value, value]) for value in (0.4, 0.5, 0.6, 0.7)]
    values = [0.9, 0.1, 0.1]
    assert reason(rule("hyperband", min_iter=3), running(values), *others) is None
    assert reason(rule("hyperband", min_iter=3, strict=True), running(values), *others) is not None


def test_hyperband_judges_again_between_bands_by_what_others_have_shown_since(rule: Rule) -> None:
    """As W&B's server does every few minutes."""
    spec, own = rule("hyperband", min_iter=1), running([0.5, 0.5])
    assert reason(spec, own, completed([0.1] * 6)) is None
    assert reason(spec, own, *[completed([value] * 6) for value in (0.1, 0.7, 0.8, 0.9)]) == (
        "hyperband: at epoch 1 not among the best third of 5 trials"
    )


def test_hyperband_compares_with_every_trial_whatever_became_of_it(rule: Rule) -> None:
    others = [
        create_trial(
            state=state,
            value=0.9 if state == TrialState.COMPLETE else None,
            intermediate_values={1: 0.9},
        )
        for state in TrialState
    ]
    assert reason(rule("hyperband", min_iter=1), running([0.5]), *others) == (
        "hyperband: at epoch 1 not among the best third of 6 trials"
    )


def test_hyperband_counts_the_epochs_reported_not_the_steps(rule: Rule) -> None:
    """Two epochs a fold where others have three: its third report is step 4."""
    own = create_trial(state=TrialState.RUNNING, intermediate_values={1: 0.1, 2: 0.1, 4: 0.1})
    assert reason(rule("hyperband", min_iter=3), own, *[completed([0.5] * 6)] * 3) == (
        "hyperband: at epoch 3 not among the best third of 4 trials"
    )


@pytest.mark.parametrize("odd", [NAN, math.inf, -math.inf])
def test_hyperband_does_not_count_an_epoch_without_a_number(rule: Rule, odd: float) -> None:
    spec, others = rule("hyperband", min_iter=2), [completed([odd, 0.1, 0.5])] * 3
    assert reason(spec, running([odd, 0.1]), *others) is None
    assert reason(spec, running([odd, 0.1, 0.1]), *others) == (
        "hyperband: at epoch 2 not among the best third of 4 trials"
    )


def test_what_hyperband_remembers_of_trials_that_are_over_is_theirs(rule: Rule) -> None:
    """Between two questions a trial goes on and ends; an interrupted one is not over."""
    storage = InMemoryStorage()
    study = optuna.create_study(direction="maximize", storage=storage, study_name="toy")
    study.add_trials([running([0.1]), running([0.5, 0.5])])
    number = storage.get_trial_id_from_study_id_trial_number(
        storage.get_study_id_from_name("toy"), 0
    )

    def answer() -> str | None:
        return stop_reason(study, study.trials[1], rule("hyperband", min_iter=2))

    assert answer() is None
    storage.set_trial_state_values(number, TrialState.WAITING)
    assert answer() is None
    storage.set_trial_state_values(number, TrialState.RUNNING)
    storage.set_trial_intermediate_value(number, 2, 0.9)
    storage.set_trial_state_values(number, TrialState.COMPLETE, [0.9])
    assert [answer(), answer()] == [
        "hyperband: at epoch 2 not among the best third of 2 trials"
    ] * 2


def wandb_stops(rule: Hyperband, histories: list[list[float]], *, goal: str) -> list[int]:
    """W&B's algorithm told again for the whole sweep at once: which trials it would stop."""
    bands: list[int] = []
    if rule.max_iter is not None and rule.s is not None:
        length = float(rule.max_iter)
        for _ in range(rule.s):
            length = length / rule.eta
            if length >= 1:
                bands.insert(0, int(length))
    elif rule.min_iter is not None:
        length = float(rule.min_iter)
        while len(bands) < 100:
            bands.append(int(length))
            length = length * rule.eta
    lines = [
        [-value if goal == "maximize" else value for value in line if math.isfinite(value)]
        for line in histories
    ]
    limits = {}
    for band in bands:
        at_band = sorted(line[band - 1] for line in lines if len(line) >= band)
        limits[band] = at_band[int((1.0 / rule.eta) * len(at_band))] if at_band else math.inf
    stopped = []
    for number, line in enumerate(lines):
        passed = [band for band in bands if band <= len(line)]
        if passed and (line[passed[-1] - 1] if rule.strict else min(line)) > limits[passed[-1]]:
            stopped.append(number)
    return stopped


def test_hyperband_stops_what_wandb_stops() -> None:
    """Over 400 random sweeps; 1,500 were equal to those of the package `sweeps` 0.3.0 itself."""
    rng, stops = random.Random(3), 0
    for _ in range(400):
        options: dict[str, Any] = rng.choice(
            [
                {"min_iter": rng.randint(1, 6)},
                {"max_iter": rng.randint(5, 40), "s": rng.randint(1, 5)},
            ]
        )
        rule = Hyperband(
            type="hyperband",
            **options,
            eta=rng.choice([1.1, 1.5, 2, 2.5, 3, 4]),
            strict=rng.random() < 0.5,
        )
        goal = rng.choice([Goal.MINIMIZE, Goal.MAXIMIZE])
        table = [
            [
                rng.choice([round(rng.random(), 1), rng.random(), rng.choice([0.5, NAN, math.inf])])
                for _ in range(length)
            ]
            for length in rng.choices(range(30), k=rng.randint(1, 12))
        ]
        finite = [[value for value in line if math.isfinite(value)] for line in table]
        ours = [
            number
            for number, own in enumerate(finite)
            if hyperband_reason(rule, own, others=finite[:number] + finite[number + 1 :], goal=goal)
            is not None
        ]
        assert ours == wandb_stops(rule, table, goal=goal)
        stops += len(ours)
    assert stops > 100


# after a fold: wilcoxon and the race

FOLDS = [0.81, 0.83, 0.79, 0.85, 0.82, 0.84]
BEST = Standing(3, tuple(FOLDS))
FIELD = [
    BEST,
    *(
        Standing(4 + number, tuple(score - 0.1 - 0.01 * number for score in FOLDS))
        for number in range(3)
    ),
]


def by_wilcoxon(*, goal: str = "maximize", race: bool = False, **options: Any) -> SweepSpec:
    rule = Wilcoxon.model_validate({"type": "wilcoxon", "keep_at_least": 0, **options})
    return spec_of(rule, folds=Folds(k=6, race=race), goal=goal)


@pytest.mark.parametrize(("goal", "sign"), [("maximize", 1), ("minimize", -1)])
def test_wilcoxon_stops_a_trial_below_the_best_one_on_every_fold_once_p_can_be_small(
    goal: str, sign: int
) -> None:
    best = Standing(3, tuple(sign * score for score in FOLDS))
    spec = by_wilcoxon(goal=goal)
    own = [sign * (score - 0.01 - 0.001 * fold) for fold, score in enumerate(FOLDS)]
    stopped = [
        folds for folds in range(7) if fold_reason([best], own[:folds], spec=spec) is not None
    ]
    assert stopped == [4, 5]  # p is 1/16 and 1/32; a complete trial is not judged
    assert fold_reason([best], own[:4], spec=spec) == (
        f"wilcoxon rule: after 4 of 6 folds worse than trial 3 ({best.score:.4g})"
    )
    better = [sign * (score + 0.01) for score in FOLDS]
    assert [fold_reason([best], better[:folds], spec=spec) for folds in (4, 5)] == [None, None]


@pytest.mark.parametrize(
    ("options", "stopped"),
    [
        ({"p_threshold": 0.3}, [2, 3, 4, 5]),
        ({"p_threshold": 0.25}, [3, 4, 5]),
        ({"p_threshold": 0.3, "startup_folds": 4}, [4, 5]),
        ({"p_threshold": 0.02}, []),
    ],
)
def test_wilcoxon_acts_from_the_fold_that_its_options_allow(
    options: dict[str, Any], stopped: list[int]
) -> None:
    own, spec = (
        [score - 0.01 - 0.001 * fold for fold, score in enumerate(FOLDS)],
        by_wilcoxon(**options),
    )
    assert [
        folds for folds in range(7) if fold_reason(FIELD, own[:folds], spec=spec) is not None
    ] == stopped


def test_wilcoxon_keeps_a_trial_with_one_better_fold_and_one_that_cannot_be_compared() -> None:
    spec = by_wilcoxon()
    assert fold_reason(FIELD, [0.7, 0.7, 0.7, 0.99], spec=spec) is None
    assert fold_reason(FIELD, [0.7, 0.7, 0.7, NAN, 0.7], spec=spec) is None
    assert fold_reason([], [0.1] * 5, spec=spec) is None
    assert (
        fold_reason([Standing(1, (0.9, 0.9))], [0.1] * 5, spec=spec) is None
    )  # pruned: no best trial yet


@pytest.mark.parametrize(("keep", "stopped"), [(4, True), (5, False)])
def test_wilcoxon_waits_for_complete_trials(keep: int, stopped: bool) -> None:
    pruned = [Standing(50 + number, (0.1, 0.1)) for number in range(9)]
    text = fold_reason([*FIELD, *pruned], [0.1] * 4, spec=by_wilcoxon(keep_at_least=keep))
    assert (text is not None) == stopped


def test_no_rule_at_epochs_stops_after_a_fold_and_wilcoxon_not_at_epochs() -> None:
    assert (
        fold_reason(
            FIELD, [0.1] * 4, spec=spec_of(BY_MEDIAN.early_terminate, folds=Folds(k=6, race=False))
        )
        is None
    )
    assert reason(by_wilcoxon(), running([0.1] * 20), *[completed([0.9] * 24)] * 5) is None


def test_the_race_is_on_unless_it_is_switched_off() -> None:
    table = [
        tuple(
            score - 0.01 * number + 0.001 * (number * fold % 3) for fold, score in enumerate(FOLDS)
        )
        for number in range(5)
    ]
    field = [Standing(number, scores) for number, scores in enumerate(table)]
    assert Folds().race is True
    text = fold_reason(field, [0.1], spec=spec_of(NoRule(), folds=Folds(k=6)))
    assert text == "fold race: less than 0.1 % chance to beat trial 0 (0.8233) after 1 of 6 folds"
    assert fold_reason(field, [0.1], spec=spec_of(NoRule(), folds=Folds(k=6, race=False))) is None
    assert (
        fold_reason(field, [0.1], spec=spec_of(NoRule(), folds=Folds(k=6, race=Race(min_folds=2))))
        is None
    )
    both = by_wilcoxon(race=True)
    assert "fold race" in (fold_reason(field, [0.1], spec=both) or "")
    assert "wilcoxon" in (fold_reason(field, [0.1] * 4, spec=both) or "")
