"""Decoded images, once per data set and size: one uint8 memory map that all trials and folds share.

The map is an ordinary `.npy` file of shape (N, H, W, 3), named by the content of the images and by the
size. Processes that open it share its pages through the operating system, so a second trainer on the
same machine costs no second copy.
"""

import concurrent.futures
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import numpy as np
import numpy.typing as npt
from PIL import Image

from trainer.data.manifest import Manifest, named
from trainer.errors import DataError
from trainer.files import atomic_write

FORMAT = "1"  # raised when the decoding below gives other pixels
DECODED_AHEAD = 256  # images; bounds the memory of a build
Images = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]


def default_cache_folder() -> Path:
    """`$SWEEPS_CACHE`, else `~/.cache/foldsweep`. Safe to delete at any time."""
    return Path(os.environ.get("SWEEPS_CACHE") or Path.home() / ".cache" / "foldsweep").resolve()


def writable_cache_folder(folder: Path | None = None) -> Path:
    """The cache folder, made if it is absent.

    Raises:
        DataError: it cannot be written.
    """
    folder = folder or default_cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise DataError(f"{folder}: the cache folder cannot be written. Set $SWEEPS_CACHE to one that can")
    return folder


def content_digest(manifest: Manifest, *, folder: Path | None = None) -> str:
    """Hash over the bytes of every image, in manifest order.

    Reading all files again at every start would cost minutes on large photos, so each file's digest is
    remembered together with its size and modification time and only computed again when these changed.

    Raises:
        DataError: an image vanished or cannot be read.
    """
    folder = writable_cache_folder(folder)
    memory = (
        folder / f"digests-{hashlib.sha256(repr((str(manifest.root), manifest.paths)).encode()).hexdigest()[:24]}.npz"
    )
    files = [manifest.file(row) for row in range(len(manifest))]
    try:
        stats_N2 = np.array([(stat.st_size, stat.st_mtime_ns) for stat in map(os.stat, files)], dtype=np.int64)
        digests_N = _remembered(memory, stats_N2)
        fresh = np.flatnonzero(digests_N == np.zeros((), dtype="V32"))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for row, digest in zip(fresh, pool.map(_file_digest, (files[row] for row in fresh)), strict=True):
                digests_N[row] = np.void(digest)
    except OSError as error:
        raise DataError(f"{error.filename}: the image cannot be read ({error.strerror})") from None
    if len(fresh):
        with atomic_write(memory) as file:
            np.savez(file, stats=stats_N2, digests=digests_N)
    return hashlib.sha256(digests_N.tobytes()).hexdigest()[:24]


def open_cache(
    manifest: Manifest,
    *,
    size_HW: tuple[int, int],
    digest: str,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Images:
    """The decoded images (N, H, W, 3), RGB; built first if this machine does not have them yet.

    Two processes that ask for the same cache at once build it once. The map is private (copy on write):
    nothing written to it reaches the file or another process.

    Args:
        digest: from `content_digest`.
        progress: called with (images done, images in all) while building.

    Raises:
        DataError: images cannot be decoded; all of them are counted, the first ones named.
    """
    height, width = size_HW
    path = writable_cache_folder(folder) / f"{digest}-{height}x{width}-v{FORMAT}.npy"
    if not path.is_file():
        with filelock.FileLock(f"{path}.lock"):
            if not path.is_file():
                _build(path, manifest, size_HW, progress or (lambda done, total: None))
    images_NHWC: Images = np.load(path, mmap_mode="c")
    return images_NHWC


def decode(file: Path, size_HW: tuple[int, int]) -> Images:
    """One image as (H, W, 3) uint8 RGB, stretched to the size by area averaging (bilinear when enlarged)."""
    height, width = size_HW
    with Image.open(file) as image:
        rgb = _eight_bit(image).convert("RGB")
        shrinks = rgb.height >= height and rgb.width >= width
        resized = rgb.resize((width, height), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR)
    return np.asarray(resized)


def _eight_bit(image: Image.Image) -> Image.Image:
    """What Pillow's conversion to RGB takes well: it clips 16 bits to white, and warns of palettes with alpha."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("RGBA") if "transparency" in image.info else image


def _build(path: Path, manifest: Manifest, size_HW: tuple[int, int], progress: Progress) -> None:
    total = len(manifest)
    unreadable: list[str] = []
    for left in path.parent.glob(f".{path.name}.*.tmp"):  # by a build that was killed; the lock is ours
        left.unlink()
    header = {"descr": "|u1", "fortran_order": False, "shape": (total, *size_HW, 3)}
    with atomic_write(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for row, image in enumerate(_decoded(manifest, size_HW)):
            progress(row, total)
            if isinstance(image, str):
                unreadable.append(image)
            elif not unreadable:
                file.write(image.tobytes())
        if unreadable:
            raise DataError(
                f"{manifest.root}: {len(unreadable)} of {total} images cannot be read; replace or remove them"
                f"{named(unreadable)}"
            )
    progress(total, total)


def _decoded(manifest: Manifest, size_HW: tuple[int, int]) -> Iterator[Images | str]:
    """Decoded images in manifest order; an unreadable one as its description. All cores, bounded memory."""

    def one(row: int) -> Images | str:
        try:
            return decode(manifest.file(row), size_HW)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what Pillow raises
            return f"{manifest.where(row)} ({error})"

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without the GIL
        for start in range(0, len(manifest), DECODED_AHEAD):
            yield from pool.map(one, range(start, min(start + DECODED_AHEAD, len(manifest))))


def _file_digest(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _remembered(memory: Path, stats_N2: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
    """The digests known from last time; zeros where size or modification time changed."""
    digests_N = np.zeros(len(stats_N2), dtype="V32")
    if memory.is_file():
        with np.load(memory, allow_pickle=False) as file:
            same_N = (file["stats"] == stats_N2).all(axis=1)
            digests_N[same_N] = file["digests"][same_N]
    return digests_N
