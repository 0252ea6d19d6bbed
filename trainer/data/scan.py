"""Read every image file once: its facts, and its pixels for every preparation in the cache.

The facts about a file are stored in the cache folder, together with the file's size and its
modification time. The file is read again only if the size or the time changes.

Shapes: F distinct files, N rows, B boxes of one file, R rows with a file that is known.
"""

import dataclasses
import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.cache_folder import writable_cache_folder
from trainer.data.cleaning import REPAIRS, FileFacts, clean_boxes
from trainer.data.table import Table
from trainer.errors import DataError, UnreadableError
from trainer.files import atomic_write
from trainer.images.decode import decode_all, fingerprint
from trainer.images.images import Pixels
from trainer.images.manifest import DIGEST, content_digest
from trainer.images.other_formats import NO_HEIC, reads_heic
from trainer.images.parallel import map_in_order
from trainer.images.picture import Kept, read_header
from trainer.images.pool import PoolWriter, image_key
from trainer.images.preprocessing import Box, Preprocessing, Reading

FORMAT = 2  # in format 1, JPEG files that lack only their end marker are errors
# the bits of the traits that are known only after the pixels are decoded
BEYOND = 1 << list(REPAIRS).index("beyond")
NO_END = 1 << list(REPAIRS).index("no end")
# Share of the pixels of an image. The levels of a sample leave out 0.1 % at each end.
MAX_BEYOND = 0.01
SAVE_EVERY_S = 60.0
RECORD = np.dtype(
    [
        ("stat", "<i8", (2,)),  # size in bytes, modification time in ns
        ("digest", DIGEST),
        ("size", "<i4", (2,)),  # height and width as displayed
        ("traits", "<u2"),
        ("hashed", "?"),  # whether the fingerprint is known
        ("fingerprint", "<u8", (4,)),
    ]
)
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class _FileResult:
    """The result of reading one file.

    Attributes:
        record: the facts about the file, of the type RECORD.
        error: the reason why the file cannot be read, or an empty text.
        pixels: (pool, key, image) of each image that a pool lacks.
    """

    record: npt.NDArray[np.void]
    error: str
    pixels: list[tuple[PoolWriter, bytes, Pixels]]


@dataclasses.dataclass(frozen=True)
class _Request:
    """What the scan needs from every file that it reads.

    Attributes:
        fingerprints: compute the perceptual hash, too.
        writers: the open pools, each of which gets the images that it lacks.
        clip_boxes: whether boxes are cut at the image's edge.
    """

    reading: Reading
    fingerprints: bool
    writers: Sequence[PoolWriter]
    clip_boxes: bool


