"""The baselines against tables worked by hand and the codecs themselves."""

import bz2
import json
import lzma
import math
import zlib
from pathlib import Path

import numpy as np
import pyppmd
import pytest

from charlstm.config import TextConfig
from charlstm.measure import baselines
from charlstm.measure.baselines import Baseline
from charlstm.measure.ngram import KneserNey
from charlstm.text import corpus as corpora
from charlstm.text.corpus import Corpus
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer
from tests.conftest import Command


def test_kneser_ney_by_hand() -> None:
    """The text a a b a b over the ids 0 (what stands before it), 1 = a, 2 = b.

    Bigrams, with the start before the text: 0a 1, aa 1, ab 2, ba 1. So n1 = 3, n2 = 1, D2 = 3 / (3 + 2) = 0.6.
    What stood before a: 0, a, b: 3; before b: a: 1. So n1 = 1, n2 = 0, D1 = 1, and of the 4 in all
        P(a) = (3 - 1) / 4 + 1 * 2 / 4 * 1/3 = 2/3      P(b) = (1 - 1) / 4 + 1/6 = 1/6      P(0) = 1/6
    After a, which came three times before another: a once, b twice, so 2 kinds:
        P(a | a) = (1 - 0.6) / 3 + 0.6 * 2 / 3 * 2/3 = 0.4
        P(b | a) = (2 - 0.6) / 3 + 0.6 * 2 / 3 * 1/6 = 8/15
        P(0 | a) = 0.4 * 1/6 = 1/15
    After b, which came once before another: a, 1 kind:
        P(a | b) = (1 - 0.6) / 1 + 0.6 * 2/3 = 0.8      P(b | b) = P(0 | b) = 0.6 * 1/6 = 0.1
    """
    table = {(1, 1): 0.4, (1, 2): 8 / 15, (1, 0): 1 / 15, (2, 1): 0.8, (2, 2): 0.1, (2, 0): 0.1}
    counted = KneserNey(np.array([1, 1, 2, 1, 2], np.uint8), 3, 0)
    for (before, id), expected in table.items():
        text = np.array([before, id], np.uint8)
        found = counted.probabilities(counted.contexts(text), text)
        assert found[1, 1] == pytest.approx(expected)


def load(tmp_path: Path, text: str, **options: str) -> Corpus:
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8", newline="")
    return corpora.load([str(path)], [], TextConfig(**options))


def measured(corpus: Corpus) -> dict[tuple[str, bool], float]:
    found = baselines.measure(corpus.val, corpus.train, corpus.tokenizer)
    return {(each.name, each.primed): each.bits_per_character or math.nan for each in found}


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_every_figure_is_the_length_of_its_code(text: str, tmp_path: Path, kind: str) -> None:
    known = set(text[:50_000])
    content = "".join(character for character in text[:70_000] if character in known)[:60_000]
    content = content.replace("e", "\N{LATIN SMALL LETTER E WITH ACUTE}")
    corpus = load(tmp_path, content, tokenizer=kind)
    found = measured(corpus)
    if kind == "char":
        assert corpus.val.unknown == 0
        raw = content[-6000:].encode()
        before, count = content[:-6000].encode(), 6000
    else:
        size = len(corpus.val.ids)
        raw, before, count = content.encode()[-size:], content.encode()[:-size], corpus.val.characters
    assert found["uniform", False] == pytest.approx(
        len(corpus.val.ids) * math.log2(corpus.tokenizer.vocab_size) / count
    )
    assert found["bz2", False] == 8 * len(bz2.compress(raw)) / count
    assert found["xz", False] == 8 * len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)) / count
    codec = zlib.compressobj(9, zdict=before[-32768:])
    packed = codec.compress(raw) + codec.flush()
    assert found["gzip", True] == 8 * len(packed) / count
    assert zlib.decompressobj(zdict=before[-32768:]).decompress(packed) == raw
    encoder = pyppmd.Ppmd7Encoder(5, 1 << 28)
    packed = encoder.encode(raw) + encoder.flush(endmark=False)
    assert found["PPM order 5", False] == 8 * len(packed) / count
    assert pyppmd.Ppmd7Decoder(5, 1 << 28).decode(packed, len(raw)) == raw
    # Who knows the training text needs less; and more is known by more context.
    for name in ("gzip", "zstd", "PPM order 5"):
        assert found[name, True] < found[name, False]
    orders = [found[name, True] for name in ("unigram", "Kneser-Ney 3-gram", "Kneser-Ney 5-gram")]
    assert orders == sorted(orders, reverse=True)
    assert found["PPM order 5", True] < found["bz2", False]


