"""The face and the foreground of a picture, found by optional libraries: OpenCV or rembg.

Without weights, OpenCV 4's package finds both: the face with the Haar cascade
`haarcascade_frontalface_alt2.xml`, and the foreground with GrabCut. OpenCV 5 ships no cascades, so
the extra `crops` requires OpenCV 4. This module never downloads anything. Every call uses one
thread, because decoding already keeps all cores busy, and gives the same result on any thread.
"""

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainer.errors import ConfigError
from trainer.fields.images import Background, Crop
from trainer.images.preprocessing import Box, Reading

# longest side in pixels of the copy in which faces are searched; YuNet finds faces of 10 to 300
# pixels
SEARCHED_SIDE = 320
SMALLEST_FACE = 24  # side in pixels of the searched copy; the cascade ignores smaller faces
# Overlapping detections that the cascade needs for a face. With 5 the cascade found a face in 98 of
# 100 LFW pictures of faces and in none of 100 other pictures.
NEIGHBOURS = 5
# Longest side in pixels of the copy that GrabCut works on: 0.6 s per photo. With 512 GrabCut took
# 3.6 s and found 32 % foreground instead of 31 %.
GRABCUT_SIDE = 256
GRABCUT_ROUNDS = 5
FRAME = 0.05  # share of each side that GrabCut takes as background at the start
# margins around a detected face, as shares of its width (left, right) and height (top, bottom)
MARGIN_LEFT = 0.3
MARGIN_TOP = 0.5
MARGIN_RIGHT = 0.3
MARGIN_BOTTOM = 0.3
Rgb = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Found = npt.NDArray[np.float64]


def face_box(rgb_HWC: Rgb, *, weights: str | None) -> Box | None:
    """Return the largest face with hair and chin, clipped to the image; None without a face.

    A detector's box ends at the forehead and at the lips. Therefore the box is enlarged by 30 % of
    its width on the left and on the right, by 50 % of its height at the top and by 30 % at the
    bottom. If two faces have the same size, the left face is taken. The cascade finds upright
    frontal faces of at least 1/13 of the longer side.

    Args:
        weights: a YuNet model (.onnx) for `cv2.FaceDetectorYN`; None means the Haar cascade of
            OpenCV 4. YuNet was tested only with a fake of its outputs.

    Raises:
        ConfigError: see `require`.

    Source: Viola and Jones 2001, with Lienhart's cascades as OpenCV ships them; Wu et al. 2023,
    "YuNet".
    """
    detect = _detector(weights)
    small_HWC = _shrunk(rgb_HWC, longest=SEARCHED_SIDE)
    found_F4 = detect(small_HWC)
    if len(found_F4) == 0:
        return None
    height, width = rgb_HWC.shape[:2]
    scale = max(height, width) / max(small_HWC.shape[:2])
    x, y, w, h = min(found_F4.tolist(), key=lambda box: (-box[2] * box[3], box[0], box[1]))
    left = max(0, round((x - MARGIN_LEFT * w) * scale))
    top = max(0, round((y - MARGIN_TOP * h) * scale))
    right = min(width, round((x + (1 + MARGIN_RIGHT) * w) * scale))
    bottom = min(height, round((y + (1 + MARGIN_BOTTOM) * h) * scale))
    return (left, top, right, bottom) if left < right and top < bottom else None


def foreground_mask(rgb_HWC: Rgb, *, weights: str | None) -> Mask:
    """Return a mask (H, W) that is True on the foreground.

    The mask is True everywhere if no foreground is found.

    Args:
        weights: a model of the U2-Net family (u2net, u2netp, u2net_human_seg, silueta; .onnx) for
            rembg; a pixel is foreground from a mask value of 0.5. None means GrabCut, which assumes
            that the outer 5 % of each side are background and knows nothing about objects.

    Raises:
        ConfigError: see `require`.

    Source: Rother, Kolmogorov and Blake 2004, "GrabCut"; Qin et al. 2020, "U2-Net".
    """
    mask_HW = (
        _grabcut(rgb_HWC) if weights is None else _predicted(_session(weights), rgb_HWC) >= 128
    )
    return mask_HW if mask_HW.any() else np.ones_like(mask_HW)


