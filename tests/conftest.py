"""Real text that every Python carries, and small runs trained on it."""

import contextlib
import io
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics

import pytest
from hypothesis import settings

from charlstm.network.threads import wait_politely

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell has started these tests in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
wait_politely()  # before torch is loaded: so that these tests take no multiple of their time beside another program

from charlstm.cli import run  # noqa: E402
from charlstm.network.cells import CELLS  # noqa: E402
from charlstm.network.device import has_bf16, use_threads  # noqa: E402
from charlstm.text.cache import Cache  # noqa: E402
from charlstm.text.tokenizer import CharTokenizer  # noqa: E402

# No promise about a machine's speed, nor about its load.
settings.register_profile("charlstm", deadline=None)
settings.load_profile("charlstm")

NEEDS_BF16 = pytest.mark.skipif(not has_bf16("cpu"), reason="this processor has no bf16")
CELLS_AND_PRECISIONS = [
    # The other cells' products are computed in bf16 on any processor; torch's LSTM kernel needs one that has it.
    pytest.param(cell, precision, marks=NEEDS_BF16 if (cell, precision) == ("lstm", "bf16") else ())
    for cell in CELLS
    for precision in ("fp32", "bf16")
]


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep prepared corpora out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patched:
        folder = str(tmp_path_factory.mktemp("cache"))
        patched.setenv("CHARLSTM_CACHE", folder)
        patched.setenv("XDG_CACHE_HOME", folder)
        yield


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Begin in one thread, which is the fastest for networks as small as these, whatever the test before has set."""
    use_threads(1)
    yield


def empty(folder: Path) -> Cache:
    """Return an empty cache for one of many examples: whenever it stores something it looks at all that it has."""
    cache = Cache(folder / "cache")
    cache.clear()
    return cache


def fitted(text: str, min_count: int = 1, *, framed: bool = False) -> CharTokenizer:
    """Return the tokenizer of the characters that occur in `text` at least `min_count` times."""
    known = [character for character, count in Counter(text).items() if count >= min_count]
    return CharTokenizer(sorted(known), framed=framed)


@pytest.fixture(scope="session")
def text() -> str:
    """The language reference, about 465,000 characters."""
    return "\n".join(topics[name] for name in sorted(topics))


@pytest.fixture
def charlstm(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command line in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return command


SMALL = [  # in one thread: with more, networks as small as this take the processor's time for waiting
    *("--threads=1", "--hidden-size=48", "--embedding-size=16", "--batch-size=8", "--seq-length=24"),
    *("--precision=fp32", "--evaluations=2", "--seed=3"),
]


@pytest.fixture(scope="session")
def trained(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run on the first 40,000 characters, whose corpus lies beside it."""
    root = tmp_path_factory.mktemp("trained")
    corpus = root / "reference.txt"
    corpus.write_text(text[:40_000], encoding="utf-8", newline="")
    code = run(["train", str(corpus), "--checkpoints", str(root / "checkpoints"), "--steps=120", *SMALL])
    assert code == 0
    return root / "checkpoints" / "reference"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have standard output be a terminal."""
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", _Terminal())
        yield
