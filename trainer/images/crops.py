"""Where the face and the foreground of a picture are, found by optional libraries: OpenCV, and rembg on request.

Without weights, both come out of OpenCV 4's package: the Haar cascade `haarcascade_frontalface_alt2.xml` and
GrabCut. OpenCV 5 ships no cascades, so the extra `crops` asks for OpenCV 4. Nothing here is ever downloaded.
Every call runs on one thread (decoding already keeps all cores busy) and gives the same answer on any thread.
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

SEARCHED_SIDE = (
    320  # pixels: faces are sought in a copy of at most this side; YuNet knows faces of 10 to 300
)
SMALLEST_FACE = 24  # pixels of that copy, for the cascade
NEIGHBOURS = (
    5  # overlapping finds that make a face: in 98 of 100 LFW faces and none of 100 other pictures
)
GRABCUT_SIDE = (
    256  # pixels: 0.6 s a photo; 512 took 3.6 s and found 32 % foreground instead of 31 %
)
GRABCUT_ROUNDS = 5
FRAME = 0.05  # of each side: what GrabCut begins with as background
MARGIN_LEFT, MARGIN_TOP, MARGIN_RIGHT, MARGIN_BOTTOM = (
    0.3,
    0.5,
    0.3,
    0.3,
)  # of the found face's width and height
Rgb = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Found = npt.NDArray[np.float64]


def face_box(rgb_HWC: Rgb, *, weights: str | None) -> Box | None:
    """The largest face with hair and chin, clipped to the image; None without a face.

    A detector's box ends in the forehead and at the lips, so it grows by 30 % of its width to the left and
    to the right, by 50 % of its height upwards and by 30 % downwards. Of two faces of one size the left one
    is taken. The cascade finds upright frontal faces of at least 1/13 of the longer side.

    Args:
        weights: a YuNet model (.onnx) for `cv2.FaceDetectorYN`, tried only with a stand-in of its outputs;
            None for the Haar cascade of OpenCV 4.

    Raises:
        ConfigError: as `require`.

    Source: Viola and Jones 2001, with Lienhart's cascades as OpenCV ships them; Wu et al. 2023, "YuNet".
    """
    look = _detector(weights)
    small_HWC = _shrunk(rgb_HWC, longest=SEARCHED_SIDE)
    found_F4 = look(small_HWC)
    if len(found_F4) == 0:
        return None
    height, width = rgb_HWC.shape[:2]
    scale = max(height, width) / max(small_HWC.shape[:2])
    x, y, w, h = min(found_F4.tolist(), key=lambda box: (-box[2] * box[3], box[0], box[1]))
    left, top = (
        max(0, round((x - MARGIN_LEFT * w) * scale)),
        max(0, round((y - MARGIN_TOP * h) * scale)),
    )
    right = min(width, round((x + (1 + MARGIN_RIGHT) * w) * scale))
    bottom = min(height, round((y + (1 + MARGIN_BOTTOM) * h) * scale))
    return (left, top, right, bottom) if left < right and top < bottom else None


def foreground_mask(rgb_HWC: Rgb, *, weights: str | None) -> Mask:
    """(H, W), True on the foreground; all True where none, or nothing else, is found.

    Args:
        weights: a model of the U2-Net family (u2net, u2netp, u2net_human_seg, silueta; .onnx) for rembg, whose
            mask counts from 0.5; None for GrabCut, which takes a frame of 5 % for background and knows nothing
            of what a picture shows.

    Raises:
        ConfigError: as `require`.

    Source: Rother, Kolmogorov and Blake 2004, "GrabCut"; Qin et al. 2020, "U2-Net".
    """
    mask_HW = (
        _grabcut(rgb_HWC) if weights is None else _predicted(_session(weights), rgb_HWC) >= 128
    )
    return mask_HW if mask_HW.any() else np.ones_like(mask_HW)


def require(crop: Crop, background: Background, *, reading: Reading) -> None:
    """Prove that what these two need is installed and that their weights can be read and used.

    Raises:
        ConfigError: with every package to install, and every file that is absent or not such a model.
    """
    problems = []
    for needed, prove in (
        (crop == "face", lambda: _detector(reading.face_weights)),
        (background == "remove", lambda: _foreground_ready(reading.background_weights)),
    ):
        try:
            if needed:
                prove()
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))


def _opencv(purpose: str) -> Any:
    """OpenCV on one thread: on four, the cascade's finds come in another order each time."""
    try:
        import cv2
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs OpenCV, which cannot be imported ({error}). Install it: pip install 'foldsweep[crops]'"
        ) from None
    cv2.setNumThreads(1)
    return cv2


def _shrunk(rgb_HWC: Rgb, *, longest: int) -> Rgb:
    """The image with no side above `longest`, by area averaging; smaller ones as they are."""
    height, width = rgb_HWC.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return rgb_HWC
    size_WH = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(rgb_HWC).resize(size_WH, Image.Resampling.BOX))


# faces: boxes found are (F, 4) of left, top, width, height in pixels of the searched copy


