"""SIGINT, SIGTERM and SIGHUP at any instant: the state is saved, the exit code says which it was, and at once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from charlstm.cli.stop import Stop
from charlstm.storage.runs import Run
from tests.conftest import Command
from tests.reliability.conftest import SMALL, Start, outcome, times

pytestmark = pytest.mark.slow

LONGEST = 5.0  # seconds from the signal to the exit: what is promised, on any machine


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends(
    start: Start,
    corpus: Path,
    tmp_path: Path,
    undisturbed: Callable[[], float],
    survived: Counter[str],
    figures: dict[str, str],
    number: signal.Signals,
) -> None:
    source = random.Random(number)
    command = ["train", corpus.name, *SMALL]
    lifetime = undisturbed()
    whole = outcome(Run(tmp_path / "checkpoints" / "whole"))
    slowest = 0.0
    for attempt in range(times(3, 50)):
        run = Run(tmp_path / "checkpoints" / f"stopped-{attempt}")
        child = start(*command, f"--name={run.folder.name}")
        child.process.join(source.random() * lifetime)
        assert child.process.pid is not None
        if child.process.is_alive():
            os.kill(child.process.pid, number)
        sent = time.monotonic()
        code = child.wait()
        slowest = max(slowest, time.monotonic() - sent)
        if code == -number:  # it came before the command: there was nobody to take it, and nothing to save
            assert not run.folder.exists()
            continue
        assert code in {128 + number, 0}, child.stderr.read_text()
        assert slowest < LONGEST
        assert not list(run.folder.glob("*.tmp"))
        if code and run.last.exists():
            run.load_last()
            assert start("train", "--resume", f"--name={run.folder.name}").wait() in {0, 2}
        if run.last.exists():
            assert outcome(run) == whole
        survived[f"{number.name}s, answered in time, resumed bit-identical"] += 1
    figures[f"longest time from {number.name} to the exit"] = f"{slowest:.2f} s"


def test_a_closed_terminal_is_a_signal_like_the_others(start: Start, corpus: Path, tmp_path: Path) -> None:
    child = start("train", corpus.name, *SMALL, "--steps=100000", "--name=hung")
    for _ in range(8):
        child.news.recv()  # some saves: the run is on its way
    assert child.process.pid is not None
    os.kill(child.process.pid, signal.SIGHUP)
    assert child.wait() == 128 + signal.SIGHUP
    state, damaged = Run(tmp_path / "checkpoints" / "hung").load_last()
    assert state.step > 0
    assert damaged is None


def test_under_nohup_a_closed_terminal_is_none() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_reading_and_calibration_end_at_once_and_leave_nothing(start: Start, text: str, tmp_path: Path) -> None:
    (tmp_path / "large.txt").write_text(text * 40, encoding="utf-8", newline="")
    source = random.Random(4)
    for _ in range(times(2, 10)):
        child = start("train", "large.txt", "--time=10m", "--threads=1", "--cache=cache")
        child.process.join(0.02 + source.random())
        assert child.process.pid is not None
        os.kill(child.process.pid, signal.SIGTERM)
        assert child.wait() == 143
        assert not Run(tmp_path / "checkpoints" / "large").exists()
        assert not list((tmp_path / "cache").glob(".unfinished-*"))


def test_a_terminal_that_has_gone_ends_no_run(tmp_path: Path, corpus: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # whatever is written to stderr fails
    done = subprocess.run(
        [sys.executable, "-m", "charlstm", "train", corpus.name, *SMALL, "--steps=60", "--save-every=10m"],
        cwd=tmp_path,
        stderr=writer,
        check=False,
    )
    os.close(writer)
    assert done.returncode == 0
    assert outcome(Run(tmp_path / "checkpoints" / "corpus"))["steps"][0] == 60


def test_a_run_is_trained_by_one_process(start: Start, corpus: Path, charlstm: Command) -> None:
    child = start("train", corpus.name, *SMALL, "--steps=100000", "--name=mine")
    for _ in range(8):
        child.news.recv()
    for arguments in (["--resume"], ["--force", "--steps=1"]):
        refused = charlstm("train", corpus.name, "--name=mine", *arguments)
        assert refused.code == 2
        assert "another process is training this run" in refused.err
    child.kill()
    assert charlstm("train", "--name=mine", "--resume", "--steps=1").code in {0, 2}  # a dead process's lock is none


def test_a_damaged_state_is_named_and_the_one_before_it_taken(
    start: Start, corpus: Path, tmp_path: Path, charlstm: Command
) -> None:
    assert start("train", corpus.name, *SMALL, "--steps=150", "--name=whole").wait() == 0
    child = start("train", corpus.name, *SMALL, "--steps=150", "--name=hurt")
    for _ in range(8):  # of the ten and more that a run makes
        child.news.recv()
    child.kill()
    run = Run(tmp_path / "checkpoints" / "hurt")
    if run.last.exists():  # the kill may have come between two names
        run.last.write_bytes(run.last.read_bytes()[:-100])
    resumed = charlstm("train", "--resume", "--name=hurt")
    assert resumed.code == 0
    assert "last.safetensors: " in resumed.err
    assert "going on from the state before it, step" in resumed.err
    assert outcome(run) == outcome(Run(tmp_path / "checkpoints" / "whole"))


def test_another_machine_is_warned_of(start: Start, corpus: Path, charlstm: Command) -> None:
    assert start("train", corpus.name, *SMALL, "--steps=20", "--name=short").wait() == 0
    resumed = charlstm("train", "--resume", "--name=short", "--steps=30", "--threads=2")
    assert resumed.code == 0
    assert "threads 2, but 1 before: the run goes on, equal up to rounding, not bit for bit" in resumed.err


def test_a_text_that_takes_longer_to_read_than_the_run_may_last(text: str, charlstm: Command) -> None:
    Path("large.txt").write_text(text * 20, encoding="utf-8", newline="")
    outcome = charlstm("train", "large.txt", "--time=0.001s")
    assert outcome.code == 2
    assert "--time 0.001s was over when" in outcome.err
    assert not Path("checkpoints").exists()
