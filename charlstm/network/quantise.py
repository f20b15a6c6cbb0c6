"""A model's weights as integers, with all that exact arithmetic needs: the same integers on every machine.

Each row of a matrix is rounded to 7 bits and a sign, by a scale of its own (Jacob et al. 2018, without their zero
points). Only operations that IEEE 754 rounds in one way make the scales: no sums, and no BLAS. All else is integers.

V is the number of ids, those of labels included, E the embedding size, H the number of units, G the number of gates and
L the number of layers.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.config import ModelConfig
from charlstm.errors import DataError
from charlstm.network import ngrams
from charlstm.network.cells import CELLS
from charlstm.network.exact_cells import LEVELS
from charlstm.network.ngrams import Alphabet
from charlstm.network.weights import (
    B_HH,
    B_IH,
    EMBEDDING,
    OUTPUT,
    OUTPUT_BIAS,
    W_CH,
    W_HH,
    W_IH,
    embeddings,
    of_layer,
)

Array = npt.NDArray[Any]
Tensors = dict[str, npt.NDArray[np.integer[Any]]]

ARITHMETIC = 1
"""Version of the arithmetic: the same integers and text give the same probabilities as long as it is the same."""
MULTIPLIER = 1 << 32
"""Multipliers turn sums of products into pre-activations (or nats) in steps of 1 / MULTIPLIER."""
INPUT = 1 << 12
"""Steps per unit of embeddings."""
BIAS = 1 << 14
"""Steps per unit of biases."""
NGRAM_SCALE = 1 << 24
"""Steps per unit of the scales of n-grams' vectors."""
PEEPHOLE = 1 << 16
"""Steps per unit of peephole weights, which are at most 16."""
W_X, W_BELOW = "weight_x", "weight_below"
"""The two parts of W_IH, (G H, E) and (G H, H): what reads the embedding, and what reads the layer below."""
FAR_X = "far"
"""(G H,) in steps of 1 / BIAS: what `<end>` adds to saturate the gates, if documents have frames."""
SCALE = ".scale"
"""Ends the name of a matrix's multipliers."""
TOO_LARGE = "the model's weights are too large for exact arithmetic; train it again"
_TOP = 127  # the greatest weight of a row
_FAR_MOST = 1 << 8  # the most that `<end>` adds: enough to saturate a gate


