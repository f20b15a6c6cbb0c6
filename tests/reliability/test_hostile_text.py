"""Texts that break other programs: all of Unicode, one endless line, files that change or go while they are read."""

import gzip
import io
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlstm.config import TextConfig
from charlstm.errors import DataError, InputOutputError
from charlstm.text import corpus as corpora
from tests.conftest import Command, empty
from tests.reliability.conftest import times

pytestmark = pytest.mark.slow

TINY = ["--hidden-size=8", "--embedding-size=8", "--batch-size=2", "--seq-length=8", "--precision=fp32"]
characters = st.characters(exclude_categories=["Cs"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.text(characters, min_size=8, max_size=60))
def test_every_character_comes_back(tmp_path: Path, text: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        loaded = corpora.load([str(path)], [str(path)], TextConfig(), cache=empty(tmp_path))
    except DataError as error:  # one distinct character alone, or a mark that says how to read the others
        assert len(set(text.removeprefix("\ufeff"))) < 2, error
        return
    assert loaded.tokenizer.decode(loaded.train.ids) == text.removeprefix("\ufeff")
    assert loaded.val.unknown == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.binary(min_size=8, max_size=60).filter(lambda data: data[:2] != b"\x1f\x8b"))
def test_every_byte_comes_back(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "data"
    path.write_bytes(data)
    try:
        loaded = corpora.load([str(path)], [str(path)], TextConfig(tokenizer="byte"), cache=empty(tmp_path))
    except DataError:
        assert len(set(data)) < 2
        return
    assert loaded.train.ids.tobytes() == data


def test_all_of_unicode(charlstm: Command) -> None:
    every = "".join(chr(code) for code in range(0, 0x110000, times(16, 1)) if not 0xD800 <= code < 0xE000)
    Path("all.txt").write_text(every, encoding="utf-8", newline="")
    Path("some.txt").write_text(every[5000:5040], encoding="utf-8", newline="")
    small = ["--hidden-size=16", "--embedding-size=16", "--batch-size=2", "--seq-length=4", "--precision=fp32"]
    outcome = charlstm("train", "all.txt", "--steps=1", "--val=some.txt", *small)
    assert outcome.code == 0, outcome.err
    assert charlstm("sample", "all", "--length=20", "--seed=1").code == 0
    assert charlstm("info", "all").code == 0


@pytest.mark.parametrize(
    "content", ["a\0b\0c\n", "one\r\ntwo\rthree\nfour\u2028five\x85", "\u202e\u2066\x1b[2J\x9b31m"]
)
def test_control_characters_are_characters(charlstm: Command, content: str) -> None:
    Path("odd.txt").write_text(content * 40, encoding="utf-8", newline="")
    outcome = charlstm("train", "odd.txt", "--steps=2", *TINY)
    assert outcome.code == 0, outcome.err
    assert not {"\x1b", "\x9b", "\0", "\u202e"} & set(outcome.err)


def test_lone_surrogates(charlstm: Command) -> None:
    Path("bad.txt").write_bytes(b"good text and then \xed\xa0\x80 half a pair" * 30)
    outcome = charlstm("train", "bad.txt", "--steps=1")
    assert outcome.code == 65
    assert "byte 19 (0xED) is not valid utf-8" in outcome.err
    Path("bad.jsonl").write_text('{"text": "half a pair \\ud800 of two"}\n' * 30)
    assert charlstm("train", "bad.jsonl", "--field=text", "--steps=2", *TINY).code == 0


def characters_read_in_60_megabytes(path: Path) -> int:
    tracemalloc.start()
    try:
        loaded = corpora.load([str(path)], [], TextConfig())
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
    return loaded.source.characters


def test_a_line_of_100_megabytes(tmp_path: Path, survived: Counter[str]) -> None:
    path = tmp_path / "line.txt"
    with path.open("w") as file:
        for _ in range(100):
            file.write("all in one line " * 62_500)
    assert characters_read_in_60_megabytes(path) == 100_000_000
    survived["megabytes in one line, read in 60 MB of memory"] += 100


def grow(path: Path) -> None:
    with path.open("a") as file:
        file.write("and more")


def shrink(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(3_000_000)


@pytest.mark.parametrize("change", [grow, shrink])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a few words " * 400_000)
    changed: list[int] = []

    def watch(read: int, total: int) -> None:
        if not changed:
            changed.append(read)
            change(path)

    with pytest.raises(InputOutputError, match="changed while it was read; start again"):
        corpora.load([str(path)], [], TextConfig(), watch=watch)
    assert changed


def test_a_file_that_vanishes(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"a few words {name} " * 400_000)
    with pytest.raises(InputOutputError, match=r"b\.txt: no such file"):
        corpora.load([str(tmp_path)], [], TextConfig(), watch=lambda *_: (tmp_path / "b.txt").unlink(missing_ok=True))


def test_a_compressed_bomb_takes_no_more_memory_than_its_blocks(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(60):
            file.write(b"ab" * 500_000)
    assert characters_read_in_60_megabytes(path) == 60_000_000


def test_binary_files_of_a_folder_are_skipped_and_said(charlstm: Command, text: str) -> None:
    folder = Path("folder")
    folder.mkdir()
    (folder / "good.txt").write_text(text[:5000], encoding="utf-8")
    (folder / "image\x1b[2J.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    outcome = charlstm("train", "folder", "--steps=2", *TINY)
    assert outcome.code == 0
    assert "skipped folder/image" in outcome.err
    assert outcome.err.count("folder/image") == 1
    assert "\x1b" not in outcome.err


def test_standard_input_that_is_no_text(charlstm: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(range(256)) * 10)))
    outcome = charlstm("train", "-", "--steps=1")
    assert outcome.code == 65
    assert [line.split(":")[0] for line in outcome.err.splitlines()] == ["reading -", "error"]
