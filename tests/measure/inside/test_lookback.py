"""Gradients against torch's autograd in float64: of the equations, and of the model that is trained."""

import numpy as np
import pytest
import torch

from charlstm.errors import UsageError
from charlstm.measure.inside.lookback import lookback
from charlstm.network import ngrams
from charlstm.network.cells import CELLS
from charlstm.storage.loaded import Loaded
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer
from tests.measure.inside.models import KNOWN, ids_of, loaded, model, opened

CHARS = CharTokenizer(KNOWN)
FRAMED = CharTokenizer(KNOWN, framed=True)


def vectors(it: Loaded, ids: list[int]) -> torch.Tensor:
    """Return what the network reads at each id from the beginning of a text, (S, E): the sums of all vectors."""
    weights = it.checkpoint.weights
    whole = weights.get(ngrams.DENSE)
    whole = ngrams.dense(weights, it.config.model.ngram_rows) if whole is None else whole
    table = ngrams.Table(it.config.model, it.tokenizer.codes, {ngrams.DENSE: torch.from_numpy(whole).double()})
    recent, found = table.beginning(None), []
    for id in ids:
        sums, recent = table.read(id, recent.long())
        found.append(torch.from_numpy(weights["embedding.weight"][id]).double() + sums)
    return torch.stack(found)


def log_probabilities(it: Loaded, inputs: torch.Tensor) -> torch.Tensor:
    """Return those of the character after these inputs, (V,), by the equations, from the beginning of a text."""
    weights = {name: torch.from_numpy(weight).double() for name, weight in it.checkpoint.weights.items()}
    cell = CELLS[it.config.model.cell]
    zeros = torch.zeros(it.config.model.hidden_size, dtype=torch.float64)
    states = [(zeros, zeros) if cell.has_c else (zeros,) for _ in range(it.config.model.num_layers)]
    for embedded in inputs:
        x = embedded
        for number, state in enumerate(states):
            w_ih, w_hh, b_ih, b_hh, *w_ch = (
                weights[f"layers.{number}.{name}"]
                for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_ch_l0")
                if f"layers.{number}.{name}" in weights
            )
            states[number] = cell.step(w_ih @ x + b_ih, w_hh @ state[0] + b_hh, state, *w_ch)
            x = torch.cat([embedded, states[number][0]])
    outputs = torch.cat([state[0] for state in states])
    return (weights["output.weight"] @ outputs + weights["output.bias"]).log_softmax(-1)


def by_autograd(it: Loaded, read: list[int], target: int) -> tuple[float, np.ndarray]:
    """Return the log probability of an id after others, and its gradient with respect to each of their vectors."""
    inputs = vectors(it, read).requires_grad_()
    log_probability = log_probabilities(it, inputs)[target]
    log_probability.backward()
    return float(log_probability.detach()), inputs.grad.numpy()


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Check that every input's gradient is right to 1e-6 of its own size, or of a tiny part of the largest one."""
    assert found.shape == expected.shape
    differences = np.linalg.norm(found - expected, axis=1)
    sizes = np.linalg.norm(expected, axis=1)
    assert sizes.max() > 1e-3
    assert (differences <= 1e-6 * np.maximum(sizes, 1e-9 * sizes.max())).all()


