"""Every unit's c and h along a text, each in one byte: 100,000 characters of 640 units take 128 MB.

The text is read in many places at once. A byte is a level from 0 to 255 that never falls if the signal rises, so
the order of values is kept. Most levels lie where a sample of the unit's values does, so that differences can still be
seen in a unit that is nearly always saturated.
"""

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.config import ModelConfig
from charlstm.measure.inside.signals import opening
from charlstm.network.cells import CELLS
from charlstm.network.ngrams import Alphabet
from charlstm.network.stepper import Stepper, StepState
from charlstm.network.weights import W_HH
from charlstm.text.tokenizer import Ids, Tokenizer

LEVELS = 256
_STREAMS = 96
_TOGETHER = 2_048  # ids whose signals are turned into levels at a time; the first ones are the sample
_FINE = 4096  # steps of equal width between a signal's least and greatest value in the sample
_BY_RANK = 0.75  # share of the levels that the sample's ranks divide; the others have equal widths

Array = npt.NDArray[np.float32]
Storage = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Columns:
    """Which signal each row of the levels is: layer after layer, all units' c (if the cell has it), then their h."""

    layers: int
    signals: tuple[str, ...]
    hidden_size: int

    @classmethod
    def of(cls, config: ModelConfig) -> "Columns":
        """Return those of a network."""
        signals = ("c", "h") if CELLS[config.cell].has_c else ("h",)
        return cls(config.num_layers, signals, config.hidden_size)

    def __len__(self) -> int:
        """Return how many there are."""
        return self.layers * len(self.signals) * self.hidden_size

    def named(self, row: int) -> tuple[int, int, str]:
        """Return layer, unit and signal of a row."""
        block, unit = divmod(row, self.hidden_size)
        layer, signal = divmod(block, len(self.signals))
        return layer + 1, unit, self.signals[signal]

    def rows(self, layer: int, signal: str) -> slice:
        """Return the rows of a layer's units."""
        first = ((layer - 1) * len(self.signals) + self.signals.index(signal)) * self.hidden_size
        return slice(first, first + self.hidden_size)

    def gather(self, state: StepState, out: Array) -> None:
        """Write the signals of all units into `out`, (N, rows)."""
        for layer in range(self.layers):
            h, *c = state[layer]
            for signal, values in zip(self.signals, (*c, h), strict=True):
                out[:, self.rows(layer + 1, signal)] = values


@dataclass(frozen=True)
class Levels:
    """What all units did along a text."""

    values: Storage
    """(rows, T), for each of T characters"""
    storage: Storage
    """The memory that they are in, for another reading of the same text."""
    sums: npt.NDArray[np.float64]
    """Of the signals themselves, weighted: (weights, rows)."""
    states: dict[int, StepState]
    """The state of a single stream after some of the ids, by position."""


def engine(config: ModelConfig, alphabet: Alphabet, weights: Mapping[str, Array]) -> Stepper:
    """Return the network with its recurrent weights laid out for many streams: a product takes a fifth less time."""
    return Stepper(
        config,
        alphabet,
        {name: np.asfortranarray(weight) if name.endswith(W_HH) else weight for name, weight in weights.items()},
    )


