"""The equations of `cells.py` on fixed grids: one time step of each recurrence, in arithmetic that is always the same.

Pre-activations come in steps of 1 / GRID, counted from the beginning of the table in which they are looked up, plus 1/2
to be rounded. Gates are multiples of 1 / UNIT. Every intermediate value is a multiple of a power of 2 that float64
holds exactly; `exact.py` has the grids.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.network import fixed
from charlstm.network.cells import CELLS
from charlstm.network.fixed import GRID, SIGMOID_END, TANH_END, look_up, nearest

Floats = npt.NDArray[np.floating[Any]]
"""Multiples of a power of 2 that are exact in their type."""
State = tuple[Floats, ...]
"""(h, c): h in steps of 1 / LEVELS, float32, and c in steps of 1 / CELL, float64. The second of the gru is its h in
steps of 1 / CELL; the rnn has h alone."""
Gates = tuple[Floats, ...]

LEVELS = 127
"""What stands for 1 in h."""
CELL = 1 << 14
"""Steps per unit of the cell state, which the gates keep below 2^15: a gate is never quite open."""
FINE = 16
"""Steps per step of GRID to which the inputs from ids, and the product of the gru that its r scales, are rounded."""
SEEN = 1 << 23
"""The most of a cell state that peepholes see, in steps of 1 / CELL."""


@dataclass(frozen=True)
class Recurrence:
    """What a cell needs beside its inputs."""

    bias_h: Floats
    """(H,): of the gru's product with h for n, in steps of 1 / GRID; else of no size."""
    peepholes: tuple[Floats, ...]
    """Of i, f and o, (H,) each, in steps of 1 / GRID for a cell state in steps of 1 / CELL; else none."""


def _sigmoid(places: Floats) -> Floats:
    return look_up(fixed.tables().sigmoid, places)


def _tanh(places: Floats) -> Floats:
    return look_up(fixed.tables().tanh, places)


def _tanh_of(c: Floats) -> Floats:
    """Return tanh of a cell state."""
    return _tanh(c * (GRID / CELL) + (TANH_END * GRID + 0.5))


def output_of(o: Floats, c: Floats) -> Floats:
    """Return h = o * tanh(c)."""
    return nearest(o * _tanh_of(c) * LEVELS).astype(np.float32)


def lstm(weights: Recurrence, from_x: Floats, from_h: Floats, state: State) -> tuple[Gates, State]:
    """Return the gates and the new state of the LSTM."""
    size = state[0].shape[-1]
    from_h += from_x
    i_and_f = _sigmoid(from_h[..., : 2 * size])
    g = _tanh(from_h[..., 2 * size : 3 * size])
    o = _sigmoid(from_h[..., 3 * size :])
    i, f = i_and_f[..., :size], i_and_f[..., size:]
    c = nearest(f * state[1] + i * g * CELL)
    return (i, f, g, o), (output_of(o, c), c)


def peephole(weights: Recurrence, from_x: Floats, from_h: Floats, state: State) -> tuple[Gates, State]:
    """Return those of the LSTM with peepholes."""
    size = state[0].shape[-1]
    from_h += from_x
    p_i, p_f, p_o = weights.peepholes
    seen = state[1].clip(-SEEN, SEEN)
    i = _sigmoid(from_h[..., :size] + p_i * seen)
    f = _sigmoid(from_h[..., size : 2 * size] + p_f * seen)
    g = _tanh(from_h[..., 2 * size : 3 * size])
    c = nearest(f * state[1] + i * g * CELL)
    o = _sigmoid(from_h[..., 3 * size :] + p_o * c.clip(-SEEN, SEEN))
    return (i, f, g, o), (output_of(o, c), c)


def coupled(weights: Recurrence, from_x: Floats, from_h: Floats, state: State) -> tuple[Gates, State]:
    """Return those of the LSTM whose single gate forgets and writes."""
    size = state[0].shape[-1]
    from_h += from_x
    f = _sigmoid(from_h[..., :size])
    g = _tanh(from_h[..., size : 2 * size])
    o = _sigmoid(from_h[..., 2 * size :])
    c = nearest(f * state[1] + (1 - f) * g * CELL)
    return (f, g, o), (output_of(o, c), c)


def gru(weights: Recurrence, from_x: Floats, from_h: Floats, state: State) -> tuple[Gates, State]:
    """Return those of the gated recurrent unit, which remembers h itself, on a finer grid than products see."""
    size = state[0].shape[-1]
    r_and_z = _sigmoid(from_x[..., : 2 * size] + from_h[..., : 2 * size])
    r, z = r_and_z[..., :size], r_and_z[..., size:]
    # Rounded before it is multiplied by r, so that the product of both is exact.
    h_n = nearest((from_h[..., 2 * size :] + weights.bias_h) * FINE) / FINE
    n = _tanh(from_x[..., 2 * size :] + r * h_n)
    fine = nearest((1 - z) * n * CELL + z * state[1])
    return (r, z, n), (nearest(fine * (LEVELS / CELL)).astype(np.float32), fine)


def rnn(weights: Recurrence, from_x: Floats, from_h: Floats, state: State) -> tuple[Gates, State]:
    """Return those of the simple recurrent network."""
    h = _tanh(from_x + from_h)
    return (h,), (nearest(h * LEVELS).astype(np.float32),)


STEPS: dict[str, Callable[[Recurrence, Floats, Floats, State], tuple[Gates, State]]] = {
    "lstm": lstm,
    "peephole": peephole,
    "coupled": coupled,
    "gru": gru,
    "rnn": rnn,
}
"""The recurrences: (what they need, from_x, from_h, state) -> gates and new state."""
ENDS = {cell: tuple(SIGMOID_END if gate in "ifozr" else TANH_END for gate in CELLS[cell].gates) for cell in STEPS}
"""Of each gate, where in units its table begins, left of 0."""
