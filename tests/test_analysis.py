import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command

from charlstm import corpus as corpora
from charlstm.analysis import ngram, probe, reach, structure
from charlstm.analysis.ngram import MAX_ORDER, KneserNey
from charlstm.cells import CELLS
from charlstm.config import ModelConfig, ProbeConfig
from charlstm.device import Device
from charlstm.errors import DataError
from charlstm.model import CharLSTM
from charlstm.tokenizer import CharTokenizer

CPU = Device("cpu", "fp32")


class Counts:
    """Interpolated Kneser-Ney straight from the definition, on tuples: slow and plain."""

    def __init__(self, ids: list[int], vocab_size: int, start: int) -> None:
        self.vocab_size = vocab_size
        padded = [start] * (MAX_ORDER - 1) + ids
        ends = range(MAX_ORDER - 1, len(padded))
        self.raw: dict[int, dict[tuple[int, ...], int]] = {}
        for order in range(1, MAX_ORDER + 1):
            self.raw[order] = defaultdict(int)
            for end in ends:
                self.raw[order][tuple(padded[end - order + 1 : end + 1])] += 1
        self.continuations = {
            order: {gram: len({longer[0] for longer in self.raw[order + 1] if longer[1:] == gram}) for gram in grams}
            for order, grams in self.raw.items()
            if order < 4
        }

    def probability(self, context: tuple[int, ...], id: int, top: bool = True) -> float:
        order = len(context) + 1
        counts = self.raw[order] if top else self.continuations[order]
        below = self.probability(context[1:], id, False) if context else 1 / self.vocab_size
        once, twice = (sum(count == times for count in counts.values()) for times in (1, 2))
        discount = once / (once + 2 * twice)
        same = {gram: count for gram, count in counts.items() if gram[:-1] == context and count > 0}
        if not same:
            return below
        seen = max(same.get((*context, id), 0) - discount, 0)
        return (seen + discount * len(same) * below) / sum(same.values())


def test_the_ngrams_are_those_of_the_definition(text: str) -> None:
    tokenizer = CharTokenizer.fit(text[:1500])
    ids = tokenizer.encode(text[:1500])
    held_out = tokenizer.encode(text[1500:1540])
    plain = Counts(ids.tolist(), tokenizer.vocab_size, tokenizer.start_id)
    counted = KneserNey(ids, tokenizer.vocab_size, tokenizer.start_id)
    ours = counted.probabilities(counted.contexts(held_out), held_out)
    padded = [tokenizer.start_id] * MAX_ORDER + held_out.tolist()
    for order in range(1, 5):
        for position, id in enumerate(held_out.tolist()):
            end = position + MAX_ORDER
            context = tuple(padded[end - order + 1 : end])
            assert ours[order - 1, position] == pytest.approx(plain.probability(context, id))


def test_the_ngrams_share_out_all_probability(text: str) -> None:
    tokenizer = CharTokenizer.fit(text[:20_000])
    counted = KneserNey(tokenizer.encode(text[:20_000]), tokenizer.vocab_size, tokenizer.start_id)
    held_out = tokenizer.encode(text[30_000:30_050])
    contexts = counted.contexts(held_out)
    every = [counted.probabilities(contexts, np.full(50, id)) for id in range(tokenizer.vocab_size)]
    np.testing.assert_allclose(sum(every), 1)


