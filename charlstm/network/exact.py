"""The trained network one character at a time, in arithmetic that is the same on every machine.

Matrix products have integers for weights (7 bits and a sign) and for h (7 bits and a sign), held in float32: as long
as no sum can reach 2^24 every partial sum is exact, so the order in which a BLAS adds, its threads and its use of fused
multiply-add make no difference. Where a row is so heavy that it could, the product is computed in float64, exact to
2^53. All else is elementwise: integers in float64, and tables (`fixed.py`).

    pre-activations   sums * multiplier in steps of 2^-32, plus a table's row in steps of 2^-14: exact, then rounded to
                      steps of 2^-10 where sigmoid and tanh are looked up
    gates             steps of 2^-15
    c                 steps of 2^-14
    h                 steps of 1/127; the gru, whose h is its memory, keeps it in steps of 2^-14 too
    scores            steps of 2^-10 nats

After `<end>` nothing is read of the state before it: the state that follows is always the same. N is the number of
streams, H the number of units, G the number of gates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.errors import DataError
from charlstm.network import blas, fixed, ngrams
from charlstm.network.cells import CELLS
from charlstm.network.exact_cells import (
    CELL,
    ENDS,
    FINE,
    LEVELS,
    SEEN,
    STEPS,
    Floats,
    Gates,
    Recurrence,
    State,
    output_of,
)
from charlstm.network.fixed import GRID, TOTAL, nearest
from charlstm.network.quantise import (
    BIAS,
    FAR_X,
    INPUT,
    MULTIPLIER,
    NGRAM_SCALE,
    PEEPHOLE,
    SCALE,
    TOO_LARGE,
    W_BELOW,
    W_X,
    Quantised,
)
from charlstm.network.stepper import Hold, LayerTrace, StepState, product, replaced
from charlstm.network.weights import B_HH, B_IH, EMBEDDING, OUTPUT, OUTPUT_BIAS, W_CH, W_HH, gate_rows, of_layer

__all__ = ["TOTAL", "ExactEngine", "Product", "Quantised"]

_EXACT = {np.float32: 1 << 24, np.float64: 1 << 53}
_MOST = 1 << 50  # of a product in steps of 1 / MULTIPLIER: so much less than 2^53 that other terms can be added
_TOGETHER = 64  # rows of a table that are computed together
_ROW_MOST = 1 << 9  # of a table's row in units: far beyond where the functions saturate


class Product:
    """Multiplies by a matrix of integers, exactly."""

    def __init__(self, matrix: npt.NDArray[Any], multipliers: npt.NDArray[Any], most: Any, steps: int) -> None:
        """Choose the type of its sums.

        Args:
            matrix: (R, C).
            multipliers: of each row, (R,).
            most: the most of each input, (C,) or one for all.
            steps: per unit of the results.

        Raises:
            DataError: if the results could be too large.
        """
        sums = np.abs(matrix.astype(np.int64)) * np.broadcast_to(most, matrix.shape[1])
        sums = sums.sum(1)
        if sums.size and int((sums * multipliers.astype(object)).max()) >= _MOST:
            raise DataError(TOO_LARGE)
        self.dtype: Any = next(dtype for dtype, limit in _EXACT.items() if sums.max(initial=0) < limit)
        self.weight = matrix.astype(self.dtype).T
        self._scales = multipliers * (steps / MULTIPLIER)  # steps is a power of 2: exact

    def __call__(self, rows: Floats) -> Floats:
        """Return rows @ matrix.T times the multipliers, in `steps` per unit, (..., R), float64."""
        results: Floats = product(rows.astype(self.dtype, copy=False), self.weight) * self._scales
        return results


@dataclass(frozen=True)
class _Layer:
    """What a layer computes with; all pre-activations are in steps of 1 / GRID, plus the place of 0 in their table."""

    table: npt.NDArray[np.float32]
    """(V, GH): the input from each id, biases and all, plus 1/2 to be rounded."""
    from_ngrams: Product | None
    from_below: Product | None
    from_h: Product
    recurrence: Recurrence


class _Table(ngrams.Table):
    """The vectors of n-grams, summed in integers."""

    def _sum(self, rows: Any) -> Floats:
        """Return the sums of vectors, (..., E), in steps of 1 / NGRAM_SCALE, given the rows of each, (..., orders)."""
        assert self._scales is not None
        places = self._index[rows]
        sums: Floats = (self._values[places] * self._scales[places][..., None]).sum(-2)
        return sums


class ExactEngine:
    """An `Engine` in exact arithmetic."""

    def __init__(self, quantised: Quantised) -> None:
        """Lay out the integers for single steps.

        Raises:
            DataError: if they are so large that sums would not be exact.
        """
        self.quantised = quantised
        config, alphabet, weights = quantised.config, quantised.alphabet, quantised.weights
        self._cell = CELLS[config.cell]
        self._advance_cell = STEPS[config.cell]
        self._remembers = self._cell.has_c or config.cell == "gru"
        self._size = config.hidden_size
        self._end_id = alphabet.end_id
        self._never = [] if alphabet.end_id is None else [alphabet.start_id]
        self._ngrams: _Table | None = None
        self._input_steps, most = INPUT, np.zeros(0, np.int64)
        if ngrams.orders(config.ngrams):
            table = {name: weights[name] for name in (ngrams.ROWS, ngrams.VALUES)}
            table[ngrams.SCALES] = weights[ngrams.SCALES].astype(np.float64)
            self._ngrams = _Table(config, alphabet.codes, table)
            self._input_steps, most = _input_grid(quantised)
        self._layers = [self._lay_out(number, most) for number in range(config.num_layers)]
        self._output = Product(weights[OUTPUT], weights[OUTPUT + SCALE], LEVELS, GRID)
        self._output_bias = weights[OUTPUT_BIAS] * (GRID / BIAS)
        self._paces = blas.Paces(self.rehearsal)

    def _lay_out(self, number: int, most: npt.NDArray[np.int64]) -> _Layer:
        """Return a layer, given the most of each input from n-grams, (E,)."""
        config, size = self.quantised.config, self._size
        own = {
            name: self.quantised.weights[whole]
            for name in (W_X, W_BELOW, W_HH, B_IH, B_HH, W_CH, FAR_X, W_X + SCALE, W_BELOW + SCALE, W_HH + SCALE)
            if (whole := of_layer(number, name)) in self.quantised.weights
        }
        bias_h: Floats = np.zeros(0)
        bias = own[B_IH].astype(np.int64)
        bias_too = own[B_HH].astype(np.int64)
        if config.cell == "gru":
            n = gate_rows("gru", "n", size)
            bias_h = bias_too[n] * (GRID / BIAS)
            bias_too[n] = 0
        bias += bias_too
        from_ngrams = None
        if self._ngrams is not None:
            scales = own[W_X + SCALE].astype(np.int64) * (INPUT // self._input_steps)
            from_ngrams = Product(own[W_X], scales, most, GRID)
        peepholes = np.split(own[W_CH] * (GRID / PEEPHOLE / CELL), 3) if W_CH in own else ()
        return _Layer(
            self._inputs(own, bias),
            from_ngrams,
            Product(own[W_BELOW], own[W_BELOW + SCALE], LEVELS, GRID) if number else None,
            Product(own[W_HH], own[W_HH + SCALE], LEVELS, GRID),
            Recurrence(bias_h, tuple(peepholes)),
        )

    def _inputs(self, own: dict[str, Any], bias: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return a layer's input from each id, (V, GH)."""
        embedding = self.quantised.weights[EMBEDDING]
        w_x, scales = own[W_X].T.astype(np.float64), own[W_X + SCALE].astype(np.int64)
        steps, most = MULTIPLIER // BIAS, _ROW_MOST * BIAS - 1
        if len(w_x) << 15 + 7 >= (1 << 62) // max(1, int(scales.max())):
            raise DataError(TOO_LARGE)
        ends = np.repeat(ENDS[self.quantised.config.cell], self._size) * GRID + 0.5
        table = np.empty((len(embedding), len(bias)), np.float32)
        for first in range(0, len(table), _TOGETHER):
            block = slice(first, first + _TOGETHER)
            sums = (embedding[block].astype(np.float64) @ w_x).astype(np.int64) * scales
            rows = (sums + steps // 2) // steps + bias
            if self._end_id is not None and first <= self._end_id < first + _TOGETHER:
                rows[self._end_id - first] += own[FAR_X]
            table[block] = rows.clip(-most, most) / FINE + ends
        return table

    def pace(self, streams: int | None = None) -> blas.Pace | None:
        """Return what times and chooses the threads for steps of this many streams; None if there is no choice."""
        return self._paces.of(streams)

    def rehearsal(self, streams: int | None, seed: int) -> Callable[[], list[Floats]]:
        """Return a function that computes the products of a step with random inputs."""
        products = [self._output]
        for layer in self._layers:
            each = (layer.from_h, layer.from_below, layer.from_ngrams)
            products += [product for product in each if product is not None]
        source = np.random.default_rng(seed)
        rows = () if streams is None else (streams,)
        inputs = [
            source.integers(-LEVELS, LEVELS + 1, (*rows, len(product.weight))).astype(product.dtype)
            for product in products
        ]
        return lambda: [product(row) for row, product in zip(inputs, products, strict=True)]

    def zero_state(self, streams: int | None = None) -> StepState:
        """Return the state at the beginning of a text, for `streams` rows, or for one stream without that axis."""
        shape = (self._size,) if streams is None else (streams, self._size)
        layer: State = (np.zeros(shape, np.float32),)
        if self._remembers:
            layer += (np.zeros(shape),)
        state: StepState = [layer for _ in self._layers]
        if self._ngrams is not None:
            state.append((self._ngrams.beginning(streams),))
        return state

    def step(self, ids: Any, state: StepState) -> tuple[Floats, StepState]:
        """Read one character in every stream.

        Args:
            ids: (N,), or a single number.
            state: as returned by `zero_state` or an earlier call; it is not changed.

        Returns:
            The outputs of all layers, (N, LH) or (LH,), in steps of 1/127, for `logits`; and the state after the
            character.
        """
        _, layers, recent = self._advance(ids, state)
        outputs = layers[0][0] if len(layers) == 1 else np.concatenate([layer[0] for layer in layers], -1)
        return outputs, layers + recent

    def trace(self, ids: Any, state: StepState, hold: Hold | None = None) -> tuple[list[LayerTrace], StepState]:
        """Read one character in every stream as `step` does, and return what each layer did, in units of 1."""
        if hold is not None:
            hold.require(len(self._layers), has_c=self._cell.has_c)
        gates, layers, recent = self._advance(ids, state, hold)
        traces = [
            LayerTrace(
                dict(zip(self._cell.gates, opened, strict=True)),
                layer[1] / CELL if self._cell.has_c else None,
                layer[0] / LEVELS,
            )
            for opened, layer in zip(gates, layers, strict=True)
        ]
        return traces, layers + recent

    def _advance(
        self, ids: Any, state: StepState, hold: Hold | None = None
    ) -> tuple[list[Gates], StepState, StepState]:
        """Return each layer's gates and new state, and what is remembered of the characters."""
        gates: list[Gates] = []
        after: StepState = []
        inputs, recent = self._read_ngrams(ids, state)
        keep = self._kept(ids)
        for number, layer in enumerate(self._layers):
            before = state[number]
            if keep is not None:
                before = tuple(part * keep for part in before)
            pre_activations = layer.from_h(before[0])
            from_x: Floats = layer.table[ids]
            if layer.from_ngrams is not None:
                from_x = from_x + layer.from_ngrams(inputs)
            if layer.from_below is not None:
                from_x = from_x + layer.from_below(after[-1][0])
            opened, new = self._advance_cell(layer.recurrence, from_x, pre_activations, before)
            if hold is not None and hold.layer == number + 1:
                new = self._held(hold, opened, new)
            gates.append(opened)
            after.append(new)
        return gates, after, recent

    def _kept(self, ids: Any) -> Any:
        """Return which streams go on, (N, 1), or a single 0: what follows `<end>` reads nothing that was before it.

        None means that all of them do.
        """
        if self._end_id is None:
            return None
        keep = np.asarray(ids) != self._end_id
        if keep.all():
            return None
        return keep[:, None] if keep.ndim else 0

    def _held(self, hold: Hold, gates: Gates, state: State) -> State:
        """Return a layer's state with one unit of each stream set to the nearest value of its grid."""
        h, *rest = state
        values = np.asarray(hold.values, np.float64)
        if hold.signal == "c":
            c = replaced(rest[0], hold.units, np.rint(values * CELL).clip(-SEEN, SEEN))
            return output_of(gates[self._cell.gates.index("o")], c), c
        h = replaced(h, hold.units, np.rint(values * LEVELS).clip(-LEVELS, LEVELS))
        if self._remembers and not self._cell.has_c:
            rest = [replaced(rest[0], hold.units, np.rint(values * CELL).clip(-CELL, CELL))]
        return h, *rest

    def _read_ngrams(self, ids: Any, state: StepState) -> tuple[Any, StepState]:
        """Return the sum of the n-grams' vectors, (N, E) or (E,), and what is remembered of the characters."""
        if self._ngrams is None:
            return None, []
        ((recent,),) = state[len(self._layers) :]
        sums, recent = self._ngrams.read(ids, recent)
        return nearest(sums * (self._input_steps / NGRAM_SCALE)), [(recent,)]

    def scores(self, outputs: Floats) -> npt.NDArray[np.int32]:
        """Return the scores of the next character in steps of 1 / GRID nats, (N, V) or (V,)."""
        return nearest(self._output(outputs) + self._output_bias).astype(np.int32)

    def logits(self, outputs: Floats) -> Floats:
        """Return the scores of the next character in nats, (N, V) or (V,), float64: multiples of 1 / GRID."""
        return self.scores(outputs) / GRID

    def frequencies(self, outputs: Floats) -> npt.NDArray[np.uint32]:
        """Return the frequency of each id as the next one, (N, V) or (V,), with the sum `TOTAL`.

        `<start>` gets 0, and every other id 1 at least.
        """
        return fixed.frequencies(self.scores(outputs), self._never)


def _input_grid(quantised: Quantised) -> tuple[int, npt.NDArray[np.int64]]:
    """Return the steps per unit of sums of n-grams' vectors, and the most of each, (E,).

    It is the finest grid, up to that of embeddings, on which products of the sums can be computed in float32.
    """
    weights, config = quantised.weights, quantised.config
    vectors = np.abs(weights[ngrams.VALUES].astype(np.int64) * weights[ngrams.SCALES][:, None])
    most = vectors.max(0, initial=0) * len(ngrams.orders(config.ngrams))  # in steps of 1 / NGRAM_SCALE
    matrices = [np.abs(weights[of_layer(number, W_X)].astype(np.int64)) for number in range(config.num_layers)]
    for steps in (INPUT >> shift for shift in range(5)):
        on_grid = most // (NGRAM_SCALE // steps) + 1
        if all((matrix @ on_grid).max() < _EXACT[np.float32] for matrix in matrices):
            return steps, on_grid
    return INPUT, most // (NGRAM_SCALE // INPUT) + 1
