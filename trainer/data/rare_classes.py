"""Classes with fewer images than folds, or fewer groups: not every fold could hold one out.

Shapes: N images, K classes, U units (groups, or images without a group).
"""

import numpy as np
import numpy.typing as npt

from trainer.data.image_files import MAX_NAMED
from trainer.data.placing import Ints
from trainer.data.values import yaml_name
from trainer.errors import DataError
from trainer.images.manifest import Manifest, number_of

MAX_EXCLUDED = 20  # classes that the advice to leave them out names


def rare_units(manifest: Manifest, units_N: Ints, *, k: int) -> npt.NDArray[np.bool_]:
    """For each unit (U), whether it has an image of a class with fewer than k units.

    Without the units of such a class, another class of theirs may have fewer than k units, too.

    Raises:
        DataError: every unit has one, so that no image could be held out.
    """
    pairs = np.unique(np.stack([manifest.labels_N, units_N]), axis=1)
    rare_U = np.zeros(units_N.max() + 1, dtype=bool)
    while True:
        left = pairs[:, ~rare_U[pairs[1]]]
        few_K = np.bincount(left[0], minlength=len(manifest.classes)) < k
        found = left[1, few_K[left[0]]]
        if not len(found):
            break
        rare_U[found] = True
    if rare_U.all():
        raise DataError(
            f"{manifest.root}: with folds.rare: train no image would be held out, because every "
            f"class has fewer {_what(manifest)} than the {k} folds. Lower folds.k"
        )
    return rare_U


def _what(manifest: Manifest) -> str:
    return "images" if manifest.groups is None else "groups"


def refuse_rare_classes(manifest: Manifest, units_N: Ints, *, k: int) -> None:
    """Refuse classes with fewer units than folds.

    Raises:
        DataError: there is such a class.
    """
    pairs = np.unique(np.stack([manifest.labels_N, units_N]), axis=1)
    counts_K = np.bincount(pairs[0], minlength=len(manifest.classes)).tolist()
    counts = dict(zip(manifest.classes, counts_K, strict=True))
    rare = {name: count for name, count in counts.items() if count < k}
    if not rare:
        return
    shown = [f"{name!r} ({count})" for name, count in rare.items()]
    more = f" and {len(rare) - MAX_NAMED:,} more" if len(rare) > MAX_NAMED else ""
    names = list(map(yaml_name, rare))
    excluded = ", ".join(names if len(names) <= MAX_EXCLUDED else [names[0], "..."])
    least = min(rare.values())
    ways = [f"lower folds.k to {least}"] if least > 1 else []
    if len(rare) < len(counts):
        keep = (
            "write `rare: train` below folds, which always trains on them and never holds them out"
        )
        drop = f"write `exclude: [{excluded}]` below data, which leaves them out"
        ways = [keep, drop, *ways]
    quantity = (
        ". If these numbers are a quantity to be predicted (regression): foldsweep trains classes"
        if len(rare) > max(MAX_NAMED, len(counts) / 2)
        and all(number_of(name) is not None for name in rare)
        else ""
    )
    advice = "; or ".join(ways or ["add images"])
    raise DataError(
        f"{manifest.root}: {len(rare):,} of {len(counts):,} classes have fewer {_what(manifest)} "
        f"than the {k} folds: {', '.join(shown[:MAX_NAMED])}{more}. "
        f"{advice[0].upper()}{advice[1:]}{quantity}"
    )
