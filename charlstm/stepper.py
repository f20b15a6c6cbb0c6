"""The trained network one character at a time, on numpy or torch arrays: what sampling runs.

The first layer's input product is a table with one row an id (embedding x W_ih + biases, computed once), every
other layer is one matrix product over its input and its own h, and the rest is the equation in `cells.py`. For a
single stream on a CPU numpy does this an order faster than torch's kernels, and starts without importing torch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from charlstm import cells
from charlstm.cells import Array

StepState = list[tuple[Array, Array]]
"""h and c of each layer, (N, H), or (H,) for a single stream."""


class Stepper:
    """The weights, laid out for single steps."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        """Take a model's tensors by their names in the checkpoint, all numpy or all torch."""
        self._layers: list[tuple[Array, Array]] = []
        embedding = tensors["embedding.weight"]
        number = 0
        while f"layers.{number}.weight_hh_l0" in tensors:
            w_ih, w_hh, b_ih, b_hh = (
                tensors[f"layers.{number}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            bias = b_ih + b_hh
            if number == 0:
                self._table = embedding @ w_ih.T + bias  # (V, 4H)
                self._layers.append((w_hh.T, bias))
            else:
                self._layers.append((_concatenate(w_ih, w_hh).T, bias))
            self._hidden_size = w_hh.shape[1]
            number += 1
        self._output = tensors["output.weight"].T  # (H, V)
        self._output_bias = tensors["output.bias"]

    def zero_state(self, streams: int | None = None) -> StepState:
        """Return the state in which a text begins, for `streams` rows, or for a single stream without that axis."""
        shape = (self._hidden_size,) if streams is None else (streams, self._hidden_size)
        zeros = np.zeros(shape, np.float32) if isinstance(self._table, np.ndarray) else self._table.new_zeros(shape)
        return [(zeros, zeros) for _ in self._layers]

    def step(self, ids: Any, state: StepState) -> tuple[Array, StepState]:
        """Read one character of every stream.

        Args:
            ids: (N,), or a single number.
            state: as `zero_state` or an earlier call returned it.

        Returns:
            The output of the last layer, (N, H) or (H,), for `logits`; and the state after it.
        """
        after: StepState = []
        output = None
        for (weight, bias), (h, c) in zip(self._layers, state, strict=True):
            gates = h @ weight + self._table[ids] if output is None else _concatenate(output, h) @ weight + bias
            output, c = cells.lstm(gates, c)  # noqa: PLW2901
            after.append((output, c))
        return output, after

    def logits(self, output: Array) -> Array:
        """Return the scores of the next character, (N, V) or (V,)."""
        return output @ self._output + self._output_bias


def _concatenate(left: Array, right: Array) -> Array:
    """Join two arrays along their last axis."""
    if isinstance(left, np.ndarray):
        return np.concatenate((left, right), -1)
    import torch

    return torch.cat((left, right), -1)
