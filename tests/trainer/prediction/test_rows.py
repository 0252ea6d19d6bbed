"""The table of predictions without a template."""

import numpy as np
import pytest

from trainer.errors import DataError
from trainer.prediction.classes import Classes
from trainer.prediction.rows import number_texts, prediction_header, prediction_rows

ANIMALS = Classes(("cat", "dog"))
FACES = Classes(
    ("mask / young", "none / old"), ("mask", "age"), (("mask", "young"), ("none", "old"))
)
PROBS_NK = np.array([[0.25, 0.75], [0.9, 0.1]], dtype=np.float32)


@pytest.mark.parametrize(
    ("classes", "probabilities", "header", "first"),
    [
        (ANIMALS, False, ("path", "class"), ("a.png", "dog")),
        (ANIMALS, True, ("path", "class", "cat", "dog"), ("a.png", "dog", "0.25", "0.75")),
        (
            FACES,
            False,
            ("path", "class", "mask", "age"),
            ("a.png", "none / old", "none", "old"),
        ),
        (
            FACES,
            True,
            ("path", "class", "mask", "age", "mask / young", "none / old"),
            ("a.png", "none / old", "none", "old", "0.25", "0.75"),
        ),
    ],
)
def test_the_columns_follow_from_the_classes(
    classes: Classes, probabilities: bool, header: tuple[str, ...], first: tuple[str, ...]
):
    assert prediction_header(classes, probabilities=probabilities) == header
    rows = list(
        prediction_rows(
            ["a.png", "b.png"],
            np.array([1, 0]),
            PROBS_NK,
            classes=classes,
            probabilities=probabilities,
        )
    )
    assert rows[0] == first
    assert [row[0] for row in rows] == ["a.png", "b.png"]


def test_a_name_that_would_stand_twice_is_refused():
    with pytest.raises(DataError, match="the predictions would have two columns 'path': a label"):
        prediction_header(Classes(("path", "road")), probabilities=True)


def test_texts_give_the_numbers_back():
    probs_K = np.random.default_rng(0).random(1000, dtype=np.float32)
    again_K = np.array(list(map(float, number_texts(probs_K))), dtype=np.float32)
    np.testing.assert_allclose(again_K, probs_K, rtol=1e-6)
