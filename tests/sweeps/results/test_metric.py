"""A sweep's metric from sums over images."""

import numpy as np
import pytest

from sweeps.results.metric import OF_COUNTS, Metric, Predicted
from tests.sweeps.results.simulated import LOG_LOSS, library
from trainer.metrics import METRICS, score_fold

MADE = library()
PREDICTED = MADE.by_argmax[0]


@pytest.mark.parametrize("name", [name for name in METRICS if name != "loss"])
def test_a_named_metric_is_the_trainers(name: str):
    metric = Metric.named(name, METRICS[name])
    expected = score_fold(PREDICTED.probs_NK, MADE.labels_N)[name]
    assert metric.score(PREDICTED, MADE.labels_N) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", [*OF_COUNTS, "log_loss"])
def test_sums_over_groups_give_the_same_as_all_images(name: str):
    metric = Metric.named(name, METRICS[name])
    assert metric.additive
    sums_GC = metric.sums(PREDICTED, MADE.labels_N, MADE.groups_N, 80)
    assert metric.of(sums_GC.sum(axis=0)) == pytest.approx(
        metric.score(PREDICTED, MADE.labels_N), abs=1e-6
    )
    # some groups twice and some not at all is the metric of the repeated images
    drawn_G = np.arange(80) % 3
    rows = np.repeat(np.arange(240), drawn_G[MADE.groups_N])
    assert metric.of(drawn_G @ sums_GC) == pytest.approx(
        metric.score(PREDICTED.take(rows), MADE.labels_N[rows]), abs=1e-6
    )


def test_a_rules_classes_count_and_not_the_probabilities():
    turned = Predicted(PREDICTED.probs_NK, MADE.labels_N)
    for name in OF_COUNTS:
        assert Metric.named(name, METRICS[name]).score(turned, MADE.labels_N) == 1
    assert LOG_LOSS.score(turned, MADE.labels_N) > 0


def test_a_users_metric_is_called_with_probabilities():
    metric = Metric("mine.py:first", METRICS["f1"], lambda probs, labels: float(probs[0, 0]))
    assert not metric.additive
    assert not metric.decides
    assert metric.score(PREDICTED, MADE.labels_N) == pytest.approx(PREDICTED.probs_NK[0, 0])
