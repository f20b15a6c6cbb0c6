"""Bytes to code points: what an encoding is taken for, and where it breaks."""

import codecs

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlstm.errors import DataError
from charlstm.text.decoding import Decoder
from charlstm.text.tokenizer import text_of

RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n"


def decode(data: bytes, encoding: str = "utf-8", *, size: int = 1 << 20, text_only: bool = False) -> str:
    """Return the text of some bytes, which come a few at a time."""
    decoder = Decoder("a.txt", encoding, text_only=text_only, binary=False)
    text = ""
    for begin in range(0, len(data) + size, size):
        codes, error = decoder.decode(data[begin : begin + size])
        text += text_of(codes)
        if error is not None:
            raise error
    return text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "shift_jis", "latin-1"])
@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])), st.integers(1, 9))
def test_any_cut_into_blocks_gives_what_python_decodes(encoding: str, text: str, size: int) -> None:
    data = text.encode(encoding, "ignore")
    assert decode(data, encoding, size=size) == data.decode(encoding)


def test_one_byte_order_mark_is_taken_off() -> None:
    assert decode(codecs.BOM_UTF8 * 2 + b"text", size=1) == "\N{BYTE ORDER MARK}text"


@pytest.mark.parametrize("text", ["A text in Latin script,\nof two lines.\n", RUSSIAN])
@pytest.mark.parametrize("length", [1, 100, 5000])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_wide_encoding_without_its_mark_is_named(text: str, length: int, encoding: str) -> None:
    data = (text * length).encode(encoding)
    with pytest.raises(DataError, match=encoding):
        decode(data)
    with pytest.raises(DataError, match=f"--encoding {encoding}"):
        decode(data, "latin-1")
    assert decode(data, encoding) == text * length


def test_an_accent_does_not_hide_it() -> None:
    """An e with an accent in UTF-16 is not valid UTF-8, and its error must not lead to latin-1."""
    with pytest.raises(DataError, match="--encoding utf-16-le"):
        decode("un café, s'il vous plaît".encode("utf-16-le"))


@pytest.mark.parametrize(
    "text", ["a\0b\0c\n" * 40, "one\0two\0three\0" * 9, "\x1b[31mred\x1b[0m\n" * 9, RUSSIAN, "\0" * 7]
)
def test_some_control_characters_are_text(text: str) -> None:
    assert decode(text.encode()) == text


def test_what_must_be_text_has_no_nul() -> None:
    with pytest.raises(DataError, match="NUL characters: not a text"):
        decode(b"a few words" * 9 + b"\0", text_only=True)


def test_a_bad_byte_is_named_by_its_place() -> None:
    with pytest.raises(DataError, match=r"a.txt: byte 3 \(0xC3\) is not valid utf-8"):
        decode("caf\xe9".encode()[:-1])
    with pytest.raises(DataError, match=r"byte 1,000 \(0xFF\).*--encoding latin-1"):
        decode(b"x" * 1000 + b"\xff", size=7)
    with pytest.raises(DataError, match="name --encoding utf-16"):
        decode("text".encode("utf-16"))


def test_what_comes_before_a_bad_byte_is_decoded() -> None:
    codes, error = Decoder("a.txt", "shift_jis", text_only=False, binary=False).decode(
        "日本語".encode("shift_jis") + b"\x80!"
    )
    assert (text_of(codes), "byte 6" in str(error)) == ("日本語", True)
    assert codes.dtype == np.uint32
