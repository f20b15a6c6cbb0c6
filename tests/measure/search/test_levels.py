"""Signals in one byte each, read in many places at once, against a reading of one character after the other."""

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig
from charlstm.measure.search import levels, untrained
from charlstm.measure.search.levels import Columns
from charlstm.network.cells import CELLS
from charlstm.network.model import CharLSTM
from charlstm.network.stepper import Stepper
from charlstm.text.tokenizer import ByteTokenizer, Tokenizer
from tests.conftest import fitted


def signals(engine: Stepper, tokenizer: Tokenizer, ids: np.ndarray, columns: Columns) -> np.ndarray:
    """Return every signal after each id, (T, rows), as one stream computes them."""
    state = engine.zero_state()
    for id in tokenizer.opening:
        _, state = engine.step(id, state)
    found = np.empty((len(ids), len(columns)), np.float32)
    for position, id in enumerate(ids.tolist()):
        _, state = engine.step(id, state)
        h_and_c = [dict(zip(("h", "c"), layer, strict=False)) for layer in state[: columns.layers]]
        found[position] = [
            h_and_c[layer - 1][name][unit] for layer, unit, name in map(columns.named, range(len(columns)))
        ]
    return found


def assert_order_is_kept(values: np.ndarray, found: np.ndarray) -> None:
    """Where a signal is clearly higher, its level is not lower; and most values can be told apart."""
    for row, signal in zip(found, values.T, strict=True):
        order = signal.argsort()
        slack = np.ptp(signal) / 200
        highest = np.maximum.accumulate(row[order].astype(int))
        behind = np.searchsorted(signal[order], signal[order] - slack) - 1
        assert (row[order] >= np.where(behind >= 0, highest[behind], 0)).all()
        assert len(np.unique(row)) > 30


@pytest.mark.parametrize("cell", CELLS)
def test_levels_keep_the_order_of_values(cell: str, text: str) -> None:
    text = text[:3_500]
    tokenizer = fitted(text)
    config = ModelConfig(cell=cell, hidden_size=6, num_layers=2, embedding_size=5, ngrams=0)
    engine, columns = untrained.engine(config, tokenizer, 0), Columns.of(config)
    ids = tokenizer.encode(text)
    weights = np.random.default_rng(0).random((2, len(ids)), np.float32)
    read = levels.read(
        engine, columns, tokenizer, ids, ends=np.arange(len(ids)), weights=weights, wanted={0, 1700, 3499}, before=300
    )
    expected = signals(engine, tokenizer, ids, columns)
    assert read.values.shape == (len(columns), len(ids))
    assert_order_is_kept(expected, read.values)
    np.testing.assert_allclose(read.sums, weights @ expected, rtol=1e-3, atol=1e-2)
    for position, state in read.states.items():
        gathered = np.empty((1, len(columns)), np.float32)
        columns.gather([tuple(part[None] for part in parts) for parts in state], gathered)
        np.testing.assert_allclose(gathered[0], expected[position], atol=1e-4)
    assert read.states.keys() == {0, 1700, 3499}


def test_documents_and_n_grams(text: str) -> None:
    torch.manual_seed(0)
    tokenizer = fitted(text, framed=True)
    config = ModelConfig(hidden_size=6, embedding_size=5, ngrams=3, ngram_rows=64)
    weights = {name: weight.numpy() for name, weight in CharLSTM(config, tokenizer).state_dict().items()}
    weights["ngrams.weight"][:, :-1] = np.random.default_rng(0).normal(size=(64, 4))
    engine, columns = Stepper(config, tokenizer, weights), Columns.of(config)
    documents = [text[:700], text[700:1500], text[1500:4000]]
    ids = np.concatenate([[tokenizer.start_id, *tokenizer.encode(each), tokenizer.end_id] for each in documents])
    read = levels.read(
        engine,
        columns,
        tokenizer,
        ids,
        ends=np.arange(len(ids)),
        weights=np.ones((1, len(ids)), np.float32),
        before=300,
    )
    state = engine.zero_state()
    _, state = engine.step(tokenizer.end_id, state)
    expected = np.empty((len(ids), len(columns)), np.float32)
    for position, id in enumerate(ids.tolist()):
        _, state = engine.step(id, state)
        expected[position] = np.concatenate(state[0][::-1])
    assert_order_is_kept(expected, read.values)
    np.testing.assert_allclose(read.sums[0], expected.sum(0), rtol=1e-3, atol=1e-2)


def test_a_character_of_several_bytes_has_the_level_after_its_last() -> None:
    text = "naïve “café” – " * 140
    tokenizer = ByteTokenizer()
    config = ModelConfig(hidden_size=6, embedding_size=5)
    engine, columns = untrained.engine(config, tokenizer, 0), Columns.of(config)
    ids = tokenizer.encode(text)
    ends = np.cumsum([len(character.encode()) for character in text]) - 1
    by_id = levels.read(
        engine, columns, tokenizer, ids, ends=np.arange(len(ids)), weights=np.ones((0, len(ids))), before=300
    )
    weights = np.ones((1, len(text)), np.float32)
    read = levels.read(engine, columns, tokenizer, ids, ends=ends, weights=weights, before=300)
    np.testing.assert_array_equal(read.values, by_id.values[:, ends])
    np.testing.assert_allclose(
        read.sums[0], signals(engine, tokenizer, ids, columns)[ends].sum(0), rtol=1e-3, atol=1e-2
    )


def test_a_unit_that_is_nearly_always_saturated_keeps_its_differences() -> None:
    sample = np.ones((4096, 1), np.float32)
    sample[:200, 0] = 1 - np.geomspace(1e-6, 2, 200)
    scale = levels.Scale(sample)
    found = scale.levels(sample.copy())[:, 0]
    assert found[-1] > found[0] > found[100] > found[150] > found[199]
