"""Signals: what the gates, the cell state and the output of single units are, character by character.

Everything is read from the code that computes the next character (`Stepper.trace`), so it is what the model did, to the
bit. Layers are counted from 1 and units from 0. A passage is read from the beginning of a document.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.errors import DataError, UsageError
from charlstm.network.cells import CELLS
from charlstm.network.stepper import Engine, LayerTrace, StepState, outputs
from charlstm.sample import log_probabilities
from charlstm.storage.loaded import Loaded
from charlstm.text.tokenizer import END, Tokenizer, code_points, widths

Floats = npt.NDArray[np.float64]
IdsLike = Sequence[int] | npt.NDArray[np.integer[Any]]
"""Ids, perhaps with the frames of documents."""

BLOCK = 256
"""Characters that `stream` reads at a time."""


def names(cell: str) -> tuple[str, ...]:
    """Return the signals of a unit, gates first: i, f, g, o, c and h of an LSTM."""
    return (*(gate for gate in CELLS[cell].gates if gate != "h"), *("c" * CELLS[cell].has_c), "h")


@dataclass(frozen=True)
class Signal:
    """What one unit did along a text."""

    layer: int
    """From 1."""
    unit: int
    """From 0."""
    name: str
    """One of `names`."""
    values: npt.NDArray[np.float32]
    """One value per character of the text, (T,): after the character was read."""


@dataclass(frozen=True)
class Reading:
    """What a model did as it read a passage.

    A character of a byte model may be several ids: its surprise is their sum, and its signals are those after its last.
    """

    characters: tuple[str, ...]
    """The passage, (T,), as it was given; the end of a document is "<end>"."""
    known: npt.NDArray[np.bool_]
    """Whether the vocabulary has it, (T,)."""
    surprise: Floats
    """Bits of each character, given all before it, (T,)."""
    values: dict[tuple[int, str], npt.NDArray[np.float32]]
    """By layer (from 1) and name: (T, units that were kept)."""
    units: tuple[int, ...]
    """Which units were kept, from 0, in the order of the columns."""
    before: StepState
    """The state before the first character."""

    @property
    def text(self) -> str:
        """The passage with one character per value: the end of a document is a line feed."""
        return "".join("\n" if each == END else each for each in self.characters)

    def signal(self, layer: int, unit: int, name: str) -> Signal:
        """Return the signal of one unit that was kept."""
        return Signal(layer, unit, name, self.values[layer, name][:, self.units.index(unit)])


@dataclass(frozen=True)
class Cut:
    """Which characters a passage's ids are."""

    characters: tuple[str, ...]
    """(T,), as in a reading; the beginning of a document is no character."""
    known: npt.NDArray[np.bool_]
    """Whether the vocabulary has it, (T,)."""
    last: npt.NDArray[np.int64]
    """Where in the ids the last id of each character is, (T,)."""


def cut(tokenizer: Tokenizer, ids: IdsLike, text: str | None = None) -> Cut:
    """Cut ids into characters; a byte that belongs to no character is one of its own.

    Args:
        tokenizer: of the ids.
        ids: a passage, perhaps with the frames of documents.
        text: one character per id that is no frame. It shows the characters that are unknown to the vocabulary; without
            it they are U+FFFD. The ids of the tokenizer `byte` say everything: it is then ignored.
    """
    array = np.asarray(ids, np.int64)
    shown = list(tokenizer.decode(array))
    if tokenizer.kind == "byte":  # a frame is decoded as a line feed, so it too ends a character that is incomplete
        last = widths(code_points("".join(shown)), "char")[1].cumsum() - 1
    else:
        last = np.arange(len(array))
    of_last = array[last]
    if text is not None and tokenizer.kind == "char":
        frames = tokenizer.opens(array) | (array == (-1 if tokenizer.end_id is None else tokenizer.end_id))
        for place, letter in zip(np.flatnonzero(~frames).tolist(), text, strict=True):
            shown[place] = letter
    if tokenizer.framed:
        shown = [END if id == tokenizer.end_id else letter for letter, id in zip(shown, of_last, strict=True)]
        kept = ~tokenizer.opens(of_last)
        shown = [letter for letter, keep in zip(shown, kept, strict=True) if keep]
        last, of_last = last[kept], of_last[kept]
    unknown = -1 if tokenizer.unknown_id is None else tokenizer.unknown_id
    return Cut(tuple(shown), of_last != unknown, last)


