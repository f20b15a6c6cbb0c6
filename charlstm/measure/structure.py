"""Reach on structure: how likely the right closing character is, by the distance from what it closes."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.measure.ngram import MAX_ORDER, KneserNey
from charlstm.measure.read import Reader, probabilities
from charlstm.text.corpus import Split
from charlstm.text.tokenizer import Ids, Tokenizer

BOUNDS = (1, 10, 30, 100, 300, 1000)
"""Where the bands of distances begin, in characters."""
LEAST_PAIRS = 20
"""Closings of a kind, for it to be reported."""
_LEAST_INDENTED = 0.05  # of the lines
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_QUOTES = {"”": "“", "»": "«"}
_SPEAKER = re.compile(r"(?<=\n\n)([A-Z][^\n:]{0,30}):\n")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Closing:
    """Something that a text opened, and where it closes."""

    kind: str
    opener: int
    at: int
    """Position of the closing character."""
    any_but_space: bool = False
    """Whether anything but a space closes it."""

    @property
    def distance(self) -> int:
        """Characters from the opening to the closing."""
        return self.at - self.opener


@dataclass(frozen=True)
class Band:
    """The closings of a kind whose distance is at least `least` and less than `limit`."""

    kind: str
    least: int
    limit: int | None
    count: int
    model: float
    """Mean probability that the model gave the right closing."""
    ngram: float | None
    """Mean probability that the best n-gram gave it; None without a training text."""


def measure(reader: Reader, held_out: Split, ngrams: KneserNey | None, order: int | None = None) -> list[Band]:
    """Return the mean probability of the right closing, by kind and distance; only of kinds that the text has.

    The model and the n-gram have read all the text before each closing.

    Args:
        reader: the model.
        held_out: the text.
        ngrams: those of the training text, if it is there.
        order: of the n-gram, by default the highest.
    """
    ids = held_out.ids
    closings = list(find(_characters(ids, reader.tokenizer)))
    if not closings:
        return []
    space = int(reader.tokenizer.encode(" ")[0])
    there, spaces = np.empty(len(ids)), np.empty(len(ids))
    for positions, likely, other in probabilities(reader, held_out, space):
        there[positions], spaces[positions] = likely, other
    by_model = [_probability(closing, there, spaces) for closing in closings]
    by_ngram = None
    if ngrams is not None:
        contexts, row = ngrams.contexts(ids), (order or MAX_ORDER) - 1
        there = ngrams.probabilities(contexts, ids)[row]
        spaces = ngrams.probabilities(contexts, np.full(len(ids), space))[row]
        by_ngram = [_probability(closing, there, spaces) for closing in closings]
    return list(_bands(closings, by_model, by_ngram))


def _bands(closings: list[Closing], by_model: list[float], by_ngram: list[float] | None) -> Iterator[Band]:
    """Yield the mean probabilities of each kind and distance, given those of each closing."""
    for kind in dict.fromkeys(closing.kind for closing in closings):
        for least, limit in zip(BOUNDS, (*BOUNDS[1:], None), strict=True):
            inside = [
                number
                for number, it in enumerate(closings)
                if it.kind == kind and least <= it.distance < (limit or math.inf)
            ]
            if inside:
                mean = float(np.mean([by_model[number] for number in inside]))
                beside = None if by_ngram is None else float(np.mean([by_ngram[number] for number in inside]))
                yield Band(kind, least, limit, len(inside), mean, beside)


def find(text: str, least: int = LEAST_PAIRS) -> Iterator[Closing]:
    """Yield what a text opens and closes: brackets, quotes and, if it has them, speakers and indentation.

    Args:
        text: with one character per id.
        least: closings of a kind, for it to be reported.
    """
    found = [*_pairs(text), *_speakers(text), *_indentation(text)]
    count = Counter(closing.kind for closing in found)
    for kind in count:
        if count[kind] >= least:
            yield from (closing for closing in found if closing.kind == kind)


def _pairs(text: str) -> Iterator[Closing]:
    """Match brackets and quotes by nesting; straight quotes open and close in turn. All end with their paragraph."""
    opened: list[tuple[str, int]] = []
    for match in re.finditer(r"[()\[\]{}“”«»\"]|\n[ \t]*\n", text):
        mark, at = match[0], match.start()
        if mark[0] == "\n":
            opened.clear()
            continue
        opener = _BRACKETS.get(mark) or _QUOTES.get(mark)
        if mark == '"' and any(open_mark == '"' for open_mark, _ in opened):
            opener = '"'
        if opener is None:
            opened.append((mark, at))
            continue
        marks = [open_mark for open_mark, _ in opened]
        if opener in marks:
            del opened[len(marks) - marks[::-1].index(opener) :]
            kind = "bracket" if mark in _BRACKETS else "quote"
            yield Closing(kind, opened.pop()[1], at)


def _speakers(text: str) -> Iterator[Closing]:
    """Find the colons after the names of speakers who spoke before: `NAME:` alone on a line after a blank one.

    The opening is the colon after the last mention of the name: whoever remembers it knows where the name ends.
    """
    spoke: dict[str, int] = {}
    for match in _SPEAKER.finditer(text):
        if match[1] in spoke:
            yield Closing("speaker", spoke[match[1]], match.end(1))
        spoke[match[1]] = match.end(1)


def _indentation(text: str) -> Iterator[Closing]:
    """Find the lines that are indented like the line before: after as many spaces, anything but another one."""
    indented = 0
    found = []
    before: tuple[int, int] | None = None
    lines = list(re.finditer(r"^( *)\S", text, re.MULTILINE))
    for match in lines:
        width = len(match[1])
        indented += width > 0
        if before is not None and width == before[0] > 0:
            found.append(Closing("indent", before[1], match.end(1), any_but_space=True))
        before = width, match.end(1)
    if indented >= _LEAST_INDENTED * len(lines):
        yield from found


def _probability(closing: Closing, there: Floats, spaces: Floats) -> float:
    """Return the probability of the closing."""
    return float(1 - spaces[closing.at] if closing.any_but_space else there[closing.at])


def _characters(ids: Ids, tokenizer: Tokenizer) -> str:
    """Return the text with one character per id; of bytes, those beyond ASCII are none of the marks."""
    if tokenizer.kind == "char":
        return tokenizer.decode(ids)
    return np.where(ids < 256, ids, ord("\n")).astype(np.uint8).tobytes().decode("latin-1")
