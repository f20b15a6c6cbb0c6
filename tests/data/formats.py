"""Small files in the formats that data/readers.py reads, made byte by byte."""

import bz2
import gzip
import lzma
import struct
import zlib
from pathlib import Path

NULL = struct.pack(">i", 254)
HEAD = b"X\n" + struct.pack(">3i", 2, 0x040201, 0x020300)
HEAD_3 = b"X\n" + struct.pack(">4i", 3, 0x040201, 0x030500, 5) + b"UTF-8"
NA = struct.pack(">2i", 9, -1)


def chars(text: str) -> bytes:
    """Return a string as R writes it (CHARSXP, with the flag for UTF-8)."""
    data = text.encode()
    return struct.pack(">2i", 9 | 8 << 12, len(data)) + data


def strings(*texts: str) -> bytes:
    """Return a character vector."""
    return struct.pack(">2i", 16, len(texts)) + b"".join(map(chars, texts))


def symbol(name: str) -> bytes:
    """Return a name at its first occurrence."""
    return struct.pack(">i", 1) + chars(name)


def reference(number: int) -> bytes:
    """Return a name that was written before."""
    return struct.pack(">i", number << 8 | 255)


def attribute(name: bytes, value: bytes) -> bytes:
    """Return a cell of a pairlist with a tag."""
    return struct.pack(">i", 2 | 0x400) + name + value


def integers(*numbers: int, attributes: bytes = b"") -> bytes:
    """Return an integer vector."""
    kind = 13 | (0x200 if attributes else 0)
    return struct.pack(f">2i{len(numbers)}i", kind, len(numbers), *numbers) + attributes


def named(**values: bytes) -> bytes:
    """Return a list with names, the first use of the symbol `names`."""
    parts = b"".join(values.values())
    return struct.pack(">2i", 19 | 0x200, len(values)) + parts + attribute(symbol("names"), strings(*values)) + NULL


def write_r_database(stem: Path, **objects: bytes) -> None:
    """Write a lazy-load database; the compression goes round zlib, bzip2 and xz."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    data, places = b"", {}
    kinds = (zlib.compress, lambda raw: b"2" + bz2.compress(raw), lambda raw: b"Z" + lzma.compress(raw))
    for n, (name, value) in enumerate(objects.items()):
        record = struct.pack(">i", len(HEAD + value)) + kinds[n % 3](HEAD + value)
        places[name] = integers(len(data), len(record))
        data += record
    stem.with_suffix(".rdb").write_bytes(data)
    variables = named(**places)
    index = struct.pack(">2i", 19 | 0x200, 1) + variables + attribute(reference(1), strings("variables")) + NULL
    stem.with_suffix(".rdx").write_bytes(gzip.compress(HEAD_3 + index))


def write_sword(stem: Path, blocks: list[list[str]], *, newer: bool) -> None:
    """Write a testament of a SWORD module."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    letter, verse = ("c", "<III") if newer else ("b", "<IIH")
    data, places, verses = b"", b"", b""
    for number, entries in enumerate(blocks):
        raw = "".join(entries).encode()
        packed = zlib.compress(raw)
        places += struct.pack("<III", len(data), len(packed), len(raw))
        data += packed
        at = 0
        for entry in entries:
            verses += struct.pack(verse, number, at, len(entry.encode()))
            at += len(entry.encode())
    for part, content in zip("svz", (places, verses, data), strict=True):
        stem.with_suffix(f".{letter}z{part}").write_bytes(content)


def write_dictd(stem: Path, text: str, index: str) -> None:
    """Write a dictd dictionary."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".dict.dz").write_bytes(gzip.compress(text.encode()))
    stem.with_suffix(".index").write_text(index, encoding="utf-8")
