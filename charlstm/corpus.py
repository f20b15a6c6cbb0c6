"""Files -> text -> ids, split into a training and a held-out part."""

import codecs
import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from charlstm import tokenizer as tokenizers
from charlstm.config import TextConfig
from charlstm.errors import DataError, InputOutputError, UsageError, os_reason
from charlstm.tokenizer import Ids, Tokenizer

STDIN = "-"


@dataclass(frozen=True)
class Skipped:
    """A file of a folder that is no text."""

    path: str
    reason: str


@dataclass(frozen=True)
class Text:
    """What was read: the documents one after the other, in the order of their paths."""

    content: str
    sha256: str
    """Of the files' bytes, one after the other: for a single file, the file's own."""
    documents: int
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Split:
    """A part of the text as ids, and its size in the units that ratios need."""

    ids: Ids
    characters: int
    bytes: int
    unknown: int
    """Characters outside the vocabulary."""


@dataclass(frozen=True)
class Source:
    """Where a corpus came from; a checkpoint keeps it to find its held-out text again."""

    paths: tuple[str, ...]
    sha256: str
    characters: int
    val_paths: tuple[str, ...] = ()
    val_sha256: str | None = None


@dataclass(frozen=True)
class Corpus:
    """A text ready to train on."""

    source: Source
    tokenizer: Tokenizer
    train: Split
    val: Split
    skipped: tuple[Skipped, ...] = ()


def load(
    paths: Sequence[str], val_paths: Sequence[str], config: TextConfig, tokenizer: Tokenizer | None = None
) -> Corpus:
    """Read a corpus, split it, and encode it.

    Args:
        paths: files, folders or `-`.
        val_paths: the held-out text; where empty, the last `config.val_fraction` of the text is held out.
        config: how to read it.
        tokenizer: of the model that goes on; by default the vocabulary is taken from the training part.

    Raises:
        DataError: where there is no text, or too little variety in it.
        InputOutputError: where a file is missing or cannot be read.
    """
    text = read(paths, config)
    train, val = split(text.content, config)
    skipped, val_sha256 = text.skipped, None
    if val_paths:
        held_out = read(val_paths, config)
        train, val, val_sha256 = text.content, held_out.content, held_out.sha256
        skipped += held_out.skipped
    source = Source(tuple(paths), text.sha256, len(text.content), tuple(val_paths), val_sha256)
    _require_variety(train, source)
    if not val:
        raise DataError(
            f"{' '.join(paths)}: {len(text.content):,} characters leave none to hold out; "
            "give more text, a larger --val-fraction or --val FILE"
        )
    tokenizer = tokenizer or tokenizers.fit(config.tokenizer, train, config.min_count)
    return Corpus(source, tokenizer, encode(train, tokenizer), encode(val, tokenizer), skipped)


def split(text: str, config: TextConfig) -> tuple[str, str]:
    """Return the training part and the held-out part: the last `val_fraction` of the characters."""
    boundary = len(text) - int(len(text) * config.val_fraction)
    return text[:boundary], text[boundary:]


def encode(text: str, tokenizer: Tokenizer) -> Split:
    """Return a text as ids and sizes."""
    ids = tokenizer.encode(text)
    unknown = 0 if tokenizer.unknown_id is None else int((ids == tokenizer.unknown_id).sum())
    return Split(ids, len(text), utf8_length(text), unknown)


def utf8_length(text: str) -> int:
    """Return the bytes of `text` in UTF-8; a lone surrogate that stands for a stray byte counts one."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def read(paths: Sequence[str], config: TextConfig) -> Text:
    """Read files, folders (every text file in them, in the order of the paths) and `-` (standard input).

    Raises:
        DataError: where nothing was found, or a file that was named is not in `config.encoding`.
        InputOutputError: where a file is missing or cannot be read.
        UsageError: where the encoding has no such name.
    """
    _require_encoding(config.encoding)
    digest = hashlib.sha256()
    contents: list[str] = []
    skipped: list[Skipped] = []
    for path, found in _files(paths):
        data = _bytes(path)
        try:
            content = _text(path, data, config)
            if found and config.tokenizer == "char" and "\0" in content:
                raise DataError("it holds NUL characters: not a text")
        except DataError as error:
            if not found:
                raise
            skipped.append(Skipped(path, str(error)))
            continue
        digest.update(data)
        contents.append(content)
    content = "".join(contents)
    if not content:
        raise DataError(_nothing(paths, len(skipped)))
    return Text(content, digest.hexdigest(), len(contents), tuple(skipped))


def _files(paths: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield each file, and whether it was found in a folder (and not named by the user)."""
    for path in paths:
        if path == STDIN or not Path(path).is_dir():
            yield path, False
            continue
        for folder, folders, names in os.walk(path, onerror=_raise_unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = os.path.join(folder, name)  # noqa: PTH118 (Path would drop the user's leading ./)
                if not name.startswith(".") and _is_regular(file):
                    yield file, True


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False


def _raise_unreadable(error: OSError) -> None:
    raise InputOutputError(f"{error.filename}: {os_reason(error)}; check the path and its permissions") from error


def _bytes(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except FileNotFoundError:
        raise InputOutputError(f"{path}: no such file or folder; check the path") from None
    except OSError as error:
        raise InputOutputError(f"{path}: cannot be read ({os_reason(error)}); check its permissions") from error


def _text(path: str, data: bytes, config: TextConfig) -> str:
    if config.tokenizer == "byte":
        return data.decode("utf-8", "surrogateescape")
    try:
        return data.decode(config.encoding).removeprefix("\N{BYTE ORDER MARK}")
    except UnicodeDecodeError as error:
        where = f"byte {error.start:,} (0x{data[error.start]:02X})"
        remedy = (
            "--encoding utf-16"
            if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            else ("its own encoding (--encoding latin-1, say)")
        )
        raise DataError(
            f"{path}: {where} is not valid {config.encoding}; name {remedy}, or use --tokenizer byte"
        ) from None


def _require_encoding(name: str) -> None:
    try:
        b" ".decode(name, "replace")
    except (LookupError, ValueError):
        raise UsageError(f"--encoding {name}: no such text encoding; try utf-8, latin-1 or utf-16") from None


def _nothing(paths: Sequence[str], skipped: int) -> str:
    where = " ".join(paths)
    if skipped:
        return f"{where}: no text in it ({skipped} files skipped); name text files, or use --tokenizer byte"
    if any(path != STDIN and Path(path).is_dir() for path in paths):
        return f"{where}: no text in it; name a folder with text files"
    return f"{'standard input' if where == STDIN else where}: empty; give a text with some characters"


def _require_variety(train: str, source: Source) -> None:
    if len(set(train[:10_000])) < 2 and len(set(train)) < 2:
        raise DataError(
            f"{' '.join(source.paths)}: the training text has only one distinct character, nothing to learn; "
            "give another text"
        )
