"""Files -> one file of provisional numbers: the first of the two passes over a text.

Every character becomes a number, in the order in which characters first appear. On the way they are counted, and the
ends of documents noted: afterwards it is known what to hold out, and so what the vocabulary of the rest is.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from charlstm.config import TextConfig
from charlstm.errors import DataError, InputOutputError
from charlstm.text import files as filing
from charlstm.text import labels as labelling
from charlstm.text.decoding import Codes
from charlstm.text.documents import Cutter, Part, Positions
from charlstm.text.labels import Numbering
from charlstm.text.listing import Listed, Repeat, combined
from charlstm.text.tokenizer import Ids, code_points, id_dtype

_CODE_POINTS = 0x110000

Watch = Callable[[int, int], None]
"""Called with the number of bytes read so far, and their total (0 if that is not known)."""


@dataclass(frozen=True)
class Numbers:
    """A text in provisional numbers, in a file."""

    file: Path
    dtype: np.dtype[np.unsignedinteger]
    alphabet: npt.NDArray[np.int64]
    """The code point, or the byte, of each number."""
    counts: Positions
    """How many times each number occurs."""
    ends: Positions
    """Where the documents end, ascending; none is empty."""
    watch: Callable[[], None]
    """Called at each read, so that whoever wants to stop the work can."""
    block: int = filing.BLOCK
    """Numbers read at a time."""
    labels: Positions | None = None
    """The number of each document's label, or `labels.NONE`; None if documents have no labels."""
    label_names: tuple[str, ...] = ()
    """The labels, in the order of their numbers."""
    strangers: tuple[str, ...] = ()
    """Some labels that the model does not know, and that have no number."""

    @property
    def length(self) -> int:
        """Characters, or bytes."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def blocks(self, part: Part | None = None) -> Iterator[tuple[int, Ids]]:
        """Yield where each block begins and its numbers; of a part, only blocks that have something of it."""
        for begin in range(0, self.length, self.block):
            if part is None or part.touches(begin, begin + self.block):
                yield begin, self.read(begin, begin + self.block)

    def read(self, begin: int, end: int) -> Ids:
        """Return the numbers from one place to another."""
        self.watch()
        return read_ids(self.file, self.dtype, begin, end)

    def counted(self, part: Part) -> Positions:
        """Return how many times each number occurs in a part."""
        counts = np.zeros(len(self.alphabet), np.int64)
        for begin, block in self.blocks(part):
            counts += np.bincount(part.within(begin, block)[0], minlength=len(counts))
        return counts

    def extract(self, part: Part, place: Path) -> "Numbers":
        """Return the text of a part, copied to a file of its own."""
        counts = np.zeros(len(self.alphabet), np.int64)
        with place.open("wb") as file:
            for begin, block in self.blocks(part):
                numbers, _, _ = part.within(begin, block)
                counts += np.bincount(numbers, minlength=len(counts))
                file.write(numbers.tobytes())
        return replace(self, file=place, counts=counts, ends=part.closed_up().ends, labels=part.labels)


@dataclass(frozen=True)
class Gathered:
    """What one pass over files found."""

    numbers: Numbers
    sha256: str
    skipped: tuple[tuple[int, str], ...]
    """Which of the files are not text, and why."""
    repeats: tuple[Repeat, ...]
    """What turned out to repeat a file when it was read: the text of a pipe."""


def gather(
    files: Sequence[Listed],
    config: TextConfig,
    place: Path,
    *,
    once: bool = True,
    binary: bool = False,
    known: Sequence[str] | None = None,
    watch: Watch = lambda _, __: None,
    block: int = filing.BLOCK,
) -> Gathered:
    """Read all files into one; those found in folders are skipped if they are not text.

    Args:
        files: what to read, in this order.
        config: how to read it.
        place: the file that the numbers are written to.
        once: whether a pipe that repeats a file is left out.
        binary: whether control characters are expected.
        known: the labels of the model that reads the text; by default all labels are new.
        watch: called with the bytes read so far and their total, 0 if that is not known.
        block: bytes read at a time, and numbers: bounds the memory.

    Raises:
        DataError: if a file that the user named is not text, or there are too many labels.
        InputOutputError: if a file is missing, cannot be read, or changes while it is read.
    """
    skipped: list[tuple[int, str]] = []
    repeats: list[Repeat] = []
    read: dict[str, str] = {}
    hashes: list[str] = []
    total = sum(listed.file.size for listed in files)
    done = 0
    with place.open("w+b") as opened:
        writer = _Writer(opened, config.tokenizer, block, Numbering(known) if config.labels else None)
        for position, listed in enumerate(files):
            file, before = listed.file, writer.mark()
            try:
                sha256 = _read(
                    listed,
                    config,
                    writer,
                    _from(watch, done, total),
                    binary=binary,
                    block=block,
                    unlabelled=known is not None,
                )
            except labelling.TooManyLabelsError as error:
                raise DataError(f"{file.path}: {error.fact}", otherwise=labelling.ANOTHER) from None
            except DataError as error:
                if not file.found:
                    raise
                writer.back_to(before)
                skipped.append((position, error.fact.removeprefix(f"{file.path}: ")))
                continue
            finally:
                done += file.size
            if once and sha256 in read and writer.mark().count != before.count:
                writer.back_to(before)
                repeats.append(Repeat(file.path, read[sha256], "content"))
                continue
            read.setdefault(sha256, file.path)
            hashes.append(sha256)
        numbers = writer.numbers(place, lambda: watch(total, total))
    if all(listed.sha256 is not None for listed in files):  # what was skipped belongs to it as well
        hashes = [str(listed.sha256) for listed in files]
    return Gathered(numbers, combined(hashes), tuple(skipped), tuple(repeats))


def _from(watch: Watch, done: int, total: int) -> Callable[[int], None]:
    """Return a function that passes on the bytes read of one file, after `done` bytes of others."""
    return lambda read: watch(done + read, total)


def _read(
    listed: Listed,
    config: TextConfig,
    writer: "_Writer",
    watch: Callable[[int], None],
    *,
    binary: bool,
    block: int,
    unlabelled: bool,
) -> str:
    """Write a file's numbers, and return the SHA-256 of its bytes."""
    digest, cutter = hashlib.sha256(), Cutter(_separator(config))
    label = labelling.of_file(listed.file.path, config.label_from)
    for piece in filing.blocks(listed.file, config, digest, binary=binary, block=block, unlabelled=unlabelled):
        codes, ends = cutter.cut(piece.codes, piece.ends)
        writer.add(codes, ends, piece.labels if config.label_field is not None else (label,) * len(ends))
        watch(piece.read)
    codes, ends = cutter.rest()
    writer.add(codes, ends, (label,) * len(ends))
    sha256 = digest.hexdigest()
    if listed.sha256 not in {None, sha256}:
        raise InputOutputError(f"{listed.file.path}: changed while it was read; start again when it is complete")
    return sha256


