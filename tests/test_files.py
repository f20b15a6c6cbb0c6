"""Paths and bytes to text: links, encodings, and what is not read at all."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from charlstm import files
from charlstm.config import TextConfig
from charlstm.errors import DataError
from charlstm.files import File, Ignored
from charlstm.tokenizer import text_of

CHAR = TextConfig()
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.\n"


def read(path: Path, config: TextConfig = CHAR, *, found: bool = False) -> str:
    return "".join(text_of(block.codes) for block in files.blocks(File(str(path), found), config, Ignored()))


def chosen(*paths: Path) -> list[str]:
    return [Path(listed.file.path).name for listed in files.listing([str(path) for path in paths]).chosen(once=True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, and many ways that lead to them."""
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_text("first")
    (folder / "b.txt").write_text("second")
    (folder / "sub" / "link.txt").symlink_to(folder / "a.txt")
    (folder / "sub" / "relative.txt").symlink_to("../b.txt")
    (folder / "sub" / "link to link.txt").symlink_to("link.txt")
    os.link(folder / "a.txt", folder / "hard.txt")
    (folder / "copy.txt").write_text("second")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to(folder)
    (folder / "itself").symlink_to("itself")
    for name in ("empty", "empty too"):
        (folder / name).touch()
    return folder


def test_each_content_is_read_once(folder: Path) -> None:
    listing = files.listing([str(folder)])
    assert chosen(folder) == ["a.txt", "b.txt", "empty", "empty too"]
    assert [(Path(it.path).name, Path(it.original).name, it.kind) for it in listing.repeats] == [
        ("copy.txt", "b.txt", "content"),
        ("hard.txt", "a.txt", "link"),
        ("link to link.txt", "a.txt", "link"),
        ("link.txt", "a.txt", "link"),
        ("relative.txt", "b.txt", "link"),
    ]
    assert [Path(it.path).name for it in listing.skipped] == ["loop", "dangling", "itself"]
    assert len(listing.chosen(once=False)) == 9


def test_what_is_named_twice_is_read_once(folder: Path, tmp_path: Path) -> None:
    assert chosen(folder / "a.txt", folder / "a.txt") == ["a.txt"]
    (repeat,) = files.listing([str(folder / "a.txt"), str(folder / "sub" / ".." / "a.txt")]).repeats
    assert repeat.kind == "named"
    assert chosen(folder, folder / "sub") == chosen(folder)


def test_a_link_to_a_folder_outside_is_told_and_not_followed(tmp_path: Path) -> None:
    for name in ("outside", "folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(name)
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "folder" / "file.txt").symlink_to(tmp_path / "outside" / "outside.txt")
    assert chosen(tmp_path / "folder") == ["file.txt", "folder.txt"]  # a link to a file counts as the file
    (skipped,) = files.listing([str(tmp_path / "folder")]).skipped
    assert "link to a folder" in skipped.reason
    assert chosen(tmp_path / "folder" / "link") == ["outside.txt"]  # named by the user


def test_the_same_text_compressed_is_another_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"text"))
    assert chosen(tmp_path) == ["a.txt", "b.txt.gz"]


@pytest.mark.parametrize("text", ["A text in Latin script,\nof two lines.\n", RUSSIAN])
@pytest.mark.parametrize("length", [1, 100, 5000])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_a_wide_encoding_without_its_mark_is_named(tmp_path: Path, text: str, length: int, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes((text * length).encode(encoding))
    with pytest.raises(DataError, match=encoding):
        read(path)
    with pytest.raises(DataError, match=f"--encoding {encoding}"):
        read(path, TextConfig(encoding="latin-1"))
    assert read(path, TextConfig(encoding=encoding)) == text * length
    assert read(path, TextConfig(tokenizer="byte")).encode("latin-1") == path.read_bytes()


def test_an_accent_does_not_hide_it(tmp_path: Path) -> None:
    """An e with an accent in UTF-16 is no valid UTF-8, and its error must not lead to latin-1."""
    (tmp_path / "a.txt").write_bytes("un café, s'il vous plaît".encode("utf-16-le"))
    with pytest.raises(DataError, match="--encoding utf-16-le"):
        read(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "text", ["a\0b\0c\n" * 40, "one\0two\0three\0" * 9, "\x1b[31mred\x1b[0m\n" * 9, RUSSIAN, "\0" * 7]
)
def test_some_control_characters_are_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode())
    assert read(tmp_path / "a.txt") == text


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


def test_an_endless_line_of_json_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_LONGEST_RECORD", 100)
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "short"}\n{"text": "' + "x" * 200 + '"}')
    with pytest.raises(DataError, match="line 2 has more than"):
        read(path, TextConfig(field="text"))
