"""`charlstm score`, and the option of `eval` that it was."""

import gzip
import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Command


def test_a_score_per_line(charlstm: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The value is returned.\nqzxv!!\n\n"
    (tmp_path / "text.txt").write_text(text)
    plain = charlstm("score", trained, "text.txt")
    assert plain.code == 0
    bits = [float(line) for line in plain.out.splitlines()]
    assert len(bits) == 3
    assert bits[0] < bits[1]
    rows = [json.loads(line) for line in charlstm("score", trained, "text.txt", "--json").out.splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert [row["characters"] for row in rows] == [23, 7, 1]
    for row, each in zip(rows, bits, strict=True):
        assert row["bits_per_character"] == pytest.approx(each, abs=1e-4)
        assert row["nats"] / row["characters"] / math.log(2) == pytest.approx(each, abs=1e-4)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert charlstm("score", trained, "-").out == plain.out


@pytest.mark.slow
def test_what_cannot_be_read_or_written(charlstm: Command, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("two\n")
    for command in ("eval", "score"):  # the text does not say which of the two
        assert charlstm(command, trained, "text.txt", "--encoding=utf-16").code == 65
    run = f"{sys.executable} -m charlstm"
    for redirected in (
        *(f"score {trained} - <&-", f"eval {trained} - <&-"),
        *(f"eval {trained} text.txt > /dev/full", f"score {trained} text.txt > /dev/full"),
    ):
        done = subprocess.run(f"{run} {redirected}", shell=True, capture_output=True, text=True, check=False)
        assert done.returncode == 74, done.stderr
        assert done.stderr.count("\n") == 1


def test_lines_before_a_bad_byte_are_scored(charlstm: Command, trained: Path, tmp_path: Path) -> None:
    good = "The value is returned.\nAnother line.\n"
    (tmp_path / "good.txt").write_text(good)
    (tmp_path / "bad.txt").write_bytes(good.encode() + b"not \xff text\nthe last line\n")
    expected = charlstm("score", trained, "good.txt").out
    assert len(expected.splitlines()) == 2
    scored = charlstm("score", trained, "bad.txt")
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
        assert len(charlstm("score", trained, "-").out.splitlines()) == 1


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
def test_what_the_option_does_not_go_with(charlstm: Command, trained: Path, arguments: list[str], said: str) -> None:
    refused = charlstm("eval", trained, *arguments)
    assert refused.code == 2
    assert said in refused.err


def test_the_option_of_eval_goes_on_working(charlstm: Command, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("two\nlines\n")
    plain = charlstm("score", trained, "text.txt", "--json")
    asked = charlstm("eval", trained, "text.txt", "--lines", "--json")
    assert (asked.code, asked.out) == (0, plain.out)
    assert asked.err == "note: --lines is now a command of its own: charlstm score\n"
    assert "--lines" not in charlstm("eval", "--help").out


def test_a_text_must_be_named(charlstm: Command, trained: Path) -> None:
    for arguments, said in (
        ([], "CHECKPOINT"),
        ([trained], "TEXT"),
        ([trained, ""], "TEXT ''"),
        ([trained, "."], "folder"),
    ):
        refused = charlstm("score", *arguments)
        assert refused.code == 2
        assert said in refused.err
