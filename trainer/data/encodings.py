"""Read the bytes of a text file whose encoding nobody has written down."""

import codecs
import unicodedata

from trainer.errors import DataError

# A mark at the beginning of a file says its encoding. The marks of UTF-32 begin like those of
# UTF-16, so they are tried first.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
# Of the letters outside of ASCII, the share that must be Korean before a file is read as Korean.
# Many texts in other encodings of Europe and Asia can be decoded as CP949, too, but to syllables
# that nobody writes.
MIN_KOREAN = 0.7


def known_encoding(name: str) -> str:
    """The name of an encoding, if Python knows it as an encoding of text.

    Raises:
        ValueError: it does not.
    """
    try:
        "a".encode(name)  # a codec such as base64 is none of text
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        raise ValueError(
            f"an encoding of text such as utf-8, cp949, euc-kr, utf-16 or latin-1, got {name!r}"
        ) from None
    return name


def decoded(data: bytes, *, encoding: str | None, where: str) -> tuple[str, str | None]:
    """The text in `data`, and a note if its encoding was neither UTF-8 nor given.

    A mark of UTF-8, UTF-16 or UTF-32 at the beginning has the first word. Without one, the text is
    in the given encoding; or else in UTF-8, in UTF-16 if every second byte is zero for the most
    part, or in CP949 (which includes EUC-KR) if that makes Korean words of it.

    Args:
        encoding: `data.encoding`, or None.
        where: the name of the file, for messages.

    Raises:
        DataError: the bytes are in another encoding.

    Example:
        >>> decoded("고양이".encode("cp949"), encoding="cp949", where="train.csv")
        ('고양이', None)
    """
    for mark, codec, name in MARKS:
        if data.startswith(mark):
            said = None if name == "UTF-8" else f"{where} is read as {name}, as its first bytes say"
            return _strictly(data, codec, where=where), said
    if encoding is not None:
        return _strictly(data, encoding, where=where), None
    wide = _wide(data)
    if wide is not None:
        return _strictly(data, wide, where=where), _guessed(where, wide.upper(), wide)
    try:
        return data.decode(), None
    except UnicodeDecodeError as error:
        text = _korean(data)
        if text is None:
            raise _unknown(where, error) from None
        return text, _guessed(where, "CP949 (Korean, with all of EUC-KR)", "cp949")


def _strictly(data: bytes, codec: str, *, where: str) -> str:
    try:
        return data.decode(codec)
    except UnicodeError as error:
        raise DataError(
            f"{where}: not a text in {codec} ({error}). Write its encoding below data, "
            "e.g. `encoding: cp949`, or save the file as UTF-8"
        ) from None


def _wide(data: bytes) -> str | None:
    """The form of UTF-16 without a mark, if the bytes are such text; else None."""
    sample = data[:4096]
    if len(sample) < 4 or b"\0" not in sample:
        return None
    zeros = [sample[side::2].count(0) / len(sample[side::2]) for side in (0, 1)]
    # a comma, a digit and a line break have one zero byte each; a Korean syllable has none
    if zeros[1] > 0.2 and zeros[0] < 0.02:
        return "utf-16-le"
    return "utf-16-be" if zeros[0] > 0.2 and zeros[1] < 0.02 else None


def _korean(data: bytes) -> str | None:
    """The text in `data`, if CP949 makes Korean words of it; else None."""
    try:
        text = data.decode("cp949")
    except UnicodeDecodeError:
        return None
    letters = [
        letter
        for letter in text
        if not letter.isascii() and unicodedata.category(letter).startswith("L")
    ]
    korean = sum(map(_is_common_syllable, letters))
    return text if letters and korean >= MIN_KOREAN * len(letters) else None


def _is_common_syllable(letter: str) -> bool:
    """Whether a letter is one of the 2,350 Korean syllables of everyday texts (KS X 1001)."""
    if not "가" <= letter <= "힣":
        return False
    try:
        return len(letter.encode("euc_kr")) == 2
    except UnicodeEncodeError:
        return False


def _guessed(where: str, name: str, codec: str) -> str:
    return f"{where} is read as {name}; `encoding: {codec}` below data says so"


def _unknown(where: str, error: UnicodeDecodeError) -> DataError:
    byte = error.object[error.start]
    return DataError(
        f"{where}: neither UTF-8 nor Korean (byte 0x{byte:02x} at {error.start:,}). Write its "
        "encoding below data, e.g. `encoding: latin-1` (Western Europe), cp1252, shift_jis or "
        "gb18030; or save the file as UTF-8"
    )
