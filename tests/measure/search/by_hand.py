"""Networks made by hand for the search of units."""

from pathlib import Path

import numpy as np

from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.measure.search import untrained
from charlstm.network import weights as names
from charlstm.storage.checkpoint import Checkpoint
from charlstm.storage.loaded import Loaded
from charlstm.text.corpus import Source
from charlstm.text.tokenizer import Tokenizer

OPENS, CLOSES = "“", "”"


def quoted(text: str, seed: int = 0) -> str:
    """Return a text in which some stretches of words stand between quotation marks that differ."""
    source = np.random.default_rng(seed)
    words = "".join(character for character in text if character not in '“”"«»„').split(" ")
    at = 0
    while (at := at + int(source.integers(5, 30))) < len(words):
        end = at + int(source.integers(0, 12))
        if end >= len(words) or any("\n\n" in word or not word for word in words[at : end + 1]):
            continue
        words[at], words[end] = OPENS + words[at], words[end] + CLOSES
        at = end
    return " ".join(words)


def fresh(tokenizer: Tokenizer, seed: int, **shape: object) -> Loaded:
    """Return a network that nobody has trained."""
    config = ModelConfig(**{"hidden_size": 16, "embedding_size": 8, "dropout": 0.0, **shape})  # type: ignore[arg-type]
    return loaded(config, tokenizer, untrained.weights(config, tokenizer, seed))


def planted(tokenizer: Tokenizer, hidden_size: int, unit: int, seed: int = 0) -> Loaded:
    """Return a network of noise, one unit of which is 1 inside quotation marks."""
    config = ModelConfig(hidden_size=hidden_size, embedding_size=16, dropout=0.0)
    weights = untrained.weights(config, tokenizer, seed)
    embedding = weights[names.EMBEDDING]
    embedding[:, :2] = 0
    opens, closes = (int(tokenizer.encode(mark)[-1]) for mark in (OPENS, CLOSES))
    embedding[opens, 0] = embedding[closes, 1] = 1
    w_ih, w_hh, b_ih = (weights[names.of_layer(0, name)] for name in (names.W_IH, names.W_HH, names.B_IH))
    w_ih[:, :2] = 0  # the noise does not see the marks
    w_hh[:, unit] = 0  # nor the unit
    i, f, g, o = (names.gate_rows("lstm", gate, hidden_size).start + unit for gate in "ifgo")
    w_ih[[i, f, g, o]] = w_hh[[i, f, g, o]] = 0
    w_ih[i, 0], b_ih[i] = 80, -40  # writes at the opening mark alone
    w_ih[f, :2], b_ih[f] = -80, 40  # forgets at both marks
    w_ih[g, 0], b_ih[g] = 40, 0
    b_ih[o] = 40
    output = weights[names.OUTPUT]
    output[closes, unit] = 8  # the closing mark is likely inside, and only there
    weights[names.OUTPUT_BIAS][closes] = -4
    return loaded(config, tokenizer, weights)


def loaded(config: ModelConfig, tokenizer: Tokenizer, weights: dict[str, np.ndarray]) -> Loaded:
    """Return a checkpoint that was never written."""
    run = RunConfig(text=TextConfig(), model=config, train=TrainConfig())
    return Loaded(Path("none"), Checkpoint(run, tokenizer, Source(("none",), "0" * 64, 1), 1, None, weights))
