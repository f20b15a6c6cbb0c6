"""The file: what a container holds <-> its bytes, little-endian. Every length is checked before it is believed.

    "CLZ" version=1 kind                 kind 0: the original as it is follows; 1: a text in blocks; 2: records
    size (varint)  SHA-256 of the original (its first 8 bytes)
  and if a model was used
    flags  arithmetic version  model's id (8 bytes)  length and UTF-8 of its name  known answer (2 bytes)
  then blocks until the end of the file, each
    method (0 stored, 1 zstd, 2 model)  length (varint)  CRC-32 of the file up to here and of what follows  the bytes
  or the records: length of all (varint)  CRC-32 as above, of what follows  the records, one after the other  the index

A varint has seven bits per byte, the lowest first; the eighth bit says that more follow.
"""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from charlstm.errors import DataError

MAGIC = b"CLZ"
_VERSION = 1
RAW, TEXT, RECORDS = range(3)
"""Kinds of container."""
STORED, ZSTD, MODEL = range(3)
"""How a block is coded."""
LEARNING, UNENDED = 1, 2
"""Flags: the code learnt as it went; the last record does not end in a newline."""
BLOCK = 1 << 20
"""Bytes of the original in a block, plus at most three of a character that begins in it."""
LONGEST_BLOCK = BLOCK + 3
MOST_BYTES = 1 << 32
"""Of an original: more would take weeks."""
MOST_RATIO = 64
"""A block that the model makes shorter than this fraction is left to zstd: its length bounds the work to read it."""
_DIGEST = _ID = 8
_LONGEST_NAME = 64
_CRC = 4


@dataclass(frozen=True)
class Writer:
    """The model that a container was written with, and how."""

    model_id: bytes
    name: str
    """For people: what to look for."""
    arithmetic: int
    """Version of the arithmetic."""
    known_answer: bytes
    """What a machine that computes as the writer's did finds for a fixed text."""
    learning: bool
    unended: bool = False

    @property
    def words(self) -> str:
        """The model in words, for messages."""
        return f"the model {self.name!r} (id {self.model_id.hex()})"


@dataclass(frozen=True)
class Block:
    """A piece of the text."""

    method: int
    data: bytes


@dataclass(frozen=True)
class Container:
    """What is in a file."""

    kind: int
    size: int
    """Bytes of the original."""
    digest: bytes
    writer: Writer | None
    """None if no model was used."""
    blocks: tuple[Block, ...]
    """Of a text; a container of another kind has one, with all its bytes, which begin with the records."""
    records: int = 0
    """Bytes of the records; the index follows."""


def digest(data: bytes) -> bytes:
    """Return what tells an original from any other."""
    return hashlib.sha256(data).digest()[:_DIGEST]


def written(container: Container) -> bytes:
    """Return the bytes of a container."""
    out = bytearray(MAGIC)
    out += bytes((_VERSION, container.kind))
    out += varint(container.size) + container.digest
    writer = container.writer
    if container.kind == RAW or writer is None:
        return bytes(out + container.blocks[0].data)
    name = writer.name.encode("utf-8", "replace")[:_LONGEST_NAME].decode("utf-8", "ignore").encode()
    out += bytes((LEARNING * writer.learning | UNENDED * writer.unended, writer.arithmetic))
    out += writer.model_id + bytes([len(name)]) + name + writer.known_answer
    crc = zlib.crc32(out)
    for block in container.blocks:
        head = bytes([block.method]) + varint(len(block.data))
        if container.kind == RECORDS:
            head = varint(container.records)
        crc = zlib.crc32(block.data, zlib.crc32(head, crc))
        out += head + crc.to_bytes(_CRC, "little") + block.data
    return bytes(out)


def varint(number: int) -> bytes:
    """Return a number in seven bits per byte."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def parsed(data: bytes, name: str) -> Container:
    """Return what a file holds; all its checksums are checked, except that of the original.

    Args:
        data: the file.
        name: of the file, for messages.

    Raises:
        DataError: if it is no container, was written by a newer version, or is damaged.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise DataError(f"{name}: not a file that `charlstm compress` wrote; check the name")
    try:
        return _parsed(_Bytes(data, len(MAGIC)), name)
    except _DamagedError as problem:
        raise DataError(f"{name}: damaged at byte {problem.at:,} ({problem.what}); use another copy") from None


