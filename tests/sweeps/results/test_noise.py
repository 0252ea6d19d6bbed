"""How much of a score is chance."""

import dataclasses

import numpy as np
import pytest

from sweeps.results.metric import Metric, Predicted
from sweeps.results.noise import PublicPart, score_noise
from trainer.metrics import Goal

ACCURACY = Metric.named("accuracy", Goal.MAXIMIZE)
N = 3000
LABELS_N = np.zeros(N, dtype=np.int64)
PERSONS_N = np.arange(N) // 10


def predicted(right_N: np.ndarray) -> Predicted:
    """Predictions of two classes of which these are right."""
    class_N = np.where(right_N, 0, 1)
    return Predicted(np.eye(2, dtype=np.float32)[class_N], class_N)


RNG = np.random.default_rng(0)
ALONE = [predicted(RNG.random(N) < 0.8) for _ in range(2)]
BY_PERSON = [predicted((RNG.random(N // 10) < 0.8)[PERSONS_N]) for _ in range(2)]


@pytest.mark.parametrize(
    ("groups_N", "part", "independent"),
    [
        (None, PublicPart(2000), 2000),
        (None, PublicPart(2000, 0.25), 500),
        (PERSONS_N, PublicPart(2000), 2000),
    ],
)
def test_independent_images_have_the_noise_of_a_share(
    groups_N: np.ndarray | None, part: PublicPart, independent: int
):
    noise = score_noise(*ALONE, LABELS_N, groups_N, metric=ACCURACY, part=part, seed=0)
    assert noise.images == independent
    assert noise.score == pytest.approx(1.96 * np.sqrt(0.8 * 0.2 / independent), rel=0.15)
    # the difference of two independent predictions has twice the variance
    assert noise.difference == pytest.approx(np.sqrt(2) * noise.score, rel=0.2)
    assert noise.changed == pytest.approx(2 * 0.8 * 0.2, abs=0.03)


def test_images_of_a_group_that_are_wrong_together_count_as_one():
    noise = score_noise(
        *BY_PERSON, LABELS_N, PERSONS_N, metric=ACCURACY, part=PublicPart(2000), seed=0
    )
    assert noise.score == pytest.approx(1.96 * np.sqrt(0.8 * 0.2 / 200), rel=0.2)


def test_a_macro_f1_of_few_images_is_noisier_than_one_of_many():
    f1 = Metric.named("f1", Goal.MAXIMIZE)
    labels_N = np.arange(N) % 2
    few, many = (
        score_noise(*ALONE, labels_N, PERSONS_N, metric=f1, part=PublicPart(count), seed=0)
        for count in (200, 20_000)
    )
    assert few.score > 5 * many.score


def test_the_difference_grows_with_the_root_of_the_changed_images():
    noise = score_noise(*ALONE, LABELS_N, None, metric=ACCURACY, part=PublicPart(500), seed=0)
    assert noise.difference is not None
    assert noise.difference_for(noise.changed) == noise.difference
    assert noise.difference_for(noise.changed / 4) == pytest.approx(noise.difference / 2)
    # checked against two predictions that differ in a quarter of those images
    near = ALONE[0].class_N.copy()
    rows = np.flatnonzero(ALONE[0].class_N != ALONE[1].class_N)[::4]
    near[rows] = ALONE[1].class_N[rows]
    closer = score_noise(
        ALONE[0],
        predicted(near == 0),
        LABELS_N,
        None,
        metric=ACCURACY,
        part=PublicPart(500),
        seed=0,
    )
    assert noise.difference_for(closer.changed) == pytest.approx(closer.difference, rel=0.15)


def test_equal_predictions_have_no_difference():
    noise = score_noise(
        ALONE[0], ALONE[0], LABELS_N, None, metric=ACCURACY, part=PublicPart(500), seed=0
    )
    assert (noise.difference, noise.changed, noise.difference_for(0.1)) == (None, 0, None)


def test_the_same_seed_gives_the_same_noise():
    first, again, other = (
        score_noise(*ALONE, LABELS_N, None, metric=ACCURACY, part=PublicPart(50), seed=seed)
        for seed in (0, 0, 1)
    )
    assert dataclasses.astuple(first) == dataclasses.astuple(again)
    assert first.score != other.score
