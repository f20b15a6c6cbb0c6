"""Which pieces of one text also occur in another, found block by block: neither text needs to fit into memory."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.text.documents import Flags, Positions
from charlstm.text.tokenizer import Ids

LEAST_PIECE = 64
"""Ids that a piece needs to be looked for within others: shorter ones occur anywhere by chance."""
BLOCK = 1 << 19
"""Ids read at a time."""
PATTERN = 1 << 11
"""Ids of a piece that are looked for; if they are found, all of it is compared."""
_ATTEMPTS = 1000  # places at which that is done
_SAMPLED = 16  # ids of a piece that go into its sketch: all of a name
_SKETCH_BITS = 22
_MIX = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: spreads its factor over the upper bits


@dataclass(frozen=True)
class Overlap:
    """Held-out documents that also occur in the training text."""

    documents: int = 0
    of: int = 0
    """How many documents there were to hold out."""
    dropped: bool = False
    """Whether the documents that occur in both were left out of the held-out part."""

    def notes(self) -> list[str]:
        """Return what a user should know about it: one line, or none."""
        if not self.documents:
            return []
        which = "the held-out text" if self.of == 1 else f"{self.documents:,} of {self.of:,} held-out documents"
        verb = "occurs" if self.of == 1 else "occur"
        outcome = "left out of the held-out part" if self.dropped else "the model is scored on what it has learnt from"
        return [f"{which} also {verb} in the training text: {outcome}"]


@dataclass(frozen=True)
class Pieces:
    """Stretches of a text: its documents, or what a cut left of them. None is empty and no two overlap."""

    begins: Positions
    """Where they begin, ascending."""
    ends: Positions
    read: Callable[[int, int], Ids]
    """Returns the ids of the text from one place to another."""

    def blocks(self, size: int) -> Iterator[tuple[int, Ids]]:
        """Yield where each block of the text begins, and its ids: those blocks that have something of a piece."""
        last = int(self.ends[-1])
        for begin in range(int(self.begins[0]), last, size):
            end = min(begin + size, last)
            touched = self.touched(begin, end)
            if touched.start < touched.stop:
                yield begin, self.read(begin, end)

    def touched(self, begin: int, end: int) -> slice:
        """Return which pieces have something between two places."""
        first, beyond = np.searchsorted(self.ends, begin, "right"), np.searchsorted(self.begins, end, "left")
        return slice(int(first), int(beyond))


def occurring(searched: Pieces, text: Pieces, *, within: bool, block: int = BLOCK, pattern: int = PATTERN) -> Flags:
    """Return which pieces occur in a text, as a `Search` of all its blocks says; its arguments are explained there."""
    search = Search(searched, text, within=within, block=block, pattern=pattern)
    for begin, ids in text.blocks(block):
        search.see(begin, ids)
        if search.complete:
            break
    return search.found


class Search:
    """Looks for pieces in a text that passes by: for equal pieces, or for any stretch of at least LEAST_PIECE ids."""

    def __init__(
        self, searched: Pieces, text: Pieces, *, within: bool, block: int = BLOCK, pattern: int = PATTERN
    ) -> None:
        """Read the pieces, once.

        Args:
            searched: what is looked for, in the ids of `text`.
            text: what it is looked for in.
            within: whether stretches count as well; meant for few pieces, since each is looked for by itself.
            block: ids of `searched` read at a time.
            pattern: ids of a piece that are looked for, at least LEAST_PIECE; if they are found, all are compared.
        """
        self._text = text
        self._equal = _Equal(searched, text, block)
        self._contained = _Contained(searched, text, block, pattern) if within else None

    @property
    def found(self) -> Flags:
        """Which of the pieces occur in what has passed by."""
        return self._equal.found if self._contained is None else self._equal.found | self._contained.found

    @property
    def complete(self) -> bool:
        """Whether all of them do."""
        return bool(self.found.all())

    def see(self, begin: int, ids: Ids) -> None:
        """Look at the next block of the text; it may go on beyond the last piece.

        Args:
            begin: where the block begins.
            ids: the block's.
        """
        ids = ids[: max(0, int(self._text.ends[-1]) - begin)]
        if len(ids):
            self._equal.see(begin, ids)
            if self._contained is not None:
                self._contained.see(begin, ids)


class _Equal:
    """Finds which pieces are equal to one of the text: only what has the sketch of one of them is hashed."""

    def __init__(self, searched: Pieces, text: Pieces, block: int) -> None:
        self._text = text
        self._sketches = np.zeros(len(searched.begins), np.int64)
        digests = np.zeros(len(self._sketches), np.uint64)
        hasher = _Hasher(searched)
        for begin, ids in searched.blocks(block):
            touched = searched.touched(begin, begin + len(ids))
            begun = searched.begins[touched] >= begin
            self._sketches[touched][begun] = _sketches(searched, begin, ids, touched)[begun]
            numbers, hashes = hasher.add(begin, ids, touched, np.ones(touched.stop - touched.start, bool))
            digests[numbers] = hashes
        self._known, self._group = np.unique(digests, return_inverse=True)
        self._seen = np.zeros(len(self._known), bool)
        self._wanted = np.zeros(1 << _SKETCH_BITS, bool)
        self._wanted[self._sketches] = True
        self._hasher = _Hasher(text)

    @property
    def found(self) -> Flags:
        return self._seen[self._group]

    def see(self, begin: int, ids: Ids) -> None:
        touched = self._text.touched(begin, begin + len(ids))
        if self._seen.all() or touched.start >= touched.stop:
            return
        chosen = self._wanted[_sketches(self._text, begin, ids, touched)]
        _, hashes = self._hasher.add(begin, ids, touched, chosen)
        places = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        places = np.unique(places[self._known[places] == hashes])
        if self._seen[places].all():
            return
        self._seen[places] = True
        self._wanted[:] = False  # what was found need not be found again: in a list of names much is
        self._wanted[self._sketches[~self.found]] = True


class _Contained:
    """Finds which pieces of at least LEAST_PIECE ids are a stretch of the text."""

    def __init__(self, searched: Pieces, text: Pieces, block: int, pattern: int) -> None:
        self._searched, self._text, self._block = searched, text, block
        self.found = np.zeros(len(searched.begins), bool)
        self._attempts = np.zeros(len(self.found), np.int64)
        self._ahead = pattern - 1
        self._patterns = {
            number: searched.read(begin, begin + min(length, pattern)).tobytes()
            for number, (begin, length) in enumerate(
                zip(searched.begins.tolist(), (searched.ends - searched.begins).tolist(), strict=True)
            )
            if length >= LEAST_PIECE
        }

    def see(self, begin: int, ids: Ids) -> None:
        if not self._patterns:
            return
        end = begin + len(ids)
        ahead = self._text.read(end, min(end + self._ahead, int(self._text.ends[-1])))  # a pattern may begin here
        data = ids.tobytes() + ahead.tobytes()
        for number, pattern in list(self._patterns.items()):
            for place in _places(data, pattern, ids.itemsize):
                if place >= len(ids):  # the next block begins there
                    break
                self._attempts[number] += 1
                self.found[number] = _matches(self._searched, number, self._text, begin + place, self._block)
                if self.found[number] or self._attempts[number] == _ATTEMPTS:
                    del self._patterns[number]
                    break


def _places(data: bytes, pattern: bytes, width: int) -> Iterator[int]:
    """Yield where a pattern begins among ids of `width` bytes."""
    at = data.find(pattern)
    while at >= 0:
        if at % width == 0:
            yield at // width
        at = data.find(pattern, at + 1)


def _matches(searched: Pieces, number: int, text: Pieces, place: int, block: int) -> bool:
    """Return whether a piece is what `text` has at a place."""
    begin, length = int(searched.begins[number]), int(searched.ends[number] - searched.begins[number])
    if place + length > text.ends[-1]:
        return False
    for offset in range(0, length, block):
        size = min(block, length - offset)
        ours = searched.read(begin + offset, begin + offset + size)
        theirs = text.read(place + offset, place + offset + size)
        if not np.array_equal(ours, theirs):
            return False
    return True


def _sketches(pieces: Pieces, begin: int, ids: Ids, touched: slice) -> Positions:
    """Return a number for each of the touched pieces that begins in the block, and any for one that began before.

    It is a hash of the length and of some ids, so equal pieces have the same.
    """
    begins, lengths = pieces.begins[touched], pieces.ends[touched] - pieces.begins[touched]
    hashes = lengths.astype(np.uint64)
    for sampled in range(_SAMPLED):
        places = begins + (lengths - 1) * sampled // (_SAMPLED - 1)
        values = ids.take(places - begin, mode="clip")
        last = int(places[-1])
        if last >= begin + len(ids) and begins[-1] >= begin:
            values[-1] = pieces.read(last, last + 1)[0]
        hashes ^= values
        hashes *= np.uint64(_MIX)
        hashes ^= hashes >> np.uint64(29)
    return (hashes >> np.uint64(64 - _SKETCH_BITS)).astype(np.int64)


class _Hasher:
    """Hashes pieces of a text that passes by."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._unfinished: Any = None  # the hash so far of a piece that goes on in the next block

    def add(self, begin: int, ids: Ids, touched: slice, chosen: Flags) -> tuple[list[int], npt.NDArray[np.uint64]]:
        """Return the numbers of those chosen pieces that end in a block, and their hashes.

        Args:
            begin: where the block begins.
            ids: the block's.
            touched: the pieces that have something in it.
            chosen: which of them are hashed; for one that began in an earlier block, what was said there holds.
        """
        pieces = self._pieces
        goes_on = bool(pieces.begins[touched.start] < begin)
        if goes_on:
            chosen[0] = self._unfinished is not None
        numbers = (touched.start + np.flatnonzero(chosen)).tolist()
        data, width = memoryview(ids.tobytes()), ids.itemsize
        begins = np.maximum(pieces.begins[touched][chosen] - begin, 0) * width
        ends = (pieces.ends[touched][chosen] - begin) * width
        hashes = []
        for first, end in zip(begins.tolist(), ends.tolist(), strict=True):
            hashed = self._unfinished if goes_on and self._unfinished is not None else hashlib.blake2b(digest_size=8)
            hashed.update(data[first:end])
            goes_on, self._unfinished = False, hashed if end > len(data) else None
            if self._unfinished is None:
                hashes.append(hashed.digest())
        return numbers[: len(hashes)], np.frombuffer(b"".join(hashes), np.uint64)
