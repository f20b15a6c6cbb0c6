"""What happens inside a network, as a person sees it: the coloured passage, the heat map, the ledger and the look back.

Everything is drawn on a canvas, line by line. Layers are counted from 1 and units from 0.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from charlstm.show import colours
from charlstm.show.canvas import Canvas, Tile
from charlstm.show.characters import columns, fitted, in_brief, left, marked, right
from charlstm.show.colours import SIGNED, UNSIGNED, scale_of
from charlstm.show.passage import Line, lines
from charlstm.text.tokenizer import END, REPLACEMENT

if TYPE_CHECKING:
    import numpy.typing as npt

    from charlstm.measure.inside.ledger import Ledger
    from charlstm.measure.inside.lookback import Lookback
    from charlstm.measure.inside.signals import Reading

_BARS = "▁▂▃▄▅▆▇█"
_BITS = "bits"
_LISTED = 10  # largest shares, and the inputs that mattered most
_BACK = 9  # columns that tell how far back a character is
_BEFORE, _HERE, _AFTER = 16, 2, 8  # columns of a character in its context
_NARROW = 40  # columns, below which a list is shorter
_QUIET = "dim"


@dataclass(frozen=True)
class Moment:
    """A character of the passage as it was read, and what is shown of it."""

    character: str
    known: bool
    surprise: float
    """In bits."""
    values: tuple[float, ...]
    """One per signal that is shown."""


def drawn(name: str, value: float) -> float:
    """Return what a signal is drawn as: c as its tanh, which is what it gives to the output; all others as they are."""
    return math.tanh(value) if name == "c" else value


def bar(bits: float) -> str:
    """Return a bar of one column for a surprise: one step per bit, the highest from 7 bits on."""
    return _BARS[min(len(_BARS) - 1, max(0, int(bits)))] if math.isfinite(bits) else "?"


def passage(canvas: Canvas, moments: Iterable[Moment], names: Sequence[str]) -> None:
    """Draw a passage as it is read: coloured by the first signal, the others below each line, and the surprise.

    Args:
        canvas: where to draw.
        moments: the passage.
        names: the signals that are shown, at least one.
    """
    width = max(map(len, (*names, _BITS))) + 1
    apart = len(names) > 1 or not canvas.coloured
    kept: list[Moment] = []

    def watched() -> Iterable[tuple[str, bool]]:
        for moment in moments:
            kept.append(moment)
            yield moment.character, moment.known

    done = 0
    for number, line in enumerate(lines(watched(), canvas.width - width)):
        here = {cell.at: kept[cell.at - done] for cell in line}
        if number and apart:
            canvas.words()
        for column, name in enumerate(names):
            values = {at: drawn(name, moment.values[column]) for at, moment in here.items()}
            draw = canvas.values if column else canvas.letters
            draw((left(name, width), _QUIET), _tiles(line, values.__getitem__), scale_of(name))
        bars = "".join(left(bar(here[cell.at].surprise), cell.width) for cell in line)
        canvas.words((left(_BITS, width), _QUIET), (bars, ""))
        last = line[-1].at + 1
        del kept[: last - done]
        done = last
    canvas.words()
    legend(canvas, names)


def legend(canvas: Canvas, names: Sequence[str]) -> None:
    """Draw what the colours, digits and bars of a passage mean."""
    for scale in (SIGNED, UNSIGNED):
        shown = ["tanh(c)" if name == "c" else name for name in names if scale_of(name) is scale]
        if shown:
            canvas.scale(scale, ", ".join(shown), *_ends(scale))
    canvas.said(f"bits, the surprise: {_BARS[0]} below 1, {_BARS[1]} from 1, ... {_BARS[-1]} from 7 on", _QUIET)


def passage_row(
    reading: "Reading", layer: int, names: Sequence[str], units: Sequence[int] | None = None
) -> dict[str, Any]:
    """Return a passage as JSON has it: the text, the surprise, and the signals of some of the units that were kept."""
    return {
        "text": reading.text,
        "characters": len(reading.characters),
        "unknown": int((~reading.known).sum()),
        "surprise": [round(bits, 6) for bits in reading.surprise.tolist()],
        "signals": [
            {"layer": layer, "unit": unit, "name": name, "values": _numbers(reading.signal(layer, unit, name).values)}
            for unit in (reading.units if units is None else units)
            for name in names
        ],
    }


def ledger_row(reading: "Reading", found: "Ledger") -> dict[str, Any]:
    """Return a ledger as JSON has it."""
    return {
        "layer": found.layer,
        "unit": found.unit,
        "signal": found.signal,
        "at": found.at,
        "value": found.value,
        "carried": found.carried,
        "shares": found.shares.tolist(),
        "text": reading.text[: found.at + 1],
    }


def lookback_row(characters: Sequence[str], found: "Lookback") -> dict[str, Any]:
    """Return what a prediction depended on as JSON has it; the characters are those from the first to the predicted."""
    return {
        "at": found.at,
        "first": found.first,
        "sizes": found.sizes.tolist(),
        "log_probability": found.log_probability,
        "text": one_each(characters),
    }


def _numbers(values: "npt.NDArray[np.float32]") -> list[float]:
    """Return numbers of 32 bits with as many digits as they have."""
    return [float(str(value)) for value in values]


def _ends(scale: colours.Scale) -> tuple[str, str]:
    """Return the bounds of a scale in words."""
    return ("-1", "+1") if scale is SIGNED else ("0", "1")


def _tiles(line: Line, value: Callable[[int], float | None], at: int | None = None) -> list[Tile]:
    """Return the tiles of a line; that of the character `at` is underlined."""
    return [Tile(cell.shown, cell.width, value(cell.at), underlined=cell.at == at) for cell in line]


def heat_map(canvas: Canvas, reading: "Reading", layer: int, name: str, units: Sequence[int]) -> None:
    """Draw units, one under the other, along a passage.

    Args:
        canvas: where to draw.
        reading: the passage.
        layer: from 1.
        name: the signal.
        units: which of those that were kept.
    """
    heads = [str(unit) for unit in units]
    width = max(map(len, (*heads, _BITS))) + 1
    scale = scale_of(name)
    columns_of = [reading.units.index(unit) for unit in units]
    values = reading.values[layer, name][:, columns_of]
    values = np.tanh(values) if name == "c" else values
    for number, line in enumerate(lines(_read(reading), canvas.width - width, through=True)):
        if number:
            canvas.words()
        canvas.words((left("", width), ""), ("".join(cell.shown for cell in line), "bold"))
        for column, head in enumerate(heads):
            row = values[:, column]
            tiles = [Tile(cell.shown, cell.width, float(row[cell.at])) for cell in line]
            canvas.values((right(head, width - 1) + " ", _QUIET), tiles, scale)
    canvas.words()
    canvas.scale(scale, "tanh(c)" if name == "c" else name, *_ends(scale))


def busiest(values: "npt.NDArray[np.float32]", name: str, count: int) -> list[int]:
    """Return the columns whose signal varies most along a passage, that with the largest variance first.

    Args:
        values: (T, units).
        name: of the signal.
        count: how many at most.
    """
    varied = (np.tanh(values) if name == "c" else values).astype(np.float64).var(axis=0)
    return [int(column) for column in (-varied).argsort(kind="stable")[:count]]


def _read(reading: "Reading", first: int = 0, end: int | None = None) -> Iterable[tuple[str, bool]]:
    """Yield the characters of a reading, and whether each is known."""
    pairs = zip(reading.characters, reading.known.tolist(), strict=True)
    return itertools.islice(pairs, first, end)


def ledger(canvas: Canvas, reading: "Reading", found: "Ledger") -> None:
    """Draw what each character put into a unit, as far as it is still there, and list the largest shares."""
    shares, until = found.shares, found.at + 1
    most = float(np.abs(shares).max(initial=0.0)) or 1.0
    for line in lines(_read(reading, 0, until), canvas.width):
        tiles = _tiles(line, lambda at: float(shares[at]) / most, found.at)
        canvas.letters(("", ""), tiles, SIGNED)
    canvas.words()
    canvas.scale(SIGNED, "share", f"{-most:+.3f}", f"{most:+.3f}")
    canvas.words()
    canvas.said(f"The largest shares of {found.signal} of unit {found.unit} in layer {found.layer}:")
    order = np.abs(shares).argsort(kind="stable")[::-1][:_LISTED]
    for at in order.tolist():
        known = bool(reading.known[at])
        _listed(canvas, reading.characters, known, at, _signed(float(shares[at])), found.at - at)
    others = float(np.delete(shares, order).sum())
    for words, value in (
        *(
            [(f"all {until - len(order):,} other characters together", others)]
            if until > len(order) + 1
            else [("the other character", others)]
            if until > len(order)
            else []
        ),
        ("left of the state before the passage", found.carried),
        (
            f"sum, which is {found.signal} after {marked(reading.characters[found.at])}",
            found.carried + float(shares.sum()),
        ),
    ):
        canvas.said(f"{_signed(value)}  {words}")


def lookback(canvas: Canvas, characters: Sequence[str], known: Sequence[bool], found: "Lookback") -> None:
    """Draw how much each character before a prediction mattered to it, and list those that mattered most.

    Args:
        canvas: where to draw.
        characters: from the first that may have mattered to the predicted one.
        known: whether the vocabulary has them.
        found: what was found.
    """
    sizes, last = found.sizes, len(characters) - 1
    most = float(sizes.max(initial=0.0)) or 1.0

    def value(at: int) -> float | None:
        return float(sizes[at]) / most if at < last else None

    for line in lines(zip(characters, known, strict=True), canvas.width):
        canvas.letters(("", ""), _tiles(line, value, last), UNSIGNED)
    canvas.words()
    canvas.scale(UNSIGNED, "gradient", "0", f"{most:.4f}")
    canvas.said(
        f"Predicted: {_marked(characters[last], known=known[last])}, probability "
        f"{math.exp(found.log_probability):.1%}, {-found.log_probability / math.log(2):.2f} bits."
    )
    canvas.words()
    if not len(sizes):
        canvas.said("Nothing comes before it.")
        return
    canvas.said("It looked most at:")
    order = sizes.argsort(kind="stable")[::-1][:_LISTED].tolist()
    width = len(f"{most:.4f}")
    for at in order:
        _listed(canvas, characters, known[at], at, right(f"{float(sizes[at]):.4f}", width), last - at)


def _listed(canvas: Canvas, characters: Sequence[str], known: bool, at: int, number: str, back: int) -> None:
    """Draw a line about a character: a number, how far back it is, and where it stands."""
    narrow = canvas.width < _NARROW
    here = _marked(characters[at], known=known)
    here = in_brief(characters[at]) if narrow and columns(here) > _HERE else here
    before = in_brief("".join(characters[max(0, at - _BEFORE) : at]))
    after = in_brief("".join(characters[at + 1 : at + 1 + _AFTER]))
    distance = f" {right(f'-{back}', 4)} " if narrow else f"  {right(f'{back:,} back', _BACK)}  "
    room = canvas.width - columns(number) - columns(distance) - max(_HERE, columns(here)) - 2
    size = max(0, min(_BEFORE, room - _AFTER))
    gap = left("", max(0, _HERE - columns(here)))
    canvas.words(
        (number, ""),
        (distance, _QUIET),
        (right(fitted(before, size, end=True), size) + " ", ""),
        (here, "bold"),
        (" " + gap + fitted(after, max(0, min(_AFTER, room - size))), ""),
    )


def _marked(character: str, *, known: bool) -> str:
    """Return a character as it stands in a sentence."""
    return marked(character) if known else REPLACEMENT


def one_each(characters: Sequence[str]) -> str:
    """Return a text with one character for each: the end of a document is a line feed."""
    return "".join("\n" if each == END else each for each in characters)


def _signed(value: float) -> str:
    """Return a share with its sign; what rounds to nothing has none."""
    return f"{round(value, 4) + 0.0:+.4f}"
