"""How the gates of a whole layer work: saturation, time scales, and how long a cell state lasts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.measure.inside.signals import Reading
from charlstm.network.cells import CELLS
from charlstm.text.tokenizer import END

Floats32 = npt.NDArray[np.float32]

_SIGNED = "gn"  # what is written into a cell, from -1 to 1
_LENGTHS = (1, 10, 100, 1000)
_LONGEST = 10
_COLUMNS = 32  # units handled at a time: bounds the memory


@dataclass(frozen=True)
class Saturation:
    """How often a gate is nearly shut and nearly open (Karpathy et al. 2015, section 4.2)."""

    gate: str
    shut: float
    """Share of all units and characters at which it is below 0.1 (g, n: below -0.8)."""
    open: float
    """Share at which it is above 0.9 (g, n: above 0.8)."""


@dataclass(frozen=True)
class TimeScale:
    """How long a unit keeps what it holds."""

    unit: int
    """From 0."""
    characters: float
    """-1 / ln(mean of the gate that keeps): after this many, 1/e of it is left; infinite if that mean is 1."""


@dataclass(frozen=True)
class Overview:
    """A layer along a passage."""

    layer: int
    """From 1."""
    saturation: tuple[Saturation, ...]
    """One per gate; empty for a cell without gates."""
    histogram: tuple[tuple[float, int], ...]
    """Time scales: the least number of characters of each bin (0, 1, 2, 4, 8, ...), and how many units are in it."""
    longest: tuple[TimeScale, ...]
    """The ten longest, longest first."""
    kept: tuple[tuple[int, float], ...]
    """After 1, 10, 100 and 1,000 characters (as far as the passage goes): the mean share of a unit's state that is
    still there, the product of the gate that keeps."""


def needed(cell: str) -> tuple[str, ...]:
    """Return the signals that a reading must keep for an overview: all gates, and none if the cell has none."""
    return tuple(gate for gate in CELLS[cell].gates if gate != "h")


def overview(reading: Reading, cell: str, layer: int) -> Overview:
    """Summarise a layer; the reading must have kept what `needed` says, of all units.

    The end of a document sets the gates of every unit. These are no decisions of the network, so saturation and time
    scales leave them out; in what is kept they count, so that nothing is seen to outlast a document.

    Args:
        reading: of a passage.
        cell: of the model.
        layer: from 1.
    """
    decided = np.array([character != END for character in reading.characters])
    saturation = tuple(_saturation(gate, reading.values[layer, gate][decided]) for gate in needed(cell))
    gate = CELLS[cell].keep_gate
    if gate is None:
        return Overview(layer, saturation, (), (), ())
    keep = reading.values[layer, gate]
    scales = _time_scales(keep[decided])
    order = np.argsort(-scales, kind="stable")[:_LONGEST]
    longest = tuple(TimeScale(reading.units[at], float(scales[at])) for at in order)
    return Overview(layer, saturation, _histogram(scales), longest, _kept(keep))


def _saturation(gate: str, values: Floats32) -> Saturation:
    """Return how often a gate, (T, H), is nearly shut and nearly open."""
    low, high = (-0.8, 0.8) if gate in _SIGNED else (0.1, 0.9)
    count = max(values.size, 1)
    return Saturation(gate, int((values < low).sum()) / count, int((values > high).sum()) / count)


def _time_scales(keep: Floats32) -> npt.NDArray[np.float64]:
    """Return the time scale of each unit, (H,), given the gate that keeps, (T, H)."""
    if not len(keep):
        return np.zeros(keep.shape[1])
    with np.errstate(divide="ignore"):
        scales: npt.NDArray[np.float64] = -1 / np.log(keep.mean(0, dtype=np.float64))
    return np.abs(scales)  # -1 / 0 is minus infinity


def _histogram(scales: npt.NDArray[np.float64]) -> tuple[tuple[float, int], ...]:
    """Return how many time scales there are from 0, 1, 2, 4, ... on, up to the longest; those without end are last."""
    finite = scales[np.isfinite(scales)]
    powers = np.where(finite < 1, -1, np.floor(np.log2(np.maximum(finite, 1)))).astype(int)
    bins = [
        (0.0 if power < 0 else 2.0**power, int((powers == power).sum()))
        for power in (range(powers.min(), powers.max() + 1) if len(powers) else ())
    ]
    endless = len(scales) - len(finite)
    return (*bins, (np.inf, endless)) if endless else tuple(bins)


def _kept(keep: Floats32) -> tuple[tuple[int, float], ...]:
    """Return the mean product of the gate that keeps, (T, H), over 1, 10, 100 and 1,000 characters in a row."""
    lengths = [length for length in _LENGTHS if length <= len(keep)]
    sums = dict.fromkeys(lengths, 0.0)
    for first in range(0, keep.shape[1], _COLUMNS):
        columns = keep[:, first : first + _COLUMNS].astype(np.float64)
        for length in lengths:
            sums[length] += float(_products(columns, length).mean(0).sum())
    return tuple((length, total / keep.shape[1]) for length, total in sums.items())


def _products(values: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.float64]:
    """Return the product of each `length` values in a row, (T - length + 1, H), by doubling."""
    whole, done, width = np.ones_like(values), 0, 1
    powers = values  # the products of `width` values
    while True:
        if length & width:
            rows = len(values) - done - width + 1
            whole = whole[:rows] * powers[done : done + rows]
            done += width
        if done == length:
            return whole
        powers = powers[:-width] * powers[width:]
        width *= 2
