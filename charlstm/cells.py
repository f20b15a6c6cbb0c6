"""The equations: one time step of each recurrence, once.

Every function is pure and serves numpy arrays and torch tensors alike. Weights follow torch's layout, and the
pre-activations of a cell lie along the last axis in torch's gate order (i, f, g, o).
"""

from typing import Any

import numpy as np

Array = Any
"""A numpy array or a torch tensor."""


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent of each element."""
    return np.tanh(x) if isinstance(x, np.ndarray) else x.tanh()


def sigmoid(x: Array) -> Array:
    """Return the logistic function of each element; as a tanh, it cannot overflow."""
    return tanh(x * 0.5) * 0.5 + 0.5


def lstm(gates: Array, c: Array) -> tuple[Array, Array]:
    """One step of the LSTM (Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000).

    Args:
        gates: W x + U h + b, (..., 4H): the pre-activations of i, f, g and o.
        c: the cell state, (..., H).

    Returns:
        The new h and c, both (..., H).
    """
    size = c.shape[-1]
    i_and_f = sigmoid(gates[..., : 2 * size])
    i, f = i_and_f[..., :size], i_and_f[..., size:]
    g = tanh(gates[..., 2 * size : 3 * size])
    o = sigmoid(gates[..., 3 * size :])
    c = f * c + i * g
    return o * tanh(c), c
