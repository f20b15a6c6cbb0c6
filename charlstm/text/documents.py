"""Which stretches of a text are documents, which of them are held out, and where their frames go.

Nothing here reads a text: places count characters from its beginning, or bytes for the tokenizer `byte`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.text.decoding import Codes
from charlstm.text.tokenizer import Ids

MANY_DOCUMENTS = 20
"""From this number on, whole documents are held out."""
MOST_HELD_OUT = 1_000_000
"""Characters; evaluating more would only take time."""

Positions = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Cutter:
    """Takes the separators out of a file's codes; one may lie across two blocks."""

    def __init__(self, separator: Codes) -> None:
        """Take the codes of the separator; if there are none, nothing is cut."""
        self._separator = [int(code) for code in separator]
        self._held: Codes = separator[:0]

    def cut(self, codes: Codes, ends: Positions) -> tuple[Codes, Positions]:
        """Return the codes that remain, and how many of them come before each end of a document.

        Args:
            codes: the next ones of the file.
            ends: how many of them come before each end that is known already; only without a separator.
        """
        width = len(self._separator)
        if not width:
            return codes, ends
        codes = np.concatenate([self._held, codes]) if len(self._held) else codes
        at = np.flatnonzero(codes[: max(0, len(codes) - width + 1)] == self._separator[0])
        for offset, code in enumerate(self._separator[1:], 1):
            at = at[codes[at + offset] == code]
        at = _apart(at, width)
        done = max(len(codes) - width + 1, int(at[-1]) + width if len(at) else 0)
        self._held = codes[done:]
        kept = np.ones(done, bool)
        for offset in range(width):
            kept[at + offset] = False
        return codes[:done][kept], at - width * np.arange(len(at))

    def rest(self) -> tuple[Codes, Positions]:
        """Return the codes held back at the end of a file, which ends a document, and that end."""
        held, self._held = self._held, self._held[:0]
        return held, np.array([len(held)])


def _apart(at: Positions, width: int) -> Positions:
    """Return the matches, ascending, that do not overlap an earlier one."""
    if not (np.diff(at) < width).any():
        return at
    chosen: list[int] = []
    for match in at.tolist():
        if not chosen or match >= chosen[-1] + width:
            chosen.append(match)
    return np.array(chosen, np.int64)


@dataclass(frozen=True)
class Part:
    """The stretches of a text that belong to a part: documents, or what a cut left of them; none is empty."""

    begins: Positions
    """Where they begin, ascending."""
    ends: Positions
    opens: Flags
    """Whether a stretch begins where its document does."""
    closes: Flags
    """Whether it ends where its document does."""
    labels: Positions | None = None
    """The number of its document's label, if documents have labels."""

    def touches(self, begin: int, end: int) -> bool:
        """Return whether anything between two places of the text belongs to the part."""
        first, last = self._touched(begin, end)
        return first < last

    def within(self, begin: int, ids: Ids) -> tuple[Ids, Positions, Positions]:
        """Return what a block of the text has of the part, and before which of these ids documents end and begin.

        Args:
            begin: where the block begins.
            ids: the block's.
        """
        end = begin + len(ids)
        first, last = self._touched(begin, end)
        begins, ends = self.begins[first:last], self.ends[first:last]
        closing = ends[self.closes[first:last] & (ends <= end)] - begin
        opening = begins[self.opens[first:last] & (begins >= begin)] - begin
        if not len(begins):
            return ids[:0], closing, opening
        if len(begins) == 1 and begins[0] <= begin and ends[0] >= end:  # all of it: most blocks of long documents
            return ids, closing, opening
        change = np.zeros(len(ids) + 1, np.int8)
        np.add.at(change, np.maximum(begins - begin, 0), 1)
        np.add.at(change, np.minimum(ends - begin, len(ids)), -1)
        inside = change[:-1].cumsum(dtype=np.int8).astype(bool)
        before = np.concatenate([[0], inside.cumsum()])  # ids of the part before each place
        return ids[inside], before[closing], before[opening]

    def labels_within(self, begin: int, end: int) -> Positions | None:
        """Return the label of each document that begins between two places, in the order in which `within` has them."""
        if self.labels is None:
            return None
        first, last = self._touched(begin, end)
        labels: Positions = self.labels[first:last][self.opens[first:last] & (self.begins[first:last] >= begin)]
        return labels

    def without(self, dropped: Flags) -> "Part":
        """Return the part without some of its stretches."""
        kept = ~dropped
        labels = None if self.labels is None else self.labels[kept]
        return Part(self.begins[kept], self.ends[kept], self.opens[kept], self.closes[kept], labels)

    def closed_up(self) -> "Part":
        """Return the same stretches of a text that has nothing else."""
        ends = (self.ends - self.begins).cumsum()
        return Part(ends - (self.ends - self.begins), ends, self.opens, self.closes, self.labels)

    def bounds(self, framed: bool) -> Positions:
        """Return where each stretch begins in the part's ids, and where the last one ends."""
        lengths = self.ends - self.begins
        if framed:
            lengths = lengths + self.opens + self.closes
        return np.concatenate([[0], lengths.cumsum()])

    def _touched(self, begin: int, end: int) -> tuple[int, int]:
        first, last = np.searchsorted(self.ends, begin, "right"), np.searchsorted(self.begins, end, "left")
        return int(first), int(last)


