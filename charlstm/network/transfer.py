"""The weights of a trained model under another alphabet: what a new training begins with.

Rows of the embedding, the output and the table of n-grams follow their characters, those of the labels their names,
never their index. So the scores of the characters that the model knows are what they were, given what it knows.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.config import ModelConfig
from charlstm.network import ngrams
from charlstm.network.ngrams import Alphabet
from charlstm.network.weights import (
    EMBEDDING,
    LABELS,
    OUTPUT,
    OUTPUT_BIAS,
    W_IH,
    freeze_end,
    of_layer,
)

Weights = dict[str, npt.NDArray[Any]]
_NEVER = -30.0
"""The score of an id that is no target, such as `<start>`; exp(-30) takes nothing from the others."""


@dataclass(frozen=True)
class Moved:
    """Weights for a new alphabet."""

    config: ModelConfig
    """The shape of the network; its embedding is one longer if documents have frames now and had none before."""
    weights: Weights
    """By their names in a checkpoint, the table of n-grams in fp32 and dense."""
    new: npt.NDArray[np.int64]
    """The ids of characters that the model did not know; their scores are those of ids that never come."""


def move(config: ModelConfig, weights: Mapping[str, npt.NDArray[Any]], old: Alphabet, new: Alphabet) -> Moved:
    """Return a model's weights for another alphabet.

    A new character begins with the mean of the embeddings of the characters known before. If only the new alphabet has
    frames, `<start>` begins as what was read before a text until now, and one feature of the embedding is added to mark
    the ends of documents.

    Args:
        config: the shape of the model.
        weights: as a checkpoint holds them.
        old: the model's alphabet.
        new: the alphabet of the new training; it has frames if the old one has.
    """
    moved: Weights = {name: array for name, array in weights.items() if not name.startswith("ngrams.")}
    if ngrams.orders(config.ngrams):
        moved[ngrams.DENSE] = ngrams.dense(weights, config.ngram_rows)
    written = old.codes[: old.vocab_size]  # labels have the code of `<start>` too
    place = {code: id for id, code in enumerate(written.tolist())}
    framing = new.end_id is not None and old.end_id is None
    codes = new.codes[: new.vocab_size].tolist()
    if framing:
        place[ngrams.LAST_CODE] = old.start_id  # what the model has read before a text
    rows = np.array([place.get(code, -1) for code in codes])
    known = rows >= 0
    characters = (written > ngrams.NOTHING) & (written < ngrams.LAST_CODE - 1)  # neither <unk> nor a frame
    for name in (EMBEDDING, OUTPUT, OUTPUT_BIAS):
        moved[name] = weights[name][rows]
    moved[EMBEDDING][~known] = weights[EMBEDDING][characters].mean(0)
    moved[OUTPUT][~known], moved[OUTPUT_BIAS][~known] = 0, _NEVER
    if framing:
        moved[OUTPUT][new.start_id], moved[OUTPUT_BIAS][new.start_id] = 0, _NEVER
        config, moved = _with_frames(config, moved, new)
    labels = moved.pop(LABELS, None)
    if new.labels:
        # Random, so that one label differs from another as soon as the training begins.
        shape = len(new.labels), config.embedding_size
        moved[LABELS] = np.random.default_rng(0).standard_normal(shape, np.float32)
        moved[LABELS][:, -1] = 0
        for number, label in enumerate(new.labels):
            if labels is not None and label in old.labels:
                moved[LABELS][number] = labels[old.labels.index(label)]
    return Moved(config, moved, np.flatnonzero(~known))


def _with_frames(config: ModelConfig, weights: Weights, alphabet: Alphabet) -> tuple[ModelConfig, Weights]:
    """Return a model with one more feature in its embedding, which is 1 for `<end>` and resets the state."""
    size = config.embedding_size
    config = dataclasses.replace(config, embedding_size=size + 1)
    wider = dict(weights)
    for name in (EMBEDDING, ngrams.DENSE):
        if name in weights:
            wider[name] = np.pad(weights[name], ((0, 0), (0, 1)))
    for number in range(config.num_layers):
        name = of_layer(number, W_IH)
        wider[name] = np.insert(weights[name], size, 0, axis=1)
    freeze_end(wider, config, alphabet.end_id)
    return config, wider


def introduce(moved: Moved, shares: npt.NDArray[np.float64], total: float) -> Weights:
    """Return the weights with the scores of new characters set to the logarithms of their frequencies.

    Args:
        moved: the weights.
        shares: how often each id occurs in the new text, as a share of it, (V,).
        total: ln of the sum of exp of the scores, the mean over the text; so the new characters together get the share
            of the probability that they have in the text.
    """
    weights = dict(moved.weights)
    if len(moved.new):
        bias = weights[OUTPUT_BIAS].copy()
        new = np.maximum(shares[moved.new], 1e-9)
        others = max(1e-9, 1 - float(new.sum()))
        bias[moved.new] = np.log(new / others) + total
        weights[OUTPUT_BIAS] = bias
    return weights
