"""Small models with random weights: nothing about the code depends on what they have learnt."""

import functools

import numpy as np
import pytest

from charlstm.compress.predict import Coding
from charlstm.config import ModelConfig
from charlstm.network import weights
from charlstm.network.quantise import Quantised
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer

ALPHABET = "\n !,.abcdefghijklmnopqrstuvwxyzé\N{SNOWMAN}"
KINDS = ["char", "framed", "lines", "labelled", "byte"]


@functools.cache
def coding(kind: str, seed: int = 0, cell: str = "lstm") -> Coding:
    """Return a small model.

    Args:
        kind: `char`; `framed`, with documents; `lines`, whose documents are lines; `labelled`, with
            documents in two voices; or `byte`.
        seed: of its weights.
        cell: its recurrence.
    """
    framed = kind in {"framed", "lines", "labelled"}
    tokenizer: Tokenizer = ByteTokenizer() if kind == "byte" else CharTokenizer(ALPHABET, framed=framed)
    if kind == "labelled":
        tokenizer = tokenizer.labelled({"ada": 2, "bob": 1})
    config = ModelConfig(hidden_size=12, embedding_size=5, num_layers=2, cell=cell)
    rng = np.random.default_rng(seed)
    shapes = weights.shapes(config, tokenizer.vocab_size, len(tokenizer.labels))
    tensors = {name: rng.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}
    quantised = Quantised.from_checkpoint(config, tokenizer, tensors)
    return Coding(quantised, tokenizer, "\n" if kind == "lines" else "", f"small-{kind}")


@pytest.fixture(params=KINDS)
def small(request: pytest.FixtureRequest) -> Coding:
    """A model of each kind."""
    return coding(request.param)
