"""Cuts of images that exist on paper only."""

import dataclasses

import numpy as np

from tests.trainer.conftest import paper_manifest
from trainer.data.folds import Folds, make_folds
from trainer.images.manifest import Manifest

LABELS_N = np.arange(30) % 3


def cut(labels_N: np.ndarray = LABELS_N, *, k: int = 3, seed: int = 0) -> Folds:
    return make_folds(
        paper_manifest(labels_N, tuple(f"c{c}" for c in range(labels_N.max() + 1))), k=k, seed=seed
    )


@dataclasses.dataclass(frozen=True)
class Row:
    """An image on paper."""

    path: str
    label: int
    group: str | None = None


def manifest_of_rows(rows: list[Row], *, n_classes: int) -> Manifest:
    manifest = paper_manifest(
        np.array([row.label for row in rows]), tuple(f"c{c}" for c in range(n_classes))
    )
    groups = None if rows[0].group is None else tuple(str(row.group) for row in rows)
    return dataclasses.replace(manifest, paths=tuple(row.path for row in rows), groups=groups)


def people(
    rng: np.random.Generator, *, count: int, n_classes: int, pure: bool = False
) -> list[Row]:
    """Realistic groups: 1 to 20 images each, classes of unequal size,
    mixed within a group unless `pure`.
    """
    share_K = rng.dirichlet(np.full(n_classes, 3.0))
    rows: list[Row] = []
    for person in range(count):
        own_K = (
            np.eye(n_classes)[rng.choice(n_classes, p=share_K)]
            if pure
            else rng.dirichlet(3 * share_K + 0.01)
        )
        labels = rng.choice(n_classes, size=rng.integers(1, 21), p=own_K)
        rows += [
            Row(f"{person}/{at}.png", int(label), f"p{person}") for at, label in enumerate(labels)
        ]
    return rows
