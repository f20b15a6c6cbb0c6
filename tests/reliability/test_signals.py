"""SIGINT, SIGTERM and SIGHUP at any instant: the state is saved, the exit code says which it was, and at once."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from charlstm.runs import Run
from tests.reliability.conftest import SMALL, Start, outcome, times

pytestmark = pytest.mark.slow

LONGEST = 5.0  # seconds from the signal to the exit: what is promised, on any machine


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends(
    start: Start,
    corpus: Path,
    tmp_path: Path,
    lifetime: float,
    survived: Counter[str],
    figures: dict[str, str],
    number: signal.Signals,
) -> None:
    source = random.Random(number)
    command = ["train", corpus.name, *SMALL]
    whole = outcome(Run(tmp_path / "checkpoints" / "warm"))
    slowest = 0.0
    for attempt in range(times(5, 50)):
        run = Run(tmp_path / "checkpoints" / f"stopped-{attempt}")
        child = start(*command, f"--name={run.folder.name}")
        child.process.join(source.random() * lifetime)
        assert child.process.pid is not None
        if child.process.is_alive():
            os.kill(child.process.pid, number)
        sent = time.monotonic()
        code = child.wait()
        slowest = max(slowest, time.monotonic() - sent)
        assert code in {128 + number, 0}
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
