"""A score a line: that of the line alone, however the text comes."""

import gzip
import io
import json
import math
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from children import peak
from conftest import Command

from charlstm import corpus, evaluate, lines
from charlstm.cells import CELLS
from charlstm.config import ModelConfig
from charlstm.device import Device
from charlstm.evaluate import Score
from charlstm.model import CharLSTM
from charlstm.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer, code_points

CPU = Device("cpu", "fp32")
TEXT = "first\n\na longer line, of more than twenty characters\nÜber \N{GRINNING FACE}\n  x\n\n\nand the last"


def build(tokenizer: Tokenizer, cell: str = "lstm") -> CharLSTM:
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=24, embedding_size=8, cell=cell)
    model = CharLSTM(config, tokenizer.vocab_size, tokenizer.unknown_id, tokenizer.end_id).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)  # far from the uniform distribution
    model.pin()
    return model


def codes(text: str, tokenizer: Tokenizer) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8) if tokenizer.kind == "byte" else code_points(text)


def scored(model: CharLSTM, blocks: Iterable[np.ndarray], tokenizer: Tokenizer) -> list[Score]:
    return [score for group in lines.scores(model, blocks, tokenizer, CPU) for score in group]


TOKENIZERS = [
    CharTokenizer.fit(TEXT.replace("x", "")),
    CharTokenizer.fit(TEXT.replace("x", ""), framed=True),
    ByteTokenizer(),
    ByteTokenizer(framed=True),
]


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["char", "framed", "byte", "framed-byte"])
@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("piece", [4, 1000])
@pytest.mark.parametrize("cell", CELLS)
def test_a_score_is_that_of_the_line_alone(
    tokenizer: Tokenizer, size: int, piece: int, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_PIECE", piece)  # of a line that is read before its end comes
    monkeypatch.setattr(lines, "_AT_ONCE", 60)
    monkeypatch.setattr(lines, "_READ", 64)
    model = build(tokenizer, cell)
    whole = codes(TEXT, tokenizer)
    found = scored(model, [whole[at : at + size] for at in range(0, len(whole), size)], tokenizer)
    expected = [
        evaluate.evaluate(
            model,
            corpus.encode(line if tokenizer.end_id is not None else line + "\n", tokenizer),
            tokenizer,
            CPU,
        )
        for line in TEXT.split("\n")
    ]
    assert len(found) == len(expected) == 8
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.nats == pytest.approx(theirs.nats, rel=1e-5)
        assert (ours.characters, ours.bytes, ours.unknown) == (theirs.characters, theirs.bytes, theirs.unknown)


def test_a_last_newline_begins_no_line() -> None:
    model = build(TOKENIZERS[0])
    assert len(scored(model, [code_points("a\nb\n")], TOKENIZERS[0])) == 2
    assert scored(model, [], TOKENIZERS[0]) == []


def test_where_no_line_end_is_known_none_is_scored() -> None:
    tokenizer = CharTokenizer("ab")
    found = scored(build(tokenizer), [code_points("ab\n\nb")], tokenizer)
    assert [score.characters for score in found] == [2, 0, 1]


def test_scores_come_with_the_block_in_which_their_lines_end() -> None:
    model, given = build(TOKENIZERS[0]), []

    def blocks() -> Iterable[np.ndarray]:
        for text in ("fir", "st\n\nse", "cond\n"):
            given.append(text)
            yield code_points(text)

    found = [(len(group), len(given)) for group in lines.scores(model, blocks(), TOKENIZERS[0], CPU)]
    assert found == [(0, 1), (2, 2), (1, 3), (0, 3)]


def test_eval_prints_a_score_a_line(
    charlstm: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "The value is returned.\nqzxv!!\n\n"
    (tmp_path / "text.txt").write_text(text)
    plain = charlstm("eval", trained, "text.txt", "--lines")
    assert plain.code == 0
    bits = [float(line) for line in plain.out.splitlines()]
    assert len(bits) == 3
    assert bits[0] < bits[1]
    rows = [json.loads(line) for line in charlstm("eval", trained, "text.txt", "--lines", "--json").out.splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert [row["characters"] for row in rows] == [23, 7, 1]
    for row, each in zip(rows, bits, strict=True):
        assert row["bits_per_character"] == pytest.approx(each, abs=1e-4)
        assert row["nats"] / row["characters"] / math.log(2) == pytest.approx(each, abs=1e-4)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert charlstm("eval", trained, "-", "--lines").out == plain.out


def test_what_cannot_be_read_or_written(charlstm: Command, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("two\n")
    for arguments in (["--encoding=utf-16"], ["--encoding=utf-16", "--lines"]):  # it does not say which of the two
        assert charlstm("eval", trained, "text.txt", *arguments).code == 65
    command = f"{sys.executable} -m charlstm eval {trained}"
    for redirected in ("- --lines <&-", "- <&-", "text.txt > /dev/full", "text.txt --lines > /dev/full"):
        done = subprocess.run(f"{command} {redirected}", shell=True, capture_output=True, text=True, check=False)
        assert done.returncode == 74, done.stderr
        assert done.stderr.count("\n") == 1


def test_lines_before_a_bad_byte_are_scored(charlstm: Command, trained: Path, tmp_path: Path) -> None:
    good = "The value is returned.\nAnother line.\n"
    (tmp_path / "good.txt").write_text(good)
    (tmp_path / "bad.txt").write_bytes(good.encode() + b"not \xff text\nthe last line\n")
    expected = charlstm("eval", trained, "good.txt", "--lines").out
    assert len(expected.splitlines()) == 2
    scored = charlstm("eval", trained, "bad.txt", "--lines")
    assert (scored.code, scored.out) == (65, expected)
    assert scored.err.count("\n") == 1
    assert "bad.txt: byte 41 (0xFF) is not valid utf-8; name its own encoding (--encoding latin-1, say)\n" in scored.err


class Slow(io.BytesIO):
    """A pipe whose writer takes its time."""

    def read1(self, size: int | None = -1, /) -> bytes:
        return self.read(1 if self.tell() < 9 else size)


def test_a_slow_pipe_may_be_compressed(charlstm: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"The value\n", gzip.compress(b"The value\n")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Slow(data)))
        assert len(charlstm("eval", trained, "-", "--lines").out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lines"], "name the TEXT"),
        ([".", "--lines"], "a folder"),
        (["--split=train", "--novelty"], "need text that was not"),
        (["--split=all", "--baselines"], "need text that was not"),
        (["text.txt", "--lines", "--split=val"], "no --split"),
        (["text.txt", "--lines", "--baselines"], "--lines and --baselines exclude each other"),
        (["text.txt", "--lines", "--cold=5"], "--lines and --cold exclude each other"),
    ],
)
def test_what_lines_does_not_go_with(charlstm: Command, trained: Path, arguments: list[str], said: str) -> None:
    refused = charlstm("eval", trained, *arguments)
    assert refused.code == 2
    assert said in refused.err


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is read in /proc")
def test_the_memory_does_not_grow_with_the_text(trained: Path, tmp_path: Path) -> None:
    """One very long line, and many short ones."""
    peaks = []
    for characters in (500_000, 3_500_000):
        text, scores = tmp_path / "text.txt", tmp_path / "scores.txt"
        half = characters // 2
        text.write_text("слов " * (half // 5) + "\n" + "a line\n" * (half // 7))
        peaks.append(peak(["eval", trained, text, "--lines", "--threads=1"], scores))
        assert len(scores.read_text().splitlines()) == 1 + half // 7
    assert peaks[1] < 400
    # A line held whole adds 180 to it, all scores 42, and the blocks, if they are kept, 17. The allocator alone
    # makes 6 MB between two processes.
    assert peaks[1] < peaks[0] + 12
