"""The equations: one time step of each recurrence, defined once, in two parts: the gates, then the state update.

Every function is pure and works on numpy arrays and torch tensors alike. Let x be the input, W and U the input and
recurrent weights, and b their biases. The gates take from_x = W x + b_ih and from_h = U h(t-1) + b_hh, both
(..., G H): the pre-activations of G gates of H units side by side along the last axis, in torch's layout and order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = Any
"""A numpy array or a torch tensor."""
Gates = tuple[Array, ...]
"""The activations of a cell's gates, each (..., H), in the order of `Cell.gates`."""
State = tuple[Array, ...]
"""What a cell carries to the next step, each (..., H): (h, c), or (h,) if it has no cell state."""


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent of each element."""
    return np.tanh(x) if isinstance(x, np.ndarray) else x.tanh()


def sigmoid(x: Array) -> Array:
    """Return the logistic function of each element; computed by way of tanh, it cannot overflow."""
    return tanh(x * 0.5) * 0.5 + 0.5


def remember(f: Array, c: Array, i: Array, g: Array) -> Array:
    """Return the new cell state: what the forget gate keeps of the old one, and what the input gate admits."""
    return f * c + i * g


def lstm_gates(from_x: Array, from_h: Array, state: State) -> Gates:
    """Return i, f, g and o of the long short-term memory (Hochreiter & Schmidhuber 1997)."""
    size = state[0].shape[-1]
    gates = from_x + from_h
    i_and_f = sigmoid(gates[..., : 2 * size])  # one call for both is faster
    g = tanh(gates[..., 2 * size : 3 * size])
    o = sigmoid(gates[..., 3 * size :])
    return i_and_f[..., :size], i_and_f[..., size:], g, o


def lstm_update(gates: Gates, state: State) -> State:
    """Return the LSTM's new state (forget gate: Gers, Schmidhuber & Cummins 2000).

    The cell state c changes by addition alone, so both its content and its gradient last as long as the forget gate
    stays near 1.
    """
    i, f, g, o = gates
    _, c = state
    c = remember(f, c, i, g)
    return o * tanh(c), c


def peephole_gates(from_x: Array, from_h: Array, state: State, weight: Array) -> Gates:
    """Return the gates of the LSTM with peepholes, whose gates see the cell state (Gers & Schmidhuber 2000).

    i and f see the old cell state, o the new one. `weight` is (3 H,): one weight per unit for each of i, f and o.
    """
    _, c = state
    size = c.shape[-1]
    gates = from_x + from_h
    i = sigmoid(gates[..., :size] + weight[:size] * c)
    f = sigmoid(gates[..., size : 2 * size] + weight[size : 2 * size] * c)
    g = tanh(gates[..., 2 * size : 3 * size])
    o = sigmoid(gates[..., 3 * size :] + weight[2 * size :] * remember(f, c, i, g))
    return i, f, g, o


def coupled_gates(from_x: Array, from_h: Array, state: State) -> Gates:
    """Return f, g and o of the LSTM with a single gate for forgetting and writing (CIFG in Greff et al. 2017)."""
    size = state[0].shape[-1]
    gates = from_x + from_h
    f = sigmoid(gates[..., :size])
    g = tanh(gates[..., size : 2 * size])
    o = sigmoid(gates[..., 2 * size :])
    return f, g, o


def coupled_update(gates: Gates, state: State) -> State:
    """Return the new state: the cell writes as much as it forgets, i = 1 - f."""
    f, g, o = gates
    _, c = state
    c = remember(f, c, 1 - f, g)
    return o * tanh(c), c


def gru_gates(from_x: Array, from_h: Array, state: State) -> Gates:
    """Return r, z and n of the gated recurrent unit (Cho et al. 2014).

    In torch's form: the reset gate r is applied after the recurrent product.
    """
    size = state[0].shape[-1]
    r_and_z = sigmoid(from_x[..., : 2 * size] + from_h[..., : 2 * size])
    r, z = r_and_z[..., :size], r_and_z[..., size:]
    return r, z, tanh(from_x[..., 2 * size :] + r * from_h[..., 2 * size :])


def gru_update(gates: Gates, state: State) -> State:
    """Return the new state: z is the share of the old state that is kept."""
    _, z, n = gates
    (h,) = state
    return ((1 - z) * n + z * h,)


def rnn_gates(from_x: Array, from_h: Array, state: State) -> Gates:
    """Return h = tanh(W x + U h + b) of the simple recurrent network (Elman 1990), the baseline that forgets."""
    return (tanh(from_x + from_h),)


def rnn_update(gates: Gates, state: State) -> State:
    """Return the new state, which keeps nothing of the old one."""
    return gates


@dataclass(frozen=True)
class Cell:
    """A recurrence: its equations, and what they imply about its weights."""

    activate: Callable[..., Gates]
    """(from_x, from_h, state) and any peephole weights -> the activations of the gates."""
    update: Callable[[Gates, State], State]
    """The activations and the state before the step -> the state after it."""
    gates: str
    """The gates, in the order of their rows in W and U."""
    has_c: bool = True
    """Whether it has a cell state c in addition to h."""
    keep_gate: str | None = None
    """The gate that keeps everything when it is 1."""
    input_gate: str | None = None
    """The gate that lets nothing in when it is 0, if it is separate from `keep_gate`."""
    peepholes: int = 0
    """How many gates see the cell state."""
    reset: dict[str, int] = field(default_factory=dict)
    """The gates whose pre-activations are driven towards -1 or +1 times infinity when a document ends. The state after
    that step does not depend on the state before it, and no gradient crosses, because every gate's slope is 0."""

    def step(self, from_x: Array, from_h: Array, state: State, *peepholes: Array) -> State:
        """Return the state after one step."""
        return self.update(self.activate(from_x, from_h, state, *peepholes), state)


_CLOSED = {"i": -1, "f": -1, "o": -1}
CELLS = {
    "lstm": Cell(lstm_gates, lstm_update, "ifgo", keep_gate="f", input_gate="i", reset=_CLOSED),  # c = h = 0
    "peephole": Cell(peephole_gates, lstm_update, "ifgo", keep_gate="f", input_gate="i", peepholes=3, reset=_CLOSED),
    "coupled": Cell(coupled_gates, coupled_update, "fgo", keep_gate="f", reset={"f": -1, "g": 1, "o": -1}),
    "gru": Cell(gru_gates, gru_update, "rzn", has_c=False, keep_gate="z", reset={"r": -1, "z": -1, "n": 1}),  # h = 1
    "rnn": Cell(rnn_gates, rnn_update, "h", has_c=False, reset={"h": 1}),  # h = 1
}
"""The recurrences, by their names in `train --cell`."""