@pytest.mark.parametrize("tokenizer", [CHARS, FRAMED, ByteTokenizer()], ids=["char", "framed", "byte"])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_those_of_autograd(text: str, cell: str, num_layers: int, tokenizer: Tokenizer) -> None:
    it = loaded(tokenizer, cell, num_layers)
    ids = tokenizer.encode(text[60:101]).astype(np.int64)
    found = lookback(it, ids, 40, back=25)
    before = tokenizer.opening
    log_probability, expected = by_autograd(it, [*before, *ids[:40].tolist()], int(ids[40]))
    assert (found.at, found.first) == (40, 15)
    assert found.log_probability == pytest.approx(log_probability, rel=1e-9)
    assert_close(found.gradients, expected[-25:])
    ordinary = expected[-25:, :-1] if tokenizer.framed else expected[-25:]
    np.testing.assert_allclose(found.sizes, np.linalg.norm(ordinary, axis=1), rtol=1e-6)
    whole = lookback(it, ids, 40)
    assert whole.first == 0
    assert_close(whole.gradients, expected[len(before) :])


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_those_of_the_model_that_is_trained(text: str, cell: str) -> None:
    """By torch's own kernels: an embedding gets the gradients of all places at which its character stands."""
    trained = model(CHARS, cell, 2)
    it = opened(trained, CHARS)
    part = text[60:100].replace("\n", " ")  # but for the line feed, which is also read before the text
    ids = CHARS.encode(part).astype(np.int64)
    found = lookback(it, ids, 39)
    double = trained.double()
    read = torch.tensor([CHARS.start_id, *ids[:39].tolist()])[:, None]
    logits, _ = double(read, double.zero_state(1))
    logits[-1, 0].log_softmax(-1)[ids[39]].backward()
    expected = double.embedding.weight.grad.numpy()
    expected[CHARS.start_id] = 0
    summed = np.zeros_like(expected)
    np.add.at(summed, ids[:39], found.gradients)
    assert np.abs(summed - expected).max() <= 1e-6 * np.abs(expected).max()


def test_a_gradient_is_a_finite_difference(text: str) -> None:
    it = loaded(CHARS, "gru", 2)
    ids = CHARS.encode(text[:31]).tolist()
    found = lookback(it, ids, 30)
    inputs = vectors(it, [CHARS.start_id, *ids[:30]])
    for place, feature in ((30, 0), (28, 3), (5, 7)):
        moved = torch.zeros_like(inputs)
        moved[place, feature] = 1e-5
        up, down = (log_probabilities(it, inputs + sign * moved)[ids[30]] for sign in (1, -1))
        assert found.gradients[place - 1, feature] == pytest.approx(float(up - down) / 2e-5, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_it_does_not_look_into_another_document(cell: str) -> None:
    it = loaded(FRAMED, cell, 2)
    ids = ids_of(FRAMED, ["The first.", "The second."])
    at = len(ids) - 1  # the end of the second one
    found = lookback(it, ids, at)
    log_probability, expected = by_autograd(it, [FRAMED.end_id, *ids[:at].tolist()], FRAMED.end_id)
    assert found.log_probability == pytest.approx(log_probability, rel=1e-9)
    assert_close(found.gradients, expected[1:])
    assert not found.sizes[:12].any()
    assert found.sizes[12:].all()
    with pytest.raises(UsageError, match="at 12: a document begins there"):
        lookback(it, ids, 12)


@pytest.mark.parametrize("rounded", [False, True])
def test_a_long_passage_begins_with_the_state_of_the_engine(text: str, rounded: bool) -> None:
    it = loaded(CHARS)
    if rounded:  # as a finished model keeps its table of n-grams
        tensors = it.checkpoint.tensors
        table = tensors.pop(ngrams.DENSE)
        tensors |= ngrams.rounded(table, np.arange(256), np.ones(256, np.float32))
    ids = CHARS.encode(text[:601]).tolist()
    found = lookback(it, ids, 600, back=10)
    log_probability, expected = by_autograd(it, [CHARS.start_id, *ids[:600]], ids[600])
    assert found.log_probability == pytest.approx(log_probability, abs=1e-5)
    np.testing.assert_allclose(found.gradients, expected[-10:], atol=1e-4 * np.abs(expected).max())


def test_the_first_character_looks_at_nothing_of_the_passage() -> None:
    it = loaded(CHARS)
    found = lookback(it, CHARS.encode("abc"), 0)
    assert found.gradients.shape == (0, 8)
    assert found.log_probability == pytest.approx(by_autograd(it, [CHARS.start_id], int(CHARS.encode("a")[0]))[0])
    with pytest.raises(UsageError, match="at 3: the passage has characters 0 to 2"):
        lookback(it, CHARS.encode("abc"), 3)


def test_an_unknown_character_costs_its_name_too() -> None:
    it = loaded(CHARS)
    ids = CHARS.encode("ab\N{SNOWMAN}").tolist()
    log_probability, expected = by_autograd(it, [CHARS.start_id, *ids[:2]], 0)
    found = lookback(it, ids, 2)
    assert found.log_probability == pytest.approx(log_probability - CHARS.unknown_nats)
    assert_close(found.gradients, expected[1:])
