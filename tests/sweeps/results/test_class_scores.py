"""F1 of each class, with intervals over groups."""

import numpy as np
import pytest

from sweeps.results.class_scores import class_scores
from sweeps.results.metric import Predicted
from trainer.metrics import f1_per_class

N, K = 300, 3


def predicted(labels_N: np.ndarray, *, wrong: np.ndarray) -> Predicted:
    class_N = np.where(wrong, (labels_N + 1) % K, labels_N)
    return Predicted.by_argmax(np.eye(K, dtype=np.float32)[class_N])


def test_the_scores_are_those_of_the_trainer_and_lie_in_their_intervals():
    rng = np.random.default_rng(0)
    labels_N = rng.integers(K, size=N)
    given = predicted(labels_N, wrong=rng.random(N) < 0.2)
    found = class_scores(given, labels_N, None, n_classes=K, seed=1)
    assert [score.f1 for score in found] == pytest.approx(f1_per_class(given.probs_NK, labels_N))
    assert [score.images for score in found] == np.bincount(labels_N).tolist()
    assert all(0.5 < score.low < score.f1 < score.high < 1 for score in found)
    assert found == class_scores(given, labels_N, None, n_classes=K, seed=1)


def test_errors_that_go_together_in_groups_make_intervals_wider():
    labels_N = np.arange(N) % K
    groups_N = np.arange(N) // 15
    given = predicted(labels_N, wrong=groups_N % 5 == 0)  # whole groups are wrong
    alone, grouped = (
        class_scores(given, labels_N, groups, n_classes=K, seed=0)[0] for groups in (None, groups_N)
    )
    assert grouped.f1 == alone.f1
    assert grouped.high - grouped.low > 1.8 * (alone.high - alone.low)
