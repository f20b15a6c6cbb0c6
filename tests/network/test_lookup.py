"""The table in torch against torch's own embedding and its dense gradient."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from charlstm.network import ngrams
from charlstm.network.lookup import NGrams
from charlstm.network.ngrams import Symbols

HIGHEST, ROWS, SIZE = 4, 32, 5  # few rows: many n-grams share one
CODES = torch.from_numpy(Symbols(9, end_id=8).codes)


def table(dtype: torch.dtype = torch.float32) -> NGrams:
    torch.manual_seed(0)
    made = NGrams(HIGHEST, ROWS, SIZE, CODES)
    made.weight.data.normal_()
    return made.to(dtype)


def read(length: int, streams: int = 3) -> tuple[Tensor, Tensor]:
    """Return ids, (T, N), some of which end a document, and the codes before them."""
    torch.manual_seed(1)
    return torch.randint(9, (length, streams)), CODES[torch.randint(9, (1, streams, HIGHEST - 1))]


def densely(weight: Tensor, ids: Tensor, recent: Tensor, keep: Tensor | None, rate: float) -> Tensor:
    """Return what NGrams does, by a sum of torch's embeddings; what does not count is multiplied by zero."""
    codes = torch.cat([recent[0].T, CODES[ids]])
    hashed = torch.stack(ngrams.hashes(codes, HIGHEST), -1)
    counts = (hashed != ngrams.NOTHING).to(weight.dtype)
    if keep is not None:
        counts = counts * keep / (1 - rate)
    return (F.embedding((hashed - 1) % ROWS, weight) * counts[..., None]).sum(-2)


@pytest.mark.parametrize("rate", [0.0, 0.4])
@pytest.mark.parametrize("length", [1, 2, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_and_gradient_are_those_of_torchs_embedding(dtype: torch.dtype, length: int, rate: float) -> None:
    ours, (ids, recent) = table(dtype), read(length)
    keep = torch.rand(*ids.shape, HIGHEST - 1) >= rate if rate else None
    weight = ours.weight.detach().clone().requires_grad_()
    expected = densely(weight, ids, recent, keep, rate)
    found, _ = ours(ids, recent, keep, rate)
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(expected)
    expected.backward(gradient)
    found.backward(gradient)
    sparse, dense = ours.weight.grad, weight.grad
    assert sparse is not None
    assert dense is not None
    torch.testing.assert_close(sparse.to_dense(), dense)
    rows = sparse._indices()[0]
    assert (rows.diff() > 0).all()  # each once, although n-grams come more than once and share rows
    assert set(rows.tolist()) >= set(dense.abs().sum(1).nonzero()[:, 0].tolist())
    assert len(rows) <= ROWS


def test_the_gradient_is_the_slope() -> None:
    ours, (ids, recent) = table(torch.float64), read(6)
    keep = torch.rand(*ids.shape, HIGHEST - 1) >= 0.3
    factors = torch.randn(*ids.shape, SIZE, dtype=torch.float64)

    def loss() -> Tensor:
        sums, _ = ours(ids, recent, keep, 0.3)
        return (sums.square() * factors).sum()

    loss().backward()
    gradient, step = ours.weight.grad, 1e-5
    assert gradient is not None
    gradient = gradient.to_dense()
    with torch.no_grad():
        for row, column in [(row, row % SIZE) for row in range(ROWS)]:
            values = []
            for sign in (1, -2, 1):
                ours.weight[row, column] += sign * step
                values.append(loss().item())
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(gradient[row, column].item(), abs=1e-6)


def test_windows_of_any_length_are_one() -> None:
    ours, (ids, recent) = table(), read(24)
    whole, end = ours(ids, recent, None, 0.0)
    for lengths in ((1,) * 24, (2, 22), (5, 1, 3, 15), (23, 1)):
        state, parts = recent, []
        for window in ids.split(lengths):
            sums, state = ours(window, state, None, 0.0)
            parts.append(sums)
        assert torch.equal(torch.cat(parts), whole)
        assert torch.equal(state, end)


def test_a_window_in_which_nothing_counts_has_a_gradient_of_no_rows() -> None:
    ours = table()
    nothing = torch.zeros(1, 2, HIGHEST - 1, dtype=torch.int64)
    for ids, keep in ((torch.tensor([[1, 8]]), None), (torch.randint(8, (5, 2)), torch.zeros(5, 2, 3).bool())):
        ours.weight.grad = None
        sums, _ = ours(ids, nothing, keep, 0.5 if keep is not None else 0.0)
        assert sums.eq(0).all()
        sums.sum().backward()
        gradient = ours.weight.grad
        assert gradient is not None
        assert gradient.indices().numel() == 0


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_after_an_end_nothing_is_remembered(length: int) -> None:
    ours, recent = table(), torch.tensor([[[3, 4, 5]]])
    ids = torch.tensor([1, 2, 3, 4, 5, 6, 7])[:length]
    for place in range(length):
        ended = ids.clone()
        ended[place] = 8
        _, after = ours(ended[:, None], recent, None, 0.0)
        following = CODES[ids[place + 1 :]].tolist()[-(HIGHEST - 1) :]
        assert after[0, 0].tolist() == [0] * (HIGHEST - 1 - len(following)) + following
