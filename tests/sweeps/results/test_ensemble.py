"""Choosing members and weights."""

import dataclasses

import numpy as np
import pytest

from sweeps.results.ensemble import (
    ROUNDS,
    Library,
    best_trials,
    fit_ensemble,
    greedy_counts,
    mixture_of,
    predict,
)
from sweeps.results.metric import Metric
from tests.sweeps.results.simulated import ACCURACY, F1, LOG_LOSS, library
from trainer.metrics import METRICS, log_loss
from trainer.prediction.calibration import Calibration

METRIC_KINDS = [F1, ACCURACY, LOG_LOSS, Metric.named("ece", METRICS["ece"])]


def with_one_more(made: Library, probs_NK: np.ndarray, *, name: str = "made/trial-9999") -> Library:
    """The library and one more trial, which costs more than the others."""
    return dataclasses.replace(
        made,
        names=[*made.names, name],
        probs=[*made.probs, probs_NK],
        costs=[*made.costs, 100.0],
    )


@pytest.mark.parametrize("metric", METRIC_KINDS, ids=lambda metric: metric.name)
def test_weights_are_positive_and_sum_to_one(metric: Metric):
    mixture = fit_ensemble(library(), metric=metric, max_members=3)
    weights = [member.weight for member in mixture.members]
    assert 1 <= len(weights) <= 3
    assert min(weights) > 0
    assert sum(weights) == pytest.approx(1, abs=1e-12)
    assert weights == sorted(weights, reverse=True)


def test_it_is_repeatable_and_the_order_of_the_trials_is_irrelevant():
    made = library(trials=8, spread=0.6)
    expected = fit_ensemble(made, metric=F1)
    assert fit_ensemble(made, metric=F1) == expected
    order = np.random.default_rng(5).permutation(8).tolist()
    assert fit_ensemble(made.trials(order), metric=F1) == expected


def test_a_useless_member_changes_nothing():
    made = library()
    noise = np.random.default_rng(0).dirichlet([1.0] * 4, size=240).astype(np.float32)
    assert fit_ensemble(with_one_more(made, noise), metric=F1) == fit_ensemble(made, metric=F1)


def test_a_copy_of_a_member_changes_nothing():
    made = library()
    mixture = fit_ensemble(made, metric=F1)
    copied = made.probs[made.names.index(mixture.members[0].name)]
    assert fit_ensemble(with_one_more(made, copied), metric=F1) == mixture


def test_of_equal_trials_the_cheaper_is_a_member():
    made = library(trials=1)
    dearer = with_one_more(made, made.probs[0], name="made/a-better-name")
    (member,) = fit_ensemble(dearer, metric=F1).members
    assert (member.name, member.weight) == ("made/trial-0000", 1.0)


def test_the_mixture_has_a_lower_log_loss_than_each_trial_on_other_images():
    made = library(trials=8, persons=400, own=1.5)
    first, second = made.rows(np.arange(600)), made.rows(np.arange(600, 1200))
    mixture = fit_ensemble(first, metric=LOG_LOSS)
    mixed = log_loss(predict(second, mixture).probs_NK, second.labels_N)
    assert mixed < min(log_loss(probs_NK, second.labels_N) for probs_NK in second.probs)


def test_calibration_keeps_a_good_member_that_is_too_sure():
    """By log loss alone, sure mistakes would throw the best trial out."""
    made = library(trials=5, persons=300, spread=0.0)
    better = library(trials=1, persons=300, skill=3.0, sharpness=6.0).probs[0]
    assert log_loss(better, made.labels_N) > log_loss(made.probs[0], made.labels_N)
    mixture = fit_ensemble(with_one_more(made, better), metric=F1)
    assert mixture.members[0].name == "made/trial-9999"


def test_greedy_selection_equals_the_plain_algorithm():
    made = library(trials=5, persons=60)
    counts = greedy_counts(made.probs, made.labels_N, max_members=3, library=made)
    own = [probs[np.arange(180), made.labels_N].astype(float) for probs in made.probs]
    chosen: list[int] = []
    best: tuple[float, list[int]] = (np.inf, [])
    for _ in range(ROUNDS):
        allowed = set(chosen) if len(set(chosen)) == 3 else set(range(5))
        losses = {
            m: -np.log(np.mean([own[c] for c in [*chosen, m]], axis=0)).mean() for m in allowed
        }
        chosen.append(min(losses, key=lambda m: losses[m]))
        if losses[chosen[-1]] < best[0] - 1e-9:
            best = losses[chosen[-1]], list(chosen)
    assert counts.tolist() == np.bincount(best[1], minlength=5).tolist()


def test_a_users_metric_gets_the_mean_of_its_best_trials():
    made = library(trials=7, spread=1.0)
    scores = [ACCURACY.score(predicted, made.labels_N) for predicted in made.by_argmax]
    metric = Metric(
        "mine.py:accuracy",
        METRICS["accuracy"],
        lambda probs_NK, labels_N: float((probs_NK.argmax(axis=1) == labels_N).mean()),
    )
    mixture = fit_ensemble(made, metric=metric, max_members=3)
    best = sorted(range(7), key=lambda m: (-scores[m], made.costs[m]))[:3]
    assert [member.weight for member in mixture.members] == pytest.approx([1 / 3] * 3)
    assert {member.name for member in mixture.members} == {made.names[m] for m in best}
    assert mixture.decision.rule == "argmax"


def test_the_best_trials_come_first_whichever_way_the_metric_goes():
    made = library(spread=1.0)
    for metric in (F1, LOG_LOSS):
        order = best_trials(made, metric=metric, most=4)
        scores = [metric.goal.sign * metric.score(made.by_argmax[m], made.labels_N) for m in order]
        assert len(order) == 4
        assert scores == sorted(scores, reverse=True)


def test_a_trial_whose_score_is_not_a_number_comes_last():
    made = library(trials=3)
    metric = Metric("mine.py:nan", METRICS["f1"], lambda probs, labels: float("nan"))
    assert best_trials(made, metric=metric, most=3) == [0, 1, 2]  # by cost
    assert len(fit_ensemble(made, metric=metric).members) == 3


def test_chosen_trials_are_mixed_in_equal_parts_with_the_rule_of_the_metric():
    made = library()
    mixture = mixture_of(made, [4, 1], metric=F1)
    assert {member.name: member.weight for member in mixture.members} == {
        "made/trial-0001": 0.5,
        "made/trial-0004": 0.5,
    }
    assert mixture.decision.rule == "f1"
    alone = mixture_of(made, [2], metric=LOG_LOSS)
    assert [member.weight for member in alone.members] == [1.0]


def test_a_row_on_which_all_members_agree_keeps_its_class_before_the_rule():
    made = library(trials=4, persons=300)
    mixture = fit_ensemble(made, metric=LOG_LOSS)
    uncalibrated = dataclasses.replace(mixture, calibration=Calibration())
    predicted = predict(made, uncalibrated)
    own = [
        member.calibration.of(made.probs[made.names.index(member.name)]).argmax(axis=1)
        for member in mixture.members
    ]
    agreed_N = np.all(np.stack(own) == own[0], axis=0)
    assert 0.3 < agreed_N.mean() < 1
    assert (predicted.class_N[agreed_N] == own[0][agreed_N]).all()


def test_an_ensemble_of_nothing_is_refused():
    made = library(trials=1)
    with pytest.raises(ValueError, match="at least one trial"):
        fit_ensemble(made.trials([]), metric=F1)
