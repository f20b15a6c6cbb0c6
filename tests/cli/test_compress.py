"""zstd's manners, with a small trained model."""

import json
from pathlib import Path

import pytest

from charlstm.cli import writing
from charlstm.errors import UsageError
from tests.conftest import Command, at_a_terminal


@pytest.fixture
def given(charlstm: Command, tmp_path: Path, text: str) -> Path:
    (tmp_path / "a.txt").write_text(text[50_000:50_800], encoding="utf-8", newline="")
    return tmp_path / "a.txt"


def test_there_and_back(charlstm: Command, given: Path, trained: Path) -> None:
    done = charlstm("compress", given, "--model", trained)
    assert done.code == 0, done.err
    assert done.out == ""
    assert "Needs the model 'reference' (" in done.err
    packed = given.with_name("a.txt.clz")
    before = given.read_bytes()
    assert packed.stat().st_size < len(before) / 2
    assert charlstm("decompress", packed, "--model", trained).code == 74  # a.txt is still there
    assert charlstm("decompress", packed, "--model", trained, "-f").code == 0
    assert given.read_bytes() == before
    shown = charlstm("info", packed)
    assert "the model 'reference' (id " in shown.out
    assert json.loads(charlstm("info", packed, "--json").out)["coded"] == 1
    gone = charlstm("decompress", packed, "-o", "b.txt")
    assert gone.code == 74
    assert "needs the model 'reference' (id " in gone.err
    damaged = bytearray(packed.read_bytes())
    damaged[-9] ^= 1
    packed.write_bytes(damaged)
    wrong = charlstm("decompress", packed, "--model", trained, "-o", "b.txt")
    assert wrong.code == 65
    assert wrong.err.count("\n") == 1
    assert sorted(path.name for path in given.parent.iterdir()) == ["a.txt", "a.txt.clz"]


def test_records_and_the_shared_model(charlstm: Command, given: Path, trained: Path) -> None:
    lines = given.read_text().split("\n")
    options = ["--model", trained]
    done = charlstm("compress", given, *options, "--records", "-o", "r.clz", "--json", "--write-model", "m.safetensors")
    assert json.loads(done.out)["compressed"] == Path("r.clz").stat().st_size
    for number in (1, len(lines) - 1):
        shown = charlstm("decompress", "r.clz", "--model", "m.safetensors", "--record", number)
        assert shown.out == lines[number - 1] + "\n"
    assert charlstm("compress", given, *options, "--base64", "-o", "b64.txt").code == 0
    assert len(Path("b64.txt").read_text().splitlines()) == len(given.read_text().splitlines())
    shown = charlstm("decompress", "--base64", "b64.txt", *options)
    assert shown.out == given.read_text().rstrip("\n") + "\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["compress"], 2, "FILE is missing"),
        (["compress", "a.txt", "--records", "--no-learn"], 2, "--no-learn: with --records"),
        (["compress", "a.txt", "--records", "--base64"], 2, "exclude each other"),
        (["compress", "a.txt", "-o", "a.txt", "-f"], 2, "would replace what is read"),
        (["compress", "a.txt", "-o", "-", "--json"], 2, "would share standard output"),
        (["compress", "."], 2, "a folder"),
        (["compress", "nothing.txt"], 74, "no such file"),
        (["decompress", "a.txt"], 2, "no name that ends in .clz"),
        (["decompress", "a.txt", "-o", "b"], 65, "a.txt: not a file that `charlstm compress` wrote"),
        (["info", "nothing.clz"], 74, "no such file"),
    ],
)
def test_what_is_refused(charlstm: Command, given: Path, arguments: list[str], code: int, words: str) -> None:
    done = charlstm(*arguments)
    assert (done.code, done.err.count("\n")) == (code, 1), done.err
    assert words in done.err


def test_nothing_binary_goes_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch), pytest.raises(UsageError, match="standard output is a terminal"):
        writing.target("a.txt", "-", "", force=False)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_nothing(
    charlstm: Command, given: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    import os

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = given.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os if failing == "fsync" else Path, failing, fail)
        done = charlstm("compress", given, "--model", trained, "--no-verify")
    assert done.code == 74
    assert "no space left on device" in done.err
    assert "--output" in done.err
    assert {path.name: path.read_bytes() for path in given.parent.iterdir()} == {"a.txt": before}
