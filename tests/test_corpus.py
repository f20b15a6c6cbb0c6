import hashlib
import io
import sys
from pathlib import Path

import pytest

from charlstm import corpus
from charlstm.config import TextConfig
from charlstm.errors import CharLSTMError, DataError, InputOutputError, UsageError

CHAR = TextConfig()
BYTE = TextConfig(tokenizer="byte")


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    data = "one\r\ntwo\rthree\n\N{EURO SIGN}".encode()
    (tmp_path / "a.txt").write_bytes(data)
    read = corpus.read([str(tmp_path / "a.txt")], CHAR)
    assert read.content == "one\r\ntwo\rthree\n\N{EURO SIGN}"
    assert read.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_encodings_and_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    mark = "\N{BYTE ORDER MARK}" if encoding in {"utf-8", "utf-16-le"} else ""
    (tmp_path / "a.txt").write_bytes((mark + "caf\xe9").encode(encoding))
    assert corpus.read([str(tmp_path / "a.txt")], TextConfig(encoding=encoding)).content == "caf\xe9"


def test_bytes_keep_their_mark(tmp_path: Path) -> None:
    data = "\N{BYTE ORDER MARK}caf\xe9".encode() + b"\xff\x00" * 5
    (tmp_path / "a").write_bytes(data)
    loaded = corpus.load([str(tmp_path / "a")], [], BYTE)
    assert loaded.train.ids.tobytes() + loaded.val.ids.tobytes() == data


def test_a_folder_is_read_in_order_without_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("second ")
    (tmp_path / "a.txt").write_text("first ")
    (tmp_path / "sub" / "c.txt").write_text("third")
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "zeros").write_bytes(bytes(10))
    read = corpus.read([str(tmp_path)], CHAR)
    assert read.content == "first second third"
    assert read.documents == 3
    assert sorted(Path(skipped.path).name for skipped in read.skipped) == ["picture.png", "zeros"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert corpus.read(["-"], CHAR).content == "from a pipe"


def test_the_end_is_held_out_and_the_vocabulary_is_the_training_parts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab" * 45 + "z" * 10)
    loaded = corpus.load([str(tmp_path / "a.txt")], [], CHAR)
    assert loaded.tokenizer.vocabulary == ["<unk>", "a", "b"]
    assert (loaded.train.characters, loaded.val.characters, loaded.val.unknown) == (90, 10, 10)


def test_a_held_out_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("ab" * 45)
    (tmp_path / "v.txt").write_text("ba\xe9")
    loaded = corpus.load([str(tmp_path / "a.txt")], [str(tmp_path / "v.txt")], CHAR)
    assert (loaded.train.characters, loaded.val.characters, loaded.val.bytes) == (90, 3, 4)
    assert loaded.source.val_sha256 == hashlib.sha256("ba\xe9".encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "config", "kind", "words"),
    [
        (b"", CHAR, DataError, "empty"),
        (b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", CHAR, DataError, "one distinct character"),
        (b"good\xffbad", CHAR, DataError, r"byte 4 \(0xFF\)"),
        ("text".encode("utf-16"), CHAR, DataError, "--encoding utf-16"),
        (b"text", TextConfig(encoding="klingon"), UsageError, "klingon"),
        (b"text", TextConfig(encoding="hex"), UsageError, "hex"),
        (b"abc", CHAR, DataError, "hold out"),
    ],
)
def test_unusable_files(tmp_path: Path, content: bytes, config: TextConfig, kind: type, words: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(kind, match=words) as caught:
        corpus.load([str(tmp_path / "a.txt")], [], config)
    assert isinstance(caught.value, CharLSTMError)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="no such file"):
        corpus.read([str(tmp_path / "nothing.txt")], CHAR)
    with pytest.raises(DataError, match="folder with text"):
        corpus.read([str(tmp_path)], CHAR)
