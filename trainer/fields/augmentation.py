"""The fields of augmentation and of mixing.

Whether an image is changed, and by how much, is drawn anew for each image of each batch. The images
of a batch are changed together, on the device.
"""

from typing import Annotated

from pydantic import BaseModel

from trainer.fields.declare import about


class AugmentationFields(BaseModel):
    """Augmentation"""

    flip: Annotated[float, about("Probability of a horizontal flip.", ge=0, le=1)] = 0.0
    flip_vertical: Annotated[float, about("Probability of a vertical flip.", ge=0, le=1)] = 0.0
    affine: Annotated[
        float, about("Probability of shift, scale and rotation as one affine map.", ge=0, le=1)
    ] = 0.0
    shift: Annotated[float, about("affine: largest shift, share of each side.", ge=0, le=1)] = (
        0.0625
    )
    scale: Annotated[
        float, about("affine: largest change of scale, 0.1 for 0.9 to 1.1.", ge=0, lt=1)
    ] = 0.1
    rotate: Annotated[
        float, about("affine: largest rotation in degrees, both ways.", ge=0, le=180)
    ] = 15.0
    resized_crop: Annotated[
        float,
        about(
            "Probability of a random part, resized to the full size.",
            source="Szegedy et al. 2015",
            ge=0,
            le=1,
        ),
    ] = 0.0
    crop_area: Annotated[
        float,
        about(
            "resized_crop: smallest part of the area; the aspect varies from 3/4 to 4/3.",
            gt=0,
            le=1,
        ),
    ] = 0.3
    jitter: Annotated[
        float,
        about("Probability of a change of brightness, contrast, saturation and hue.", ge=0, le=1),
    ] = 0.0
    brightness: Annotated[
        float, about("jitter: largest change of the factor, 0.2 for 0.8 to 1.2.", ge=0, le=1)
    ] = 0.2
    contrast: Annotated[float, about("jitter: as brightness.", ge=0, le=1)] = 0.2
    saturation: Annotated[float, about("jitter: as brightness.", ge=0, le=1)] = 0.2
    hue: Annotated[
        float, about("jitter: largest shift of the hue, share of the colour circle.", ge=0, le=0.5)
    ] = 0.02
    grey: Annotated[float, about("Probability of losing all colour.", ge=0, le=1)] = 0.0
    blur: Annotated[float, about("Probability of a Gaussian blur.", ge=0, le=1)] = 0.0
    blur_sigma: Annotated[
        float,
        about(
            "blur: largest sigma, share of the shorter side (0.01 is 2.24 pixels at 224); the "
            "smallest is a twentieth of it.",
            gt=0,
            le=0.1,
        ),
    ] = 0.01
    erasing: Annotated[
        float, about("Probability of a rectangle of noise.", source="Zhong et al. 2020", ge=0, le=1)
    ] = 0.0
    erasing_area: Annotated[
        float, about("erasing: largest share of the area; the smallest is 0.02.", ge=0.02, le=1)
    ] = 0.33
    trivial: Annotated[
        float,
        about(
            "Probability of one operation of TrivialAugment's list at a random strength.",
            source="Mueller and Hutter 2021; torchvision's TrivialAugmentWide",
            ge=0,
            le=1,
        ),
    ] = 0.0


class MixingFields(BaseModel):
    """Mixing two images; at most one of the four for an image, so their probabilities sum to at most 1"""  # noqa: E501 - the title in docs/parameters.md

    cutmix: Annotated[
        float,
        about(
            "Probability of a rectangle from another image; labels mixed by area.",
            source="Yun et al. 2019",
            ge=0,
            le=1,
        ),
    ] = 0.0
    one_class_cutmix: Annotated[
        float,
        about(
            "Probability of a rectangle from another image of the same class; the label stays.",
            source="product images project",
            ge=0,
            le=1,
        ),
    ] = 0.0
    half_cutmix: Annotated[
        float,
        about(
            "Probability that the left or right half comes from another image; labels half and "
            "half.",
            source="mask project",
            ge=0,
            le=1,
        ),
    ] = 0.0
    mixup: Annotated[
        float,
        about(
            "Probability of a weighted sum with another image.",
            source="Zhang et al. 2018",
            ge=0,
            le=1,
        ),
    ] = 0.0
    cutmix_alpha: Annotated[
        float,
        about(
            "cutmix, one_class_cutmix: the area kept is drawn from Beta(alpha, alpha).",
            gt=0,
            le=100,
        ),
    ] = 1.0
    mixup_alpha: Annotated[
        float, about("mixup: the weight is drawn from Beta(alpha, alpha).", gt=0, le=100)
    ] = 0.2
