"""What `inspect` shows: each view reads a piece of text, and draws what it has found or prints it as JSON."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charlstm import inspect as inner
from charlstm.cli import pages, pictures
from charlstm.cli.passages import Piece, Wanted
from charlstm.errors import UsageError
from charlstm.measure.inside import ledger as ledgers
from charlstm.measure.inside import overview as overviews
from charlstm.measure.inside import signals
from charlstm.measure.inside.signals import Reading
from charlstm.measure.search import labels as labelling
from charlstm.measure.search import units as searches
from charlstm.network.cells import CELLS
from charlstm.show import findings, inside, layers, terminal
from charlstm.show.canvas import Canvas
from charlstm.text.tokenizer import END

if TYPE_CHECKING:
    from charlstm.measure.search.units import Found
    from charlstm.storage.loaded import Loaded
    from charlstm.text.cache import Cache

_PASSAGE, _OVERVIEW, _SEARCHED = 600, 2_000, 100_000  # characters of the model's own text
_FIRST = signals.BLOCK  # characters from which a unit is chosen, before the first line is shown
_ROWS = 16  # units of a heat map
_EXAMPLE = 200  # characters
_MOST_VALUES = 1 << 25  # that are kept of a text, if no --length was given


@dataclass(frozen=True)
class Asked:
    """What a user has asked for."""

    checkpoint: str | None
    view: str
    """The name of its option, or empty: the coloured passage."""
    wanted: Wanted
    layer: int | None
    unit: int | None
    show: tuple[str, ...]
    at: int | None
    follow: dict[str, str]
    svg: str | None
    html: str | None
    as_json: bool


def passage(loaded: "Loaded", asked: Asked, cache: "Cache") -> None:
    """Show the text coloured by one unit, as it is read."""
    shape, layer = loaded.config.model, asked.layer or 1
    piece = _piece(loaded, asked, cache, _PASSAGE)
    names = asked.show or (_main_signal(loaded),)
    readings = _stream(loaded, piece, [layer], range(shape.hidden_size), signals.names(shape.cell))
    begun, read = [], 0
    while read < min(_FIRST, piece.length):
        begun.append(next(readings))
        read += len(begun[-1].characters)
    first = signals.joined(begun)
    about = overviews.overview(first, shape.cell, layer)
    unit, memory = inner.memorable(first, about)
    unit = unit if asked.unit is None else asked.unit
    narrow = (_narrowed(each, layer, unit, names) for each in itertools.chain(begun, readings))
    if asked.as_json:
        terminal.Output().json(inside.passage_row(signals.joined(narrow), layer, names))
        return
    canvas = _canvas(asked)
    layers.in_brief(canvas, about, shape.num_layers, shape.hidden_size, len(first.characters))
    why = ""
    if asked.unit is None:
        why = ", which varies most"
        why = why if memory is None else f", chosen for its long memory: about {memory:,.0f} characters"
    canvas.words()
    canvas.said(f"Unit {unit} of layer {layer}{why}. After each character:", "bold")
    canvas.words()
    unknown: dict[str, int] = {}
    inside.passage(canvas, _moments(narrow, layer, names, unknown), names)
    pictures.finish(canvas, asked.view, asked.svg, unknown)
    pictures.hints(asked.checkpoint, asked.wanted, shape.cell, layer, unit)


def heat_map(loaded: "Loaded", asked: Asked, cache: "Cache") -> None:
    """Show the busiest units of a layer along the text."""
    shape, layer = loaded.config.model, asked.layer or 1
    name = asked.show[0] if asked.show else _main_signal(loaded)
    piece = _piece(loaded, asked, cache, _PASSAGE, values=shape.hidden_size)
    reading = _read(loaded, piece, [layer], range(shape.hidden_size), [name])
    units = inside.busiest(reading.values[layer, name], name, _ROWS)
    if asked.as_json:
        terminal.Output().json(inside.passage_row(reading, layer, [name], units))
        return
    canvas = _canvas(asked)
    canvas.said(f"The {len(units)} units of layer {layer} that vary most, of {shape.hidden_size:,}:", "bold")
    canvas.words()
    inside.heat_map(canvas, reading, layer, name, units)
    pictures.finish(canvas, asked.view, asked.svg, pictures.unknown(reading.characters, reading.known))


def overview(loaded: "Loaded", asked: Asked, cache: "Cache") -> None:
    """Show how the gates of the layers work."""
    shape, names = loaded.config.model, signals.names(loaded.config.model.cell)
    piece = _piece(loaded, asked, cache, _OVERVIEW, values=shape.hidden_size * len(names))
    numbers = range(1, shape.num_layers + 1) if asked.layer is None else [asked.layer]
    found = []
    for layer in numbers:
        reading = _read(loaded, piece, [layer], range(shape.hidden_size), names)
        found.append(overviews.overview(reading, shape.cell, layer))
    if asked.as_json:
        terminal.Output().json(layers.overview_row(found))
        return
    canvas = _canvas(asked)
    for number, one in enumerate(found):
        if number:
            canvas.words()
        layers.overview(canvas, one, shape.hidden_size, piece.length)
    pictures.finish(canvas, asked.view, asked.svg, pictures.unknown(reading.characters, reading.known))


def ledger(loaded: "Loaded", asked: Asked, cache: "Cache") -> None:
    """Show what each character put into a unit."""
    shape, layer = loaded.config.model, asked.layer or 1
    names = ledgers.needed(shape.cell)
    piece = _piece(loaded, asked, cache, _PASSAGE)
    unit = asked.unit
    if unit is None:
        first = _read(loaded, _beginning(piece, loaded), [layer], range(shape.hidden_size), signals.names(shape.cell))
        unit, _ = inner.memorable(first, overviews.overview(first, shape.cell, layer))
    if asked.at is not None:
        piece = _beginning(piece, loaded, asked.at + 1)  # what follows does not matter
    reading = _read(loaded, piece, [layer], [unit], names)
    found = ledgers.ledger(reading, shape.cell, layer, unit, _cursor(asked, reading.characters))
    if asked.as_json:
        terminal.Output().json(inside.ledger_row(reading, found))
        return
    canvas = _canvas(asked)
    canvas.said(
        f"What each character put into {found.signal} of unit {unit} in layer {layer}, as far as it is still there "
        f"after character {found.at}, the last one here:",
        "bold",
    )
    canvas.words()
    inside.ledger(canvas, reading, found)
    pictures.finish(canvas, asked.view, asked.svg, pictures.unknown(reading.characters, reading.known))


def lookback(loaded: "Loaded", asked: Asked, cache: "Cache") -> None:
    """Show which characters a prediction depended on."""
    piece = _piece(loaded, asked, cache, _PASSAGE)
    cut = signals.cut(loaded.tokenizer, piece.ids, piece.text)
    at = piece.begin + _cursor(asked, cut.characters[piece.begin :])
    with terminal.bar("reading") as report:
        found = inner.look(loaded, piece.ids, cut, at, report=report)
    looked = slice(found.first, at + 1)
    characters, known = cut.characters[looked], cut.known[looked]
    found = dataclasses.replace(found, at=at - piece.begin, first=found.first - piece.begin)
    if asked.as_json:
        terminal.Output().json(inside.lookback_row(characters, found))
        return
    canvas = _canvas(asked)
    canvas.said("How much the prediction of the last character here depended on each one before it:", "bold")
    canvas.words()
    inside.lookback(canvas, characters, known.tolist(), found)
    pictures.finish(canvas, asked.view, asked.svg, pictures.unknown(characters, known))


def units(loaded: "Loaded", asked: Asked, cache: "Cache") -> None:
    """Search all units for what they follow."""
    piece = _piece(loaded, asked, cache, _SEARCHED)
    found, examples = _search(loaded, asked, piece)
    if asked.as_json:
        terminal.Output().json(findings.findings_row(found))
        return
    canvas = _canvas(asked)
    findings.findings(canvas, found, examples)
    cut = signals.cut(loaded.tokenizer, piece.ids, piece.text)
    pictures.finish(canvas, asked.view, asked.svg, pictures.unknown(cut.characters, cut.known))
    if asked.html is not None:
        _write_page(loaded, asked.html, piece, cache, pages.found(found, examples))


def page(loaded: "Loaded", asked: Asked, cache: "Cache") -> None:
    """Write a page with the text, and with what a search of all units finds if the text is long enough for that."""
    assert asked.html is not None
    piece = _piece(loaded, asked, cache, _SEARCHED)
    searched = None
    if piece.length >= searches.LEAST:
        searched = pages.found(*_search(loaded, asked, piece))
    else:
        terminal.warn(
            f"units are not searched: the text has {piece.length:,} characters, and a search needs {searches.LEAST:,}"
        )
    _write_page(loaded, asked.html, piece, cache, searched)


def cost(loaded: "Loaded", *, as_json: bool) -> None:
    """Show what a character costs."""
    from charlstm.measure.inside import cost as costs
    from charlstm.show import cost as shown

    with terminal.bar("measuring") as report:
        found = costs.cost(loaded, report)
    if as_json:
        terminal.Output().json(shown.cost_row(found))
    else:
        shown.cost(found)


SHOWN: dict[str, Callable[["Loaded", Asked, "Cache"], None]] = {
    "": passage,
    "overview": overview,
    "heat_map": heat_map,
    "units": units,
    "ledger": ledger,
    "back": lookback,
    "html": page,
}
"""The views by the names of their options."""


def _search(loaded: "Loaded", asked: Asked, piece: Piece) -> "tuple[searches.Search, dict[Found, findings.Example]]":
    """Return what a search of all units finds in a piece of text, with examples."""
    text = searches.searchable(loaded, piece.ids.astype(np.uint32))
    if len(text.ids) < len(piece.ids):
        terminal.warn(f"only the first {len(text.text):,} characters are searched: there is no room for more in memory")
    labels = labelling.labels(text.text, asked.follow, text.begins)
    searches.require(labels, asked.follow, len(text.text))
    with terminal.bar("searching") as report:
        found = searches.search(loaded, text.ids, labels, report)
    return found, {one: _example(loaded, text, one) for one in found.found}


def _write_page(
    loaded: "Loaded", file: str, piece: Piece, cache: "Cache", searched: "Mapping[str, object] | None"
) -> None:
    """Write a page that opens with the beginning of a piece of text, or of its first document."""
    characters = signals.cut(loaded.tokenizer, piece.ids, piece.text).characters[piece.begin :]
    document = list(itertools.takewhile(lambda each: each != END, characters))[: pages.MOST]
    if len(document) < piece.length - characters.count(END):
        terminal.warn(f"the page has only the first {len(document):,} characters of the text")
    text = "".join(document)
    pages.compared(loaded, text, cache)
    pages.write_option("--html", file, pages.made(loaded, pages.Passage(text, searched)))


def _main_signal(loaded: "Loaded") -> str:
    return "c" if CELLS[loaded.config.model.cell].has_c else "h"


def _piece(loaded: "Loaded", asked: Asked, cache: "Cache", own_length: int, *, values: int = 1) -> Piece:
    """Return the text to read: if so many values per character are kept, not more of it than memory has room for."""
    most = max(_OVERVIEW, _MOST_VALUES // values)
    piece = asked.wanted.piece(loaded, cache, own_length, most)
    if asked.wanted.length is None and piece.length == most:
        terminal.warn(f"only the first {most:,} characters are read; --length reads more")
    return piece


def _stream(
    loaded: "Loaded", piece: Piece, numbers: Sequence[int], kept: Sequence[int], names: Sequence[str]
) -> Iterator[Reading]:
    """Read a piece of text block by block; with a bar for what comes before it."""
    skipped, begin = divmod(piece.begin, signals.BLOCK)
    readings = signals.stream(
        loaded.engine,
        loaded.tokenizer,
        piece.ids,
        layers=numbers,
        units=kept,
        wanted=names,
        begin=begin,
        text=piece.text,
    )
    if skipped:
        with terminal.bar("reading what comes before") as report:
            for number in range(skipped):
                next(readings)
                report((number + 1) / skipped)
    return readings


def _read(loaded: "Loaded", piece: Piece, numbers: Sequence[int], kept: Sequence[int], names: Sequence[str]) -> Reading:
    """Read a piece of text, with a bar."""
    with terminal.bar("reading") as report:

        def watched() -> Iterator[Reading]:
            done = 0
            for reading in _stream(loaded, piece, numbers, kept, names):
                done += len(reading.characters)
                report(done / piece.length)
                yield reading

        return signals.joined(watched())


def _beginning(piece: Piece, loaded: "Loaded", length: int = _FIRST) -> Piece:
    """Return the beginning of a piece: by default as much as a unit is chosen from."""
    if piece.length <= length:
        return piece
    last = signals.cut(loaded.tokenizer, piece.ids).last[piece.begin + length - 1]
    ids, text = piece.ids[: int(last) + 1], piece.text
    return dataclasses.replace(
        piece, ids=ids, length=length, text=None if text is None else text[: piece.begin + length]
    )


def _narrowed(reading: Reading, layer: int, unit: int, names: Sequence[str]) -> Reading:
    """Return a reading of one unit alone, which keeps nothing of the others in memory."""
    values = {(layer, name): reading.signal(layer, unit, name).values[:, None].copy() for name in names}
    return dataclasses.replace(reading, values=values, units=(unit,))


def _moments(
    readings: Iterator[Reading], layer: int, names: Sequence[str], unknown: dict[str, int]
) -> Iterator[inside.Moment]:
    """Yield what is shown of each character, and count the unknown ones."""
    for reading in readings:
        rows = np.stack([reading.values[layer, name][:, 0] for name in names], axis=1).tolist()
        for character, known, bits, row in zip(
            reading.characters, reading.known.tolist(), reading.surprise.tolist(), rows, strict=True
        ):
            if not known:
                unknown[character] = unknown.get(character, 0) + 1
            yield inside.Moment(character, known, bits, tuple(row))


def _cursor(asked: Asked, characters: Sequence[str]) -> int:
    """Return the character that a view is about: by default the last one that is not the end of a document."""
    last = len(characters) - 1
    if asked.at is None:
        return next((at for at in range(last, 0, -1) if characters[at] != END), last)
    if asked.at > last:
        raise UsageError(f"--at {asked.at}: the text that is read has the characters 0 to {last}; choose one of them")
    return asked.at


def _example(loaded: "Loaded", text: searches.SearchableText, found: "Found") -> findings.Example:
    """Return a piece of the searched text for a finding, with the unit's values."""
    begin, end = found.example[0], min(found.example[1], found.example[0] + _EXAMPLE)
    # The state there depends on little that is further back than this.
    first = max(0, begin - _OVERVIEW)
    ids = text.ids[int(text.ends[first - 1]) + 1 if first else 0 : int(text.ends[end - 1]) + 1]
    before = ids[: int(text.ends[begin - 1] - text.ends[first - 1]) if first else int(text.ends[begin - 1]) + 1]
    reading = signals.read(
        loaded.engine,
        loaded.tokenizer,
        ids,
        layers=[found.layer],
        units=[found.unit],
        wanted=[found.signal],
        begin=len(signals.cut(loaded.tokenizer, before).characters) if begin else 0,
    )
    return reading.characters, reading.signal(found.layer, found.unit, found.signal).values


def _canvas(asked: Asked) -> Canvas:
    return Canvas(terminal.Output(), svg=asked.svg is not None)
