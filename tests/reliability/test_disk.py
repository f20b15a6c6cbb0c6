"""Full and failing disks: every write, fsync and rename of a save fails in turn, and what was there can be loaded."""

import dataclasses
import errno
import io
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlstm.config import TextConfig
from charlstm.errors import InputOutputError
from charlstm.network.device import Device
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage import runs
from charlstm.storage.checkpoint import Checkpoint
from charlstm.storage.runs import Run
from charlstm.text import corpus as corpora
from charlstm.text.corpus import Corpus
from charlstm.training.loop import Plan, train
from charlstm.training.records import Evaluation, Finished, Unsaved
from charlstm.training.state import Training
from tests.storage.conftest import example
from tests.training.conftest import config


class Disk:
    """Counts what a save asks of the disk, and fails from the `first` such request to the `last`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trace: list[str] = []
        self.failing = range(0)
        self.number = errno.ENOSPC
        fsync, replace, opened = os.fsync, Path.replace, Path.open
        disk = self

        def ask(what: str) -> None:
            disk.trace.append(what)
            if len(disk.trace) - 1 in disk.failing:
                raise OSError(disk.number, os.strerror(disk.number))

        def failing_fsync(descriptor: int) -> None:
            ask("fsync folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "fsync file")
            fsync(descriptor)

        def failing_replace(self: Path, target: Path) -> Path:
            ask("rename")
            return replace(self, target)

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                ask("write")
                return super().write(data)

        def failing_open(self: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
            return File(self, mode[0]) if mode in {"xb", "ab"} else opened(self, mode, *args, **options)

        monkeypatch.setattr(os, "fsync", failing_fsync)
        monkeypatch.setattr(Path, "replace", failing_replace)
        monkeypatch.setattr(Path, "open", failing_open)

    def fail(self, first: int, last: int, number: int = errno.ENOSPC) -> None:
        self.trace, self.failing, self.number = [], range(first, last), number


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(runs, "_PAUSES", (0, 0))
    return Disk(monkeypatch)


def generation(step: int) -> Checkpoint:
    good = example()
    assert good.training is not None
    tensors = {name: np.full_like(tensor, step) for name, tensor in good.tensors.items()}
    return dataclasses.replace(good, step=step, tensors=tensors, training=dataclasses.replace(good.training, step=step))


def step_of(path: Path) -> int:
    return checkpoints.load(path).step


SAVE = ["write", "fsync file", "rename", "fsync folder"]
APPEND = ["write", "fsync file"]
KEEPING = ["write", "fsync file", "rename", "rename", "fsync folder"]


def row(step: int) -> list[dict[str, int]]:
    return [{"step": step}]


def test_the_order_of_a_save(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path)
    run.save(generation(1), generation(1), row(1))
    assert disk.trace == [*SAVE, *APPEND, *SAVE]  # best, metrics, last
    disk.fail(0, 0)
    run.save(generation(2))
    assert disk.trace == KEEPING
    assert (step_of(run.best), step_of(run.last), step_of(run.previous)) == (1, 2, 1)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("best", [False, True])
def test_whatever_fails_what_was_there_can_be_loaded(
    tmp_path: Path, disk: Disk, survived: Counter[str], number: int, best: bool
) -> None:
    for at in range(len([*SAVE, *APPEND, *KEEPING]) if best else len([*APPEND, *KEEPING])):
        run = Run(tmp_path / str(at))
        run.folder.mkdir()
        run.save(generation(1), generation(1), row(1))
        run.save(generation(2), None, row(2))
        rows: list[dict[str, Any]] = [{"step": 3}]
        disk.fail(at, 1000, number)
        with pytest.raises(InputOutputError, match=os.strerror(number).lower()):
            run.save(generation(3), generation(3) if best else None, rows)
        state, _ = run.load_last()
        assert state.step in {2, 3}
        assert (state.step == 3) == (step_of(run.last) == 3 if run.last.exists() else False)
        assert step_of(run.best) in {1, 3}
        assert sorted(file.name for file in run.folder.iterdir() if file.name.endswith(".tmp")) == []
        # The disk is well again.
        disk.fail(0, 0)
        run.save(generation(4), generation(4) if best else None, rows)
        assert run.load_last()[0].step == 4
        assert [it["step"] for it in run.read_metrics()] == [1, 2, 3]
        survived[f"{errno.errorcode[number]} in every step of a save"] += 1


@pytest.mark.parametrize("failures", [1, 2])
def test_what_fails_once_or_twice_is_tried_again(tmp_path: Path, disk: Disk, failures: int) -> None:
    run = Run(tmp_path)
    run.save(generation(1))
    disk.fail(4, 4 + failures)  # after the best weights are written
    run.save(generation(2), generation(2), row(2))
    assert (step_of(run.last), step_of(run.best), step_of(run.previous)) == (2, 2, 1)
    assert [it["step"] for it in run.read_metrics()] == [2]


@pytest.fixture
def small(text: str, tmp_path: Path) -> Corpus:
    (tmp_path / "corpus.txt").write_text(text[:3000], encoding="utf-8", newline="")
    return corpora.load([str(tmp_path / "corpus.txt")], [], TextConfig())


def started(small: Corpus, folder: Path) -> tuple[Training, Run]:
    run = Run(folder)
    run.create(0)
    return Training(config(), small, Device("cpu", "fp32")), run


def test_training_goes_on_while_the_disk_is_full(small: Corpus, tmp_path: Path, disk: Disk) -> None:
    training, whole = started(small, tmp_path / "whole")
    list(train(training, small, whole, Plan.of_steps(12, 3)))
    training, run = started(small, tmp_path / "run")
    unsaved, improved = [], []
    for record in train(training, small, run, Plan.of_steps(12, 3)):
        if isinstance(record, Unsaved):
            unsaved.append(record.step)
        if isinstance(record, Evaluation):
            improved.append((record.step, record.improved))
            disk.fail(0, 1000 if record.step in {3, 6} else 0)  # full from after step 3 to step 9
    assert unsaved == [6, 9]
    assert isinstance(record, Finished)
    assert record.reason == "done"
    best = max(step for step, better in improved if better)
    assert step_of(run.best) == best
    for name in ("best", "last"):
        one, other = (checkpoints.load(getattr(it, name)) for it in (run, whole))
        assert all(np.array_equal(one.tensors[key], other.tensors[key]) for key in other.tensors)
    assert [row["step"] for row in run.read_metrics()] == [3, 6, 9, 12]


def test_the_last_save_must_succeed(small: Corpus, tmp_path: Path, disk: Disk) -> None:
    training, run = started(small, tmp_path / "run")
    records = train(training, small, run, Plan.of_steps(6, 3))
    with pytest.raises(InputOutputError, match="no space left"):
        for record in records:
            if isinstance(record, Evaluation):
                disk.fail(0, 1000)
    assert run.load_last()[0].step == 3


def test_a_run_begins_only_where_there_is_room(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="MB more than is available; free some space"):
        Run(tmp_path / "r").create(1 << 60)


def _device(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to(path.parent / "target")


@pytest.mark.parametrize("make", [_device, _link, Path.mkdir])
def test_only_regular_files_are_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "target").write_bytes(b"mine")
    make(tmp_path / "last.safetensors")
    with pytest.raises(InputOutputError, match="will not be overwritten"):
        checkpoints.save(tmp_path / "last.safetensors", example())
    assert (tmp_path / "target").read_bytes() == b"mine"
    assert not list(tmp_path.glob(".*"))


def test_what_a_killed_save_has_left_is_removed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.save(generation(1))
    (tmp_path / ".last.safetensors.123.tmp").write_bytes(b"half")
    run.make_room(0)
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_generation_is_skipped_and_never_kept(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path)
    run.save(generation(1))
    run.save(generation(2))
    run.last.write_bytes(run.last.read_bytes()[:-1])
    state, damaged = run.load_last()
    assert state.step == 1
    assert "last.safetensors" in str(damaged)
    run.drop_damaged()
    assert step_of(run.last) == 1
    disk.fail(0, 1000)
    with pytest.raises(InputOutputError):
        run.save(generation(3))
    assert run.load_last()[0].step == 1
