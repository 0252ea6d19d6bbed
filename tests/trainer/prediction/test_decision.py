"""Deciding by a rule."""

import numpy as np

from trainer.prediction.decision import Decision


def test_without_numbers_it_is_the_most_probable_class():
    probs_NK = np.array([[0.2, 0.8], [0.5, 0.5]], dtype=np.float32)
    assert Decision().of(probs_NK).tolist() == [1, 0]
    assert Decision("f1").of(probs_NK).tolist() == [1, 0]


def test_scale_and_offset_move_the_threshold():
    probs_NK = np.array([[0.7, 0.3], [0.8, 0.2], [0.81, 0.19]], dtype=np.float32)
    rule = Decision("f1", scale=(1.0, 4.0), offset=(0.0, 0.05))
    assert rule.of(probs_NK).tolist() == [1, 0, 0]


def test_json_keeps_every_bit():
    rule = Decision("f1", (1 / 3, 2.0), (0.1, 0.0))
    assert Decision.from_json(rule.as_json()) == rule
