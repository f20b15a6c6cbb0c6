"""The trained network one character at a time, on numpy or torch arrays: what sampling runs.

A layer's input from the embedding is a table with one row per id (embedding x W_ih + bias, computed once). Its inputs
from the layer below and from its own h are matrix products, and the rest is the equation in `cells.py`. For a single
stream on a CPU, numpy does this ten times as fast as torch's kernels, and starts without importing torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from charlstm.config import ModelConfig
from charlstm.errors import UsageError
from charlstm.network import blas, cells
from charlstm.network.cells import Array
from charlstm.network.ngrams import Alphabet, Table, orders
from charlstm.network.weights import (
    B_HH,
    B_IH,
    OUTPUT,
    OUTPUT_BIAS,
    W_CH,
    W_HH,
    W_IH,
    count_layers,
    embeddings,
    of_layer,
)

StepState = list[cells.State]
"""The state of each layer: (N, H) per array, or (H,) for a single stream. If n-grams are inputs, a last entry follows:
the codes of the last characters, (N, highest order - 1) or (highest order - 1,)."""
_quiet = np.errstate(over="ignore", invalid="ignore")
"""Silences numpy's warnings: overflowing weights are reported in one line, once no character can be drawn any more."""
_FEW = 8  # up to this many rows, one at a time is faster: a product of two matrices copies the weights first


class Engine(Protocol):
    """Turns ids into scores, one character at a time; it keeps no state, so several texts can share it."""

    def zero_state(self, streams: int | None = None) -> StepState:
        """Return the state at the beginning of a text, for `streams` rows, or for one stream without that axis."""

    def step(self, ids: Any, state: StepState) -> tuple[Array, StepState]:
        """Read one character in every stream; return the outputs for `logits` and the state after the character."""

    def trace(self, ids: Any, state: StepState, hold: "Hold | None" = None) -> "tuple[list[LayerTrace], StepState]":
        """Read one character as `step` does; return what each layer did, and the state after the character."""

    def logits(self, outputs: Array) -> Array:
        """Return the scores of the next character, (N, V) or (V,)."""

    def pace(self, streams: int | None = None) -> "blas.Pace | None":
        """Return what times and chooses the threads for steps of this many streams; None if there is no choice."""


@dataclass(frozen=True)
class Hold:
    """One unit in each stream that is set to a value after its layer's update.

    Whatever follows sees the new value: the layers above, the scores, and the next step. If c is held, the unit's
    h becomes o * tanh(c), with the o that its gates have just computed.
    """

    layer: int
    """From 1."""
    signal: str
    """c or h."""
    units: Any
    """Which unit of each stream, from 0: (N,), or a single number."""
    values: Any
    """Its value, (N,), or a single number."""

    def require(self, num_layers: int, *, has_c: bool) -> None:
        """Raise `UsageError` if a network of this many layers has no such layer or signal."""
        if not 1 <= self.layer <= num_layers:
            raise UsageError(f"layer {self.layer}: the model has layers 1 to {num_layers}; choose one of them")
        signals = ["c", "h"] if has_c else ["h"]
        if self.signal not in signals:
            raise UsageError(f"signal {self.signal!r}: only {' or '.join(signals)} of this model can be held")


@dataclass(frozen=True)
class LayerTrace:
    """What a layer did at one character; each array is (N, H), or (H,) for a single stream."""

    gates: dict[str, Array]
    """The activations, by gate name."""
    c: Array | None
    """The cell state after the character; None if the cell has none."""
    h: Array
    """The output."""


