"""CSV files in the encodings that programs write, recognised or refused with what to do."""

import codecs
import re

import pytest

from trainer.data.encodings import decoded, known_encoding
from trainer.errors import DataError

KOREAN = "path,label\n" + "".join(f"{n}.jpg,{['고양이', '강아지'][n % 2]}\n" for n in range(20))
PLAIN = "path,label\n0.jpg,cat\n1.jpg,dog\n"


def read(data: bytes, encoding: str | None = None) -> tuple[str, str | None]:
    return decoded(data, encoding=encoding, where="a.csv")


@pytest.mark.parametrize("text", [KOREAN, PLAIN])
@pytest.mark.parametrize("given", [None, "utf-8", "latin-1"])
@pytest.mark.parametrize(
    ("mark", "codec", "note"),
    [
        (codecs.BOM_UTF8, "utf-8", None),
        (codecs.BOM_UTF16_LE, "utf-16-le", "a.csv is read as UTF-16, as its first bytes say"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "a.csv is read as UTF-16, as its first bytes say"),
        (codecs.BOM_UTF32_LE, "utf-32-le", "a.csv is read as UTF-32, as its first bytes say"),
        (codecs.BOM_UTF32_BE, "utf-32-be", "a.csv is read as UTF-32, as its first bytes say"),
    ],
)
def test_a_byte_order_mark_has_the_first_word(mark, codec, note, text, given):
    assert read(mark + text.encode(codec), given) == (text, note)


@pytest.mark.parametrize("text", [KOREAN, PLAIN])
def test_utf8_is_read_without_a_word(text):
    assert read(text.encode()) == (text, None)


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        (KOREAN, "cp949", "CP949 (Korean, with all of EUC-KR)"),
        (KOREAN, "euc_kr", "CP949 (Korean, with all of EUC-KR)"),
        ("path,label\n1.jpg,똠방각하\n", "cp949", "CP949 (Korean, with all of EUC-KR)"),
        (KOREAN, "utf-16-le", "UTF-16-LE"),
        (KOREAN, "utf-16-be", "UTF-16-BE"),
        (PLAIN, "utf-16-le", "UTF-16-LE"),
    ],
)
def test_korean_and_utf16_without_a_mark_are_recognised_and_said(text, codec, name):
    said = "cp949" if "CP949" in name else name.lower()
    note = f"a.csv is read as {name}; `encoding: {said}` below data says so"
    assert read(text.encode(codec)) == (text, note)
    assert read(text.encode(codec), codec) == (text, None)


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("a.jpg,café\nb.jpg,Ångström\n", "latin-1"),
        ("a.jpg,Größe\nb.jpg,Übung\n", "cp1252"),
        ("a.jpg,кошка\nb.jpg,собака\n", "cp1251"),
        ("a.jpg,猫\nb.jpg,犬\n", "shift_jis"),
        ("a.jpg,ねこ\nb.jpg,いぬ\n", "euc_jp"),
    ],
)
def test_another_encoding_is_refused_until_it_is_given(text, codec):
    first = next(at for at, byte in enumerate(text.encode(codec)) if byte > 127)
    message = (
        f"a.csv: neither UTF-8 nor Korean (byte 0x{text.encode(codec)[first]:02x} at {first}). "
        "Write its encoding below data, e.g. `encoding: latin-1` (Western Europe), cp1252, "
        "shift_jis or gb18030; or save the file as UTF-8"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read(text.encode(codec))
    assert read(text.encode(codec), codec) == (text, None)


def test_a_file_in_another_encoding_than_the_given_one_is_refused():
    with pytest.raises(
        DataError,
        match=r"^a\.csv: not a text in utf-8 \(.*byte 0xb0.*\)\. Write its encoding below data, "
        r"e\.g\. `encoding: cp949`, or save the file as UTF-8$",
    ):
        read(KOREAN.encode("cp949"), "utf-8")


@pytest.mark.parametrize("name", ["utf9", "base64", "rot13", ""])
def test_what_is_no_encoding_of_text_is_none(name):
    with pytest.raises(ValueError, match=f"^an encoding of text such as .*, got {name!r}$"):
        known_encoding(name)
    assert known_encoding("EUC-KR") == "EUC-KR"
