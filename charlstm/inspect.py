"""Look inside a model from Python: what its units do along a text, what they follow, and what it all costs.

    model = charlstm.load("shakespeare")
    found = charlstm.inspect.units(model, text)

A model is what `charlstm.load` returns. Every function returns a frozen dataclass, prints nothing and needs no torch;
`cost` alone loads it, if it is installed, to measure training. Layers are counted from 1, units and characters from 0.
A text is read from the beginning of a document.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charlstm.errors import DataError, UsageError
from charlstm.measure.inside import cost as costs
from charlstm.measure.inside import ledger as ledgers
from charlstm.measure.inside import lookback as lookbacks
from charlstm.measure.inside import overview as overviews
from charlstm.measure.inside import signals
from charlstm.measure.inside.cost import Activity, Cost, Matrix
from charlstm.measure.inside.ledger import Ledger
from charlstm.measure.inside.lookback import Lookback
from charlstm.measure.inside.overview import Overview, Saturation, TimeScale
from charlstm.measure.inside.signals import Cut, Reading, Signal
from charlstm.measure.search import labels as labelling
from charlstm.measure.search import units as searches
from charlstm.measure.search.labels import Label
from charlstm.measure.search.units import Clamped, Controls, Found, Search
from charlstm.storage.loaded import Loaded
from charlstm.text.tokenizer import Ids

__all__ = [
    "Activity",
    "Clamped",
    "Controls",
    "Cost",
    "Found",
    "Label",
    "Ledger",
    "Lookback",
    "Matrix",
    "Overview",
    "Reading",
    "Saturation",
    "Search",
    "Signal",
    "TimeScale",
    "cost",
    "ledger",
    "lookback",
    "overview",
    "read",
    "units",
]

BACK = 128
"""Inputs before a prediction that `lookback` looks at."""
_LIVELY = 0.4  # the standard deviation from which a unit is worth looking at


class Model(Protocol):
    """What `charlstm.load` returns."""

    @property
    def loaded(self) -> Loaded:
        """The opened checkpoint."""


def read(
    model: Model,
    text: str,
    *,
    layers: Sequence[int] | None = None,
    units: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    begin: int = 0,
) -> Reading:
    """Read a text, and return the surprise of each character and the signals of units.

    Args:
        model: the model.
        text: what it reads; unknown characters are read as `<unk>`.
        layers: whose signals are kept; by default those of all layers.
        units: the units of each layer that are kept; by default all.
        names: of the signals: gates, c and h; by default all that the cell has.
        begin: characters that are read first, without keeping anything of them.

    Raises:
        DataError: if the text is empty.
        UsageError: if there is no such layer, unit or signal.
    """
    loaded = _opened(model)
    shape = loaded.config.model
    return signals.read_text(
        loaded,
        _text(text),
        layers=range(1, shape.num_layers + 1) if layers is None else _whole_numbers("layers", layers),
        units=range(shape.hidden_size) if units is None else _whole_numbers("units", units),
        wanted=signals.names(shape.cell) if names is None else _strings(names),
        begin=_whole_number("begin", begin),
    )


def overview(model: Model, text: str) -> tuple[Overview, ...]:
    """Return how the gates of each layer work along a text: saturation, time scales, and how long a state lasts.

    Raises:
        DataError: if the text is empty.
    """
    shape = _opened(model).config.model
    return tuple(
        overviews.overview(read(model, text, layers=[layer]), shape.cell, layer)
        for layer in range(1, shape.num_layers + 1)
    )


def ledger(model: Model, text: str, *, layer: int = 1, unit: int, at: int | None = None) -> Ledger:
    """Return what each character of a text put into a unit, and how much of it is still there after one of them.

    Args:
        model: the model.
        text: what it reads.
        layer: from 1.
        unit: from 0.
        at: index of the character after which the unit is looked at; by default the last one.

    Raises:
        DataError: if the text is empty.
        UsageError: if there is no such layer, unit or character, or the cell has no sum that a ledger could show.
    """
    reading = read(model, text, layers=[layer], units=[unit])
    return ledgers.ledger(reading, model.loaded.config.model.cell, layer, unit, _place(at, len(reading.characters)))


def lookback(model: Model, text: str, *, at: int | None = None, back: int = BACK) -> Lookback:
    """Return how much the prediction of a character depended on each of the inputs before it.

    Args:
        model: the model.
        text: what it reads.
        at: index of the predicted character; by default the last one.
        back: inputs that are looked at.

    Raises:
        DataError: if the text is empty.
        UsageError: if there is no such character.
    """
    loaded = _opened(model)
    ids = loaded.tokenizer.encode(_text(text))
    cut = signals.cut(loaded.tokenizer, ids)
    if _whole_number("back", back) < 1:
        raise UsageError(f"back {back}: give at least 1 input to look at")
    return look(loaded, ids, cut, _place(at, len(cut.characters)), back=back)


def units(
    model: Model,
    text: str,
    *,
    follow: Mapping[str, str] | None = None,
    report: Callable[[float], None] = lambda _: None,
) -> Search:
    """Search every unit for what it follows in a text, with the controls that tell a finding from chance.

    Args:
        model: the model.
        text: that the model was not trained on, at least 20,000 characters; of a longer one, as much is searched as
            there is memory for (100,000 characters of a layer of 640 units).
        follow: labels of your own: names and regular expressions. Each is true inside a match.
        report: told the share that is done.

    Raises:
        DataError: if the text is empty, too short to be split, or has too little of what a label of yours matches.
        UsageError: if a regular expression is wrong, or takes too long.
    """
    loaded, following = _opened(model), _patterns(follow)
    passage = searches.searchable(loaded, loaded.tokenizer.encode(_text(text)))
    labels = labelling.labels(passage.text, following)
    searches.require(labels, following, len(passage.text))
    return searches.search(loaded, passage.ids, labels, report)


def cost(model: Model) -> Cost:
    """Return what a character costs on this machine: multiplications, bytes, time and energy. It takes some seconds."""
    return costs.cost(_opened(model))


def look(
    loaded: Loaded,
    ids: Ids | npt.NDArray[np.int64],
    cut: Cut,
    at: int,
    *,
    back: int = BACK,
    report: Callable[[float], None] = lambda _: None,
) -> Lookback:
    """Return what `lookback` does, with characters for ids: one of several bytes counts as one input.

    Its gradient is the root of the sum of the squares of those of its bytes, and what begins a document counts with
    its first character. Of a predicted character of several bytes, the last is what is predicted.

    Args:
        loaded: the model.
        ids: the passage.
        cut: its characters.
        at: index of the predicted one.
        back: ids that are looked at.
        report: told the share that is done.
    """
    found = lookbacks.lookback(loaded, ids.astype(np.int64), int(cut.last[at]), back=back, report=report)
    owners = np.searchsorted(cut.last, np.arange(found.first, found.first + len(found.gradients)))
    owners = owners[owners < at]  # what was read of the character itself is no input of another one
    if not len(owners):
        return dataclasses.replace(found, at=at, first=at, gradients=found.gradients[:0])
    gradients, first = found.gradients[: len(owners)], int(owners[0])
    if len(np.unique(owners)) < len(owners):
        starts = np.searchsorted(owners, np.arange(first, at))
        gradients = np.sqrt(np.add.reduceat(gradients**2, starts))
    return dataclasses.replace(found, at=at, first=first, gradients=gradients)


def memorable(reading: Reading, found: Overview) -> tuple[int, float | None]:
    """Return a unit worth looking at, and its time scale: the longest memory that does something in the reading.

    If the cell has no gate that keeps, or all long memories are idle, it is the unit that varies most, and None.
    """
    name = "c" if (found.layer, "c") in reading.values else "h"
    values = reading.values[found.layer, name]
    varied = (np.tanh(values) if name == "c" else values).astype(np.float64).std(axis=0)
    for scale in found.longest:
        if np.isfinite(scale.characters) and varied[reading.units.index(scale.unit)] >= _LIVELY:
            return scale.unit, scale.characters
    return reading.units[int(varied.argmax())], None


def _opened(model: Model) -> Loaded:
    """Return the opened checkpoint of a model; raises `UsageError` if it is none."""
    loaded = getattr(model, "loaded", None)
    if not isinstance(loaded, Loaded):
        raise UsageError(f"a {type(model).__name__} is not a model: give what charlstm.load returns")
    return loaded


def _whole_number(name: str, value: Any) -> int:
    """Return a whole number; raises `UsageError` if it is something else."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise UsageError(f"{name} {value!r}: must be a whole number")
    return int(value)


