"""The group bootstrap."""

import numpy as np
import pytest

from sweeps.results.ensemble import Library
from sweeps.results.metric import Metric
from sweeps.results.resampling import MOST_BLOCKS, Bootstrap, blocks
from tests.sweeps.results.simulated import ACCURACY, F1, LOG_LOSS, library
from trainer.metrics import METRICS


def bootstrap(
    made: Library, metric: Metric = ACCURACY, *, groups: bool = True, seed: int = 1
) -> Bootstrap:
    return Bootstrap(
        made.labels_N,
        made.groups_N if groups else None,
        metric=metric,
        n_classes=4,
        seed=seed,
    )


def test_the_error_of_an_accuracy_of_single_images_is_the_binomial_one():
    made = library(persons=900, photos=1)
    scored = bootstrap(made, groups=False).scored(made.by_argmax[0])
    share = scored.score
    assert scored.inside_B.std() == pytest.approx((share * (1 - share) / 900) ** 0.5, rel=0.1)
    assert scored.lift == pytest.approx(0, abs=0.002)


def test_images_of_a_group_are_drawn_together():
    """Photos of one person are alike: the error is larger than that of as many single images."""
    made = library(persons=150, photos=6)
    alone = bootstrap(made, groups=False).scored(made.by_argmax[0]).inside_B.std()
    together = bootstrap(made).scored(made.by_argmax[0]).inside_B.std()
    assert together > 1.2 * alone


def test_the_same_groups_are_drawn_for_every_trial_and_every_time():
    made = library(trials=2)
    one = bootstrap(made)
    first = one.scored(made.by_argmax[0]).inside_B
    one.scored(made.by_argmax[1])
    assert (one.scored(made.by_argmax[0]).inside_B == first).all()
    assert (bootstrap(made).scored(made.by_argmax[0]).inside_B == first).all()
    assert (bootstrap(made, seed=2).scored(made.by_argmax[0]).inside_B != first).any()


def test_a_macro_f1_of_few_groups_is_too_low_and_the_lift_says_by_how_much():
    large = library(persons=20_000, photos=1, trials=1)
    truth = F1.score(large.by_argmax[0], large.labels_N)
    raw, corrected = [], []
    for seed in range(60):
        rows = np.random.default_rng(seed).choice(20_000, 40, replace=False)
        made = large.rows(rows)
        scored = bootstrap(made, F1, groups=False, seed=seed).scored(made.by_argmax[0])
        raw.append(scored.score - truth)
        corrected.append(scored.score - scored.lift - truth)
    assert np.mean(raw) < -0.02
    assert abs(np.mean(corrected)) < 0.5 * abs(np.mean(raw))


@pytest.mark.parametrize("metric", [ACCURACY, F1, LOG_LOSS], ids=lambda metric: metric.name)
def test_a_users_metric_is_resampled_like_the_named_one(metric: Metric):
    made = library(persons=90)
    named = bootstrap(made, metric)
    called = bootstrap(made, Metric("mine.py:m", metric.goal, metric.function))
    first, second = (one.scored(made.by_argmax[0]) for one in (named, called))
    assert second.score == pytest.approx(first.score, abs=1e-6)
    assert second.inside_B.std() == pytest.approx(first.inside_B.std(), rel=0.25)
    evidence = named.evidence(made.by_argmax[0])
    assert called.evidence(made.by_argmax[0]) == pytest.approx(evidence, rel=1e-3)


def test_few_groups_that_decide_are_little_evidence():
    made = library(persons=100)
    even = bootstrap(made, LOG_LOSS).evidence(made.by_argmax[0])
    assert 20 < even < 100
    groups_N = np.where(np.arange(300) < 200, 0, made.groups_N)  # one has most of the images
    uneven = Bootstrap(made.labels_N, groups_N, metric=LOG_LOSS, n_classes=4, seed=1)
    assert uneven.evidence(made.by_argmax[0]) < even / 2


def test_predictions_without_a_mistake_rest_on_all_groups():
    made = library(persons=50, skill=100.0)
    assert bootstrap(made).evidence(made.by_argmax[0]) == 49


def test_an_interval_of_a_share_stays_between_0_and_1():
    made = library(persons=30, skill=5.0)
    one = bootstrap(made)
    scored = one.scored(made.by_argmax[0])
    interval = one.interval(1.01, inside_B=scored.inside_B, evidence=3.0)
    assert (interval.value, interval.high) == (1.0, 1.0)
    assert 0 <= interval.low < 1
    assert interval.shifted(-0.1).low == pytest.approx(interval.low - 0.1)


def test_blocks_put_whole_groups_together():
    groups_N = np.repeat(np.arange(10_000), 2)
    block_N, count = blocks(groups_N, 20_000, most=MOST_BLOCKS, seed=0)
    assert count == MOST_BLOCKS
    assert (block_N[::2] == block_N[1::2]).all()
    assert set(np.bincount(block_N).tolist()) == {4, 6}
    assert blocks(groups_N[:6], 6, most=10, seed=0)[0].tolist() == [0, 0, 1, 1, 2, 2]
    assert blocks(None, 3, most=10, seed=0)[0].tolist() == [0, 1, 2]


def test_every_named_metric_but_ece_is_additive():
    for name, goal in METRICS.items():
        assert Metric.named(name, goal).additive == (name != "ece")
