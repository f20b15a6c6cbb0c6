"""The table of n-gram vectors in torch: looked up for a whole window, with a gradient for the touched rows alone."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from charlstm.network import ngrams


class NGrams(nn.Module):
    """For every place of a window the sum of its n-grams' vectors; all zero before anything is learnt."""

    def __init__(self, highest: int, rows: int, size: int, codes: Tensor) -> None:
        """Make a table of zeros.

        Args:
            highest: the highest order.
            rows: of the table, a power of two.
            size: of a vector.
            codes: of each id, (V,).
        """
        super().__init__()
        self.highest = highest
        self.weight = nn.Parameter(torch.zeros(rows, size))
        self.register_buffer("codes", codes, persistent=False)

    def forward(self, ids: Tensor, recent: Tensor, keep: Tensor | None, rate: float) -> tuple[Tensor, Tensor]:
        """Return the sums, (T, N, E), and the codes of the last characters after the window, (1, N, highest - 1).

        Args:
            ids: (T, N).
            recent: the codes of the characters before the window, as returned by an earlier call.
            keep: which look-ups count, (T, N, orders), or None for all.
            rate: the share of the look-ups that are dropped; the others are scaled up.
        """
        codes: Tensor = self.codes  # type: ignore[assignment]
        read = torch.cat([recent[0].t(), codes[ids]])  # (highest - 1 + T, N)
        hashed = torch.stack(ngrams.hashes(read, self.highest), -1)  # (T, N, orders)
        counts = hashed != ngrams.NOTHING
        if keep is not None:
            counts = counts & keep
        sums = _Sum.apply(self.weight, ngrams.row(hashed[counts], len(self.weight)), counts.flatten(0, 1))  # type: ignore[no-untyped-call]
        sums = sums.view(*ids.shape, -1)
        return sums / (1 - rate) if rate else sums, _remembered(read[len(ids) :]).t()[None]


def _remembered(codes: Tensor) -> Tensor:
    """Return the last codes, oldest first, (highest - 1, N), with NOTHING for all those before a NOTHING.

    So the state after the end of a document does not depend on that document.
    """
    newest_first = codes.flip(0)
    return (newest_first * (newest_first != ngrams.NOTHING).cumprod(0)).flip(0)


class _Sum(torch.autograd.Function):
    """Sums of rows. The gradient is sparse and coalesced: sorting 14,000 look-ups takes less than a millisecond."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, counts: Tensor) -> Tensor:
        """Return a sum for each place, (places, E).

        Args:
            ctx: keeps what the backward pass needs.
            table: (R, E).
            rows: of all places one after the other, (look-ups,).
            counts: which of its orders each place has, (places, orders).
        """
        many = counts.sum(1)
        ctx.save_for_backward(rows, many)
        ctx.shape = table.shape
        return F.embedding_bag(rows, table, many.cumsum(0) - many, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the table."""
        rows, many = ctx.saved_tensors
        places = torch.repeat_interleave(torch.arange(len(many), device=rows.device), many, output_size=len(rows))
        rows, order = rows.sort(stable=True)
        touched, many = torch.unique_consecutive(rows, return_counts=True)
        sums = F.embedding_bag(places[order], gradients[0].contiguous(), many.cumsum(0) - many, mode="sum")
        with torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call]  # torch warns if nothing says so
            gradient = torch.sparse_coo_tensor(touched[None], sums, ctx.shape, is_coalesced=True)
        return gradient, None, None
