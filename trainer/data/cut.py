"""Read a data set and cut it into folds, as the sections `data` and `folds` of a YAML file say.

All commands use `cut_data` to make folds.
"""

import collections
import dataclasses
from pathlib import Path

from trainer.data.cleaning import REPAIRS
from trainer.data.data_set import PLAIN_READ, DataSet, ReadOptions, read_data_set
from trainer.data.fold_files import load_folds
from trainer.data.folds import Folds, deviations, fixed_folds, make_folds
from trainer.data.image_files import existing
from trainer.data.options import DataOptions, FoldOptions
from trainer.data.sampled_levels import levels_text
from trainer.data.values import alike_classes
from trainer.errors import DataError
from trainer.images.levels import FULL


@dataclasses.dataclass(frozen=True)
class Cut:
    """A data set and its folds.

    Attributes:
        earlier: the earlier folds from which known images kept their fold, or None.
    """

    data: DataSet
    folds: Folds
    earlier: Folds | None

    def warnings(self) -> list[str]:
        """What a user should repair or know before a sweep starts, in sentences."""
        return [
            *alike_classes(self.folds.manifest),
            *self.data.warnings,
            *self._cut_values(),
            *deviations(self.folds),
        ]

    def levels(self) -> str | None:
        """The levels of files of more than 8 bits, in words; None if no file has more than 8 bits.

        The data set's files decide, and not the sample from which the levels were chosen.
        """
        reading = self.folds.manifest.reading
        found = []
        if self.data.repairs.get(REPAIRS["16-bit"]):
            found.append(levels_text(reading.levels or FULL))
        if reading.real_levels is not None and reading.real_levels != reading.levels:
            found.append(f"{levels_text(reading.real_levels)} of real numbers")
        return f"{' and '.join(found)} become black to white" if found else None

    def _cut_values(self) -> list[str]:
        reading = self.folds.manifest.reading
        count = self.data.repairs.get(REPAIRS["beyond"])
        levels = [levels_text(each) for each in (reading.levels, reading.real_levels) if each]
        if not count or not levels:
            return []
        return [
            f"{_many(count, 'image')} of more than 8 bits hold values outside {levels[0]}, which "
            "become plain black or white: data.levels sets other levels"
        ]

    def counts(self) -> str:
        """One line about the size of the data: images, classes, groups, folds, rejected rows."""
        manifest = self.folds.manifest
        parts = [
            _many(len(manifest), "image"),
            _many(len(manifest.classes), "class", "classes"),
            *([] if manifest.groups is None else [_many(len(set(manifest.groups)), "group")]),
            _many(self.folds.k, "fold"),
        ]
        return f"{', '.join(parts)}; {_rejected(self.data)}"


def cut_data(
    data: DataOptions,
    folds: FoldOptions,
    *,
    earlier: Path | None = None,
    read: ReadOptions = PLAIN_READ,
) -> Cut:
    """Read and clean the data set, and cut it into folds.

    Args:
        earlier: a folds file. Its images keep their folds, unless `folds.file` names another file.
        read: see `read_data_set`.

    Raises:
        DataError: see `read_data_set` and `make_folds`.
    """
    pinned = existing(folds.file) if folds.file is not None else earlier
    before = load_folds(pinned) if pinned is not None and folds.column is None else None
    found = read_data_set(data, fold_column=folds.column, read=read)
    if found.fixed_N is not None:
        return Cut(found, fixed_folds(found.manifest, found.fixed_N), None)
    if folds.file is not None and before is not None:
        _refuse_other_images(found, before, file=folds.file, source=data.source)
    # the number of folds and the holdout come from the earlier folds, unless the user sets them
    given = folds.model_fields_set
    k = before.k if before is not None and "k" not in given else folds.k
    holdout = before.holdout if before is not None and "holdout" not in given else folds.holdout
    cut = make_folds(
        found.manifest,
        k=k,
        seed=folds.seed,
        holdout=holdout,
        rare=folds.rare,
        earlier=before,
    )
    return Cut(found, cut, before)


def _refuse_other_images(found: DataSet, before: Folds, *, file: str, source: str) -> None:
    """Refuse a folds file that has none of the data set's images, or has them under other paths.

    Such a file would have no effect, and the user would not notice it.

    Raises:
        DataError: the folds file and the data set have no image in common.
    """
    images = found.manifest.identities()
    known = before.manifest.identities()
    if not set(images) & set(known):
        raise DataError(
            f"{file}: none of its {len(known):,} images is in {source}: "
            f"its paths look like {known[0][0]!r}, those of the data like {images[0][0]!r}. "
            "Give the folds file of this data, or leave folds.file out"
        )


def _many(count: int, one: str, several: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"


def _rejected(data: DataSet) -> str:
    if not data.rejected:
        return "no row rejected"
    reasons = collections.Counter(entry.reason for entry in data.rejected).most_common()
    counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
    return f"{len(data.rejected):,} of {_many(data.rows, 'row')} rejected ({counts})"
