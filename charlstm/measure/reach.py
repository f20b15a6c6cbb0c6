"""The reach of a trained model: how much better it predicts a character, the more of the text before it has read."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from charlstm.config import EVERY
from charlstm.errors import DataError
from charlstm.measure.interval import Series
from charlstm.measure.ngram import KneserNey
from charlstm.measure.read import Reader
from charlstm.measure.report import Progress, unwatched
from charlstm.text.tokenizer import Ids

CONTEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_STREAMS = 256  # read side by side
_LEAST_SCORED = 256

Positions = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """Which characters are scored, and in which contexts."""

    every: int = EVERY
    """Characters from one that is scored to the next."""
    contexts: tuple[int, ...] = CONTEXTS
    """Characters read from a zero state before the one that is scored, ascending."""
    span: int = 1 << 17
    """Characters of the text, at most, from which the scored ones are taken."""
    stretches: int = 16
    """Parts in which that span lies in a longer text."""


@dataclass(frozen=True)
class Mean:
    """A mean and its 95 % interval, in bits per character."""

    bits: float
    margin: float
    """Half the width of the interval."""

    @classmethod
    def of(cls, nats: Floats, every: int = EVERY) -> "Mean":
        """Estimate from characters that lie `every` characters apart."""
        interval = Series.spaced(nats, every).interval(short=True)
        assert interval is not None
        return cls(float(nats.mean() / math.log(2)), interval.margin / math.log(2))


@dataclass(frozen=True)
class Row:
    """What a context is worth."""

    context: int
    """Characters read from a zero state before the one that is scored."""
    loss: Mean
    lost: Mean
    """What is lost against the longest context; the interval is that of the differences on the same characters."""


@dataclass(frozen=True)
class Reach:
    """The loss by context, and the n-grams' on the same characters."""

    rows: list[Row]
    ngrams: list[Mean] | None
    """By order, from 1 on; None without a training text."""
    characters: int
    """Characters scored, the same for every context and order."""

    @property
    def best_order(self) -> int | None:
        """The order of the n-gram with the lowest loss; None without a training text."""
        if (found := self.ngrams) is None:
            return None
        return 1 + min(range(len(found)), key=lambda number: found[number].bits)

    @property
    def enough(self) -> int:
        """The context beyond which these characters show no further gain."""
        worse = [number for number, row in enumerate(self.rows) if row.lost.bits > row.lost.margin]
        return self.rows[worse[-1] + 1 if worse else 0].context


def measure(
    reader: Reader,
    held_out: Ids,
    ngrams: KneserNey | None,
    report: Progress = unwatched,
    layout: Layout = Layout(),
) -> Reach:
    """Score characters of the held-out text given 1, 2, 4, ... 1024 characters before them, read from a zero state.

    The same characters are scored in every context; of a long text, those in some stretches of it.

    Args:
        reader: the model, in evaluation mode.
        held_out: the text, (length,).
        ngrams: those of the training text, if it is there.
        report: told the share that is done.
        layout: which characters are scored, and in which contexts.

    Raises:
        DataError: if the held-out text is too short.
    """
    tokenizer, every = reader.tokenizer, layout.every
    least = layout.contexts[-1] + _LEAST_SCORED * every
    if len(held_out) < least:
        remedy = "" if every == 1 else " or a smaller --every"
        raise DataError(
            f"the text has {len(held_out):,} ids; the reach test with --every {every} needs {least:,}: "
            f"give a longer TEXT{remedy}"
        )
    ends = places(len(held_out), layout)
    ends = ends[~tokenizer.opens(held_out[ends])]  # what opens a document is known, and not predicted
    nats = losses(reader, held_out, ends, layout, report)  # (contexts, characters)
    unknown = np.zeros(len(ends))
    if tokenizer.unknown_id is not None:
        unknown = (held_out[ends] == tokenizer.unknown_id) * tokenizer.unknown_nats
    nats += unknown
    rows = [
        Row(context, Mean.of(scores, every), Mean.of(scores - nats[-1], every))
        for context, scores in zip(layout.contexts, nats, strict=True)
    ]
    by_order = None
    if ngrams is not None:
        contexts = [rows[ends] for rows in ngrams.contexts(held_out)]
        by_order = [
            Mean.of(scores + unknown, every) for scores in -np.log(ngrams.probabilities(contexts, held_out[ends]))
        ]
    return Reach(rows, by_order, len(ends))


def places(length: int, layout: Layout) -> Positions:
    """Return the positions that are scored, ascending: in one stretch of the text, or in some of a long one."""
    first, last = layout.contexts[-1], length
    if last - first <= layout.span:
        return np.arange(first, last, layout.every)
    stretch = layout.span // layout.stretches
    begins = np.linspace(first, last - stretch, layout.stretches).astype(np.int64)
    return (begins[:, None] + np.arange(0, stretch, layout.every)).ravel()


@torch.inference_mode()
def losses(reader: Reader, ids: Ids, ends: Positions, layout: Layout, report: Progress = unwatched) -> Floats:
    """Return the nats of the ids at `ends` in each context, (contexts, ends).

    If they lie 16 apart, a stream that begins 16 before one begins 32 before the next, and so on: each start is read
    once, for all contexts that are multiples of that distance.

    Args:
        reader: the model, in evaluation mode.
        ids: the text, (length,).
        ends: the positions that are scored.
        layout: its contexts, and how far apart the positions lie.
        report: told the share that is done.
    """
    every = layout.every
    nats = np.full((len(layout.contexts), len(ends)), np.nan)
    place = {int(end): number for number, end in enumerate(ends)}
    short = [context for context in layout.contexts if context % every]
    long = [context for context in layout.contexts if context % every == 0]
    starts = np.unique((ends[:, None] - np.array(long)).ravel())
    readings = [([context], ends - context) for context in short] + ([(long, starts)] if long else [])
    total = sum(contexts[-1] * len(beginnings) for contexts, beginnings in readings)
    done = 0
    for contexts, beginnings in readings:
        for begin in _groups(beginnings):
            for context, scores in _read(reader, ids, begin, contexts):
                for score, end in zip(scores, begin + context, strict=True):
                    if (number := place.get(int(end))) is not None:
                        nats[layout.contexts.index(context), number] = score
            done += contexts[-1] * len(begin)
            report(done / total)
    return nats


def _groups(begins: Positions) -> Iterator[Positions]:
    for start in range(0, len(begins), _STREAMS):
        yield begins[start : start + _STREAMS]


def _read(reader: Reader, ids: Ids, begins: Positions, contexts: Sequence[int]) -> Iterator[tuple[int, Floats]]:
    """Read streams from a zero state; yield each context, and the nats of what follows it in every stream."""
    state = reader.model.zero_state(len(begins))
    read = 0
    for context in contexts:
        _, length = reader.fitting(len(begins), context)
        for begin in range(read, context, length):
            positions = begins + np.arange(begin, min(begin + length, context))[:, None]  # (T, N)
            logits, state = reader.forward(ids[np.minimum(positions, len(ids) - 1)].astype(np.int64), state)
        following = ids[np.minimum(begins + context, len(ids) - 1)].astype(np.int64)
        nats = F.cross_entropy(logits[-1], torch.from_numpy(following).to(reader.device.name), reduction="none")
        yield context, nats.double().cpu().numpy()
        read = context
