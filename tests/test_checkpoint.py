import dataclasses
import hashlib
import json
import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlstm import checkpoint as checkpoints
from charlstm import durable
from charlstm.checkpoint import Checkpoint
from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.corpus import Source
from charlstm.errors import CharLSTMError, DataError, InputOutputError
from charlstm.tokenizer import CharTokenizer


def example() -> Checkpoint:
    config = RunConfig(
        text=TextConfig(), model=ModelConfig(hidden_size=3, embedding_size=2), train=TrainConfig(steps=7, batch_size=2)
    )
    tokenizer = CharTokenizer("\nab\N{SNOWMAN}")
    rng = np.random.default_rng(0)
    shapes = checkpoints.weight_shapes(config.model, tokenizer.vocab_size)
    shapes |= checkpoints.training_shapes(config, shapes)
    return Checkpoint(
        config=config,
        tokenizer=tokenizer,
        source=Source(("a.txt", "b.txt"), "0" * 64, 123),
        step=5,
        val_loss=1.25,
        tensors={name: abs(rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()},
        training=TRAINING,
    )


TRAINING = {
    "step": 5,
    "characters": 100,
    "seconds": 0.1,
    "nats_since_row": 1.5,
    "characters_since_row": 10,
    "row_step": 4,
    "best_loss": 1.25,
    "best_step": 4,
    "misses": 0,
    "halved": False,
    "scored": None,
    "plan": {"steps": 7, "evaluate_every": 2, "decisions": [], "part": None, "whole": False},
    "machine": {"device": "cpu", "threads": 2},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    checkpoints.save(tmp_path / "x.safetensors", example())
    return tmp_path / "x.safetensors"


def same(a: Checkpoint, b: Checkpoint) -> bool:
    plain = [dataclasses.replace(each, tensors={}, tokenizer=CharTokenizer("")) for each in (a, b)]
    for each in plain:
        object.__setattr__(each, "tokenizer", None)
    return (
        plain[0] == plain[1]
        and a.tokenizer.vocabulary == b.tokenizer.vocabulary
        and a.tensors.keys() == b.tensors.keys()
        and all(np.array_equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    )


def test_round_trip(file: Path) -> None:
    loaded = checkpoints.load(file)
    assert same(loaded, example())
    assert "optimizer.exp_avg.output.bias" not in loaded.weights
    assert loaded.parameters == sum(
        int(np.prod(shape)) for shape in checkpoints.weight_shapes(example().config.model, 5).values()
    )


def test_other_programs_can_read_the_tensors(file: Path) -> None:
    tensors = safetensors.numpy.load_file(file)
    np.testing.assert_array_equal(tensors["output.weight"], example().tensors["output.weight"])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_goes_unnoticed(file: Path, data: st.DataObject) -> None:
    good = file.read_bytes()
    at, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    bad = bytearray(good)
    bad[at] ^= 1 << bit
    other = file.with_name("flipped.safetensors")
    other.write_bytes(bad)
    try:
        loaded = checkpoints.load(other)
    except CharLSTMError as error:
        assert "\n" not in str(error)
    else:  # white space between the header's parts
        assert same(loaded, example())


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 2000))
def test_no_truncation_goes_unnoticed(file: Path, length: int) -> None:
    data = file.read_bytes()
    other = file.with_name("short.safetensors")
    other.write_bytes(data[: min(length, len(data) - 1)])
    with pytest.raises(DataError):
        checkpoints.load(other)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("evil-was-here",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps(Evil()),
        b"PK\x03\x04" + bytes(100),
        (2**63).to_bytes(8, "little") + b"{}",
        (10**6).to_bytes(8, "little") + b"[" * 10**6,
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}",
        (20).to_bytes(8, "little") + b'{"__metadata__": {}}',
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="not a charlstm checkpoint"):
        checkpoints.load(Path("x.safetensors"))
    assert not Path("evil-was-here").exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder"):
        checkpoints.load(tmp_path)
    with pytest.raises(InputOutputError, match="no such checkpoint"):
        checkpoints.load(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="not a regular file"):
        checkpoints.load(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"output.bias": np.ones(4, np.float32)}, "output.bias"),
        ({"output.bias": np.full(5, np.nan, np.float32)}, "not finite"),
        ({"output.bias": np.ones(5, np.float64)}, "F64"),
        ({"optimizer.exp_avg_sq.output.bias": -np.ones(5, np.float32)}, "below zero"),
        ({"extra": np.ones(1, np.float32)}, "tensors"),
    ],
)
def test_tensors_must_be_the_models(tmp_path: Path, change: dict[str, np.ndarray], words: str) -> None:
    # A file whose hash is right all the same: somebody made it so.
    checkpoints.save(tmp_path / "x", dataclasses.replace(example(), tensors={**example().tensors, **change}))
    with pytest.raises(DataError, match=words):
        checkpoints.load(tmp_path / "x")


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_LEAST_HEADER", 100)
    with pytest.raises(DataError, match="vocabulary of 5 is too large"):
        checkpoints.save(tmp_path / "x", example())
    assert not list(tmp_path.iterdir())


