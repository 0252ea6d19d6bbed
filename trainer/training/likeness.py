"""Training on made-up images, to compare configurations: do two of them give the same weights?

A choice of a search space that changes no bit of the weights is no choice: its trials are
repetitions of each other under two names. A tiny network and noise are enough to see that, because
whether a field is used depends neither on the backbone nor on the images. torch is imported only
if an answer is not in the cache folder.
"""

import functools
import hashlib
import importlib.metadata
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cache_folder import remembered
from trainer.config import AUGMENTERS, MIXERS, TrainConfig
from trainer.errors import TrainerError
from trainer.fields.declare import is_user_function

if TYPE_CHECKING:
    from trainer.training.fold_setup import FoldSetup

# The fields that are compared: those that can be without effect, and whose effect is seen in the
# first steps. A schedule, early stopping, an average or a clipped norm show later; a backbone, a
# size or a crop would need real networks and images.
COMPARED = frozenset(
    {
        *("loss", "loss_mix", "focal_gamma", "smoothing", "class_weights", "effective_beta"),
        *("sampling", "optimizer", "weight_decay", "momentum", "nesterov", "layer_decay"),
        *("shift", "scale", "rotate", "crop_area", "brightness", "contrast", "saturation", "hue"),
        *("blur_sigma", "erasing_area", "cutmix_alpha", "mixup_alpha"),
    }
)
STAND_IN = {
    "backbone": "test_resnet",
    "weights": "none",
    "resize": 16,
    "normalise": "imagenet",
    "batch_size": 8,  # two steps an epoch: two thirds of the images are trained on
    "scheduler": "none",
}
CLASSES = {"a": 12, "b": 6, "c": 6}  # images; not even, so that class weights matter
LIBRARIES = ("timm", "torch", "madgrad")


def weights_after(config: TrainConfig, *, epochs: int, code: Path | None) -> str | None:
    """Return what identifies the weights after `epochs` epochs of two steps each, on the CPU.

    Only the fields in COMPARED and the learning rate are those of `config`. Each augmentation and
    mixing that `config` may apply to an image is applied as often as possible, so that its strength
    shows.

    Args:
        code: the folder of the user functions.

    Returns:
        The same text for the same weights, bit for bit; None if the training fails.

    Raises:
        DataError: the cache folder cannot be written.
    """
    stand_in = _stand_in(config, epochs)
    if is_user_function(stand_in.loss):  # its file may change
        return _trained(stand_in, code)
    question = {"config": stand_in.model_dump(mode="json"), "decided_by": _deciders()}
    answer: str | None = remembered("likeness", question, lambda: _trained(stand_in, code))
    return answer


def _stand_in(config: TrainConfig, epochs: int) -> TrainConfig:
    mixers = [name for name in MIXERS if getattr(config, name)]
    always: dict[str, Any] = {name: 1.0 for name in AUGMENTERS if getattr(config, name)}
    always |= {name: 1 / len(mixers) for name in mixers}
    compared = {name: getattr(config, name) for name in ("lr", *COMPARED)}
    # a usual blur is less than a pixel of these small images and would change nothing; other values
    # stay other values
    compared["blur_sigma"] = 0.05 + config.blur_sigma / 2
    return TrainConfig(**{**compared, **always, **STAND_IN, "epochs": epochs})


def _trained(config: TrainConfig, code: Path | None) -> str | None:
    import torch

    from trainer.model.checkpoint import weights_digest
    from trainer.training.fit import run_fold
    from trainer.training.reporter import SilentReporter
    from trainer.training.result import WEIGHTS

    threads = torch.get_num_threads()
    try:
        # the caller's random numbers must not change
        with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
            setup = _setup(config, Path(folder), code)
            run_fold(setup, SilentReporter())
            return weights_digest(setup.directory / WEIGHTS)
    except TrainerError:
        return None
    finally:
        torch.set_num_threads(threads)


def _setup(config: TrainConfig, folder: Path, code: Path | None) -> "FoldSetup":
    """The setup of a fold run on noise."""
    import numpy as np
    import torch

    from trainer.data.folds import make_folds
    from trainer.images.images import Decoded
    from trainer.images.manifest import Manifest
    from trainer.training.fold_setup import FoldSetup

    labels_N = np.repeat(np.arange(len(CLASSES)), list(CLASSES.values()))
    manifest = Manifest(
        root=folder,
        paths=tuple(f"{row}.png" for row in range(len(labels_N))),
        labels_N=labels_N,
        classes=tuple(CLASSES),
        lines=(0,) * len(labels_N),
    )
    shape = (len(labels_N), *config.size_HW, 3)
    noise_NHWC = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return FoldSetup(
        config=config,
        images=[Decoded(noise_NHWC)],
        folds=make_folds(manifest, k=3, seed=0),
        fold=0,
        directory=folder / "fold-0",
        device=torch.device("cpu"),
        threads=1,
        code=code,
    )


@functools.cache
def _deciders() -> dict[str, str]:
    """The versions of everything that decides about weights."""
    files = sorted(Path(__file__).parents[1].rglob("*.py"))
    ours = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return {"trainer": ours, **{name: importlib.metadata.version(name) for name in LIBRARIES}}
