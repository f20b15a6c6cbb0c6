"""The three readers, on files made byte by byte."""

import struct
from pathlib import Path
from types import ModuleType

import pytest

from tests.data.formats import (
    HEAD,
    HEAD_3,
    NA,
    NULL,
    attribute,
    chars,
    integers,
    named,
    reference,
    strings,
    symbol,
    write_dictd,
    write_r_database,
    write_sword,
)


@pytest.mark.parametrize("head", [HEAD, HEAD_3])
def test_a_character_vector(readers: ModuleType, head: bytes) -> None:
    assert readers.Serialized(head + strings("Emma", "", "£5")).value() == ["Emma", "", "£5"]
    vector = struct.pack(">2i", 16, 2) + NA + chars("b")
    assert readers.Serialized(head + vector).value() == [None, "b"]


def test_a_string_in_latin_1(readers: ModuleType) -> None:
    vector = struct.pack(">4i", 16, 1, 9 | 4 << 12, 1) + "é".encode("latin-1")
    assert readers.Serialized(HEAD + vector).value() == ["é"]


def test_a_data_frame(readers: ModuleType) -> None:
    """Text, a factor, numbers with one missing, logicals; the names are written after the columns."""
    levels = attribute(symbol("levels"), strings("Emma", "Persuasion"))
    book = integers(2, 1, -(2**31), attributes=levels + attribute(symbol("class"), strings("factor")) + NULL)
    year = struct.pack(">2i3d", 14, 3, 1815.0, 1.5, -2.0)
    known = struct.pack(">2i3i", 10, 3, 1, 0, -(2**31))
    frame = struct.pack(">2i", 19 | 0x300, 4) + strings("a", "b", "c") + book + year + known
    frame += attribute(symbol("names"), strings("text", "book", "year", "known"))
    frame += attribute(reference(2), strings("data.frame"))
    frame += attribute(symbol("row.names"), integers(-(2**31), -3)) + NULL
    assert readers.Serialized(HEAD + frame).value() == {
        "text": ["a", "b", "c"],
        "book": ["Persuasion", "Emma", None],
        "year": [1815.0, 1.5, -2.0],
        "known": [1, 0, None],
    }


def test_what_is_not_known_is_refused(readers: ModuleType) -> None:
    with pytest.raises(ValueError, match="type 24"):
        readers.Serialized(HEAD + struct.pack(">2i", 24, 0)).value()
    with pytest.raises(ValueError, match="XDR"):
        readers.Serialized(b"A\n2\n")


def test_a_lazy_load_database_in_every_compression(readers: ModuleType, tmp_path: Path) -> None:
    write_r_database(tmp_path / "Rdata", one=strings("a"), two=strings("b", "c"), three=named(x=integers(7)))
    assert readers.r_database(tmp_path / "Rdata") == {"one": ["a"], "two": ["b", "c"], "three": {"x": [7]}}


@pytest.mark.parametrize("newer", [False, True])
def test_the_verses_of_a_sword_module(readers: ModuleType, tmp_path: Path, newer: bool) -> None:
    long = "é" * (40_000 if newer else 30_000)  # a length of 4 bytes, or of 2
    write_sword(tmp_path / "ot", [["", "<p/>In"], ["", "the", long, "", "end"]], newer=newer)
    assert list(readers.sword_entries(tmp_path / "ot")) == ["<p/>In", "the", long, "end"]


def test_the_entries_of_a_dictionary_come_once_and_in_the_order_of_the_text(
    readers: ModuleType, tmp_path: Path
) -> None:
    text = "about\nB, n.\n£\nA, n.\n" + "x" * 70 + "\n"
    index = "00-database-info\tA\tG\n00databaseurl\tA\tG\na\tP\tG\nb\tG\tJ\nbee\tG\tJ\nxs\tV\tBH\n"
    write_dictd(tmp_path / "d", text, index)
    assert list(readers.dictd_entries(tmp_path / "d")) == ["B, n.\n£\n", "A, n.\n", "x" * 70 + "\n"]


@pytest.mark.parametrize(("digits", "number"), [("A", 0), ("/", 63), ("BA", 64), ("uA", 46 * 64), ("BdqM", 383_628)])
def test_numbers_in_base_64(readers: ModuleType, digits: str, number: int) -> None:
    assert readers.number(digits) == number
