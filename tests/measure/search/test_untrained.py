"""The weights before training, against those that torch draws."""

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig
from charlstm.measure.search import untrained
from charlstm.network.cells import CELLS
from charlstm.network.model import CharLSTM
from tests.conftest import fitted


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("framed", [False, True])
def test_they_have_the_distributions_of_the_model(cell: str, framed: bool) -> None:
    torch.manual_seed(0)
    config = ModelConfig(cell=cell, hidden_size=40, num_layers=2, embedding_size=24)
    tokenizer = fitted("abcdefghijklmnopqrstuvwxyz\n" * 2, framed=framed)
    expected = {name: weight.numpy() for name, weight in CharLSTM(config, tokenizer).state_dict().items()}
    found = untrained.weights(config, tokenizer, seed=1)
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        other = expected[name]
        assert (weight.shape, weight.dtype) == (other.shape, other.dtype)
        np.testing.assert_array_equal(weight == 0, other == 0, name)
        np.testing.assert_array_equal(weight[abs(other) >= 1e3], other[abs(other) >= 1e3], name)
        small = abs(other) < 1e3
        assert weight[small].std() == pytest.approx(other[small].std(), rel=0.15), name
        if "weight_hh" in name:
            for block in weight.reshape(-1, 40, 40):
                np.testing.assert_allclose(block @ block.T, np.eye(40), atol=1e-5)
        if "bias" in name:
            np.testing.assert_array_equal(weight, other, name)


def test_n_grams_are_left_out() -> None:
    config = ModelConfig(hidden_size=4, embedding_size=3, ngrams=3, ngram_rows=64)
    engine = untrained.engine(config, fitted("ab"), seed=0)
    assert len(engine.zero_state()) == 1
