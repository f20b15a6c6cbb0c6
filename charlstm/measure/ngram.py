"""The interpolated Kneser-Ney n-gram: what counting alone can do, to compare a network with (Kneser & Ney 1995).

    P_n(w | context) = max(c(context w) - D_n, 0) / c(context .)
                       + D_n distinct(context .) / c(context .) * P_{n-1}(w | context without its first character)

(Chen & Goodman 1999, section 2.7, with one discount per order, D = n1 / (n1 + 2 n2)). For the highest order the counts
c are those of the text; for the orders below it, the number of different characters that were seen before the n-gram:
what matters there is in how many contexts it was needed. Below order 1 all ids are equally likely.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_ORDER = 8
_ABSENT = -1
_PAD = MAX_ORDER - 1
_PIECE = 1 << 20

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class KneserNey:
    """The n-grams of a text, of every order up to MAX_ORDER; each n-gram is named by its row in a sorted table.

    The key of an n-gram is the row of its first n - 1 characters among those, times the vocabulary, plus the last one:
    no key exceeds 64 bits, whatever the vocabulary.
    """

    def __init__(self, ids: npt.NDArray[Any], vocab_size: int, start_id: int) -> None:
        """Count; the text is preceded by `start_id`, as often as the longest n-gram needs.

        What is no id of the vocabulary is a label of a document, and counts as `start_id`.
        """
        self._vocab_size = vocab_size
        self._start_id = start_id
        self._keys: list[Integers] = []
        self._highest: list[_Level] = []
        self._lower: list[_Level] = []
        padded = self._pad(ids)
        rows = np.zeros(len(padded), np.int64)  # of the n-gram that ends at each position
        for order in range(1, MAX_ORDER + 1):
            rows_before = rows
            keys = np.concatenate(([0], rows[:-1])) * vocab_size + padded
            # The padding is context, but is not counted; and in it the keys of grams that begin before it are idle.
            table = np.unique(keys)
            rows = np.searchsorted(table, keys)
            seen, first, times = np.unique(rows[_PAD:], return_index=True, return_counts=True)
            counts = np.zeros(len(table), np.int64)
            counts[seen] = times
            if order > 1:
                shorter = self._keys[-1]
                endings = np.bincount(rows_before[_PAD + first], minlength=len(shorter))
                self._lower.append(_Level.of(shorter, endings, vocab_size))
            self._keys.append(table)
            self._highest.append(_Level.of(table, counts, vocab_size))

    def contexts(self, ids: npt.NDArray[Any]) -> list[Integers]:
        """Return the rows of the contexts before each position of a text: of 0, 1, ... MAX_ORDER - 1 ids."""
        padded = self._pad(ids)
        rows = np.zeros(len(padded), np.int64)  # of the n-gram that ends at each position, from n = 0 on
        found = [rows[_PAD:]]
        for keys in self._keys[:-1]:
            shorter = np.concatenate(([0], rows[:-1]))
            rows = np.where(shorter == _ABSENT, _ABSENT, _find(keys, shorter * self._vocab_size + padded))
            found.append(rows[_PAD - 1 : -1])
        return found

    def probabilities(self, contexts: list[Integers], ids: npt.NDArray[Any]) -> Floats:
        """Return P(id | context) for each order from 1 to MAX_ORDER: (MAX_ORDER, positions).

        Args:
            contexts: as `contexts` returned them, or the same positions of each.
            ids: what comes next at each position, (positions,).
        """
        below = np.full(len(ids), 1 / self._vocab_size)
        every = []
        for order, (context, keys) in enumerate(zip(contexts, self._keys, strict=True), 1):
            known = context != _ABSENT
            found = _find(keys, np.where(known, context, 0) * self._vocab_size + self._unlabelled(ids))
            rows = np.where(known, found, _ABSENT)
            every.append(self._highest[order - 1].interpolate(context, rows, below))
            if order < MAX_ORDER:
                below = self._lower[order - 1].interpolate(context, rows, below)
        return np.stack(every)

    def bits(self, ids: npt.NDArray[Any], piece: int = _PIECE) -> Iterator[Floats]:
        """Yield -log2 P(id | what was before it) for each order: (MAX_ORDER, piece).

        Args:
            ids: the text.
            piece: how many of them are looked up at a time; bounds the memory.
        """
        for begin in range(0, len(ids), piece):
            before = max(0, begin - _PAD)  # the longest context
            contexts = [rows[begin - before :] for rows in self.contexts(ids[before : begin + piece])]
            yield -np.log2(self.probabilities(contexts, ids[begin : begin + piece]))

    def _pad(self, ids: npt.NDArray[Any]) -> Integers:
        return np.concatenate((np.full(_PAD, self._start_id, np.int64), self._unlabelled(ids)))

    def _unlabelled(self, ids: npt.NDArray[Any]) -> Integers:
        return np.where(ids < self._vocab_size, ids, self._start_id).astype(np.int64)


@dataclass(frozen=True)
class _Level:
    """The counts of one order."""

    counts: Floats  # of each n-gram
    totals: Floats  # of each context
    distinct: Floats  # different n-grams of each context
    discount: float

    @classmethod
    def of(cls, keys: Integers, counts: npt.NDArray[Any], vocab_size: int) -> "_Level":
        contexts = keys // vocab_size
        size = len(keys) + 1  # every context has an n-gram, but for one that ends the text
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        return cls(
            counts=counts.astype(np.float64),
            totals=np.bincount(contexts, weights=counts, minlength=size).astype(np.float64),
            distinct=np.bincount(contexts, weights=counts > 0, minlength=size).astype(np.float64),
            discount=float(once / (once + 2 * twice)) if once else 0.5,
        )

    def interpolate(self, contexts: Integers, rows: Integers, below: Floats) -> Floats:
        """Return the probabilities of this order, given those of the order below it."""
        known = contexts != _ABSENT
        context = np.where(known, contexts, 0)
        count = np.where(rows == _ABSENT, 0.0, self.counts[rows])
        total = self.totals[context]
        seen = np.maximum(count - self.discount, 0) + self.discount * self.distinct[context] * below
        return np.where(known & (total > 0), seen / np.where(total > 0, total, 1), below)


def _find(keys: Integers, wanted: Integers) -> Integers:
    """Return the row of each wanted key in the sorted keys, or _ABSENT."""
    rows = np.searchsorted(keys, wanted)
    rows[rows == len(keys)] = 0
    return np.where(keys[rows] == wanted, rows, _ABSENT)
