"""A label against a plain model whose `<start>` was replaced by hand, on torch and on numpy."""

from typing import Any

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig
from charlstm.network import transfer
from charlstm.network import weights as names
from charlstm.network.cells import CELLS
from charlstm.network.model import CharLSTM
from charlstm.network.stepper import Stepper
from charlstm.text.tokenizer import CharTokenizer
from tests.network.conftest import NGRAMS, fill

PLAIN = CharTokenizer("\nabcdef", framed=True)
LABELLED = PLAIN.labelled({"x": 2, "y": 1, "z": 5})
TEXT = LABELLED.encode("abc\nfed").tolist()
SHAPES: list[dict[str, Any]] = [{}, NGRAMS, {"num_layers": 2}]


def models(options: dict[str, Any]) -> tuple[CharLSTM, CharLSTM]:
    """Return a model with labels, and one without that has the same other weights."""
    config = ModelConfig(**{"hidden_size": 16, "embedding_size": 6} | options)
    torch.manual_seed(0)
    model = CharLSTM(config, LABELLED).eval()
    fill(model)
    with torch.no_grad():
        assert model.labels is not None
        model.labels.weight.normal_()
        model.pin()
    plain = CharLSTM(config, PLAIN).eval()
    plain.load_state_dict({name: weight for name, weight in model.state_dict().items() if name != names.LABELS})
    return model, plain


@pytest.mark.parametrize("options", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_label_is_another_start(options: dict[str, Any], cell: str) -> None:
    model, plain = models(options | {"cell": cell})
    start = plain.embedding.weight[LABELLED.start_id].clone()
    for number, label in enumerate(LABELLED.labels):
        with torch.no_grad():
            plain.embedding.weight[LABELLED.start_id] = start + model.labels.weight[number]  # type: ignore[union-attr]
        ids = [torch.tensor([*each, *TEXT])[:, None] for each in (LABELLED.opened(label), PLAIN.opening)]
        expected, found = plain(ids[1], plain.zero_state(1))[0], model(ids[0], model.zero_state(1))[0]
        assert torch.equal(found, expected)


@pytest.mark.parametrize("options", SHAPES)
def test_numpy_and_torch_agree(options: dict[str, Any]) -> None:
    model, _ = models(options)
    ids = np.array([[*LABELLED.opened(label), *TEXT] for label in (None, *LABELLED.labels)]).T  # (T, N)
    logits, _ = model(torch.from_numpy(ids), model.zero_state(4))
    for weights in ({name: w.numpy() for name, w in model.state_dict().items()}, model.state_dict()):
        stepper = Stepper(model.config, LABELLED, weights)
        state = stepper.zero_state(4)
        for step, row in enumerate(ids):
            outputs, state = stepper.step(row, state)
            found = torch.as_tensor(stepper.logits(outputs))
            assert torch.allclose(found, logits[step], atol=1e-5)
            assert found.shape == (4, LABELLED.vocab_size)


@pytest.mark.parametrize("cell", CELLS)
def test_a_model_with_labels_begins_as_one_without_that_listens(cell: str) -> None:
    config = ModelConfig(hidden_size=16, embedding_size=6, cell=cell, num_layers=2)
    states = []
    for alphabet in (LABELLED, PLAIN):
        torch.manual_seed(3)
        states.append(CharLSTM(config, alphabet).state_dict())
    assert set(states[0]) - set(states[1]) == {names.LABELS}
    assert {name: tuple(weight.shape) for name, weight in states[0].items()} == names.shapes(
        config, LABELLED.vocab_size, 3
    )
    changed = {name: int((states[0][name] != weight).any(-1).sum()) for name, weight in states[1].items()}
    listening = {name for name, count in changed.items() if count}
    assert listening == (set() if cell == "rnn" else {names.of_layer(0, names.W_IH), names.of_layer(0, names.B_IH)})
    if cell != "rnn":
        assert changed[names.of_layer(0, names.W_IH)] == 2  # one in eight units


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "rnn"])
def test_a_label_is_still_there_after_a_hundred_characters(cell: str) -> None:
    """Before anything is learnt."""
    torch.manual_seed(3)
    config = ModelConfig(hidden_size=64, embedding_size=64, cell=cell)
    model = CharLSTM(config, LABELLED).eval()
    text = (TEXT * 20)[:100]
    ids = torch.tensor([[*LABELLED.opened(label), *text] for label in LABELLED.labels]).T
    ((*_, state),) = model(ids, model.zero_state(3))[1]
    apart = (state[0, 0] - state[0, 1]).abs()
    assert apart[:8].max() > 0.1
    assert apart[:8].mean() > 2 * apart[8:].mean()


def test_the_reserved_feature_of_labels_stays_zero() -> None:
    model, _ = models({})
    ids = torch.tensor([*LABELLED.opened("y"), *TEXT])[:, None]
    model(ids, model.zero_state(1))[0].square().sum().backward()
    assert model.labels is not None
    gradient = model.labels.weight.grad
    assert gradient is not None and gradient[1, :-1].abs().min() > 0
    assert not gradient[:, -1].any() and not gradient[[0, 2]].any()
    with torch.no_grad():
        model.labels.weight += 1
    model.pin()
    assert not model.labels.weight[:, -1].any()


def test_after_the_end_of_a_document_its_label_is_forgotten() -> None:
    model, _ = models({})
    states = []
    for label in LABELLED.labels:
        ids = torch.tensor([*LABELLED.opened(label), *TEXT, LABELLED.end_id, LABELLED.start_id])[:, None]
        states.append(model(ids, model.zero_state(1))[0][-1])
    assert all(torch.equal(states[0], each) for each in states[1:])


def test_another_alphabet_keeps_the_vectors_of_labels_by_their_names() -> None:
    model, _ = models({})
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    other = CharTokenizer("\nabcdefgh", framed=True).labelled({"a": 1, "z": 1, "x": 1})
    moved = transfer.move(model.config, weights, LABELLED, other)
    assert moved.weights[names.LABELS][0, :-1].all() and moved.weights[names.LABELS][0, -1] == 0
    assert np.array_equal(moved.weights[names.LABELS][1:], weights[names.LABELS][[0, 2]])
    for new, label in ((other, "z"), (CharTokenizer("\nabcdef", framed=True), None)):
        moved = transfer.move(model.config, weights, LABELLED, new)
        assert (names.LABELS in moved.weights) == bool(new.labels)
        expected, found = (
            Stepper(model.config, alphabet, each) for alphabet, each in ((LABELLED, weights), (new, moved.weights))
        )
        logits = []
        for stepper, tokenizer in ((expected, LABELLED), (found, new)):
            state = stepper.zero_state()
            for id in [*tokenizer.opened(label), *tokenizer.encode("abc").tolist()]:
                outputs, state = stepper.step(id, state)
            logits.append(stepper.logits(outputs)[tokenizer.encode("abcdef\n")])
        assert np.allclose(*logits, atol=1e-5)


def test_labels_for_a_model_that_had_none() -> None:
    config = ModelConfig(hidden_size=16, embedding_size=6)
    plain = CharTokenizer("\nab")
    weights = {name: weight.numpy() for name, weight in CharLSTM(config, plain).state_dict().items()}
    moved = transfer.move(config, weights, plain, LABELLED)
    assert moved.weights[names.LABELS].shape == (3, 7) and not moved.weights[names.LABELS][:, -1].any()
    CharLSTM.from_weights(moved.config, LABELLED, moved.weights)
