"""Scores a text from the windows that torch has read of it: what each of its ids costs, and what that adds up to."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from charlstm.measure import read
from charlstm.measure.interval import Series
from charlstm.measure.read import Floats, Positions, Reader
from charlstm.measure.score import NOTHING, Score
from charlstm.network.distributed import Group
from charlstm.text.batches import IGNORE, Batch
from charlstm.text.corpus import Split
from charlstm.text.tokenizer import Tokenizer, widths


@dataclass(frozen=True)
class Scored:
    """A window that was read, and what each of its ids cost."""

    logits: Tensor  # (T, N, V)
    batch: Batch
    positions: Positions
    """Of the ids that count, in the split's ids; their order is that of `batch.targets`, row by row."""
    nats: Floats
    """The surprise at each of these positions; that of an unknown character includes its name."""


class Observer(Protocol):
    """Takes in what a text's score is made of."""

    def add(self, window: Scored) -> None:
        """Take in a window."""


@dataclass(frozen=True)
class Measured:
    """The score of a text, and how sure it is."""

    score: Score
    interval: tuple[float, float] | None
    """In bits per character; None if the text is too short for it."""
    seconds: float


def evaluate(reader: Reader, split: Split, *, cold: int | None = None, part: int | None = None) -> Score:
    """Score a whole text, each character given all before it in its document, the first given its start.

    In a job of several processes each of them gets the score of the whole.
    """
    *_, score = progress(reader, split, cold=cold, part=part)
    return together(score, reader.group)


def progress(reader: Reader, split: Split, *, cold: int | None = None, part: int | None = None) -> Iterator[Score]:
    """Do what `evaluate` does, yielding the score so far; the last one is the whole text's.

    The count of bytes and unknown characters comes with the last, if no `part` is given. In a job of several processes
    the nats are those of this process's streams: see `together`. The arguments are those of `read.windows`.
    """
    windows = scored(read.windows(reader, split, cold=cold, part=part), reader.tokenizer)
    yield from add_up(windows, split, reader.tokenizer, whole=part is None)


def together(score: Score, group: Group) -> Score:
    """Return the score of the text from what each process has scored of it."""
    sums = torch.tensor([score.nats, score.characters], dtype=torch.float64)
    group.add([sums])
    # A whole text's characters are known; what was scored of a part is counted by each process for its own streams.
    characters = score.characters if score.bytes else max(1, round(float(sums[1])))
    return dataclasses.replace(score, nats=float(sums[0]), characters=characters)


def measured(
    windows: Iterable[read.Window],
    split: Split,
    tokenizer: Tokenizer,
    report: Callable[[float], None] = lambda _: None,
    observers: Iterable[Observer] = (),
) -> Measured:
    """Score what is read of a text, in one pass with whatever else takes in the same windows.

    Args:
        windows: what was read.
        split: the text.
        tokenizer: of its ids.
        report: told the share that is done.
        observers: take in every window.
    """
    began = time.perf_counter()
    series, others = Series(len(split.ids)), tuple(observers)

    def observed() -> Iterator[Scored]:
        for window in scored(windows, tokenizer):
            series.add(window.positions, window.nats)
            for observer in others:
                observer.add(window)
            yield window

    for score in add_up(observed(), split, tokenizer):
        report(score.characters / split.characters)
    seconds, interval = time.perf_counter() - began, series.interval()
    bounds = None
    if interval is not None:  # of positions; a character of a byte model may have several
        bits = score.bits_per_character
        bounds = (bits * (interval.low / interval.mean), bits * (interval.high / interval.mean))
    return Measured(score, bounds, seconds)


def add_up(windows: Iterable[Scored], split: Split, tokenizer: Tokenizer, *, whole: bool = True) -> Iterator[Score]:
    """Yield the score of what was read so far, window by window; the last one is that of all that was read.

    Args:
        windows: what was read, each id with its cost.
        split: the text.
        tokenizer: of its ids.
        whole: whether all of the text is read; bytes and unknown characters are counted only then.
    """
    total = NOTHING
    for window in windows:
        targets = window.batch.targets[window.batch.targets != IGNORE]
        total += Score(float(window.nats.sum()), _characters(targets, tokenizer), 0, 0)
        yield total
    counts = {"characters": split.characters, "bytes": split.bytes, "unknown": split.unknown}
    yield dataclasses.replace(total, **counts) if whole else total


def scored(windows: Iterable[read.Window], tokenizer: Tokenizer) -> Iterator[Scored]:
    """Yield each window with the surprise at each of its positions, which is computed here and nowhere else."""
    for logits, batch in windows:
        yield Scored(logits, batch, *surprise(logits, batch, tokenizer))


def surprise(logits: Tensor, batch: Batch, tokenizer: Tokenizer) -> tuple[Positions, Floats]:
    """Return the positions that a window scores, and the nats of the id at each; an unknown one's with its name.

    Args:
        logits: (T, N, V).
        batch: what was read, and what came.
        tokenizer: of the ids.
    """
    targets = torch.from_numpy(batch.targets).to(logits.device)
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="none")
    inside = batch.targets != IGNORE
    nats: Floats = losses.double().cpu().numpy().reshape(inside.shape)[inside]
    if tokenizer.unknown_id is not None:
        nats += (batch.targets[inside] == tokenizer.unknown_id) * tokenizer.unknown_nats
    return batch.positions[inside], nats


def _characters(targets: npt.NDArray[np.int64], tokenizer: Tokenizer) -> int:
    """Return how many characters these ids are; of bytes, those that begin one, and the ends of documents."""
    return int(widths(targets, "byte")[0].sum()) if tokenizer.kind == "byte" else len(targets)
