"""The files of a finished refit: a training on all images, without a held-out fold.

A refit leaves `curve.csv`, `model.safetensors` and `result.json` in its directory, which lies
beside those of the fold runs. It has no out-of-fold probabilities and no score.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.files import refit_directories, write_json
from trainer.training.result import RESULT, WEIGHTS

NUMBER = "refit"  # the key of the number in the identity


@dataclasses.dataclass(frozen=True)
class RefitResult:
    """The content of a refit's `result.json`.

    Attributes:
        identity: the configuration, the folds, the number of the refit, its epochs and whether it
            trained on the holdout: a refit with another identity is another training.
        images: the number of images that were trained on.
        train_loss: the mean loss of the last epoch's batches, as they were augmented.
        mean, std: the values that the images were normalised with; prediction needs them again.
        accumulation: the number of parts that batches were split into.
        notes: messages that a reader should know.
    """

    identity: Mapping[str, Any]
    epochs: int
    images: int
    train_loss: float
    mean: list[float]
    std: list[float]
    accumulation: int
    notes: list[str]
    seconds: float
    device: str
    threads: int


def read_refit(directory: Path, *, identity: Mapping[str, Any] | None = None) -> RefitResult | None:
    """Return the result of a finished refit.

    The result is None if `result.json` or the weights do not exist.

    Args:
        identity: the refit must have this identity, else the result is None, too.
    """
    try:
        result = RefitResult(**json.loads((directory / RESULT).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # or another version wrote the file
        return None
    if not (directory / WEIGHTS).is_file() or identity not in (None, result.identity):
        return None
    return result


def write_refit(directory: Path, result: RefitResult) -> None:
    """Write `result.json`, the last file of a refit: if the file exists, the refit is done."""
    write_json(directory / RESULT, dataclasses.asdict(result))


def refit_models(trial: Path) -> list[Path]:
    """Return the directories of a trial's finished refits, in the order of their numbers.

    Each of them has the weights of one model; together they take the place of the trial's fold
    models. They are of one kind: a refit that differs from the first one in more than its number,
    for example because it was trained without the holdout, is an earlier one and is left out.
    """
    found = {path: read_refit(path) for path in refit_directories(trial)}
    kinds = {path: _kind(result) for path, result in found.items() if result is not None}
    first = next(iter(kinds.values()), None)
    return [path for path, kind in kinds.items() if kind == first]


def _kind(result: RefitResult) -> Mapping[str, Any]:
    return {key: value for key, value in result.identity.items() if key != NUMBER}
