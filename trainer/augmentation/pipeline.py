"""The augmentations of a configuration, in order, each on the images that its draw chose.

Shapes: B images of the batch, S of them selected; C, H, W as in images.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainer.augmentation import colour, geometry, policy
from trainer.augmentation.blur import blur
from trainer.augmentation.draws import Booleans, Draws, Reals, sides
from trainer.augmentation.erasing import erase
from trainer.augmentation.selection import change, strengths
from trainer.config import AUGMENTERS, TrainConfig

CROP_RATIO = 4 / 3  # largest height / width of a resized crop
WEAKEST_BLUR = 0.05  # share of the largest sigma, as the 0.1 of 2 pixels of torchvision


class Part(NamedTuple):
    """A part of jitter.

    Attributes:
        neutral: the strength that does not change an image.
        recolour: the operation on images and their strengths.
    """

    neutral: float
    recolour: Callable[[Tensor, Tensor], Tensor]


JITTER = {
    "brightness": Part(1, colour.brightness),
    "contrast": Part(1, colour.contrast),
    "saturation": Part(1, colour.saturation),
    "hue": Part(0, colour.hue),
}


class Augmenter:
    """The augmentation of batches. Each image of a batch is changed in its own way.

    The order is: flips, resized crop, affine map and the moves of the policy as one map; jitter;
    grey; the colour operations of the policy; blur; erasing. The order in jitter is always
    brightness, contrast, saturation, hue; torchvision draws this order at random.

    Attributes:
        active: whether any augmentation is configured.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self.active = any(getattr(config, name) for name in AUGMENTERS)

    def __call__(self, images_BCHW: Tensor, *, seed: int) -> Tensor:
        """The augmented batch; the input itself if no augmentation is configured.

        Args:
            images_BCHW: float32 RGB images in 0..1, on any device and in any memory format. They
                may be overwritten.
            seed: the source of all draws.

        Returns:
            images of the same shape, float32 in 0..1, channels last in memory. A seed gives the
            same draws on every device. The draws of an image depend neither on other augmentations
            nor on the images after this image in the batch.
        """
        if not self.active:
            return images_BCHW
        draws = Draws(seed, count=len(images_BCHW))
        images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
        planned = policy.plan(draws, probability=self._config.trivial)
        # autocast would resample and blur images in bfloat16
        with torch.no_grad(), torch.autocast(images_BCHW.device.type, enabled=False):
            self._move(images_BCHW, draws, planned=planned)
            self._jitter(images_BCHW, draws)
            grey_B = draws.chosen("grey", probability=self._config.grey)
            change(images_BCHW, grey_B, operation=colour.grey)
            policy.recolour(images_BCHW, planned)
            self._blur(images_BCHW, draws)
            erased_B = draws.chosen("erasing", probability=self._config.erasing)
            erase(images_BCHW, erased_B, draws=draws, largest_area=self._config.erasing_area)
        return images_BCHW

    def _move(self, images_BCHW: Tensor, draws: Draws, *, planned: policy.Plan) -> None:
        config = self._config
        size_HW = (images_BCHW.shape[2], images_BCHW.shape[3])
        horizontal_B = draws.chosen("flip", probability=config.flip)
        vertical_B = draws.chosen("flip vertical", probability=config.flip_vertical)
        cropped_B = draws.chosen("crop", probability=config.resized_crop)
        affine_B = draws.chosen("affine", probability=config.affine)
        warped_B = cropped_B | affine_B | planned.moved_B
        geometry.flip(images_BCHW, horizontal_B & ~warped_B, dim=3)
        geometry.flip(images_BCHW, vertical_B & ~warped_B, dim=2)
        if warped_B.any():
            maps_B33 = geometry.flipped(horizontal_B, vertical_B)
            maps_B33 = maps_B33 @ self._crop(draws, cropped_B, size_HW=size_HW)
            maps_B33 = maps_B33 @ self._affine(draws, affine_B, size_HW=size_HW)
            maps_B33 = maps_B33 @ policy.moves(planned, size_HW=size_HW)
            geometry.warp(images_BCHW, warped_B, maps_B33=maps_B33)

    def _crop(self, draws: Draws, chosen_B: Booleans, *, size_HW: tuple[int, int]) -> Reals:
        if not chosen_B.any():
            return np.eye(3)
        area = (self._config.crop_area, 1.0)
        height_B, width_B = sides(draws, "crop", area=area, ratio=CROP_RATIO, size_HW=size_HW)
        top_B = draws.uniform("crop top", high=size_HW[0] - height_B)
        left_B = draws.uniform("crop left", high=size_HW[1] - width_B)
        maps_B33 = geometry.cropped((top_B, left_B), (height_B, width_B), size_HW=size_HW)
        return np.where(chosen_B[:, None, None], maps_B33, np.eye(3))

    def _affine(self, draws: Draws, chosen_B: Booleans, *, size_HW: tuple[int, int]) -> Reals:
        if not chosen_B.any():
            return np.eye(3)
        config = self._config
        degrees_B = draws.around(0, "affine rotate", largest=config.rotate)
        x_B = size_HW[1] * draws.around(0, "affine shift x", largest=config.shift)
        y_B = size_HW[0] * draws.around(0, "affine shift y", largest=config.shift)
        scale_B = draws.around(1, "affine scale", largest=config.scale)
        maps_B33 = geometry.turned(degrees_B, scale_B) @ geometry.shifted(x_B, y_B)
        return np.where(chosen_B[:, None, None], maps_B33, np.eye(3))

    def _jitter(self, images_BCHW: Tensor, draws: Draws) -> None:
        largest = {
            name: getattr(self._config, name) for name in JITTER if getattr(self._config, name)
        }
        chosen_B = draws.chosen("jitter", probability=self._config.jitter)
        if not largest or not chosen_B.any():
            return
        values = [
            draws.around(JITTER[name].neutral, f"jitter {name}", largest=largest[name])
            for name in largest
        ]
        strengths_S = dict(
            zip(largest, strengths(values, chosen_B, images_BCHW.device), strict=True)
        )

        def jittered(selected_SCHW: Tensor) -> Tensor:
            for name, strength_S in strengths_S.items():
                selected_SCHW = JITTER[name].recolour(selected_SCHW, strength_S)
            return selected_SCHW

        change(images_BCHW, chosen_B, operation=jittered)

    def _blur(self, images_BCHW: Tensor, draws: Draws) -> None:
        chosen_B = draws.chosen("blur", probability=self._config.blur)
        largest = self._config.blur_sigma * min(images_BCHW.shape[2:])
        if chosen_B.any():
            sigma_B = draws.uniform("blur sigma", low=WEAKEST_BLUR * largest, high=largest)
            sigma_S = strengths(sigma_B, chosen_B, images_BCHW.device)

            def blurred(selected_SCHW: Tensor) -> Tensor:
                return blur(selected_SCHW, sigma_S, largest_sigma=largest)

            change(images_BCHW, chosen_B, operation=blurred)
