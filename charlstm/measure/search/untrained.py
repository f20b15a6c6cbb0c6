"""The weights that a network has before training, drawn in numpy from the distributions that training begins with."""

import dataclasses

import numpy as np

from charlstm.config import ModelConfig
from charlstm.measure.search import levels
from charlstm.network import weights as names
from charlstm.network.cells import CELLS
from charlstm.network.ngrams import DENSE, Alphabet
from charlstm.network.stepper import Stepper


def engine(config: ModelConfig, alphabet: Alphabet, seed: int) -> Stepper:
    """Return an untrained network of this shape: as `CharLSTM` initialises it, with other random numbers.

    The vectors of n-grams begin at zero and add nothing, so it has none.
    """
    plain = dataclasses.replace(config, ngrams=0)
    return levels.engine(plain, alphabet, weights(plain, alphabet, seed))


def weights(config: ModelConfig, alphabet: Alphabet, seed: int) -> dict[str, np.ndarray]:
    """Return initial weights by name, in fp32; see `CharLSTM` for where each distribution comes from.

    Args:
        config: the shape of the network.
        alphabet: its ids.
        seed: of the random numbers.
    """
    source = np.random.default_rng(seed)
    cell, size = CELLS[config.cell], config.hidden_size
    found = {
        name: np.zeros(shape, np.float32)
        for name, shape in names.shapes(config, alphabet.vocab_size, alphabet.num_ids - alphabet.vocab_size).items()
        if name != DENSE
    }
    embedding, output = found[names.EMBEDDING], found[names.OUTPUT]
    embedding[:] = source.standard_normal(embedding.shape, np.float32)
    output[:] = _glorot(source, *output.shape)
    if alphabet.unknown_id is not None:
        embedding[alphabet.unknown_id] = 0
    for number in range(config.num_layers):
        w_ih, w_hh, b_ih = (found[names.of_layer(number, name)] for name in (names.W_IH, names.W_HH, names.B_IH))
        for gate in cell.gates:
            rows = names.gate_rows(config.cell, gate, size)
            w_ih[rows] = _glorot(source, size, w_ih.shape[1])
            w_hh[rows] = _orthogonal(source, size)
        if cell.keep_gate == "f":
            b_ih[names.gate_rows(config.cell, "f", size)] = 1
    names.freeze_end(found, config, alphabet.end_id)
    return found


def _glorot(source: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Return a Glorot-uniform matrix."""
    bound = (6 / (rows + columns)) ** 0.5
    return source.uniform(-bound, bound, (rows, columns)).astype(np.float32)


def _orthogonal(source: np.random.Generator, size: int) -> np.ndarray:
    """Return a random orthogonal matrix, uniform over all of them."""
    q, r = np.linalg.qr(source.standard_normal((size, size), np.float32))
    return q * np.sign(np.diag(r))