def require(crop: Crop, background: Background, *, reading: Reading) -> None:
    """Check that the packages for `crop` and `background` are installed and their weights usable.

    Raises:
        ConfigError: the message names every package to install, and every file of weights that does
            not exist or is not a suitable model.
    """
    problems = []
    for needed, check in (
        (crop == "face", lambda: _detector(reading.face_weights)),
        (background == "remove", lambda: _foreground_ready(reading.background_weights)),
    ):
        try:
            if needed:
                check()
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))


def _opencv(purpose: str) -> Any:
    """Import OpenCV and set it to one thread.

    With four threads the order of the cascade's detections changes from call to call.
    """
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs OpenCV, which cannot be imported ({error}). "
            "Install it: pip install 'foldsweep[crops]'"
        ) from None
    cv2.setNumThreads(1)
    return cv2


def _shrunk(rgb_HWC: Rgb, *, longest: int) -> Rgb:
    """Shrink the image by area averaging until no side is above `longest`.

    A smaller image is returned unchanged.
    """
    height, width = rgb_HWC.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return rgb_HWC
    size_WH = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(rgb_HWC).resize(size_WH, Image.Resampling.BOX))


# Faces. Detected boxes are (F, 4): left, top, width, height in pixels of the searched copy.


class _Detectors(threading.local):
    """One set of detectors per thread, because OpenCV's detectors keep state during a detection.

    Building a detector takes 13 ms.
    """

    def __init__(self) -> None:
        self.by_weights: dict[str | None, Callable[[Rgb], Found]] = {}


_DETECTORS = _Detectors()


def _detector(weights: str | None) -> Callable[[Rgb], Found]:
    built = _DETECTORS.by_weights
    if weights not in built:
        cv2 = _opencv("crop: face")
        built[weights] = _cascade(cv2) if weights is None else _yunet(cv2, weights)
    return built[weights]


def _cascade(cv2: Any) -> Callable[[Rgb], Found]:
    file = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_alt2.xml"
    if not (hasattr(cv2, "CascadeClassifier") and file.is_file()):
        raise ConfigError(
            f"crop: face: OpenCV {cv2.__version__} brings no face detector. Install OpenCV 4: "
            "pip install 'foldsweep[crops]', or name a YuNet model (.onnx) as data.face_weights"
        )
    cascade = cv2.CascadeClassifier(str(file))

    def detect(rgb_HWC: Rgb) -> Found:
        grey_HW = cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2GRAY)
        found = cascade.detectMultiScale(
            grey_HW, minNeighbors=NEIGHBOURS, minSize=(SMALLEST_FACE, SMALLEST_FACE)
        )
        # without a face `found` is an empty tuple
        return np.asarray(found, dtype=np.float64).reshape(-1, 4)

    return detect


def _yunet(cv2: Any, weights: str) -> Callable[[Rgb], Found]:
    _must_exist(weights, key="data.face_weights")

    def detect(rgb_HWC: Rgb) -> Found:
        height, width = rgb_HWC.shape[:2]
        detector.setInputSize((width, height))
        found_F15 = detector.detect(cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2BGR))[1]
        # without a face `found_F15` is None
        return np.zeros((0, 4)) if found_F15 is None else found_F15[:, :4].astype(np.float64)

    try:
        detector = cv2.FaceDetectorYN.create(weights, "", (SEARCHED_SIDE, SEARCHED_SIDE))
        # a model of another kind can be read, and fails only at its first detection
        detect(np.zeros((64, 64, 3), dtype=np.uint8))
    except cv2.error as error:
        raise ConfigError(
            f"data.face_weights: {weights} is not a YuNet model that OpenCV {cv2.__version__} "
            f"can read ({_line(error)})"
        ) from None
    return detect


# Foregrounds.


