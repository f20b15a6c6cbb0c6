"""ids -> parallel streams of windows, as a pure function of (seed, step).

The text is cut into `batch_size` segments of equal length (to one id). Stream n reads segment n in windows of
`seq_length`; in the next epoch it reads segment n + 1, so its recurrent state meets exactly the text that follows, and
only the stream that wraps to the beginning of the text has its state zeroed.

With `jitter` the windows of a segment begin elsewhere in every epoch: no character is always the first of its window,
and no dependency always has its gradient cut. Every character is still predicted exactly once per epoch.

Framed documents come in another order in every epoch. The input before a `<start>` is always an `<end>`, which takes
the state back to its beginning (`network/model.py`), and the `<start>` itself is no target: there is nothing to learn
from it. Since no text continues from one epoch to the next, all states are zeroed there; a document that lies across
the border of two segments is read as two. So that a model with labels also knows texts without one, some documents,
others in every epoch, are read without theirs.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.text.corpus import Split
from charlstm.text.documents import Positions
from charlstm.text.tokenizer import Ids, Tokenizer

IGNORE = -100
"""The target that counts for nothing (torch's `ignore_index`)."""
UNLABELLED = 0.1
"""Share of the documents that are read without their label in an epoch of training."""
_OF_LABELS = 1  # tells the draw of those documents from that of their order
_GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Batch:
    """One window of every stream."""

    inputs: Positions  # (T, N)
    targets: Positions  # (T, N), IGNORE after a stream's end and at the beginning of a document
    positions: Positions  # (T, N), of the targets in the split's ids
    begins: npt.NDArray[np.bool_]  # (N,), true if a stream begins, with a zero state
    characters: int
    """Targets that count."""

    def of(self, rows: slice) -> "Batch":
        """Return the batch of some of the streams; `characters` stays that of all."""
        inputs, targets, positions = (part[:, rows] for part in (self.inputs, self.targets, self.positions))
        return Batch(inputs, targets, positions, self.begins[rows], self.characters)


def window_of(
    ids: Ids,
    tokenizer: Tokenizer,
    positions: Positions,
    first: npt.NDArray[np.bool_],
    inside: npt.NDArray[np.bool_],
    begins: npt.NDArray[np.bool_],
) -> Batch:
    """Return the batch that predicts the ids at these positions.

    Args:
        ids: the text.
        tokenizer: of the ids.
        positions: (T, N), of the targets.
        first: (T, N), whether a position has no id before it.
        inside: (T, N), whether a position counts.
        begins: (N,), whether a stream begins.
    """
    targets = ids[positions].astype(np.int64)
    inputs = ids[np.maximum(positions - 1, 0)].astype(np.int64)
    inputs[first] = tokenizer.start_id
    if tokenizer.end_id is not None:
        opening = tokenizer.opens(targets)
        inputs[opening] = tokenizer.end_id
        inside = inside & ~opening
    return Batch(inputs, np.where(inside, targets, IGNORE), positions, begins, int(inside.sum()))


class Batches:
    """The windows of a text, in the order they are trained on."""

    def __init__(
        self,
        split: Split,
        tokenizer: Tokenizer,
        batch_size: int,
        seq_length: int,
        *,
        jitter: bool = False,
        shuffle: int | None = None,
    ) -> None:
        """Lay out the streams.

        Args:
            split: the text.
            tokenizer: of its ids; without frames all documents are one.
            batch_size: number of streams; no more than there are ids.
            seq_length: the most ids of a window; with jitter the first and the last window of a segment have between
                0.5 and 1.5 times as many.
            jitter: whether windows begin elsewhere in every epoch.
            shuffle: the seed of the order of framed documents in each epoch, and of which are read without their
                label; by default they keep their own order, and all their labels.
        """
        self._ids = split.ids
        self._tokenizer = tokenizer
        framed = tokenizer.end_id is not None
        self._starts = split.bounds[:-1] if framed else split.bounds[:1]
        self._seed = shuffle if framed and len(self._starts) > 1 else None
        self._order = _Order(self._starts, len(self._ids))
        self._without = np.zeros(0, bool)
        self._epoch = -1
        self._bounds = np.arange(batch_size + 1) * len(self._ids) // batch_size
        sizes = np.diff(self._bounds)
        self._jitter = jitter
        self._longest = int(sizes.max())
        # Windows of equal length (to one id), rather than full ones and a short one whose gradient is all noise.
        self.windows = -(-self._longest // seq_length)
        """Windows, and so steps, per epoch."""

    def at(self, step: int) -> Batch:
        """Return the batch that step number `step`, counted from 0, trains on."""
        epoch, window = divmod(step, self.windows)
        segments = (np.arange(len(self._bounds) - 1) + epoch) % (len(self._bounds) - 1)
        begin, end = self._bounds[segments], self._bounds[segments + 1]
        inner = np.arange(self._cut(epoch, window), self._cut(epoch, window + 1))
        places = begin + inner[:, None]  # (T, N), in the order of this epoch
        inside = places < end
        positions, first = self._ordered(epoch).find(np.minimum(places, len(self._ids) - 1))
        begins = (window == 0) & ((segments == 0) | (self._seed is not None))
        batch = window_of(self._ids, self._tokenizer, positions, first, inside, begins)
        if self._seed is not None and self._tokenizer.labels:
            self._hide(batch.inputs, positions)
        return batch

    def _hide(self, inputs: Positions, positions: Positions) -> None:
        """Replace the labels of documents that are read without theirs in this epoch, by a `<start>`.

        Args:
            inputs: (T, N), changed in place.
            positions: (T, N), of the ids that come after them.
        """
        labels = inputs >= self._tokenizer.vocab_size
        documents = np.searchsorted(self._starts, positions[labels] - 1, "right") - 1
        inputs[labels] = np.where(self._without[documents], self._tokenizer.start_id, inputs[labels])

    def ordinary(self, step: int) -> int:
        """Return a step near this one whose window is neither the first nor the last of an epoch, if there is one.

        With jitter those two may be half as long as others, so they say little about how long a step takes.
        """
        if self.windows < 3:
            return step
        epoch, window = divmod(step, self.windows)
        return epoch * self.windows + min(max(window, 1), self.windows - 2)

    def read_before(self, step: int) -> int:
        """Return how many ids each stream has read before a step."""
        epoch, window = divmod(step, self.windows)
        return epoch * self._longest + self._cut(epoch, window)

    def _ordered(self, epoch: int) -> "_Order":
        """Return the order of the documents in an epoch, and draw those without label; the last epoch's is kept."""
        if self._seed is not None and self._epoch != epoch:
            shuffled = np.random.default_rng((self._seed, epoch)).permutation(len(self._starts))
            self._order, self._epoch = _Order(self._starts, len(self._ids), shuffled), epoch
            if self._tokenizer.labels:
                source = np.random.default_rng((self._seed, epoch, _OF_LABELS))
                self._without = source.random(len(self._starts)) < UNLABELLED
        return self._order

    def _cut(self, epoch: int, window: int) -> int:
        """Return where in its segment a window begins: multiples of the golden ratio spread evenly over a window."""
        if not 0 < window < self.windows:
            return self._longest if window else 0
        shift = epoch * _GOLDEN_RATIO % 1 - 0.5 if self._jitter else 0
        return max(window, int(self._longest * (window + shift) / self.windows))


class Mixed:
    """The windows of a text and, in further streams beside it, those of another one.

    The other text is read in its own order, each stream from its own place on, again and again. Steps and epochs are
    those of the first text.
    """

    def __init__(self, batches: Batches, other: Split, tokenizer: Tokenizer, streams: int) -> None:
        """Lay out the streams of the other text.

        Args:
            batches: the first text.
            other: the other one.
            tokenizer: of the ids of both.
            streams: how many read the other text.
        """
        self._batches, self._ids, self._tokenizer = batches, other.ids, tokenizer
        self._starts = np.arange(streams) * len(other.ids) // streams
        self.windows = batches.windows
        """Windows, and so steps, per epoch of the first text."""

    def at(self, step: int) -> Batch:
        """Return the batch that step number `step`, counted from 0, trains on: first the streams of the first text."""
        own = self._batches.at(step)
        length = len(own.inputs)
        inner = self._batches.read_before(step) + np.arange(length)[:, None]
        positions = (self._starts + inner) % len(self._ids)  # (T, N)
        everywhere = np.ones(positions.shape, bool)
        none = np.zeros(len(self._starts), bool)
        other = window_of(self._ids, self._tokenizer, positions, positions == 0, everywhere, none)
        joined = [
            np.concatenate(pair, 1)
            for pair in zip(
                (own.inputs, own.targets, own.positions), (other.inputs, other.targets, other.positions), strict=True
            )
        ]
        begins = np.concatenate([own.begins, other.begins])
        return Batch(joined[0], joined[1], joined[2], begins, own.characters + other.characters)

    def ordinary(self, step: int) -> int:
        """Return a step near this one whose window has the usual length, as `Batches.ordinary` does."""
        return self._batches.ordinary(step)


class _Order:
    """Documents one after the other, in some order."""

    def __init__(self, starts: Positions, length: int, order: Positions | None = None) -> None:
        lengths = np.diff(starts, append=length)
        if order is not None:
            starts, lengths = starts[order], lengths[order]
        self._starts = starts
        self._places = lengths.cumsum() - lengths  # where each begins in this order

    def find(self, places: Positions) -> tuple[Positions, npt.NDArray[np.bool_]]:
        """Return the positions of these places in the ids, and whether a document begins there."""
        if len(self._starts) == 1:
            return places + self._starts[0], places == 0
        document = np.searchsorted(self._places, places, "right") - 1
        within = places - self._places[document]
        return self._starts[document] + within, within == 0