class _Detectors(threading.local):
    """OpenCV's detectors keep state while they look: each thread has its own, built once (13 ms)."""

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

    def look(rgb_HWC: Rgb) -> Found:
        grey_HW = cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2GRAY)
        found = cascade.detectMultiScale(
            grey_HW, minNeighbors=NEIGHBOURS, minSize=(SMALLEST_FACE, SMALLEST_FACE)
        )
        return np.asarray(found, dtype=np.float64).reshape(-1, 4)  # an empty tuple without a face

    return look


def _yunet(cv2: Any, weights: str) -> Callable[[Rgb], Found]:
    _must_exist(weights, key="data.face_weights")

    def look(rgb_HWC: Rgb) -> Found:
        height, width = rgb_HWC.shape[:2]
        detector.setInputSize((width, height))
        found_F15 = detector.detect(cv2.cvtColor(rgb_HWC, cv2.COLOR_RGB2BGR))[
            1
        ]  # None without a face
        return np.zeros((0, 4)) if found_F15 is None else found_F15[:, :4].astype(np.float64)

    try:
        detector = cv2.FaceDetectorYN.create(weights, "", (SEARCHED_SIDE, SEARCHED_SIDE))
        look(
            np.zeros((64, 64, 3), dtype=np.uint8)
        )  # a readable model of something else fails only here
    except cv2.error as error:
        raise ConfigError(
            f"data.face_weights: {weights} is not a YuNet model that OpenCV {cv2.__version__} can read ({_line(error)})"
        ) from None
    return look


# foregrounds


def _grabcut(rgb_HWC: Rgb) -> Mask:
    cv2 = _opencv("background: remove")
    small_HWC = _shrunk(rgb_HWC, longest=GRABCUT_SIDE)
    height, width = small_HWC.shape[:2]
    if min(height, width) < 3:  # nothing inside of the frame
        return np.ones(rgb_HWC.shape[:2], dtype=np.bool_)
    x, y = max(1, round(FRAME * width)), max(1, round(FRAME * height))
    labels_HW = np.zeros((height, width), dtype=np.uint8)
    cv2.setRNGSeed(
        0
    )  # of this thread: OpenCV has one generator per thread, so that no lock is needed
    rectangle = (x, y, width - 2 * x, height - 2 * y)
    cv2.grabCut(small_HWC, labels_HW, rectangle, None, None, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_RECT)
    mask_HW = np.isin(labels_HW, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    large_HW = cv2.resize(mask_HW, rgb_HWC.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(large_HW >= 128)


_LOADING = threading.Lock()  # a model of 176 MB must not be loaded once per thread


def _session(weights: str) -> Any:
    with _LOADING:
        return _loaded(weights)


@functools.lru_cache(maxsize=1)
def _loaded(weights: str) -> Any:
    """A rembg session on a local file. It runs on the CPU and on the calling thread; threads may share it."""
    _must_exist(weights, key="data.background_weights")
    onnxruntime, session_class = _rembg()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = session_class(
            "u2net_custom", options, model_path=weights, providers=["CPUExecutionProvider"]
        )
        _predicted(session, np.zeros((64, 64, 3), dtype=np.uint8))
    except _misfits(onnxruntime) as error:
        raise ConfigError(
            f"data.background_weights: {weights} is no model of the U2-Net family that rembg can use ({_line(error)})"
        ) from None
    return session


def _rembg() -> tuple[Any, Any]:
    """Onnxruntime, and rembg's session for a model file.

    Rembg's own way to a file, `new_session("u2net_custom", model_path=...)`, refuses files outside of its folder
    in the user's home (seen in 2.0.80 and 2.0.86). Its sessions ask `download_models` for the path, so this one
    answers with the file and nothing can be downloaded.
    """
    try:
        import onnxruntime  # first: without it, importing rembg ends the process
        from rembg.sessions.u2net_custom import U2netCustomSession
    except ImportError as error:
        raise ConfigError(
            f"data.background_weights needs rembg, which cannot be imported ({error}). "
            "Install it: pip install 'foldsweep[rembg]'"
        ) from None

    class LocalSession(U2netCustomSession):  # type: ignore[misc]
        @classmethod
        def download_models(cls, *args: Any, **kwargs: Any) -> str:
            return str(kwargs["model_path"])

    return onnxruntime, LocalSession


def _misfits(onnxruntime: Any) -> tuple[type[Exception], ...]:
    """What a file raises that is no such model. Onnxruntime's errors have no base class of their own."""
    errors = onnxruntime.capi.onnxruntime_pybind11_state
    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NotImplemented",
        "RuntimeException",
    )
    return (
        IndexError,
        ValueError,
        *(getattr(errors, name) for name in names),
    )  # the first two: outputs of other shapes


def _predicted(session: Any, rgb_HWC: Rgb) -> npt.NDArray[np.uint8]:
    """(H, W), 0 to 255. A model that says the same everywhere makes rembg divide 0 by 0: no foreground."""
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
