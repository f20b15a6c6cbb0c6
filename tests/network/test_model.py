import pytest
import torch

from charlstm.network.cells import CELLS
from tests.network.conftest import NGRAMS, build


def test_initial_weights() -> None:
    model = build(num_layers=2)
    for number, layer in enumerate(model.layers):
        w_ih, w_hh, b_ih, b_hh = layer.parameters()
        for gate in range(4):
            block = w_hh[gate * 32 : (gate + 1) * 32]
            torch.testing.assert_close(block @ block.T, torch.eye(32))
        bound = (6 / (32 + (12 if number == 0 else 44))) ** 0.5  # Glorot & Bengio (2010), equation 16
        assert 0.9 * bound < w_ih.abs().max() <= bound
        total = b_ih + b_hh
        assert total[32:64].eq(1).all()
        assert total[:32].eq(0).all()
        assert total[64:].eq(0).all()
    assert model.embedding.weight[0].eq(0).all()
    assert not model.embedding.weight[1].eq(0).any()


@pytest.mark.parametrize("options", [{}, NGRAMS], ids=["plain", "ngrams"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_state_carries_on(cell: str, options: dict[str, int]) -> None:
    model = build(cell=cell, num_layers=2, **options)
    ids = torch.randint(20, (30, 4))
    whole, end = model(ids, model.zero_state(4))
    first, state = model(ids[:13], model.zero_state(4))
    second, state = model(ids[13:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(state, end)


def test_dropout_is_locked_scaled_and_only_in_training() -> None:
    model = build(dropout=0.4)
    seen = []
    model.output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    ids = torch.randint(1, 20, (50, 8))  # the unknown's vector is zero: so would be its output
    with torch.no_grad():
        model(ids, model.zero_state(8))
        model.train()
        model(ids, model.zero_state(8))
    plain, dropped = seen
    kept = dropped[0] != 0
    assert 0.5 < kept.float().mean() < 0.7
    torch.testing.assert_close(dropped, plain * kept / 0.6)


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_dropout_cuts_units_off_from_the_recurrence_only_in_training(cell: str) -> None:
    model = build(cell=cell, recurrent_dropout=0.4, dropout=0.0)
    ids = torch.randint(1, 20, (30, 4))
    layer = model.layers[0]
    weight = layer.weight_hh_l0.detach().clone()
    plain, _ = model(ids, model.zero_state(4))
    model.train()
    torch.manual_seed(5)
    dropped, _ = model(ids, model.zero_state(4))
    torch.manual_seed(5)
    mask = torch.empty(32).bernoulli_(0.6) / 0.6
    assert 0 < mask.eq(0).sum() < 32
    assert torch.equal(layer.weight_hh_l0, weight)
    layer.weight_hh_l0.data = weight * mask  # the kernel with the columns of those units at zero
    expected, _ = model.eval()(ids, model.zero_state(4))
    torch.testing.assert_close(dropped, expected)
    assert not torch.allclose(dropped, plain)


def test_a_share_of_the_ngrams_is_dropped_only_in_training() -> None:
    model = build(**NGRAMS, ngram_dropout=0.4, dropout=0.0)
    assert model.ngrams is not None
    model.ngrams.weight.data.fill_(1)  # so that a sum says how many n-grams there are
    seen: list[torch.Tensor] = []
    model.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    ids = torch.randint(1, 20, (200, 8))
    with torch.no_grad():
        model(ids, model.zero_state(8))
        model.train()
        model(ids, model.zero_state(8))
        plain, dropped = (inputs - model.embedding(ids) for inputs in seen)
    assert plain[:, 0, 0].tolist() == pytest.approx([0, 1, 2, *[3] * 197], abs=1e-4)
    counts = dropped[3:, :, 0] * 0.6
    assert set(counts.round().unique().tolist()) == {0, 1, 2, 3}
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)
    assert 0.57 < counts.mean() / 3 < 0.63


def test_what_is_dropped_does_not_depend_on_how_the_streams_are_dealt_out() -> None:
    model = build(**NGRAMS, ngram_dropout=0.4, dropout=0.3, recurrent_dropout=0.2).train()
    ids = torch.randint(1, 20, (20, 6))
    torch.manual_seed(3)
    whole, _ = model(ids, model.zero_state(6))
    parts = []
    for rows in (slice(0, 1), slice(1, 4), slice(4, 6)):
        torch.manual_seed(3)
        model.deal(rows, 6)
        logits, _ = model(ids[:, rows], model.zero_state(rows.stop - rows.start))
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
