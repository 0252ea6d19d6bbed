"""Honest estimates."""

import dataclasses

import numpy as np
import pytest

from sweeps.results.ensemble import fit_ensemble, predict
from sweeps.results.estimate import (
    epoch_flattery,
    estimate_ensemble,
    estimate_single,
    rare_classes,
)
from sweeps.results.fold_evidence import FoldEvidence
from sweeps.results.metric import Metric
from tests.sweeps.results.simulated import ACCURACY, F1, LOG_LOSS, library
from trainer.metrics import METRICS, Goal, macro_f1


def called(metric: Metric) -> Metric:
    """The same metric as a user's function, of which nothing is known."""
    return Metric("mine.py:m", metric.goal, metric.function)


@pytest.mark.parametrize("metric", [ACCURACY, LOG_LOSS, called(ACCURACY)], ids=["a", "l", "user"])
def test_the_best_of_equal_trials_is_flattered_and_the_estimate_is_not(metric: Metric):
    shown, honest, covered = [], [], []
    for seed in range(12):
        both = library(trials=10, persons=160, photos=1, spread=0.0, own=2.0, seed=seed)
        seen, unseen = both.rows(np.arange(80)), both.rows(np.arange(80, 160))
        found = estimate_single(seen, metric=metric, seed=seed)
        truth = np.mean([metric.score(p, unseen.labels_N) for p in unseen.by_argmax])
        sign = metric.goal.sign
        shown.append(sign * (found.shown - truth))
        honest.append(sign * (found.interval.value - truth))
        covered.append(found.interval.low <= truth <= found.interval.high)
    # the truths differ between the data sets by more than the flattery: means are compared
    assert np.mean(shown) - np.mean(honest) > 0.01
    assert abs(np.mean(honest)) < 3 * np.std(honest) / 12**0.5
    assert np.mean(covered) > 0.8


def test_one_trial_is_estimated_without_flattery():
    made = library(trials=1)
    found = estimate_single(made, metric=ACCURACY, seed=0)
    assert found.chances == (1.0,)
    assert found.alike == (0,)
    assert found.interval.value == pytest.approx(found.shown, abs=0.01)


def test_labels_that_say_nothing_are_estimated_at_chance():
    made = library(trials=5, persons=150, photos=1, skill=0.0, spread=0.0)
    shuffled = dataclasses.replace(
        made, labels_N=np.random.default_rng(1).permutation(made.labels_N)
    )
    single = estimate_single(shuffled, metric=ACCURACY, seed=0).interval
    mixed = estimate_ensemble(shuffled, metric=ACCURACY, seed=0).interval
    chance = float(
        np.mean([(p.class_N[:, None] == shuffled.labels_N).mean() for p in made.by_argmax])
    )
    assert single.low <= chance <= single.high
    # an ensemble that knows nothing says the most frequent class
    frequent = np.bincount(made.labels_N).max() / len(made.labels_N)
    assert mixed.low <= frequent <= mixed.high


def test_the_order_of_the_trials_is_irrelevant():
    made = library(trials=4, persons=40, spread=0.5)
    order = [3, 0, 2, 1]
    first = estimate_single(made, metric=F1, seed=3)
    second = estimate_single(made.trials(order), metric=F1, seed=3)
    assert order[second.chosen] == first.chosen
    assert second.interval == first.interval
    assert [second.chances[order.index(m)] for m in range(4)] == list(first.chances)
    assert [second.expected[order.index(m)] for m in range(4)] == list(first.expected)
    assert [order[m] for m in second.alike] == list(first.alike)
    assert estimate_ensemble(made, metric=F1, seed=3) == estimate_ensemble(
        made.trials(order), metric=F1, seed=3
    )


