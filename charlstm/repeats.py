"""Which pieces of one text also occur in another, found block by block: neither text needs to fit into memory."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.tokenizer import Ids

LEAST_PIECE = 64
"""Ids that a piece has at least to be looked for within others: shorter ones occur anywhere by chance."""
_BLOCK = 1 << 19  # ids read at a time
_SAMPLED = 16  # ids of a piece that go into its sketch: all of a name
_SKETCH_BITS = 22
_MIX = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio: spreads its factor over the upper bits
_PATTERN = 1 << 11  # ids of a piece that are looked for; where they are found, all of it is compared
_ATTEMPTS = 1000  # places at which that is done

Positions = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pieces:
    """Stretches of a text: its documents, or what a cut left of them. None is empty and none overlaps another."""

    begins: Positions
    """Where they begin, ascending."""
    ends: Positions
    read: Callable[[int, int], Ids]
    """Returns the ids of the text from one place to another."""


def occurring(searched: Pieces, text: Pieces, *, within: bool) -> Flags:
    """Return which pieces are equal to a piece of `text`; or, if `within`, to any stretch of at least LEAST_PIECE ids.

    Both have the same ids. `within` is meant for few pieces: each is looked for by itself.
    """
    found = _equal(searched, text)
    if within and not found.all():
        found |= _contained(searched, text)
    return found


def _equal(searched: Pieces, text: Pieces) -> Flags:
    """Return which pieces are equal to one of `text`: only what has the sketch of one of them is hashed."""
    sketches = np.zeros(len(searched.begins), np.int64)
    digests = np.zeros(len(sketches), np.uint64)
    for begin, ids, touched in _blocks(searched):
        begun = searched.begins[touched] >= begin
        sketches[touched][begun] = _sketches(searched, begin, ids, touched)[begun]
    for numbers, hashes in _digests(searched, lambda _, __, touched: np.ones(touched.stop - touched.start, bool)):
        digests[numbers] = hashes
    known, group = np.unique(digests, return_inverse=True)
    seen = np.zeros(len(known), bool)
    wanted = np.zeros(1 << _SKETCH_BITS, bool)
    wanted[sketches] = True
    for _, hashes in _digests(text, lambda begin, ids, touched: wanted[_sketches(text, begin, ids, touched)]):
        places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        places = np.unique(places[known[places] == hashes])
        if seen[places].all():
            continue
        seen[places] = True
        if seen.all():
            break
        wanted[:] = False  # what was found once need not be found again: in a list of names much is
        wanted[sketches[~seen[group]]] = True
    return seen[group]


def _contained(searched: Pieces, text: Pieces) -> Flags:
    """Return which pieces of at least LEAST_PIECE ids are a stretch of `text`."""
    found = np.zeros(len(searched.begins), bool)
    attempts = np.zeros(len(found), np.int64)
    patterns = {
        number: searched.read(begin, begin + min(length, _PATTERN)).tobytes()
        for number, (begin, length) in enumerate(
            zip(searched.begins.tolist(), (searched.ends - searched.begins).tolist(), strict=True)
        )
        if length >= LEAST_PIECE
    }
    last = int(text.ends[-1])
    for begin in range(int(text.begins[0]), last, _BLOCK):
        ids = text.read(begin, min(begin + _BLOCK + _PATTERN - 1, last))
        data = ids.tobytes()
        for number, pattern in list(patterns.items()):
            for place in _places(data, pattern, ids.itemsize):
                attempts[number] += 1
                found[number] = _matches(searched, number, text, begin + place)
                if found[number] or attempts[number] == _ATTEMPTS:
                    del patterns[number]
                    break
        if not patterns:
            break
    return found


def _places(data: bytes, pattern: bytes, width: int) -> Iterator[int]:
    """Yield where ids of so many bytes have a pattern."""
    at = data.find(pattern)
    while at >= 0:
        if at % width == 0:
            yield at // width
        at = data.find(pattern, at + 1)


def _matches(searched: Pieces, number: int, text: Pieces, place: int) -> bool:
    """Return whether a piece is what `text` has at a place."""
    begin, length = int(searched.begins[number]), int(searched.ends[number] - searched.begins[number])
    if place + length > text.ends[-1]:
        return False
    for offset in range(0, length, _BLOCK):
        size = min(_BLOCK, length - offset)
        ours = searched.read(begin + offset, begin + offset + size)
        theirs = text.read(place + offset, place + offset + size)
        if not np.array_equal(ours, theirs):
            return False
    return True


def _blocks(pieces: Pieces) -> Iterator[tuple[int, Ids, slice]]:
    """Yield where each block of the text begins, its ids, and which pieces it has something of."""
    last = int(pieces.ends[-1])
    for begin in range(int(pieces.begins[0]), last, _BLOCK):
        end = min(begin + _BLOCK, last)
        first, beyond = np.searchsorted(pieces.ends, begin, "right"), np.searchsorted(pieces.begins, end, "left")
        if first < beyond:
            yield begin, pieces.read(begin, end), slice(int(first), int(beyond))


def _sketches(pieces: Pieces, begin: int, ids: Ids, touched: slice) -> Positions:
    """Return a number for each of the touched pieces that begins in the block, and any for one that began before.

    It is a hash of the length and of some ids, so that equal pieces have the same.
    """
    begins, lengths = pieces.begins[touched], pieces.ends[touched] - pieces.begins[touched]
    hashes = lengths.astype(np.uint64)
    for sampled in range(_SAMPLED):
        places = begins + (lengths - 1) * sampled // (_SAMPLED - 1)
        values = ids.take(places - begin, mode="clip")
        last = int(places[-1])
        if last >= begin + len(ids):
            values[-1] = pieces.read(last, last + 1)[0]
        hashes ^= values
        hashes *= np.uint64(_MIX)
        hashes ^= hashes >> np.uint64(29)
    return (hashes >> np.uint64(64 - _SKETCH_BITS)).astype(np.int64)


def _digests(
    pieces: Pieces, choose: Callable[[int, Ids, slice], Flags]
) -> Iterator[tuple[list[int], npt.NDArray[np.uint64]]]:
    """Yield the numbers of chosen pieces and their hashes, block by block.

    Args:
        pieces: some of which are hashed.
        choose: returns which of the pieces in a block that is to be; asked again, it does not matter for those that
            began in an earlier block.
    """
    unfinished = None  # the hash so far of a piece that goes on in the next block
    for begin, ids, touched in _blocks(pieces):
        chosen = choose(begin, ids, touched)
        goes_on = bool(pieces.begins[touched.start] < begin)
        if goes_on:
            chosen[0] = unfinished is not None
        numbers = (touched.start + np.flatnonzero(chosen)).tolist()
        data, width = memoryview(ids.tobytes()), ids.itemsize
        begins = np.maximum(pieces.begins[touched][chosen] - begin, 0) * width
        ends = (pieces.ends[touched][chosen] - begin) * width
        hashes = []
        for first, end in zip(begins.tolist(), ends.tolist(), strict=True):
            hashed = unfinished if goes_on and unfinished is not None else hashlib.blake2b(digest_size=8)
            hashed.update(data[first:end])
            goes_on, unfinished = False, hashed if end > len(data) else None
            if unfinished is None:
                hashes.append(hashed.digest())
        yield numbers[: len(hashes)], np.frombuffer(b"".join(hashes), np.uint64)