def test_the_ngram_figures_are_those_of_its_probabilities(text: str, tmp_path: Path) -> None:
    corpus = load(tmp_path, text[:30_000])
    found = measured(corpus)
    counted = KneserNey(corpus.train.ids, corpus.tokenizer.vocab_size, corpus.tokenizer.start_id)
    bits = -np.log2(counted.probabilities(counted.contexts(corpus.val.ids), corpus.val.ids)).sum(1)
    named = corpus.val.unknown * corpus.tokenizer.unknown_nats / math.log(2)
    assert corpus.val.unknown > 0
    assert found["Kneser-Ney 3-gram", True] == pytest.approx((bits[2] + named) / corpus.val.characters)
    assert found["Kneser-Ney 8-gram", True] == pytest.approx((bits[7] + named) / corpus.val.characters)
    decoded = corpus.tokenizer.decode(corpus.val.ids).encode()
    assert found["bz2", False] == pytest.approx((8 * len(bz2.compress(decoded)) + named) / corpus.val.characters)


def raw(corpus: Corpus) -> bytes:
    """Return the held-out documents, each with a newline."""
    documents = np.split(corpus.val.ids, corpus.val.bounds[1:-1])
    return "".join(corpus.tokenizer.decode(ids[1:-1]) + "\n" for ids in documents).encode()


def test_the_start_of_a_document_costs_nothing_and_its_end_is_a_line_end(text: str, tmp_path: Path) -> None:
    words = sorted(set(text[:40_000].split()))
    corpus = load(tmp_path, "\n".join(words), separator=r"\n")
    found = measured(corpus)
    tokenizer = corpus.tokenizer
    assert tokenizer.end_id is not None
    scored = len(corpus.val.ids) - corpus.val.documents
    assert scored == corpus.val.characters
    named = corpus.val.unknown * tokenizer.unknown_nats / math.log(2) / scored
    assert found["uniform", False] == pytest.approx(math.log2(tokenizer.vocab_size - 1) + named)
    # The unigram is of what is predicted: one discount, for what is left to the uniform distribution.
    kinds = tokenizer.vocab_size
    counts = np.bincount(corpus.train.ids, minlength=kinds).astype(float)
    once, twice = (counts == 1).sum(), (counts == 2).sum()
    discount = once / (once + 2 * twice) if once else 0.5
    seen = np.maximum(counts - discount, 0) + discount * (counts > 0).sum() / kinds
    seen[tokenizer.start_id] = 0
    predicted = corpus.val.ids[corpus.val.ids != tokenizer.start_id]
    expected = -np.log2(seen[predicted] / seen.sum()).sum() / scored + named
    assert found["unigram", True] == pytest.approx(expected)
    before = "".join(
        tokenizer.decode(ids[1:-1]) + "\n" for ids in np.split(corpus.train.ids, corpus.train.bounds[1:-1])
    )
    encoder = pyppmd.Ppmd7Encoder(5, 1 << 28)
    both = len(encoder.encode(before.encode() + raw(corpus)) + encoder.flush(endmark=False))
    encoder = pyppmd.Ppmd7Encoder(5, 1 << 28)
    alone = len(encoder.encode(before.encode()) + encoder.flush(endmark=False))
    assert found["PPM order 5", True] == pytest.approx(8 * (both - alone) / scored + named)
    assert found["bz2", False] == pytest.approx(8 * len(bz2.compress(raw(corpus))) / scored + named)


def test_what_is_not_installed_is_said(charlstm: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    split = corpora.encode("ab", CharTokenizer("ab"))
    absent = [each.name for each in baselines.measure(split, split, CharTokenizer("ab")) if not each.bits_per_character]
    assert set(absent) == {"PPM order 5"}
    shown = charlstm("eval", trained, "--baselines")
    assert shown.code == 0
    assert "pip install 'charlstm[baselines]'" in shown.out
    for command in (("eval", trained, "--novelty"), ("sample", trained, "--highlight-copies")):
        refused = charlstm(*command)
        assert refused.code == 2
        assert "pip install 'charlstm[baselines]'" in refused.err


@pytest.mark.slow
def test_eval_prints_one_table_with_the_model_in_it(charlstm: Command, trained: Path) -> None:
    shown = charlstm("eval", trained, "--baselines", "--dynamic")
    assert shown.code == 0, shown.err
    rows = [line for line in shown.out.splitlines() if "█" in line]
    bits = [float(line[33:39]) for line in rows]
    assert bits == sorted(bits, reverse=True)
    assert len(rows) == 15
    assert max(map(len, shown.out.partition("\n\n")[2].splitlines())) <= 60
    row = json.loads(charlstm("eval", trained, "--baselines", "--dynamic", "--json").out)
    every = [Baseline(**each) for each in row["baselines"]]
    assert len(every) == baselines.COUNT == 13
    assert f"{row['bits_per_character']:.3f}" in next(line for line in rows if line.startswith("this model  "))
    assert f"{row['dynamic']['bits_per_character']:.3f}" in next(line for line in rows if "dynamic" in line)


def test_bytes_of_no_text_are_a_text(tmp_path: Path) -> None:
    raw = bytes(np.random.default_rng(0).integers(0, 256, 3000, np.uint8))
    (tmp_path / "raw").write_bytes(raw)
    corpus = corpora.load([str(tmp_path / "raw")], [], TextConfig(tokenizer="byte"))
    assert isinstance(corpus.tokenizer, ByteTokenizer)
    found = measured(corpus)
    assert found["bz2", False] == pytest.approx(8 * len(bz2.compress(raw[-300:])) / corpus.val.characters)
