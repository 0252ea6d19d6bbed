"""ONNX: a fold model as one file that other programs run, without torch.

The graph takes the pixels of images that are prepared as in training, normalises them and returns
the probabilities of the classes. What cuts and resizes the images is not in it, nor is test-time
augmentation.

Shapes: B images, H height, W width, K classes, V views of an image (see `TrainConfig.views`).
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trainer.errors import ConfigError, first_line
from trainer.images.batches import Batches
from trainer.images.images import Decoded, Pixels
from trainer.metrics import Probs
from trainer.prediction.fold_model import FoldModel
from trainer.seeds import derive
from trainer.training.inputs import PlainImages
from trainer.training.predict import predict

SUFFIX = ".onnx"
TOLERANCE = 1e-4  # of a probability
TRIED = 3  # images on which the graph is compared with torch
PROBS = "probs"
LIBRARIES = ("onnx", "onnxscript", "onnxruntime")


def require_onnx() -> None:
    """Check that the libraries are installed.

    Raises:
        ConfigError: one of them is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"ONNX needs {', '.join(LIBRARIES)} ({first_line(error)}). "
            "pip install 'foldsweep[onnx]'"
        ) from None


class _Graph(nn.Module):
    """The network between the pixels (B, H, W, 3) of each view and the probabilities (B, K)."""

    def __init__(self, model: FoldModel) -> None:
        super().__init__()
        self._network = model.network
        self._heads = model.header.heads
        mean, std = (torch.tensor(values) for values in model.header.mean_std)
        self._scale_C = nn.Buffer(1 / (255 * std))
        self._shift_C = nn.Buffer(-mean / std)

    def forward(self, *views: Tensor) -> Tensor:
        network = self._network
        images = [view.float() * self._scale_C + self._shift_C for view in views]
        features = [network.features(image_BHWC.permute(0, 3, 1, 2)) for image_BHWC in images]
        # not `Network.classify`, whose switch of autocast ONNX does not know
        logits = [
            head(features[view]) for head, view in zip(network.heads, network.view_of, strict=True)
        ]
        return self._heads.log_probs(logits).exp()


def input_names(model: FoldModel) -> list[str]:
    """Return the names of the graph's inputs: `images`, or one name per crop.

    Each input has the shape (B, H, W, 3), whole numbers of 0 to 255 (uint8), in the order red,
    green, blue.
    """
    views = model.header.views
    return ["images"] if len(views) == 1 else [f"images_{how.crop}" for how in views]


def export_onnx(model: FoldModel, path: Path) -> float:
    """Write a fold model as an ONNX file.

    Returns:
        The largest difference of a probability from torch's, on random images.

    Raises:
        ConfigError: the libraries are missing, the network cannot be exported, or the file says
            something else than the network.
    """
    require_onnx()
    views = _random_views(model)
    # first, because the heads then keep real tensors and not those of the exporter
    expected_BK = _expected(model, views)
    graph = _Graph(model).eval()
    try:
        _export(graph, views, input_names(model), path)
        found_BK = _run(path, input_names(model), views)
    except Exception as error:  # noqa: BLE001 - the exporter's errors have no common base
        raise ConfigError(
            f"{model.weights}: backbone {model.header.config.backbone} cannot be exported to ONNX "
            f"({first_line(error)}). Pack without --onnx"
        ) from None
    difference = float(np.abs(found_BK - expected_BK).max())
    if not difference <= TOLERANCE:
        raise ConfigError(
            f"{model.weights}: the ONNX file of backbone {model.header.config.backbone} differs "
            f"from torch by {difference:.2g}, more than {TOLERANCE:g}. Pack without --onnx"
        )
    return difference


def _random_views(model: FoldModel) -> list[Pixels]:
    rng = np.random.default_rng(derive(0, "onnx"))
    return [
        rng.integers(0, 256, (TRIED, *how.size_HW, 3), dtype=np.uint8) for how in model.header.views
    ]


def _export(graph: nn.Module, views: Sequence[Pixels], names: Sequence[str], path: Path) -> None:
    batch = torch.export.Dim("batch", min=1)
    levels = {
        name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "onnx_ir")
    }
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # about the exporter's own future
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            torch.onnx.export(
                graph,
                tuple(map(torch.from_numpy, views)),
                path,
                input_names=list(names),
                output_names=[PROBS],
                dynamic_shapes={"views": tuple({0: batch} for _ in views)},
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)


def _run(path: Path, names: Sequence[str], views: Sequence[Pixels]) -> Probs:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (probs_BK,) = session.run([PROBS], dict(zip(names, views, strict=True)))
    result: Probs = probs_BK
    return result


def _expected(model: FoldModel, views: Sequence[Pixels]) -> Probs:
    """The probabilities of the same images as `sweeps predict` computes them on the CPU."""
    device = torch.device("cpu")
    header = model.header
    batches = [Batches(Decoded(view), device=device, mean_std=header.mean_std) for view in views]
    return predict(
        model.network.to(device),
        PlainImages(batches),
        np.arange(TRIED),
        heads=header.heads,
        batch_size=TRIED,
        tta="none",
    ).probs_NK