def test_chances_sum_to_one_and_equal_trials_share_them():
    made = library(trials=3, spread=0.0)
    best = max(made.probs, key=lambda probs_NK: macro_f1(probs_NK, made.labels_N))
    twins = dataclasses.replace(made, probs=[best, best, made.probs[0]])
    found = estimate_single(twins, metric=F1, seed=0)
    assert sum(found.chances) == pytest.approx(1)
    assert found.chances[0] == found.chances[1] > 0.1
    assert {0, 1} <= set(found.alike)


def test_a_clearly_better_trial_is_told_apart():
    made = library(trials=4, persons=300, spread=0.0)
    better = library(trials=1, persons=300, skill=5.0).probs[0]
    found = estimate_single(
        dataclasses.replace(made, probs=[*made.probs[:3], better]), metric=F1, seed=0
    )
    assert (found.chosen, found.alike, found.chances[3]) == (3, (3,), 1.0)


def test_the_rule_of_one_standard_error_takes_the_cheapest_of_what_is_not_told_apart():
    made = library(trials=4, persons=60, spread=0.05)
    costs = [40.0, 30.0, 20.0, 10.0]
    dear = dataclasses.replace(made, costs=costs)
    best = estimate_single(dear, metric=ACCURACY, seed=0)
    chosen = estimate_single(dear, metric=ACCURACY, seed=0, rule="one_se")
    assert (best.chosen, chosen.chosen) == (2, 3)
    worse = library(trials=1, persons=60, skill=0.0).probs[0]  # cheap, and told apart
    cheap = dataclasses.replace(dear, probs=[*made.probs[:3], worse])
    assert estimate_single(cheap, metric=ACCURACY, seed=0, rule="one_se").chosen == 2
    assert chosen.chances == best.chances


def test_distances_between_trials_shrink():
    for metric in (ACCURACY, LOG_LOSS):
        made = library(trials=10, persons=100, spread=0.3)
        found = estimate_single(made, metric=metric, seed=0)
        scores = [metric.score(predicted, made.labels_N) for predicted in made.by_argmax]
        values = [one.value for one in found.expected]
        assert found.expected[found.chosen] == found.interval
        assert np.corrcoef(scores, values)[0, 1] > 0.9
        assert 0 < np.std(values) < 0.95 * np.std(scores)


def test_the_luck_of_the_complete_trials_is_taken_off():
    made = library(trials=4, persons=60)
    variances_S, weights_S = np.array([1e-4]), np.array([1.0])
    for metric in (ACCURACY, LOG_LOSS, called(ACCURACY)):
        without, lucky = (
            estimate_single(
                made, metric=metric, seed=0, folds=FoldEvidence(luck, variances_S, weights_S)
            )
            for luck in (0.0, 0.03)
        )
        assert lucky.interval.value == pytest.approx(without.interval.value - 0.03)
        assert lucky.interval.error == without.interval.error


def test_an_ensemble_that_helps_ships_and_one_that_harms_does_not():
    helped = estimate_ensemble(
        library(trials=6, persons=200, own=1.5, spread=0.0), metric=ACCURACY, seed=0
    )
    assert helped.ships
    assert helped.gain > 2 * helped.gain_error
    assert not dataclasses.replace(helped, gain=-0.02, gain_error=0.01).ships
    assert dataclasses.replace(helped, gain=-0.01, gain_error=0.01).ships
    assert not dataclasses.replace(helped, rule_gain=-0.02, rule_gain_error=0.01).rule_ships


def test_the_gain_is_positive_when_a_loss_falls():
    found = estimate_ensemble(
        library(trials=6, persons=200, own=1.5, spread=0.0), metric=LOG_LOSS, seed=0
    )
    assert found.gain > 0
    assert (found.rule_gain, found.rule_gain_error) == (0.0, 0.0)


