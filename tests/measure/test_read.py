"""One forward pass, however a text is cut: the scores are those of reading it id by id."""

import numpy as np
import pytest
import torch

from charlstm.measure import scoring
from charlstm.measure.read import Limits, Reader, windows
from charlstm.measure.score import by_steps
from charlstm.network.device import Device
from charlstm.text import corpus
from charlstm.text.tokenizer import CharTokenizer
from tests.conftest import fitted
from tests.measure.conftest import with_ngrams
from tests.measure.test_score import build, independent_nats

CPU = Device("cpu", "fp32")


def test_streams_side_by_side_score_as_one(text: str) -> None:
    tokenizer = fitted(text)
    split = corpus.encode(text[:40_000], tokenizer)
    model = build(tokenizer)
    many = scoring.evaluate(Reader(model, tokenizer, CPU), split)
    one = scoring.evaluate(Reader(model, tokenizer, CPU, limits=Limits(streams=1)), split)
    assert many.nats == pytest.approx(one.nats, rel=1e-6)


@pytest.mark.parametrize("framed", [False, True])
def test_with_ngrams_the_scores_are_the_engines(text: str, framed: bool) -> None:
    """In streams that each begin within the text, having read what stands before them."""
    tokenizer = fitted(text[:9000], framed=framed)
    split = corpus.encode(text[:9000], tokenizer)
    model, engine = with_ngrams(tokenizer)
    found = scoring.evaluate(Reader(model, tokenizer, CPU), split)
    assert found.loss == pytest.approx(by_steps(engine, split, tokenizer).loss, abs=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training: bool) -> None:
    tokenizer = CharTokenizer("\nab")
    model = build(tokenizer).train(training)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    rng = torch.get_rng_state()
    scoring.evaluate(Reader(model, tokenizer, CPU), corpus.encode("abba" * 3000, tokenizer))
    assert model.training is training
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("streams", [64, 5])
def test_a_part_is_many_short_passages_from_all_over_the_text(text: str, streams: int) -> None:
    """Texts change their subject: few long passages of a newspaper were half a bit per character off."""
    tokenizer = fitted(text)
    split = corpus.encode(text[:60_000], tokenizer)
    reader = Reader(build(tokenizer), tokenizer, CPU, limits=Limits(streams=streams))
    costs = np.full(len(split.ids), np.nan)
    for window in scoring.scored(windows(reader, split), tokenizer):
        costs[window.positions] = window.nats
    found = []
    for window in scoring.scored(windows(reader, split, part=8_000), tokenizer):
        assert window.nats == pytest.approx(costs[window.positions], abs=1e-3)
        found.append(window.positions)
    positions = np.sort(np.concatenate(found))
    assert len(positions) == len(set(positions)) == pytest.approx(8_000, rel=0.05)
    begins = positions[np.flatnonzero(np.diff(positions, prepend=-2) > 1)]
    assert len(begins) >= 30
    assert np.diff(begins) == pytest.approx(60_000 / len(begins), abs=1)


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("length", [1, 7, 64, 5000])
def test_cold_windows_begin_from_nothing(text: str, length: int, framed: bool) -> None:
    part = text[:400]
    tokenizer = fitted(part, framed=framed)
    split = corpus.encode(part, tokenizer)
    model = build(tokenizer)
    limits = Limits(streams=3, logits=3 * 60 * 20)  # windows are read in pieces
    found = scoring.evaluate(Reader(model, tokenizer, CPU, limits=limits), split, cold=length)
    ids = split.ids.tolist()
    expected = 0.0
    for begin in range(0, len(ids), length):
        before, first = ids[begin - 1] if begin else tokenizer.start_id, begin
        if framed and begin == 0:  # the start itself is known
            before, first = ids[0], 1
        expected += independent_nats(model, ids[first : begin + length], before)
    assert found.nats == pytest.approx(expected, rel=1e-5)
    assert found.characters == 400 + framed
