"""The reach of a model against reading each context by itself."""

import math

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig
from charlstm.errors import DataError
from charlstm.measure import reach
from charlstm.measure.ngram import KneserNey
from charlstm.measure.reach import Layout
from charlstm.measure.read import Reader
from charlstm.network.device import Device
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Symbols
from tests.conftest import fitted
from tests.measure.conftest import with_ngrams

CPU = Device("cpu", "fp32")


def small_model(vocab_size: int, **options: object) -> CharLSTM:
    torch.manual_seed(0)
    model = CharLSTM(ModelConfig(**{"hidden_size": 24, "embedding_size": 8} | options), Symbols(vocab_size))
    model.output.weight.data *= 10
    return model.eval()


@pytest.mark.parametrize("length", [900, 5000])  # scored throughout, and in stretches
@pytest.mark.parametrize("every", [1, 4, 16, 21])
def test_contexts_are_read_from_a_zero_state(text: str, length: int, every: int) -> None:
    tokenizer = fitted(text[:length])
    ids = tokenizer.encode(text[:length])
    model = small_model(tokenizer.vocab_size)
    layout = Layout(every, contexts=(1, 2, 8, 16, 32, 64), span=1024, stretches=4)
    ends = reach.places(len(ids), layout)
    scored = reach.losses(Reader(model, tokenizer, CPU), ids, ends, layout)
    assert scored.shape == (6, len(ends))
    assert len(ends) == len(set(ends.tolist()))
    for number in range(0, len(ends), 7):
        for row, context in enumerate(layout.contexts):
            end = int(ends[number])
            read = torch.from_numpy(ids[end - context : end].astype(np.int64))[:, None]
            with torch.inference_mode():
                logits, _ = model(read, model.zero_state(1))
            assert scored[row, number] == pytest.approx(-logits[-1, 0].log_softmax(-1)[ids[end]].item(), abs=1e-4)


def test_with_ngrams_a_context_is_all_that_is_read(text: str) -> None:
    tokenizer = fitted(text[:900])
    ids = tokenizer.encode(text[:900])
    model, engine = with_ngrams(tokenizer)
    layout = Layout(16, contexts=(1, 2, 3, 16, 64))
    ends = reach.places(len(ids), layout)
    scored = reach.losses(Reader(model, tokenizer, CPU), ids, ends, layout)
    for number in range(0, len(ends), 9):
        for row, context in enumerate(layout.contexts):
            state, end = engine.zero_state(), int(ends[number])
            for id in ids[end - context : end].tolist():
                outputs, state = engine.step(id, state)
            nats = -torch.from_numpy(engine.logits(outputs)).log_softmax(-1)[ids[end]].item()
            assert scored[row, number] == pytest.approx(nats, abs=1e-5)


def test_a_model_without_memory_reaches_one_character_far(text: str) -> None:
    tokenizer = fitted(text[:10_000])
    ids = tokenizer.encode(text[:10_000])
    model = small_model(tokenizer.vocab_size, cell="rnn")
    model.layers[0].weight_hh_l0.data.zero_()
    shares: list[float] = []
    ngrams = KneserNey(ids, tokenizer.vocab_size, tokenizer.start_id)
    found = reach.measure(Reader(model, tokenizer, CPU), ids, ngrams, shares.append)
    assert found.enough == 1
    assert [row.context for row in found.rows] == list(reach.CONTEXTS)
    for row in found.rows:
        assert row.lost.bits == pytest.approx(0, abs=1e-5)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert min(mean.bits for mean in found.ngrams) < 1  # they have counted this very text


def test_too_short_a_text_has_no_reach(text: str) -> None:
    tokenizer = fitted(text[:2000])
    ids = tokenizer.encode(text[:2000])
    ngrams = KneserNey(ids, tokenizer.vocab_size, tokenizer.start_id)
    with pytest.raises(DataError, match="reach test"):
        reach.measure(Reader(small_model(tokenizer.vocab_size), tokenizer, CPU), ids, ngrams)


def test_an_interval_holds_the_mean_19_times_in_20() -> None:
    source = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        mean = reach.Mean.of(source.exponential(2 * math.log(2), 2000))
        held += abs(mean.bits - 2) < mean.margin
    assert 0.92 < held / 500 < 0.98
