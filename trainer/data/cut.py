"""The data cut into folds as the options say: the one way from two sections of a YAML file to `Folds`."""

import dataclasses
from pathlib import Path

from trainer.data.data_set import PLAIN_READ, DataSet, ReadOptions, read_data_set
from trainer.data.folds import Folds, fixed_folds, load_folds, make_folds
from trainer.data.options import DataOptions, FoldOptions
from trainer.errors import DataError


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
    earlier: Path | None = None,
    read: ReadOptions = PLAIN_READ,
) -> Cut:
    """Read, clean and cut; for `read` see `read_data_set`.

    Args:
        earlier: a folds file whose images keep their folds unless `folds.file` names another.

    Raises:
        DataError: see `read_data_set` and `make_folds`.
    """
    pinned = Path(folds.file) if folds.file is not None else earlier
    before = load_folds(pinned) if pinned is not None and folds.column is None else None
    found = read_data_set(data, fold_column=folds.column, read=read)
    if found.fixed_N is not None:
        return Cut(found, fixed_folds(found.manifest, found.fixed_N), None)
    if folds.file is not None and before is not None:
        _refuse_strangers(found, before, file=folds.file, source=data.source)
    # earlier folds decide how many there are and what none of them sees, unless the user says so too
    asked = folds.model_fields_set
    k = before.k if before is not None and "k" not in asked else folds.k
    holdout = before.holdout if before is not None and "holdout" not in asked else folds.holdout
    cut = make_folds(found.manifest, k=k, seed=folds.seed, holdout=holdout, earlier=before)
    return Cut(found, cut, before)


def _refuse_strangers(found: DataSet, before: Folds, *, file: str, source: str) -> None:
    """A folds file of other images, or of these under other paths, would pin nothing and say so nowhere."""
    here, there = found.manifest.identities(), before.manifest.identities()
    if not set(here) & set(there):
        raise DataError(
            f"{file}: none of its {len(there):,} images is in {source}: its paths look like {there[0][0]!r}, those of "
            f"the data like {here[0][0]!r}. Give the folds file of this data, or leave folds.file out"
        )
