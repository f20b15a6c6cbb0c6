"""Damaged and hostile checkpoints: refused in one line, at no cost, and nothing in them is ever run."""

import contextlib
import json
import os
import random
import struct
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from charlstm.cli import run
from charlstm.errors import CharLSTMError, DataError
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage import header as headers
from tests.conftest import Command
from tests.reliability.conftest import times
from tests.storage.conftest import example
from tests.storage.test_checkpoint import same

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "good.safetensors"
    checkpoints.save(path, example(3))
    return path.read_bytes()


def flip(data: bytearray, source: random.Random) -> None:
    for _ in range(source.choice((1, 1, 2, 8))):
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)


def cut(data: bytearray, source: random.Random) -> None:
    begin = source.randrange(len(data))
    del data[begin : source.choice((len(data), begin + source.randrange(1, 100)))]


def insert(data: bytearray, source: random.Random) -> None:
    at = source.randrange(len(data))
    data[at:at] = source.choice((source.randbytes(source.randrange(1, 50)), data[at : at + source.randrange(1, 500)]))


def overwrite(data: bytearray, source: random.Random) -> None:
    at = source.randrange(len(data))
    new = source.choice((b"\xff" * 8, b"\0" * 8, source.randbytes(8)))
    data[at : at + 8] = new[: len(data) - at]


