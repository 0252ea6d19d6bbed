"""Test-time augmentation: several views of an image, whose probabilities are averaged.

Shapes: B images of a batch, C channels, H height, W width. A batch holds one tensor per crop that
the heads see (see TrainConfig.views); a TTA view changes all of them alike.
"""

from collections.abc import Callable, Iterator

import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from trainer.fields.evaluation import Tta

Views = list[Tensor]
CROPPED = 7 / 8  # of each side, by test-time crops
# where a crop lies, from the top and from the left: 0 at that edge, 1 at the opposite one
CORNERS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))


def _plain(images_BCHW: Tensor) -> Tensor:
    return images_BCHW


def _mirrored(images_BCHW: Tensor) -> Tensor:
    return images_BCHW.flip(3)


def _cropped(top: float, left: float, *, mirrored: bool) -> Callable[[Tensor], Tensor]:
    """A crop of CROPPED of each side, resized to the full size; for its place see CORNERS."""

    def transform(images_BCHW: Tensor) -> Tensor:
        height, width = images_BCHW.shape[2:]
        rows, columns = round(CROPPED * height), round(CROPPED * width)
        y, x = round(top * (height - rows)), round(left * (width - columns))
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
    """The TTA views of a batch, the plain one first.

    They are made one after another: together they could be twelve times a batch.
    """
    return ([transform(images_BCHW) for images_BCHW in plain] for transform in TTA_TRANSFORMS[tta])
