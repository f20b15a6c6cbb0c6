"""Where pictures are drawn: colours on a terminal, digits elsewhere, and no more columns than there are."""

import contextlib
import io
import re

import pytest

from charlstm.errors import UsageError
from charlstm.show import colours
from charlstm.show.canvas import Canvas, Tile
from charlstm.show.colours import SIGNED, UNSIGNED
from charlstm.show.terminal import Output
from tests.show.test_terminal import Terminal

TILES = [Tile("a", 1, -1.0), Tile("漢", 2, 0.0), Tile("b", 1, 1.0, underlined=True), Tile("c", 1, None)]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Stdout is a terminal with all colours."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "60", "LINES": "25"}.items():
        monkeypatch.setenv(name, value)
    return Terminal()


def drawing_on(stream: io.StringIO, *, svg: bool = False) -> Canvas:
    with contextlib.redirect_stdout(stream):
        return Canvas(Output(), svg=svg)


def drawn(stream: io.StringIO) -> Canvas:
    canvas = drawing_on(stream)
    canvas.letters(("c ", "dim"), TILES, SIGNED)
    canvas.values(("f ", "dim"), TILES, UNSIGNED)
    return canvas


def test_colours_on_a_terminal(terminal: Terminal) -> None:
    assert drawn(terminal).coloured
    assert terminal.lines == ["c a漢bc", "f      "]
    for value in (-1.0, 0.0, 1.0):
        red, green, blue = SIGNED.colour(value)
        ink = ";".join(map(str, colours.ink((red, green, blue))))
        assert f"38;2;{ink};48;2;{red};{green};{blue}m" in terminal.getvalue()
    assert "\x1b[4;" in terminal.getvalue()  # underlined


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_digits_where_there_are_no_colours(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert not drawn(terminal).coloured
    assert "\x1b[" not in terminal.getvalue()
    assert terminal.getvalue().splitlines() == ["  a漢bc", "c 05 9", "f 00 9"]


def test_digits_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("COLUMNS", raising=False)
    pipe = io.StringIO()
    assert drawn(pipe).width == 80
    assert pipe.getvalue().splitlines() == ["  a漢bc", "c 05 9", "f 00 9"]


def test_fewer_colours(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORTERM")
    assert drawn(terminal).coloured
    assert "48;5;" in terminal.getvalue()
    assert "48;2;" not in terminal.getvalue()


def test_what_a_scale_means(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    drawing_on(terminal).scale(SIGNED, "tanh(c)", "-1", "+1")
    assert terminal.lines == ["tanh(c): -1 " + " " * 11 + " +1"]
    monkeypatch.setenv("NO_COLOR", "1")
    drawing_on(terminal).scale(SIGNED, "tanh(c)", "-1", "+1")
    assert terminal.lines[1:] == ["tanh(c): 0 is -1, 9 is +1"]


def test_a_window_that_is_too_narrow(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "19")
    with pytest.raises(UsageError, match=r"19 columns.* 20 or more"):
        drawing_on(terminal)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("plain", [True, False])
def test_svg_has_the_colours_wherever_stdout_goes(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    if plain:
        monkeypatch.setenv("NO_COLOR", "1")
    canvas = drawing_on(terminal, svg=True)
    canvas.letters(("c ", ""), [Tile("<b>&\x00"[:1], 1, -1.0), Tile("x", 1, 1.0)], SIGNED)
    svg = canvas.svg("<title> & more")
    for value in (-1, 1):
        assert "#{:02x}{:02x}{:02x}".format(*SIGNED.colour(value)) in svg
    assert "&lt;" in svg
    assert re.search(r"&lt;title&gt;\s*&amp;|&lt;title&gt;&#160;&amp;", svg)
    assert svg.startswith("<svg")
    assert "font-face" not in svg
    assert "url(http" not in svg.replace('"', "")
    assert "Fira Code, monospace" in svg
