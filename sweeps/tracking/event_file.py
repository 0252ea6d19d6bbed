"""An event file of TensorBoard that is read back and continued after a crash.

tensorboardX can only begin new event files, and nothing tells it what an older one holds. So this
module frames the records itself; the content is tensorboardX's protocol buffers. The format of a
record is TensorFlow's TFRecord: length (8 bytes), its checksum (4), content, its checksum (4).
"""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from sweeps.tracking.event_protocol import Event, Summary, masked_crc32c

NAME = "events.out.tfevents.foldsweep"  # TensorBoard looks for `tfevents` in the name
_HEADER = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")


class EventFile:
    """The events of one run of TensorBoard, which is one folder.

    A record that a killed process left unfinished at the end is cut off. The file is open only
    while it is read or written, because a sweep has thousands of runs.

    Attributes:
        last_step: the largest step of the events with a scalar; 0 if there is none.
        tags: the tags of all values so far.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self.last_step = 0
        self.tags: set[str] = set()
        whole = 0
        for event, end in _records(self._path):
            self._note(event)
            whole = end
        if self._path.is_file() and self._path.stat().st_size > whole:
            with self._path.open("r+b") as file:
                file.truncate(whole)
        self._begun = whole > 0

    def add(self, values: Iterable[Summary.Value], *, step: int, time: float) -> None:
        """Append one event; the values of one event are all in the file, or none of them is."""
        event = Event(wall_time=time, step=step, summary=Summary(value=values))
        if not self._begun:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._append(Event(wall_time=time, file_version="brain.Event:2"))
            self._begun = True
        self._append(event)
        self._note(event)

    def _append(self, event: Event) -> None:
        content = event.SerializeToString()
        length = struct.pack("<Q", len(content))
        record = b"".join(
            (
                _HEADER.pack(len(content), masked_crc32c(length)),
                content,
                _CHECKSUM.pack(masked_crc32c(content)),
            )
        )
        with self._path.open("ab", buffering=0) as file:
            file.write(record)

    def _note(self, event: Event) -> None:
        for value in event.summary.value:
            self.tags.add(value.tag)
            if value.WhichOneof("value") == "simple_value":
                self.last_step = max(self.last_step, event.step)


def read_events(folder: Path) -> list[Event]:
    """The events of a run, in order; an unfinished record at the end is left out."""
    return [event for event, _ in _records(folder / NAME)]


def _records(path: Path) -> Iterator[tuple[Event, int]]:
    """The events of a file, each with the position of its end."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    begin = 0
    while begin + _HEADER.size <= len(content):
        length, _ = _HEADER.unpack_from(content, begin)
        body = begin + _HEADER.size
        end = body + length + _CHECKSUM.size
        if end > len(content):
            return
        yield Event.FromString(content[body : body + length]), end
        begin = end


def scalar(tag: str, value: float) -> Summary.Value:
    """A number in a diagram of TensorBoard."""
    return Summary.Value(tag=tag, simple_value=value)


def picture(tag: str, path: Path) -> Summary.Value | None:
    """A PNG or JPEG file for the tab "Images"; None for other files, or if it cannot be read."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            width, height = image.size
        content = path.read_bytes()
    except OSError:
        return None
    rgb = 3
    shown = Summary.Image(width=width, height=height, colorspace=rgb, encoded_image_string=content)
    return Summary.Value(tag=tag, image=shown)
