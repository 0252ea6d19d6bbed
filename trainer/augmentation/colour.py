"""Colour operations with one strength per image.

The formulas are torchvision's; the operators of torchvision take one strength per batch. Every
function may write into the images, and returns images with values in 0..1.

Shapes: S images, contiguous, 3 channels, values 0..1; H, W as in images.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torchvision.transforms.v2 import functional

TINY = 1e-12  # replaces a divisor of 0 where the numerator is 0 as well


def brightness(images_SCHW: Tensor, factor_S: Tensor) -> Tensor:
    """Multiply the values by the factor."""
    return images_SCHW.mul_(_per_image(factor_S)).clamp_(0, 1)


def contrast(images_SCHW: Tensor, factor_S: Tensor) -> Tensor:
    """Move values away from the image's mean grey, or towards it if the factor is below 1."""
    mean_S111 = grey_plane(images_SCHW).mean(dim=(1, 2, 3), keepdim=True)
    return _blend(images_SCHW, mean_S111, factor_S)


def saturation(images_SCHW: Tensor, factor_S: Tensor) -> Tensor:
    """Move values away from the pixel's grey, or towards it if the factor is below 1."""
    return _blend(images_SCHW, grey_plane(images_SCHW), factor_S)


def hue(images_SCHW: Tensor, shift_S: Tensor) -> Tensor:
    """Turn the colours around the colour circle; the shift is a share of the circle.

    The largest and the smallest channel value of a pixel stay the same. Only the hue h of the pixel
    changes (0..6, red at 0, green at 2). As a function of h, each channel is a trapezium. `sign`
    and `lerp` select the values, because torch.where takes two to five times as long on the CPU.
    """
    red, green, blue = images_SCHW.unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    spread = high - low
    if_green = (blue - red).add_(spread, alpha=2)
    if_blue = (red - green).add_(spread, alpha=4)
    unless_red = if_green.lerp_(if_blue, (high - green).sign_())
    h = torch.lerp(green - blue, unless_red, (high - red).sign_()).div_(spread.clamp(min=TINY))
    h.add_(6 * shift_S[:, None, None])
    h.sub_(torch.floor(h / 6), alpha=6)
    shares = ((h - 3).abs_().sub_(1), (h - 2).abs_().sub_(2).neg_(), (h - 4).abs_().sub_(2).neg_())
    for plane_SHW, share in zip((red, green, blue), shares, strict=True):
        torch.addcmul(low, spread, share.clamp_(0, 1), out=plane_SHW)
    return images_SCHW.clamp_(0, 1)


def grey(images_SCHW: Tensor) -> Tensor:
    """Set all three channels to the pixel's grey."""
    return images_SCHW.copy_(grey_plane(images_SCHW))


def posterize(images_SCHW: Tensor, bits_S: Tensor) -> Tensor:
    """Reduce each channel to 2 ** bits levels, each value to the lower end of its level."""
    levels_S111 = _per_image(bits_S.exp2())
    return torch.minimum(images_SCHW.mul_(levels_S111).floor_(), levels_S111 - 1).div_(levels_S111)


def solarize(images_SCHW: Tensor, threshold_S: Tensor) -> Tensor:
    """Invert the values at or above the threshold."""
    return torch.where(images_SCHW >= _per_image(threshold_S), 1 - images_SCHW, images_SCHW)


def sharpness(images_SCHW: Tensor, factor_S: Tensor) -> Tensor:
    """Move values away from the smoothed image, or towards it if the factor is below 1.

    The weights of the smoothing are 5 in the middle and 1 for each of the eight pixels around it,
    divided by 13. The outermost pixels do not change. torchvision's operator makes a kernel from
    numbers on the host, and a GPU's work would wait for its copy.
    """
    smoothed_SCHW = images_SCHW.clone()
    if min(images_SCHW.shape[2:]) > 2:
        inner_SCHW = smoothed_SCHW[:, :, 1:-1, 1:-1]
        mean_SCHW = avg_pool2d(images_SCHW, kernel_size=3, stride=1)
        inner_SCHW.mul_(4 / 13).add_(mean_SCHW, alpha=9 / 13)
    return _blend(images_SCHW, smoothed_SCHW, factor_S)


def autocontrast(images_SCHW: Tensor, _: Tensor) -> Tensor:
    """Stretch the values of each channel over 0..1."""
    stretched_SCHW: Tensor = functional.autocontrast(images_SCHW)
    return stretched_SCHW


def equalize(images_SCHW: Tensor, _: Tensor) -> Tensor:
    """Spread the 256 levels of each channel so that all levels are about equally frequent."""
    equalized_SCHW: Tensor = functional.equalize(images_SCHW)
    return equalized_SCHW


def grey_plane(images_SCHW: Tensor) -> Tensor:
    """The grey value (luma) of each pixel, (S, 1, H, W)."""
    luma_S1HW: Tensor = functional.rgb_to_grayscale(images_SCHW)
    return luma_S1HW


def _blend(images_SCHW: Tensor, other: Tensor, factor_S: Tensor) -> Tensor:
    factor_S111 = _per_image(factor_S)
    return images_SCHW.mul_(factor_S111).add_(other * (1 - factor_S111)).clamp_(0, 1)


def _per_image(values_S: Tensor) -> Tensor:
    return values_S[:, None, None, None]
