import math
from pathlib import Path

import numpy as np
import pytest
import torch

from charlstm import corpus, evaluate
from charlstm.config import ModelConfig, TextConfig
from charlstm.device import Device
from charlstm.evaluate import Score
from charlstm.model import CharLSTM
from charlstm.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer

CPU = Device("cpu", "fp32")


def build(tokenizer: Tokenizer, num_layers: int = 1) -> CharLSTM:
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=40, embedding_size=16, num_layers=num_layers)
    model = CharLSTM(config, tokenizer.vocab_size, end_id=tokenizer.end_id)
    for weight in model.parameters():
        weight.data *= 1.5  # far from the uniform distribution
    return model


def independent_nats(model: CharLSTM, ids: list[int], start: int) -> float:
    """Score one id at a time with plain numpy in float64, from the textbook's equations."""
    w = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    h = [np.zeros(40) for _ in model.layers]
    c = [np.zeros(40) for _ in model.layers]
    nats, before = 0.0, start
    for id in ids:
        x = embedded = w["embedding.weight"][before]
        for n in range(len(h)):
            z = w[f"layers.{n}.weight_ih_l0"] @ x + w[f"layers.{n}.weight_hh_l0"] @ h[n]
            z += w[f"layers.{n}.bias_ih_l0"] + w[f"layers.{n}.bias_hh_l0"]
            i, f, g, o = np.split(z, 4)
            c[n] = c[n] / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h[n] = np.tanh(c[n]) / (1 + np.exp(-o))
            x = np.concatenate([embedded, h[n]])
        logits = w["output.weight"] @ np.concatenate(h) + w["output.bias"]
        nats += np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[id]
        before = id
    return nats


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["char", "byte", "documents"])
def test_bits_are_those_of_an_independent_computation(text: str, kind: str, tmp_path: Path) -> None:
    """50,000 characters, some of them in no training text, as one text and as documents."""
    part = text[:50_000].replace("e", "\N{LATIN SMALL LETTER E WITH ACUTE}")
    documents = [it for it in part.split("\n\n") if it] if kind == "documents" else [part]
    framed = kind == "documents"
    known = part[:2000]
    tokenizer = ByteTokenizer() if kind == "byte" else CharTokenizer.fit(known, framed=framed)
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(documents), encoding="utf-8", newline="")
    config = TextConfig(tokenizer=tokenizer.kind, separator=r"\n\n" if framed else None)
    split = corpus.load_text([str(path)], config, tokenizer).split
    assert split.documents == len(documents) > (20 if framed else 0)
    model = build(tokenizer, num_layers=2)
    score = evaluate.evaluate(model, split, tokenizer, CPU)

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
    assert (score.characters, score.bytes, score.unknown) == (characters, size, unknown)
    assert unknown > 20 or kind == "byte"
    assert score.bits_per_character == pytest.approx(expected / characters / math.log(2), abs=1e-4)
    assert score.bits_per_byte == pytest.approx(expected / size / math.log(2), abs=1e-4)
    assert score.perplexity == pytest.approx(math.exp(expected / characters), rel=1e-4)


def test_streams_side_by_side_score_as_one(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = CharTokenizer.fit(text)
    split = corpus.encode(text[:40_000], tokenizer)
    model = build(tokenizer)
    many = evaluate.evaluate(model, split, tokenizer, CPU)
    monkeypatch.setattr(evaluate, "MAX_STREAMS", 1)
    assert many.nats == pytest.approx(evaluate.evaluate(model, split, tokenizer, CPU).nats, rel=1e-6)


def test_one_character_is_a_text() -> None:
    tokenizer = CharTokenizer("\na")
    score = evaluate.evaluate(build(tokenizer), corpus.encode("a", tokenizer), tokenizer, CPU)
    assert (score.characters, score.nats > 0) == (1, True)


def test_parts_add_up() -> None:
    assert Score(1.0, 2, 3, 4) + Score(10.0, 20, 30, 40) == Score(11.0, 22, 33, 44)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training: bool) -> None:
    tokenizer = CharTokenizer("\nab")
    model = build(tokenizer).train(training)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    rng = torch.get_rng_state()
    evaluate.evaluate(model, corpus.encode("abba" * 3000, tokenizer), tokenizer, CPU)
    assert model.training is training
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("length", [1, 7, 64, 5000])
def test_cold_windows_begin_from_nothing(text: str, length: int, framed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "MAX_STREAMS", 3)
    monkeypatch.setattr(evaluate, "_MAX_LOGITS", 3 * 60 * 20)  # windows are read in pieces
    part = text[:400]
    tokenizer = CharTokenizer.fit(part, framed=framed)
    split = corpus.encode(part, tokenizer)
    model = build(tokenizer)
    *_, score = evaluate.progress(model, split, tokenizer, CPU, cold=length)
    ids = split.ids.tolist()
    expected = 0.0
    for begin in range(0, len(ids), length):
        before, first = ids[begin - 1] if begin else tokenizer.start_id, begin
        if framed and begin == 0:  # the start itself is known
            before, first = ids[0], 1
        expected += independent_nats(model, ids[first : begin + length], before)
    assert score.nats == pytest.approx(expected, rel=1e-5)
    assert score.characters == 400 + framed


def test_the_interval_is_of_the_scores_themselves(text: str) -> None:
    tokenizer = CharTokenizer.fit(text[:20_000])
    split = corpus.encode(text[:30_000], tokenizer)
    cells = evaluate.Cells(len(split.ids))
    *_, score = evaluate.progress(build(tokenizer), split, tokenizer, CPU, cells=cells)
    assert score.unknown > 0
    assert cells._nats.sum() == pytest.approx(score.nats)
    assert cells._count.sum() == 30_000
    low, high = cells.interval()
    assert low < 1 < high


def markov(source: np.random.Generator, length: int) -> np.ndarray:
    """Return the nats of a chain that is calm or excited for some hundred steps, told by one who knows its rules."""
    switches = source.random(length) < 1 / 200
    excited = (switches.cumsum() + source.integers(2)) % 2 == 1
    likely = np.where(excited, 0.3, 0.9)
    return -np.log(np.where(source.random(length) < likely, likely, 1 - likely))


def test_the_interval_holds_what_it_promises() -> None:
    """A source of known entropy: the interval of one text holds the truth in about 95 of 100."""
    source = np.random.default_rng(1)
    entropy = np.mean([-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in (0.3, 0.9)])
    held = 0
    for _ in range(300):
        nats = markov(source, 50_000)
        cells = evaluate.Cells(len(nats))
        cells.add(np.arange(len(nats)), nats)
        low, high = (factor * nats.mean() for factor in cells.interval())
        held += low <= entropy <= high
    assert 0.9 <= held / 300 <= 0.985


def test_a_short_text_has_no_interval() -> None:
    for length in (1, 99, 150, 2000, 9900):
        cells = evaluate.Cells(length)
        cells.add(np.arange(length), np.ones(length))
        assert cells.interval() is None
    cells = evaluate.Cells(10_000)
    cells.add(np.arange(10_000), np.ones(10_000))
    assert cells.interval() == (1.0, 1.0)
