"""Bytes <-> a container: a text in blocks, or each of its lines alone."""

import base64
import binascii
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from charlstm.compress import container as containers
from charlstm.compress import index
from charlstm.compress.coder import Decoder, Encoder
from charlstm.compress.container import BLOCK, MODEL, MOST_RATIO, STORED, ZSTD, Block, Container, Writer
from charlstm.compress.learn import Learner
from charlstm.compress.passage import Passages, Watch, text_of
from charlstm.compress.predict import Coding, Reader
from charlstm.errors import DataError, UsageError
from charlstm.text.tokenizer import code_points, widths

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVEL = 19
_HOPELESS = 16  # zstd is left to it if it makes a block shorter than this fraction: no text becomes so short
_ENDED = b"\n"
T = TypeVar("T")


def _unwatched(_: int) -> None:
    """Ignore the progress."""


@dataclass(frozen=True)
class Compressed:
    """What came of a text."""

    data: bytes
    container: Container


def compress(data: bytes, coding: Coding, *, learning: bool = True, watch: Watch = _unwatched) -> Compressed:
    """Return the container of any bytes, which is at most 32 bytes longer than they are.

    Args:
        data: a text, in UTF-8 if it is to become short.
        coding: the model.
        learning: whether the code learns from the text as it goes.
        watch: told how many more bytes are done.

    Raises:
        UsageError: if it is too long.
    """
    _require_short(data)
    passages = begun(coding, learning=learning)
    blocks: list[Block] = []
    place = 0
    while place < len(data):
        length = _cut(data, place, coding)
        blocks.append(_block(data[place : place + length], passages, watch))
        place += length
    writer = _writer(coding, learning=learning)
    whole = Container(containers.TEXT, len(data), containers.digest(data), writer, tuple(blocks))
    return _shorter(data, whole)


def compress_records(data: bytes, coding: Coding, watch: Watch = _unwatched) -> Compressed:
    """Return the container of a text whose lines are coded alone; `compress` explains the arguments."""
    _require_short(data)
    lines, unended = _lines(data)
    passages = begun(coding, learning=False)
    coded = [_record(line, passages, watch) for line in lines]
    records = b"".join(coded)
    body = Block(MODEL, records + index.encoded([len(record) for record in coded]))
    writer = _writer(coding, learning=False, unended=unended)
    whole = Container(containers.RECORDS, len(data), containers.digest(data), writer, (body,), len(records))
    return _shorter(data, whole)


def decompress(container: Container, find: Callable[[Writer], Coding], name: str, watch: Watch = _unwatched) -> bytes:
    """Return what was compressed.

    Args:
        container: what was read from a file.
        find: returns the model that it was written with.
        name: of the file, for messages.
        watch: told how many more bytes are done.

    Raises:
        DataError: if the result is not what was compressed, or this machine computes differently.
    """
    if container.writer is None:
        data = container.blocks[0].data if container.blocks else b""
    elif container.kind == containers.RECORDS:
        data = _lines_again(records(container, find, name, watch=watch), unended=container.writer.unended)
    else:
        data = _blocks(container, find, name, watch)
    if len(data) != container.size or containers.digest(data) != container.digest:
        raise DataError(f"{name}: what was read is not what was compressed (SHA-256); use another copy")
    return data


def records(
    container: Container,
    find: Callable[[Writer], Coding],
    name: str,
    number: int | None = None,
    watch: Watch = _unwatched,
) -> list[bytes]:
    """Return the records, or the one with a number, from 1 on, alone; `decompress` explains the other arguments."""
    writer = container.writer
    if container.kind == containers.RAW or writer is None:
        lines, _ = _lines(container.blocks[0].data if container.blocks else b"")
        return lines if number is None else [lines[_existing(number, len(lines), name)]]
    if container.kind != containers.RECORDS:
        raise DataError(f"{name}: it has no records; compress the text with --records")
    (body,) = container.blocks
    begins = [0]
    for length in _damaged(name, lambda: index.decoded(body.data[container.records :], container.records)):
        begins.append(begins[-1] + length)
    wanted = range(len(begins) - 1)
    if number is not None:
        at = _existing(number, len(wanted), name)
        wanted = range(at, at + 1)
    if len(begins) - 1 > container.size + 1:
        raise DataError(f"{name}: damaged (more records than bytes); use another copy")
    passages = begun(_found(find, writer, name), learning=False) if wanted else None
    found = []
    for at in wanted:
        assert passages is not None
        piece = body.data[begins[at] : begins[at + 1]]
        found.append(_damaged(name, lambda piece=piece: _record_again(piece, passages)))  # type: ignore[misc]
        watch(len(found[-1]) + 1)
    return found


