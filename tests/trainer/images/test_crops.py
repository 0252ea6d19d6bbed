"""Faces and foregrounds in drawn pictures, found by the real libraries;
their absence in plain words.

Model files are real ONNX, written here field by field: stand-ins with the inputs and outputs of the
models users bring, so that the code that loads and runs them is the one under test.
YuNet's and U2-Net's own weights are not tried.
"""

import concurrent.futures
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from trainer.errors import ConfigError
from trainer.images import crops
from trainer.images.crops import face_box, foreground_mask, require
from trainer.images.preprocessing import Reading

SKY = (120, 150, 180)


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test builds its own detectors and sessions."""
    monkeypatch.setattr(crops, "_DETECTORS", crops._Detectors())
    crops._loaded.cache_clear()


@pytest.fixture
def cv2() -> Any:
    """OpenCV as the extra `crops` installs it, or newer."""
    return pytest.importorskip("cv2", reason="OpenCV is not installed (extra: crops)")


@pytest.fixture
def cascade(cv2: Any) -> None:
    """OpenCV 4: the cascades ship with it."""
    if not hasattr(cv2, "CascadeClassifier"):
        pytest.skip(
            f"OpenCV {cv2.__version__} has no cascades; the extra 'crops' asks for OpenCV 4"
        )


@pytest.fixture
def rembg() -> Any:
    """rembg and its engine. Its very first import compiles for about a minute."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: rembg)")
    return pytest.importorskip("rembg", reason="rembg is not installed (extra: rembg)")


def face(side: int = 200) -> Image.Image:
    """A drawn face: the hair from 4 % to 88 % of the height, the chin at 92 %,
    ears at 20 % and 80 % of the width.
    """
    image = Image.new("RGB", (side, side), SKY)
    draw = ImageDraw.Draw(image)

    def ellipse(
        x: float, y: float, *, radii: tuple[float, float], colour: tuple[int, int, int]
    ) -> None:
        across, down = radii
        box = [(x - across) * side, (y - down) * side, (x + across) * side, (y + down) * side]
        draw.ellipse(box, fill=colour)

    ellipse(0.5, 0.46, radii=(0.36, 0.42), colour=(40, 28, 22))  # hair
    ellipse(0.5, 0.54, radii=(0.30, 0.38), colour=(225, 180, 150))
    for x in (0.38, 0.62):
        ellipse(x, 0.445, radii=(0.085, 0.045), colour=(150, 105, 85))
        ellipse(x, 0.400, radii=(0.080, 0.016), colour=(40, 28, 22))  # brow
        ellipse(x, 0.455, radii=(0.050, 0.022), colour=(40, 28, 22))  # eye
    ellipse(0.5, 0.62, radii=(0.05, 0.02), colour=(150, 105, 85))
    ellipse(0.5, 0.76, radii=(0.11, 0.025), colour=(120, 50, 50))
    return image.filter(ImageFilter.GaussianBlur(side / 80))


def picture(*faces: tuple[int, int, int], size_WH: tuple[int, int] = (480, 360)) -> np.ndarray:
    """Sky with faces of (left, top, side)."""
    image = Image.new("RGB", size_WH, SKY)
    for left, top, side in faces:
        image.paste(face(side), (left, top))
    return np.asarray(image)


