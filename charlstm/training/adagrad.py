"""Row-wise Adagrad: each row of a table has a learning rate of its own, and only touched rows move."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from charlstm.network.distributed import Group


class RowAdagrad:
    """Adagrad (Duchi, Hazan & Singer 2011) with a single sum of squares per row.

    A row moves by rate * g / sqrt(sum), where the sum is that of the mean squares of all its gradients so far. So an
    n-gram that is seen for the first time moves at once, and a frequent one settles. The cost does not depend on the
    size of the table.
    """

    def __init__(self, table: nn.Parameter) -> None:
        """Take the table, (R, E), with sparse coalesced gradients."""
        self.table = table
        self.sums = torch.zeros(len(table), device=table.device)
        """The sum of squares of each row, (R,)."""

    @torch.no_grad()
    def begin_at(self, total: float) -> None:
        """Let the rows that are in use move as if their squares had added up to `total` already."""
        self.sums[self.table.any(1)] = total

    def used(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return which rows have ever moved, ascending, and their sums of squares; each (U,)."""
        sums = self.sums.cpu().numpy()
        rows = np.flatnonzero(sums)
        return rows, sums[rows]

    def share(self, group: Group) -> None:
        """Replace the gradient by its sum over all processes."""
        gradient = self.table.grad
        assert gradient is not None
        self.table.grad = group.add_rows(gradient.coalesce())

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the rows that have a gradient."""
        gradient = self.table.grad
        if gradient is None:
            return
        gradient = gradient.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        sums = self.sums[rows] + values.square().mean(1)
        self.sums[rows] = sums
        # A row whose sum is zero, because its squares are too small to be represented, is not in use and must not move.
        roots = (sums + _LEAST).rsqrt() * (sums > 0)
        self.table[rows] = self.table[rows].addcmul_(values, roots[:, None], value=-rate)


_LEAST = 1e-20
