"""How well a model predicts the documents of each label."""

import math
from dataclasses import dataclass

import numpy as np

from charlstm.measure.report import Progress, Report, Subject
from charlstm.measure.scoring import Scored
from charlstm.text.batches import IGNORE
from charlstm.text.corpus import Split
from charlstm.text.tokenizer import Tokenizer, widths


@dataclass(frozen=True)
class Voice:
    """The documents of a text that have the same label."""

    label: str | None
    """None: those without one."""
    documents: int
    characters: int
    """The end of a document counts as one."""
    bits: float
    """All of them together."""

    @property
    def bits_per_character(self) -> float:
        """What one of them costs on average."""
        return self.bits / max(1, self.characters)


def is_labelled(text: Split, tokenizer: Tokenizer) -> bool:
    """Return whether any document of a text has a label."""
    return bool(tokenizer.labels) and bool((_openers(text) >= tokenizer.vocab_size).any())


def _openers(text: Split) -> np.ndarray:
    """Return the first id of each document, (documents,): what opens it, unless the text begins within it."""
    return text.ids[text.bounds[:-1]].astype(np.int64)


class ByLabelReport(Report):
    """Bits per character of each label."""

    name = "by_label"

    def __init__(self, subject: Subject) -> None:
        """Begin before the first window."""
        super().__init__(subject)
        self._text, self._tokenizer = subject.text, subject.loaded.tokenizer
        count = len(self._tokenizer.labels)
        opener = _openers(subject.text) - self._tokenizer.vocab_size
        self._labels = np.where(opener >= 0, opener, count)  # of each document; the last number: none
        self._nats = np.zeros(count + 1)
        self._characters = np.zeros(count + 1, np.int64)

    def add(self, window: Scored) -> None:
        """Take in a window."""
        documents = np.searchsorted(self._text.bounds, window.positions, "right") - 1
        labels = self._labels[documents]
        targets = window.batch.targets[window.batch.targets != IGNORE]
        characters, _ = widths(targets, self._tokenizer.kind)
        self._nats += np.bincount(labels, window.nats, len(self._nats))
        self._characters += np.bincount(labels, characters, len(self._nats)).astype(np.int64)

    def measure(self, report: Progress) -> tuple[Voice, ...]:
        """Return what the documents of each label cost: of those labels that occur, in order; last those without."""
        documents = np.bincount(self._labels, minlength=len(self._nats))
        names = (*self._tokenizer.labels, None)
        return tuple(
            Voice(name, int(count), int(characters), float(nats / math.log(2)))
            for name, count, characters, nats in zip(names, documents, self._characters, self._nats, strict=True)
            if count
        )