def edit_header(data: bytearray, source: random.Random) -> None:
    """Change something in the header and leave it well-formed."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    place: Any = header
    while True:
        key = source.choice(list(place) if isinstance(place, dict) else range(len(place)))
        inner = place[key]
        if isinstance(inner, str) and place is header["__metadata__"]:
            inner = json.loads(inner) if inner[:1] in "[{" else inner
        if isinstance(inner, (dict, list)) and inner and source.random() < 0.9:
            place = inner
            continue
        place[key] = source.choice(
            (None, -1, 0, 2**63, 1e308, "", "x", [], {}, True, [2**62], "F64", "\x1b[2J", inner and [inner])
        )
        break
    text = json.dumps(header).encode()
    data[: 8 + length] = len(text).to_bytes(8, "little") + text


MUTATORS: tuple[Callable[[bytearray, random.Random], None], ...] = (flip, cut, insert, overwrite, edit_header)


def test_no_mutated_checkpoint_is_taken_for_a_good_one(tmp_path: Path, good: bytes, survived: Counter[str]) -> None:
    source, path = random.Random(1), tmp_path / "mutated.safetensors"
    for number in range(times(1_000, 10_000)):
        data = bytearray(good)
        MUTATORS[number % len(MUTATORS)](data, source)
        path.write_bytes(data)
        traced = number % times(7, 1) == 0  # tracing is slow; the mutators are five, so that it is each one's turn
        if traced:
            tracemalloc.start()
        try:
            try:
                loaded = checkpoints.load(path)
            except CharLSTMError as error:
                assert "\n" not in str(error)
            else:
                assert same(loaded, example(3))
            # CharTokenizer's table is 1 MB, however small the vocabulary.
            assert not traced or tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()
        survived["mutated checkpoints, each refused in one line or the same as before"] += 1


def sealed(header: dict[str, Any], body: bytes) -> bytes:
    """Return a file with this header, its hash as it should be: somebody took the trouble."""
    if isinstance(header.get("__metadata__"), dict):
        with contextlib.suppress(TypeError, ValueError):
            header["__metadata__"]["sha256"] = headers.digest(header, memoryview(body))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def parts(good: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(good[:8], "little")
    return json.loads(good[8 : 8 + length]), good[8 + length :]


ABSURD: tuple[Any, ...] = (
    *(None, True, "", "x", -1, 0, 1.5, 2**31, 2**63, 10**400, 1e308, [], [[]], {}, {"a": 1}, [None], ["ab"], [-1]),
    *([2**62, 2], "\x1b]0;owned\x07", "__import__('os').system('true')", "../../etc/passwd", "\ud800", "a" * 10_000),
)
FINE = [
    *(("step", 0), ("step", 2**31), ("versions", {})),
    *(("val_loss", it) for it in (None, -1, 0, 1.5, 2**31, 2**63, 1e308)),
]
EVIL_PICKLE = b"cos\nsystem\n(S'touch evil-was-here'\ntR."


def hostile(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield hand-made files, each with a word on what is wrong with it."""
    header, body = parts(good)
    names = ("format", "schema", "config", "tokenizer", "vocabulary", "source", "step", "val_loss", "training")
    for name in (*names, "versions"):
        for value in ABSURD:
            if (name, value) in FINE:
                continue
            it, _ = parts(good)
            it["__metadata__"][name] = json.dumps(value)
            yield f"{name} {value!r:.20}", sealed(it, body)
    for name in names:
        it, _ = parts(good)
        del it["__metadata__"][name]
        yield f"without {name}", sealed(it, body)
    tensor = "output.weight"
    for key, values in {
        "dtype": ("F64", "I8", "F16", "", "\x1b[2J", None, 3),
        "shape": ([], [0], [-1, 2], [2**62, 2**62], [1] * 10_000, "x", None, [1.5]),
        "data_offsets": ([0, 2**62], [-4, 0], [0, 0], [4, 0], [], None, [0, 1, 2]),
    }.items():
        for value in values:
            it, _ = parts(good)
            it[tensor][key] = value
            yield f"{key} {value!r:.20}", sealed(it, body)
    it, _ = parts(good)
    it[tensor]["data_offsets"] = it["output.bias"]["data_offsets"]
    yield "overlapping tensors", sealed(it, body)
    text = json.dumps(header)
    twice = text.replace('{"__metadata__"', '{"__metadata__": {"format": "1"}, "__metadata__"', 1).encode()
    yield "an entry twice", len(twice).to_bytes(8, "little") + twice + body
    for depth in (100, 10_000, 1_000_000):
        it, _ = parts(good)
        it["__metadata__"]["config"] = "[" * depth + "]" * depth
        yield f"nested {depth} deep", sealed(it, body)
    bomb = b"[" + b"[]," * 1_000_000 + b"[]]"
    yield "a header of a million lists", len(bomb).to_bytes(8, "little") + bomb
    for value in (np.nan, np.inf, -np.inf):
        loaded = safetensors.numpy.load(good)
        loaded[tensor] = loaded[tensor] * np.float32(value)
        checkpoints_file = Path("numbers.safetensors")
        checkpoints.save(checkpoints_file, example(3).__class__(**vars(example(3)) | {"tensors": loaded}))
        yield f"weights of {value}", checkpoints_file.read_bytes()
        checkpoints_file.unlink()
    yield "a pickle", EVIL_PICKLE
    yield "a pickle after a header", struct.pack("<Q", 2) + b"{}" + EVIL_PICKLE
    yield "a zip", b"PK\x03\x04" + EVIL_PICKLE
    yield "nothing", b""
    yield "a length and nothing else", b"\xff" * 8


WATCH = """
import sys
from pathlib import Path
from charlstm.storage import checkpoint
from charlstm.errors import DataError
checkpoint.load(Path(sys.argv[1]))  # all that a load needs is loaded now
allowed, seen, armed = None, [], False
def hook(event, arguments):
    if not armed:
        return
    if event == "open" and (str(arguments[0]) == allowed or isinstance(arguments[0], int)):
        return  # the file, and the descriptor that it was opened as
    if event.split(".")[0] in {"exec", "compile", "import", "os", "subprocess", "socket", "open", "ctypes", "pickle",
                               "marshal", "shutil", "urllib", "code"}:
        seen.append((allowed, event, str(arguments)[:80]))
sys.addaudithook(hook)
refused = 0
for path in sys.argv[2:]:
    allowed, armed = path, True
    try:
        checkpoint.load(Path(path))
    except DataError as error:
        refused += 1
        assert "\\n" not in str(error)
    armed = False
print(refused, seen)
"""


