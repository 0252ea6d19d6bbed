"""What a finished fold run leaves: `result.json`, its curve, and the weights beside it.

Shapes: N held-out images, K classes.
"""

import csv
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from trainer.config import TrainConfig
from trainer.files import file_digest, write_json
from trainer.metrics import Labels, Probs, confusion, f1_per_class
from trainer.user_code import code_digest

RESULT, WEIGHTS, CURVE = "result.json", "model.safetensors", "curve.csv"
CHECKPOINT = "last.ckpt"  # while it is unfinished


@dataclasses.dataclass(frozen=True)
class FoldResult:
    """What `result.json` holds.

    Attributes:
        epochs: trained, early stopping included.
        scored_epoch: the one that `metrics`, OOF and weights are of, see TrainConfig.checkpoint.
        biased: the epoch was chosen on the fold that it scores, which flatters by 0.4-0.5 points.
        metrics: on the held-out fold (with the averaged weights where `ema` is set).
        f1_per_class: K values, in the order of the classes.
        confusion: rows (actual class, predicted class, images) where there are any.
        mean, std: what the images were normalised with, which prediction needs again.
        accumulation: parts in which batches went through the network; more than asked for after too little memory.
        notes: what happened on the way that a reader of the score should know.
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
    """The identity of a configuration, with the content of the user's own functions and weights; not their place."""
    if config.local_weights is not None:
        config = config.model_copy(update={"weights": file_digest(config.local_weights)})
    digest = code_digest(config, code)
    return f"{config.fingerprint()}-{digest}" if digest else config.fingerprint()


def read_result(directory: Path, *, config_hash: str, folds_hash: str) -> FoldResult | None:
    """The result of a finished fold run of this very configuration and these folds, else None."""
    path = directory / RESULT
    if not (
        path.is_file() and (directory / WEIGHTS).is_file()
    ):  # weights that are not among the best are removed
        return None
    try:
        result = FoldResult(**json.loads(path.read_text()))
    except (ValueError, TypeError):  # of another version
        return None
    return result if (result.config_hash, result.folds_hash) == (config_hash, folds_hash) else None


def write_result(directory: Path, result: FoldResult) -> None:
    """Write `result.json`, the last file of a fold run: where it stands, the fold is done."""
    write_json(directory / RESULT, dataclasses.asdict(result))


def read_curve(directory: Path) -> list[dict[str, float]]:
    """The epochs of a finished fold run: `epoch` and the metrics of its reports."""
    with (directory / CURVE).open(newline="") as file:
        return [{name: float(text) for name, text in row.items()} for row in csv.DictReader(file)]


def details(probs_NK: Probs, labels_N: Labels) -> Mapping[str, list[float] | list[list[int]]]:
    """The fields of a result that say how each class fares."""
    return {
        "f1_per_class": f1_per_class(probs_NK, labels_N).tolist(),
        "confusion": confusion(probs_NK, labels_N).tolist(),
    }
