"""A file -> its text, block by block: standard input, compressed files, JSON Lines.

A block is an array of code points, or of bytes for the tokenizer `byte`; no file is ever held in memory whole.
"""

import codecs
import contextlib
import gzip
import io
import json
import lzma
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from charlstm.config import TextConfig
from charlstm.errors import DataError, InputOutputError, UsageError, os_reason
from charlstm.text import labels as labelling
from charlstm.text.decoding import Codes, Decoder
from charlstm.text.tokenizer import code_points, text_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STDIN = "-"
BLOCK = 1 << 20  # bytes read at a time: bounds the memory, and stays within the processor's cache
_SIGNATURE = 6  # bytes that tell how a file is compressed
LONGEST_RECORD = 1 << 28  # bytes of a line of JSON Lines, which has to be read whole
_MOST_TEXT = 1 << 22  # characters of a text that is read whole
_OPENERS: dict[bytes, tuple[str, Callable[[Any], Any]]] = {
    b"\x1f\x8b": ("gzip", lambda file: gzip.GzipFile(fileobj=file)),
    b"\xfd7zXZ\0": ("xz", lzma.LZMAFile),
    b"\x28\xb5\x2f\xfd": ("zstd", zstd.ZstdFile),
}


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""


@dataclass(frozen=True)
class File:
    """A file that is to be read."""

    path: str
    found: bool
    """Whether it was found in a folder, and not named by the user."""

    @property
    def lasting(self) -> bool:
        """Whether it can be read twice; a pipe cannot."""
        return self.path != STDIN and (not Path(self.path).exists() or is_regular(self.path))

    @property
    def size(self) -> int:
        """Bytes on the disk; 0 if that is not known."""
        try:
            return 0 if self.path == STDIN else Path(self.path).stat().st_size
        except OSError:
            return 0


@dataclass(frozen=True)
class Block:
    """A piece of a file's text."""

    codes: Codes
    ends: npt.NDArray[np.int64]
    """How many of the codes come before each end of a document; the end of the file is not among them."""
    read: int
    """Bytes of the file read so far, as they lie on the disk."""
    labels: tuple[str | None, ...] = ()
    """The label of each document that ends here, if they are fields of records."""


def blocks(
    file: File,
    config: TextConfig,
    digest: Digest,
    *,
    binary: bool = False,
    block: int = BLOCK,
    longest_record: int = LONGEST_RECORD,
    unlabelled: bool = False,
) -> Iterator[Block]:
    """Read a file: text in `config.encoding` or the records of JSON Lines, plain or compressed with gzip, xz or zstd.

    Everything before a byte that cannot be decoded is yielded before the error is raised.

    Args:
        file: what to read.
        config: its tokenizer, encoding and field.
        digest: takes in all bytes, as they lie on the disk.
        binary: whether control characters are expected; otherwise a text that is full of them, as UTF-16 is when read
            as UTF-8, is refused.
        block: bytes read at a time, and characters of JSON Lines yielded at a time: bounds the memory.
        longest_record: bytes that a line of JSON Lines may have, since it is read whole.
        unlabelled: whether a record may lack its label.

    Raises:
        DataError: if the file is not in the encoding, is damaged, or has a line without the field.
        InputOutputError: if it is missing or cannot be read.
    """
    with opened(file.path) as stored:
        raw = _Counted(stored, digest)
        stream, kind = _decompressed(io.BufferedReader(raw, max(block, _SIGNATURE)))
        try:
            if config.field is None:
                yield from _text_blocks(file, stream, raw, config, binary=binary, block=block)
            else:
                label = _unneeded if config.label_field is None else _labeller(config.label_field, unlabelled)
                yield from _records(file, stream, raw, config, block, longest_record, label)
        except (EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError, gzip.BadGzipFile) as error:
            raise DataError(f"{file.path}: damaged {kind} data ({error}); use another copy") from None
        except OSError as error:
            raise unreadable(file, error) from error


def text(path: str, config: TextConfig, *, binary: bool = False) -> str:
    """Return a whole text, such as a prompt; `blocks` explains the arguments.

    Raises:
        DataError: if the file is not in the encoding, or has more than 4,194,304 characters (or bytes).
        InputOutputError: if it is missing or cannot be read.
        UsageError: if Python has no such encoding.
    """
    require_encoding(config.encoding)
    pieces: list[Codes] = []
    length = 0
    for block in blocks(File(path, found=False), config, Ignored(), binary=binary):
        pieces.append(block.codes)
        length += len(block.codes)
        if length > _MOST_TEXT:
            what = "bytes" if config.tokenizer == "byte" else "characters"
            raise DataError(f"{path}: more than {_MOST_TEXT:,} {what}; give a shorter text, its end for example")
    content = "".join(map(text_of, pieces))
    return content.encode("latin-1").decode("utf-8", "surrogateescape") if config.tokenizer == "byte" else content


def require_encoding(name: str) -> None:
    """Raise `UsageError` if Python has no such text encoding."""
    try:
        b" ".decode(name, "replace")
        codecs.getincrementaldecoder(name)
    except (LookupError, ValueError):
        raise UsageError(f"--encoding {name}: no such text encoding; try utf-8, latin-1 or utf-16") from None


class Ignored:
    """A digest of nothing, for bytes that need none."""

    def update(self, data: bytes, /) -> None:
        """Do nothing."""


def is_regular(path: str) -> bool:
    """Return whether a path, or what it links to, is a regular file."""
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False


