"""JPEG files that lack only their end marker: every pixel is there, and viewers show them whole."""

import io

from PIL import Image

END = b"\xff\xd9"
# Bytes in place of those that a file may lack. What is missing decodes otherwise with each of them.
FILLINGS = (
    b"\x55" * 64,
    b"\xaa" * 64,
    b"\x33" * 64,
    bytes((37 * number + 11) % 251 for number in range(64)),
)
RESTARTS = tuple(bytes((0xFF, 0xD0 + number)) for number in range(8))  # they follow in turn


def with_end_marker(data: bytes) -> bytes | None:
    """The bytes of a JPEG file with its end marker, or None if it lacks more than this marker.

    The file is whole if its pixels do not depend on what follows its last byte. A progressive file
    that was cut off between two scans counts as whole, too: it has every pixel, less exactly.
    """
    # the first byte of a marker, or of a byte 255 among the pixels, may be left
    whole = data.rstrip(b"\xff")
    # without any such marker, the first one comes next
    last = max(reversed(range(8)), key=lambda number: whole.rfind(RESTARTS[number]))
    to_come = (*RESTARTS[last + 1 :], *RESTARTS[: last + 1])
    pixels = None
    for filling in (b"", *FILLINGS):
        # a file may be cut off where one of the markers would come that restart the decoder
        more = filling and filling + b"".join(mark + filling for mark in to_come)
        try:
            image = Image.open(io.BytesIO(whole + more + END), formats=("JPEG",))
            found = image.tobytes()
        except OSError:
            return None
        if pixels is not None and found != pixels:
            return None
        pixels = found
    return whole + END
