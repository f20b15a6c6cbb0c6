"""Does a model write, or quote? The spans of a text that occur in the training text, character for character.

Each character of a text ends a span: the longest stretch up to it that also occurs in the training text. It is found in
a suffix array of the training text read backwards, where it is the beginning of a suffix (Manber & Myers 1993).
"""

import bisect
import importlib.util
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.config import SampleConfig
from charlstm.errors import UsageError
from charlstm.measure.report import Progress, Report, Subject, shortened, unwatched
from charlstm.network.stepper import Engine
from charlstm.sample import opened, write
from charlstm.text.corpus import Split
from charlstm.text.tokenizer import Ids, Tokenizer, code_points, id_dtype

LEAST = 20
"""Length in characters from which a span counts as copied."""
MOST_INDEXED = 1 << 25
"""Ids of the training text that are searched, its last."""
_LENGTH = 1000  # characters of a passage, at most
_PASSAGES = 32  # of one text
_DOCUMENTS = 256  # instead, of documents, which may be short
_SEED = 1
_NOTHING = 0x110000  # a code that occurs in no text: stands for frames and unknown characters


class NoveltyReport(Report):
    """What the model copies from its training text."""

    name = "novelty"
    doing = "writing"
    from_training = "novelty"

    def __init__(self, subject: Subject) -> None:
        """Sort the training text; raises `UsageError` if the package that does it is missing."""
        super().__init__(subject)
        assert subject.train is not None
        self._copies = Copies(subject.train.ids, subject.loaded.tokenizer)

    @property
    def notes(self) -> list[str]:
        """Whether only the end of the training text is searched."""
        assert self.subject.train is not None
        return shortened(self.subject.train, MOST_INDEXED)

    def measure(self, report: Progress) -> "Novelty":
        """Write as many passages as the text has, and compare both with the training text."""
        loaded = self.subject.loaded
        return measure(loaded.engine, self.subject.text, self._copies, loaded.tokenizer, report)


