"""Label columns that are made of the classes."""

from pathlib import Path

import numpy as np

from trainer.images.manifest import Manifest
from trainer.prediction.classes import Classes

FACES = Classes(
    ("mask / young", "mask / old", "none / old"),
    ("mask", "age"),
    (("mask", "young"), ("mask", "old"), ("none", "old")),
)


def test_a_marginal_sums_the_classes_with_a_value():
    probs_NK = np.array([[0.5, 0.25, 0.25], [0, 0, 1]], dtype=np.float32)
    mask, age = FACES.label_columns
    assert mask.marginal(probs_NK).tolist() == [[0.75, 0.25], [0, 1]]
    assert age.marginal(probs_NK).tolist() == [[0.5, 0.5], [0, 1]]


def test_a_single_label_column_has_the_classes_as_values():
    (column,) = Classes(("cat", "dog"), ("kind",)).label_columns
    assert (column.name, column.values) == ("kind", ("cat", "dog"))
    assert column.value_of_K.tolist() == [0, 1]


def test_the_classes_of_a_manifest_are_taken_over():
    manifest = Manifest(
        Path("/data"),
        ("a.png",),
        np.array([0]),
        FACES.names,
        (0,),
        label_columns=FACES.columns,
        class_parts=FACES.parts,
    )
    assert Classes.of(manifest) == FACES
