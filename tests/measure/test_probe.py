"""Delayed recall: the task, the gradients, and what every cell learns."""

import pytest
import torch

from charlstm.config import ModelConfig, ProbeConfig
from charlstm.measure import probe
from charlstm.network.cells import CELLS
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Symbols


def test_a_sequence_asks_for_its_symbol() -> None:
    ids, symbols = probe.sequences(5, 1000, torch.Generator().manual_seed(0))
    assert ids.shape == (7, 1000)
    assert torch.equal(ids[0], symbols)
    assert symbols.unique().tolist() == list(range(8))
    assert ids[1:6].unique().tolist() == list(range(8, 16))
    assert ids[6].unique().tolist() == [16]


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_norm_is_that_of_small_differences(cell: str) -> None:
    torch.manual_seed(0)
    model = CharLSTM(ModelConfig(cell=cell, hidden_size=6, embedding_size=4), Symbols(17)).double().eval()
    ids, symbols = probe.sequences(4, 3, torch.Generator().manual_seed(0))
    _, state = model(ids[:1], model.zero_state(3))
    squares = torch.zeros(3, dtype=torch.double)
    for unit in range(6):
        losses = []
        for change in (-1e-5, 1e-5):
            h, *rest = (part.detach().clone() for part in state[0])
            h[..., unit] += change
            logits, _ = model(ids[1:], [(h, *rest)])
            losses.append(torch.nn.functional.cross_entropy(logits[-1], symbols, reduction="none").detach())
        squares += ((losses[1] - losses[0]) / 2e-5) ** 2
    assert probe.gradient_norm(model, ids, symbols) == pytest.approx(squares.sqrt().mean().item(), rel=1e-6)


def test_nothing_is_recalled_before_training() -> None:
    torch.manual_seed(0)
    model = CharLSTM(ModelConfig(hidden_size=16, embedding_size=8), Symbols(17))
    assert 0.05 < probe.recall(model, 30, 2048, torch.Generator().manual_seed(0)) < 0.2


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_learns_a_short_lag(cell: str) -> None:
    *_, row = probe.probe(cell, 3, ProbeConfig(time=20.0, hidden_size=32))
    assert isinstance(row, probe.Recall)
    assert row.recall > 0.99
    assert (row.cell, row.lag, row.chance, row.chrono) == (cell, 3, 0.125, False)


def test_chrono_biases_are_those_of_the_paper() -> None:
    for cell, (gate, rows) in {"lstm": ("f", 1), "coupled": ("f", 0), "gru": ("z", 1)}.items():
        torch.manual_seed(0)
        model = CharLSTM(ModelConfig(cell=cell, hidden_size=500), Symbols(17))
        model.chrono(1000)
        assert CELLS[cell].keep_gate == gate
        bias = model.layers[0].bias_ih_l0.view(-1, 500)
        times = bias[rows].exp()  # uniform in 1 to T - 1
        assert 1 <= times.min() < 20
        assert 980 < times.max() <= 999
        assert 460 < times.mean() < 540
        if CELLS[cell].input_gate:
            torch.testing.assert_close(bias[0], -bias[rows])
    plain = CharLSTM(ModelConfig(cell="rnn", hidden_size=20), Symbols(17))
    plain.chrono(1000)
    assert plain.layers[0].bias_ih_l0.eq(0).all()
