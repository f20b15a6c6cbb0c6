"""Paths -> the text of files, block by block: folders, standard input, compressed files, encodings, JSON Lines.

A block is an array of code points, or of bytes for the tokenizer `byte`; no file is ever held in memory whole.
"""

import codecs
import contextlib
import gzip
import hashlib
import io
import json
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from charlstm.config import TextConfig
from charlstm.errors import DataError, InputOutputError, UsageError, os_reason
from charlstm.tokenizer import code_points, text_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STDIN = "-"
_BLOCK = 1 << 20  # bytes read at a time: bounds the memory, and stays within the processor's cache
_SIGNATURE = 6  # bytes that tell how a file is compressed
_OPENERS: dict[bytes, tuple[str, Callable[[Any], Any]]] = {
    b"\x1f\x8b": ("gzip", lambda file: gzip.GzipFile(fileobj=file)),
    b"\xfd7zXZ\0": ("xz", lzma.LZMAFile),
    b"\x28\xb5\x2f\xfd": ("zstd", zstd.ZstdFile),
}

Codes = npt.NDArray[np.unsignedinteger]


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
        return self.path != STDIN and (not Path(self.path).exists() or _is_regular(self.path))

    @property
    def size(self) -> int:
        """Bytes on the disk; 0 where that is not known."""
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
    """Bytes of the file that were read so far, as they lie on the disk."""


