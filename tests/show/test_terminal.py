"""What a person sees: nothing hidden, nothing beyond the edge of a terminal, nothing broken in a pipe."""

import io
import json
import re

import pytest

from charlstm.cli import cli
from charlstm.show import characters
from charlstm.show import terminal as console
from tests.conftest import Command


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """What was written, without its styles."""
        return re.sub(r"\x1b\[[\d;]*m", "", self.getvalue()).splitlines()


MESSAGE = f"/home/{'x' * 70}/漢字 [bold]: is not there; put it back :smile: " + "or name another one " * 4 + "\u202e\n"


def test_a_terminal_breaks_messages_between_words(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for speak in (console.error, console.warn, console.say):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        speak(MESSAGE if speak is not console.say else MESSAGE.strip("\n"))
        assert len(terminal.lines) > 2
        said = " ".join(terminal.lines)
        assert MESSAGE.strip("\u202e\n").rstrip() in said  # no word is broken, no markup or emoji taken for one
        assert said.removesuffix("\u2424").endswith("\\u202e")
        assert all(characters.columns(line) <= width or "/home/" in line for line in terminal.lines)


def test_a_pipe_gets_every_message_whole(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # of styles, not of lines
    for speak, label in ((console.error, "error: "), (console.warn, "note: "), (console.say, "")):
        pipe = io.StringIO()
        monkeypatch.setattr("sys.stderr", pipe)
        speak(MESSAGE.strip())
        plain = re.sub(r"\x1b\[[\d;]*m", "", pipe.getvalue())
        assert plain == label + characters.printable(MESSAGE.strip()) + "\n"


ROWS = [("run", "checkpoints/run"), ("a longer name", "word " * 30), ("", "漢字" * 40), ("x", ""), ("y", "[red] :+1:")]


def test_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int) -> None:
    whole = ["run            checkpoints/run", f"a longer name  {('word ' * 30).rstrip()}", f"{'':<15}{'漢字' * 40}"]
    whole += ["x", "y              [red] :+1:"]
    console.table(ROWS)
    console.table(ROWS, result=True)
    assert [text.splitlines() for text in capsys.readouterr()] == [whole, whole]
    for stream in ("stdout", "stderr"):
        terminal = Terminal()
        monkeypatch.setattr(f"sys.{stream}", terminal)
        console.table(ROWS, result=stream == "stdout")
        assert all(characters.columns(line) <= width for line in terminal.lines)
        assert all(line == line.rstrip() for line in terminal.lines)
        assert "".join(terminal.lines).replace(" ", "") == "".join(whole).replace(" ", "")
        assert len(terminal.lines) > len(whole)


def test_json_obeys_no_terminal_and_stays_json(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"text": "a\x1b\x9b\x7f\u202e\U000e0041\udc80漢"}
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stdout", stream)
        console.Output().json(row)
        assert json.loads(stream.getvalue()) == {"schema": 1} | row
        assert characters.printable(stream.getvalue()) == stream.getvalue()
        assert "漢" in stream.getvalue()


@pytest.mark.parametrize("columns", ["60", "80"])
def test_help_cuts_no_summary(charlstm: Command, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    shown = charlstm("--help").out
    summaries = shown.partition("Commands:\n")[2].splitlines()
    assert len(summaries) == len(cli.commands)  # one line each
    assert all(line.endswith(".") and "..." not in line for line in summaries)
    assert max(map(len, shown.splitlines())) < int(columns)