def scan_files(
    table: Table,
    *,
    reading: Reading,
    fingerprints: bool = False,
    writers: Sequence[PoolWriter] = (),
    clip_boxes: bool = False,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> FileFacts:
    """The facts about the file of every row. A file that cannot be decoded is no error.

    Args:
        fingerprints: compute the perceptual hash of each file, too.
        writers: the open pools of the cache. Each pool gets the images of the rows that it lacks,
            decoded from the same bytes as the facts.
        clip_boxes: whether boxes are cut at the image's edge (see `clean_boxes`).
        folder: the cache folder, or None for the default one.
        progress: called with (files done, files to read).

    Raises:
        DataError: a file does not exist any more, or the operating system cannot read it.
    """
    paths = list(
        dict.fromkeys(
            path for row, path in enumerate(table.paths) if path and row not in table.missing
        )
    )
    file_of = {path: number for number, path in enumerate(paths)}
    memory = _Memory(table.root, reading, folder)
    stats_F2 = np.array([_stat(table.root / path) for path in paths], dtype=np.int64).reshape(-1, 2)
    records_F, errors = memory.recall(paths, stats_F2)
    files_N = np.array([file_of.get(path, -1) for path in table.paths], dtype=np.int64)
    boxes_of = (
        _raw_boxes(table, files_N)
        if any(writer.pool.how.crop == "box" for writer in writers)
        else None
    )
    wanted_F = ~records_F["stat"].any(axis=1)
    bad_F = np.array([path in errors for path in paths], dtype=bool)
    if fingerprints:
        wanted_F |= ~records_F["hashed"] & ~bad_F
    for writer in writers:
        wanted_F |= (
            _lacking_files(writer, records_F, files_N, table.boxes_N4, clip=clip_boxes) & ~bad_F
        )
    todo = np.flatnonzero(wanted_F).tolist()
    request = _Request(reading, fingerprints, writers, clip_boxes)

    def read_one(number: int) -> _FileResult:
        boxes = None if boxes_of is None else boxes_of(number)
        return _read(
            table.root / paths[number],
            request,
            stat=stats_F2[number],
            known=records_F[number],
            boxes=boxes,
        )

    saved_at = time.monotonic()
    for done, (number, result) in enumerate(
        zip(todo, map_in_order(read_one, todo), strict=True), start=1
    ):
        records_F[number] = result.record
        if result.error:
            errors[paths[number]] = result.error
        for writer, key, image_HWC in result.pixels:
            writer.add(key, image_HWC)
        if progress is not None:
            progress(done, len(todo))
        if time.monotonic() - saved_at > SAVE_EVERY_S:
            memory.keep(paths, records_F, errors)
            saved_at = time.monotonic()
    if todo:
        memory.keep(paths, records_F, errors)
    return _facts(table, files_N, records_F, errors, fingerprints)


def _lacking_files(
    writer: PoolWriter,
    records_F: npt.NDArray[np.void],
    files_N: npt.NDArray[np.int64],
    boxes_N4: npt.NDArray[np.float64] | None,
    *,
    clip: bool,
) -> npt.NDArray[np.bool_]:
    """For each file, whether the pool lacks one of its images.

    With boxes, the result is False for a file without facts: the file is read in any case.
    """
    how = writer.pool.how
    digests = records_F["digest"].tolist()
    if how.crop != "box":
        return np.array([writer.lacks(digest) for digest in digests], dtype=bool)
    assert boxes_N4 is not None
    # a row without a file has the file number -1 and therefore takes the appended False
    rows = np.flatnonzero(np.append(records_F["size"].all(axis=1), False)[files_N])
    clean_R4, _, bad = clean_boxes(boxes_N4[rows], records_F["size"][files_N[rows]], clip=clip)
    lacking_F = np.zeros(len(records_F), dtype=bool)
    for at, (file, box) in enumerate(zip(files_N[rows].tolist(), clean_R4.tolist(), strict=True)):
        if at not in bad and writer.lacks(image_key(digests[file], how, tuple(box))):
            lacking_F[file] = True
    return lacking_F


def _images(
    how: Preprocessing,
    digest: bytes,
    size_2: npt.NDArray[np.int32],
    boxes_B4: npt.NDArray[np.float64] | None,
    clip: bool,
) -> Iterator[tuple[bytes, Box | None]]:
    """The keys and boxes of the images that a preparation makes from one file."""
    boxes: list[Box | None] = [None]
    if how.crop == "box":
        assert boxes_B4 is not None
        clean_B4, _, bad = clean_boxes(boxes_B4, np.tile(size_2, (len(boxes_B4), 1)), clip=clip)
        boxes = [tuple(box.tolist()) for number, box in enumerate(clean_B4) if number not in bad]
    for box in boxes:
        yield image_key(digest, how, box), box


def _read(
    file: Path,
    request: _Request,
    *,
    stat: npt.NDArray[np.int64],
    known: npt.NDArray[np.void],
    boxes: npt.NDArray[np.float64] | None,
) -> _FileResult:
    """Read one file.

    Every file is decoded at least once, so that a truncated file is found before the training.

    Args:
        stat: the size and the modification time of the file.
        known: the facts from the memory, or zeros.
        boxes: the boxes of the file's rows as the source has them, or None if no pool needs them.

    Raises:
        DataError: the operating system cannot read the file.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: the image cannot be read ({error.strerror})") from None
    record = np.zeros((), dtype=RECORD)
    record["stat"] = stat
    record["digest"] = np.void(content_digest(data))
    pixels: list[tuple[PoolWriter, bytes, Pixels]] = []
    try:
        facts = read_header(data, reading=request.reading)
        record["size"] = facts.size_HW
        record["traits"] = sum(1 << list(REPAIRS).index(trait) for trait in facts.traits)
        needed = [
            (writer, key, box)
            for writer in request.writers
            for key, box in _images(
                writer.pool.how, record["digest"].item(), record["size"], boxes, request.clip_boxes
            )
        ]
        lacking = [
            (writer, key, box, writer.elsewhere(key))
            for writer, key, box in needed
            if writer.lacks(key)
        ]
        to_decode = [(writer, key, box) for writer, key, box, image in lacking if image is None]
        choices = [(writer.pool.how, box) for writer, _, box in to_decode]
        pictures: Kept = {}
        images = decode_all(data, choices, reading=request.reading, kept=pictures)
        pixels = [
            (writer, key, image) for (writer, key, _), image in zip(to_decode, images, strict=True)
        ]
        pixels += [(writer, key, image) for writer, key, _, image in lacking if image is not None]
        if known["hashed"] and known["digest"] == record["digest"]:
            record["hashed"] = True
            record["fingerprint"] = known["fingerprint"]
        # If nothing was decoded, the fingerprint decodes the file. It shows that the file is whole
        # and that its values are inside the levels.
        elif (
            request.fingerprints
            or not needed
            or (request.reading.chosen_levels is not None and not to_decode)
        ):
            greys: Kept = {}
            record["fingerprint"] = fingerprint(data, reading=request.reading, kept=greys)
            record["hashed"] = True
            pictures |= greys
        if any(picture.beyond > MAX_BEYOND for picture in pictures.values()):
            record["traits"] |= BEYOND
        if any(picture.completed for picture in pictures.values()):
            record["traits"] |= NO_END
        if not pictures and known["digest"] == record["digest"]:
            record["traits"] |= known["traits"] & (BEYOND | NO_END)
    except UnreadableError as error:
        return _FileResult(record, str(error), [])
    return _FileResult(record, "", pixels)


class _Memory:
    """The facts about the files below one folder, stored in one file of the cache folder.

    This file is safe to delete.
    """

    def __init__(self, root: Path, reading: Reading, folder: Path | None) -> None:
        # nothing for images of 8 bits, so that the facts of older versions stay valid
        levels = filter(None, [reading.chosen_levels])
        key = repr((str(root), reading.fill_rgb, reading.max_pixels, *levels))
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        self._path = writable_cache_folder(folder) / "files" / f"{name}-v{FORMAT}.npz"
        self._paths: list[str] = []
        self._records: npt.NDArray[np.void] = np.empty(0, dtype=RECORD)
        self._errors: dict[str, str] = {}
        try:
            with self._path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                self._paths, self._errors = json.loads(bytes(file["text"]))
                self._records = file["records"]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return  # the memory does not exist yet, or it is damaged: all files are read again
        if NO_HEIC in self._errors.values() and reads_heic():
            self._forget({path for path, why in self._errors.items() if why == NO_HEIC})

    def _forget(self, paths: Set[str]) -> None:
        rows = [row for row, path in enumerate(self._paths) if path not in paths]
        self._records = self._records[rows]
        self._errors = {path: why for path, why in self._errors.items() if path not in paths}
        self._paths = [self._paths[row] for row in rows]

    def recall(
        self, paths: list[str], stats_F2: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.void], dict[str, str]]:
        """The records (F) and the errors of unchanged files.

        The records of all other files are zeros.
        """
        row_of = {path: row for row, path in enumerate(self._paths)}
        rows_F = np.array([row_of.get(path, -1) for path in paths], dtype=np.int64)
        records_F = np.zeros(len(paths), dtype=RECORD)
        known_F = rows_F >= 0
        records_F[known_F] = self._records[rows_F[known_F]]
        records_F[(records_F["stat"] != stats_F2).any(axis=1)] = np.zeros((), dtype=RECORD)
        errors = {
            path: self._errors[path]
            for path, record in zip(paths, records_F, strict=True)
            if path in self._errors and record["stat"].any()
        }
        return records_F, errors

    def keep(
        self, paths: list[str], records_F: npt.NDArray[np.void], errors: dict[str, str]
    ) -> None:
        """Store the facts about these files, and keep the facts about all other known files."""
        known: npt.NDArray[np.bool_] = np.asarray(records_F["stat"].any(axis=1))
        now = {path for path, is_known in zip(paths, known, strict=True) if is_known}
        others = [row for row, path in enumerate(self._paths) if path not in now]
        self._records = np.concatenate([self._records[others], records_F[known]])
        self._errors = {path: why for path, why in self._errors.items() if path not in now} | errors
        self._paths = [self._paths[row] for row in others] + [path for path in paths if path in now]
        text = json.dumps([self._paths, self._errors]).encode()
        buffer = io.BytesIO()
        np.savez(buffer, text=np.frombuffer(text, dtype=np.uint8), records=self._records)
        with atomic_write(self._path) as file:
            file.write(buffer.getbuffer())


def _stat(file: Path) -> tuple[int, int]:
    try:
        stat = os.stat(file)
    except OSError as error:
        raise DataError(f"{file}: the image cannot be read ({error.strerror})") from None
    return stat.st_size, stat.st_mtime_ns


def _raw_boxes(
    table: Table, files_N: npt.NDArray[np.int64]
) -> Callable[[int], npt.NDArray[np.float64]]:
    """A function from the number of a file to the boxes of its rows, as the source has them."""
    assert table.boxes_N4 is not None
    boxes_N4 = table.boxes_N4
    order = np.argsort(files_N, kind="stable")
    starts = np.searchsorted(files_N[order], np.arange(files_N.max() + 2))
    return lambda file: boxes_N4[order[starts[file] : starts[file + 1]]]


def _facts(
    table: Table,
    files_N: npt.NDArray[np.int64],
    records_F: npt.NDArray[np.void],
    errors: dict[str, str],
    fingerprints: bool,
) -> FileFacts:
    """The facts about the files, repeated for each row."""
    # a row without a file has the file number -1 and therefore takes the appended zeros
    records_N = np.append(records_F, np.zeros(1, dtype=RECORD))[files_N]
    return FileFacts(
        errors={row: errors[path] for row, path in enumerate(table.paths) if path in errors},
        sizes_N2=records_N["size"],
        traits_N=records_N["traits"],
        digests_N=np.ascontiguousarray(records_N["digest"]),
        fingerprints_N4=np.ascontiguousarray(records_N["fingerprint"]) if fingerprints else None,
    )
