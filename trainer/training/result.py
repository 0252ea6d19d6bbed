"""The files of a finished fold run: `result.json`, `curve.csv` and the weights.

Shapes: N held-out images, K classes.
"""

import csv
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from trainer.config import TrainConfig
from trainer.data.folds import Folds
from trainer.errors import DataError, first_line
from trainer.files import file_digest, fold_directory, write_json
from trainer.metrics import Labels, Probs, confusion, f1_per_class
from trainer.user_code import code_digest

RESULT = "result.json"
WEIGHTS = "model.safetensors"
CURVE = "curve.csv"
CHECKPOINT = "last.ckpt"  # only while the fold run is unfinished


@dataclasses.dataclass(frozen=True)
class FoldResult:
    """The content of `result.json`.

    Attributes:
        epochs: the number of epochs that were trained; early stopping may have ended them.
        scored_epoch: the epoch of `metrics`, OOF and weights, see TrainConfig.checkpoint.
        biased: whether the epoch was chosen on the fold that it scores. Such a score is too good by
            0.4-0.5 points.
        metrics: the metrics of the held-out fold, with the averaged weights if `ema` is set.
        f1_per_class: K values, in the order of the classes.
        confusion: rows (actual class, predicted class, images) of the pairs that occur.
        mean, std: the values that the images were normalised with; prediction needs them again.
        accumulation: the number of parts that batches were split into; more than the
            configuration's value if memory was too small.
        notes: messages of the fold run that a reader of the score should know.
    """

    fold: int
    epochs: int
    scored_epoch: int
    biased: bool
    metrics: dict[str, float]
    f1_per_class: list[float]
    confusion: list[list[int]]
    mean: list[float]
    std: list[float]
    accumulation: int
    notes: list[str]
    config_hash: str
    folds_hash: str
    seconds: float
    device: str
    threads: int


def config_hash(config: TrainConfig, code: Path | None) -> str:
    """Return the identity of a configuration.

    The identity depends on the content of the user functions and of local weights, but not on the
    paths of these files.
    """
    if config.local_weights is not None:
        config = config.model_copy(update={"weights": file_digest(config.local_weights)})
    digest = code_digest(config, code)
    return f"{config.fingerprint()}-{digest}" if digest else config.fingerprint()


def read_result(
    directory: Path, *, config_hash: str, folds_hash: str, without_weights: bool = False
) -> FoldResult | None:
    """Return the result of a finished fold run with exactly this configuration and these folds.

    The result is None if `result.json` or the weights do not exist, or if `result.json` belongs to
    another configuration or other folds.

    Args:
        without_weights: whether a result counts whose weights were removed.
    """
    path = directory / RESULT
    # without weights the fold is trained again; only the best trials keep their weights
    if not (path.is_file() and (without_weights or (directory / WEIGHTS).is_file())):
        return None
    try:
        result = FoldResult(**json.loads(path.read_text()))
    except (ValueError, TypeError):  # another version of foldsweep wrote the file
        return None
    return result if (result.config_hash, result.folds_hash) == (config_hash, folds_hash) else None


def read_results(trial_directory: Path, folds: Folds) -> list[FoldResult]:
    """Return the results of all folds of a complete trial, whatever its configuration is.

    The weights need not exist.

    Raises:
        DataError: a result is missing or damaged, or belongs to other folds.
    """
    results = []
    for fold in range(folds.k):
        path = fold_directory(trial_directory, fold) / RESULT
        try:
            result = FoldResult(**json.loads(path.read_text()))
        except FileNotFoundError:
            raise DataError(f"{path}: missing; the trial's folds are not complete") from None
        except (OSError, ValueError, TypeError) as error:
            raise DataError(f"{path}: not a readable result ({first_line(error)})") from None
        if result.folds_hash != folds.hash:
            raise DataError(
                f"{path}: its folds ({result.folds_hash}) are not those of the sweep ({folds.hash})"
            )
        results.append(result)
    return results


def write_result(directory: Path, result: FoldResult) -> None:
    """Write `result.json`, the last file of a fold run: if the file exists, the fold is done."""
    write_json(directory / RESULT, dataclasses.asdict(result))


def read_curve(directory: Path) -> list[dict[str, float]]:
    """Return the curve of a finished fold run: `epoch` and the metrics of each report."""
    with (directory / CURVE).open(newline="") as file:
        return [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]


def details(probs_NK: Probs, labels_N: Labels) -> Mapping[str, list[float] | list[list[int]]]:
    """Return the fields of a result that describe single classes: `f1_per_class`, `confusion`."""
    return {
        "f1_per_class": f1_per_class(probs_NK, labels_N).tolist(),
        "confusion": confusion(probs_NK, labels_N).tolist(),
    }
