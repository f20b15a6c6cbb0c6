"""Documents never influence each other, bit for bit, in training, evaluation and sampling: every cell and precision."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.measure.read import Reader
from charlstm.measure.scoring import evaluate
from charlstm.network import ngrams
from charlstm.network.cells import CELLS
from charlstm.network.device import Device
from charlstm.network.model import CharLSTM
from charlstm.network.stepper import Stepper
from charlstm.text import corpus as corpora
from charlstm.text.corpus import Corpus
from charlstm.text.tokenizer import CharTokenizer
from charlstm.training.state import Training
from tests.conftest import CELLS_AND_PRECISIONS, NEEDS_BF16, Command
from tests.network.conftest import NGRAMS, fill

TOKENIZER = CharTokenizer("abcdefghijklmnopqrstuvwxyz", framed=True)
START, END = TOKENIZER.start_id, TOKENIZER.end_id


WITH_AND_WITHOUT = pytest.mark.parametrize("options", [{}, NGRAMS], ids=["plain", "ngrams"])


def build(cell: str, options: dict[str, int], num_layers: int = 2) -> CharLSTM:
    torch.manual_seed(2)
    config = ModelConfig(cell=cell, hidden_size=48, embedding_size=12, num_layers=num_layers, **options)
    model = CharLSTM(config, TOKENIZER)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.5)  # far from where a random network is
    fill(model)
    model.pin()
    return model.eval()


def read(model: CharLSTM, ids: list[list[int]], precision: str) -> torch.Tensor:
    """Return the logits, (T, N, V), of these streams in windows of five, so that documents end within and between."""
    state, logits = model.zero_state(len(ids)), []
    for window in torch.tensor(ids).T.split(5):
        with Device("cpu", precision).autocast():
            out, state = model(window, state)
        logits.append(out)
    return torch.cat(logits)


@WITH_AND_WITHOUT
@pytest.mark.parametrize(("cell", "precision"), CELLS_AND_PRECISIONS)
def test_no_character_of_a_document_changes_a_bit_of_a_later_ones_logits(
    cell: str, precision: str, options: dict[str, int]
) -> None:
    model = build(cell, options)
    first, second, third = (TOKENIZER.encode(text).tolist() for text in ("abc", "the second document", "z"))
    following = [END, START, *second, END, START, *third, END]
    # The same stream of a batch in every reading: kernels may round differently from one stream to another.
    beside = [END, START, *TOKENIZER.encode("xyz").tolist(), *following]
    every = []
    with torch.no_grad():
        for place in range(len(first)):
            for other in (1, 9, 26):
                changed = first.copy()
                changed[place] = other
                every.append(read(model, [[END, START, *changed, *following], beside], precision))
        assert not torch.equal(every[0][4], every[1][4])  # within the document they bear
        later = [logits[2 + len(first) :] for logits in every]
        assert all(torch.equal(logits, later[0]) for logits in later)
        # What the second document sees is what it would see at the beginning of everything.
        alone = read(model, [[END, START, *second]] * 2, precision)
        torch.testing.assert_close(alone[:, 0].float(), later[0][: len(second) + 2, 0].float(), rtol=0.02, atol=0.02)


@WITH_AND_WITHOUT
@pytest.mark.parametrize(("cell", "precision"), CELLS_AND_PRECISIONS)
def test_no_gradient_crosses_a_documents_end(cell: str, precision: str, options: dict[str, int]) -> None:
    model = build(cell, options)
    seen: list[torch.Tensor] = []

    def keep(_: object, __: object, output: torch.Tensor) -> None:
        output.retain_grad()
        seen.append(output)

    model.embedding.register_forward_hook(keep)
    ids = [END, START, *TOKENIZER.encode("before").tolist(), END, START, *TOKENIZER.encode("after").tolist()]
    with Device("cpu", precision).autocast():
        logits, _ = model(torch.tensor(ids)[:, None], model.zero_state(1))
    boundary = ids.index(END, 1)
    targets = torch.tensor(ids[boundary + 2 :])
    F.cross_entropy(logits[boundary + 1 : -1, 0].float(), targets).backward()
    gradient = seen[0].grad
    assert gradient is not None
    assert gradient[: boundary + 1].eq(0).all()
    assert gradient[boundary + 1 :, 0, :-1].ne(0).any()
    # The reserved weights have no gradient of their own, and the feature's is taken off.
    assert model.embedding.weight.grad is not None
    assert model.embedding.weight.grad[:, -1].eq(0).all()
    for layer in model.layers:
        assert layer.weight_ih_l0.grad[:, 11].eq(0).all()
    if model.ngrams is not None:  # the n-grams of the second document alone have one, but for the reserved feature
        sparse = model.ngrams.weight.grad
        assert sparse is not None
        codes = [*[0] * 3, *TOKENIZER.codes[ids[boundary + 1 : -1]].tolist()]
        rows = {row for end in range(4, len(codes) + 1) for row in ngrams.one(codes[end - 4 : end], 256)}
        assert set(sparse.to_dense().any(1).nonzero()[:, 0].tolist()) == rows
        assert sparse.to_dense()[:, -1].eq(0).all()


@pytest.fixture(scope="module")
def names(text: str, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    words = sorted({word.lower() for word in text.split() if word.isascii() and word.isalpha()})
    path = tmp_path_factory.mktemp("names") / "words.txt"
    path.write_text("\n".join(words) + "\n")
    return corpora.load([str(path)], [], TextConfig(separator=r"\n"))


@WITH_AND_WITHOUT
@pytest.mark.parametrize("cell", CELLS)
def test_training_leaves_the_reserved_weights_alone_and_learns_to_end(
    names: Corpus, cell: str, options: dict[str, int]
) -> None:
    model = ModelConfig(cell=cell, hidden_size=32, embedding_size=8, **options)
    config = RunConfig(
        text=TextConfig(), model=model, train=TrainConfig(steps=30, batch_size=8, seq_length=32, learning_rate=0.02)
    )
    training = Training(config, names, Device("cpu", "fp32"))
    for _ in range(30):
        training.update(0.02)
    weights = training.weights()
    assert weights["embedding.weight"][:, -1].tolist() == [0.0] * (names.tokenizer.vocab_size - 1) + [1.0]
    if options:
        table = ngrams.dense(weights, 256)
        assert table.any()
        assert (table[:, -1] == 0).all()
    rows = {gate: number for number, gate in enumerate(CELLS[cell].gates)}
    for gate, row in rows.items():
        column = weights["layers.0.weight_ih_l0"][row * 32 : (row + 1) * 32, 7]
        assert (column == 1e4 * CELLS[cell].reset.get(gate, 0)).all()
    # The sampler, in numpy, comes back to one state at every end.
    stepper = Stepper(model, names.tokenizer, weights)
    states = []
    for id in (1, 5, names.tokenizer.end_id):
        _, state = stepper.step(id, stepper.zero_state())
        _, state = stepper.step(names.tokenizer.end_id, state)
        states.append(state)
    for state in states[1:]:
        for ours, theirs in zip(state, states[0], strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@WITH_AND_WITHOUT
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=NEEDS_BF16)])
def test_a_documents_loss_is_the_same_wherever_it_lies(names: Corpus, precision: str, options: dict[str, int]) -> None:
    tokenizer, split = names.tokenizer, names.val
    torch.manual_seed(0)
    model = CharLSTM(ModelConfig(hidden_size=32, **options), tokenizer).eval()
    fill(model)
    device = Device("cpu", precision)
    whole = evaluate(Reader(model, tokenizer, device), split)
    alone = [
        corpora.encode(tokenizer.decode(split.ids[begin + 1 : end - 1]), tokenizer)
        for begin, end in pairwise(split.bounds)
    ]
    parts = [evaluate(Reader(model, tokenizer, device), part) for part in alone]
    total = sum(parts[1:], parts[0])
    assert (total.characters, total.bytes) == (whole.characters, whole.bytes)
    assert total.nats == pytest.approx(whole.nats, rel=1e-6 if precision == "fp32" else 1e-3)


def test_names_from_the_command_line(charlstm: Command, text: str) -> None:
    words = sorted({word.lower() for word in text.split() if word.isascii() and word.isalpha()})[::4]
    Path("words.txt").write_text("\n".join(words) + "\n")
    options = [
        "--separator",
        r"\n",
        "--steps=60",
        "--hidden-size=64",
        "--batch-size=8",
        "--precision=fp32",
        "--threads=1",
    ]
    trained = charlstm("train", "words.txt", *options)
    assert trained.code == 0
    assert "documents" in trained.err
    sampled = charlstm("sample", "words", "--num-samples=20", "--seed=1")
    assert len(sampled.out.splitlines()) == 20
    rows = [json.loads(line) for line in charlstm("sample", "words", "--num-samples=5", "--json").out.splitlines()]
    assert all(row["stopped"] == "end" and "\n" not in row["text"] for row in rows)
    scored = json.loads(charlstm("eval", "words", "--json").out)
    assert scored["characters"] < sum(map(len, words)) / 5
    assert charlstm("eval", "words", "words.txt").code == 0
    assert charlstm("train", "words.txt", "--resume", "--steps=65").code == 0
    reset = charlstm("train", "words.txt", "--resume", "--separator=x")
    assert (reset.code, "cannot change" in reset.err) == (2, True)
