"""Where a model fails: the surprise by kind of character, the most surprising places, and its calibration.

Everything is gathered window by window as the text is scored, in memory that does not grow with it.
"""

import dataclasses
import math
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from charlstm.measure.report import Progress, Report, Subject
from charlstm.measure.scoring import Scored
from charlstm.text.batches import IGNORE
from charlstm.text.corpus import Split
from charlstm.text.tokenizer import Tokenizer, widths

BINS = 10
PLACES = 10
_CANDIDATES = 200  # the most surprising places, of which those that are alike are shown as one
_ALIKE = 6  # characters before a place by which it is alike
_BEFORE, _AFTER = 40, 15  # characters of a place's context
_KINDS = {
    "Ll": "small letters",
    "Lu": "capitals",
    "Lt": "capitals",
    "L": "other letters",
    "N": "digits",
    "Z": "spaces",
    "P": "punctuation",
    "S": "symbols",
}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """The characters of a kind."""

    name: str
    characters: int
    bits: float
    """All of them together."""

    @property
    def bits_per_character(self) -> float:
        """What one of them costs on average."""
        return self.bits / max(1, self.characters)


@dataclass(frozen=True)
class Place:
    """A character that surprised."""

    position: int
    """In the text's ids, counted from 0."""
    before: str
    character: str
    after: str
    bits: float
    expected: str
    """The likeliest character there."""
    probability: float
    """Of the likeliest character."""
    times: int
    """How many of the _CANDIDATES are like it: the same character after the same ones."""


@dataclass(frozen=True)
class Bin:
    """The predictions whose confidence, the probability of the likeliest character, was at least `least`."""

    least: float
    count: int
    confidence: float
    """Mean."""
    accuracy: float
    """Share in which the likeliest character came."""


@dataclass(frozen=True)
class Failures:
    """Where a model fails."""

    kinds: list[Kind]
    """By what they cost together, the most expensive first."""
    places: list[Place]
    """The most surprising first."""
    bins: list[Bin]
    """By confidence; empty ones are left out."""

    @property
    def accuracy(self) -> float:
        """Share of the predictions whose likeliest character came."""
        return sum(each.count * each.accuracy for each in self.bins) / sum(each.count for each in self.bins)

    @property
    def calibration_error(self) -> float:
        """The expected calibration error, over BINS equal bins (Naeini et al. 2015; Guo et al. 2017)."""
        apart = sum(each.count * abs(each.accuracy - each.confidence) for each in self.bins)
        return apart / sum(each.count for each in self.bins)


class FailuresReport(Report):
    """Where the model fails."""

    name = "by_character"

    def __init__(self, subject: Subject) -> None:
        """Begin before the first window."""
        super().__init__(subject)
        self._observer = Observer(subject.text, subject.loaded.tokenizer)

    def add(self, window: Scored) -> None:
        """Take in a window."""
        self._observer.add(window)

    def measure(self, report: Progress) -> Failures:
        """Return what was found in all windows."""
        return self._observer.found()


class Observer:
    """Gathers where a model fails, window by window."""

    def __init__(self, split: Split, tokenizer: Tokenizer) -> None:
        """Begin before the first window."""
        self._split = split
        self._tokenizer = tokenizer
        self._nats = np.zeros(tokenizer.vocab_size)
        self._counts = np.zeros(tokenizer.vocab_size, np.int64)
        self._bins = np.zeros((3, BINS))  # count, confidence, hits
        self._places = np.zeros((4, 0))  # position, nats, the likeliest id, its probability

    def add(self, window: Scored) -> None:
        """Take in a window."""
        logits, positions, nats = window.logits, window.positions, window.nats
        inside = window.batch.targets != IGNORE
        targets = window.batch.targets[inside]
        highest, likeliest = logits.max(-1)
        top = torch.exp(highest - logits.logsumexp(-1)).cpu().numpy()[inside].astype(np.float64)
        ids = likeliest.cpu().numpy()[inside]
        self._nats += np.bincount(targets, nats, len(self._nats))
        self._counts += np.bincount(targets, minlength=len(self._counts))
        number = np.minimum((top * BINS).astype(np.int64), BINS - 1)
        self._bins += [np.bincount(number, weights, BINS) for weights in (None, top, ids == targets)]
        most = np.argsort(-nats, kind="stable")[:_CANDIDATES]
        fresh = np.stack([positions[most], nats[most], ids[most], top[most]])
        places = np.concatenate([self._places, fresh], 1)
        self._places = places[:, np.lexsort((places[0], -places[1]))[:_CANDIDATES]]

    def found(self) -> Failures:
        """Return what was found, once something was read."""
        bins = [
            Bin(number / BINS, int(count), confidence / count, hits / count)
            for number, (count, confidence, hits) in enumerate(self._bins.T.tolist())
            if count
        ]
        return Failures(self._kinds(), self._distinct(), bins)

    def _kinds(self) -> list[Kind]:
        characters_of, _ = widths(np.arange(self._tokenizer.vocab_size), self._tokenizer.kind)
        names = [_kind(id, self._tokenizer) for id in range(self._tokenizer.vocab_size)]
        kinds = []
        for name in dict.fromkeys(names):
            ids = [id for id, each in enumerate(names) if each == name]
            bits = float(self._nats[ids].sum() / math.log(2))
            characters = int((self._counts * characters_of)[ids].sum())
            if characters or bits:
                kinds.append(Kind(name, characters, bits))
        return sorted(kinds, key=lambda kind: -kind.bits)

    def _distinct(self) -> list[Place]:
        """Return the most surprising places, those that are alike as one."""
        groups: dict[str, list[Place]] = {}
        for values in self._places.T.tolist():
            place = self._place(*values)
            groups.setdefault(place.before[-_ALIKE:] + place.character, []).append(place)
        return [dataclasses.replace(group[0], times=len(group)) for group in list(groups.values())[:PLACES]]

    def _place(self, position: float, nats: float, likeliest: float, probability: float) -> Place:
        at = int(position)
        ids = self._split.ids
        begin, end = 0, len(ids)
        if self._tokenizer.end_id is not None:  # of its document
            number = np.searchsorted(self._split.bounds, at, "right")
            begin, end = self._split.bounds[number - 1 : number + 1]
        before, after = ids[max(begin, at - _BEFORE) : at], ids[at + 1 : min(end, at + 1 + _AFTER)]
        decode = self._tokenizer.decode
        return Place(
            at,
            decode(before),
            decode(ids[at : at + 1]),
            decode(after),
            nats / math.log(2),
            decode(np.array([int(likeliest)])),
            probability,
            times=1,
        )


def _kind(id: int, tokenizer: Tokenizer) -> str:
    """Return which kind of character an id stands for."""
    if id == tokenizer.unknown_id:
        return "unknown"
    if id == tokenizer.end_id:
        return "ends"
    if tokenizer.kind == "byte" and id >= 0x80:
        return "beyond ASCII"
    character = tokenizer.decode([id])
    if character in "\n\r":
        return "line ends"
    if character == "\t":
        return "spaces"
    category = unicodedata.category(character)
    return _KINDS.get(category) or _KINDS.get(category[0], "others")
