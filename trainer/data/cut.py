"""The data cut into folds as the options say: the one way from two sections of a YAML file to `Folds`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from trainer.data.data_set import DataSet, Progress, read_data_set
from trainer.data.folds import Folds, fixed_folds, load_folds, make_folds
from trainer.data.options import DataOptions, FoldOptions
from trainer.data.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class Cut:
    """A data set and its folds.

    Attributes:
        earlier: the folds that images kept their places from, or None.
    """

    data: DataSet
    folds: Folds
    earlier: Folds | None


def cut_data(
    data: DataOptions,
    folds: FoldOptions,
    *,
    choices: Sequence[Preprocessing] = (),
    fingerprints: bool = False,
    tolerant: bool = False,
    earlier: Path | None = None,
    progress: Progress | None = None,
) -> Cut:
    """Read, clean and cut; for the arguments see `read_data_set`.

    Args:
        earlier: a folds file whose images keep their folds unless `folds.file` names another.

    Raises:
        DataError: see `read_data_set` and `make_folds`.
    """
    pinned = Path(folds.file) if folds.file is not None else earlier
    before = load_folds(pinned) if pinned is not None and folds.column is None else None
    found = read_data_set(
        data,
        fold_column=folds.column,
        choices=choices,
        fingerprints=fingerprints,
        tolerant=tolerant,
        progress=progress,
    )
    if found.fixed_N is not None:
        return Cut(found, fixed_folds(found.manifest, found.fixed_N), None)
    # earlier folds decide how many there are and what none of them sees, unless the user says so too
    asked = folds.model_fields_set
    k = before.k if before is not None and "k" not in asked else folds.k
    holdout = before.holdout if before is not None and "holdout" not in asked else folds.holdout
    cut = make_folds(found.manifest, k=k, seed=folds.seed, holdout=holdout, earlier=before)
    return Cut(found, cut, before)