def test_nothing_in_a_file_is_ever_run(
    tmp_path: Path, good: bytes, monkeypatch: pytest.MonkeyPatch, survived: Counter[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.safetensors").write_bytes(good)
    files = []
    for number, (_, data) in enumerate(hostile(good)):
        files.append(f"{number}.safetensors")
        Path(files[-1]).write_bytes(data)
    assert len(files) >= 200
    done = subprocess.run(
        [sys.executable, "-c", WATCH, "good.safetensors", *files], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == f"{len(files)} []", done.stderr[-2000:]
    assert not Path("evil-was-here").exists()
    survived["hostile checkpoints, refused under an audit hook that saw nothing run"] += len(files)


def test_every_hostile_file_is_told_in_one_line(charlstm: Command, good: bytes) -> None:
    for what, data in hostile(good):
        Path("x.safetensors").write_bytes(data)
        for command in ("info", "sample"):
            outcome = charlstm(command, "x.safetensors")
            assert outcome.code == 65, (what, outcome)
            assert outcome.out == ""
            assert outcome.err.count("\n") == 1, what
            assert outcome.err.rstrip("\n").isprintable(), what


def test_links_and_pipes_are_no_checkpoints(charlstm: Command, good: bytes) -> None:
    Path("good.safetensors").write_bytes(good)
    Path("link.safetensors").symlink_to("good.safetensors")
    Path("dangling.safetensors").symlink_to("nothing")
    os.mkfifo("pipe.safetensors")
    for name in ("link", "dangling", "pipe"):
        outcome = charlstm("info", f"{name}.safetensors")
        assert outcome.code == 65
        assert outcome.err.count("\n") == 1


def test_what_a_file_says_never_steers_the_terminal(charlstm: Command, good: bytes) -> None:
    header, body = parts(good)
    source = json.loads(header["__metadata__"]["source"])
    source["paths"] = ["\x1b]0;owned\x07\x1b[2J\u202egnp.txt\n\r\x9b31m"]
    header["__metadata__"]["source"] = json.dumps(source)
    header["__metadata__"]["versions"] = json.dumps({"charlstm\x1b[2J": "\x1b[31m"})
    vocabulary = json.loads(header["__metadata__"]["vocabulary"])
    header["__metadata__"]["vocabulary"] = json.dumps([*vocabulary[:-1], "\x1b"])
    Path("x.safetensors").write_bytes(sealed(header, body))
    outcome = charlstm("info", "x.safetensors")
    assert outcome.code == 0
    assert not {character for character in outcome.out if ord(character) in {0x1B, 0x07, 0x9B, 0x0D, 0x202E}}
    outcome = charlstm("eval", "x.safetensors")
    assert outcome.code == 74
    assert "\x1b" not in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_large_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.safetensors"
    bomb = b"[" + b"[]," * 10_000_000 + b"[]]"
    path.write_bytes(len(bomb).to_bytes(8, "little") + bomb)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="not a charlstm checkpoint"):
            checkpoints.load(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_good_file_takes_about_twice_its_size(trained: Path) -> None:
    path = trained / "last.safetensors"
    checkpoints.load(path)
    tracemalloc.start()
    try:
        checkpoints.load(path)
        assert tracemalloc.get_traced_memory()[1] < 2.2 * path.stat().st_size + 5_000_000
    finally:
        tracemalloc.stop()


def test_resuming_from_a_hostile_state(charlstm: Command, trained: Path) -> None:
    folder = Path("checkpoints/x")
    folder.mkdir(parents=True)
    data = (trained / "last.safetensors").read_bytes()
    for name, value in (("halved", [1]), ("plan", {}), ("plan", {"steps": 10**30, "evaluate_every": 1}), ("step", -1)):
        header, body = parts(data)
        training = json.loads(header["__metadata__"]["training"])
        training[name] = value
        header["__metadata__"]["training"] = json.dumps(training)
        (folder / "last.safetensors").write_bytes(sealed(header, body))
        outcome = charlstm("train", "--resume", "--name", "x")
        assert outcome.code == 65
        assert outcome.err.count("\n") == 1
    assert run(["info", str(trained)]) == 0
