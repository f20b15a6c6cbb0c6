"""Ctrl-C at every moment of a command's life, from its first import to its last: code 130, and nothing to read.

Each attempt is a fork of a bare Python, which sends itself the signal when it has loaded so many modules, or called so
many functions: no attempt depends on the clock.
"""

import ast
import contextlib
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.reliability.conftest import times

pytestmark = pytest.mark.slow

ATTEMPTS = """
import os, sys

def attempt(by, at, arguments):
    "Run the command line; interrupt it at the `at`-th event."
    sys.argv = ["charlstm", *arguments]
    left = at
    def count(event, *_):
        nonlocal left
        if event in ("import", "call"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), 2)
    if by == "import":
        sys.addaudithook(count)
    else:
        sys.setprofile(lambda frame, event, _: count(event))
    from charlstm.__main__ import main
    main()

by, first, step, most, *arguments = sys.argv[1:]
for at in range(int(first), int(first) + int(step) * int(most), int(step)):
    told = open("told", "w+")
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(told.fileno(), 2)
        attempt(by, at, arguments)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    told.seek(0)
    print(repr([at, code, told.read()]))
    if code == 0:
        break
"""


def attempts(
    by: str, first: int, step: int, most: int, arguments: list[str], folder: Path
) -> list[tuple[int, int, str]]:
    """Return the event, the exit code and what was said on stderr of each attempt, up to one that came too late."""
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, by, str(first), str(step), str(most), *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    return [tuple(ast.literal_eval(line)) for line in done.stdout.splitlines()]


def require_quiet(found: list[tuple[int, int, str]], survived: Counter[str], what: str) -> None:
    for at, code, err in found:
        said = [line for line in err.splitlines() if line and not line.startswith(("reading ", "measuring "))]
        assert (code, said) == (130, []), f"at {what} {at}"
        survived[f"interrupts, answered in silence, at the {what}"] += 1


def test_while_modules_are_loaded(tmp_path: Path, survived: Counter[str]) -> None:
    # The first two are the package and `__main__`: before them there is nothing of ours to take the signal.
    found = attempts("import", 3, times(9, 1), 10_000, ["--help"], tmp_path)
    *interrupted, (_, code, err) = found
    assert (code, err) == (0, "")  # it ended before so many modules were loaded
    assert len(interrupted) >= 10
    require_quiet(interrupted, survived, "import")


def test_while_functions_are_called(tmp_path: Path, survived: Counter[str]) -> None:
    found = attempts("call", 400, times(2903, 101), 10_000, ["--help"], tmp_path)
    *interrupted, (_, code, err) = found
    assert (code, err) == (0, "")
    assert len(interrupted) >= 5
    require_quiet(interrupted, survived, "call of a function")


@pytest.mark.parametrize("first", [310, 700, 1100])
def test_while_torch_is_loaded(tmp_path: Path, trained: Path, survived: Counter[str], first: int) -> None:
    arguments = ["eval", str(trained)]
    found = attempts("import", first, times(1000, 7), times(1, 50), arguments, tmp_path)
    if len(found) > 1 and found[-1][1:] == (0, ""):  # it ended before so many modules were loaded
        found.pop()
    require_quiet(found, survived, "import of eval")


@pytest.mark.parametrize("first", [400, 900])
def test_a_run_that_has_not_begun_leaves_nothing(
    tmp_path: Path, corpus: Path, survived: Counter[str], first: int
) -> None:
    arguments = ["train", corpus.name, "--steps=3", "--hidden-size=8"]
    for at in range(first, first + times(1, 300), 37):
        found = attempts("import", at, 1, 1, arguments, tmp_path)
        # It says what it does in the meantime.
        quiet = [(at, code, re.sub("^(reading|measuring) .*$", "", err, flags=re.MULTILINE)) for at, code, err in found]
        require_quiet(quiet, survived, "import of train")
        assert not (tmp_path / "checkpoints").exists()


def test_an_error_that_was_made_of_an_interrupt_is_one(charlstm: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise SystemError("compiled code was interrupted")  # noqa: B904

    monkeypatch.setattr("charlstm.storage.checkpoint.load", interrupted)
    outcome = charlstm("info", "shakespeare")
    assert (outcome.code, outcome.err) == (130, "")


def test_an_error_after_an_interrupt_is_told(charlstm: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError("once")

    monkeypatch.setattr("charlstm.storage.checkpoint.load", failing)
    outcome = charlstm("info", "shakespeare")
    assert outcome.code == 1
    assert "ZeroDivisionError: once; this is a bug" in outcome.err
