import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from charlstm.errors import DataError
from charlstm.network import ngrams
from charlstm.network.model import CharLSTM
from charlstm.text.corpus import Corpus
from charlstm.training.state import Training
from tests.training.conftest import CPU, NGRAMS, config, poisoned


def test_each_stream_now_and_then_begins_from_a_zero_state(corpus: Corpus) -> None:
    training = Training(config({"dropout": 0.0, "recurrent_dropout": 0.0}), corpus, CPU, forgetting=0.3)
    seen: tuple[list[Any], list[Any]] = [], []
    for layer, states in zip(training.model.layers, seen, strict=True):
        layer.register_forward_pre_hook(lambda _, inputs, states=states: states.append(inputs[1]))
    for _ in range(40):
        training.update(0.01)
    zeroed = [[bool((h[0, n] == 0).all() and (c[0, n] == 0).all()) for n in range(6)] for h, c in seen[0][1:]]
    share = np.mean(zeroed)
    assert 0.15 < share < 0.45
    assert len({tuple(row) for row in zeroed}) > 10  # each stream on its own
    assert all((upper[0] == 0).all(-1).tolist() == [row] for upper, row in zip(seen[1][1:], zeroed, strict=True))


def test_the_gradient_is_that_of_the_window_with_carried_state(corpus: Corpus) -> None:
    """Two steps against a loop over torch's LSTM cell, clipped and updated by torch's unfused AdamW."""
    options = config({"num_layers": 1, "dropout": 0.0, "recurrent_dropout": 0.0}, clip_norm=0.5, weight_decay=0.1)
    training = Training(options, corpus, CPU, forgetting=0.0)
    start = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    for _ in range(2):
        training.update(0.01)

    weights = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    decayed = [weight for weight in weights.values() if weight.ndim > 1]
    others = [weight for weight in weights.values() if weight.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.99),
        foreach=False,
    )
    h = c = torch.zeros(6, 24)
    text = corpus.train.ids.astype(np.int64)
    positions = np.arange(6) * len(text) // 6
    lengths = [0, *(len(training.batches.at(step).inputs) for step in range(2))]
    for begin, end in itertools.pairwise(np.cumsum(lengths).tolist()):
        loss, count = torch.zeros(()), 0
        for at in range(begin, end):
            before = torch.tensor([text[p + at - 1] if p + at else corpus.tokenizer.start_id for p in positions])
            x = weights["embedding.weight"][before]
            gates = x @ weights["layers.0.weight_ih_l0"].T + weights["layers.0.bias_ih_l0"]
            gates = gates + h @ weights["layers.0.weight_hh_l0"].T + weights["layers.0.bias_hh_l0"]
            i, f, g, o = gates.chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            logits = h @ weights["output.weight"].T + weights["output.bias"]
            target = torch.from_numpy(text[positions + at])
            loss = loss - logits.log_softmax(-1).gather(1, target[:, None]).sum()
            count += 6
        optimizer.zero_grad()
        (loss / count).backward()
        norm = torch.stack([weight.grad.norm() for weight in weights.values()]).norm()  # type: ignore[union-attr]
        for weight in weights.values():
            weight.grad *= min(1.0, 0.5 / norm.item())  # type: ignore[operator]
        optimizer.step()
        h, c = h.detach(), c.detach()
    for name, weight in training.model.state_dict().items():
        torch.testing.assert_close(weight, weights[name].detach(), rtol=1e-3, atol=1e-5)


def test_the_gradient_of_ngrams_is_that_of_the_window_with_carried_state(corpus: Corpus) -> None:
    """Two steps against a dense table, read with what stood before the window, and Adagrad written out."""
    still = {"num_layers": 1, "dropout": 0.0, "recurrent_dropout": 0.0, "ngram_dropout": 0.0}
    options = config(NGRAMS | still, clip_norm=1e-3, ngram_rate=0.3, learning_rate=0.02)
    training = Training(options, corpus, CPU, forgetting=0.0)
    plain = CharLSTM(config(still).model, corpus.tokenizer)
    table, sums = torch.zeros(256, 8, requires_grad=True), torch.zeros(256)
    codes = corpus.tokenizer.codes.tolist()
    before: list[list[int]] = [[] for _ in range(6)]
    state = plain.zero_state(6)
    for step in range(2):
        plain.load_state_dict({name: weight.detach().clone() for name, weight in training.model.matrices().items()})
        batch = training.batches.at(step)
        inputs = torch.from_numpy(batch.inputs)
        sizes = torch.zeros(*inputs.shape, 256)  # how often each row is looked up
        for place, stream in np.ndindex(*inputs.shape):
            before[stream].append(codes[inputs[place, stream]])
            for row in ngrams.one([0, 0, 0, *before[stream]][-4:], 256):
                sizes[place, stream, row] += 1
        added = sizes @ table
        handle = plain.embedding.register_forward_hook(lambda _, __, embedded, added=added: embedded + added)
        logits, state = plain(inputs, state)
        handle.remove()
        state = [tuple(part.detach() for part in layer) for layer in state]
        F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.targets).flatten()).backward()
        gradient = table.grad
        assert gradient is not None
        with torch.no_grad():
            sums += gradient.square().mean(1)
            table -= 0.15 * gradient / sums.clamp(min=1e-30).sqrt()[:, None]  # half of the rate: as the learning rate
        table.grad = None
        training.update(0.01)
        assert training.model.ngrams is not None
        torch.testing.assert_close(training.model.ngrams.weight, table, rtol=1e-3, atol=1e-5)
    used = np.flatnonzero(sums.numpy())
    assert training.tensors()[ngrams.ROWS].tolist() == used.tolist()


