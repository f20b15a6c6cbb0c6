"""`sample --interactive` on a real terminal: what a person sees and types, driven by what is printed."""

import codecs
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Command

termios = pytest.importorskip("termios", reason="this system has no pseudo-terminals")
pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
pytest.importorskip("readline", reason="this Python has no readline")

# The terminal is made the process's own, so that Ctrl-C comes as a signal.
MAIN = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from charlstm.__main__ import main; main()"
PATIENCE = 60  # seconds after which a test fails
PROMPT = "> "


class Terminal:
    """A process at a terminal."""

    def __init__(self, *arguments: str, stdout: int | None = None) -> None:
        self._ours, theirs = pty.openpty()
        attributes = termios.tcgetattr(theirs)
        attributes[3] |= termios.NOFLSH  # or Ctrl-C would throw away what was written and is not read yet
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        environment = os.environ | {"TERM": "vt100", "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "sample", *arguments],
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            start_new_session=True,
            env=environment,
        )
        os.close(theirs)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._unread = ""

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def type_at_rest(self, keys: str) -> None:
        """Type when the process waits for it: readline takes no notice of a signal just before it begins to wait."""
        state = Path(f"/proc/{self.process.pid}/stat")
        deadline = time.monotonic() + PATIENCE
        while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline
        self.type(keys)

    def until(self, words: str) -> str:
        """Return what is shown up to these words, and with them."""
        deadline = time.monotonic() + PATIENCE
        while words not in self._unread:
            assert self._read(deadline), f"no {words!r} in {self._unread[-2000:]!r}"
        at = self._unread.index(words) + len(words)
        shown, self._unread = self._unread[:at], self._unread[at:]
        return shown

    def rest(self) -> tuple[int, str]:
        """Return the exit code and what is still shown."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE), self._unread

    def _read(self, deadline: float) -> bool:
        """Take in what is shown; return whether anything came before the process's end and the deadline."""
        if not select.select([self._ours], [], [], max(0, deadline - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:  # Linux's way of telling that nobody is at the other end
            return False
        self._unread += self._decoder.decode(data).replace("\r", "")
        self._unread = re.sub(r"\x1b\[\?2004[hl]", "", self._unread)  # about pasting
        return data != b""

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(charlstm: Command) -> Iterator["type[Terminal]"]:
    opened: list[Terminal] = []

    class Here(Terminal):
        def __init__(self, *arguments: str, stdout: int | None = None) -> None:
            super().__init__("shakespeare", "--interactive", "--seed=1", "--temperature=0", *arguments, stdout=stdout)
            opened.append(self)

    yield Here
    for each in opened:
        each.close()


def greedy(charlstm: Command, prompt: str, length: int) -> str:
    """Return what the model writes after a prompt, without it."""
    return charlstm("sample", "shakespeare", "--prompt", prompt, f"--length={length}", "--temperature=0").out[
        len(prompt) :
    ]


def test_a_line_is_edited_and_comes_back(terminal: type[Terminal], charlstm: Command) -> None:
    """The arrow keys go through the line, and to the line before."""
    person = terminal("--length=8")
    assert "Ctrl-D" in person.until(PROMPT)
    person.type("RMEO:\x1b[D\x1b[D\x1b[D\x1b[DO\n")  # left, to between R and M
    person.until("\n")
    assert person.until(PROMPT).removesuffix("\n" + PROMPT) == greedy(charlstm, "ROMEO:", 8)[:8]
    person.type("\x1b[A\n")  # up
    assert "ROMEO:" in person.until("\n")
    person.until(PROMPT)
    person.type("\x04")
    assert person.rest() == (0, "\n")


def test_ctrl_c_ends_a_text_and_not_the_conversation(terminal: type[Terminal], charlstm: Command) -> None:
    """What goes on is what was written, to the character."""
    person = terminal("--length=1000000")
    person.until(PROMPT)
    person.type("ROMEO:\n")
    person.until("\n")
    first = person.until(greedy(charlstm, "ROMEO:", 20)[:20])
    person.type("\x03")
    first += person.until("\n" + PROMPT).removesuffix("\n" + PROMPT)
    person.type("\n")  # goes on
    person.until("\n")
    second = person.until(greedy(charlstm, "ROMEO:", len(first) + 20)[len(first) :][:15])
    person.type("\x03")
    second += person.until("\n" + PROMPT).removesuffix("\n" + PROMPT)
    whole = (first + second).replace("^C", "")
    assert len(first) > 20
    assert whole == greedy(charlstm, "ROMEO:", len(whole))[: len(whole)]
    person.type("\x04")
    assert person.rest()[0] == 0


def test_ctrl_c_at_the_prompt_clears_the_line_and_ends_when_nothing_is_typed(terminal: type[Terminal]) -> None:
    person = terminal("--length=3")
    person.until(PROMPT)
    for line in ("\N{SNOWMAN} and more", "any number of times"):  # the model knows no snowman
        person.type(line)
        person.until(line[-4:])
        person.type_at_rest("\x03")
        assert "Ctrl-C again" in person.until(PROMPT)
    person.type("ROMEO:\n")
    person.until("\n")
    assert "never seen" not in person.until(PROMPT)
    person.type_at_rest("\x03")
    assert "Ctrl-C again" in person.until(PROMPT)
    person.type_at_rest("\x03")
    assert person.rest()[0] == 130


def test_where_the_text_goes_to_a_file_the_prompt_does_not(
    terminal: type[Terminal], charlstm: Command, tmp_path: Path
) -> None:
    with (tmp_path / "out.txt").open("w") as file:
        person = terminal("--length=8", stdout=file.fileno())
        person.until(PROMPT)
        person.type("ROMEO:\n")
        person.until("ROMEO:\n" + PROMPT)
        person.type("\x04")
        assert person.rest()[0] == 0
    assert (tmp_path / "out.txt").read_text() == greedy(charlstm, "ROMEO:", 8)[:8] + "\n"
