import math

import numpy as np
import pytest
import torch

from charlstm import cells


def test_a_hand_worked_step() -> None:
    # i = sigmoid(0), f = sigmoid(ln 3), g = tanh(0.5 ln 3), o = sigmoid(-ln 3): 1/2, 3/4, 1/2, 1/4
    gates = np.array([0.0, math.log(3), math.log(3) / 2, -math.log(3)])
    h, c = cells.lstm(gates, np.array([2.0]))
    assert c == pytest.approx([0.75 * 2 + 0.5 * 0.5])
    assert h == pytest.approx([0.25 * math.tanh(1.75)])


def test_lstm_is_torchs() -> None:
    torch.manual_seed(0)
    cell = torch.nn.LSTMCell(5, 7).double()
    x, h, c = torch.randn(3, 5).double(), torch.randn(3, 7).double(), torch.randn(3, 7).double()
    gates = x @ cell.weight_ih.T + h @ cell.weight_hh.T + cell.bias_ih + cell.bias_hh
    expected = cell(x, (h, c))
    torch.testing.assert_close(cells.lstm(gates, c), expected)
    for ours, theirs in zip(cells.lstm(gates.detach().numpy(), c.numpy()), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12)


def test_gradients() -> None:
    torch.manual_seed(0)
    gates = torch.randn(2, 12, dtype=torch.double, requires_grad=True)
    c = torch.randn(2, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(cells.lstm, (gates, c))


@pytest.mark.filterwarnings("error")
def test_extreme_pre_activations_stay_finite() -> None:
    gates = np.array([-1e30, 1e30, 1e30, -1e30], np.float32)
    h, c = cells.lstm(gates, np.array([1.0], np.float32))
    assert (h.item(), c.item()) == (0.0, 1.0)
