"""Chunks: some of the images that are predicted, decoded together for all fold models.

All fold models predict one chunk before the next one. So a file is read and decoded once, whatever
the number of models, memory holds two chunks (one is predicted, the next one is decoded), and no
test image goes into the cache of decoded images, which is for training.

Shapes: N images, H height, W width, C channels.
"""

import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from trainer.data.cleaning import clean_boxes
from trainer.errors import UnreadableError
from trainer.images.decode import decode_all
from trainer.images.images import Decoded, Pixels, Rows
from trainer.images.parallel import map_in_order
from trainer.images.picture import read_header
from trainer.images.preprocessing import Box, Preprocessing, Reading
from trainer.prediction.unseen import Unseen

CHUNK = 2_048  # images, at most
CHUNK_BYTES = 2**29  # of decoded images; two chunks are in memory
Looks = Mapping[Reading, Sequence[Preprocessing]]  # the preparations that a file is decoded for
Cancelled = Callable[[], bool]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class DecodedChunk:
    """The decoded images of a chunk.

    Attributes:
        sources: the images of each preparation, in the order of the chunk's rows. An image that
            cannot be read is black.
        bad: the reason for each image that cannot be read, by its place in the chunk.
    """

    sources: Mapping[tuple[Reading, Preprocessing], Decoded]
    bad: Mapping[int, str]


def cut_chunks(images: int, looks: Looks) -> list[Rows]:
    """Return the rows of each chunk.

    The size of a chunk does not depend on the machine, because the last bits of a prediction may
    depend on the images that share its batch.
    """
    image_bytes = sum(
        3 * how.size_HW[0] * how.size_HW[1] for hows in looks.values() for how in hows
    )
    size = max(1, min(CHUNK, CHUNK_BYTES // max(1, image_bytes)))
    return [np.arange(start, min(start + size, images)) for start in range(0, images, size)]


def decode_chunk(
    unseen: Unseen,
    rows: Rows,
    looks: Looks,
    *,
    cancelled: Cancelled = lambda: False,
    threads: int | None = None,
) -> DecodedChunk:
    """Read and decode each file once, for all preparations.

    Args:
        cancelled: is called before each image; True ends the work, which nobody waits for.
        threads: number of threads; None means one per core.
    """
    wanted = [(reading, how) for reading, hows in looks.items() for how in hows]
    arrays: list[Pixels] = [
        np.zeros((len(rows), *how.size_HW, 3), dtype=np.uint8) for _, how in wanted
    ]
    bad: dict[int, str] = {}

    def decoded(row: int) -> list[Pixels] | str:
        return _decoded(unseen, row, looks)

    for at, images in enumerate(map_in_order(decoded, rows.tolist(), threads=threads)):
        if cancelled():
            break
        if isinstance(images, str):
            bad[at] = images
            continue
        for array_NHWC, image_HWC in zip(arrays, images, strict=True):
            array_NHWC[at] = image_HWC
    return DecodedChunk(dict(zip(wanted, map(Decoded, arrays), strict=True)), bad)


def _decoded(unseen: Unseen, row: int, looks: Looks) -> list[Pixels] | str:
    """One image for each preparation, or the reason why it cannot be read."""
    if row in unseen.missing:
        return "there is no such file"
    try:
        data = unseen.file(row).read_bytes()
        images: list[Pixels] = []
        for reading, hows in looks.items():
            box = None
            if any(how.crop == "box" for how in hows):
                box = _box(unseen, row, read_header(data, reading=reading).size_HW)
            wanted = [(how, box if how.crop == "box" else None) for how in hows]
            images += decode_all(data, wanted, reading=reading)
        return images
    except OSError as error:
        return error.strerror or type(error).__name__
    except UnreadableError as error:
        return str(error)


def _box(unseen: Unseen, row: int, size_HW: tuple[int, int]) -> Box:
    """The box of an image in whole pixels, cleaned as the boxes of the training images were."""
    assert unseen.boxes_N4 is not None
    size_12: npt.NDArray[np.int32] = np.array([size_HW], dtype=np.int32)
    boxes_14, _, bad = clean_boxes(unseen.boxes_N4[[row]], size_12, clip=unseen.clip_boxes)
    if bad:
        raise UnreadableError(f"its box {bad[0]}")
    left, top, right, bottom = boxes_14[0].tolist()
    return left, top, right, bottom


def one_ahead(
    function: Callable[[Item, Cancelled], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Call `function` on each item like `map`; a thread works on the next item meanwhile.

    Args:
        function: its second argument returns True once nobody waits for the result any more, e.g.
            after Ctrl-C.
    """
    left = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting: concurrent.futures.Future[Result] | None = None
        try:
            for item in items:
                ready = waiting
                waiting = pool.submit(function, item, left.is_set)
                if ready is not None:
                    yield ready.result()
            if waiting is not None:
                yield waiting.result()
        finally:
            left.set()