def test_pieces_are_looked_up_as_the_whole(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = CharTokenizer.fit(text[:5000])
    counted = KneserNey(tokenizer.encode(text[:5000]), tokenizer.vocab_size, tokenizer.start_id)
    held_out = tokenizer.encode(text[5000:5300])
    whole = -np.log2(counted.probabilities(counted.contexts(held_out), held_out))
    monkeypatch.setattr(ngram, "_PIECE", 5)
    np.testing.assert_array_equal(np.concatenate(list(counted.bits(held_out)), 1), whole)


def test_a_context_that_only_ends_the_text_is_like_an_unknown_one() -> None:
    ids = np.array([1, 2, 1, 2, 3], np.uint8)
    counted = KneserNey(ids, 5, 0)
    contexts = counted.contexts(np.array([3, 1], np.uint8))
    found = counted.probabilities([rows[1:] for rows in contexts], np.array([1]))
    assert found[1, 0] == pytest.approx(found[2, 0])
    assert 0 < found[1, 0] < 1


def small_model(vocab_size: int, **options: object) -> CharLSTM:
    torch.manual_seed(0)
    model = CharLSTM(ModelConfig(**{"hidden_size": 24, "embedding_size": 8} | options), vocab_size)
    model.output.weight.data *= 10
    return model.eval()


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts of at most 64, and few characters scored."""
    monkeypatch.setattr(reach, "CONTEXTS", (1, 2, 8, 16, 32, 64))
    monkeypatch.setattr(reach, "_SPAN", 1024)
    monkeypatch.setattr(reach, "_STRETCHES", 4)


@pytest.mark.parametrize("length", [900, 5000])  # scored throughout, and in stretches
@pytest.mark.parametrize("every", [1, 4, 16, 21])
def test_contexts_are_read_from_a_zero_state(text: str, narrow: None, length: int, every: int) -> None:
    tokenizer = CharTokenizer.fit(text[:length])
    ids = tokenizer.encode(text[:length])
    model = small_model(tokenizer.vocab_size)
    ends = reach._ends(len(ids), every)
    scored = reach._score(model, ids, ends, every, CPU, lambda _: None)
    assert scored.shape == (6, len(ends))
    assert len(ends) == len(set(ends.tolist()))
    for number in range(0, len(ends), 7):
        for row, context in enumerate(reach.CONTEXTS):
            end = int(ends[number])
            read = torch.from_numpy(ids[end - context : end].astype(np.int64))[:, None]
            with torch.inference_mode():
                logits, _ = model(read, model.zero_state(1))
            assert scored[row, number] == pytest.approx(-logits[-1, 0].log_softmax(-1)[ids[end]].item(), abs=1e-4)


def test_a_model_without_memory_reaches_one_character_far(text: str) -> None:
    tokenizer = CharTokenizer.fit(text[:10_000])
    ids = tokenizer.encode(text[:10_000])
    model = small_model(tokenizer.vocab_size, cell="rnn")
    model.layers[0].weight_hh_l0.data.zero_()
    shares: list[float] = []
    ngrams = KneserNey(ids, tokenizer.vocab_size, tokenizer.start_id)
    found = reach.measure(model, ids, ngrams, tokenizer, CPU, shares.append)
    assert found.enough == 1
    assert [row.context for row in found.rows] == list(reach.CONTEXTS)
    for row in found.rows:
        assert row.lost.bits == pytest.approx(0, abs=1e-5)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert min(mean.bits for mean in found.ngrams) < 1  # they have counted this very text


def test_too_short_a_text_has_no_reach(text: str) -> None:
    tokenizer = CharTokenizer.fit(text[:2000])
    ids = tokenizer.encode(text[:2000])
    ngrams = KneserNey(ids, tokenizer.vocab_size, tokenizer.start_id)
    with pytest.raises(DataError, match="reach test"):
        reach.measure(small_model(tokenizer.vocab_size), ids, ngrams, tokenizer, CPU)


def test_an_interval_holds_the_mean_19_times_in_20() -> None:
    source = np.random.default_rng(0)
    held = 0
    for _ in range(500):
        mean = reach.Mean.of(source.exponential(2 * math.log(2), 2000))
        held += abs(mean.bits - 2) < mean.margin
    assert 0.92 < held / 500 < 0.98


def test_what_opens_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "_LEAST_PAIRS", 1)
    text = 'He (or "she [x] too") left. "Oh\n\nROMEO:\nA) b\n\nJULIET:\nNo.\n\nROMEO:\nYes.\n\n'
    text += "  one\n  two\n    three\n"
    found = [(it.kind, text[it.opener], text[it.at], it.distance) for it in structure.find(text)]
    assert found == [
        ("bracket", "[", "]", 2),
        ("bracket", "(", ")", 17),
        ("quote", '"', '"', 12),
        ("speaker", ":", ":", 26),
        ("indent", "o", "t", 6),
    ]


def test_closings_are_weighed_by_what_the_model_says(text: str) -> None:
    tokenizer = CharTokenizer.fit(text[:40_000])
    split = corpora.encode(text[:40_000], tokenizer)
    ids = split.ids
    model = small_model(tokenizer.vocab_size)
    ngrams = KneserNey(ids, tokenizer.vocab_size, tokenizer.start_id)
    bands = structure.measure(model, split, ngrams, tokenizer, CPU)
    with torch.inference_mode():
        read = torch.from_numpy(np.concatenate(([tokenizer.start_id], ids[:-1])).astype(np.int64))[:, None]
        likely = model(read, model.zero_state(1))[0][:, 0].softmax(-1).numpy()
    closings = [it for it in structure.find(text[:40_000]) if it.kind == "bracket" and 10 <= it.distance < 30]
    band = next(band for band in bands if (band.kind, band.least) == ("bracket", 10))
    assert band.count == len(closings) > 20
    assert band.model == pytest.approx(np.mean([likely[it.at, ids[it.at]] for it in closings]), rel=1e-3)
    assert band.ngram > 10 * band.model  # it has counted this very text, the model nothing
    assert {band.kind for band in bands} >= {"bracket", "quote", "indent"}


def test_a_sequence_asks_for_its_symbol() -> None:
    ids, symbols = probe.sequences(5, 1000, torch.Generator().manual_seed(0))
    assert ids.shape == (7, 1000)
    assert torch.equal(ids[0], symbols)
    assert symbols.unique().tolist() == list(range(8))
    assert ids[1:6].unique().tolist() == list(range(8, 16))
    assert ids[6].unique().tolist() == [16]


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_norm_is_that_of_small_differences(cell: str) -> None:
    torch.manual_seed(0)
    model = CharLSTM(ModelConfig(cell=cell, hidden_size=6, embedding_size=4), 17).double().eval()
    ids, symbols = probe.sequences(4, 3, torch.Generator().manual_seed(0))
    _, state = model(ids[:1], model.zero_state(3))
    squares = torch.zeros(3, dtype=torch.double)
    for unit in range(6):
        losses = []
        for change in (-1e-5, 1e-5):
            h, *rest = (part.detach().clone() for part in state[0])
            h[..., unit] += change
            logits, _ = model(ids[1:], [(h, *rest)])
            losses.append(torch.nn.functional.cross_entropy(logits[-1], symbols, reduction="none").detach())
        squares += ((losses[1] - losses[0]) / 2e-5) ** 2
    assert probe.gradient_norm(model, ids, symbols) == pytest.approx(squares.sqrt().mean().item(), rel=1e-6)


def test_nothing_is_recalled_before_training() -> None:
    torch.manual_seed(0)
    model = CharLSTM(ModelConfig(hidden_size=16, embedding_size=8), 17)
    assert 0.05 < probe.recall(model, 30, 2048, torch.Generator().manual_seed(0)) < 0.2


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_learns_a_short_lag(cell: str) -> None:
    *_, row = probe.probe(cell, 3, ProbeConfig(time=20.0, hidden_size=32))
    assert isinstance(row, probe.Recall)
    assert row.recall > 0.99
    assert (row.cell, row.lag, row.chance, row.chrono) == (cell, 3, 0.125, False)


def test_chrono_biases_are_those_of_the_paper() -> None:
    for cell, (gate, rows) in {"lstm": ("f", 1), "coupled": ("f", 0), "gru": ("z", 1)}.items():
        torch.manual_seed(0)
        model = CharLSTM(ModelConfig(cell=cell, hidden_size=500), 17)
        model.chrono(1000)
        assert CELLS[cell].keep_gate == gate
        bias = model.layers[0].bias_ih_l0.view(-1, 500)
        times = bias[rows].exp()  # uniform in 1 to T - 1
        assert 1 <= times.min() < 20
        assert 980 < times.max() <= 999
        assert 460 < times.mean() < 540
        if CELLS[cell].input_gate:
            torch.testing.assert_close(bias[0], -bias[rows])
    plain = CharLSTM(ModelConfig(cell="rnn", hidden_size=20), 17)
    plain.chrono(1000)
    assert plain.layers[0].bias_ih_l0.eq(0).all()


def test_probe_prints_a_table_and_rows_of_json(charlstm: Command) -> None:
    arguments = ["probe", "--cell=rnn", "--cell=gru", "--lag=2", "--time=1s", "--hidden-size=16"]
    done = charlstm(*arguments)
    assert done.code == 0
    head, *rows = done.out.splitlines()
    assert head.split() == ["lag", "cell", "recall", "chance", "steps", "seconds", "gradient"]
    assert [row.split()[:2] for row in rows] == [["2", "rnn"], ["2", "gru"]]
    assert max(map(len, done.out.splitlines())) <= 60
    rows = [json.loads(line) for line in charlstm(*arguments, "--json").out.splitlines()]
    assert [row["cell"] for row in rows] == ["rnn", "gru"]
    assert set(rows[0]) == {
        *("schema", "cell", "lag", "recall", "chance", "steps", "seconds", "gradient_norm", "chrono")
    }
    assert charlstm("probe", "--lag=0").code == 2


def test_eval_shows_the_reach_of_a_model(charlstm: Command, trained: Path, text: str) -> None:
    Path("part.txt").write_text(text[:12_000], encoding="utf-8", newline="")
    text = "part.txt"
    done = charlstm("eval", trained, text, "--context")
    assert done.code == 0
    lines = done.out.splitlines()
    assert sum("±" in line for line in lines) == len(reach.CONTEXTS) + MAX_ORDER
    assert any(line.startswith("bracket") for line in lines)
    assert max(map(len, lines)) <= 60
    row = json.loads(charlstm("eval", trained, text, "--context", "--json").out)
    assert [it["context"] for it in row["rows"]] == list(reach.CONTEXTS)
    assert row["rows"][0]["loss"]["bits"] > row["rows"][-1]["loss"]["bits"]
    short = charlstm("eval", trained, "--context")  # 4,000 held-out characters
    assert short.code == 65
    assert "reach test" in short.err
