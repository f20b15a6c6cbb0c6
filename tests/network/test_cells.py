import math

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig, Settings
from charlstm.network.cells import CELLS, Array

LN3 = math.log(3)  # sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4, tanh(ln 3 / 2) = 1/2


def step(cell: str, from_x: Array, from_h: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
    """Take a step with peephole weights of one third, where there are any."""
    size = state[0].shape[-1]
    ones = from_x[..., :1].new_ones if isinstance(from_x, torch.Tensor) else np.ones
    peepholes = (ones(CELLS[cell].peepholes * size) / 3,) if CELLS[cell].peepholes else ()
    return CELLS[cell].step(from_x, from_h, state, *peepholes)


@pytest.mark.parametrize(
    ("cell", "gates", "c", "expected_h", "expected_c"),
    [
        # i = 1/2, f = 3/4, g = 1/2, o = 1/4
        ("lstm", [0, LN3, LN3 / 2, -LN3], 2.0, 0.25 * math.tanh(1.75), 0.75 * 2 + 0.5 * 0.5),
        # The same i and f, as they see a c of 3 with a weight of 1/3; o sees the new c, 2.5, and cancels it.
        ("peephole", [-1, LN3 - 1, LN3 / 2, -2.5 / 3 - LN3], 3.0, 0.25 * math.tanh(2.5), 0.75 * 3 + 0.5 * 0.5),
        # f = 3/4, g = 1/2, o = 1/4
        ("coupled", [LN3, LN3 / 2, -LN3], 2.0, 0.25 * math.tanh(1.625), 0.75 * 2 + 0.25 * 0.5),
    ],
)
def test_a_hand_worked_step(cell: str, gates: list[float], c: float, expected_h: float, expected_c: float) -> None:
    half = np.array(gates) / 2
    h_after, c_after = step(cell, half, half, (np.array([9.0]), np.array([c])))
    assert c_after == pytest.approx([expected_c])
    assert h_after == pytest.approx([expected_h])


def test_a_hand_worked_step_of_the_gru() -> None:
    # r = 1/4, z = 3/4, n = tanh(0.1 + 1/4 * 2): torch's form, the reset after the product
    (h,) = step("gru", np.array([0.0, LN3, 0.1]), np.array([-LN3, 0.0, 2.0]), (np.array([0.8]),))
    assert h == pytest.approx([0.25 * math.tanh(0.6) + 0.75 * 0.8])


@pytest.mark.parametrize(
    ("cell", "torchs"), [("lstm", torch.nn.LSTMCell), ("gru", torch.nn.GRUCell), ("rnn", torch.nn.RNNCell)]
)
def test_a_step_is_torchs(cell: str, torchs: type[torch.nn.Module]) -> None:
    torch.manual_seed(0)
    theirs = torchs(5, 7).double()
    x = torch.randn(3, 5).double()
    state = tuple(torch.randn(3, 7).double() for _ in range(2 if CELLS[cell].has_c else 1))
    from_x = x @ theirs.weight_ih.T + theirs.bias_ih
    from_h = state[0] @ theirs.weight_hh.T + theirs.bias_hh
    expected = theirs(x, state) if len(state) == 2 else (theirs(x, *state),)
    torch.testing.assert_close(step(cell, from_x, from_h, state), expected)
    arrays = [part.detach().numpy() for part in (from_x, from_h)]
    for ours, part in zip(step(cell, *arrays, tuple(part.numpy() for part in state)), expected, strict=True):
        np.testing.assert_allclose(ours, part.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients(cell: str) -> None:
    torch.manual_seed(0)
    width = 3 * len(CELLS[cell].gates)
    inputs = [torch.randn(2, size, dtype=torch.double, requires_grad=True) for size in (width, width, 3, 3)]
    state = slice(2, 4 if CELLS[cell].has_c else 3)
    assert torch.autograd.gradcheck(
        lambda from_x, from_h, *state: step(cell, from_x, from_h, state), (*inputs[:2], *inputs[state])
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_pre_activations_stay_finite(cell: str, sign: int) -> None:
    gates = sign * np.full(len(CELLS[cell].gates), 1e30, np.float32)
    one = np.array([1.0], np.float32)
    for part in step(cell, gates, gates, (one, one) if CELLS[cell].has_c else (one,)):
        assert np.isfinite(part).all()


def test_the_options_choices_are_the_cells() -> None:
    field = next(field for field in ModelConfig.__dataclass_fields__.values() if field.name == "cell")
    assert issubclass(ModelConfig, Settings)
    assert list(field.metadata["limits"].choices) == list(CELLS)