def test_another_seed_is_another_run(corpus: Corpus) -> None:
    models = [Training(config(seed=seed), corpus, CPU).weights()["output.weight"] for seed in (1, 1, 2)]
    assert np.array_equal(models[0], models[1])
    assert not np.array_equal(models[0], models[2])


def test_a_wrapping_stream_begins_with_no_state(corpus: Corpus) -> None:
    training = Training(config(), corpus, CPU)
    training.at = dataclasses.replace(
        training.at, step=training.batches.windows
    )  # stream 5 wraps to the beginning of the text here
    training.state = [(h + 1, c + 1) for h, c in training.state]
    given = []
    training.model.layers[0].register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
    training.update(0.0)
    for state in given[0]:
        assert state[0, 5].eq(0).all()
        assert state[0, :5].eq(1).all()


@pytest.mark.parametrize("model", [{}, NGRAMS], ids=["plain", "ngrams"])
def test_a_step_without_a_finite_loss_is_undone_and_the_rate_halved(corpus: Corpus, model: dict[str, object]) -> None:
    training = Training(config(model), corpus, CPU)
    for _ in range(4):
        training.update(1e-3)
    before = {name: tensor.copy() for name, tensor in training.tensors().items()}
    poisoned(training, 4)
    training.update(1e-3)
    assert all(np.array_equal(before[name], tensor) for name, tensor in training.tensors().items())
    assert (training.step, training.at.halved) == (5, True)
    rates: list[float] = []
    move = training.optimizer.step
    training.optimizer.step = lambda rate: (rates.append(rate), move(rate))[1]  # type: ignore[method-assign]
    training.update(1e-3)
    assert rates == [5e-4]
    assert math.isfinite(training.settle()[0])


def test_the_rate_of_ngrams_is_halved_too(corpus: Corpus) -> None:
    moved = []
    for halved in (False, True):
        training = Training(config(NGRAMS), corpus, CPU)
        training.at = dataclasses.replace(training.at, halved=halved)
        training.update(1e-3)
        assert training.model.ngrams is not None
        moved.append(training.model.ngrams.weight.detach())
    torch.testing.assert_close(moved[1], moved[0] / 2)


def test_what_is_measured_is_what_is_saved_and_the_run_goes_on_with_the_exact_table(corpus: Corpus) -> None:
    training = Training(config(NGRAMS), corpus, CPU)
    for _ in range(5):
        training.update(1e-3)
    before, saved = training.tensors(), training.weights()
    assert training.model.ngrams is not None
    with training.finished() as model:
        assert model.ngrams is not None
        table = model.ngrams.weight.detach().clone()
        during = training.tensors()  # a long measurement is interrupted by saves
        assert all(np.array_equal(array, training.weights()[name]) for name, array in saved.items())
    assert np.array_equal(table.numpy(), ngrams.dense(saved, 256))
    assert not np.array_equal(table.numpy(), ngrams.dense(before, 256))
    for tensors in (during, training.tensors()):
        assert tensors.keys() == before.keys()
        assert all(np.array_equal(array, tensors[name]) for name, array in before.items())


@pytest.mark.parametrize("changes", [{"ngram_dropout": 0.2, "dropout": 0.1}, {"ngrams": 3}, {"ngram_rows": 64}])
def test_a_training_adapted_to_other_settings_is_a_new_one(corpus: Corpus, changes: dict[str, object]) -> None:
    before = Training(config(NGRAMS), corpus, CPU)
    before.rehearse()
    other = config(NGRAMS | changes, ngram_rate=0.3)
    trainings = [before.adapted(other, corpus), Training(other, corpus, CPU)]
    for training in trainings:
        for _ in range(3):
            training.update(1e-3)
    ours, theirs = (training.tensors() for training in trainings)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.parametrize("model", [{}, NGRAMS], ids=["plain", "ngrams"])
def test_a_rehearsal_changes_nothing(corpus: Corpus, model: dict[str, object]) -> None:
    rehearsed, plain = Training(config(model), corpus, CPU), Training(config(model), corpus, CPU)
    for _ in range(3):
        rehearsed.rehearse()
        for training in (rehearsed, plain):
            training.update(1e-3)
        rehearsed.rehearse()
    expected = plain.tensors()
    assert all(np.array_equal(tensor, expected[name]) for name, tensor in rehearsed.tensors().items())
    assert rehearsed.settle() == plain.settle()


def test_a_text_shorter_than_a_window_is_refused(corpus: Corpus) -> None:
    with pytest.raises(DataError, match="shorter than one window"):
        Training(config(seq_length=5000), corpus, CPU)
    with pytest.raises(DataError, match="--batch-size"):
        Training(config(batch_size=5000), corpus, CPU)


def test_a_rehearsal_is_as_long_as_an_ordinary_step(corpus: Corpus) -> None:
    """The first window of a run is half as long as the others: timing it promised twice as many steps as there were."""
    training = Training(config(), corpus, CPU)
    lengths: list[int] = []
    training.model.output.register_forward_hook(lambda _, inputs, __: lengths.append(len(inputs[0])))
    training.rehearse()
    assert len(training.batches.at(0).inputs) <= 10
    assert lengths[0] in {20, 21}