class Stepper:
    """The weights, laid out for single steps."""

    @_quiet
    def __init__(self, config: ModelConfig, alphabet: Alphabet, weights: Mapping[str, Array]) -> None:
        """Take a model's weights by their names in the checkpoint: all numpy arrays or all torch tensors.

        Args:
            config: the shape of the network.
            alphabet: its ids.
            weights: by name.
        """
        self._cell = cells.CELLS[config.cell]
        self._table = Table(config, alphabet.codes, weights) if orders(config.ngrams) else None
        self._layers: list[_Layer] = []
        embedding = embeddings(weights, alphabet)
        size = embedding.shape[1]
        for number in range(count_layers(weights)):
            w_ih, w_hh, b_ih, b_hh = (weights[of_layer(number, name)] for name in (W_IH, W_HH, B_IH, B_HH))
            self._layers.append(
                _Layer(
                    table=embedding @ w_ih[:, :size].T + b_ih,
                    w_ih=w_ih[:, :size].T if self._table is not None else None,
                    w_below=w_ih[:, size:].T if number else None,
                    w_hh=w_hh.T,
                    b_hh=b_hh,
                    peepholes=(weights[of_layer(number, W_CH)],) if self._cell.peepholes else (),
                )
            )
            self._hidden_size = w_hh.shape[1]
        self._output = weights[OUTPUT].T  # (LH, V)
        self._output_bias = weights[OUTPUT_BIAS]
        self._paces = blas.Paces(self.rehearsal)

    def pace(self, streams: int | None = None) -> blas.Pace | None:
        """Return what times and chooses the threads for steps of this many streams; None if there is no choice."""
        return self._paces.of(streams) if isinstance(self._output, np.ndarray) else None

    def rehearsal(self, streams: int | None, seed: int) -> Callable[[], list[Array]]:
        """Return a function that computes the products of a step with random inputs."""
        weights = [layer.w_hh for layer in self._layers]
        weights += [layer.w_below for layer in self._layers if layer.w_below is not None]
        weights += [layer.w_ih for layer in self._layers if layer.w_ih is not None]
        weights.append(self._output)
        source = np.random.default_rng(seed)
        rows = () if streams is None else (streams,)
        inputs = [source.standard_normal((*rows, len(weight)), np.float32) for weight in weights]
        return lambda: [product(row, weight) for row, weight in zip(inputs, weights, strict=True)]

    def zero_state(self, streams: int | None = None) -> StepState:
        """Return the state at the beginning of a text, for `streams` rows, or for one stream without that axis."""
        shape = (self._hidden_size,) if streams is None else (streams, self._hidden_size)
        zeros = np.zeros(shape, np.float32) if isinstance(self._output, np.ndarray) else self._output.new_zeros(shape)
        state: StepState = [(zeros, zeros) if self._cell.has_c else (zeros,) for _ in self._layers]
        if self._table is not None:
            state.append((self._table.beginning(streams),))
        return state

    @_quiet
    def step(self, ids: Any, state: StepState) -> tuple[Array, StepState]:
        """Read one character in every stream.

        Args:
            ids: (N,), or a single number.
            state: as returned by `zero_state` or an earlier call; it is not changed.

        Returns:
            The outputs of all layers, (N, LH) or (LH,), for `logits`; and the state after the character.
        """
        _, layers, recent = self._advance(ids, state)
        return _concatenate([layer[0] for layer in layers]), layers + recent

    @_quiet
    def trace(self, ids: Any, state: StepState, hold: Hold | None = None) -> tuple[list[LayerTrace], StepState]:
        """Read one character in every stream as `step` does, with the same bits, and return what each layer did.

        Args:
            ids: (N,), or a single number.
            state: as returned by `zero_state` or an earlier call; it is not changed.
            hold: a unit in each stream to be set to a value.

        Returns:
            What each layer did, for `outputs` and to look at; and the state after the character.

        Raises:
            UsageError: if there is no such layer or signal to hold.
        """
        if hold is not None:
            hold.require(len(self._layers), has_c=self._cell.has_c)
        gates, layers, recent = self._advance(ids, state, hold)
        traces = [
            LayerTrace(
                dict(zip(self._cell.gates, opened, strict=True)), layer[1] if self._cell.has_c else None, layer[0]
            )
            for opened, layer in zip(gates, layers, strict=True)
        ]
        return traces, layers + recent

    def _advance(
        self, ids: Any, state: StepState, hold: Hold | None = None
    ) -> tuple[list[cells.Gates], StepState, StepState]:
        """Return each layer's gates and new state, and what is remembered of the characters."""
        gates: list[cells.Gates] = []
        after: StepState = []
        ngrams, recent = self._read_ngrams(ids, state)
        for number in range(len(self._layers)):
            gates.append(self._gates(number, ids, ngrams, state[number], after))
            after.append(self._cell.update(gates[-1], state[number]))
            if hold is not None and hold.layer == number + 1:
                after[-1] = self._held(hold, gates[-1], after[-1])
        return gates, after, recent

    def _held(self, hold: Hold, gates: cells.Gates, state: cells.State) -> cells.State:
        """Return a layer's state with one unit of each stream set to a value."""
        h, *c = state
        if hold.signal == "h":
            return replaced(h, hold.units, hold.values), *c
        cell_state = replaced(c[0], hold.units, hold.values)
        return gates[self._cell.gates.index("o")] * cells.tanh(cell_state), cell_state

    def _read_ngrams(self, ids: Any, state: StepState) -> tuple[Array | None, StepState]:
        """Return the sum of the n-grams' vectors, (N, E) or (E,), and what is remembered of the characters."""
        if self._table is None:
            return None, []
        ((recent,),) = state[len(self._layers) :]
        sums, recent = self._table.read(ids, recent)
        return sums, [(recent,)]

    def _gates(self, number: int, ids: Any, ngrams: Array | None, before: cells.State, below: StepState) -> cells.Gates:
        """Return the activations of a layer's gates, given the new states of the layers below it."""
        layer = self._layers[number]
        from_x = layer.table[ids]
        if ngrams is not None:
            from_x = from_x + product(ngrams, layer.w_ih)
        if layer.w_below is not None:
            from_x = from_x + product(below[-1][0], layer.w_below)
        from_h = product(before[0], layer.w_hh) + layer.b_hh
        return self._cell.activate(from_x, from_h, before, *layer.peepholes)

    @_quiet
    def logits(self, outputs: Array) -> Array:
        """Return the scores of the next character, (N, V) or (V,)."""
        return product(outputs, self._output) + self._output_bias