def read(
    engine: Stepper,
    columns: Columns,
    tokenizer: Tokenizer,
    ids: Ids,
    *,
    ends: npt.NDArray[np.int64],
    weights: Array,
    wanted: Collection[int] = (),
    before: int = 1_000,
    into: Storage | None = None,
    report: Callable[[float], None] = lambda _: None,
) -> Levels:
    """Read a text, and keep the level of every signal after each character.

    Args:
        engine: the network.
        columns: its signals.
        tokenizer: of the ids.
        ids: the text.
        ends: the last id of each character, (T,).
        weights: of each character in each sum, (weights, T).
        wanted: positions of ids after which the state is kept.
        before: ids that each place reads first, for its state to be what it would be in one reading; its own part has
            at least twice as many.
        into: where the levels are written, (rows, ids); by default a new array.
        report: told the share that is done.
    """
    count = len(ids)
    streams = int(np.clip(count // max(1, 2 * before), 1, _STREAMS))
    bounds = np.arange(streams + 1) * count // streams
    first_ids = opening(tokenizer, ids)
    first = -max(before if streams > 1 else 0, len(first_ids))
    places = _Places(ids, bounds[:-1], first_ids, -first)
    storage = np.empty((len(columns), count), np.uint8) if into is None else into
    whole = len(ends) == count
    recorder = _Recorder(columns, bounds, weights if whole else _spread(weights, ends, count), storage)
    at_steps: dict[int, list[int]] = {}
    for position in wanted:
        at_steps.setdefault(int(position - bounds[np.searchsorted(bounds, position, "right") - 1]), []).append(position)
    states: dict[int, StepState] = {}
    longest = int(np.diff(bounds).max())
    state = engine.zero_state(streams)
    pace = engine.pace(streams) or contextlib.nullcontext()
    for step in range(first, longest):
        if step < 0 and (begin := places.beginning(step)).any():
            state = [tuple(np.where(begin[:, None], 0, part) for part in parts) for parts in state]
        with pace:
            _, state = engine.step(places.at(step), state)
        if step >= 0:
            recorder.take(step, state)
        for position in at_steps.get(step, ()):
            row = int(np.searchsorted(bounds, position, "right") - 1)
            states[position] = [tuple(part[row].copy() for part in parts) for parts in state]
        if step % 64 == 0:
            report((step - first) / (longest - first))
    recorder.flush()
    if not whole:
        for row in storage:  # one by one: without a copy of all
            row[: len(ends)] = row[ends]
    return Levels(storage[:, : len(ends)], storage, recorder.sums, states)


def _spread(weights: Array, ends: npt.NDArray[np.int64], count: int) -> Array:
    """Return the weights of ids, given those of characters."""
    spread = np.zeros((len(weights), count), np.float32)
    spread[:, ends] = weights
    return spread


class _Places:
    """What is read where."""

    def __init__(self, ids: Ids, begins: npt.NDArray[np.int64], opening: list[int], before: int) -> None:
        """Take the first id of each place's own part, and how many ids are read before it."""
        # Before the text comes its opening, and before that anything: the state is zero again when the opening is read.
        ahead = [*[opening[0]] * max(0, before - len(opening)), *opening]
        self._ids = np.concatenate([ahead, ids, ids[-1:]]).astype(np.int64)
        self._begins, self._ahead, self._opening = begins, len(ahead), len(opening)

    def at(self, step: int) -> npt.NDArray[np.int64]:
        """Return what each place reads in a step; it is negative before the place's own part."""
        return self._ids[self._begins + (step + self._ahead)]

    def beginning(self, step: int) -> npt.NDArray[np.bool_]:
        """Return which places begin the text with this step."""
        begin: npt.NDArray[np.bool_] = self._begins + step == -self._opening
        return begin


class _Recorder:
    """Collects signals, and turns them into levels."""

    def __init__(
        self, columns: Columns, bounds: npt.NDArray[np.int64], weights: Array, values: npt.NDArray[np.uint8]
    ) -> None:
        self._columns, self._bounds, self._weights, self._values = columns, bounds, weights, values
        steps = -(-_TOGETHER // (len(bounds) - 1))
        self._buffer = np.empty((steps, len(bounds) - 1, len(columns)), np.float32)
        self._first = self._filled = 0
        self._scale: Scale | None = None
        self.sums = np.zeros((len(weights), len(columns)))

    def take(self, step: int, state: StepState) -> None:
        """Take in the state after a step."""
        self._columns.gather(state, self._buffer[self._filled])
        self._filled += 1
        if self._filled == len(self._buffer):
            self.flush()
            self._first = step + 1

    def flush(self) -> None:
        """Turn what was collected into levels."""
        if not self._filled:
            return
        if self._scale is None:
            # The last step is beyond the end of shorter places, which have read a neighbour's id: a value like others.
            self._scale = Scale(self._buffer[: self._filled].reshape(-1, len(self._columns)))
        for row, (begin, end) in enumerate(zip(self._bounds[:-1], self._bounds[1:], strict=True)):
            first = int(begin) + self._first
            last = min(first + self._filled, int(end))
            signals = self._buffer[: last - first, row]
            if len(self._weights):
                self.sums += self._weights[:, first:last] @ signals
            self._values[:, first:last] = self._scale.levels(signals).T
        self._filled = 0


class Scale:
    """Which level each value of each signal has."""

    def __init__(self, sample: Array) -> None:
        """Choose the levels by a sample, (n, rows)."""
        low, high = np.nan_to_num(sample.min(0)), np.nan_to_num(sample.max(0))
        still = high - low < 1e-6
        self._low = np.where(still, low - 1, low).astype(np.float32)
        self._scale = ((_FINE - 1) / np.where(still, 2, high - low)).astype(np.float32)
        even = np.arange(_FINE) / (_FINE - 1)
        self._table = np.empty((sample.shape[1], _FINE), np.uint8)
        for row in range(sample.shape[1]):
            counts = np.bincount(self._fine(sample[:, row], row), minlength=_FINE)
            ranks = (counts.cumsum() - counts / 2) / len(sample)
            mixed = _BY_RANK * ranks + (1 - _BY_RANK) * even
            self._table[row] = np.minimum(np.maximum.accumulate(mixed) * LEVELS, LEVELS - 1)
        self._offsets = np.arange(sample.shape[1], dtype=np.int32) * _FINE

    def levels(self, signals: Array) -> npt.NDArray[np.uint8]:
        """Return the level of each value, (n, rows); overwrites them."""
        fine = self._fine(signals, out=signals)
        fine += self._offsets
        return self._table.ravel().take(fine)

    def _fine(self, signals: Array, row: int | slice = slice(None), out: Array | None = None) -> npt.NDArray[np.int32]:
        steps = np.subtract(signals, self._low[row], out=out)
        steps *= self._scale[row]
        np.fmin(np.fmax(steps, 0, out=steps), _FINE - 1, out=steps)  # these turn NaN into a number, unlike clip
        fine: npt.NDArray[np.int32] = steps.astype(np.int32)
        return fine
