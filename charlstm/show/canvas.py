"""Where pictures are drawn: in colours on a terminal, with digits in a pipe, and in an SVG file beside either of them.

A picture is made of lines of tiles. A tile is what one character of a text looks like, and a value that gives it its
colour. Where there are no colours, a row of digits under the text tells the values.
"""

import io
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from charlstm.errors import UsageError
from charlstm.show import colours
from charlstm.show.characters import left, wrapped
from charlstm.show.colours import Scale
from charlstm.show.terminal import Output, draw

if TYPE_CHECKING:
    from rich.console import Console

NARROWEST = 20  # columns
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # the text is drawn in the reader's own, of the same width
_PIPE = 80  # columns where there is no terminal

Part = tuple[str, str]
"""A text and its style, as rich writes styles."""


@dataclass(frozen=True)
class Tile:
    """A character in a picture."""

    shown: str
    """What is drawn: printable, perhaps more than one column wide."""
    width: int
    """In columns."""
    value: float | None
    """What gives it its colour; None leaves it as it is."""
    underlined: bool = False


class Surface(Protocol):
    """One of the places in which a picture is drawn."""

    def words(self, parts: Sequence[Part]) -> None:
        """Draw a line of words."""

    def letters(self, head: Part, tiles: Sequence[Tile], scale: Scale) -> None:
        """Draw a line of the text with its values."""

    def values(self, head: Part, tiles: Sequence[Tile], scale: Scale) -> None:
        """Draw a row of values alone."""


class Coloured:
    """Colours, through rich."""

    def __init__(self, console: "Console") -> None:
        """Take the console that turns styles into colours."""
        self.console = console
        self._few = console.color_system == "256"

    def words(self, parts: Sequence[Part]) -> None:
        """Draw a line of words."""
        draw(self.console, *parts)

    def letters(self, head: Part, tiles: Sequence[Tile], scale: Scale) -> None:
        """Draw a line of the text, each character on the colour of its value."""
        draw(self.console, head, *_merged((tile.shown, self._style(tile, scale)) for tile in tiles))

    def values(self, head: Part, tiles: Sequence[Tile], scale: Scale) -> None:
        """Draw a row of colours."""
        draw(self.console, head, *_merged((" " * tile.width, self._style(tile, scale)) for tile in tiles))

    def ramp(self, scale: Scale) -> list[Part]:
        """Return all colours of a scale, from its lower end to the upper one."""
        values = [scale.low + (scale.high - scale.low) * at / 10 for at in range(11)]
        return [(" ", self._style(Tile(" ", 1, value), scale)) for value in values]

    def _style(self, tile: Tile, scale: Scale) -> str:
        if tile.value is None:
            return "underline" if tile.underlined else ""
        return colours.style(scale.colour(tile.value), underlined=tile.underlined, few=self._few)


class Plain:
    """Digits instead of colours."""

    def __init__(self, file: io.StringIO) -> None:
        """Take what the lines are written to."""
        self._file = file

    def words(self, parts: Sequence[Part]) -> None:
        """Write a line of words."""
        self._line("".join(text for text, _ in parts))

    def letters(self, head: Part, tiles: Sequence[Tile], scale: Scale) -> None:
        """Write a line of the text, and below it one of digits."""
        self._line(left("", len(head[0])) + "".join(tile.shown for tile in tiles))
        self.values(head, tiles, scale)

    def values(self, head: Part, tiles: Sequence[Tile], scale: Scale) -> None:
        """Write a row of digits, each under the first column of its character."""
        self._line(head[0] + "".join(left(_digit(tile, scale), tile.width) for tile in tiles))

    def _line(self, text: str) -> None:
        self._file.write(text.rstrip(" ") + "\n")


class Canvas:
    """Draws on stdout, line by line, and remembers the picture if it is wanted as SVG."""

    def __init__(self, output: Output, *, svg: bool = False) -> None:
        """Find out what stdout can show.

        Args:
            output: stdout.
            svg: whether `svg` will be asked for.

        Raises:
            UsageError: if the terminal is too narrow for any picture.
        """
        from rich.console import Console

        self._output, self._drawn = output, io.StringIO()
        console = Console(file=self._drawn, force_terminal=output.terminal)
        self.width = console.width if output.terminal else _columns(console)
        """In columns."""
        if self.width < NARROWEST:
            raise UsageError(f"a window of {self.width} columns is too narrow: give it {NARROWEST} or more")
        self.coloured = output.terminal and not console.no_color and console.color_system is not None
        """Whether stdout shows colours."""
        console.width = self.width
        self._surfaces: list[Surface] = [Coloured(console) if self.coloured else Plain(self._drawn)]
        self._recorder: Console | None = None
        if svg:
            self._recorder = Console(
                file=io.StringIO(),
                record=True,
                width=self.width,
                force_terminal=True,
                color_system="truecolor",
                no_color=False,
                legacy_windows=False,
            )
            self._surfaces.append(Coloured(self._recorder))

    def words(self, *parts: Part) -> None:
        """Draw a line of words: as it is, however long it is."""
        for surface in self._surfaces:
            surface.words(parts)
        self._show()

    def said(self, text: str, style: str = "") -> None:
        """Draw a sentence, broken between words if it is longer than a line."""
        for line in wrapped(text, self.width, cut=True):
            self.words((line, style))

    def letters(self, head: Part, tiles: Sequence[Tile], scale: Scale) -> None:
        """Draw a line of the text with its values, after some words at its beginning."""
        for surface in self._surfaces:
            surface.letters(head, tiles, scale)
        self._show()

    def values(self, head: Part, tiles: Sequence[Tile], scale: Scale) -> None:
        """Draw a row of values alone, aligned with the text."""
        for surface in self._surfaces:
            surface.values(head, tiles, scale)
        self._show()

    def scale(self, scale: Scale, words: str, low: str, high: str) -> None:
        """Draw what the colours, or the digits, of a scale mean.

        Args:
            scale: that of the picture.
            words: what has these values.
            low: the meaning of the lower end.
            high: that of the upper end.
        """
        for surface in self._surfaces:
            if isinstance(surface, Coloured):
                surface.words([(f"{words}: {low} ", "dim"), *surface.ramp(scale), (f" {high}", "dim")])
            else:
                for line in wrapped(f"{words}: 0 is {low}, 9 is {high}", self.width, cut=True):
                    surface.words([(line, "")])
        self._show()

    def svg(self, title: str) -> str:
        """Return the picture as SVG, under a title; it fetches no font from anywhere."""
        from rich.terminal_theme import DEFAULT_TERMINAL_THEME

        assert self._recorder is not None
        drawn = self._recorder.export_svg(title=title, theme=DEFAULT_TERMINAL_THEME)
        return _FONTS.sub("", drawn)

    def end(self) -> None:
        """Show what was drawn, if it is not shown yet."""
        self._output.flush()

    def _show(self) -> None:
        self._output.write(self._drawn.getvalue(), drawn=True)
        self._drawn.seek(0)
        self._drawn.truncate()


def _columns(console: "Console") -> int:
    """Return the width for a pipe: what COLUMNS says, as in a terminal, or _PIPE."""
    return console.width if os.environ.get("COLUMNS", "").isdigit() else _PIPE


def _digit(tile: Tile, scale: Scale) -> str:
    return " " if tile.value is None else scale.digit(tile.value)


def _merged(parts: Iterable[Part]) -> list[Part]:
    """Return the same texts, those of one style in a row as one."""
    return [
        ("".join(text for text, _ in group), style) for style, group in itertools.groupby(parts, lambda part: part[1])
    ]
