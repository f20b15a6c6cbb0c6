"""Hashed n-grams as input: one learnt vector for the last 2 characters together, one for the last 3, and so on.

The vector of an n-gram is a row of a table that all orders share; a hash of the n characters says which row. Counting
models live on such n-grams (Mikolov et al. 2011, "RNNME", adds them to the output; Joulin et al. 2016, "fastText", sums
rows chosen by a hash). With them the network gets for nothing what it would otherwise learn slowly: the near. Its state
is left for the far.

Hashing uses code points (or bytes), not ids, so a table keeps its meaning under another vocabulary; and 32-bit integer
arithmetic, which C and JavaScript (`Math.imul`) repeat exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charlstm.config import ModelConfig

Array = Any
"""A numpy array or a torch tensor of 64-bit integers."""

NOTHING = 0
"""The code before the beginning of a text, and of `<end>`: no n-gram reaches across it."""
LAST_CODE = 0x110002
"""The code of `<start>`; all characters have lower ones."""
_MASK = 0xFFFFFFFF
_FACTOR = 0x9E3779B1  # odd, 2^32 divided by the golden ratio (Knuth, The Art of Computer Programming 3, 6.4)
_FIRST, _SECOND = 0x85EBCA6B, 0xC2B2AE35  # the finaliser of MurmurHash3 (Appleby 2011)


class Alphabet(Protocol):
    """What a network needs to know of its ids; a tokenizer is one."""

    @property
    def vocab_size(self) -> int:
        """Number of ids that are written."""

    @property
    def num_ids(self) -> int:
        """Number of ids that are read: those that are written, then the labels of documents."""

    @property
    def unknown_id(self) -> int | None:
        """The id of unknown characters, or None."""

    @property
    def start_id(self) -> int:
        """The id that opens a document without a label."""

    @property
    def labels(self) -> Sequence[str]:
        """What documents may be labelled with, in the order of their ids."""

    @property
    def end_id(self) -> int | None:
        """The id that ends a document, or None if documents have no frames."""

    @property
    def codes(self) -> npt.NDArray[np.int64]:
        """What n-grams hash for each id, (num_ids,): the code point (or byte) plus 1; NOTHING for `<end>`."""


@dataclass(frozen=True)
class Symbols:
    """An alphabet without characters: ids that stand for nothing but themselves."""

    vocab_size: int
    unknown_id: int | None = None
    end_id: int | None = None
    start_id: int = 0
    labels: tuple[str, ...] = ()

    @property
    def num_ids(self) -> int:
        """The same number: there are no labels."""
        return self.vocab_size

    @property
    def codes(self) -> npt.NDArray[np.int64]:
        """Each id plus 1, (V,)."""
        codes = np.arange(1, self.vocab_size + 1)
        if self.end_id is not None:
            codes[self.end_id] = NOTHING
        return codes


def orders(highest: int) -> range:
    """Return the orders of the n-grams: 2 to `highest`; none if it is below 2."""
    return range(2, highest + 1)


def hashes(codes: Array, highest: int) -> list[Array]:
    """Return the hash of the n-gram that ends at each place, for each order, and NOTHING if there is none.

    h_1 = code and h_n(t) = h_(n-1)(t - 1) * factor + code(t), modulo 2^32; the order is mixed in last, so that the same
    sum has another hash in another order. A hash is 1 to 2^32; `row` maps it to a table's rows.

    Args:
        codes: (highest - 1 + T, ...): those before the places, then those at them.
        highest: the highest order.

    Returns:
        For each order 2 to `highest` an array (T, ...).
    """
    length = len(codes) - (highest - 1)
    found = []
    sums, whole = codes, codes != NOTHING
    for order in orders(highest):
        last = codes[order - 1 :]
        sums = (sums[:-1] * _FACTOR + last) & _MASK
        whole = whole[:-1] & (last != NOTHING)
        found.append((_mixed(sums[-length:] ^ (order * _FACTOR & _MASK)) + 1) * whole[-length:])
    return found


def _mixed(sums: Array) -> Array:
    """Return 32-bit numbers in which every bit depends on every bit of these."""
    sums = ((sums ^ (sums >> 16)) * _FIRST) & _MASK
    sums = ((sums ^ (sums >> 13)) * _SECOND) & _MASK
    return sums ^ (sums >> 16)


def row(hashed: Array, rows: int) -> Array:
    """Return the row of each hash in a table of this many rows, a power of two."""
    return (hashed - 1) & (rows - 1)


def distinct(codes: npt.NDArray[np.int64], order: int) -> float:
    """Return the number of different n-grams of an order in a text, per place; 1 if none comes twice.

    They are counted in a bitmap, of which hashes that fall together are estimated (linear counting, Whang et al. 1990).
    """
    size = 1 << max(16, (8 * len(codes)).bit_length())
    seen, places = np.zeros(size, bool), 0
    for begin in range(0, len(codes) - order + 1, _PIECE):
        (*_, hashed) = hashes(codes[begin : begin + _PIECE + order - 1], order)
        found = hashed[hashed != NOTHING]
        seen[row(found, size)] = True
        places += len(found)
    return float(-size * np.log1p(-seen.mean()) / max(1, places))


_PIECE = 1 << 18  # places whose hashes are held in memory at a time


def one(codes: Sequence[int], rows: int) -> list[int]:
    """Return the rows of the n-grams that end at the last of these codes, in Python's integers: for a single stream.

    Args:
        codes: the last characters, as many as the highest order.
        rows: of the table, a power of two.
    """
    found: list[int] = []
    place, factor, total, order = len(codes) - 1, 1, 0, 0
    while place >= 0 and codes[place] != NOTHING:
        total = (total + codes[place] * factor) & _MASK
        factor = factor * _FACTOR & _MASK
        place -= 1
        order += 1
        if order > 1:
            found.append(_mixed(total ^ (order * _FACTOR & _MASK)) & (rows - 1))
    return found


DENSE = "ngrams.weight"
"""The whole table, (R, E): how torch keeps it."""
ROWS, VALUES, SCALES = "ngrams.rows", "ngrams.values", "ngrams.scales"
"""The rows in use alone: how files keep it. Which rows they are, (U,), ascending; their vectors, (U, E), in fp32, or in
8 bits, to be multiplied by their scales, (U,)."""
LIMIT = 12_000_000
"""Bytes that the table of a finished model takes at most in its file."""


def packed(table: npt.NDArray[np.float32], used: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    """Return the rows in use, exactly.

    Args:
        table: (R, E).
        used: which rows, (U,), ascending.
    """
    return {ROWS: used.astype(np.int32), VALUES: table[used]}


def rounded(
    table: npt.NDArray[np.float32],
    used: npt.NDArray[np.int64],
    importance: npt.NDArray[np.float32],
    *,
    limit: int = LIMIT,
) -> dict[str, npt.NDArray[Any]]:
    """Return the rows in use in 8 bits; if they take more than `limit` bytes, only the most important ones.

    Args:
        table: (R, E).
        used: which rows, (U,), ascending.
        importance: of each of these rows, (U,).
        limit: bytes.
    """
    most = limit // (table.shape[1] + 8)
    if len(used) > most:
        used = used[np.sort(np.argsort(-importance, kind="stable")[:most])]
    values = table[used]
    scales = np.abs(values).max(1, initial=0) / np.float32(127)
    # The scale of vectors that are nearly zero has few bits, and may be too small for them.
    whole = np.rint(values / np.where(scales > 0, scales, 1)[:, None]).clip(-127, 127)
    return {ROWS: used.astype(np.int32), VALUES: whole.astype(np.int8), SCALES: scales.astype(np.float32)}


def dense(weights: Mapping[str, npt.NDArray[Any]], rows: int) -> npt.NDArray[np.float32]:
    """Return the whole table, (rows, E), from the rows in use, if it is not there already."""
    if DENSE in weights:
        return weights[DENSE]
    values = weights[VALUES]
    table = np.zeros((rows, values.shape[1]), np.float32)
    table[weights[ROWS]] = _scaled(values, weights.get(SCALES))
    return table


def _scaled(values: Any, scales: Any) -> Any:
    """Return vectors in fp32, (..., E), given their scales, (...)."""
    return values if scales is None else values.astype(np.float32) * scales[..., None]


class Table:
    """The vectors of n-grams for single steps, on numpy or torch arrays."""

    def __init__(self, config: ModelConfig, codes: npt.NDArray[np.int64], weights: Mapping[str, Any]) -> None:
        """Take the whole table, or the rows in use (numpy alone).

        Args:
            config: says which orders there are, and how many rows.
            codes: of each id, (V,).
            weights: as in a checkpoint, or as torch keeps them.
        """
        self._highest, self._rows = config.ngrams, config.ngram_rows
        self._code_of: list[int] = codes.tolist()
        values, self._scales, index = weights.get(DENSE), None, None
        if values is None:
            values = weights[VALUES]
            index = np.full(self._rows + 1, len(values), np.int32)
            index[weights[ROWS]] = np.arange(len(values), dtype=np.int32)
            if SCALES in weights:
                self._scales = np.append(weights[SCALES], np.float32(0))
        # One more vector, of zeros, stands for the rows that are not in use and for what is no n-gram.
        self._numpy = isinstance(values, np.ndarray)
        self._values: Array = values
        self._index: Array = index
        self._codes: Array = codes
        if self._numpy:
            self._values = np.concatenate([values, np.zeros_like(values, shape=(1, values.shape[1]))])
        else:
            import torch

            self._values = torch.cat([values, values.new_zeros(1, values.shape[1])])
            self._codes = torch.from_numpy(codes).to(values.device)

    def beginning(self, streams: int | None) -> Array:
        """Return the codes before a text: (N, highest - 1), or (highest - 1,) for one stream without that axis."""
        shape = (self._highest - 1,) if streams is None else (streams, self._highest - 1)
        return np.zeros(shape, np.int64) if self._numpy else self._codes.new_zeros(shape)

    def read(self, ids: Any, recent: Array) -> tuple[Any, Array]:
        """Return the sum of the vectors of the n-grams that end at these characters, and the last codes after them.

        Args:
            ids: (N,), or a single number.
            recent: as returned by `beginning` or an earlier call; it is not changed.

        Returns:
            (N, E) or (E,), in fp32; and (N, highest - 1) or (highest - 1,).
        """
        if recent.ndim == 1:
            codes = [*recent.tolist(), self._code_of[ids]]
            rows = one(codes, self._rows)
            rows += [self._rows] * (len(recent) - len(rows))  # as many as in many streams: sums are rounded alike
            sums = self._sum(rows)
            after = codes[1:] if codes[-1] != NOTHING else [NOTHING] * len(recent)
            return sums, np.array(after) if self._numpy else recent.new_tensor(after)
        codes = self._codes[ids]
        read = np.vstack([recent.T, codes]) if self._numpy else _torch_vstack(recent.T, codes)  # (highest, N)
        places = []
        for hashed in hashes(read, self._highest):
            places.append(row(hashed[0], self._rows))
            places[-1][hashed[0] == NOTHING] = self._rows
        stacked = np.stack(places, -1) if self._numpy else _torch_stack(places)
        return self._sum(stacked), (read[1:] * (codes != NOTHING)).T

    def _sum(self, rows: Any) -> Any:
        """Return the sums of vectors, (..., E), given the rows of each, (..., orders)."""
        places = rows if self._index is None else self._index[rows]
        values = self._values[places]
        if self._numpy:
            scales = None if self._scales is None else self._scales[places]
            return _scaled(values, scales).sum(-2, dtype=np.float32)
        return values.sum(-2)


def _torch_vstack(above: Any, below: Any) -> Any:
    import torch

    return torch.cat([above, below[None]])


def _torch_stack(arrays: list[Any]) -> Any:
    import torch

    return torch.stack(arrays, -1)
