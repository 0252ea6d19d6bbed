"""Mixing each image of a batch with another image: CutMix, one-class CutMix, half CutMix, MixUp.

The plan of a batch is drawn on the host. Therefore a CPU and a GPU mix images in the same way, and
the host never waits for the device. The plan first names the rows to load. Later the plan mixes the
loaded images on the device, after any augmentation of these images.

Shapes: B batch, X images loaded for the batch (the batch, then E extra partners), C channels,
H height, W width, K classes, N images of the manifest.
"""

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.config import MIXERS, TrainConfig
from trainer.images.device import to_device

Rows = npt.NDArray[np.int64]
Size = tuple[int, int]
ALONE = len(MIXERS)  # the way of an image that is not mixed; all other ways index MIXERS
CUTMIX, ONE_CLASS, HALF, MIXUP = range(len(MIXERS))


@dataclasses.dataclass(frozen=True, eq=False)
class MixPlan:
    """How one batch is mixed. The same plan can be applied to several views of the images.

    Attributes:
        rows: the X rows of the manifest to load: the B rows of the batch, then the rows of partners
            that are not in the batch.
        size_HW: the height and width of the images in pixels.
        way_B: for each image an index into MIXERS, or ALONE.
        partner_B: the index of the other image among the X images. If an image is ALONE, the
            index of the image itself.
        box_B4: top, bottom, left and right of the pixels taken from the partner; bottom and right
            are excluded. The box is empty if the way is MIXUP or ALONE.
        blend_B: the weight of the image itself if the way is MIXUP, else 1.
        label_B: the share of the target that the image's own label keeps; float32.
    """

    rows: Rows
    size_HW: Size
    way_B: Rows
    partner_B: Rows
    box_B4: Rows
    blend_B: npt.NDArray[np.float32]
    label_B: npt.NDArray[np.float32]

    def images(self, images_XCHW: Tensor) -> Tensor:
        """The mixed images (B, C, H, W) in the memory format of the input.

        If no image is mixed, the result is the input itself. MixUp needs floating point images.
        The cutting ways copy pixels without changing them.
        """
        assert images_XCHW.shape[0] == len(self.rows)
        assert tuple(images_XCHW.shape[2:]) == self.size_HW
        if (self.way_B == ALONE).all():
            return images_XCHW
        # torch.index_copy would lose the memory format channels_last, so the images are cloned
        mixed_BCHW = images_XCHW[: len(self.way_B)].clone(memory_format=torch.preserve_format)
        self._cut(images_XCHW, mixed_BCHW)
        self._blend(images_XCHW, mixed_BCHW)
        return mixed_BCHW

    def targets(self, targets_XK: Tensor) -> Tensor:
        """The targets (B, K) of the mixed images, from the targets of the loaded images.

        Each row keeps its sum. With one-class CutMix the partner has the same label, so the target
        does not change.
        """
        if (self.way_B == ALONE).all():
            return targets_XK
        own_B1 = to_device(self.label_B[:, None], targets_XK.device).to(targets_XK.dtype)
        partner_BK = targets_XK[to_device(self.partner_B, targets_XK.device)]
        return targets_XK[: len(self.way_B)] * own_B1 + partner_BK * (1 - own_B1)

    def _cut(self, images_XCHW: Tensor, mixed_BCHW: Tensor) -> None:
        cut = np.flatnonzero((self.way_B != ALONE) & (self.way_B != MIXUP))
        if not len(cut):
            return
        device = images_XCHW.device
        height, width = self.size_HW
        # all indices go to the device in one transfer: image, partner, top, bottom, left, right
        table = np.concatenate([cut[:, None], self.partner_B[cut, None], self.box_B4[cut]], axis=1)
        own, partner, *edges = to_device(np.ascontiguousarray(table.T), device)
        top, bottom, left, right = (edge[:, None, None, None] for edge in edges)
        y_H1 = torch.arange(height, device=device)[:, None]
        x_W = torch.arange(width, device=device)
        inside = (y_H1 >= top) & (y_H1 < bottom) & (x_W >= left) & (x_W < right)
        mixed_BCHW[own] = torch.where(inside, images_XCHW[partner], images_XCHW[own])

    def _blend(self, images_XCHW: Tensor, mixed_BCHW: Tensor) -> None:
        blended = np.flatnonzero(self.way_B == MIXUP)
        if not len(blended):
            return
        own, partner = to_device(np.stack([blended, self.partner_B[blended]]), images_XCHW.device)
        weight = to_device(self.blend_B[blended, None, None, None], images_XCHW.device).to(
            images_XCHW.dtype
        )
        mixed_BCHW[own] = images_XCHW[own] * weight + images_XCHW[partner] * (1 - weight)


