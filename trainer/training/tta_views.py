"""Test-time augmentation (TTA): the probabilities of several views of an image are averaged.

Shapes: B images of a batch, C channels, H height, W width. A batch has one tensor per crop that the
heads use (see TrainConfig.views). A TTA view changes all tensors of a batch in the same way.
"""

from collections.abc import Callable, Iterator

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from trainer.fields.evaluation import Tta

Views = list[Tensor]
CROPPED = 7 / 8  # share of each side that a test-time crop has
# the position of a crop from top and left: 0 is the top or left edge, 1 is the opposite edge
CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))


def _plain(images_BCHW: Tensor) -> Tensor:
    return images_BCHW


def _mirrored(images_BCHW: Tensor) -> Tensor:
    return images_BCHW.flip(3)


def _cropped(top: float, left: float, *, mirrored: bool) -> Callable[[Tensor], Tensor]:
    """Return a function that crops images at a position of CORNERS and resizes to the full size."""

    def transform(images_BCHW: Tensor) -> Tensor:
        height, width = images_BCHW.shape[2:]
        rows = round(CROPPED * height)
        columns = round(CROPPED * width)
        y = round(top * (height - rows))
        x = round(left * (width - columns))
        part_BCHW = images_BCHW[:, :, y : y + rows, x : x + columns]
        part_BCHW = F.interpolate(part_BCHW, (height, width), mode="bilinear", align_corners=False)
        return _mirrored(part_BCHW) if mirrored else part_BCHW

    return transform


_CROPS = [_cropped(*corner, mirrored=False) for corner in CORNERS]
_MIRRORED_CROPS = [_cropped(*corner, mirrored=True) for corner in CORNERS]
TTA_TRANSFORMS: dict[Tta, list[Callable[[Tensor], Tensor]]] = {
    "none": [_plain],
    "flip": [_plain, _mirrored],
    "crops": [_plain, *_CROPS],
    "flip_crops": [_plain, _mirrored, *_CROPS, *_MIRRORED_CROPS],
}


def tta_views(plain: Views, tta: Tta) -> Iterator[Views]:
    """Yield the TTA views of a batch, the plain view first.

    The views are made one after another, because all views together could need twelve times the
    memory of a batch.
    """
    return ([transform(images_BCHW) for images_BCHW in plain] for transform in TTA_TRANSFORMS[tta])
