"""Formats that Pillow alone cannot read: HEIC with an optional library, DICOM not at all."""

import functools

from trainer.errors import UnreadableError

# names of HEIC in the first bytes of a file; `mif1` and `msf1` may be AVIF, too
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
GENERAL = (b"mif1", b"msf1")
NO_HEIC = "a HEIC picture: pip install 'foldsweep[heic]' and try again, or convert it to JPEG"
DICOM = (
    "a DICOM file: convert it to PNG of 16 bits with the window that a reader would use, e.g. with "
    "DCMTK or pydicom, and name the PNG files"
)


def formats_for(data: bytes) -> tuple[str, ...]:
    """The names in Pillow of more formats that have to be tried for a file.

    Raises:
        UnreadableError: the file is HEIC and the library for it is missing, or it is DICOM.
    """
    if data[128:132] == b"DICM":
        raise UnreadableError(DICOM)
    if not _is_heic(data):
        return ()
    if not reads_heic():
        raise UnreadableError(NO_HEIC)
    return ("HEIF",)


def _is_heic(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    brand = data[8:12]
    return brand in HEIC or (brand in GENERAL and any(name in data[16:64] for name in HEIC))


@functools.cache
def reads_heic() -> bool:
    """Whether the library for HEIC is there; Pillow can read such files from then on."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
