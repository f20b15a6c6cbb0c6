import pytest
import torch

from charlstm.network.cells import CELLS
from charlstm.network.layers import recurrence

OURS = ("peephole", "coupled")


def stepped(module: torch.nn.Module, cell: str, inputs: torch.Tensor, state: tuple[torch.Tensor, ...]):
    """Run a window as the equations say, one step after the other, with torch's own differentiation."""
    w_ih, w_hh, b_ih, b_hh, *peepholes = module.parameters()
    state, outputs = tuple(part[0] for part in state), []
    for x in inputs:
        state = CELLS[cell].step(x @ w_ih.T + b_ih, state[0] @ w_hh.T + b_hh, state, *peepholes)
        outputs.append(state[0])
    return torch.stack(outputs), tuple(part[None] for part in state)


def window(cell: str, dtype: torch.dtype = torch.double, steps: int = 5, size: int = 3):
    """Return a layer, inputs and a state that require gradients."""
    torch.manual_seed(1)
    inputs = torch.randn(steps, 2, 4, dtype=dtype, requires_grad=True)
    parts = 2 if CELLS[cell].has_c else 1
    state = tuple(torch.randn(1, 2, size, dtype=dtype, requires_grad=True) for _ in range(parts))
    return recurrence(cell, 4, size).to(dtype), inputs, state


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_a_window_is_its_steps_and_so_are_the_gradients(cell: str, steps: int) -> None:
    module, inputs, state = window(cell, steps=steps)
    variables = [inputs, *state, *module.parameters()]

    def gradients(outputs: torch.Tensor, after: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        total = (outputs * torch.linspace(-1, 2, outputs.numel(), dtype=torch.double).view_as(outputs)).sum()
        return torch.autograd.grad(total + sum((part**2).sum() for part in after), variables)

    ours, theirs = module(inputs, state), stepped(module, cell, inputs, state)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradients(*ours), gradients(*theirs))


@pytest.mark.parametrize("cell", OURS)
def test_the_gradient_written_by_hand(cell: str) -> None:
    module, inputs, state = window(cell)
    weights = dict(module.named_parameters())

    def run(inputs: torch.Tensor, h: torch.Tensor, c: torch.Tensor, *values: torch.Tensor):
        outputs, after = torch.func.functional_call(module, dict(zip(weights, values, strict=True)), (inputs, (h, c)))
        return outputs, *after

    assert torch.autograd.gradcheck(run, (inputs, *state, *weights.values()))


@pytest.mark.parametrize("cell", OURS)
def test_bf16_products_are_near_the_exact_ones(cell: str) -> None:
    module, inputs, state = window(cell, torch.float, steps=20, size=32)
    exact, _ = module(inputs, state)
    exact_gradient = torch.autograd.grad(exact.square().sum(), list(module.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        rounded, after = module(inputs, tuple(part.bfloat16() for part in state))
    rounded_gradient = torch.autograd.grad(rounded.square().sum(), list(module.parameters()))
    assert {part.dtype for part in after} == {torch.float32}
    torch.testing.assert_close(rounded, exact, atol=0.02, rtol=0)
    for ours, theirs in zip(rounded_gradient, exact_gradient, strict=True):
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


@pytest.mark.parametrize("cell", OURS)
def test_gradients_reach_a_state_that_alone_is_used(cell: str) -> None:
    module, inputs, state = window(cell)
    _, (_, c) = module(inputs, state)
    _, (_, expected) = stepped(module, cell, inputs, state)
    torch.testing.assert_close(torch.autograd.grad(c.sum(), state), torch.autograd.grad(expected.sum(), state))