def lines_of(data: bytes, coding: Coding, watch: Watch = _unwatched) -> list[str]:
    """Return each line of a text as a line of base64 that can be read alone.

    Its first byte is a check of the text and the model: a line read with another model is refused in 255 of 256 cases.
    """
    lines, _ = _lines(data)
    passages = begun(coding, learning=False)
    coded = ((line, _record(line, passages, watch)) for line in lines)
    return [base64.b64encode(_check(line, coding) + record).decode().rstrip("=") for line, record in coded]


def text_of_lines(lines: Sequence[str], coding: Coding, name: str, watch: Watch = _unwatched) -> bytes:
    """Return the text of lines that `lines_of` returned.

    Raises:
        DataError: naming the first line that is none, or that was written with another model.
    """
    passages = begun(coding, learning=False)
    found = []
    for number, line in enumerate(lines, 1):
        try:
            data = base64.b64decode(line.strip() + "=" * (-len(line.strip()) % 4), validate=True)
            found.append(_record_again(data[1:], passages))
            watch(len(found[-1]) + 1)
            if data[:1] != _check(found[-1], coding):
                raise DataError(f"written with another model than {coding.name!r}, or damaged")
        except (DataError, binascii.Error, ValueError) as problem:
            what = problem if isinstance(problem, DataError) else "not base64"
            raise DataError(f"{name}: line {number:,}: {what}; check the line, or name the --model") from None
    return _lines_again(found, unended=False)


def begun(coding: Coding, *, learning: bool) -> Passages:
    """Return what codes pieces of a text with a model."""
    return Passages(coding, Learner(coding) if learning else Reader(coding), learning=learning)


def _require_short(data: bytes) -> None:
    if len(data) > containers.MOST_BYTES:
        raise UsageError(f"{len(data):,} bytes: more than {containers.MOST_BYTES:,} would take weeks; split the file")


def _writer(coding: Coding, *, learning: bool, unended: bool = False) -> Writer:
    return Writer(coding.id, coding.name, coding.arithmetic, coding.known_answer, learning, unended)


def _shorter(data: bytes, whole: Container) -> Compressed:
    """Return a container, or one of the bytes as they are if it is not shorter."""
    plain = Container(containers.RAW, len(data), whole.digest, None, (Block(STORED, data),))
    found = [Compressed(containers.written(each), each) for each in (whole, plain) if each is plain or each.blocks]
    return min(found, key=lambda each: len(each.data))


def _cut(data: bytes, place: int, coding: Coding) -> int:
    """Return the bytes of the next block: whole characters, the last of which begins within BLOCK bytes."""
    if place + BLOCK >= len(data):
        return len(data) - place
    if coding.tokenizer.kind == "byte":
        return BLOCK
    _, sizes = widths(code_points(text_of(data[place : place + containers.LONGEST_BLOCK])), "char")
    ends = sizes.cumsum()
    return int(ends[ends.searchsorted(BLOCK)])


def _block(piece: bytes, passages: Passages, watch: Watch) -> Block:
    packed = zstd.compress(piece, _LEVEL)
    plain = Block(ZSTD, packed) if len(packed) < len(piece) else Block(STORED, piece)
    if len(packed) * _HOPELESS < len(piece):
        watch(len(piece))
    else:
        encoder = Encoder()
        if passages.encode(text_of(piece), encoder, watch, most=len(plain.data)):
            coded = encoder.finish()
            if len(coded) < len(plain.data) and len(piece) <= MOST_RATIO * len(coded):
                return Block(MODEL, coded)
    passages.begin()  # as a reader does, who has not read this block with the model
    return plain


