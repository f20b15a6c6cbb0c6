"""The reach of a trained model: how much better it predicts, the more characters before it it has read."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from charlstm.analysis.ngram import KneserNey
from charlstm.device import Device
from charlstm.errors import DataError
from charlstm.model import CharLSTM
from charlstm.tokenizer import Ids, Tokenizer

CONTEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SPAN = 1 << 17  # characters of the text from which those that are scored come
_STREAMS = 256  # read side by side
_STRETCHES = 16  # of a long text, from which the scored characters come
_BLOCKS = 32
_T_31 = 2.04  # the 97.5 % point of Student's t with _BLOCKS - 1 degrees of freedom
_LEAST_SCORED = 256

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A mean and its 95 % interval, in bits a character."""

    bits: float
    margin: float
    """Half the width of the interval."""

    @classmethod
    def of(cls, nats: Floats) -> "Mean":
        """Estimate from consecutive characters: neighbours are alike, so blocks of them are taken as the sample."""
        means = np.array([block.mean() for block in np.array_split(nats, _BLOCKS)]) / math.log(2)
        return cls(float(nats.mean() / math.log(2)), float(_T_31 * means.std(ddof=1) / math.sqrt(_BLOCKS)))


@dataclass(frozen=True)
class Row:
    """What a context is worth."""

    context: int
    """Characters read from a zero state before the one that is scored."""
    loss: Mean
    lost: Mean
    """What is lost against the longest context, on the same characters: the interval of the differences."""


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
        """The order of the n-gram with the lowest loss."""
        if (found := self.ngrams) is None:
            return None
        return 1 + min(range(len(found)), key=lambda number: found[number].bits)

    @property
    def enough(self) -> int:
        """The context after which nothing more is gained that these characters could show."""
        worse = [number for number, row in enumerate(self.rows) if row.lost.bits > row.lost.margin]
        return self.rows[worse[-1] + 1 if worse else 0].context


def measure(
    model: CharLSTM,
    held_out: Ids,
    ngrams: KneserNey | None,
    tokenizer: Tokenizer,
    device: Device,
    report: Callable[[float], None] = lambda _: None,
    *,
    every: int = 16,
) -> Reach:
    """Score characters of the held-out text given 1, 2, 4, ... 1024 characters before them, read from a zero state.

    The same characters are scored in every context; a long text is represented by some stretches.

    Args:
        model: in evaluation mode.
        held_out: the text, (length,).
        ngrams: what has counted the training text, if that is to be had.
        tokenizer: of both.
        device: where the model lies.
        report: told the share that is done.
        every: how many characters lie between two that are scored.

    Raises:
        DataError: where the held-out text is too short.
    """
    longest = CONTEXTS[-1]
    least = longest + _LEAST_SCORED * every
    if len(held_out) < least:
        remedy = "" if every == 1 else " or a smaller --every"
        raise DataError(
            f"the text has {len(held_out):,} ids; the reach test with --every {every} needs {least:,}: "
            f"give a longer TEXT{remedy}"
        )
    ends = _ends(len(held_out), every)
    if tokenizer.end_id is not None:
        ends = ends[held_out[ends] != tokenizer.start_id]  # which is known, and not predicted
    nats = _score(model, held_out, ends, every, device, report)  # (contexts, characters)
    unknown = np.zeros(len(ends))
    if tokenizer.unknown_id is not None:
        unknown = (held_out[ends] == tokenizer.unknown_id) * tokenizer.unknown_nats
    nats += unknown
    rows = [
        Row(context, Mean.of(scores), Mean.of(scores - nats[-1]))
        for context, scores in zip(CONTEXTS, nats, strict=True)
    ]
    by_order = None
    if ngrams is not None:
        contexts = [rows[ends] for rows in ngrams.contexts(held_out)]
        by_order = [Mean.of(scores + unknown) for scores in -np.log(ngrams.probabilities(contexts, held_out[ends]))]
    return Reach(rows, by_order, len(ends))


def _ends(length: int, every: int) -> npt.NDArray[np.int64]:
    """Return the positions that are scored, ascending: in one stretch of the text, or in some of a long one."""
    first, last = CONTEXTS[-1], length
    if last - first <= _SPAN:
        return np.arange(first, last, every)
    a_stretch = _SPAN // _STRETCHES
    begins = np.linspace(first, last - a_stretch, _STRETCHES).astype(np.int64)
    return (begins[:, None] + np.arange(0, a_stretch, every)).ravel()


@torch.inference_mode()
def _score(
    model: CharLSTM,
    ids: Ids,
    ends: npt.NDArray[np.int64],
    every: int,
    device: Device,
    report: Callable[[float], None],
) -> Floats:
    """Return the nats of the characters at `ends` in each context, (contexts, ends).

    With 16 characters between them, a stream that begins 16 before one begins 32 before the next, and so on: each start
    is read once, for all contexts that are multiples of that distance.
    """
    nats = np.full((len(CONTEXTS), len(ends)), np.nan)
    place = {int(end): number for number, end in enumerate(ends)}
    short = [context for context in CONTEXTS if context % every]
    long = [context for context in CONTEXTS if context % every == 0]
    starts = np.unique((ends[:, None] - np.array(long)).ravel())
    readings = [([context], ends - context) for context in short] + ([(long, starts)] if long else [])
    total = sum(contexts[-1] * len(beginnings) for contexts, beginnings in readings)
    done = 0
    for contexts, beginnings in readings:
        for begin in _groups(beginnings):
            for context, scores in _read(model, ids, begin, contexts, device):
                for score, end in zip(scores, begin + context, strict=True):
                    if (number := place.get(int(end))) is not None:
                        nats[CONTEXTS.index(context), number] = score
            done += contexts[-1] * len(begin)
            report(done / total)
    return nats


def _groups(begins: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(begins), _STREAMS):
        yield begins[start : start + _STREAMS]


def _read(
    model: CharLSTM, ids: Ids, begins: npt.NDArray[np.int64], contexts: Sequence[int], device: Device
) -> Iterator[tuple[int, Floats]]:
    """Read streams from a zero state; yield each context, and the nats of what follows it in every stream."""
    state = model.zero_state(len(begins))
    read = 0
    for context in contexts:
        positions = begins + np.arange(read, context)[:, None]  # (T, N)
        positions = np.minimum(positions, len(ids) - 1)
        with device.autocast():
            logits, state = model(torch.from_numpy(ids[positions].astype(np.int64)).to(device.name), state)
        following = ids[np.minimum(begins + context, len(ids) - 1)].astype(np.int64)
        nats = F.cross_entropy(logits[-1].float(), torch.from_numpy(following).to(device.name), reduction="none")
        yield context, nats.double().cpu().numpy()
        read = context
