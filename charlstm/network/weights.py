"""The weights of a model by name: their shapes, the rows of each gate, and their number.

The names and the order of the gates are torch's. Every layer is a separate torch layer, so its weights' names all end
in `_l0`. V is the vocabulary size, E the embedding size, H the number of units per layer and G the number of gates. If
documents have labels, A is the number of labels.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from charlstm.config import ModelConfig
from charlstm.network.cells import CELLS
from charlstm.network.ngrams import DENSE, Alphabet, orders

W_IH = "weight_ih_l0"
"""(G H, E) in the first layer, (G H, E + H) in the others: the embedding first, then the layer below."""
W_HH = "weight_hh_l0"
"""(G H, H)"""
B_IH, B_HH = "bias_ih_l0", "bias_hh_l0"
"""(G H,) each: torch adds the two biases."""
W_CH = "weight_ch_l0"
"""(3 H,): the peephole weights of i, f and o, if the cell has them."""
EMBEDDING = "embedding.weight"
"""(V, E)"""
LABELS = "labels.weight"
"""(A, E): what each label adds to the embedding of `<start>`, in whose place it is read."""
OUTPUT, OUTPUT_BIAS = "output.weight", "output.bias"
"""(V, L H), for the outputs of all L layers; and (V,)."""
FAR = 1e4
"""A pre-activation that saturates a sigmoid or tanh exactly, whatever else is added to it."""


def of_layer(number: int, name: str) -> str:
    """Return the name of a layer's weight in the model."""
    return f"layers.{number}.{name}"


def count_layers(weights: Mapping[str, Any]) -> int:
    """Return the number of layers that these weights belong to."""
    number = 0
    while of_layer(number, W_HH) in weights:
        number += 1
    return number


def gate_rows(cell: str, gate: str, hidden_size: int) -> slice:
    """Return the rows of a gate in W_IH, W_HH and the biases."""
    number = CELLS[cell].gates.index(gate)
    return slice(number * hidden_size, (number + 1) * hidden_size)


def freeze_end(weights: Mapping[str, Any], config: ModelConfig, end_id: int | None) -> None:
    """Set in place the feature that is 1 for `<end>` alone, the embedding's last, and its weights, which saturate the
    gates; nothing if documents have no frames. The weights are of numpy or torch.
    """
    if end_id is None:
        return
    last = config.embedding_size - 1
    weights[EMBEDDING][:, last] = 0
    weights[EMBEDDING][end_id, last] = 1
    if LABELS in weights:
        weights[LABELS][:, last] = 0
    for number in range(config.num_layers):
        w_ih = weights[of_layer(number, W_IH)]
        w_ih[:, last] = 0
        for gate, sign in CELLS[config.cell].reset.items():
            w_ih[gate_rows(config.cell, gate, config.hidden_size), last] = sign * FAR


def embeddings(weights: Mapping[str, Any], alphabet: Alphabet) -> Any:
    """Return the vector of each id that is read, (V, E) or with labels (V + A, E): of numpy or torch, as they are."""
    embedding = weights[EMBEDDING]
    if LABELS not in weights:
        return embedding
    labels = embedding[alphabet.start_id] + weights[LABELS]
    if isinstance(embedding, np.ndarray):
        return np.concatenate([embedding, labels])
    import torch

    return torch.cat([embedding, labels])


def shapes(config: ModelConfig, vocab_size: int, labels: int = 0) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight of a model with a vocabulary of this size, and with so many labels."""
    size, cell = config.hidden_size, CELLS[config.cell]
    rows = len(cell.gates) * size
    found: dict[str, tuple[int, ...]] = {EMBEDDING: (vocab_size, config.embedding_size)}
    if labels:
        found[LABELS] = (labels, config.embedding_size)
    for number in range(config.num_layers):
        layer: dict[str, tuple[int, ...]] = {
            W_IH: (rows, config.embedding_size + (size if number else 0)),
            W_HH: (rows, size),
            B_IH: (rows,),
            B_HH: (rows,),
        }
        if cell.peepholes:
            layer[W_CH] = (cell.peepholes * size,)
        found |= {of_layer(number, name): shape for name, shape in layer.items()}
    if orders(config.ngrams):
        found[DENSE] = (config.ngram_rows, config.embedding_size)
    return found | {OUTPUT: (vocab_size, config.num_layers * size), OUTPUT_BIAS: (vocab_size,)}


def count(config: ModelConfig, vocab_size: int) -> int:
    """Return the number of parameters of a model, without the table of n-grams, which costs a step next to nothing."""
    return sum(math.prod(shape) for name, shape in shapes(config, vocab_size).items() if name != DENSE)