@pytest.mark.slow
def test_the_estimate_of_an_ensemble_is_near_what_it_scores_on_new_persons():
    errors = []
    for seed in range(8):
        both = library(trials=8, persons=800, own=1.0, seed=seed)
        seen, unseen = both.rows(np.arange(600)), both.rows(np.arange(600, 2400))
        found = estimate_ensemble(seen, metric=F1, seed=seed)
        truth = F1.score(predict(unseen, fit_ensemble(seen, metric=F1)), unseen.labels_N)
        errors.append(found.interval.value - truth)
    assert abs(np.mean(errors)) < 0.03


def test_classes_of_few_groups_are_named():
    groups_N = np.repeat(np.arange(10), 4)
    labels_N = np.repeat([0, 0, 0, 0, 0, 1, 1, 2, 2, 2], 4)  # class 1 has two groups, class 3 none
    few = dataclasses.replace(library(persons=10, photos=4), labels_N=labels_N, groups_N=groups_N)
    assert rare_classes(few, n_classes=4) == [1, 3]
    assert rare_classes(dataclasses.replace(few, groups_N=None), n_classes=4) == [3]


CURVES = [
    [{"f1": 0.5}, {"f1": 0.7}, {"f1": 0.6}],
    [{"f1": 0.5}, {"f1": 0.6}, {"f1": 0.8}],
    [{"f1": 0.4}, {"f1": 0.6}, {"f1": 0.7}],
]


def test_epochs_chosen_by_the_fold_they_score_flatter():
    # honest: the third epoch for folds 1 and 3; for the second fold the second (0.65) and third
    # (0.65) are equally good on the others, and the first of equal epochs counts
    honest = (0.6 + 0.6 + 0.7) / 3
    per_fold = epoch_flattery(CURVES, [2, 3, 3], metric="f1", goal=Goal.MAXIMIZE)
    assert per_fold == pytest.approx((0.7 + 0.8 + 0.7) / 3 - honest)
    common = epoch_flattery(CURVES, [3, 3, 3], metric="f1", goal=Goal.MAXIMIZE)
    assert common == pytest.approx((0.6 + 0.8 + 0.7) / 3 - honest)


def test_flattery_of_a_loss_is_positive_too_and_never_negative():
    losses = [[{"loss": 1 - row["f1"]} for row in curve] for curve in CURVES]
    assert epoch_flattery(losses, [2, 3, 3], metric="loss", goal=Goal.MINIMIZE) == pytest.approx(
        epoch_flattery(CURVES, [2, 3, 3], metric="f1", goal=Goal.MAXIMIZE)
    )
    assert epoch_flattery(CURVES, [1, 1, 1], metric="f1", goal=Goal.MAXIMIZE) == 0.0
    assert epoch_flattery(CURVES[:1], [2], metric="f1", goal=Goal.MAXIMIZE) is None


def test_curves_that_end_early_are_compared_as_far_as_all_go():
    curves = [CURVES[0][:2], *CURVES[1:]]
    found = epoch_flattery(curves, [2, 3, 3], metric="f1", goal=Goal.MAXIMIZE)
    assert found == pytest.approx((0.7 + 0.8 + 0.7) / 3 - (0.7 + 0.6 + 0.6) / 3)


@pytest.mark.slow
def test_intervals_cover_the_truth_of_equal_trials():
    covered = []
    for seed in range(150):
        both = library(trials=8, persons=3_000, photos=1, spread=0.0, own=1.5, seed=seed)
        seen, unseen = both.rows(np.arange(150)), both.rows(np.arange(150, 3_000))
        found = estimate_single(seen, metric=F1, seed=seed)
        truth = F1.score(unseen.by_argmax[found.chosen], unseen.labels_N)
        covered.append(found.interval.low <= truth <= found.interval.high)
    assert np.mean(covered) > 0.88


def test_every_metric_can_be_estimated():
    made = library(trials=2, persons=20, photos=2)
    for name, goal in METRICS.items():
        metric = Metric.named(name, goal)
        assert np.isfinite(estimate_single(made, metric=metric, seed=0).interval.value)
        assert np.isfinite(estimate_ensemble(made, metric=metric, seed=0).interval.value)
