"""A score a line: that of the line alone, however the text comes."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig
from charlstm.measure import lines, scoring
from charlstm.measure.lines import Sizes
from charlstm.measure.read import Reader
from charlstm.measure.score import Score, by_steps
from charlstm.network.cells import CELLS
from charlstm.network.device import Device
from charlstm.network.model import CharLSTM
from charlstm.text import corpus
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer, code_points
from tests.children import peak
from tests.conftest import Command, fitted
from tests.measure.conftest import with_ngrams

CPU = Device("cpu", "fp32")
SIZES = Sizes()
LENGTHS = (500_000, 3_500_000) if "CHARLSTM_TORTURE" in os.environ else (50_000, 500_000)
TEXT = "first\n\na longer line, of more than twenty characters\nÜber \N{GRINNING FACE}\n  x\n\n\nand the last"


def build(tokenizer: Tokenizer, cell: str = "lstm") -> CharLSTM:
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=24, embedding_size=8, cell=cell)
    model = CharLSTM(config, tokenizer).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)  # far from the uniform distribution
    model.pin()
    return model


def codes(text: str, tokenizer: Tokenizer) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8) if tokenizer.kind == "byte" else code_points(text)


def scored(model: CharLSTM, blocks: Iterable[np.ndarray], tokenizer: Tokenizer, sizes: Sizes = SIZES) -> list[Score]:
    return [found for group in lines.scores(Reader(model, tokenizer, CPU), blocks, sizes) for found in group]


TOKENIZERS = [
    fitted(TEXT.replace("x", "")),
    fitted(TEXT.replace("x", ""), framed=True),
    ByteTokenizer(),
    ByteTokenizer(framed=True),
]


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["char", "framed", "byte", "framed-byte"])
@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("piece", [4, 1000])
@pytest.mark.parametrize("cell", CELLS)
def test_a_score_is_that_of_the_line_alone(tokenizer: Tokenizer, size: int, piece: int, cell: str) -> None:
    sizes = Sizes(piece, together=60, window=64)  # lines are read before their end comes
    model = build(tokenizer, cell)
    whole = codes(TEXT, tokenizer)
    found = scored(model, [whole[at : at + size] for at in range(0, len(whole), size)], tokenizer, sizes)
    expected = [
        scoring.evaluate(
            Reader(model, tokenizer, CPU),
            corpus.encode(line if tokenizer.end_id is not None else line + "\n", tokenizer),
        )
        for line in TEXT.split("\n")
    ]
    assert len(found) == len(expected) == 8
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.nats == pytest.approx(theirs.nats, rel=1e-5)
        assert (ours.characters, ours.bytes, ours.unknown) == (theirs.characters, theirs.bytes, theirs.unknown)


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["char", "framed", "byte", "framed-byte"])
@pytest.mark.parametrize("piece", [4, 1000])
def test_with_ngrams_a_score_is_that_of_the_engine(tokenizer: Tokenizer, piece: int) -> None:
    model, engine = with_ngrams(tokenizer)
    found = scored(model, [codes(TEXT, tokenizer)], tokenizer, Sizes(piece, together=60, window=64))
    for ours, line in zip(found, TEXT.split("\n"), strict=True):
        document = corpus.encode(line if tokenizer.end_id is not None else line + "\n", tokenizer)
        assert ours.nats == pytest.approx(by_steps(engine, document, tokenizer).nats, rel=1e-5)


def test_a_last_newline_begins_no_line() -> None:
    model = build(TOKENIZERS[0])
    assert len(scored(model, [code_points("a\nb\n")], TOKENIZERS[0])) == 2
    assert scored(model, [], TOKENIZERS[0]) == []


def test_where_no_line_end_is_known_none_is_scored() -> None:
    tokenizer = CharTokenizer("ab")
    found = scored(build(tokenizer), [code_points("ab\n\nb")], tokenizer)
    assert [each.characters for each in found] == [2, 0, 1]


def test_scores_come_with_the_block_in_which_their_lines_end() -> None:
    model, given = build(TOKENIZERS[0]), []

    def blocks() -> Iterable[np.ndarray]:
        for text in ("fir", "st\n\nse", "cond\n"):
            given.append(text)
            yield code_points(text)

    found = [(len(group), len(given)) for group in lines.scores(Reader(model, TOKENIZERS[0], CPU), blocks())]
    assert found == [(0, 1), (2, 2), (1, 3), (0, 3)]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is read in /proc")
def test_the_memory_does_not_grow_with_the_text(charlstm: Command, tmp_path: Path) -> None:
    """One very long line, and many short ones; `make torture` takes texts so long that scores would show, too."""
    (tmp_path / "corpus.txt").write_text("слов a line\n" * 200)
    small = ("--hidden-size=4", "--embedding-size=4", "--batch-size=4", "--seq-length=16", "--precision=fp32")
    assert charlstm("train", "corpus.txt", "--steps=1", *small).code == 0
    peaks = []
    for characters in LENGTHS:
        text, scores = tmp_path / "text.txt", tmp_path / "scores.txt"
        half = characters // 2
        text.write_text("слов " * (half // 5) + "\n" + "a longer line\n" * (half // 14))
        peaks.append(peak(["eval", tmp_path / "checkpoints" / "corpus", text, "--lines", "--threads=1"], scores))
        assert len(scores.read_text().splitlines()) == 1 + half // 14
    assert peaks[1] < 400
    # In the longest text a line held whole adds 180 to it, all scores 21, and the blocks, if they are kept, 17; in the
    # text of 500,000 characters the line adds 25. The allocator alone makes 6 MB between two processes.
    assert peaks[1] < peaks[0] + 12
