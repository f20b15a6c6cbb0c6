"""Dynamic evaluation against the paper's update written out, and: nothing is learnt before it was scored."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from charlstm.config import ModelConfig
from charlstm.measure import dynamic
from charlstm.measure.dynamic import Tuning
from charlstm.measure.read import Reader
from charlstm.measure.score import Score, by_steps
from charlstm.measure.scoring import evaluate, measured
from charlstm.network.cells import CELLS
from charlstm.network.device import Device
from charlstm.network.model import CharLSTM
from charlstm.text import corpus
from charlstm.text.corpus import Split
from charlstm.text.tokenizer import CharTokenizer, Tokenizer
from tests.conftest import fitted
from tests.measure.conftest import with_ngrams

CPU = Device("cpu", "fp32")


def build(tokenizer: Tokenizer, cell: str = "lstm") -> CharLSTM:
    torch.manual_seed(0)
    config = ModelConfig(cell=cell, hidden_size=24, embedding_size=8, num_layers=2, dropout=0.5, recurrent_dropout=0.5)
    return CharLSTM(config, tokenizer).eval()


def score(model: CharLSTM, split: Split, train: Split, tokenizer: Tokenizer, tuning: Tuning = dynamic.DEFAULT) -> Score:
    read = dynamic.windows(Reader(model, tokenizer, CPU), split, train, tuning)
    return measured(read, split, tokenizer).score


def by_the_paper(model: CharLSTM, ids: list[int], train: list[int], start: int, tuning: Tuning) -> float:
    """Krause et al. 2018, equations 4 to 6, one stream and one weight matrix after the other; returns the nats."""
    width = tuning.window

    def windows(text: list[int]) -> list[tuple[list[int], list[int]]]:
        count = -(-len(text) // width)
        cuts = [0, *(max(n, int(len(text) * n / count)) for n in range(1, count)), len(text)]
        before = [start, *text[:-1]]
        return [(before[a:b], text[a:b]) for a, b in pairwise(cuts)]

    def loss(inputs: list[int], targets: list[int], state: object) -> tuple[torch.Tensor, object]:
        logits, state = model(torch.tensor(inputs)[:, None], state)
        return F.cross_entropy(logits[:, 0], torch.tensor(targets)), [tuple(p.detach() for p in it) for it in state]

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    trained = [weight.detach().clone() for weight in weights]
    squares = [torch.zeros_like(weight) for weight in weights]
    measured = windows(train)
    state: object = model.zero_state(1)
    for inputs, targets in measured:
        value, state = loss(inputs, targets, state)
        for square, gradient in zip(squares, torch.autograd.grad(value, weights), strict=True):
            square.add_(gradient**2 / len(measured))
    mean = sum(float(square.sqrt().sum()) for square in squares) / sum(weight.numel() for weight in weights)
    nats, state = 0.0, model.zero_state(1)
    for inputs, targets in windows(ids):
        value, state = loss(inputs, targets, state)
        nats += float(value.detach()) * len(targets)
        gradients = torch.autograd.grad(value, weights)
        with torch.no_grad():
            for weight, gradient, square, begun in zip(weights, gradients, squares, trained, strict=True):
                root = square.sqrt()
                back = torch.minimum(tuning.decay * root / mean, torch.ones(()))
                step = (gradient / (root + 0.01 * mean)).clamp(-5, 5)
                weight.add_(back * (begun - weight) - tuning.rate * step)
    return nats


@pytest.mark.parametrize("cell", CELLS)
def test_the_update_is_the_papers(text: str, cell: str) -> None:
    tuning = Tuning(rate=0.01, streams=1)
    tokenizer = fitted(text[:2000])
    split, train = corpus.encode(text[1000:1500], tokenizer), corpus.encode(text[:600], tokenizer)
    model = build(tokenizer, cell)
    found = score(model, split, train, tokenizer, tuning)
    expected = by_the_paper(model, split.ids.tolist(), train.ids.tolist(), tokenizer.start_id, tuning)
    assert found.nats == pytest.approx(expected, rel=1e-4)
    assert found.nats != pytest.approx(evaluate(Reader(build(tokenizer, cell), tokenizer, CPU), split).nats, rel=1e-2)


def test_with_ngrams_it_scores_as_the_engine_does_and_learns_all_but_their_vectors(text: str) -> None:
    tokenizer = fitted(text[:2000])
    split, train = corpus.encode(text[1000:1800], tokenizer), corpus.encode(text[:600], tokenizer)
    model, engine = with_ngrams(tokenizer)
    still = score(model, split, train, tokenizer, Tuning(rate=0.0, decay=0.0))
    assert still.loss == pytest.approx(by_steps(engine, split, tokenizer).loss, abs=1e-5)
    assert model.ngrams is not None
    table = model.ngrams.weight
    assert score(model, split, train, tokenizer).loss != pytest.approx(still.loss, abs=1e-3)
    assert table.requires_grad
    table.requires_grad_(False)  # as in by_the_paper below: there is no gradient to follow
    tuning = Tuning(rate=0.01, streams=1)
    found = score(model, split, train, tokenizer, tuning)
    expected = by_the_paper(model, split.ids.tolist(), train.ids.tolist(), tokenizer.start_id, tuning)
    assert found.nats == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("framed", [False, True])
def test_nothing_is_learnt_before_it_is_scored(text: str, framed: bool) -> None:
    """Whatever stands in a window and after it, the window's logits are the same."""
    tokenizer = fitted(text[:20_000], framed=framed)
    train = corpus.encode(text[:5000], tokenizer)
    split = corpus.encode(text[5000:14_000], tokenizer)  # four streams
    model = build(tokenizer)
    changed_from = 7  # the window
    streams = 4
    bounds = np.arange(streams + 1) * len(split.ids) // streams
    other = split.ids.copy()
    rng = np.random.default_rng(0)
    reached: list[torch.Tensor] = []
    batches = []
    for logits, batch in dynamic.windows(Reader(model, tokenizer, CPU), split, train):
        reached.append(logits)
        batches.append(batch)
    assert batches[0].inputs.shape[1] == streams
    for stream in range(streams):  # what comes in window 7 and later; but the next stream begins with the last of it
        begin, end = int(batches[changed_from].positions[0, stream]), int(bounds[stream + 1]) - 1
        other[begin:end] = rng.integers(1, 40, end - begin)
    again = dynamic.windows(Reader(model, tokenizer, CPU), dataclasses.replace(split, ids=other), train)
    for number, (logits, _) in zip(range(changed_from + 1), again, strict=False):
        seen = slice(0, 1) if number == changed_from else slice(None)  # later ones have read what was changed
        assert torch.equal(logits[seen], reached[number][seen])