def opening(tokenizer: Tokenizer, ids: IdsLike) -> list[int]:
    """Return the ids that are read before a passage, which may begin with a `<start>` or a label of its own."""
    first = tokenizer.opening
    return first[:-1] if len(ids) and tokenizer.opens(ids[0]) else first


def stream(
    engine: Engine,
    tokenizer: Tokenizer,
    ids: IdsLike,
    *,
    layers: Sequence[int],
    units: Sequence[int],
    wanted: Sequence[str],
    begin: int = 0,
    text: str | None = None,
    block: int = BLOCK,
) -> Iterator[Reading]:
    """Read a passage, and yield `block` characters at a time; `read` explains the arguments and the errors."""
    passage = cut(tokenizer, ids, text)
    if not passage.characters:
        raise DataError("the text is empty: there is nothing to read; give a text with some characters")
    if not 0 <= begin < len(passage.characters):
        raise UsageError(f"begin {begin}: the text has characters 0 to {len(passage.characters) - 1}; choose one")
    _require(engine, tokenizer, layers, units, wanted)
    kept = _Kept(layers, np.asarray(units, np.intp), wanted)
    return _pieces(engine, tokenizer, np.asarray(ids, np.int64), passage, kept, begin, block)


def read(
    engine: Engine,
    tokenizer: Tokenizer,
    ids: IdsLike,
    *,
    layers: Sequence[int],
    units: Sequence[int],
    wanted: Sequence[str],
    begin: int = 0,
    text: str | None = None,
) -> Reading:
    """Read a passage, and keep some of the signals of some units.

    Args:
        engine: the model.
        tokenizer: of the ids.
        ids: the passage, perhaps with the frames of documents; the beginning of a document is read before it.
        layers: which to keep, from 1.
        units: which to keep of each, from 0.
        wanted: signals to keep, from `names`.
        begin: read this many characters first, without keeping anything of them.
        text: one character per id that is no frame, to show what is unknown to the vocabulary.

    Raises:
        DataError: if there are no characters.
        UsageError: if the model has no such layer, unit or signal, or the passage ends before `begin`.
    """
    return joined(stream(engine, tokenizer, ids, layers=layers, units=units, wanted=wanted, begin=begin, text=text))


def read_text(
    loaded: Loaded,
    text: str,
    *,
    layers: Sequence[int],
    units: Sequence[int],
    wanted: Sequence[str],
    begin: int = 0,
) -> Reading:
    """Read a text from the beginning of a document; `read` explains the arguments and the errors."""
    tokenizer = loaded.tokenizer
    ids = tokenizer.encode(text)
    return read(loaded.engine, tokenizer, ids, layers=layers, units=units, wanted=wanted, begin=begin, text=text)


def joined(readings: Iterable[Reading]) -> Reading:
    """Return readings that follow one another as one."""
    parts: dict[tuple[int, str], list[npt.NDArray[np.float32]]] = {}
    heads: list[Reading] = []
    for reading in readings:
        heads.append(replace(reading, values={}))
        for key, block in reading.values.items():
            parts.setdefault(key, []).append(block)
    values = {key: np.concatenate(parts.pop(key)) for key in list(parts)}  # parts go as soon as they are joined
    return Reading(
        tuple(itertools.chain.from_iterable(head.characters for head in heads)),
        np.concatenate([head.known for head in heads]),
        np.concatenate([head.surprise for head in heads]),
        values,
        heads[0].units,
        heads[0].before,
    )


