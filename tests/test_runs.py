import json
import os
from pathlib import Path

import pytest

from charlstm import runs
from charlstm.errors import InputOutputError, UsageError
from charlstm.runs import Run


def make(folder: Path, *names: str, mtime: float = 0) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (mtime, mtime))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "checkpoints" / "old", "best.safetensors", mtime=1)
    make(tmp_path / "checkpoints" / "new", "best.safetensors", "last.safetensors", mtime=2)
    make(tmp_path / "checkpoints" / "begun", "last.safetensors", mtime=1)
    (tmp_path / "checkpoints" / "empty").mkdir()
    return Path("checkpoints")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (None, "checkpoints/new/best.safetensors"),
        ("old", "checkpoints/old/best.safetensors"),
        ("begun", "checkpoints/begun/last.safetensors"),
        ("checkpoints/old", "checkpoints/old/best.safetensors"),
        ("checkpoints/new/last.safetensors", "checkpoints/new/last.safetensors"),
        ("nothing", "nothing"),
    ],
)
def test_find(root: Path, name: str | None, file: str) -> None:
    assert runs.find(name, root) == Path(file)


def test_without_a_run_the_pretrained_model_is_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clone = tmp_path / "clone"
    make(clone / "checkpoints" / "shakespeare", "best.safetensors", mtime=1)
    make(clone / "checkpoints" / "trained-there", "best.safetensors", mtime=2)
    monkeypatch.setattr(runs, "__file__", str(clone / "charlstm" / "runs.py"))
    assert runs.find(None) == runs.find("shakespeare") == clone / "checkpoints" / "shakespeare" / "best.safetensors"
    assert runs.find("trained-there") == Path("trained-there")
    (clone / "checkpoints" / "shakespeare" / "best.safetensors").unlink()
    with pytest.raises(InputOutputError, match="charlstm train"):
        runs.find(None)


def test_a_model_comes_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert runs.find(None).parts[-2:] == ("shakespeare", "best.safetensors")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0"])
def test_a_name_is_a_plain_name(name: str) -> None:
    with pytest.raises(UsageError, match="plain name"):
        runs.named(name)


def test_metrics_are_cut_to_a_step(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for step in (10, 20, 30):
        run.append_metrics({"step": step})
    with run.metrics.open("a") as file:
        file.write('{"step": 4')  # a kill cut it off
    run.cut_metrics(20)
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [10, 20]
    run.append_metrics({"step": 30})
    assert [row["step"] for row in run.read_metrics()] == [10, 20, 30]


def test_create_takes_away_an_earlier_run_but_nothing_else(tmp_path: Path) -> None:
    make(tmp_path / "r", "best.safetensors", "previous.safetensors", "notes.txt")
    Run(tmp_path / "r").create()
    assert sorted(file.name for file in (tmp_path / "r").iterdir()) == ["metrics.jsonl", "notes.txt"]