class Mixing:
    """The mixing of one fold run.

    The hyperparameters `cutmix`, `one_class_cutmix`, `half_cutmix` and `mixup` are the
    probabilities that an image is mixed in that way. An image is mixed in at most one way. Each
    image has its own strength and partner. The partner is another image of the batch. For
    one_class_cutmix the partner is another image of the same class, from all images of the training
    part. An image without a possible partner is not mixed.

    Source: Yun et al. 2019 (CutMix), where the label's share is corrected for boxes that the
    image's border cuts off, as in the authors' code; Zhang et al. 2018 (MixUp); product images
    project (one-class CutMix); mask project (half-image CutMix). torchvision draws one box and one
    weight per batch. timm, which loops over images, has neither one-class nor half-image CutMix.
    """

    def __init__(self, config: TrainConfig, labels_N: Rows, train_rows: Rows) -> None:
        """
        Args:
            labels_N: the classes of all images.
            train_rows: the rows of the training part. Batches and one-class partners come from
                these rows.
        """
        self._size_HW = config.size_HW
        self._labels_N = labels_N
        self._probability = np.array([getattr(config, name) for name in MIXERS])
        self._cut_alpha = config.cutmix_alpha
        self._blend_alpha = config.mixup_alpha
        # The rows of class k are self._by_class[start_K[k] : start_K[k] + count_K[k]].
        self._by_class = train_rows[np.argsort(labels_N[train_rows], kind="stable")]
        self._count_K = np.bincount(labels_N[train_rows], minlength=int(labels_N.max()) + 1)
        self._start_K = np.cumsum(self._count_K) - self._count_K
        self._place_N = np.zeros(len(labels_N), dtype=np.int64)
        self._place_N[self._by_class] = (
            np.arange(len(train_rows)) - self._start_K[labels_N[self._by_class]]
        )

    def plan(self, rows_B: Rows, *, seed: int, size_HW: Size | None = None) -> MixPlan:
        """The plan for a batch. The same rows, seed and size always give the same plan.

        Args:
            rows_B: the rows of the batch.
            size_HW: the size of the images to be mixed, if it differs from the configuration's size
                (progressive resize).
        """
        size_HW = size_HW or self._size_HW
        rng = np.random.default_rng(seed)
        count = len(rows_B)
        way_B = np.searchsorted(np.cumsum(self._probability), rng.random(count), side="right")
        same_class_B = self._same_class(rows_B, rng)
        way_B[(way_B == ONE_CLASS) & (same_class_B < 0)] = ALONE
        if count == 1:
            way_B[way_B != ONE_CLASS] = ALONE
        partner_B = _others(count, rng)
        one_class = way_B == ONE_CLASS
        alone = way_B == ALONE
        partner_B[one_class] = count + np.arange(one_class.sum())
        partner_B[alone] = np.flatnonzero(alone)
        box_B4 = self._boxes(way_B, size_HW, rng)
        blend_B = self._blends(way_B, rng)
        pixels_B = (box_B4[:, 1] - box_B4[:, 0]) * (box_B4[:, 3] - box_B4[:, 2])
        label_B = np.where(
            way_B == MIXUP, blend_B, 1 - pixels_B / (size_HW[0] * size_HW[1])
        ).astype(np.float32)
        label_B[one_class] = 1
        rows = np.concatenate([rows_B, same_class_B[one_class]])
        return MixPlan(rows, size_HW, way_B, partner_B, box_B4, blend_B, label_B)

    def _same_class(self, rows_B: Rows, rng: np.random.Generator) -> Rows:
        """For each row another row of the same class, or -1 if there is no other row.

        All other rows of the class have the same probability.
        """
        label_B = self._labels_N[rows_B]
        others_B = self._count_K[label_B] - 1
        place_B = rng.integers(np.maximum(others_B, 1))
        place_B += place_B >= self._place_N[rows_B]  # skips the image itself
        at_B = self._start_K[label_B] + np.where(others_B > 0, place_B, 0)
        return np.where(others_B > 0, self._by_class[at_B], -1)

    def _boxes(self, way_B: Rows, size_HW: Size, rng: np.random.Generator) -> Rows:
        """Top, bottom, left and right of the box (B, 4) of each image."""
        area_B = 1 - rng.beta(self._cut_alpha, self._cut_alpha, len(way_B))
        height_B, width_B = ((side * np.sqrt(area_B)).astype(np.int64) for side in size_HW)
        y_B, x_B = (rng.integers(side, size=len(way_B)) for side in size_HW)
        edges = [
            y_B - height_B // 2,
            y_B + (height_B + 1) // 2,
            x_B - width_B // 2,
            x_B + (width_B + 1) // 2,
        ]
        box_B4 = np.stack(edges, axis=1).clip(0, np.repeat(size_HW, 2))
        height, width = size_HW
        left = [0, height, 0, width // 2]
        right = [0, height, width // 2, width]
        half_B4 = np.where(rng.random(len(way_B))[:, None] < 0.5, left, right)
        way_B1 = way_B[:, None]
        cut_B4 = np.where((way_B1 == CUTMIX) | (way_B1 == ONE_CLASS), box_B4, 0)
        return np.where(way_B1 == HALF, half_B4, cut_B4)

    def _blends(self, way_B: Rows, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        weight_B = rng.beta(self._blend_alpha, self._blend_alpha, len(way_B))
        return np.where(way_B == MIXUP, weight_B, 1).astype(np.float32)


def _others(count: int, rng: np.random.Generator) -> Rows:
    """For each index in the batch another index.

    All other indices have the same probability. In a batch of one image, the index is its own.
    """
    places = np.arange(count)
    if count == 1:
        return places
    other_B = rng.integers(count - 1, size=count)
    return other_B + (other_B >= places)
