import dataclasses
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from charlstm.errors import DataError, InputOutputError
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage import header as headers
from tests.storage.conftest import example, rewritten


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
        ({"optimizer.exp_avg_sq.output.bias": -np.ones(5, np.float32)}, "negative squares"),
        ({"extra": np.ones(1, np.float32)}, "tensors"),
    ],
)
def test_tensors_must_be_the_models(tmp_path: Path, change: dict[str, np.ndarray], words: str) -> None:
    # A file whose hash is right all the same: somebody made it so.
    checkpoints.save(tmp_path / "x", dataclasses.replace(example(), tensors={**example().tensors, **change}))
    with pytest.raises(DataError, match=words):
        checkpoints.load(tmp_path / "x")


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "LEAST", 100)
    with pytest.raises(DataError, match="vocabulary of 5 is too large"):
        checkpoints.save(tmp_path / "x", example())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "name"),
    [("training", "step"), ("training", "plan"), ("training", "halved"), ("source", "sha256"), ("config", "model")],
)
def test_what_every_version_has_written_is_required(file: Path, place: str, name: str) -> None:
    with pytest.raises(DataError, match=name):
        checkpoints.load(rewritten(file, lambda metadata: metadata[place].pop(name)))