def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        checkpoints.save(tmp_path / "x", example())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_write_is_write_fsync_rename_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def record_fsync(descriptor: int) -> None:
        done.append("fsync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        fsync(descriptor)

    def record_replace(self: Path, target: Path) -> Path:
        done.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_replace)
    durable.write(tmp_path / "x", b"data")
    assert done == ["fsync file", "rename", "fsync folder"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    (tmp_path / "x").write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if failing == "fsync" else Path, failing, fail)
    with pytest.raises(InputOutputError, match="no space left"):
        durable.write(tmp_path / "x", b"new")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"x": b"old"}


def test_metadata_is_json(file: Path) -> None:
    data = file.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["config"])["model"]["hidden_size"] == 3
    assert json.loads(header["__metadata__"]["vocabulary"]) == ["<unk>", "\n", "a", "b", "\N{SNOWMAN}"]


def rewritten(file: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the metadata as another version would have written it; its values are parsed for `change`."""
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = {name: json.loads(text) for name, text in header.pop("__metadata__").items() if name != "sha256"}
    change(metadata)
    header["__metadata__"] = {name: json.dumps(value) for name, value in metadata.items()}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode() + data[end:]).hexdigest()
    header["__metadata__"]["sha256"] = digest
    text = json.dumps(header).encode()
    other = file.with_name("other.safetensors")
    other.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
    return other


def metadata_of(file: Path) -> dict[str, Any]:
    data = file.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return {name: json.loads(text) for name, text in header["__metadata__"].items() if name != "sha256"}


def test_what_a_newer_version_has_added_is_kept(file: Path) -> None:
    def add(metadata: dict[str, Any]) -> None:
        metadata["mood"] = {"good": True}
        metadata["config"]["cloud"] = {"region": None}
        metadata["config"]["train"]["flavour"] = [1, {"a": 2}]
        metadata["source"]["licence"] = "CC0"
        metadata["training"]["luck"] = 0.5
        metadata["training"]["plan"]["until"] = "noon"

    other = rewritten(file, add)
    loaded = checkpoints.load(other)
    assert same(dataclasses.replace(loaded, unknown={}), example())
    assert loaded.unknown_names == [
        *("config.cloud", "config.train.flavour", "mood", "source.licence", "training.luck", "training.plan.until"),
    ]
    checkpoints.save(file, loaded)
    assert metadata_of(file) == metadata_of(other)
    assert same(checkpoints.load(file), loaded)


def test_what_an_older_version_did_not_have_takes_its_default(file: Path) -> None:
    def remove(metadata: dict[str, Any]) -> None:
        del metadata["versions"], metadata["config"]["train"]["accumulate"], metadata["source"]["val_sha256"]

    loaded = checkpoints.load(rewritten(file, remove))
    assert same(dataclasses.replace(loaded, versions=example().versions), example())
    assert loaded.versions == {}
    assert loaded.unknown_names == []


@pytest.mark.parametrize(
    ("place", "name"),
    [("training", "step"), ("training", "plan"), ("training", "halved"), ("source", "sha256"), ("config", "model")],
)
def test_what_every_version_has_written_is_required(file: Path, place: str, name: str) -> None:
    with pytest.raises(DataError, match=name):
        checkpoints.load(rewritten(file, lambda metadata: metadata[place].pop(name)))
