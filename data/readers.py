"""Readers of three file formats in which Debian packages carry texts: R's data, SWORD's modules, dictd's dictionaries.

Each reads no more of its format than a corpus needs. What they return is text as it is stored, markup included.
"""

import bz2
import gzip
import lzma
import string
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DIGITS = {digit: n for n, digit in enumerate(string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/")}
INTEGER_NA = -(2**31)
SYMBOL, PAIRS, STRING, LOGICALS, INTEGERS, REALS, STRINGS, VECTOR, REFERENCE = 1, 2, 9, 10, 13, 14, 16, 19, 255
CONSTANTS = (254, 253, 251, 242, 241)  # NULL, the global environment, a missing argument, the empty and the base one


class Serialized:
    """R's serialisation (XDR, versions 2 and 3): vectors, lists, factors and data frames, the rest is an error."""

    def __init__(self, data: bytes) -> None:
        """Take what a file holds once it is decompressed."""
        self.data, self.at, self.symbols = data, 0, [""]
        if self.taken(2) != b"X\n":
            raise ValueError("no R serialisation in XDR form")
        version, _, _ = (self.integer() for _ in range(3))
        if version == 3:
            self.taken(self.integer())  # the encoding of the machine that wrote it

    def taken(self, count: int) -> bytes:
        """Return the next bytes."""
        self.at += count
        return self.data[self.at - count : self.at]

    def integer(self) -> int:
        """Return the next four bytes as a number."""
        return int(struct.unpack(">i", self.taken(4))[0])

    def value(self) -> Any:
        """Return the next value: a list, a dict if its parts have names, strings for a factor."""
        flags = self.integer()
        kind, has_attributes, has_tag = flags & 255, bool(flags & 0x200), bool(flags & 0x400)
        if kind in CONSTANTS:
            return None
        if kind == REFERENCE:
            return self.symbols[flags >> 8 or self.integer()]
        if kind == SYMBOL:
            self.symbols.append(self.value())
            return self.symbols[-1]
        if kind == PAIRS:
            return self.pairs(has_attributes, has_tag)
        length = self.integer()
        if kind == STRING:
            return None if length < 0 else self.taken(length).decode("latin-1" if flags >> 12 & 4 else "utf-8")
        plain: list[Any]
        if kind in (LOGICALS, INTEGERS):
            numbers = struct.unpack(f">{length}i", self.taken(4 * length))
            plain = [None if number == INTEGER_NA else number for number in numbers]
        elif kind == REALS:
            plain = list(struct.unpack(f">{length}d", self.taken(8 * length)))
        elif kind in (STRINGS, VECTOR):
            plain = [self.value() for _ in range(length)]
        else:
            raise ValueError(f"an R value of type {kind}, which this reader does not know")
        attributes = self.value() or {} if has_attributes else {}
        if "levels" in attributes:
            return [None if code is None else attributes["levels"][code - 1] for code in plain]
        return dict(zip(attributes["names"], plain, strict=True)) if "names" in attributes else plain

    def pairs(self, has_attributes: bool, has_tag: bool) -> dict[str, Any]:
        """Return a pairlist whose first flags were read."""
        if has_attributes:
            self.value()
        tag = self.value() if has_tag else ""
        first = self.value()
        return {tag: first, **(self.value() or {})}


def r_database(stem: Path) -> dict[str, Any]:
    """Return every object of R's lazy-load database: `stem`.rdx has the places, `stem`.rdb the objects."""
    index = Serialized(decompressed(stem.with_suffix(".rdx").read_bytes())).value()
    data = stem.with_suffix(".rdb").read_bytes()
    found = {}
    for name, (start, length) in index["variables"].items():
        record = data[start + 4 : start + length]  # after the length once it is decompressed
        if record[:1] in b"2Z":  # bzip2 and xz are told by a letter, zlib by none
            record = record[1:]
        found[name] = Serialized(decompressed(record)).value()
    return found


def decompressed(data: bytes) -> bytes:
    """Return data from any compression that R writes; data in none of them as they are."""
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:3] == b"BZh":
        return bz2.decompress(data)
    if data[:6] == b"\xfd7zXZ\x00":
        return lzma.decompress(data)
    return data if data[:2] == b"X\n" else zlib.decompress(data)


def sword_entries(stem: Path) -> Iterator[str]:
    """Yield the entries of one testament of a compressed SWORD module, in order and with their markup.

    `stem` is the path without a suffix. Of its three files, ??s has the place of each block in ??z, three numbers
    each; ??v tells of each verse its block, where it starts in it and its length, which takes 2 bytes in modules of
    the older kind (.bzv) and 4 in the newer (.czv). Verses that say nothing are left out.
    """
    letter, verse = ("c", "<III") if stem.with_suffix(".czv").exists() else ("b", "<IIH")
    places, verses, data = (stem.with_suffix(f".{letter}z{part}").read_bytes() for part in "svz")
    blocks = [zlib.decompress(data[at : at + size]) for at, size, _ in struct.iter_unpack("<III", places)]
    for block, at, size in struct.iter_unpack(verse, verses):
        if size:
            yield blocks[block][at : at + size].decode("utf-8")


def dictd_entries(stem: Path) -> Iterator[str]:
    """Yield the entries of a dictd dictionary in the order of its text, each once; what describes it is left out.

    `stem`.index has a line for each headword: the word, where its entry starts, its length, both in base 64.
    """
    data = gzip.decompress(stem.with_suffix(".dict.dz").read_bytes())
    lines = stem.with_suffix(".index").read_text(encoding="utf-8").splitlines()
    words = [line.split("\t") for line in lines]
    places = {(number(start), number(length)) for word, start, length in words if not is_about(word)}
    for start, length in sorted(places):
        yield data[start : start + length].decode("utf-8")


def is_about(word: str) -> bool:
    """Tell if a headword is one of those that describe the dictionary: 00-database-info, or 00databaseinfo."""
    return word.replace("-", "").startswith("00database")


def number(digits: str) -> int:
    """Return the number that is written in base 64, the highest digit first."""
    total = 0
    for digit in digits:
        total = total * 64 + DIGITS[digit]
    return total