def test_it_learns_what_comes_again_and_leaves_the_model_alone(text: str) -> None:
    tokenizer = fitted(text[:20_000])
    train = corpus.encode(text[:5000], tokenizer)
    split = corpus.encode("The same line again, and again.\n" * 600, tokenizer)
    model = build(tokenizer)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    plain = evaluate(Reader(model, tokenizer, CPU), split)
    learnt = score(model, split, train, tokenizer)
    assert learnt.bits_per_character < 0.9 * plain.bits_per_character
    assert (learnt.characters, learnt.bytes) == (plain.characters, plain.bytes)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert not model.training
    assert evaluate(Reader(model, tokenizer, CPU), split) == plain


def test_what_was_rare_in_training_does_not_ruin_the_weights(text: str) -> None:
    train_text = text[:20_000].replace("Z", "z").replace("q", "k") + "Zq"
    tokenizer = fitted(train_text)
    split = corpus.encode("Zq ZZqq Zq, qZ\n" * 400, tokenizer)
    model = build(tokenizer)
    learnt = score(model, split, corpus.encode(train_text, tokenizer), tokenizer)
    assert learnt.bits_per_character < evaluate(Reader(model, tokenizer, CPU), split).bits_per_character


def test_a_few_characters_are_a_text() -> None:
    tokenizer = CharTokenizer("\nab", framed=True)
    split = corpus.encode("ab", tokenizer)
    assert score(build(tokenizer), split, corpus.encode("a", tokenizer), tokenizer).characters == 3