def _require(
    engine: Engine, tokenizer: Tokenizer, layers: Sequence[int], units: Sequence[int], wanted: Sequence[str]
) -> None:
    """Raise `UsageError` if the model has no such layer, unit or signal."""
    traced, _ = engine.trace(tokenizer.opening[0], engine.zero_state())
    for layer in layers:
        if not 1 <= layer <= len(traced):
            raise UsageError(f"layer {layer}: this model's layers are 1 to {len(traced)}; choose one of them")
    last = traced[0].h.shape[-1] - 1
    for unit in units:
        if not 0 <= unit <= last:
            raise UsageError(f"unit {unit}: a layer of this model has units 0 to {last}; choose one of them")
    there = [*(gate for gate in traced[0].gates if gate != "h"), *("c" * (traced[0].c is not None)), "h"]
    for name in wanted:
        if name not in there:
            raise UsageError(f"signal {name!r}: a unit of this model has {', '.join(there)}; choose one of them")


@dataclass(frozen=True)
class _Kept:
    """What is kept of each character."""

    layers: Sequence[int]
    units: npt.NDArray[np.intp]
    wanted: Sequence[str]

    def arrays(self, length: int) -> dict[tuple[int, str], npt.NDArray[np.float32]]:
        """Return room for this many characters."""
        shape = (length, len(self.units))
        return {(layer, name): np.empty(shape, np.float32) for layer in self.layers for name in self.wanted}

    def put(
        self, traced: Sequence[LayerTrace], values: dict[tuple[int, str], npt.NDArray[np.float32]], row: int
    ) -> None:
        """Write down what is kept of a character."""
        for (layer, name), array in values.items():
            array[row] = _of(traced[layer - 1], name)[self.units]


def _pieces(
    engine: Engine,
    tokenizer: Tokenizer,
    ids: npt.NDArray[np.int64],
    passage: Cut,
    kept: _Kept,
    begin: int,
    block: int,
) -> Iterator[Reading]:
    costs, units = _Costs(engine, tokenizer), tuple(kept.units.tolist())
    for id in opening(tokenizer, ids):
        costs.read(id)
    done = 0  # ids that were read
    if begin:
        done = int(passage.last[begin - 1]) + 1
        for id in ids[:done].tolist():
            costs.read(id)
    for first in range(begin, len(passage.characters), block):
        last = passage.last[first : first + block]
        values, surprise, before = kept.arrays(len(last)), np.zeros(len(last)), costs.state
        for row, end in enumerate(last.tolist()):
            for id in ids[done : end + 1].tolist():
                surprise[row] += costs.read(id)
            kept.put(costs.traced, values, row)
            done = end + 1
        now = slice(first, first + len(last))
        yield Reading(passage.characters[now], passage.known[now], surprise, values, units, before)


class _Costs:
    """Reads ids one by one; what each costs, and what the layers did at it."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self._engine, self._tokenizer = engine, tokenizer
        self.state = engine.zero_state()
        self.traced: list[LayerTrace] = []
        pace = engine.pace()
        self._stepping: contextlib.AbstractContextManager[None] = pace or contextlib.nullcontext()
        self._scoring: contextlib.AbstractContextManager[None] = pace.held if pace else contextlib.nullcontext()

    def read(self, id: int) -> float:
        """Read an id; return its surprise in bits, 0 if nothing was read before it or it begins a document."""
        cost = self._cost(id) if self.traced else 0.0
        with self._stepping:
            self.traced, self.state = self._engine.trace(id, self.state)
        return cost

    def _cost(self, id: int) -> float:
        if self._tokenizer.opens(id):
            return 0.0
        with self._scoring:
            logits = self._engine.logits(outputs(self.traced))
        nats = -float(log_probabilities(_plain(logits))[id])
        if id == self._tokenizer.unknown_id:
            nats += self._tokenizer.unknown_nats
        return nats / float(np.log(2))


def _of(layer: LayerTrace, name: str) -> npt.NDArray[np.float32]:
    """Return a signal of all units of a layer, (H,)."""
    if name == "h":
        return _plain(layer.h)
    return _plain(layer.c if name == "c" else layer.gates[name])


def _plain(array: Any) -> npt.NDArray[np.float32]:
    """Return a numpy array of one of numpy or torch."""
    plain: npt.NDArray[np.float32] = array if isinstance(array, np.ndarray) else array.float().cpu().numpy()
    return plain
