"""A file to its text: what comes before an error, and what is too long to read."""

import gzip
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from charlstm.config import TextConfig
from charlstm.errors import DataError
from charlstm.text import files
from charlstm.text.files import File, Ignored
from charlstm.text.tokenizer import text_of

CHAR = TextConfig()


def read(path: Path, config: TextConfig = CHAR, *, found: bool = False, **limits: int) -> str:
    return "".join(text_of(block.codes) for block in files.blocks(File(str(path), found), config, Ignored(), **limits))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32-be"])
def test_bytes_have_no_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("A text in Latin script,\nof two lines.\n".encode(encoding) * 100)
    with pytest.raises(DataError, match=f"--encoding {encoding}"):
        read(path)
    assert read(path, TextConfig(tokenizer="byte")).encode("latin-1") == path.read_bytes()


def test_nothing_but_zeros_is_no_text() -> None:
    with pytest.raises(DataError, match="control characters: not a text"):
        read(Path("/dev/zero"))


def test_what_comes_before_a_bad_byte_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for before in (b"", "caf\xe9\n".encode(), b"x" * 3_000_000, b"x" * ((1 << 20) - 1) + "\xe9".encode()):
        path.write_bytes(before + b"\xffafter")
        pieces: list[str] = []
        with pytest.raises(DataError, match=rf"byte {len(before):,} \(0xFF\)"):
            pieces.extend(text_of(block.codes) for block in files.blocks(File(str(path), found=False), CHAR, Ignored()))
        assert "".join(pieces).encode() == before
    path.write_bytes("日本語".encode("shift_jis") + b"\x80!")
    found = files.blocks(File(str(path), found=False), TextConfig(encoding="shift_jis"), Ignored())
    assert text_of(next(found).codes) == "日本語"
    with pytest.raises(DataError, match="byte 6"):
        next(found)


def test_a_text_that_ends_within_a_character(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("caf\xe9".encode()[:-1])
    with pytest.raises(DataError, match=r"byte 3 \(0xC3\)"):
        read(tmp_path / "a.txt")


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_a_whole_text_has_a_limit(tmp_path: Path, tokenizer: str) -> None:
    config = TextConfig(tokenizer=tokenizer)
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * (1 << 22))
    assert len(files.text(str(path), config)) == 1 << 22
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="more than 4,194,304"):
        files.text(str(path), config)
    with gzip.open(tmp_path / "bomb.gz", "wb") as file:
        for _ in range(60):
            file.write(bytes(np.full(1_000_000, 120, np.uint8)))
    with pytest.raises(DataError, match="more than 4,194,304"):
        files.text(str(tmp_path / "bomb.gz"), config)
    with pytest.raises(DataError, match=r"not a text|more than"):
        files.text("/dev/zero", config)


def test_an_endless_line_of_json_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "short"}\n{"text": "' + "x" * 200 + '"}')
    with pytest.raises(DataError, match="line 2 has more than 100 bytes"):
        read(path, TextConfig(field="text"), longest_record=100)
    assert len(read(path, TextConfig(field="text"), longest_record=300)) == 205


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_records_end_is_a_documents(tmp_path: Path, size: int) -> None:
    texts = ["one", "", "three", "caf\xe9", "5" * 40]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    documents: list[str] = []
    for block in files.blocks(File(str(path), found=False), TextConfig(field="text"), Ignored(), block=size):
        ends = [0, *block.ends.tolist()]
        documents += [text_of(block.codes[begin:end]) for begin, end in pairwise(ends)]
    assert documents == texts
