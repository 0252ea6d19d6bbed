"""A packed model: a folder with everything that predicts, and nothing that trains.

    mixture.json                    the members, their weights, calibrations and rule, and the files
    README.md                       the model card, for people
    labels.json                     the class of each index
    members/<name>/config.json      the configuration that the member was trained with
    members/<name>/fold-0.safetensors, ...
    members/<name>/code/            the user's files, if the backbone is a user function
    pixels/                         the models that crop faces or remove the background, if any

Only this module knows the names. `sweeps pack` writes such a folder, `python -m trainer.predict`
reads it; all paths in it are relative to the folder, so it may be moved and copied.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.errors import DataError, first_line
from trainer.files import file_digest, write_json
from trainer.model.checkpoint import read_header, save_weights
from trainer.model.weights_header import WeightsHeader, foldsweep_version
from trainer.prediction.classes import Classes
from trainer.prediction.fold_model import FoldModel
from trainer.prediction.mixture import Mixture
from trainer.prediction.predicting import Predictor

FORMAT = 1
MIXTURE = "mixture.json"
CARD = "README.md"
LABELS = "labels.json"
MEMBERS = "members"
PIXELS = "pixels"
READING_FILES = ("face_weights", "background_weights")  # the fields of a Reading that name a file


@dataclasses.dataclass(frozen=True)
class Packed:
    """A packed model.

    Attributes:
        source: how tables of images are read: the fields of DataOptions for the columns of paths
            and boxes, as the training data had them.
    """

    predictor: Predictor
    classes: Classes
    source: Mapping[str, Any]

    @property
    def models(self) -> list[FoldModel]:
        """The fold models of all members."""
        return [model for models in self.predictor.models.values() for model in models]


def write_packed(folder: Path, packed: Packed) -> None:
    """Write the files that predict into an empty folder.

    Raises:
        CheckpointError: weights are missing or damaged.
    """
    files = {
        name: [_write_model(folder, Path(MEMBERS, name), model) for model in models]
        for name, models in packed.predictor.models.items()
    }
    for name, models in packed.predictor.models.items():
        config = models[0].header.config.model_dump(mode="json")
        write_json(folder / MEMBERS / name / "config.json", config)
    write_json(
        folder / MIXTURE,
        {
            "format": FORMAT,
            "foldsweep": foldsweep_version(),
            "mixture": packed.predictor.mixture.as_json(),
            "prior": list(packed.predictor.prior_K),
            "models": files,
            "source": dict(packed.source),
        },
    )


def _write_model(folder: Path, member: Path, model: FoldModel) -> dict[str, Any]:
    """Write the files of one fold model, and return their paths for `mixture.json`."""
    weights = member / f"{model.weights.parent.name}.safetensors"
    target = folder / weights
    target.parent.mkdir(parents=True, exist_ok=True)
    if "format" in read_header(model.weights):
        shutil.copyfile(model.weights, target)
    else:  # an earlier version wrote no header, and here no other file says what the weights are
        save_weights(target, model.network, header=model.header.as_texts())
    written: dict[str, Any] = {"weights": weights.as_posix(), "code": None}
    if model.code_digest:
        assert model.code is not None
        written["code"] = (member / "code").as_posix()
        compiled = shutil.ignore_patterns("__pycache__")
        shutil.copytree(model.code, folder / member / "code", ignore=compiled, dirs_exist_ok=True)
    for field in READING_FILES:
        path = getattr(model.header.reading, field)
        if path is not None:
            (folder / PIXELS).mkdir(exist_ok=True)
            # members of several sweeps may use different models
            written[field] = f"{PIXELS}/{field}-{file_digest(Path(path))}{Path(path).suffix}"
            shutil.copyfile(path, folder / written[field])
    return written


def read_packed(folder: Path) -> Packed:
    """Read a packed model. No weights are loaded.

    Raises:
        DataError: the folder is no packed model, or its files are damaged.
        CheckpointError: weights are missing, cut off or of another version.
    """
    path = folder / MIXTURE
    try:
        values = json.loads(path.read_text())
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']}, not {FORMAT}")
        mixture = Mixture.from_json(values["mixture"])
        files = {member.name: values["models"][member.name] for member in mixture.members}
        prior_K = tuple(map(float, values["prior"]))
        source = dict(values["source"])
        models = {name: _models(folder, entries) for name, entries in files.items()}
        header = next(iter(models.values()))[0].header
    except FileNotFoundError:
        raise DataError(
            f"{folder}: not a packed model (no {MIXTURE}). `sweeps pack --out {folder}` writes one"
        ) from None
    except (OSError, ValueError, TypeError, KeyError, LookupError, StopIteration) as error:
        raise DataError(
            f"{path}: not readable ({first_line(error)}). Pack the model again"
        ) from None
    classes = Classes(header.classes, header.label_columns, header.class_parts)
    return Packed(Predictor(mixture, models, prior_K), classes, source)


def _models(folder: Path, entries: Sequence[Mapping[str, Any]]) -> tuple[FoldModel, ...]:
    return tuple(_model(folder, entry) for entry in entries)


def _model(folder: Path, entry: Mapping[str, Any]) -> FoldModel:
    weights = folder / entry["weights"]
    header = WeightsHeader.from_texts(read_header(weights), where=str(weights))
    named: dict[str, Any] = {
        field: str(folder / entry[field]) for field in READING_FILES if field in entry
    }
    reading = dataclasses.replace(header.reading, **named)
    code = None if entry["code"] is None else folder / entry["code"]
    return FoldModel(weights, dataclasses.replace(header, reading=reading), code)