class Copies:
    """A training text, in which spans are looked up."""

    def __init__(self, train: Ids, tokenizer: Tokenizer) -> None:
        """Sort the beginnings of the text read backwards.

        Raises:
            UsageError: if the package that sorts them is not installed.
        """
        if importlib.util.find_spec("pydivsufsort") is None:
            raise UsageError("finding copies needs an extra package: pip install 'charlstm[baselines]'")
        import pydivsufsort

        codes = _codes(train[-MOST_INDEXED:], tokenizer)[::-1]
        alphabet, ranks = np.unique(codes, return_inverse=True)
        self._ranks = {code: rank for rank, code in enumerate(alphabet.tolist()) if code != _NOTHING}
        dtype = id_dtype(len(alphabet))
        self._size = dtype.itemsize
        self._text = ranks.astype(dtype.newbyteorder(">")).tobytes()  # bytes are then in the order of the ranks
        self._order = pydivsufsort.divsufsort(np.ascontiguousarray(ranks.astype(dtype)))

    def has(self, at: int, character: str) -> bool:
        """Return whether this character stands at a place of the text read backwards."""
        return at >= 0 and self._slice(at, 1) == self._encoded(character)

    def longest(self, characters: str) -> tuple[int, int]:
        """Return how many of these, from the first on, occur together in the text read backwards, and where."""
        wanted = self._encoded(characters)
        length = len(wanted) // self._size
        place = bisect.bisect_left(self._order, wanted, key=lambda at: self._slice(at, length))
        best = (0, 0)
        for number in (place - 1, place):
            if 0 <= number < len(self._order):
                at = int(self._order[number])
                best = max(best, (_common(wanted, self._slice(at, length)) // self._size, at))
        return best

    def _slice(self, at: int, length: int) -> bytes:
        return self._text[at * self._size : (at + length) * self._size]

    def _encoded(self, characters: str) -> bytes:
        """Return these characters in the text's own code, up to the first that it does not have."""
        known = itertools.takewhile(lambda code: code in self._ranks, map(ord, characters))
        return b"".join(self._ranks[code].to_bytes(self._size, "big") for code in known)

    def highlighter(self, least: int = LEAST) -> "Highlighter":
        """Return what finds the parts of a text that were copied from this one, in spans of at least `least`."""
        return Highlighter(self, least)


class Follower:
    """Follows a text, character by character, through the training text."""

    def __init__(self, copies: Copies) -> None:
        """Begin before the first character."""
        self._copies = copies
        self._span = ""
        self._at = 0  # where it stands: its last character, in the text read backwards

    def add(self, character: str) -> int:
        """Return the length of the longest span that ends with this character."""
        self._span += character
        if len(self._span) > 1 and self._copies.has(self._at - 1, character):
            self._at -= 1  # the training text goes on in the same way
            return len(self._span)
        length, self._at = self._copies.longest(self._span[::-1])
        self._span = self._span[len(self._span) - length :]
        return length


class Highlighter:
    """Tells which characters of a text lie in a copied span, as soon as that is certain."""

    def __init__(self, copies: Copies, least: int = LEAST) -> None:
        """Begin before the first character; a span counts as copied from `least` characters on."""
        self._follower, self._least = Follower(copies), least
        self._held = ""
        self.characters = 0
        """Characters of the text so far."""
        self.copied = 0
        """Those of them that lie in a copied span."""
        self.longest = self.end = 0
        """Length of the longest span, long enough or not, and the characters up to its end."""

    def add(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yield what is certain after some more text: pieces of it, and whether they were copied."""
        for character in text:
            length = self._follower.add(character)
            self._held += character
            self.characters += 1
            if length > self.longest:
                self.longest, self.end = length, self.characters
            if length >= self._least:
                yield self._copied()
            elif length < len(self._held):
                settled = len(self._held) - length
                yield self._held[:settled], False
                self._held = self._held[settled:]

    def rest(self) -> Iterator[tuple[str, bool]]:
        """Yield what was held back, once the text has ended."""
        yield self._held, False
        self._held = ""

    def _copied(self) -> tuple[str, bool]:
        copied, self._held = self._held, ""
        self.copied += len(copied)
        return copied, True


@dataclass(frozen=True)
class Spans:
    """What passages have in common with the training text, by the longest span of each."""

    median: float
    percentile_90: float
    """Nine of ten passages stay below it."""
    longest: int
    copied: float
    """Share of the characters that lie in spans of at least LEAST."""
    example: str
    """The longest span of all."""


@dataclass(frozen=True)
class Novelty:
    """What a model copies, beside what the authors of the same text have in common with themselves."""

    passages: int
    length: int
    """Characters a passage has at most."""
    least: int
    """Length in characters from which a span counts as copied."""
    sampled: Spans
    held_out: Spans


def measure(
    stepper: Engine,
    held_out: Split,
    copies: Copies,
    tokenizer: Tokenizer,
    report: Progress = unwatched,
) -> Novelty:
    """Compare what a model writes, and as many passages of held-out text, with the training text.

    Args:
        stepper: the model.
        held_out: text that it has not learnt from.
        copies: the text that it has learnt from, ready to be searched.
        tokenizer: of both.
        report: told the share that is done.
    """
    held = list(passages(held_out, tokenizer))
    context = opened(stepper, tokenizer, _SEED, len(held))
    texts = [""] * len(held)
    for piece in write(context, tokenizer, SampleConfig(length=_LENGTH), _SEED):
        texts[piece.stream] += piece.text
        report(len(texts[piece.stream]) / _LENGTH)
    return Novelty(len(held), _LENGTH, LEAST, _spans(texts, copies), _spans(held, copies))


def passages(split: Split, tokenizer: Tokenizer) -> Iterator[str]:
    """Yield passages from all over a text, each of at most 1,000 characters: its documents, or pieces of one text."""
    if tokenizer.end_id is None:
        count = max(1, min(_PASSAGES, split.characters // _LENGTH))
        for begin in (np.arange(count) * len(split.ids) // count).tolist():
            text = tokenizer.decode(split.ids[begin : begin + 4 * _LENGTH])  # a character has at most four bytes
            yield text.lstrip("".join(map(chr, range(0xDC80, 0xDCC0))))[:_LENGTH]  # no rest of a character before it
        return
    for number in _spread(split.documents, _DOCUMENTS).tolist():
        ids = split.ids[split.bounds[number] : split.bounds[number + 1]]
        yield tokenizer.decode(ids[ids < tokenizer.start_id])[:_LENGTH]


def _spread(count: int, wanted: int) -> npt.NDArray[np.int64]:
    """Return as many numbers below `count` as wanted, or all of them, evenly apart."""
    return np.unique(np.linspace(0, count - 1, wanted).astype(np.int64))


def _spans(texts: Iterable[str], copies: Copies) -> Spans:
    longest, characters, copied, example = [], 0, 0, ""
    for text in texts:
        highlighter = copies.highlighter()
        for _ in highlighter.add(text):
            pass
        copied, characters = copied + highlighter.copied, characters + highlighter.characters
        longest.append(highlighter.longest)
        if highlighter.longest > len(example):
            example = text[highlighter.end - highlighter.longest : highlighter.end]
    median, percentile_90 = np.quantile(longest, [0.5, 0.9])
    return Spans(float(median), float(percentile_90), max(longest), copied / max(1, characters), example)


def _codes(ids: Ids, tokenizer: Tokenizer) -> npt.NDArray[np.uint32]:
    """Return the characters of a text; where an id stands for none, _NOTHING."""
    none = np.zeros(len(ids), bool) if tokenizer.end_id is None else ids >= tokenizer.start_id
    if tokenizer.kind == "byte":
        lost = 0xDC00 + 0xFF  # what a byte that is in no UTF-8 becomes
        text = np.where(none, 0xFF, ids).astype(np.uint8).tobytes().decode("utf-8", "surrogateescape")
        codes = code_points(text).astype(np.uint32)
        codes[codes == lost] = _NOTHING
        return codes
    codes = code_points(tokenizer.decode(ids)).astype(np.uint32)
    codes[none | (ids == tokenizer.unknown_id)] = _NOTHING
    return codes


def _common(one: bytes, other: bytes) -> int:
    """Return how many bytes two texts have in common at their beginnings."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(np.frombuffer(one, np.uint8, length) != np.frombuffer(other, np.uint8, length))
    return int(differs[0]) if len(differs) else length
