"""Probabilities: what the network says of every row, in order,
averaged over the ways of looking at an image.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from tests.trainer.conftest import CPU, squares
from trainer.config import TrainConfig
from trainer.images.batches import Batches
from trainer.images.images import Decoded
from trainer.model.heads import Heads
from trainer.model.network import Head, Network
from trainer.training.inputs import ImageInputs, TrainingRows
from trainer.training.predict import Prediction, averaged, predict

IMAGES_NHWC, LABELS_N = squares(11, side=16)
MORE_NHWC = squares(11, side=16, seed=1)[0]
ROWS = np.arange(11)
HALF = ((0.5,) * 3, (0.5,) * 3)
JOINT = Heads.joint(3)
# red, green, blue as two columns: warm or not, green or not
TWO = Heads(("warm", "green"), (2, 2), (np.array([0, 1, 1]), np.array([0, 1, 0])))


def network(heads: Heads = JOINT, *, view_of: tuple[int, ...] = (0,)) -> Network:
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten()
    )
    return Network(
        backbone, [Head(196, size, norm=True, dropout=0.5) for size in heads.sizes], view_of=view_of
    ).train()


def inputs(*views: np.ndarray, tta: str = "none") -> ImageInputs:
    config = TrainConfig(resize=16, tta=tta)
    batches = [Batches(Decoded(view), device=CPU, mean_std=HALF) for view in views]
    return ImageInputs(config, batches, TrainingRows(config, ROWS, LABELS_N, 3))


def normalised(images_NHWC: np.ndarray) -> Tensor:
    return torch.from_numpy(images_NHWC).permute(0, 3, 1, 2) / 127.5 - 1


def says(model: Network, *views: Tensor) -> np.ndarray:
    """The softmax of one head, in plain torch."""
    with torch.no_grad():
        return model.eval()(views)[0].softmax(dim=1).numpy()


def predicted(
    model: Network,
    source: ImageInputs,
    rows: np.ndarray = ROWS,
    *,
    heads: Heads = JOINT,
    batch_size: int = 4,
) -> Prediction:
    tta = source._config.tta
    return predict(model, source, rows, heads=heads, batch_size=batch_size, tta=tta)


def probs(
    model: Network, source: ImageInputs, rows: np.ndarray = ROWS, batch_size: int = 4
) -> np.ndarray:
    return predicted(model, source, rows, batch_size=batch_size).probs_NK


def test_it_equals_the_softmax_of_the_network_in_eval_mode():
    model = network()
    rows = np.array([7, 0, 3, 3])
    np.testing.assert_allclose(
        probs(model, inputs(IMAGES_NHWC), rows),
        says(model, normalised(IMAGES_NHWC[rows])),
        atol=1e-6,
    )


def test_rows_are_float32_probabilities():
    probs_NK = probs(network(), inputs(IMAGES_NHWC, tta="flip_crops"))
    assert (probs_NK.shape, probs_NK.dtype) == ((11, 3), np.float32)
    assert (probs_NK >= 0).all()
    np.testing.assert_allclose(probs_NK.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 50])
@pytest.mark.parametrize("tta", ["none", "flip_crops"])
def test_the_batch_size_does_not_matter(tta, batch_size):
    model = network()
    source = inputs(IMAGES_NHWC, tta=tta)
    whole = probs(model, source, batch_size=11)
    np.testing.assert_allclose(probs(model, source, batch_size=batch_size), whole, atol=1e-6)


def test_it_leaves_the_network_in_eval_mode_and_its_state_alone():
    model = network()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    predicted(model, inputs(IMAGES_NHWC))
    assert not model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("tta", ["none", "flip_crops"])
def test_the_same_bits_twice(tta):
    model = network()
    source = inputs(IMAGES_NHWC, tta=tta)
    np.testing.assert_array_equal(probs(model, source), probs(model, source))


def test_the_network_can_be_trained_further():
    model = network()
    probs(model, inputs(IMAGES_NHWC))
    model.train()([normalised(IMAGES_NHWC)])[0].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


# ways of looking at an image


def mirrored(images_BCHW: Tensor) -> Tensor:
    return images_BCHW.flip(3)


def cropped(images_BCHW: Tensor, top: int, left: int) -> Tensor:
    """14 of 16 pixels of each side, resized."""
    part_BCHW = images_BCHW[:, :, top : top + 14, left : left + 14]
    return F.interpolate(part_BCHW, (16, 16), mode="bilinear", align_corners=False)


CORNERS = ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1))


def looks(tta: str, images_BCHW: Tensor) -> list[Tensor]:
    plain = [images_BCHW]
    crops = [cropped(images_BCHW, *corner) for corner in CORNERS]
    return {
        "none": plain,
        "flip": [*plain, mirrored(images_BCHW)],
        "crops": [*plain, *crops],
        "flip_crops": [*plain, *crops, mirrored(images_BCHW), *map(mirrored, crops)],
    }[tta]


@pytest.mark.parametrize(
    ("tta", "count"), [("none", 1), ("flip", 2), ("crops", 6), ("flip_crops", 12)]
)
def test_probabilities_are_the_mean_over_the_ways_of_looking(tta, count):
    model = network()
    images_BCHW = normalised(IMAGES_NHWC)
    expected = [says(model, look) for look in looks(tta, images_BCHW)]
    assert len(expected) == count
    np.testing.assert_allclose(
        probs(model, inputs(IMAGES_NHWC, tta=tta)), np.mean(expected, axis=0), atol=1e-6
    )


@pytest.mark.parametrize("tta", ["none", "flip", "crops", "flip_crops"])
def test_the_logits_are_those_of_the_mean_probabilities(tta):
    model = network()
    said = predicted(model, inputs(IMAGES_NHWC, tta=tta))
    assert [logits.dtype for logits in said.logits] == [torch.float32]
    np.testing.assert_allclose(said.logits[0].softmax(dim=1).numpy(), said.probs_NK, atol=1e-6)


def test_a_single_look_keeps_its_logits():
    model = network()
    said = predicted(model, inputs(IMAGES_NHWC))
    with torch.no_grad():
        expected = model.eval()([normalised(IMAGES_NHWC)])[0]
    torch.testing.assert_close(said.logits[0], expected, rtol=1e-5, atol=1e-5)


def test_certain_looks_have_finite_logits():
    certain = torch.tensor([[200.0, -200.0]])
    (logits_BK,) = averaged([(certain,), (certain,)])
    torch.testing.assert_close(logits_BK, torch.tensor([[0.0, -400.0]]))


def test_mirrored_images_have_the_same_probabilities_where_both_are_looked_at():
    model = network()
    source = inputs(IMAGES_NHWC, tta="flip")
    mirror = inputs(IMAGES_NHWC[:, :, ::-1].copy(), tta="flip")
    np.testing.assert_allclose(probs(model, source), probs(model, mirror), atol=1e-6)


# heads and views


def test_several_heads_are_multiplied_out_before_the_mean():
    model = network(TWO, view_of=(0, 0))
    said = predicted(model, inputs(IMAGES_NHWC, tta="flip"), heads=TWO)
    expected = []
    for look in looks("flip", normalised(IMAGES_NHWC)):
        with torch.no_grad():
            warm, green = (logits.softmax(dim=1).numpy() for logits in model.eval()([look]))
        product_NK = np.stack(
            [warm[:, 0] * green[:, 0], warm[:, 1] * green[:, 1], warm[:, 1] * green[:, 0]], axis=1
        )
        expected.append(product_NK / product_NK.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(said.probs_NK, np.mean(expected, axis=0), atol=1e-6)
    assert [tuple(logits.shape) for logits in said.logits] == [(11, 2), (11, 2)]


def test_each_head_is_shown_its_view_in_every_way_of_looking():
    model = network(TWO, view_of=(1, 0))

    def said(*views: np.ndarray) -> Prediction:
        return predicted(model, inputs(*views, tta="flip"), heads=TWO)

    plain = said(IMAGES_NHWC, MORE_NHWC)
    other = said(np.zeros_like(IMAGES_NHWC), MORE_NHWC)
    assert torch.equal(plain.logits[0], other.logits[0])
    assert not torch.equal(plain.logits[1], other.logits[1])
