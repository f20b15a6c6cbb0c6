"""The trained network one character at a time, on numpy or torch arrays: what sampling runs.

What a layer takes from the embedding is a table with one row an id (embedding x W_ih + bias, computed once), what it
takes from the layer below and from its own h are matrix products, and the rest is the equation in `cells.py`. For a
single stream on a CPU numpy does this an order faster than torch's kernels, and starts without importing torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlstm import blas, cells
from charlstm.cells import Array

StepState = list[cells.State]
"""What each layer carries on: (N, H) each, or (H,) for a single stream."""
_FEW = 8  # rows up to which one at a time is faster: a product of two matrices copies the weights first


class Stepper:
    """The weights, laid out for single steps."""

    def __init__(self, cell: str, tensors: Mapping[str, Array]) -> None:
        """Take a model's tensors by their names in the checkpoint, all numpy or all torch."""
        self._cell = cells.CELLS[cell]
        self._layers: list[_Layer] = []
        embedding = tensors["embedding.weight"]
        size = embedding.shape[1]
        number = 0
        while f"layers.{number}.weight_hh_l0" in tensors:
            w_ih, w_hh, b_ih, b_hh = (
                tensors[f"layers.{number}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            self._layers.append(
                _Layer(
                    table=embedding @ w_ih[:, :size].T + b_ih,
                    w_below=w_ih[:, size:].T if number else None,
                    w_hh=w_hh.T,
                    b_hh=b_hh,
                    peepholes=(tensors[f"layers.{number}.weight_ch_l0"],) if self._cell.peepholes else (),
                )
            )
            self._hidden_size = w_hh.shape[1]
            number += 1
        self._output = tensors["output.weight"].T  # (LH, V)
        self._output_bias = tensors["output.bias"]
        self._paces: dict[int | None, blas.Pace] = {}

    def pace(self, streams: int | None = None) -> blas.Pace | None:
        """Return what times the steps of so many streams and sets the threads; None if nothing is to be chosen."""
        library = blas.library() if isinstance(self._output, np.ndarray) else None
        if library is None:
            return None
        if streams not in self._paces:
            self._paces[streams] = blas.Pace(lambda seed: self.rehearsal(streams, seed), library, blas.cores())
        return self._paces[streams]

    def rehearsal(self, streams: int | None, seed: int) -> Callable[[], list[Array]]:
        """Return a function that computes a step's products with random inputs."""
        weights = [layer.w_hh for layer in self._layers]
        weights += [layer.w_below for layer in self._layers if layer.w_below is not None]
        weights.append(self._output)
        source = np.random.default_rng(seed)
        rows = () if streams is None else (streams,)
        inputs = [source.standard_normal((*rows, len(weight)), np.float32) for weight in weights]
        return lambda: [_product(row, weight) for row, weight in zip(inputs, weights, strict=True)]

    def zero_state(self, streams: int | None = None) -> StepState:
        """Return the state in which a text begins, for `streams` rows, or for a single stream without that axis."""
        shape = (self._hidden_size,) if streams is None else (streams, self._hidden_size)
        zeros = np.zeros(shape, np.float32) if isinstance(self._output, np.ndarray) else self._output.new_zeros(shape)
        return [(zeros, zeros) if self._cell.has_c else (zeros,) for _ in self._layers]

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
        for layer, before in zip(self._layers, state, strict=True):
            from_x = layer.table[ids]
            if layer.w_below is not None:
                from_x = from_x + _product(outputs[-1], layer.w_below)
            from_h = _product(before[0], layer.w_hh) + layer.b_hh
            after.append(self._cell.step(from_x, from_h, before, *layer.peepholes))
            outputs.append(after[-1][0])
        return _concatenate(outputs) if len(outputs) > 1 else outputs[0], after

    def logits(self, output: Array) -> Array:
        """Return the scores of the next character, (N, V) or (V,)."""
        return _product(output, self._output) + self._output_bias


@dataclass(frozen=True)
class _Layer:
    """The weights of a layer; G is the number of its gates."""

    table: Array  # (V, GH): what it takes from the embedding of each id
    w_below: Array | None  # (H, GH)
    w_hh: Array  # (H, GH)
    b_hh: Array  # (GH,)
    peepholes: tuple[Array, ...]


def _product(rows: Array, weight: Array) -> Array:
    """Return rows @ weight; a few rows have the bits that each of them has alone."""
    if rows.ndim == 2 and len(rows) <= _FEW and isinstance(rows, np.ndarray):
        return np.stack([row @ weight for row in rows])
    return rows @ weight


def _concatenate(arrays: list[Array]) -> Array:
    """Join arrays along their last axis."""
    if isinstance(arrays[0], np.ndarray):
        return np.concatenate(arrays, -1)
    import torch

    return torch.cat(arrays, -1)