def disc(size_WH: tuple[int, int] = (120, 90), *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A red disc in the middle of noisy green, and where it is."""
    width, height = size_WH
    y_H1, x_1W = np.ogrid[:height, :width]
    inside_HW = (x_1W - width / 2) ** 2 + (y_H1 - height / 2) ** 2 < (0.3 * height) ** 2
    noise_HWC = np.random.default_rng(seed).normal(0, 20, (height, width, 3))
    colours_HWC = np.where(inside_HW[:, :, None], [200, 60, 60], [60, 160, 60])
    return np.clip(colours_HWC + noise_HWC, 0, 255).astype(np.uint8), inside_HW


def hardly_different(contrast: int, *, seed: int) -> np.ndarray:
    """An ellipse a little redder than its motley surroundings:
    what GrabCut makes of it can hang on its first guess.
    """
    rng = np.random.default_rng(seed)
    colours = Image.fromarray(rng.integers(60, 200, (10, 12, 3)).astype(np.uint8)).resize((80, 60))
    y_H1, x_1W = np.ogrid[:60, :80]
    inside_HW = ((x_1W - 40) / 28) ** 2 + ((y_H1 - 30) / 21) ** 2 < 1
    shift_HWC = inside_HW[:, :, None] * np.array([contrast, -contrast, contrast / 2])
    return np.clip(np.asarray(colours) + shift_HWC + rng.normal(0, 8, (60, 80, 3)), 0, 255).astype(
        np.uint8
    )


def on_many_threads(work: Callable[[np.ndarray], Any], images: list[np.ndarray]) -> list[Any]:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, images))


# ONNX files: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto gives the numbers of the fields


def varint(value: int) -> bytes:
    head = value & 0x7F
    rest = value >> 7
    return bytes([head]) if rest == 0 else bytes([head | 0x80]) + varint(rest)


def field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(kind: str, inputs: list[str], output: str, **ints: int | list[int]) -> bytes:
    """One operation; its attributes are whole numbers or lists of them."""
    names = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind)
    for name, value in ints.items():
        is_list = isinstance(value, list)
        numbers = (
            b"".join(field(8, number) for number in value)
            if isinstance(value, list)
            else field(3, value)
        )
        names += field(5, field(1, name) + numbers + field(20, 7 if is_list else 2))
    return field(1, names)


def tensor(name: str, values: np.ndarray) -> bytes:
    kind = {"float32": 1, "int64": 7}[values.dtype.name]
    dims = b"".join(field(1, side) for side in values.shape)
    return field(5, dims + field(2, kind) + field(8, name) + field(9, values.tobytes()))


def port(number: int, name: str, shape: list[int | str]) -> bytes:
    """An input (11) or output (12) of floats; a side given as text is free."""
    dims = b"".join(field(1, field(1 if isinstance(side, int) else 2, side)) for side in shape)
    return field(number, field(1, name) + field(2, field(1, field(1, 1) + field(2, dims))))


def write_model(path: Path, graph: bytes) -> str:
    """An ONNX file of operator set 11; its path as a setting would give it."""
    path.write_bytes(field(1, 7) + field(8, field(2, 11)) + field(7, field(2, "stand-in") + graph))
    return str(path)


def yunet_stand_in(path: Path) -> str:
    """YuNet's input and twelve outputs, a face as large as the cell wherever a cell is red."""
    graph = tensor("column", np.array([1, -1, 1], dtype=np.int64))
    for stride in (8, 16, 32):
        red_1CHW = np.zeros((1, 3, stride, stride), dtype=np.float32)
        red_1CHW[:, 2] = 1 / 255 / stride**2  # OpenCV's third channel is red
        graph += tensor(f"red_{stride}", red_1CHW)
        graph += node(
            "Conv",
            ["input", f"red_{stride}"],
            f"cells_{stride}",
            kernel_shape=[stride] * 2,
            strides=[stride] * 2,
        )
        graph += node("Reshape", [f"cells_{stride}", "column"], f"cls_{stride}")
        graph += node("Reshape", [f"cells_{stride}", "column"], f"obj_{stride}")
        graph += node("Sub", [f"cls_{stride}", f"obj_{stride}"], f"none_{stride}")
        graph += node("Concat", [f"none_{stride}"] * 4, f"bbox_{stride}", axis=2)
        graph += node("Concat", [f"none_{stride}"] * 10, f"kps_{stride}", axis=2)
    graph += port(11, "input", [1, 3, 640, 640])
    for kind, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            graph += port(12, f"{kind}_{stride}", [1, (640 // stride) ** 2, columns])
    return write_model(path, graph)


def u2net_stand_in(path: Path, *, side: int = 320) -> str:
    """U2-Net's input and first output: the brighter, the more foreground."""
    graph = node("ReduceMean", ["input"], "mask", axes=[1], keepdims=1)
    return write_model(
        path, graph + port(11, "input", [1, 3, side, side]) + port(12, "mask", [1, 1, side, side])
    )


# faces


def test_a_face_is_found_with_hair_and_chin(cascade):
    left, top, right, bottom = face_box(picture((200, 100, 200)), weights=None)
    assert 200 - 30 <= left <= 200 + 0.2 * 200
    assert 100 - 50 <= top <= 100 + 0.04 * 200
    assert 200 + 0.8 * 200 <= right <= 400 + 30
    assert 100 + 0.92 * 200 <= bottom <= 300 + 50


def test_of_two_faces_the_larger_one_is_taken(cascade):
    alone = face_box(picture((270, 130, 200)), weights=None)
    assert face_box(picture((20, 20, 120), (270, 130, 200)), weights=None) == alone
    assert alone[0] > 240


def test_a_box_is_clipped_to_the_image(cascade):
    assert face_box(np.asarray(face(200).crop((20, 20, 180, 185))), weights=None) == (
        0,
        0,
        160,
        165,
    )


def test_a_box_is_in_pixels_of_a_large_image(cascade):
    small = face_box(picture((200, 100, 200)), weights=None)
    large = face_box(picture((1000, 500, 1000), size_WH=(2400, 1800)), weights=None)
    np.testing.assert_allclose(np.array(large) / 5, small, atol=8)


@pytest.mark.parametrize(
    "rgb_HWC",
    [
        picture(),
        disc()[0],
        np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8),
        np.zeros((1, 1, 3), dtype=np.uint8),
        np.zeros((4, 900, 3), dtype=np.uint8),
    ],
    ids=["sky", "disc", "noise", "one pixel", "a line"],
)
def test_there_is_no_box_without_a_face(cascade, rgb_HWC):
    assert face_box(rgb_HWC, weights=None) is None


def test_a_face_is_at_the_same_place_on_any_thread(cascade):
    images = [picture((10 * step, 5 * step, 150 + 10 * step)) for step in range(6)] * 4
    alone = [face_box(image, weights=None) for image in images]
    assert None not in alone
    assert on_many_threads(lambda image: face_box(image, weights=None), images) == alone


@pytest.mark.parametrize("zoom", [1, 4])
def test_a_yunet_model_finds_faces_in_colour(cv2, tmp_path, zoom):
    rgb_HWC = np.zeros((256 * zoom, 320 * zoom, 3), dtype=np.uint8)
    rgb_HWC[:, : 32 * zoom] = (0, 0, 255)  # no face: blue
    rgb_HWC[64 * zoom : 96 * zoom, 128 * zoom : 160 * zoom] = (255, 0, 0)
    # found in the copy of 320 x 256: 32 pixels around the corner of the red cell, from (112, 48)
    # to (144, 80)
    box = np.array([112 - 0.3 * 32, 48 - 0.5 * 32, 144 + 0.3 * 32, 80 + 0.3 * 32])
    assert face_box(rgb_HWC, weights=yunet_stand_in(tmp_path / "yunet.onnx")) == tuple(
        (zoom * box).round()
    )


def test_a_yunet_model_may_find_nothing(cv2, tmp_path):
    assert (
        face_box(picture(size_WH=(64, 48)) // 2, weights=yunet_stand_in(tmp_path / "yunet.onnx"))
        is None
    )


# foregrounds by GrabCut


def test_what_differs_from_the_frame_is_foreground(cv2):
    rgb_HWC, inside_HW = disc()
    mask_HW = foreground_mask(rgb_HWC, weights=None)
    assert mask_HW.dtype == np.bool_
    assert (mask_HW & inside_HW).sum() / (mask_HW | inside_HW).sum() > 0.95


def test_a_large_image_gets_a_mask_of_its_size(cv2):
    rgb_HWC, inside_HW = disc((1500, 1000))
    mask_HW = foreground_mask(rgb_HWC, weights=None)
    assert mask_HW.shape == (1000, 1500)
    assert (mask_HW & inside_HW).sum() / (mask_HW | inside_HW).sum() > 0.95


@pytest.mark.parametrize("shape_HW", [(1, 1), (2, 9), (3, 3), (2, 900), (64, 48)])
def test_a_picture_without_a_foreground_is_all_foreground(cv2, shape_HW):
    assert foreground_mask(np.full((*shape_HW, 3), 90, dtype=np.uint8), weights=None).all()


@pytest.mark.parametrize("side", range(3, 8))
def test_a_tiny_picture_has_some_foreground(cv2, side):
    rgb_HWC = np.random.default_rng(side).integers(0, 256, (side, side, 3)).astype(np.uint8)
    assert foreground_mask(rgb_HWC, weights=None).any()


def test_a_picture_has_the_same_mask_on_any_thread_and_after_any_other(cv2):
    images = [
        hardly_different(contrast, seed=seed) for contrast in (36, 40, 44) for seed in range(2)
    ] * 2
    alone = [foreground_mask(image, weights=None) for image in images]
    cv2.setRNGSeed(7)
    again = [foreground_mask(image, weights=None) for image in images]
    np.testing.assert_array_equal(again, alone)
    np.testing.assert_array_equal(
        on_many_threads(lambda image: foreground_mask(image, weights=None), images), alone
    )


# foregrounds by rembg


def test_a_rembg_model_masks_at_one_half_and_asks_no_network(rembg, tmp_path, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    grey_HW = np.tile(np.linspace(0, 255, 640), (480, 1)).astype(np.uint8)
    mask_HW = foreground_mask(
        np.stack([grey_HW] * 3, axis=2), weights=u2net_stand_in(tmp_path / "u2net.onnx")
    )
    assert mask_HW.shape == (480, 640)
    assert not mask_HW[:, :315].any()
    assert mask_HW[:, 325:].all()


def test_a_rembg_model_that_says_nothing_leaves_the_picture_whole(rembg, tmp_path):
    rgb_HWC = np.full((30, 40, 3), 90, dtype=np.uint8)
    assert foreground_mask(rgb_HWC, weights=u2net_stand_in(tmp_path / "u2net.onnx")).all()


def test_threads_share_one_rembg_model(rembg, tmp_path):
    weights = u2net_stand_in(tmp_path / "u2net.onnx")
    images = [disc(seed=seed)[0] for seed in range(8)]
    together = on_many_threads(lambda image: foreground_mask(image, weights=weights), images)
    assert crops._loaded.cache_info().misses == 1
    np.testing.assert_array_equal(
        together, [foreground_mask(image, weights=weights) for image in images]
    )


@pytest.mark.parametrize("kind", ["garbage", "empty", "another size", "another model"])
def test_a_file_that_is_no_rembg_model_is_named(rembg, tmp_path, kind):
    path = tmp_path / "model.onnx"
    if kind == "another size":
        u2net_stand_in(path, side=1024)
    elif kind == "another model":
        yunet_stand_in(path)
    else:
        path.write_bytes(b"no model" * 20 if kind == "garbage" else b"")
    with pytest.raises(
        ConfigError,
        match=r"^data.background_weights: .*model\.onnx is no model of the U2-Net family",
    ):
        require("none", "remove", reading=Reading(background_weights=str(path)))


# what is missing


def test_what_is_installed_and_readable_is_enough(cascade, tmp_path):
    require("face", "remove", reading=Reading())
    require("face", "keep", reading=Reading(face_weights=yunet_stand_in(tmp_path / "yunet.onnx")))


def test_pictures_left_as_they_are_need_nothing(monkeypatch):
    for library in ("cv2", "rembg", "onnxruntime"):
        monkeypatch.setitem(sys.modules, library, None)
    reading = Reading(face_weights="/nowhere/a.onnx", background_weights="/nowhere/b.onnx")
    require("none", "keep", reading=reading)
    require("box", "keep", reading=reading)


@pytest.mark.parametrize(("crop", "background"), [("face", "keep"), ("none", "remove")])
def test_without_opencv_the_error_says_what_to_install(monkeypatch, crop, background):
    monkeypatch.setitem(sys.modules, "cv2", None)
    setting = "crop: face" if crop == "face" else "background: remove"
    with pytest.raises(
        ConfigError, match=rf"^{setting} needs OpenCV, .* pip install 'foldsweep\[crops\]'$"
    ):
        require(crop, background, reading=Reading())


@pytest.mark.parametrize("library", ["onnxruntime", "rembg.sessions.u2net_custom"])
def test_without_rembg_the_error_says_what_to_install(monkeypatch, tmp_path, library):
    if library != "onnxruntime":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: rembg)")
    monkeypatch.setitem(sys.modules, library, None)
    reading = Reading(background_weights=u2net_stand_in(tmp_path / "u2net.onnx"))
    with pytest.raises(
        ConfigError,
        match=r"^data.background_weights needs rembg, .* pip install 'foldsweep\[rembg\]'$",
    ):
        require("none", "remove", reading=reading)


def test_an_opencv_without_cascades_asks_for_another_or_for_weights(cv2, monkeypatch):
    monkeypatch.delattr(cv2, "CascadeClassifier", raising=False)
    with pytest.raises(
        ConfigError, match=r"brings no face detector\. Install OpenCV 4: .* or name a YuNet model"
    ):
        require("face", "keep", reading=Reading())


def test_all_absent_weights_are_named_at_once(cv2):
    reading = Reading(face_weights="/nowhere/a.onnx", background_weights="/nowhere/b.onnx")
    with pytest.raises(ConfigError) as caught:
        require("face", "remove", reading=reading)
    assert str(caught.value) == (
        "data.face_weights: /nowhere/a.onnx is not a file. Give the path of a model (.onnx); "
        "none is downloaded\ndata.background_weights: /nowhere/b.onnx is not a file. "
        "Give the path of a model (.onnx); none is downloaded"
    )


@pytest.mark.parametrize("kind", ["garbage", "empty", "another model"])
def test_a_file_that_is_no_yunet_model_is_named(cv2, tmp_path, kind):
    path = tmp_path / "model.onnx"
    if kind == "another model":
        u2net_stand_in(path)
    else:
        path.write_bytes(b"no model" * 20 if kind == "garbage" else b"")
    with pytest.raises(
        ConfigError, match=r"^data.face_weights: .*model\.onnx is not a YuNet model that OpenCV"
    ):
        require("face", "keep", reading=Reading(face_weights=str(path)))
