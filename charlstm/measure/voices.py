"""Which voice is this? The probability of each label, given a document, by Bayes' rule.

    P(label | text) = P(label) P(text | label) / sum over all labels

P(label) is its share of the training text's documents, and P(text | label) what the model gives to all characters of
the document and to its end, if it opens with that label.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from charlstm.measure.abreast import DEFAULT, Abreast, Row, Sizes
from charlstm.measure.read import Reader
from charlstm.measure.score import posterior
from charlstm.text.decoding import Codes
from charlstm.text.files import Block
from charlstm.text.tokenizer import Ids, text_of

_ROWS = 4096  # documents times labels whose states are held at a time
_BEGINNING = 100  # codes that are kept of each document


@dataclass(frozen=True)
class Piece:
    """A piece of a document."""

    codes: Codes
    ends: bool
    """Whether the document ends with it."""
    label: str | None = None
    """Of the document, if it is known."""


@dataclass(frozen=True)
class Verdict:
    """How probable each label of a model is, given a document."""

    labels: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]
    """(labels,)"""
    given: str | None
    """The document's own label, if it is known."""
    beginning: str
    """Of the document."""

    @property
    def best(self) -> str:
        """The most probable label; of several, the first."""
        return self.labels[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float:
        """Of the most probable label."""
        return float(self.probabilities.max())


def of_lines(blocks: Iterable[Block], label: str | None = None) -> Iterator[list[Piece]]:
    """Yield the lines of a text, each a document with this label; the last one need not have a newline."""
    begun = False
    for block in blocks:
        ends = np.flatnonzero(block.codes == ord("\n")).tolist()
        begins = [0, *(end + 1 for end in ends)]
        pieces = [Piece(block.codes[begin:end], True, label) for begin, end in zip(begins, ends, strict=False)]
        rest = block.codes[begins[-1] :]
        begun = len(rest) > 0 or (begun and not ends)
        yield [*pieces, Piece(rest, False, label)]
    if begun:
        yield [Piece(np.zeros(0, np.uint8), True, label)]


def of_records(blocks: Iterable[Block], label: str | None = None) -> Iterator[list[Piece]]:
    """Yield the records of JSON Lines, each a document with its own label, if it has one, or else with this one."""
    for block in blocks:
        labels = [label if own is None else own for own in block.labels]
        begins = [0, *block.ends.tolist()]
        yield [
            Piece(block.codes[begin:end], True, own)
            for begin, end, own in zip(begins, block.ends.tolist(), labels, strict=False)
        ]


def verdicts(reader: Reader, documents: Iterable[list[Piece]], sizes: Sizes = DEFAULT) -> Iterator[list[Verdict]]:
    """Yield the verdicts on documents in their order: with each list of pieces, on the documents that end in it.

    Args:
        reader: the model; it has labels.
        documents: one after the other, in pieces.
        sizes: how much is held and read at a time.
    """
    judge = _Judge(reader, sizes)
    for pieces in documents:
        yield judge.take(pieces)


@dataclass
class _Document:
    """A document as far as it has come."""

    ids: list[Ids] = field(default_factory=list)
    length: int = 0
    rows: list[Row] = field(default_factory=list)
    """One for each label, once it has become too long to be held."""
    beginning: list[Codes] = field(default_factory=list)
    label: str | None = None


class _Judge:
    """Reads each document once with every label."""

    def __init__(self, reader: Reader, sizes: Sizes) -> None:
        self._tokenizer, self._sizes = reader.tokenizer, sizes
        self._abreast = Abreast(reader, sizes)
        self._open = _Document()

    def take(self, pieces: Sequence[Piece]) -> list[Verdict]:
        """Return the verdicts on the documents that end in these pieces."""
        ended = []
        for piece in pieces:
            document = self._open
            document.label = piece.label
            for begin in range(0, len(piece.codes), self._sizes.piece):
                self._extend(document, piece.codes[begin : begin + self._sizes.piece])
            if piece.ends:
                ended.append(document)
                self._open = _Document()
        together = max(1, _ROWS // len(self._tokenizer.labels))
        groups = (ended[first : first + together] for first in range(0, len(ended), together))
        return [verdict for group in groups for verdict in self._judged(group)]

    def _extend(self, document: _Document, codes: Codes) -> None:
        """Add codes to a document; read what is held of it if that is too much."""
        if sum(map(len, document.beginning)) < _BEGINNING:
            document.beginning.append(codes[:_BEGINNING].copy())
        document.ids.append(self._tokenizer.encode_codes(codes))
        document.length += len(codes)
        if document.length >= self._sizes.piece:
            document.rows = document.rows or self._fresh()
            left = self._abreast.go_on(document.rows, np.concatenate(document.ids))
            document.ids, document.length = [left], len(left)

    def _fresh(self) -> list[Row]:
        """Return a document's beginning with each label."""
        first = self._tokenizer.vocab_size
        return [Row(first + number, self._abreast.beginning) for number in range(len(self._tokenizer.labels))]

    def _judged(self, documents: Sequence[_Document]) -> Iterator[Verdict]:
        """Read documents to their end, and yield the verdicts."""
        for document in documents:
            document.rows = document.rows or self._fresh()
            for row in document.rows:
                row.ids, row.length = list(document.ids), document.length
        self._abreast.end_all([row for document in documents for row in document.rows])
        for document in documents:
            nats = np.array([row.nats for row in document.rows])
            probabilities = posterior(nats, self._tokenizer.label_counts)
            document.rows.clear()
            yield Verdict(self._tokenizer.labels, probabilities, document.label, self._text(document.beginning))

    def _text(self, codes: list[Codes]) -> str:
        """Return the beginning of a document; of bytes, what is not UTF-8 becomes U+FFFD."""
        whole = np.concatenate(codes) if codes else np.zeros(0, np.uint8)
        if self._tokenizer.kind == "char":
            return text_of(whole)
        return whole.astype(np.uint8).tobytes().decode("utf-8", "replace")


class Tally:
    """How often the labels of documents were found, and for which others they were taken."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Begin before the first document; these are the model's labels."""
        self._labels = frozenset(labels)
        self.documents = 0
        self.strangers: Counter[str] = Counter()
        """The documents whose label the model does not know, by that label; they do not count below."""
        self.pairs: Counter[tuple[str, str]] = Counter()
        """By a document's own label and the most probable one."""

    def add(self, verdict: Verdict) -> None:
        """Count a document."""
        self.documents += 1
        if verdict.given in self._labels:
            self.pairs[str(verdict.given), verdict.best] += 1
        elif verdict.given is not None:
            self.strangers[verdict.given] += 1

    @property
    def labelled(self) -> int:
        """Documents whose label the model knows."""
        return self.pairs.total()

    @property
    def right(self) -> int:
        """Those of them whose label was the most probable one."""
        return sum(count for (given, named), count in self.pairs.items() if given == named)

    @property
    def confusion(self) -> dict[str, dict[str, int]]:
        """How often documents of each label were taken for each one: those that occurred, in order."""
        found: dict[str, dict[str, int]] = {}
        for (given, named), count in sorted(self.pairs.items()):
            found.setdefault(given, {})[named] = count
        return found