@dataclass(frozen=True)
class _Layer:
    """The weights of a layer; G is the number of its gates."""

    table: Array  # (num_ids, GH): its input from the embedding of each id
    w_ih: Array | None  # (E, GH), for the sum of the n-grams' vectors
    w_below: Array | None  # (H, GH)
    w_hh: Array  # (H, GH)
    b_hh: Array  # (GH,)
    peepholes: tuple[Array, ...]


def outputs(layers: Sequence[LayerTrace]) -> Array:
    """Return the outputs of all layers for `Engine.logits`, (N, LH) or (LH,), as `Engine.step` returns them."""
    return _concatenate([layer.h for layer in layers])


def replaced(array: Array, units: Any, values: Any) -> Array:
    """Return a copy of (N, H) or (H,) with one unit of each row set to a value."""
    if isinstance(array, np.ndarray):
        array = array.copy()
    else:
        import torch

        array = array.clone()
        units, values = (torch.as_tensor(each, device=array.device) for each in (units, values))
        values = values.to(array.dtype)
    if array.ndim == 1:
        array[units] = values
    else:
        array[range(len(array)), units] = values
    return array


def product(rows: Array, weight: Array) -> Array:
    """Return rows @ weight; if there are few rows, each has exactly the bits that it would have on its own."""
    if rows.ndim == 2 and len(rows) <= _FEW and isinstance(rows, np.ndarray):
        return np.stack([row @ weight for row in rows])
    return rows @ weight


def _concatenate(arrays: list[Array]) -> Array:
    """Join arrays along their last axis."""
    if len(arrays) == 1:
        return arrays[0]
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays, -1)
    import torch

    return torch.cat(arrays, -1)