def _blocks(container: Container, find: Callable[[Writer], Coding], name: str, watch: Watch) -> bytes:
    assert container.writer is not None
    learning = container.writer.learning
    passages: Passages | None = None
    found = bytearray()
    for block in container.blocks:
        wanted = min(BLOCK, container.size - len(found))
        if block.method == MODEL:
            if wanted > MOST_RATIO * len(block.data):
                raise DataError(f"{name}: damaged (a block is too short for its text); use another copy")
            if passages is None:
                passages = begun(_found(find, container.writer, name), learning=learning)
            reader, data = passages, block.data
            found += _damaged(name, lambda: reader.decode(Decoder(data), wanted, watch))  # noqa: B023
            continue
        if passages is not None:
            passages.begin()
        found += block.data if block.method == STORED else _unpacked(block.data, name)
        watch(wanted)
    return bytes(found)


def _unpacked(data: bytes, name: str) -> bytes:
    """Return what zstd compressed: a block at most."""
    try:
        reader = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 21})
        found = reader.decompress(data, max_length=containers.LONGEST_BLOCK + 1)
    except zstd.ZstdError as problem:
        raise DataError(f"{name}: damaged zstd data ({problem}); use another copy") from None
    if len(found) > containers.LONGEST_BLOCK or not reader.eof:
        raise DataError(f"{name}: damaged (a block is too long); use another copy")
    return found


def _found(find: Callable[[Writer], Coding], writer: Writer, name: str) -> Coding:
    """Return the model, once it is known that it computes here what it computed there."""
    coding = find(writer)
    if coding.id != writer.model_id:
        raise DataError(
            f"{name}: written with {writer.words}, and {coding.name!r} is another one (id {coding.id.hex()}); "
            "name the right --model"
        )
    if coding.arithmetic != writer.arithmetic:
        raise DataError(
            f"{name}: written with arithmetic {writer.arithmetic}, this version has {coding.arithmetic}; use the "
            "version of charlstm that wrote it"
        )
    if coding.known_answer != writer.known_answer:
        raise DataError(
            f"{name}: this machine computes other probabilities than the one that wrote it; report it as a bug, and "
            "use another machine"
        )
    return coding


def _damaged(name: str, read: Callable[[], T]) -> T:
    """Return what `read` does; its error names the file."""
    try:
        return read()
    except DataError as problem:
        raise DataError(f"{name}: damaged ({problem}); use another copy") from None


def _lines(data: bytes) -> tuple[list[bytes], bool]:
    """Return the lines of a text, and whether the last one has no end."""
    lines = data.split(_ENDED)
    unended = lines[-1] != b""
    return (lines if unended else lines[:-1]), unended


def _lines_again(lines: Sequence[bytes], *, unended: bool) -> bytes:
    return _ENDED.join(lines) + (b"" if unended or not lines else _ENDED)


def _record(line: bytes, passages: Passages, watch: Watch) -> bytes:
    """Return the code of a line: long enough to tell that it is there, and how long the line can be at most."""
    passages.begin()
    encoder = Encoder()
    passages.encode(text_of(line), encoder, watch, one=True)
    passages.end(encoder)
    watch(1)
    return encoder.finish().ljust(max(1, -(-len(line) // MOST_RATIO)), b"\0")


def _record_again(data: bytes, passages: Passages) -> bytes:
    passages.begin()
    return passages.decode_document(Decoder(data), MOST_RATIO * len(data))


def _existing(number: int, count: int, name: str) -> int:
    if not 1 <= number <= count:
        raise UsageError(f"--record {number}: {name} has the records 1 to {count:,}; choose one of them")
    return number - 1


def _check(line: bytes, coding: Coding) -> bytes:
    return bytes([zlib.crc32(line, zlib.crc32(coding.id)) & 0xFF])
