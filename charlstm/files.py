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
_SAMPLE = 4096  # bytes that tell UTF-16 from text of one byte a character
_LONGEST_RECORD = 1 << 28  # bytes of a line of JSON Lines, which has to be read whole
_MOST_TEXT = 1 << 22  # characters of a text that is read whole
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
class Skipped:
    """Something found in a folder that was not read."""

    path: str
    reason: str


@dataclass(frozen=True)
class Repeat:
    """How a file repeats one that comes before it."""

    path: str
    original: str
    """The file that comes first."""
    kind: str
    """`named`: the same file, named again; `link`: the same file by another path; `content`: another, equal file."""


@dataclass(frozen=True)
class Listed:
    """A file, and what is known of it before it is read."""

    file: File
    sha256: str | None
    """Of its bytes; None of a pipe."""
    repeat: Repeat | None


@dataclass(frozen=True)
class Listing:
    """What paths mean."""

    every: tuple[Listed, ...]
    """All files, in the order in which they are read."""
    skipped: tuple[Skipped, ...]
    """Links of folders that lead to no file."""

    @property
    def repeats(self) -> tuple[Repeat, ...]:
        """The files that repeat an earlier one."""
        return tuple(each.repeat for each in self.every if each.repeat is not None)

    def chosen(self, *, once: bool) -> tuple[Listed, ...]:
        """Return the files to read: each content once, or as often as there are files with it."""
        return tuple(each for each in self.every if each.repeat is None) if once else self.every


@dataclass(frozen=True)
class Block:
    """A piece of a file's text."""

    codes: Codes
    ends: npt.NDArray[np.int64]
    """How many of the codes come before each end of a document; the end of the file is not among them."""
    read: int
    """Bytes of the file that were read so far, as they lie on the disk."""


def listing(paths: Sequence[str]) -> Listing:
    """Find the files that paths mean, and which of them are the same: those of a folder in the order of their paths.

    Hidden files are left out. Links to files count as the files; links to folders are not followed.

    Raises:
        InputOutputError: where a folder or a file cannot be read.
    """
    skipped: list[Skipped] = []
    every: list[Listed] = []
    identities: dict[tuple[int, ...], Listed] = {}
    contents: dict[str, Listed] = {}
    for file in _expand(paths, skipped):
        identity, sha256, repeat = _identity(file), None, None
        if identity is not None and identity in identities:
            first = identities[identity]
            same = os.path.abspath(file.path) == os.path.abspath(first.file.path)  # noqa: PTH100 (links stay links)
            sha256, repeat = first.sha256, Repeat(file.path, first.file.path, "named" if same else "link")
        elif file.lasting:
            sha256 = _sha256(file)
            if sha256 in contents and file.size:  # an empty file adds nothing that could be read twice
                repeat = Repeat(file.path, contents[sha256].file.path, "content")
        listed = Listed(file, sha256, repeat)
        every.append(listed)
        if identity is not None:
            identities.setdefault(identity, listed)
        if sha256 is not None:
            contents.setdefault(sha256, listed)
    return Listing(tuple(every), tuple(skipped))


def _expand(paths: Sequence[str], skipped: list[Skipped]) -> Iterator[File]:
    for path in paths:
        if path == STDIN or not Path(path).is_dir():
            yield File(path, found=False)
            continue
        for folder, folders, names in os.walk(path, onerror=_raise_unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in folders:
                if Path(folder, name).is_symlink():
                    place = os.path.join(folder, name)  # noqa: PTH118
                    skipped.append(Skipped(place, "a link to a folder; name that folder too if it belongs to the text"))
            for name in sorted(names):
                file = os.path.join(folder, name)  # noqa: PTH118 (Path would drop the user's leading ./)
                if name.startswith("."):
                    continue
                if _is_regular(file):
                    yield File(file, found=True)
                elif Path(file).is_symlink():
                    skipped.append(Skipped(file, "a link that leads to no file"))


def _identity(file: File) -> tuple[int, ...] | None:
    """Return what two paths to one file have in common, or None where that is not known.

    Size and time are part of it: on some network file systems two files may share a number.
    """
    if not file.lasting:
        return None
    try:
        status = Path(file.path).stat()
    except OSError:
        return None  # told by whoever opens it
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) if status.st_ino else None


