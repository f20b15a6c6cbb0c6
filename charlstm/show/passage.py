"""A passage as lines of tiles: every character visible, none broken in two, no line wider than there is room for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from charlstm.show.characters import columns, printable
from charlstm.text.tokenizer import END, REPLACEMENT

TAB = 8  # columns
_SYMBOLS = {"\n": "↵", "\t": "→", "\r": "\u240d"}


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a line: a character, with the accents that are drawn into it."""

    shown: str
    width: int
    """In columns."""
    at: int
    """Index in the passage; if accents follow, that of the last one."""


Line = tuple[Cell, ...]


def lines(
    characters: Iterable[tuple[str, bool]], width: int, first: int = 0, *, through: bool = False
) -> Iterator[Line]:
    """Yield a passage line by line, each as soon as it is complete: it ends where the text does, or where it is full.

    Args:
        characters: the passage, and of each character whether the vocabulary has it; the end of a document is "<end>".
        width: columns of a line.
        first: index of the first character.
        through: whether a line goes on after a line feed of the text.
    """
    line: list[Cell] = []
    taken = 0
    for cell, breaks in _cells(characters, first):
        if taken + cell.width > width and line:
            yield tuple(line)
            line, taken = [], 0
        if cell.shown == _SYMBOLS["\t"]:
            to_stop = min(TAB - taken % TAB, width - taken)
            cell = Cell(cell.shown + " " * (to_stop - 1), to_stop, cell.at)  # noqa: PLW2901
        line.append(cell)
        taken += cell.width
        if breaks and not through:
            yield tuple(line)
            line, taken = [], 0
    if line:
        yield tuple(line)


def _cells(characters: Iterable[tuple[str, bool]], first: int) -> Iterator[tuple[Cell, bool]]:
    """Yield each character with its accents, and whether the line ends after it."""
    shown, last, breaks = "", first, False
    for at, (character, known) in enumerate(characters, first):
        drawn = shown_as(character, known=known)
        if shown and not breaks and not columns(drawn):
            shown, last = shown + drawn, at
            continue
        if shown:
            yield Cell(shown, columns(shown), last), breaks
        # An accent needs something below it.
        shown = drawn if columns(drawn) else "\N{DOTTED CIRCLE}" + drawn
        last, breaks = at, character in {"\n", END}
    if shown:
        yield Cell(shown, columns(shown), last), breaks


def shown_as(character: str, *, known: bool = True) -> str:
    """Return what is drawn for a character; for an unknown one, what the model has read in its place."""
    if not known:
        return REPLACEMENT
    return _SYMBOLS.get(character) or printable(character)
