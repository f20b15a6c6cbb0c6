"""The trained network one character at a time, on numpy or torch arrays: what sampling runs.

What a layer takes from the embedding is a table with one row an id (embedding x W_ih + biases, computed once), what it
takes from the layer below and from its own h is one matrix product, and the rest is the equation in `cells.py`. For a
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
        size = embedding.shape[1]
        number = 0
        while f"layers.{number}.weight_hh_l0" in tensors:
            w_ih, w_hh, b_ih, b_hh = (
                tensors[f"layers.{number}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            table = embedding @ w_ih[:, :size].T + (b_ih + b_hh)  # (V, 4H)
            weight = _concatenate([w_ih[:, size:], w_hh]).T if number else w_hh.T  # (2H or H, 4H)
            self._layers.append((weight, table))
            self._hidden_size = w_hh.shape[1]
            number += 1
        self._output = tensors["output.weight"].T  # (LH, V)
        self._output_bias = tensors["output.bias"]

    def zero_state(self, streams: int | None = None) -> StepState:
        """Return the state in which a text begins, for `streams` rows, or for a single stream without that axis."""
        shape = (self._hidden_size,) if streams is None else (streams, self._hidden_size)
        zeros = np.zeros(shape, np.float32) if isinstance(self._output, np.ndarray) else self._output.new_zeros(shape)
        return [(zeros, zeros) for _ in self._layers]

    def step(self, ids: Any, state: StepState) -> tuple[Array, StepState]:
        """Read one character of every stream.

        Args:
            ids: (N,), or a single number.
            state: as `zero_state` or an earlier call returned it.

        Returns:
            The outputs of all layers, (N, LH) or (LH,), for `logits`; and the state after it.
        """
        after: StepState = []
        outputs: list[Array] = []
        for (weight, table), (h, c) in zip(self._layers, state, strict=True):
            seen = _concatenate([outputs[-1], h]) if outputs else h
            h, c = cells.lstm(seen @ weight + table[ids], c)  # noqa: PLW2901
            after.append((h, c))
            outputs.append(h)
        return _concatenate(outputs) if len(outputs) > 1 else outputs[0], after

    def logits(self, output: Array) -> Array:
        """Return the scores of the next character, (N, V) or (V,)."""
        return output @ self._output + self._output_bias


def _concatenate(arrays: list[Array]) -> Array:
    """Join arrays along their last axis."""
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays, -1)
    import torch

    return torch.cat(arrays, -1)
