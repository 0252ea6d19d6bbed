"""Read every file once: what it is, whether it can be read at all, and its pixels for every choice on the way.

What was learned of a file is remembered with its size and modification time, and asked for again only when
these change. F distinct files, N rows.
"""

import dataclasses
import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.cache_folder import writable_cache_folder
from trainer.data.cleaning import REPAIRS, FileFacts, clean_boxes
from trainer.data.sources import Table
from trainer.errors import DataError, UnreadableError
from trainer.files import atomic_write
from trainer.images.cache import PoolWriter, image_key
from trainer.images.decode import decode_all, fingerprint
from trainer.images.images import Pixels
from trainer.images.manifest import DIGEST, content_digest
from trainer.images.parallel import map_in_order
from trainer.images.picture import look
from trainer.images.preprocessing import Box, Preprocessing, Reading

FORMAT = 1
SAVE_EVERY_S = 60.0
RECORD = np.dtype(
    [
        ("stat", "<i8", (2,)),  # size in bytes, modification time in ns
        ("digest", DIGEST),
        ("size", "<i4", (2,)),  # height, width as displayed
        ("traits", "<u2"),
        ("hashed", "?"),
        ("fingerprint", "<u8", (4,)),
    ]
)
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class _Seen:
    """One file after reading it; `error` is empty for a good one."""

    record: npt.NDArray[np.void]
    error: str
    pixels: list[tuple[PoolWriter, bytes, Pixels]]


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """What is wanted of every file that is read.

    Attributes:
        fingerprints: also the perceptual hash.
        writers: open pools that get the pixels they lack.
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
    """Facts about the file of every row; unreadable files are facts, too.

    Args:
        fingerprints: also the perceptual hash of each file.
        writers: open pools that get the pixels of every row they lack, decoded from the same bytes.
        clip_boxes: whether boxes are cut at the image's edge (see `clean_boxes`).
        progress: called with (files done, files to read).

    Raises:
        DataError: a file vanished while it was read.
    """
    paths = list(dict.fromkeys(path for path in table.paths if path))
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
    wanted = _Wanted(reading, fingerprints, writers, clip_boxes)

    def one(number: int) -> _Seen:
        boxes = None if boxes_of is None else boxes_of(number)
        return _read(
            table.root / paths[number],
            wanted,
            stat=stats_F2[number],
            known=records_F[number],
            boxes=boxes,
        )

    saved_at = time.monotonic()
    for done, (number, seen) in enumerate(zip(todo, map_in_order(one, todo), strict=True), start=1):
        records_F[number] = seen.record
        if seen.error:
            errors[paths[number]] = seen.error
        for writer, key, image_HWC in seen.pixels:
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
    """For each file that is known whether the pool lacks one of its images."""
    how, digests = writer.pool.how, records_F["digest"].tolist()
    if how.crop != "box":
        return np.array([writer.lacks(digest) for digest in digests], dtype=bool)
    assert boxes_N4 is not None
    rows = np.flatnonzero(
        np.append(records_F["size"].all(axis=1), False)[files_N]
    )  # a row without a path: the last
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
    """Keys and boxes of the images that a choice makes of one file."""
    boxes: list[Box | None] = [None]
    if how.crop == "box":
        assert boxes_B4 is not None
        clean_B4, _, bad = clean_boxes(boxes_B4, np.tile(size_2, (len(boxes_B4), 1)), clip=clip)
        boxes = [tuple(box.tolist()) for number, box in enumerate(clean_B4) if number not in bad]
    for box in boxes:
        yield image_key(digest, how, box), box


def _read(
    file: Path,
    wanted: _Wanted,
    *,
    stat: npt.NDArray[np.int64],
    known: npt.NDArray[np.void],
    boxes: npt.NDArray[np.float64] | None,
) -> _Seen:
    """Read one file; every file is decoded at least once, or a truncated one would be found in training."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: the image cannot be read ({error.strerror})") from None
    record = np.zeros((), dtype=RECORD)
    record["stat"], record["digest"] = stat, np.void(content_digest(data))
    pixels: list[tuple[PoolWriter, bytes, Pixels]] = []
    try:
        seen = look(data, reading=wanted.reading)
        record["size"] = seen.size_HW
        record["traits"] = sum(1 << list(REPAIRS).index(trait) for trait in seen.traits)
        asked = [
            (writer, key, box)
            for writer in wanted.writers
            for key, box in _images(
                writer.pool.how, record["digest"].item(), record["size"], boxes, wanted.clip_boxes
            )
        ]
        lacking = [
            (writer, key, box, writer.elsewhere(key))
            for writer, key, box in asked
            if writer.lacks(key)
        ]
        to_decode = [(writer, key, box) for writer, key, box, image in lacking if image is None]
        choices = [(writer.pool.how, box) for writer, _, box in to_decode]
        images = decode_all(data, choices, reading=wanted.reading)
        pixels = [
            (writer, key, image) for (writer, key, _), image in zip(to_decode, images, strict=True)
        ]
        pixels += [(writer, key, image) for writer, key, _, image in lacking if image is not None]
        if known["hashed"] and known["digest"] == record["digest"]:
            record["hashed"], record["fingerprint"] = True, known["fingerprint"]
        elif wanted.fingerprints or not asked:  # what was decoded, now or before, is whole
            record["hashed"], record["fingerprint"] = (
                True,
                fingerprint(data, reading=wanted.reading),
            )
    except UnreadableError as error:
        return _Seen(record, str(error), [])
    return _Seen(record, "", pixels)


class _Memory:
    """What is known of the files below one folder; a file of the cache, safe to delete."""

    def __init__(self, root: Path, reading: Reading, folder: Path | None) -> None:
        name = hashlib.sha256(
            repr((str(root), reading.fill_rgb, reading.max_pixels)).encode()
        ).hexdigest()[:16]
        self._path = writable_cache_folder(folder) / "files" / f"{name}-v{FORMAT}.npz"
        self._paths: list[str] = []
        self._records: npt.NDArray[np.void] = np.empty(0, dtype=RECORD)
        self._errors: dict[str, str] = {}
        try:
            with self._path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                self._paths, self._errors = json.loads(bytes(file["text"]))
                self._records = file["records"]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            pass  # nothing is known yet, or nothing any more

    def recall(
        self, paths: list[str], stats_F2: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.void], dict[str, str]]:
        """Records (F) of unchanged files, zeros for all others; and the errors of unchanged files."""
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
        """Remember these files, and those known before."""
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
    """For each file the boxes of its rows, as written."""
    assert table.boxes_N4 is not None
    boxes_N4, order = table.boxes_N4, np.argsort(files_N, kind="stable")
    starts = np.searchsorted(files_N[order], np.arange(files_N.max() + 2))
    return lambda file: boxes_N4[order[starts[file] : starts[file + 1]]]


def _facts(
    table: Table,
    files_N: npt.NDArray[np.int64],
    records_F: npt.NDArray[np.void],
    errors: dict[str, str],
    fingerprints: bool,
) -> FileFacts:
    # rows without a path take the zeros at the end
    records_N = np.append(records_F, np.zeros(1, dtype=RECORD))[files_N]
    return FileFacts(
        errors={row: errors[path] for row, path in enumerate(table.paths) if path in errors},
        sizes_N2=records_N["size"],
        traits_N=records_N["traits"],
        digests_N=np.ascontiguousarray(records_N["digest"]),
        fingerprints_N4=np.ascontiguousarray(records_N["fingerprint"]) if fingerprints else None,
    )