def _separator(config: TextConfig) -> Codes:
    if not config.separator:
        return np.empty(0, np.uint8)
    return (
        np.frombuffer(config.between.encode(), np.uint8) if config.tokenizer == "byte" else code_points(config.between)
    )


@dataclass(frozen=True)
class _Mark:
    """How far a text had come."""

    count: int
    ends: int
    counts: Positions


class _Writer:
    """Writes codes as numbers in the order in which they first appear, with as many bytes each as that needs."""

    def __init__(self, file: IO[bytes], kind: str, block: int, numbering: Numbering | None) -> None:
        self._file = file
        self._block = block
        self._table = np.full(_CODE_POINTS, -1, np.int32)
        self._alphabet: list[int] = []
        self._counts = np.zeros(0, np.int64)
        self._ends: list[Positions] = []
        self._numbering = numbering
        self._labels: list[Positions] = []  # of the documents that end there
        self._count = 0
        self._dtype: np.dtype[np.unsignedinteger] = np.dtype(np.uint8)
        if kind == "byte":
            self._name(np.arange(256))

    def mark(self) -> _Mark:
        """Return where the text is now."""
        return _Mark(self._count, len(self._ends), self._counts.copy())

    def back_to(self, mark: _Mark) -> None:
        """Forget what came after `mark`, except which numbers stand for which codes."""
        self._count = mark.count
        del self._ends[mark.ends :]
        del self._labels[mark.ends :]
        self._counts[:] = 0
        self._counts[: len(mark.counts)] = mark.counts
        self._file.truncate(self._count * self._dtype.itemsize)
        self._file.seek(0, 2)

    def add(self, codes: Codes, ends: Positions, labels: Sequence[str | None]) -> None:
        """Append codes, and documents' ends: how many of the codes come before each; and what each is labelled with."""
        numbers = self._table.take(codes)
        if len(codes) and numbers.min() < 0:
            self._name(np.unique(codes[numbers < 0]))
            numbers = self._table.take(codes)
        self._counts += np.bincount(numbers, minlength=len(self._counts))
        self._file.write(numbers.astype(self._dtype).tobytes())
        if len(ends):  # small objects that stay would hold the heap open between the blocks
            self._ends.append(self._count + ends)
            if self._numbering is not None:
                self._labels.append(self._numbering.of(labels))
        self._count += len(codes)

    def numbers(self, place: Path, watch: Callable[[], None]) -> Numbers:
        """Return the text as it is now; `place` is the file that it was written to."""
        self._file.flush()
        ends = np.concatenate([np.zeros(1, np.int64), *self._ends])
        kept = np.diff(ends) > 0
        alphabet = np.array(self._alphabet, np.int64)
        numbers = Numbers(place, self._dtype, alphabet, self._counts, ends[1:][kept], watch, self._block)
        if self._numbering is None:
            return numbers
        labels = np.concatenate([np.zeros(0, np.int64), *self._labels])[kept]
        names, strangers = self._numbering.names, tuple(self._numbering.strangers)
        return replace(numbers, labels=labels, label_names=names, strangers=strangers)

    def _name(self, codes: npt.NDArray[Any]) -> None:
        """Give codes the next numbers."""
        self._table[codes] = np.arange(len(self._alphabet), len(self._alphabet) + len(codes))
        self._alphabet += codes.tolist()
        self._counts = np.concatenate([self._counts, np.zeros(len(codes), np.int64)])
        wanted = id_dtype(len(self._alphabet))
        if wanted.itemsize > self._dtype.itemsize:
            self._widen(wanted)

    def _widen(self, dtype: np.dtype[np.unsignedinteger]) -> None:
        """Write the file again from its end on, so that nothing is overwritten before it was read."""
        size = self._dtype.itemsize
        for begin in reversed(range(0, self._count, self._block)):
            self._file.seek(begin * size)
            block = np.frombuffer(self._file.read(min(self._block, self._count - begin) * size), self._dtype)
            self._file.seek(begin * dtype.itemsize)
            self._file.write(block.astype(dtype).tobytes())
        self._file.seek(self._count * dtype.itemsize)
        self._dtype = dtype


def read_ids(file: Path, dtype: np.dtype[np.unsignedinteger], begin: int, end: int) -> Ids:
    """Return ids of a file, from one place to another. A mapped file would count as memory used."""
    with file.open("rb") as opened:
        opened.seek(begin * dtype.itemsize)
        return np.frombuffer(opened.read((end - begin) * dtype.itemsize), dtype)
