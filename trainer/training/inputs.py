"""The inputs of the network: images, or features of a frozen backbone that are computed once.

Training images are augmented.

Shapes: B images of a batch, X images loaded for a batch (the B images and the partners for mixing),
K classes, F features, T TTA views of an image that is scored. A batch has one tensor per crop that
the heads use (see TrainConfig.views).
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from trainer.augmentation.mixing import Mixing, MixPlan
from trainer.augmentation.pipeline import Augmenter
from trainer.config import TrainConfig
from trainer.fields.evaluation import Tta
from trainer.images.batches import Batches, even_batches, split, unit
from trainer.images.device import to_device
from trainer.images.images import Rows
from trainer.images.order import epoch_rows
from trainer.images.preprocessing import Size
from trainer.model.network import Logits, Network
from trainer.seeds import derive
from trainer.training.tta_views import Views, tta_views

Labels = npt.NDArray[np.int64]
STRIDE = 32  # progressive resize uses multiples of the factor by which most backbones shrink images


class PredictedInputs(Protocol):
    """Batches to predict, and the forward pass for these batches."""

    def in_order(self, rows_N: Rows, *, batch_size: int, tta: Tta) -> Iterator[Iterator[Views]]:
        """Yield the T TTA views of each batch one after another, the plain view first.

        The batches have every row once and in order.
        """
        ...

    def forward(self, network: Network, views: Sequence[Tensor]) -> Logits:
        """Return the logits of each head."""
        ...


class Inputs(PredictedInputs, Protocol):
    """Batches for training, too."""

    def epoch(self, epoch: int, *, seed: int, start: int = 0) -> Iterator[tuple[Views, Tensor]]:
        """Yield the training batches of one epoch with their targets (B, K).

        The batches depend only on `epoch` and on `seed`, the seed of the fold run.

        Args:
            start: the number of batches that are left out; their images are not loaded.
        """
        ...


@dataclasses.dataclass(frozen=True)
class TrainingRows:
    """The rows that a fold run trains on, and their classes.

    Attributes:
        labels_N: class indices of all images of the manifest.
    """

    config: TrainConfig
    train_rows: Rows
    labels_N: Labels
    n_classes: int

    def batches(self, epoch_seed: int) -> list[Rows]:
        """Return the rows of each batch of an epoch, in order."""
        rows_N = epoch_rows(
            self.train_rows,
            self.labels_N,
            sampling=self.config.sampling,
            seed=derive(epoch_seed, "order"),
        )
        return even_batches(rows_N, batch_size=self.config.batch_size)

    def one_hot(self, rows: Rows, device: torch.device) -> Tensor:
        """Return the one-hot targets (number of rows, K) of these rows."""
        return F.one_hot(to_device(self.labels_N[rows], device), self.n_classes).float()


class PlainImages:
    """Images as they are predicted: decoded pixels, normalised on the device."""

    def __init__(self, batches: Sequence[Batches]) -> None:
        """
        Args:
            batches: one object per view of `TrainConfig.views`, on the device.
        """
        self._batches = batches

    def in_order(self, rows_N: Rows, *, batch_size: int, tta: Tta) -> Iterator[Iterator[Views]]:
        """See PredictedInputs."""
        for plain in self.plain(rows_N, batch_size=batch_size):
            yield tta_views(plain, tta)

    def plain(self, rows_N: Rows, *, batch_size: int) -> Iterator[Views]:
        """Yield batches of every row once and in order, without augmentation."""
        streams = [
            batches.pixels(split(rows_N, batch_size=batch_size)) for batches in self._batches
        ]
        for pixels in zip(*streams, strict=True):
            yield [batches.normalised(p) for batches, p in zip(self._batches, pixels, strict=True)]

    def forward(self, network: Network, views: Sequence[Tensor]) -> Logits:
        """See PredictedInputs."""
        logits: Logits = network(views)
        return logits


class ImageInputs(PlainImages):
    """Images for training, too: augmented and mixed on the device."""

    def __init__(self, config: TrainConfig, batches: Sequence[Batches], rows: TrainingRows) -> None:
        """
        Args:
            batches: one object per view of `config.views`, on the device.
        """
        super().__init__(batches)
        self._config = config
        self._rows = rows
        self._augment = Augmenter(config)
        self._mixing = Mixing(config, labels_N=rows.labels_N, train_rows=rows.train_rows)

    def epoch(self, epoch: int, *, seed: int, start: int = 0) -> Iterator[tuple[Views, Tensor]]:
        """See Inputs."""
        seed = derive(seed, "epoch", epoch)
        size_HW = size_at(self._config, epoch)
        for step, (plan, pixels) in enumerate(self._loaded(seed, size_HW, start), start=start):
            augment = derive(seed, "augment", step)  # all views of an image are augmented alike
            views = [
                plan.images(self._prepared(view, pixels_XHWC, size_HW, augment))
                for view, pixels_XHWC in enumerate(pixels)
            ]
            yield views, plan.targets(self._rows.one_hot(plan.rows, pixels[0].device))

    def _loaded(
        self, seed: int, size_HW: Size, start: int
    ) -> Iterator[tuple[MixPlan, tuple[Tensor, ...]]]:
        """Yield the mixing plan of each batch and the batch's pixels for each view.

        A source that decodes batch by batch takes rows ahead of time. Therefore plans wait in a
        queue until their pixels are decoded.
        """
        waiting: list[collections.deque[MixPlan]] = [collections.deque() for _ in self._batches]

        def rows(plans: collections.deque[MixPlan]) -> Iterator[Rows]:
            for step, batch in enumerate(self._rows.batches(seed)[start:], start=start):
                plans.append(
                    self._mixing.plan(batch, seed=derive(seed, "mixing", step), size_HW=size_HW)
                )
                yield plans[-1].rows

        streams = [
            batches.pixels(rows(plans))
            for batches, plans in zip(self._batches, waiting, strict=True)
        ]
        for pixels in zip(*streams, strict=True):
            plan, *_ = [plans.popleft() for plans in waiting]  # the plans of all views are equal
            yield plan, pixels

    def _prepared(self, view: int, pixels_XHWC: Tensor, size_HW: Size, seed: int) -> Tensor:
        batches = self._batches[view]
        smaller = size_HW != tuple(pixels_XHWC.shape[1:3])
        if not (self._augment.active or smaller):  # uint8 pixels are normalised in one pass
            return batches.normalised(pixels_XHWC)
        images_XCHW = unit(pixels_XHWC)
        if smaller:  # before the augmentation, which is faster with smaller images
            images_XCHW = F.interpolate(images_XCHW, size_HW, mode="bilinear", antialias=True)
        return batches.normalised_unit(self._augment(images_XCHW, seed=seed))


class FeatureInputs:
    """Features of all images of the fold run, computed once.

    Features replace images if the backbone is frozen and nothing is augmented.
    """

    def __init__(
        self,
        images: ImageInputs,
        rows: TrainingRows,
        network: Network,
        *,
        train_rows: Rows,
        valid_rows: Rows,
        batch_size: int,
    ) -> None:
        """Compute the features. The network is in eval mode afterwards.

        Args:
            train_rows: rows whose features are computed for the plain view.
            valid_rows: rows whose features are computed for every TTA view; there may be none.
        """
        self._rows = rows
        plain = ([views] for views in images.plain(train_rows, batch_size=batch_size))
        self._train = _Features(network, plain, train_rows)
        self._valid = _Features(
            network,
            images.in_order(valid_rows, batch_size=batch_size, tta=rows.config.tta),
            valid_rows,
        )

    def epoch(self, epoch: int, *, seed: int, start: int = 0) -> Iterator[tuple[Views, Tensor]]:
        """See Inputs."""
        for rows_B in self._rows.batches(derive(seed, "epoch", epoch))[start:]:
            (views,) = self._train.of(rows_B)
            yield views, self._rows.one_hot(rows_B, views[0].device)

    def in_order(self, rows_N: Rows, *, batch_size: int, tta: Tta) -> Iterator[Iterator[Views]]:
        """See PredictedInputs. Training rows have a plain view only."""
        features = self._valid if self._valid.has(rows_N) else self._train
        views = None if tta != "none" else 1
        return (
            itertools.islice(features.of(rows_B), views)
            for rows_B in split(rows_N, batch_size=batch_size)
        )

    def forward(self, network: Network, views: Sequence[Tensor]) -> Logits:
        """See PredictedInputs. Features go only through the heads."""
        return network.classify(views)


class _Features:
    """Features of some rows, for each TTA view and each crop."""

    @torch.inference_mode()
    def __init__(self, network: Network, batches: Iterable[Iterable[Views]], rows_N: Rows) -> None:
        network.eval()
        parts = [
            [[_features_of(network, images_BCHW) for images_BCHW in views] for views in tta]
            for tta in batches
        ]
        self._tta = [
            [torch.cat(pieces) for pieces in zip(*same_view, strict=True)]
            for same_view in zip(*parts, strict=True)
        ]
        self._rows_N = rows_N
        # row of the manifest -> row of the features
        self._index_of = np.zeros(int(rows_N.max(initial=-1)) + 1, dtype=np.int64)
        self._index_of[rows_N] = np.arange(len(rows_N))

    def has(self, rows_N: Rows) -> bool:
        """Return whether the features of all these rows are here."""
        return bool(np.isin(rows_N, self._rows_N).all())

    def of(self, rows_B: Rows) -> Iterator[Views]:
        """Yield the features (B, F) of each crop, for each TTA view of these rows."""
        index_B = to_device(self._index_of[rows_B], self._tta[0][0].device)
        return ([features_NF[index_B] for features_NF in views] for views in self._tta)


def _features_of(network: Network, images_BCHW: Tensor) -> Tensor:
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=images_BCHW.is_cuda):
        return network.features(images_BCHW).float()


def size_at(config: TrainConfig, epoch: int) -> Size:
    """Return height and width of the training images of `epoch`, counted from 1.

    With progressive resize the size grows from epoch to epoch. Otherwise it is always the full
    size.

    Example:
        >>> config = TrainConfig(
        ...     resize=256, epochs=8, warmup_epochs=0, progressive=0.5, progressive_epochs=4
        ... )
        >>> [size_at(config, epoch) for epoch in (1, 3, 5)]
        [(128, 128), (192, 192), (256, 256)]
    """
    height, width = config.size_HW
    until = config.progressive_epochs or config.epochs // 2
    share = (
        1.0
        if epoch > until
        else config.progressive + (1 - config.progressive) * (epoch - 1) / max(1, until)
    )
    if share >= 1:
        return height, width
    return _multiple(height, share), _multiple(width, share)


def _multiple(side: int, share: float) -> int:
    return min(side, max(STRIDE, round(side * share / STRIDE) * STRIDE))
