"""The equations: one time step of each recurrence, once.

Every function is pure and serves numpy arrays and torch tensors alike. With x the input, W and U the input and the
recurrent weights and b their biases, it takes from_x = W x + b_ih and from_h = U h(t-1) + b_hh, both (..., G H): the
pre-activations of G gates of H units side by side along the last axis, in torch's layout and order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = Any
"""A numpy array or a torch tensor."""
State = tuple[Array, ...]
"""What a cell carries to the next step, each (..., H): (h, c), or (h,) where it has no cell state."""


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent of each element."""
    return np.tanh(x) if isinstance(x, np.ndarray) else x.tanh()


def sigmoid(x: Array) -> Array:
    """Return the logistic function of each element; as a tanh, it cannot overflow."""
    return tanh(x * 0.5) * 0.5 + 0.5


def lstm(from_x: Array, from_h: Array, state: State) -> State:
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000).

    Gates i, f, g, o. The cell state c is changed by addition alone, so that what it holds, and the gradient of it,
    lasts as long as the forget gate stays near 1.
    """
    _, c = state
    size = c.shape[-1]
    gates = from_x + from_h
    i_and_f = sigmoid(gates[..., : 2 * size])
    i, f = i_and_f[..., :size], i_and_f[..., size:]
    g = tanh(gates[..., 2 * size : 3 * size])
    o = sigmoid(gates[..., 3 * size :])
    c = f * c + i * g
    return o * tanh(c), c


def peephole(from_x: Array, from_h: Array, state: State, weight: Array) -> State:
    """The LSTM whose gates see the cell state (Gers & Schmidhuber 2000): i and f the old one, o the new one.

    Gates i, f, g, o. `weight` is (3 H): one weight a unit for i, f and o.
    """
    _, c = state
    size = c.shape[-1]
    gates = from_x + from_h
    i = sigmoid(gates[..., :size] + weight[:size] * c)
    f = sigmoid(gates[..., size : 2 * size] + weight[size : 2 * size] * c)
    g = tanh(gates[..., 2 * size : 3 * size])
    c = f * c + i * g
    o = sigmoid(gates[..., 3 * size :] + weight[2 * size :] * c)
    return o * tanh(c), c


def coupled(from_x: Array, from_h: Array, state: State) -> State:
    """The LSTM with one gate for both: it writes as much as it forgets, i = 1 - f (CIFG in Greff et al. 2017).

    Gates f, g, o.
    """
    _, c = state
    size = c.shape[-1]
    gates = from_x + from_h
    f = sigmoid(gates[..., :size])
    g = tanh(gates[..., size : 2 * size])
    o = sigmoid(gates[..., 2 * size :])
    c = f * c + (1 - f) * g
    return o * tanh(c), c


def gru(from_x: Array, from_h: Array, state: State) -> State:
    """The gated recurrent unit: update and reset gate, cell and hidden state in one (Cho et al. 2014).

    Gates r, z, n, in torch's form: the reset gate is applied after the recurrent product, and z is what stays.
    """
    (h,) = state
    size = h.shape[-1]
    gates = from_x[..., : 2 * size] + from_h[..., : 2 * size]
    r_and_z = sigmoid(gates)
    r, z = r_and_z[..., :size], r_and_z[..., size:]
    n = tanh(from_x[..., 2 * size :] + r * from_h[..., 2 * size :])
    return ((1 - z) * n + z * h,)


def rnn(from_x: Array, from_h: Array, state: State) -> State:
    """The simple recurrent network, h = tanh(W x + U h + b) (Elman 1990): the baseline, which forgets."""
    return (tanh(from_x + from_h),)


@dataclass(frozen=True)
class Cell:
    """A recurrence and what is to be known of its weights."""

    step: Callable[..., State]
    """(from_x, from_h, state), and the peephole weights where there are any, -> the state after the step."""
    gates: str
    """The gates, in the order of their rows in W and U."""
    has_c: bool = True
    """Whether it has a cell state c beside h."""
    keep_gate: str | None = None
    """The gate that is 1 where all is kept."""
    input_gate: str | None = None
    """The gate that is 0 where nothing is written, where it is a gate of its own."""
    peepholes: int = 0
    """Gates that see the cell state."""
    reset: dict[str, int] = field(default_factory=dict)
    """The gates that are driven to -1 or +1 times infinity where a document ends: the state after that step does not
    depend on the one before it, and no gradient crosses, as every gate's slope is 0."""


CELLS = {
    "lstm": Cell(lstm, "ifgo", keep_gate="f", input_gate="i", reset={"i": -1, "f": -1, "o": -1}),  # c = h = 0
    "peephole": Cell(peephole, "ifgo", keep_gate="f", input_gate="i", peepholes=3, reset={"i": -1, "f": -1, "o": -1}),
    "coupled": Cell(coupled, "fgo", keep_gate="f", reset={"f": -1, "g": 1, "o": -1}),  # c = 1, h = 0
    "gru": Cell(gru, "rzn", has_c=False, keep_gate="z", reset={"r": -1, "z": -1, "n": 1}),  # h = 1
    "rnn": Cell(rnn, "h", has_c=False, reset={"h": 1}),  # h = 1
}
"""The recurrences by the names of `train --cell`."""
