"""The score of a text against an independent computation."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig, TextConfig
from charlstm.measure import scoring
from charlstm.measure.read import Reader
from charlstm.measure.score import Score
from charlstm.network.device import Device
from charlstm.network.model import CharLSTM
from charlstm.text import corpus
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer
from tests.conftest import fitted

CPU = Device("cpu", "fp32")


def build(tokenizer: Tokenizer, num_layers: int = 1) -> CharLSTM:
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=40, embedding_size=16, num_layers=num_layers)
    model = CharLSTM(config, tokenizer)
    for weight in model.parameters():
        weight.data *= 1.5  # far from the uniform distribution
    return model


def independent_nats(model: CharLSTM, ids: list[int], start: int) -> float:
    """Score one id at a time with plain numpy in float64, from the textbook's equations."""
    w = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    h = [np.zeros(40) for _ in model.layers]
    c = [np.zeros(40) for _ in model.layers]
    inputs, outputs = [start, *ids[:-1]], []
    for before in inputs:
        x = embedded = w["embedding.weight"][before]
        for n in range(len(h)):
            z = w[f"layers.{n}.weight_ih_l0"] @ x + w[f"layers.{n}.weight_hh_l0"] @ h[n]
            z += w[f"layers.{n}.bias_ih_l0"] + w[f"layers.{n}.bias_hh_l0"]
            i, f, g, o = np.split(z, 4)
            c[n] = c[n] / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h[n] = np.tanh(c[n]) / (1 + np.exp(-o))
            x = np.concatenate([embedded, h[n]])
        outputs.append(np.concatenate(h))
    logits = np.array(outputs) @ w["output.weight"].T + w["output.bias"]
    return float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(ids)), ids]).sum())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["char", "byte", "documents"])
def test_bits_are_those_of_an_independent_computation(text: str, kind: str, tmp_path: Path) -> None:
    """10,000 characters, some of them in no training text, as one text and as documents."""
    part = text[:10_000].replace("e", "\N{LATIN SMALL LETTER E WITH ACUTE}")
    documents = [it for it in part.split("\n\n") if it] if kind == "documents" else [part]
    framed = kind == "documents"
    known = part[:2000]
    tokenizer = ByteTokenizer() if kind == "byte" else fitted(known, framed=framed)
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(documents), encoding="utf-8", newline="")
    config = TextConfig(tokenizer=tokenizer.kind, separator=r"\n\n" if framed else None)
    split = corpus.load_text([str(path)], config, tokenizer).split
    assert split.documents == len(documents) > (20 if framed else 0)
    model = build(tokenizer, num_layers=2)
    found = scoring.evaluate(Reader(model, tokenizer, CPU), split)

    expected = 0.0
    for document in documents:
        ids = tokenizer.encode(document).tolist()
        expected += independent_nats(model, [*ids, tokenizer.end_id] if framed else ids, tokenizer.start_id)
    unknown = sum(character not in known for document in documents for character in document)
    if kind == "byte":
        unknown = 0
    expected += unknown * math.log(0x110000 - 0x800 - len(set(known)))
    characters = sum(map(len, documents)) + framed * len(documents)
    size = sum(len(document.encode()) for document in documents) + framed * len(documents)
    assert (found.characters, found.bytes, found.unknown) == (characters, size, unknown)
    assert unknown > 20 or kind == "byte"
    assert found.bits_per_character == pytest.approx(expected / characters / math.log(2), abs=1e-4)
    assert found.bits_per_byte == pytest.approx(expected / size / math.log(2), abs=1e-4)
    assert found.perplexity == pytest.approx(math.exp(expected / characters), rel=1e-4)


def test_one_character_is_a_text() -> None:
    tokenizer = CharTokenizer("\na")
    found = scoring.evaluate(Reader(build(tokenizer), tokenizer, CPU), corpus.encode("a", tokenizer))
    assert (found.characters, found.nats > 0) == (1, True)


def test_parts_add_up() -> None:
    assert Score(1.0, 2, 3, 4) + Score(10.0, 20, 30, 40) == Score(11.0, 22, 33, 44)