class _DamagedError(Exception):
    def __init__(self, at: int, what: str) -> None:
        super().__init__(what)
        self.at, self.what = at, what


class _Bytes:
    """Takes a file apart from its beginning."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data = data
        self.place = place

    @property
    def left(self) -> int:
        return len(self.data) - self.place

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise _DamagedError(len(self.data), "it ends too early")
        self.place += count
        return self.data[self.place - count : self.place]

    def byte(self, most: int, what: str) -> int:
        at = self.place
        value = self.take(1)[0]
        if value > most:
            raise _DamagedError(at, f"{what} is {value}")
        return value

    def number(self, most: int, what: str) -> int:
        at, value, shift = self.place, 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if value > most or shift > 63:
                raise _DamagedError(at, f"{what} is above {most:,}")
            if byte < 0x80:
                if byte == 0 and shift > 7:
                    raise _DamagedError(at, f"{what} has more bytes than it needs")
                return value

    def checked(self, length: int, crc: int) -> tuple[bytes, int]:
        """Return the bytes after a CRC-32, and the CRC up to their end."""
        at, found = self.place, int.from_bytes(self.take(_CRC), "little")
        data = self.take(length)
        crc = zlib.crc32(data, crc)
        if crc != found:
            raise _DamagedError(at, "its CRC-32 does not match")
        return data, crc


def _parsed(file: _Bytes, name: str) -> Container:
    version = file.take(1)[0]
    if version != _VERSION:
        raise DataError(f"{name}: written in format {version}, this version reads {_VERSION}; update charlstm")
    kind = file.byte(RECORDS, "the kind")
    size = file.number(MOST_BYTES, "the size")
    sha256 = file.take(_DIGEST)
    if kind == RAW:
        if file.left != size:
            raise _DamagedError(len(file.data), f"it has {file.left:,} bytes of an original of {size:,}")
        return Container(kind, size, sha256, None, (Block(STORED, file.take(size)),))
    flags = file.byte(LEARNING | UNENDED, "the flags")
    arithmetic = file.take(1)[0]
    model_id = file.take(_ID)
    at = file.place
    try:
        model = file.take(file.byte(_LONGEST_NAME, "the length of the name")).decode()
    except UnicodeDecodeError:
        raise _DamagedError(at, "the name is not UTF-8") from None
    answer = file.take(2)
    writer = Writer(model_id, model, arithmetic, answer, bool(flags & LEARNING), bool(flags & UNENDED))
    crc = zlib.crc32(file.data[: file.place])
    if kind == RECORDS:
        begin = file.place
        length = file.number(file.left, "the length of the records")
        crc = zlib.crc32(file.data[begin : file.place], crc)
        data, _ = file.checked(file.left - _CRC, crc)
        if length > len(data):
            raise _DamagedError(begin, "the records are longer than the file")
        return Container(kind, size, sha256, writer, (Block(MODEL, data),), length)
    return Container(kind, size, sha256, writer, tuple(_blocks(file, size, crc)))


def _blocks(file: _Bytes, size: int, crc: int) -> Iterator[Block]:
    """Yield the blocks of a text; there are as many as its size needs."""
    least = -(-size // LONGEST_BLOCK)
    most = -(-size // BLOCK)
    count = 0
    while file.left:
        begin = file.place
        method = file.byte(MODEL, "the method of a block")
        length = file.number(min(file.left, LONGEST_BLOCK), "the length of a block")
        crc = zlib.crc32(file.data[begin : file.place], crc)
        data, crc = file.checked(length, crc)
        count += 1
        if count > most:
            raise _DamagedError(begin, f"more blocks than {size:,} bytes have")
        yield Block(method, data)
    if count < least:
        raise _DamagedError(len(file.data), "it ends too early")
