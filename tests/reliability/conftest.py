"""What the reliability tests share: how often each disaster strikes, small runs to strike at, and what was survived.

`make torture` sets CHARLSTM_TORTURE, which takes the full counts.
"""

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charlstm.storage import checkpoint as checkpoints
from charlstm.storage.runs import Run
from tests import children
from tests.children import Child

FULL = "CHARLSTM_TORTURE" in os.environ
_survived: Counter[str] = Counter()
_figures: dict[str, str] = {}


def times(few: int, many: int) -> int:
    """Return how often to try: `few` times in CI, `many` in `make torture`."""
    return many if FULL else few


@pytest.fixture
def survived() -> Counter[str]:
    """What is counted for the table at the end."""
    return _survived


@pytest.fixture
def figures() -> dict[str, str]:
    """Further lines of that table."""
    return _figures


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _survived:
        return
    terminalreporter.section("survived")
    for what, count in _survived.items():
        terminalreporter.write_line(f"{count:>7,}  {what}")
    for what, figure in _figures.items():
        terminalreporter.write_line(f"{figure:>7}  {what}")


Start = Callable[..., Child]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command line in a process of its own, in this test's folder."""
    started: list[Child] = []

    def one(*arguments: object) -> Child:
        child = children.begin(tmp_path, arguments)
        started.append(child)
        assert child.news.recv() == "begun"
        return child

    yield one
    for child in started:
        child.kill()
        child.news.close()


@pytest.fixture(scope="session")
def warm(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A first run in a process of its own: the others begin faster."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "corpus.txt").write_text(text[:6_000], encoding="utf-8", newline="")
    assert children.begin(folder, ["train", "corpus.txt", *SMALL, "--steps=1"]).wait() == 0


@pytest.fixture
def undisturbed(warm: None, start: Start, corpus: Path) -> Callable[..., float]:
    """Train SMALL, named `whole`, with further options; return the seconds that it takes."""

    def train(*options: str) -> float:
        began = time.monotonic()
        assert start("train", corpus.name, *SMALL, *options, "--name=whole").wait() == 0
        return time.monotonic() - began

    return train


@pytest.fixture
def corpus(text: str, tmp_path: Path) -> Path:
    """A short text."""
    path = tmp_path / "corpus.txt"
    path.write_text(text[:6_000], encoding="utf-8", newline="")
    return path


SMALL = [
    *("--hidden-size=16", "--embedding-size=8", "--num-layers=2", "--batch-size=4", "--seq-length=12"),
    *("--precision=fp32", "--threads=1", "--steps=100", "--evaluations=4", "--save-every=0.05s"),
    *("--dropout=0.2", "--recurrent-dropout=0.1"),
]


def outcome(run: Run) -> dict[str, Any]:
    """Return all that a finished run has to show, to the bit, but the seconds it took."""
    last, best = checkpoints.load(run.last), checkpoints.load(run.best)
    assert last.training is not None
    return {
        "tensors": {name: tensor.tobytes() for name, tensor in last.tensors.items()},
        "best": {name: tensor.tobytes() for name, tensor in best.tensors.items()},
        "steps": (last.step, best.step, best.val_loss),
        "training": dataclasses.replace(last.training, seconds=0),
        "metrics": [row | {"seconds": 0} for row in run.read_metrics()],
    }
