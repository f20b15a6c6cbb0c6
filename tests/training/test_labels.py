"""Training on documents with labels: which of them are hidden, and that a resumed run is the same run."""

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from charlstm.config import TextConfig
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage.checkpoint import Checkpoint
from charlstm.text import corpus as corpora
from charlstm.text.batches import UNLABELLED, Batch, Batches
from charlstm.text.corpus import Corpus
from charlstm.training.state import Training
from tests.training.conftest import CPU, config


@pytest.fixture
def labelled(text: str, tmp_path: Path) -> Corpus:
    rows = [{"text": text[at : at + 20], "who": "abc"[at // 20 % 3]} for at in range(0, 8000, 20)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return corpora.load([str(tmp_path / "a.jsonl")], [], TextConfig(field="text", label_field="who"))


def laid_out(corpus: Corpus, seed: int | None = 5) -> Batches:
    return Batches(corpus.train, corpus.tokenizer, 4, 16, jitter=True, shuffle=seed)


def openers(batches: Batches, corpus: Corpus, epoch: int) -> Counter[tuple[int, int]]:
    """Count the openers of documents that are read in an epoch: as the text has them, and as they are read."""
    found: Counter[tuple[int, int]] = Counter()
    for window in range(batches.windows):
        batch = batches.at(epoch * batches.windows + window)
        opens = corpus.tokenizer.opens(batch.inputs) & (batch.targets >= 0)
        own = corpus.train.ids[batch.positions[opens] - 1]
        found.update(zip(own.tolist(), batch.inputs[opens].tolist(), strict=True))
    return found


def same(one: Batch, other: Batch) -> bool:
    return np.array_equal(one.inputs, other.inputs) and np.array_equal(one.targets, other.targets)


def test_one_document_in_ten_is_read_without_its_label(labelled: Corpus) -> None:
    batches, start = laid_out(labelled), labelled.tokenizer.start_id
    total: Counter[bool] = Counter()
    for epoch in range(8):
        for (own, read), count in openers(batches, labelled, epoch).items():
            assert own >= labelled.tokenizer.vocab_size and read in {own, start}
            total[read == start] += count
    assert total[True] / total.total() == pytest.approx(UNLABELLED, abs=0.03)
    assert total.total() >= 8 * labelled.train.documents - 8 * 4
    own_order = laid_out(labelled, None)
    assert all(own == read for own, read in openers(own_order, labelled, 0))


def test_which_are_hidden_depends_on_the_seed_the_epoch_and_the_document_alone(labelled: Corpus) -> None:
    one = laid_out(labelled)
    forward = [one.at(step) for step in range(3 * one.windows)]
    other = laid_out(labelled)
    assert all(same(other.at(step), forward[step]) for step in reversed(range(len(forward))))
    assert openers(one, labelled, 0) != openers(one, labelled, 1) != openers(laid_out(labelled, 6), labelled, 1)


@pytest.mark.parametrize("model", [{}, {"ngrams": 3, "ngram_rows": 256}])
def test_a_resumed_run_is_the_same_run(labelled: Corpus, tmp_path: Path, model: dict[str, object]) -> None:
    options = config(model)
    whole = Training(options, labelled, CPU)
    for _ in range(12):
        whole.update(0.01)
    assert whole.model.labels is not None and whole.model.labels.weight.any()
    assert not whole.model.labels.weight[:, -1].any()
    first = Training(options, labelled, CPU)
    for _ in range(5):
        first.update(0.01)
    first.settle()
    at = dataclasses.replace(first.at, plan={"steps": 12, "evaluate_every": 12})
    file = tmp_path / "x.safetensors"
    saved = Checkpoint(options, labelled.tokenizer, labelled.source, 5, None, first.tensors(), at)
    checkpoints.save(file, saved)
    second = Training(options, labelled, CPU)
    second.restore(checkpoints.load(file))
    for _ in range(7):
        second.update(0.01)
    expected, found = whole.tensors(), second.tensors()
    assert expected.keys() == found.keys() and "optimizer.exp_avg.labels.weight" in found
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_the_first_guess_counts_labels_as_starts(labelled: Corpus) -> None:
    training = Training(config(), labelled, CPU)
    bias = training.model.output.bias.detach()
    assert len(bias) == labelled.tokenizer.vocab_size
    share = labelled.train.documents / len(labelled.train.ids)
    assert bias[labelled.tokenizer.start_id].exp().item() == pytest.approx(share, rel=1e-5)
    assert torch.isfinite(bias).all()