@dataclass(frozen=True)
class Quantised:
    """A model in integers."""

    config: ModelConfig
    alphabet: Alphabet
    weights: Tensors
    """By the names in a checkpoint. A matrix, int8, comes with one multiplier per row, int32, and W_IH in two parts;
    biases are int32 in steps of 1 / BIAS; the embedding is int16 in steps of 1 / INPUT."""

    @classmethod
    def from_checkpoint(cls, config: ModelConfig, alphabet: Alphabet, weights: Mapping[str, Array]) -> "Quantised":
        """Round a model's weights.

        Args:
            config: the shape of the network.
            alphabet: its ids.
            weights: by their names in the checkpoint; numpy arrays.

        Raises:
            DataError: if a weight is not a finite number.
        """
        if not all(np.isfinite(weight).all() for weight in weights.values()):
            raise DataError("the model's weights are not numbers: exact arithmetic cannot use them; train it again")
        embedding = _floats(embeddings(weights, alphabet))
        found: Tensors = {EMBEDDING: _fixed(embedding, INPUT, np.int16)}
        for number in range(config.num_layers):
            layer = {
                name: _floats(weights[of_layer(number, name)])
                for name in (W_IH, W_HH, B_IH, B_HH, W_CH)
                if of_layer(number, name) in weights
            }
            parts = _layer(config, layer, None if alphabet.end_id is None else embedding[alphabet.end_id, -1])
            found |= {of_layer(number, name): part for name, part in parts.items()}
        found |= _matrix(OUTPUT, _floats(weights[OUTPUT]), 1 / LEVELS)
        found[OUTPUT_BIAS] = _fixed(_floats(weights[OUTPUT_BIAS]), BIAS, np.int32)
        if ngrams.orders(config.ngrams):
            found |= _ngrams(weights)
        return cls(config, alphabet, found)

    @classmethod
    def of_tensors(cls, config: ModelConfig, alphabet: Alphabet, tensors: Mapping[str, Array]) -> "Quantised":
        """Take the integers back that `tensors` returned.

        Raises:
            DataError: if they are not those of such a model.
        """
        expected = _shapes(config, alphabet, tensors)
        if {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()} != expected:
            raise DataError("these integers are not those of a model of this shape")
        return cls(config, alphabet, dict(tensors))

    def tensors(self) -> Tensors:
        """Return everything but the shape and the alphabet, for a file: int8, int16 and int32 arrays by name."""
        return dict(self.weights)

    @property
    def model_id(self) -> str:
        """The SHA-256 of all that decides the probabilities, in hexadecimal digits."""
        config, alphabet = self.config, self.alphabet
        head = {
            "arithmetic": ARITHMETIC,
            "cell": config.cell,
            "layers": config.num_layers,
            "ngrams": [config.ngrams, config.ngram_rows] if ngrams.orders(config.ngrams) else [],
            "codes": alphabet.codes.tolist(),
            "unknown": alphabet.unknown_id,
            "end": alphabet.end_id,
            "labels": list(alphabet.labels),
            "tensors": {name: [tensor.dtype.name, *tensor.shape] for name, tensor in sorted(self.weights.items())},
        }
        digest = hashlib.sha256(json.dumps(head, sort_keys=True, separators=(",", ":")).encode("ascii"))
        for _, tensor in sorted(self.weights.items()):
            digest.update(tensor.astype(tensor.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()


def _floats(values: Array) -> Array:
    return values.astype(np.float64)


def _layer(config: ModelConfig, weights: Mapping[str, Array], end: float | None) -> Tensors:
    """Return the integers of a layer; `end` is what stands in the last feature of the embedding of `<end>`."""
    w_ih, size = weights[W_IH], config.embedding_size
    w_x = w_ih[:, :size].copy()
    found: Tensors = {}
    if end is not None:
        far = np.clip(w_x[:, -1] * end, -_FAR_MOST, _FAR_MOST)
        found[FAR_X] = _fixed(far, BIAS, np.int32)
        w_x[:, -1] = 0
    found |= _matrix(W_X, w_x, 1 / INPUT)
    if w_ih.shape[1] > size:
        found |= _matrix(W_BELOW, w_ih[:, size:], 1 / LEVELS)
    found |= _matrix(W_HH, weights[W_HH], 1 / LEVELS)
    found |= {name: _fixed(weights[name], BIAS, np.int32) for name in (B_IH, B_HH)}
    if W_CH in weights:
        found[W_CH] = _fixed(weights[W_CH], PEEPHOLE, np.int32, most=16 * PEEPHOLE)
    return found


def _matrix(name: str, matrix: Array, unit: float) -> Tensors:
    """Return a matrix in int8, and the multiplier of each row.

    Args:
        name: of the matrix.
        matrix: (R, C).
        unit: what 1 stands for in what it multiplies.
    """
    scales = np.abs(matrix).max(1) / _TOP
    whole = np.rint(matrix / np.where(scales > 0, scales, 1)[:, None]).clip(-_TOP, _TOP)
    multipliers = np.rint(scales * unit * MULTIPLIER)
    if not (multipliers < 1 << 31).all():
        raise DataError(TOO_LARGE)
    return {name: whole.astype(np.int8), name + SCALE: multipliers.astype(np.int32)}


def _fixed(values: Array, steps: int, dtype: type[np.signedinteger[Any]], *, most: int | None = None) -> Array:
    """Return values in steps of 1 / `steps`."""
    limit = np.iinfo(dtype).max if most is None else most
    whole: Array = np.rint(values * steps).clip(-limit, limit).astype(dtype)
    return whole


def _ngrams(weights: Mapping[str, Array]) -> Tensors:
    """Return the rows of n-grams in use: their vectors in int8, and their scales in steps of 1 / NGRAM_SCALE."""
    if ngrams.DENSE in weights:
        values = _floats(weights[ngrams.DENSE])
        rows = np.flatnonzero(np.abs(values).max(1) > 0)
        values = values[rows]
    else:
        rows, values = weights[ngrams.ROWS], weights[ngrams.VALUES]
    if values.dtype == np.int8:
        scales = _floats(weights[ngrams.SCALES])
    else:
        scales = np.abs(_floats(values)).max(1, initial=0) / _TOP
        values = np.rint(values / np.where(scales > 0, scales, 1)[:, None]).clip(-_TOP, _TOP)
    return {
        ngrams.ROWS: rows.astype(np.int32),
        ngrams.VALUES: values.astype(np.int8),
        ngrams.SCALES: _fixed(scales, NGRAM_SCALE, np.int32),
    }


def _shapes(
    config: ModelConfig, alphabet: Alphabet, tensors: Mapping[str, Array]
) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Return the type and shape of each tensor of such a model; how many rows of n-grams there are, they say."""
    size, cell = config.hidden_size, CELLS[config.cell]
    rows = len(cell.gates) * size
    found: dict[str, tuple[Any, tuple[int, ...]]] = {
        EMBEDDING: (np.int16, (alphabet.num_ids, config.embedding_size)),
        OUTPUT: (np.int8, (alphabet.vocab_size, config.num_layers * size)),
        OUTPUT + SCALE: (np.int32, (alphabet.vocab_size,)),
        OUTPUT_BIAS: (np.int32, (alphabet.vocab_size,)),
    }
    for number in range(config.num_layers):
        layer: dict[str, tuple[Any, tuple[int, ...]]] = {
            W_X: (np.int8, (rows, config.embedding_size)),
            W_HH: (np.int8, (rows, size)),
        }
        if number:
            layer[W_BELOW] = (np.int8, (rows, size))
        layer |= {name + SCALE: (np.int32, (rows,)) for name in tuple(layer)}
        layer |= dict.fromkeys((B_IH, B_HH), (np.int32, (rows,)))
        if alphabet.end_id is not None:
            layer[FAR_X] = (np.int32, (rows,))
        if cell.peepholes:
            layer[W_CH] = (np.int32, (cell.peepholes * size,))
        found |= {of_layer(number, name): each for name, each in layer.items()}
    if ngrams.orders(config.ngrams):
        used = len(tensors[ngrams.ROWS]) if ngrams.ROWS in tensors and tensors[ngrams.ROWS].ndim else 0
        found[ngrams.ROWS] = (np.int32, (used,))
        found[ngrams.VALUES] = (np.int8, (used, config.embedding_size))
        found[ngrams.SCALES] = (np.int32, (used,))
    return {name: (np.dtype(dtype), shape) for name, (dtype, shape) in found.items()}