def split(ends: Positions, share: float, labels: Positions | None = None) -> list[Part]:
    """Return the training part and the held-out part, which may be empty; or one part if the share is 0.

    If there are many documents, some are drawn, always the same ones; otherwise the end of the text is held out.

    Args:
        ends: where the documents end, ascending; none is empty.
        share: of the text that is held out.
        labels: the number of each document's label, if documents have labels.
    """
    begins = np.concatenate([[0], ends[:-1]])
    length = int(ends[-1])
    whole = np.ones(len(ends), bool)
    every = Part(begins, ends, whole, whole, labels)
    if not share:
        return [every]
    wanted = min(int(length * share), MOST_HELD_OUT)
    if are_drawn(ends, share):
        held_out = _drawn(ends - begins, wanted)
        return [every.without(held_out), every.without(~held_out)]
    boundary = length - wanted
    parts = []
    for least, limit in ((0, boundary), (boundary, length)):
        cut_begins, cut_ends = np.maximum(begins, least), np.minimum(ends, limit)
        there = cut_begins < cut_ends
        stretches = cut_begins[there], cut_ends[there]
        whole_there = cut_begins[there] == begins[there], cut_ends[there] == ends[there]
        parts.append(Part(*stretches, *whole_there, None if labels is None else labels[there]))
    return parts


def are_drawn(ends: Positions, share: float) -> bool:
    """Return whether whole documents are held out."""
    return share > 0 and len(ends) >= MANY_DOCUMENTS


def _drawn(lengths: Positions, wanted: int) -> Flags:
    """Return which documents are held out: drawn until they have the wanted length; none is longer than that."""
    drawn = np.zeros(len(lengths), bool)
    order = np.random.default_rng(0).permutation(len(lengths))
    order = order[lengths[order] <= wanted]
    if not len(order):
        drawn[lengths.argmin()] = True
        return drawn
    enough = int(np.searchsorted(lengths[order].cumsum(), wanted)) + 1
    drawn[order[: min(enough, len(lengths) - 1)]] = True
    return drawn


def framed(ids: Ids, closing: Positions, opening: Positions, end: int, openers: Ids) -> Ids:
    """Return ids with an `<end>` before each id of `closing`, and its opener before each of `opening`.

    Args:
        ids: of documents.
        closing: how many ids come before each end.
        opening: how many ids come before each beginning.
        end: the id of `<end>`.
        openers: what stands before each beginning: a `<start>` or a label.
    """
    places = np.concatenate([closing, opening])
    values = np.concatenate([np.full(len(closing), end, ids.dtype), openers])
    order = places.argsort(kind="stable")  # where one document ends and the next begins, the end comes first
    return np.insert(ids, places[order], values[order])