def _whole_numbers(name: str, values: Any) -> list[int]:
    """Return whole numbers; raises `UsageError` if they are something else."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise UsageError(f"{name} {values!r}: give a list of whole numbers")
    return [_whole_number(name, value) for value in values]


def _strings(names: Any) -> list[str]:
    """Return the names of signals; raises `UsageError` if they are something else."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise UsageError(f"names {names!r}: give a list of names, such as ['c', 'f']")
    return list(names)


def _patterns(follow: Any) -> dict[str, str]:
    """Return regular expressions by their names; raises `UsageError` if they are something else."""
    if follow is None:
        return {}
    texts = isinstance(follow, Mapping) and all(
        isinstance(part, str) and part for pair in follow.items() for part in pair
    )
    if not texts:
        raise UsageError(f"follow {follow!r}: give names and regular expressions, such as {{'year': '[0-9]{{4}}'}}")
    return dict(follow)


def _text(text: str) -> str:
    """Return a text; raises `UsageError` if it is something else, and `DataError` if there is none."""
    if not isinstance(text, str):
        raise UsageError(f"a {type(text).__name__} is not a text: give a str")
    if not text:
        raise DataError("the text is empty: there is nothing to read; give a text with some characters")
    return text


def _place(at: int | None, length: int) -> int:
    """Return the index of a character; raises `UsageError` if there is none."""
    if at is None:
        return length - 1
    at = _whole_number("at", at)
    if not 0 <= at < length:
        raise UsageError(f"at {at}: the text has characters 0 to {length - 1}; choose one of them")
    return at