def unreadable(file: File, error: OSError) -> InputOutputError:
    """Return the error of a file that was opened and cannot be read."""
    return InputOutputError(f"{file.path}: cannot be read ({os_reason(error)}); check the file and its disk")


@contextlib.contextmanager
def opened(path: str) -> Iterator[Any]:
    """Open a file, or standard input.

    Raises:
        InputOutputError: if it is missing or cannot be opened.
    """
    if path == STDIN:
        if sys.stdin is None:
            raise InputOutputError("standard input is closed; pipe a text into it, or name a file")
        yield sys.stdin.buffer
        return
    try:
        raw = Path(path).open("rb")  # noqa: SIM115 (only a failure to open is handled here)
    except FileNotFoundError:
        raise InputOutputError(f"{path}: no such file or folder; check the path") from None
    except OSError as error:
        raise InputOutputError(f"{path}: cannot be read ({os_reason(error)}); check its permissions") from error
    with raw:
        yield raw


class _Counted(io.RawIOBase):
    """Hands on a file's bytes, counted and hashed."""

    def __init__(self, file: Any, digest: Digest) -> None:
        self._file = file
        self._digest = digest
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read1(len(buffer))  # what a pipe has now, without waiting for more
        while self.count == 0 and 0 < len(data) < _SIGNATURE and (more := self._file.read1(_SIGNATURE)):
            data += more  # except for the bytes that tell how it is compressed
        buffer[: len(data)] = data
        self._digest.update(data)
        self.count += len(data)
        return len(data)


def _decompressed(raw: io.BufferedReader) -> tuple[Any, str]:
    """Return a stream of what the file holds, and how it is compressed, which its first bytes tell."""
    first = raw.peek(_SIGNATURE)[:_SIGNATURE]
    for signature, (kind, opener) in _OPENERS.items():
        if first.startswith(signature):
            return opener(raw), kind
    return raw, "plain"


_NONE = np.empty(0, np.int64)


def _text_blocks(
    file: File, stream: Any, raw: _Counted, config: TextConfig, *, binary: bool, block: int
) -> Iterator[Block]:
    decoder = Decoder(file.path, config.encoding, text_only=file.found, binary=binary)
    while True:
        data = stream.read1(block)
        codes, error = (np.frombuffer(data, np.uint8), None) if config.tokenizer == "byte" else decoder.decode(data)
        if len(codes):
            yield Block(codes, _NONE, raw.count)
        if error is not None:
            raise error
        if not data:
            return


_Labeller = Callable[[File, int, Any], str | None]
"""Returns the label in a record, given its file and the number of its line."""


def _unneeded(file: File, number: int, record: Any) -> None:
    """Return no label."""


def _labeller(field: str, unlabelled: bool) -> _Labeller:
    """Return what takes the label from a record, and refuses one that lacks it unless it may be `unlabelled`."""

    def label(file: File, number: int, record: Any) -> str | None:
        found = labelling.of_record(record, field)
        if found is None and not unlabelled:
            raise DataError(
                f"{file.path}: line {number:,} has no label in the field {field!r} ({_there(record)})",
                remedies={"--label-field": "name another --label-field"},
                otherwise=f"give each line a label: a text or a whole number in the field {field!r}",
            )
        return found

    return label


def _records(
    file: File, stream: IO[bytes], raw: _Counted, config: TextConfig, block: int, longest: int, label: _Labeller
) -> Iterator[Block]:
    """Yield the fields of JSON Lines, some records at a time: each is a document."""
    waiting: list[Codes] = []
    labels: list[str | None] = []
    size = 0

    def joined() -> Block:
        lengths = np.array([len(codes) for codes in waiting], np.int64)
        return Block(np.concatenate(waiting), lengths.cumsum(), raw.count, tuple(labels))

    for number, line in enumerate(iter(lambda: stream.readline(longest), b""), 1):
        if len(line) == longest:
            raise DataError(
                f"{file.path}: line {number:,} has more than {longest:,} bytes: not JSON Lines",
                remedies={"--field": "leave --field out"},
                otherwise="write each record on a line of its own",
            )
        if not line.strip():
            continue
        record, content = _field(file, number, line, str(config.field))
        labels.append(label(file, number, record))
        if config.tokenizer == "byte":
            waiting.append(np.frombuffer(content.encode(), np.uint8))
        else:
            waiting.append(code_points(content))
        size += len(waiting[-1])
        if size > block:
            yield joined()
            waiting, labels, size = [], [], 0
    if waiting:
        yield joined()


def _there(record: Any) -> str:
    """Return what a record has, in words."""
    return f"it has {', '.join(map(repr, list(record)[:8]))}" if isinstance(record, dict) else "it is not an object"


def _field(file: File, number: int, line: bytes, name: str) -> tuple[Any, str]:
    """Return a record, and the text in it."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{file.path}: line {number:,} is not JSON ({error})",
            remedies={"--field": "correct it, or leave --field out"},
            otherwise=_records_wanted(name),
        ) from None
    content = record.get(name) if isinstance(record, dict) else None
    if not isinstance(content, str):
        raise DataError(
            f"{file.path}: line {number:,} has no text in the field {name!r} ({_there(record)})",
            remedies={"--field": "name another --field"},
            otherwise=_records_wanted(name),
        )
    # JSON may escape half of a pair of surrogates, which is not a character.
    if not content.isascii():
        content = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return record, content


def _records_wanted(name: str) -> str:
    return f"give JSON Lines with the field {name!r}, as the model was trained on"