def _grabcut(rgb_HWC: Rgb) -> Mask:
    cv2 = _opencv("background: remove")
    small_HWC = _shrunk(rgb_HWC, longest=GRABCUT_SIDE)
    height, width = small_HWC.shape[:2]
    if min(height, width) < 3:  # no pixel is inside the frame
        return np.ones(rgb_HWC.shape[:2], dtype=np.bool_)
    x = max(1, round(FRAME * width))
    y = max(1, round(FRAME * height))
    labels_HW = np.zeros((height, width), dtype=np.uint8)
    # OpenCV has one random generator per thread, so no lock is needed
    cv2.setRNGSeed(0)
    rectangle = (x, y, width - 2 * x, height - 2 * y)
    cv2.grabCut(small_HWC, labels_HW, rectangle, None, None, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_RECT)
    mask_HW = np.isin(labels_HW, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    large_HW = cv2.resize(mask_HW, rgb_HWC.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(large_HW >= 128)


_LOADING = threading.Lock()  # all threads share one model, which may take 176 MB


def _session(weights: str) -> Any:
    with _LOADING:
        return _loaded(weights)


@functools.lru_cache(maxsize=1)
def _loaded(weights: str) -> Any:
    """Return a rembg session for a local model file.

    The session runs on the CPU and on the calling thread. Threads may share the session.
    """
    _must_exist(weights, key="data.background_weights")
    onnxruntime, session_class = _rembg()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        session = session_class(
            "u2net_custom", options, model_path=weights, providers=["CPUExecutionProvider"]
        )
        _predicted(session, np.zeros((64, 64, 3), dtype=np.uint8))
    except _misfits(onnxruntime) as error:
        raise ConfigError(
            f"data.background_weights: {weights} is no model of the U2-Net family that rembg "
            f"can use ({_line(error)})"
        ) from None
    return session


def _rembg() -> tuple[Any, Any]:
    """Return onnxruntime, and a rembg session class that opens a local model file.

    Rembg's function for a local file, `new_session("u2net_custom", model_path=...)`, refuses files
    outside rembg's folder in the user's home (seen in 2.0.80 and 2.0.86). A rembg session calls
    `download_models` for the path of its model. `LocalSession` overrides `download_models` to
    return the path of the local file, so rembg cannot download anything.
    """
    try:
        import onnxruntime  # before rembg: importing rembg without onnxruntime ends the process
        from rembg.sessions.u2net_custom import U2netCustomSession
    except ImportError as error:
        raise ConfigError(
            f"data.background_weights needs rembg, which cannot be imported ({error}). "
            "Install it: pip install 'foldsweep[rembg]'"
        ) from None

    class LocalSession(U2netCustomSession):  # type: ignore[misc]
        """A rembg session for a local model file."""

        @classmethod
        def download_models(cls, *args: Any, **kwargs: Any) -> str:
            return str(kwargs["model_path"])

    return onnxruntime, LocalSession


def _misfits(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """Return the exceptions that rembg raises for a file that is no model of the U2-Net family.

    Onnxruntime's exceptions have no common base class of their own.
    """
    errors = onnxruntime.capi.onnxruntime_pybind11_state
    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NotImplemented",
        "RuntimeException",
    )
    # a model with outputs of other shapes raises IndexError or ValueError
    return (IndexError, ValueError, *(getattr(errors, name) for name in names))


def _predicted(session: Any, rgb_HWC: Rgb) -> npt.NDArray[np.uint8]:
    """Return the model's mask (H, W) with values 0 to 255.

    If the model gives the same value everywhere, rembg divides 0 by 0: such a mask has no
    foreground.
    """
    with np.errstate(invalid="ignore"):
        (mask,) = session.predict(Image.fromarray(rgb_HWC))
    return np.asarray(mask)


def _foreground_ready(weights: str | None) -> Any:
    return _opencv("background: remove") if weights is None else _session(weights)


def _must_exist(weights: str, *, key: str) -> None:
    if not Path(weights).is_file():
        raise ConfigError(
            f"{key}: {weights} is not a file. Give the path of a model (.onnx); none is downloaded"
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
