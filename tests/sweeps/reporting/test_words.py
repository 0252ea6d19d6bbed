"""What a report says in sentences."""

import numpy as np

from sweeps.reporting.charts import Point
from sweeps.reporting.words import (
    about_differences,
    about_folds,
    about_importance,
    about_the_choice,
    difference_sentence,
)
from sweeps.results.differences import Difference, Differences
from sweeps.results.importance import Importance, Share
from trainer.metrics import Goal

CLEAR = Difference("optimizer", "adamw", "sgd", (9, 8), 0.02, 0.01, 0.03, 0.001)
LARGER = Difference("optimizer", "adamw", "adam", (9, 8), 0.03, 0.02, 0.04, 0.001)
UNSEEN = Difference("lr", 0.1, 0.01, (9, 9), 0.002, -0.01, 0.014, 1.0)
MAYBE = Difference("lr", 0.1, 0.01, (9, 9), 0.012, 0.001, 0.023, 0.2)


def test_a_difference_is_one_sentence():
    assert difference_sentence(CLEAR, metric="valid/f1") == (
        "optimizer: adamw is better than sgd by 0.0200 in valid/f1 (95 %: 0.0100 to 0.0300)"
    )
    assert difference_sentence(UNSEEN, metric="valid/f1") == (
        "lr: 0.1 or 0.01: no difference seen (0.0020; 95 %: -0.0100 to 0.0140)"
    )
    assert "may be chance, of so many pairs" in difference_sentence(MAYBE, metric="valid/f1")


def test_each_parameter_has_its_largest_clear_difference():
    found = Differences((CLEAR, LARGER, UNSEEN), {})
    assert about_differences(found, metric="valid/f1") == [
        "optimizer: adamw is better than adam by 0.0300 in valid/f1 (95 %: 0.0200 to 0.0400)",
        "no clear difference between values of lr",
    ]
    few = Differences((), {}, "3 trials are too few")
    assert about_differences(few, metric="valid/f1") == [
        "which choices are better: 3 trials are too few"
    ]


def test_the_most_important_parameters_are_named():
    shares = (Share("lr", 0.7, 0.5, 0.8), Share("loss", 0.3, 0.1, 0.4))
    assert about_importance(Importance(shares, 0.64, 40)) == (
        "what matters most: lr 70%, loss 30%; they explain 64 % of the differences between trials"
    )
    assert about_importance(Importance((), None, 3)).startswith("too few trials")


def points(ease_K: list[float], *, trials: int = 12) -> list[Point]:
    noise_TK = 0.002 * np.random.default_rng(0).normal(size=(trials, len(ease_K)))
    noise_TK -= noise_TK.mean(axis=0)
    scores_TK = 0.9 + np.array(ease_K) + noise_TK
    return [
        Point(number, float(scores_K.mean()), True, None, tuple(scores_K.tolist()), {})
        for number, scores_K in enumerate(scores_TK)
    ]


def test_folds_that_are_harder_are_named_for_either_goal():
    ease_K = [0.02, 0.0, -0.02]
    assert about_folds(points(ease_K), ease_K, goal=Goal.MAXIMIZE) == [
        "fold 3 is harder than the mean of all folds by 0.0200",
        "fold 1 is easier than the mean of all folds by 0.0200",
    ]
    assert about_folds(points(ease_K), ease_K, goal=Goal.MINIMIZE)[0].startswith("fold 1 is harder")


def test_folds_that_differ_by_chance_are_not_named():
    ease_K = [0.0005, 0.0, -0.0005]
    assert about_folds(points(ease_K), ease_K, goal=Goal.MAXIMIZE) == []
    assert about_folds(points([0.1, 0, -0.1], trials=2), [0.1, 0, -0.1], goal=Goal.MAXIMIZE) == []


def test_without_a_choice_one_sentence_says_so():
    assert about_the_choice(None) == [
        "no completed trial has readable predictions, so nothing is chosen"
    ]
