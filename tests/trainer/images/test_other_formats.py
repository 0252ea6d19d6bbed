"""HEIC with its optional library and without it; DICOM refused by name."""

import importlib.util
import io
import re
import sys

import numpy as np
import pytest
from PIL import ExifTags, Image

from tests.trainer.data.tables import touched
from trainer.data.cleaning import Rejected
from trainer.data.data_set import ReadOptions, read_data_set
from trainer.data.options import DataOptions
from trainer.errors import DataError, UnreadableError
from trainer.images import other_formats
from trainer.images.decode import decode
from trainer.images.other_formats import NO_HEIC, formats_for
from trainer.images.picture import read_header
from trainer.images.preprocessing import Preprocessing, Reading

READING = Reading()
HOW = Preprocessing((8, 8))
HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf" + bytes(100)
with_library = pytest.mark.skipif(
    importlib.util.find_spec("pillow_heif") is None,
    reason="pillow-heif is not installed (extra: heic)",
)


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    other_formats.reads_heic.cache_clear()
    yield
    other_formats.reads_heic.cache_clear()


def avif() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((16, 16, 3), dtype=np.uint8)).save(buffer, "AVIF")
    return buffer.getvalue()


def heic() -> bytes:
    noise_HWC = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    assert other_formats.reads_heic()
    Image.fromarray(noise_HWC).save(buffer, "HEIF", exif=exif.tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data", [HEIC, HEIC.replace(b"ftypheic", b"ftypmif1"), HEIC.replace(b"heic", b"hevx")]
)
def test_without_the_library_the_message_names_it(no_library, data):
    with pytest.raises(UnreadableError, match=f"^{re.escape(NO_HEIC)}$"):
        read_header(data, reading=READING)


def test_avif_is_no_heic(no_library):
    data = avif()
    assert formats_for(data) == ()
    assert formats_for(data.replace(b"ftypavif", b"ftypmif1")) == ()
    assert decode(data, HOW, reading=READING).shape == (8, 8, 3)


def decoded(data: bytes, *, reading: Reading) -> np.ndarray:
    return decode(data, HOW, reading=reading)


@pytest.mark.parametrize("read", [read_header, decoded])
def test_dicom_is_refused_with_what_to_do(read):
    data = bytes(128) + b"DICM" + bytes(100)
    message = "a DICOM file: convert it to PNG of 16 bits with the window that a reader would use"
    with pytest.raises(UnreadableError, match=f"^{message}, e.g. with DCMTK or pydicom, and name"):
        read(data, reading=READING)


@with_library
def test_a_heic_photo_is_read_upright():
    assert read_header(heic(), reading=READING).size_HW == (60, 40)
    assert decode(heic(), HOW, reading=READING).shape == (8, 8, 3)


@with_library
def test_a_damaged_heic_photo_is_unreadable():
    with pytest.raises(UnreadableError, match=r"^damaged \(its header cannot be read\)$"):
        decode(heic()[:300], HOW, reading=READING)


@with_library
def test_photos_that_were_refused_are_read_once_the_library_is_there(tmp_path):
    touched(tmp_path, *(f"{kind}/{n}.heic" for kind in ("cat", "dog") for n in range(2)))
    photo = heic()
    for number, file in enumerate(sorted(tmp_path.rglob("*.heic"))):
        file.write_bytes(photo + bytes(number))
    data = DataOptions(source=str(tmp_path))
    seen: list[Rejected] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(other_formats, "reads_heic", lambda: False)
        with pytest.raises(DataError, match="4 of 4 rows cannot be used"):
            read_data_set(data, read=ReadOptions(on_rejected=seen.extend))
    assert [entry.detail for entry in seen] == [NO_HEIC] * 4
    assert len(read_data_set(data).manifest) == 4
