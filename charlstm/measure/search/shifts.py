"""The price of searching: how well the best of all units tells a label that has been shifted along the text.

A circular shift keeps everything about a label but its place, so no unit follows it; still the best of thousands of
signals tells it a little. The best is taken anew for each shift. Over several labels p-values are corrected by the
largest standardised statistic (Westfall & Young 1993, maxT).
"""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from charlstm.measure.search import areas
from charlstm.measure.search.levels import LEVELS
from charlstm.network import blas

SHIFTS = 199
LEAST = 1_000
"""Characters between a label and its shift, either way round."""
_MOST_POSITIONS, _MOST_COUNTED = 32_768, 8_192  # of the text that is compared: fewer only make chance look larger
_TILE = 1_024
_THREADS = 4
_SIGNALS, _BINNED_SIGNALS = 320, 64  # computed together

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
Levels = npt.NDArray[np.uint8]


def drawn(count: int, seed: int, number: int = SHIFTS, least: int = LEAST) -> Positions:
    """Return distinct random shifts of a text of this many characters."""
    room = np.arange(least, count - least + 1)
    return np.random.default_rng(seed).choice(room, min(number, len(room)), replace=False)


def best_areas(
    levels: Levels,
    labels: Sequence[Floats],
    where: Positions,
    shifts: Positions,
    report: Callable[[float], None] = lambda _: None,
) -> Floats:
    """Return how far the area of the best signal is from a half, (labels, shifts).

    Args:
        levels: of every signal, (rows, T).
        labels: of 0 and 1, (T,) each.
        where: positions that are compared.
        shifts: how far each label is shifted.
        report: told the share that is done.
    """
    where = _some(where, _MOST_POSITIONS)
    moved = _Shifted(labels, shifts)

    def of(rows: slice) -> Floats:
        part = levels[rows]
        ranks = np.empty((len(part), LEVELS), np.float32)
        for row in range(len(part)):
            counts = np.bincount(part[row, where], minlength=LEVELS)
            ranks[row] = (counts.cumsum() - counts / 2) / len(where) - 0.5
        offsets = np.arange(len(part), dtype=np.int32)[:, None] * LEVELS
        sums = np.zeros((len(labels) * len(shifts), len(part)), np.float32)
        positives = np.zeros(len(sums))
        for tile in _tiles(where):
            label = moved.at(tile)
            sums += label @ ranks.ravel().take(part[:, tile] + offsets).T
            positives += label.sum(1)
        pairs = positives * (len(where) - positives) / len(where)
        far = np.abs(sums).max(1) / np.maximum(pairs, 1e-9)
        return np.where(pairs > 0, far, 0).reshape(len(labels), len(shifts))

    return _best(of, len(levels), _SIGNALS, report, (len(labels), len(shifts)))


def best_r2(
    levels: Levels,
    labels: Sequence[Floats],
    where: Positions,
    shifts: Positions,
    number: int,
    report: Callable[[float], None] = lambda _: None,
) -> Floats:
    """Return the share of a count's variance that the bins of the best signal explain, (labels, shifts).

    Args:
        levels: of every signal, (rows, T).
        labels: counts, (T,) each.
        where: positions that are compared.
        shifts: how far each label is shifted.
        number: of bins.
        report: told the share that is done.
    """
    where = _some(where, _MOST_COUNTED)
    moved = _Shifted([(label - label.mean()) / (label.std() or 1) for label in labels], shifts)

    def of(rows: slice) -> Floats:
        part = levels[rows]
        counts = np.stack([np.bincount(part[row, where], minlength=LEVELS) for row in range(len(part))])
        bins = areas.bins(counts, number).astype(np.uint8)
        sizes = np.zeros((len(part), number))
        np.add.at(sizes, (np.arange(len(part))[:, None], bins), counts)
        one_hot = np.eye(number, dtype=np.float32)[bins.ravel()]  # (rows x levels, bins)
        offsets = np.arange(len(part), dtype=np.int32) * LEVELS
        sums = np.zeros((len(labels) * len(shifts), len(part) * number), np.float32)
        squares = np.zeros(len(sums))
        for tile in _tiles(where):
            label = moved.at(tile)
            sums += label @ one_hot.take(part[:, tile].T + offsets, 0).reshape(len(tile), -1)
            squares += (label**2).sum(1)
        found = areas.r2(sizes, sums.reshape(-1, len(part), number).astype(np.float64), squares[:, None])
        best: Floats = np.nan_to_num(found).max(1).reshape(len(labels), len(shifts))
        return best

    return _best(of, len(levels), _BINNED_SIGNALS, report, (len(labels), len(shifts)))


def p_values(found: Floats, by_chance: Floats) -> Floats:
    """Return the corrected p-value of each label, (labels,).

    Args:
        found: the statistic of each label, (labels,).
        by_chance: that of its shifts, (labels, shifts).
    """
    mean, spread = by_chance.mean(1, keepdims=True), np.maximum(by_chance.std(1, keepdims=True), 1e-9)
    largest = ((by_chance - mean) / spread).max(0)  # (shifts,)
    standing = (found[:, None] - mean) / spread
    p_values: Floats = (1 + (largest >= standing).sum(1)) / (1 + by_chance.shape[1])
    return p_values


class _Shifted:
    """Labels that are shifted in many ways."""

    def __init__(self, labels: Sequence[Floats], shifts: Positions) -> None:
        # Twice, one after the other, so that no place need be taken modulo the length.
        self._labels = [np.concatenate([label, label]).astype(np.float32) for label in labels]
        self._back = len(labels[0]) - shifts[:, None] if len(labels) else shifts

    def at(self, positions: Positions) -> npt.NDArray[np.float32]:
        """Return the shifted labels at some positions, (labels x shifts, positions)."""
        if not self._labels:
            return np.zeros((0, len(positions)), np.float32)
        origin = positions + self._back
        return np.concatenate([label.take(origin) for label in self._labels])


def _some(where: Positions, most: int) -> Positions:
    """Return at most this many positions, evenly drawn."""
    if len(where) <= most:
        return where
    return where[np.sort(np.random.default_rng(0).choice(len(where), most, replace=False))]


def _tiles(where: Positions) -> list[Positions]:
    return np.array_split(where, max(1, len(where) // _TILE))


def _best(
    of: Callable[[slice], Floats], rows: int, together: int, report: Callable[[float], None], shape: tuple[int, int]
) -> Floats:
    """Return the largest statistic over all signals, a few of which are computed together, in several threads."""
    if not shape[0]:
        return np.zeros(shape)
    parts = [slice(first, first + together) for first in range(0, rows, together)]
    best = np.zeros(shape)
    library = blas.library()
    one_each = contextlib.nullcontext() if library is None else blas.Held(library)
    with one_each, ThreadPoolExecutor(min(blas.cores(), _THREADS)) as pool:
        for done, found in enumerate(pool.map(of, parts), 1):
            best = np.maximum(best, found)
            report(done / len(parts))
    return best
