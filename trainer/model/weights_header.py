"""The header of a file of weights: the network that the weights belong to, and its pixels.

The header is all that prediction needs besides the weights. It is read without loading them, by any
program that reads safetensors files.

Shapes: K classes, P label columns.
"""

import dataclasses
import functools
import importlib.metadata
import json
from collections.abc import Mapping

from trainer.config import TrainConfig
from trainer.errors import CheckpointError, first_line
from trainer.images.preprocessing import Preprocessing, Reading
from trainer.model.backbone import MeanStd
from trainer.model.heads import Heads

FORMAT = "1"


@dataclasses.dataclass(frozen=True)
class WeightsHeader:
    """What a file of weights says about its network.

    Attributes:
        config: the settled configuration of the fold run.
        classes: the K class names, in the order of the predicted probabilities.
        label_columns: the P columns that together make the class.
        class_parts: the P values of each class; empty with a single label column.
        mean_std: what images are normalised with, as shares of 255.
        reading: how image files become pixels.
        fold: the fold that was held out; None for a network that was trained on all images.
        version: the version of foldsweep that wrote the file.
    """

    config: TrainConfig
    classes: tuple[str, ...]
    label_columns: tuple[str, ...]
    class_parts: tuple[tuple[str, ...], ...]
    mean_std: MeanStd
    reading: Reading
    fold: int | None
    version: str

    @functools.cached_property
    def heads(self) -> Heads:
        """The heads of the network."""
        joint = self.config.heads == "joint"
        return Heads.joint(len(self.classes)) if joint else Heads.separate(self)

    @property
    def views(self) -> tuple[Preprocessing, ...]:
        """All preparations of an image that the network gets, see `TrainConfig.views`."""
        return self.config.views

    def as_texts(self) -> dict[str, str]:
        """Return the header for `save_weights`.

        `config` and `reading` decide the pixels and the network. For readers without foldsweep the
        main facts of `config` have texts of their own.
        """
        config = self.config
        height, width = config.size_HW
        values = {
            "classes": self.classes,
            "label_columns": self.label_columns,
            "class_parts": self.class_parts,
            "heads": {
                name: {"classes": size, "crop": config.head_crops.get(name, config.crop)}
                for name, size in zip(self.heads.names, self.heads.sizes, strict=True)
            },
            "size": {"height": height, "width": width},
            "mean": self.mean_std[0],
            "std": self.mean_std[1],
            "preprocessing": {
                "views": [dataclasses.asdict(view) for view in self.views],
                "normalise": config.normalise,
            },
            "reading": self.reading.as_json(),
            "config": config.model_dump(mode="json"),
            "fold": self.fold,
        }
        texts = {"format": FORMAT, "backbone": config.backbone, "foldsweep": self.version}
        return texts | {name: json.dumps(value) for name, value in values.items()}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str], *, where: str) -> "WeightsHeader":
        """Return the header that `as_texts` described.

        Args:
            where: the file, for the message.

        Raises:
            CheckpointError: the header is of another version of foldsweep, or damaged.
        """
        try:
            if texts["format"] != FORMAT:
                raise ValueError(f"format {texts['format']}, not {FORMAT}")
            mean, std = (tuple(json.loads(texts[name])) for name in ("mean", "std"))
            return cls(
                config=TrainConfig(**json.loads(texts["config"])),
                classes=tuple(json.loads(texts["classes"])),
                label_columns=tuple(json.loads(texts["label_columns"])),
                class_parts=tuple(map(tuple, json.loads(texts["class_parts"]))),
                mean_std=(mean, std),
                reading=Reading.from_json(json.loads(texts["reading"])),
                fold=json.loads(texts["fold"]),
                version=texts["foldsweep"],
            )
        # pydantic's error about an unknown field of `config` is a ValueError
        except (KeyError, TypeError, ValueError) as error:
            written = texts.get("foldsweep", "an unknown version")
            raise CheckpointError(
                f"{where}: its header cannot be used ({first_line(error)}). It was written by "
                f"foldsweep {written}, and this is {foldsweep_version()}"
            ) from None


def foldsweep_version() -> str:
    """The installed version of foldsweep; "unknown" where it runs without being installed."""
    try:
        return importlib.metadata.version("foldsweep")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
