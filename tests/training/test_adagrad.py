"""The update of the touched rows against Adagrad written out on the whole table."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from charlstm.training.adagrad import RowAdagrad


def sparse(rows: list[int], values: Tensor, length: int) -> Tensor:
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (length, values.shape[1]), check_invariants=True)


def test_the_update_is_row_wise_adagrad_and_untouched_rows_do_not_move() -> None:
    torch.manual_seed(0)
    table = nn.Parameter(torch.randn(12, 5))
    optimizer = RowAdagrad(table)
    expected, sums = table.detach().double().clone(), torch.zeros(12, dtype=torch.float64)
    begun = table.detach().clone()
    for number, rate in enumerate((0.2, 0.1, 0.1, 0.05)):
        rows = [[0, 3, 4], [3, 3, 9, 0], [9], [4, 3, 4]][number]  # one twice: its gradients add up first
        values = torch.randn(len(rows), 5) * 10.0**-number
        table.grad = sparse(rows, values, 12)
        optimizer.step(rate)
        gradient = torch.zeros(12, 5, dtype=torch.float64)
        for row, value in zip(rows, values, strict=True):
            gradient[row] += value
        for row in set(rows):
            sums[row] += gradient[row].square().mean()
            expected[row] -= rate * gradient[row] / sums[row].sqrt()
    torch.testing.assert_close(table.detach().double(), expected, rtol=1e-5, atol=1e-6)
    untouched = [row for row in range(12) if row not in {0, 3, 4, 9}]
    assert torch.equal(table.detach()[untouched], begun[untouched])
    used, kept = optimizer.used()
    assert used.tolist() == [0, 3, 4, 9]
    np.testing.assert_allclose(kept, sums[[0, 3, 4, 9]].numpy(), rtol=1e-5)


@pytest.mark.parametrize("size", [0.0, 1e-15, 1e-19, 1e-23, 1e-30, 1e-40])
def test_whatever_row_has_moved_is_in_use(size: float) -> None:
    """Even if the square of its gradient is too small to be represented: a file holds the rows in use alone."""
    table = nn.Parameter(torch.zeros(4, 3))
    optimizer = RowAdagrad(table)
    table.grad = sparse([1, 2], torch.tensor([[1.0, 1.0, 1.0], [size, 0.0, -size]]), 4)
    optimizer.step(0.2)
    moved = table.detach().any(1).nonzero()[:, 0].tolist()
    assert set(moved) <= set(optimizer.used()[0].tolist())
    assert table.isfinite().all()


def test_without_a_gradient_nothing_happens() -> None:
    table = nn.Parameter(torch.ones(4, 3))
    optimizer = RowAdagrad(table)
    optimizer.step(0.2)
    table.grad = sparse([], torch.zeros(0, 3), 4)
    optimizer.step(0.2)
    assert table.eq(1).all()
    assert optimizer.used()[0].tolist() == []