def _sha256(file: File) -> str:
    with _opened(file.path) as opened:
        try:
            return hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(file, error) from error


def blocks(file: File, config: TextConfig, digest: Digest, *, binary: bool = False) -> Iterator[Block]:
    """Read a file: gzip, xz and zstd as what they hold, text in `config.encoding`, or the records of JSON Lines.

    What comes before something that cannot be decoded is yielded before the error is raised.

    Args:
        file: what to read.
        config: its tokenizer, encoding and field.
        digest: takes in all bytes, as they lie on the disk.
        binary: whether control characters are expected; otherwise a text that is full of them, as UTF-16 is when read
            as UTF-8, is refused.

    Raises:
        DataError: where the file is not in the encoding, is damaged, or has a line without the field.
        InputOutputError: where it is missing or cannot be read.
    """
    with _opened(file.path) as opened:
        raw = _Counted(opened, digest)
        stream, kind = _decompressed(io.BufferedReader(raw, _BLOCK))
        try:
            if config.field is None:
                yield from _text_blocks(file, stream, raw, config, binary=binary)
            else:
                yield from _records(file, stream, raw, config)
        except (EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError, gzip.BadGzipFile) as error:
            raise DataError(f"{file.path}: damaged {kind} data ({error}); use another copy") from None
        except OSError as error:
            raise _unreadable(file, error) from error