def expand(paths: Sequence[str]) -> Iterator[File]:
    """Yield the files that paths mean: those of a folder in the order of their paths, without hidden ones.

    Raises:
        InputOutputError: where a folder cannot be read.
    """
    for path in paths:
        if path == STDIN or not Path(path).is_dir():
            yield File(path, found=False)
            continue
        for folder, folders, names in os.walk(path, onerror=_raise_unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = os.path.join(folder, name)  # noqa: PTH118 (Path would drop the user's leading ./)
                if not name.startswith(".") and _is_regular(file):
                    yield File(file, found=True)


def blocks(file: File, config: TextConfig, digest: Digest) -> Iterator[Block]:
    """Read a file: gzip, xz and zstd as what they hold, text in `config.encoding`, or the records of JSON Lines.

    Args:
        file: what to read.
        config: its tokenizer, encoding and field.
        digest: takes in all bytes, as they lie on the disk.

    Raises:
        DataError: where the file is not in the encoding, is damaged, or has a line without the field.
        InputOutputError: where it is missing or cannot be read.
    """
    with _opened(file.path) as opened:
        raw = _Counted(opened, digest)
        stream, kind = _decompressed(io.BufferedReader(raw, _BLOCK))
        try:
            if config.field is None:
                yield from _text_blocks(file, stream, raw, config)
            else:
                yield from _records(file, stream, raw, config)
        except (EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError, gzip.BadGzipFile) as error:
            raise DataError(f"{file.path}: damaged {kind} data ({error}); use another copy") from None
        except OSError as error:
            raise _unreadable(file, error) from error


def text(path: str, config: TextConfig) -> str:
    """Return a whole text: a prompt, say.

    Raises:
        DataError: where the file is not in the encoding.
        InputOutputError: where it is missing or cannot be read.
    """
    require_encoding(config.encoding)
    content = "".join(text_of(block.codes) for block in blocks(File(path, found=False), config, Ignored()))
    return content.encode("latin-1").decode("utf-8", "surrogateescape") if config.tokenizer == "byte" else content


def fingerprints(files: Sequence[File]) -> list[str]:
    """Return the SHA-256 of each file's bytes; none of them is standard input.

    Raises:
        InputOutputError: where one is missing or cannot be read.
    """
    hashes = []
    for file in files:
        with _opened(file.path) as opened:
            try:
                hashes.append(hashlib.file_digest(opened, "sha256").hexdigest())
            except OSError as error:
                raise _unreadable(file, error) from error
    return hashes


def require_encoding(name: str) -> None:
    """Raise `UsageError` where Python has no such text encoding."""
    try:
        b" ".decode(name, "replace")
        codecs.getincrementaldecoder(name)
    except (LookupError, ValueError):
        raise UsageError(f"--encoding {name}: no such text encoding; try utf-8, latin-1 or utf-16") from None


class Ignored:
    """Takes in bytes that need no digest."""

    def update(self, data: bytes, /) -> None:
        """Do nothing."""


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False


def _raise_unreadable(error: OSError) -> None:
    raise InputOutputError(f"{error.filename}: {os_reason(error)}; check the path and its permissions") from error


def _unreadable(file: File, error: OSError) -> InputOutputError:
    return InputOutputError(f"{file.path}: cannot be read ({os_reason(error)}); check the file and its disk")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    if path == STDIN:
        if sys.stdin is None:
            raise InputOutputError("standard input is closed; pipe a text into it, or name a file")
        yield sys.stdin.buffer
        return
    try:
        raw = Path(path).open("rb")  # noqa: SIM115 (only what fails to open is told here)
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
        data = self._file.read1(len(buffer))  # what a pipe has now, and no waiting for more
        while self.count == 0 and 0 < len(data) < _SIGNATURE and (more := self._file.read1(_SIGNATURE)):
            data += more  # but for what tells how it is compressed
        buffer[: len(data)] = data
        self._digest.update(data)
        self.count += len(data)
        return len(data)


def _decompressed(raw: io.BufferedReader) -> tuple[Any, str]:
    """Return the file as what it holds, told by its first bytes, and how it is compressed."""
    first = raw.peek(_SIGNATURE)[:_SIGNATURE]
    for signature, (kind, opener) in _OPENERS.items():
        if first.startswith(signature):
            return opener(raw), kind
    return raw, "plain"


_NONE = np.empty(0, np.int64)


def _text_blocks(file: File, stream: Any, raw: _Counted, config: TextConfig) -> Iterator[Block]:
    decode = _Decoder(file, config)
    while True:
        data = stream.read1(_BLOCK)
        codes = np.frombuffer(data, np.uint8) if config.tokenizer == "byte" else decode(data)
        if len(codes):
            yield Block(codes, _NONE, raw.count)
        if not data:
            return


class _Decoder:
    """Turns a file's bytes into code points, block by block."""

    def __init__(self, file: File, config: TextConfig) -> None:
        self._file = file
        self._encoding = config.encoding
        self._decoder = codecs.getincrementaldecoder(config.encoding)()
        self._taken = 0
        self._first = b""
        self._begun = False

    def __call__(self, data: bytes) -> Codes:
        """Return the characters that these bytes complete; no bytes mean the end of the file."""
        self._first = self._first or data[:2]
        self._taken += len(data)
        try:
            content = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise self._refusal(error) from None
        except UnicodeError as error:  # a UTF-16 that does not say which of the two it is
            raise DataError(
                f"{self._file.path}: not valid {self._encoding} ({error}); name its own --encoding"
            ) from None
        if content and not self._begun:
            self._begun = True
            content = content.removeprefix("\N{BYTE ORDER MARK}")
        if self._file.found and "\0" in content:
            raise DataError("it holds NUL characters: not a text")
        return code_points(content)

    def _refusal(self, error: UnicodeDecodeError) -> DataError:
        offset = self._taken - len(error.object) + error.start
        where = f"byte {offset:,} (0x{error.object[error.start]:02X})"
        remedy = (
            "--encoding utf-16"
            if self._first in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
            else "its own encoding (--encoding latin-1, say)"
        )
        return DataError(
            f"{self._file.path}: {where} is not valid {self._encoding}; name {remedy}, or use --tokenizer byte"
        )


def _records(file: File, stream: IO[bytes], raw: _Counted, config: TextConfig) -> Iterator[Block]:
    """Yield the fields of JSON Lines, some records at a time: each is a document."""
    waiting: list[Codes] = []
    size = 0

    def block() -> Block:
        lengths = np.array([len(codes) for codes in waiting], np.int64)
        return Block(np.concatenate(waiting), lengths.cumsum(), raw.count)

    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        content = _field(file, number, line, str(config.field))
        if config.tokenizer == "byte":
            waiting.append(np.frombuffer(content.encode(), np.uint8))
        else:
            waiting.append(code_points(content))
        size += len(waiting[-1])
        if size > _BLOCK:
            yield block()
            waiting, size = [], 0
    if waiting:
        yield block()


def _field(file: File, number: int, line: bytes, name: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file.path}: line {number:,} is no JSON ({error}); mend it, or leave --field out") from None
    content = record.get(name) if isinstance(record, dict) else None
    if not isinstance(content, str):
        there = f"it has {', '.join(map(repr, list(record)[:8]))}" if isinstance(record, dict) else "it is no object"
        raise DataError(
            f"{file.path}: line {number:,} has no text in the field {name!r} ({there}); name another --field"
        )
    # JSON may escape half of a pair of surrogates, which is no character.
    return content if content.isascii() else content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