def text(path: str, config: TextConfig, *, binary: bool = False) -> str:
    """Return a whole text: a prompt, say; `blocks` explains the arguments.

    Raises:
        DataError: where the file is not in the encoding, or has more than 4,194,304 characters (or bytes).
        InputOutputError: where it is missing or cannot be read.
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


def _text_blocks(file: File, stream: Any, raw: _Counted, config: TextConfig, *, binary: bool) -> Iterator[Block]:
    decoder = _Decoder(file, config, binary=binary)
    while True:
        data = stream.read1(_BLOCK)
        codes, error = (np.frombuffer(data, np.uint8), None) if config.tokenizer == "byte" else decoder.decode(data)
        if len(codes):
            yield Block(codes, _NONE, raw.count)
        if error is not None:
            raise error
        if not data:
            return


class _Decoder:
    """Turns a file's bytes into code points, block by block."""

    def __init__(self, file: File, config: TextConfig, *, binary: bool) -> None:
        self._file = file
        self._encoding = config.encoding
        self._decoder = codecs.getincrementaldecoder(config.encoding)()
        self._taken = 0
        self._first = b""
        """As much of the file as tells what it is."""
        self._judged = binary or b"a".decode(config.encoding, "replace") != "a"  # a byte is no ASCII character anyway
        self._begun = False

    def decode(self, data: bytes) -> tuple[Codes, DataError | None]:
        """Return the characters that these bytes complete, and what is wrong with the next; no bytes end the file."""
        self._first += data[: _SAMPLE - len(self._first)]
        if not self._judged and (len(self._first) == _SAMPLE or not data):
            self._judged = True
            if error := self._misread():
                return _NO_CODES, error
        before = self._decoder.getstate()
        error = None
        try:
            content = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as caught:
            error = self._refusal(caught, self._taken + len(data))
            self._decoder.setstate(before)
            content = self._decoder.decode(data[: max(0, caught.start - len(caught.object) + len(data))])
        except UnicodeError as caught:  # a UTF-16 that does not say which of the two it is
            fact = f"{self._file.path}: not valid {self._encoding} ({caught})"
            return _NO_CODES, self._error(fact, "name its own --encoding")
        self._taken += len(data)
        if content and not self._begun:
            self._begun = True
            content = content.removeprefix("\N{BYTE ORDER MARK}")
        if self._file.found and "\0" in content:
            return _NO_CODES, DataError("it holds NUL characters: not a text")
        return code_points(content), error

    def _misread(self) -> DataError | None:
        """Return what is wrong with a text in which hardly a byte, or only every other one, is a printed character."""
        likely = _suspected(self._first)
        if likely is None:
            return None
        if likely == _BINARY:
            return DataError(
                f"{self._file.path}: hardly anything but control characters: not a text",
                remedies={"--tokenizer": "use --tokenizer byte"},
                otherwise="give a text",
            )
        looks = f"this looks like {likely}, not {self._encoding}"
        fact = f"{self._file.path}: control characters such as NUL at regular intervals: {looks}"
        return self._error(fact, f"name --encoding {likely}")

    def _refusal(self, error: UnicodeDecodeError, end: int) -> DataError:
        offset = end - len(error.object) + error.start
        fact = f"{self._file.path}: byte {offset:,} (0x{error.object[error.start]:02X}) is not valid {self._encoding}"
        if self._first[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
            return self._error(fact, "name --encoding utf-16")
        likely = _suspected(self._first)
        if likely is not None and likely != _BINARY:
            return self._error(fact, f"name --encoding {likely}")
        return self._error(fact, "name its own encoding (--encoding latin-1, say)")

    def _error(self, fact: str, encoding: str) -> DataError:
        return DataError(
            fact,
            remedies={"--encoding": encoding, "--tokenizer": "use --tokenizer byte"},
            otherwise=f"convert it to {self._encoding}",
        )


_NO_CODES: Codes = np.empty(0, np.uint8)
_BINARY = "binary"
_CONTROLS = np.array([byte < 32 and chr(byte) not in "\t\n\v\f\r\x1b" for byte in range(256)])
_SIGNS = {
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (True, True, True, True): _BINARY,
}
"""What a text is, by which of four bytes that come one after the other are nearly always control characters."""


def _suspected(first: bytes) -> str | None:
    """Return the encoding of more than a byte for each character, without its mark, that a text begins in; or None.

    The upper byte of most characters is small: 0 in Latin script, 4 in Cyrillic.
    """
    if len(first) < 8:
        return None
    columns = np.frombuffer(first[: len(first) // 4 * 4], np.uint8).reshape(-1, 4)
    shares = _CONTROLS[columns].mean(axis=0)
    if ((shares > 0.1) & (shares < 0.9)).any():
        return None
    return _SIGNS.get(tuple((shares > 0.5).tolist()))


def _records(file: File, stream: IO[bytes], raw: _Counted, config: TextConfig) -> Iterator[Block]:
    """Yield the fields of JSON Lines, some records at a time: each is a document."""
    waiting: list[Codes] = []
    size = 0

    def block() -> Block:
        lengths = np.array([len(codes) for codes in waiting], np.int64)
        return Block(np.concatenate(waiting), lengths.cumsum(), raw.count)

    for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_RECORD), b""), 1):
        if len(line) == _LONGEST_RECORD:
            raise DataError(
                f"{file.path}: line {number:,} has more than {_LONGEST_RECORD:,} bytes: no JSON Lines",
                remedies={"--field": "leave --field out"},
                otherwise="write each record on a line of its own",
            )
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
        raise DataError(
            f"{file.path}: line {number:,} is no JSON ({error})",
            remedies={"--field": "correct it, or leave --field out"},
            otherwise=_records_wanted(name),
        ) from None
    content = record.get(name) if isinstance(record, dict) else None
    if not isinstance(content, str):
        there = f"it has {', '.join(map(repr, list(record)[:8]))}" if isinstance(record, dict) else "it is no object"
        raise DataError(
            f"{file.path}: line {number:,} has no text in the field {name!r} ({there})",
            remedies={"--field": "name another --field"},
            otherwise=_records_wanted(name),
        )
    # JSON may escape half of a pair of surrogates, which is no character.
    return content if content.isascii() else content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _records_wanted(name: str) -> str:
    return f"give JSON Lines with the field {name!r}, as the model was trained on"
