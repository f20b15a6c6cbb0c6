"""How surprised a model is by a text: sums of nats and characters, and the ratios people quote."""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from charlstm.batches import IGNORE, Batch, Batches, window_of
from charlstm.corpus import Split
from charlstm.device import Device
from charlstm.distributed import ALONE, Group
from charlstm.model import CharLSTM, State
from charlstm.tokenizer import Tokenizer, widths

WARM_UP = 512
"""Characters a stream reads before those it scores, so that its state is that of the whole text read in one go."""
MAX_STREAMS = 64
CELL = 100
"""Positions of the text whose nats are added up in one for the interval."""
_BLOCK = 1000  # positions that are drawn together, at least
_FEWEST_BLOCKS = 10
_MOST_BLOCKS = 1000  # a longer text is drawn in longer blocks
_RESAMPLES = 2000
_MAX_LOGITS = 1 << 22  # logits held at a time (16 MB)
_LEAST_WINDOW = 16

Positions = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Sums over a text; scores of parts add up to the score of the whole."""

    nats: float
    characters: int
    bytes: int
    unknown: int

    def __add__(self, other: Self) -> "Score":
        """Return the score of both texts."""
        return Score(
            self.nats + other.nats,
            self.characters + other.characters,
            self.bytes + other.bytes,
            self.unknown + other.unknown,
        )

    @property
    def loss(self) -> float:
        """Nats a character."""
        return self.nats / self.characters

    @property
    def bits_per_character(self) -> float:
        """Loss in bits."""
        return self.loss / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Bits a byte of the text in UTF-8."""
        return self.nats / self.bytes / math.log(2)

    @property
    def perplexity(self) -> float:
        """Number of equally likely characters that would surprise as much."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


class Cells:
    """The nats of each CELL positions of a text, from which it is told how sure their mean is."""

    def __init__(self, length: int) -> None:
        """Make room for a text of so many ids."""
        self._nats = np.zeros(-(-length // CELL))
        self._count = np.zeros(len(self._nats))

    def add(self, positions: Positions, nats: Floats) -> None:
        """Take in the nats at these positions."""
        np.add.at(self._nats, positions // CELL, nats)
        np.add.at(self._count, positions // CELL, 1)

    def interval(self, share: float = 0.95) -> tuple[float, float] | None:
        """Return within which factors of this mean that of endless text like this lies: a moving-block bootstrap.

        A character's surprise is like its neighbours': so blocks of at least 1,000 positions are drawn from all places
        of the text, with replacement, until they are as long as it (Kunsch 1989), 2,000 times over. Of fewer than ten
        blocks there is none.
        """
        size = max(_BLOCK // CELL, -(-len(self._nats) // _MOST_BLOCKS))
        if len(self._nats) < _FEWEST_BLOCKS * size:
            return None
        nats, count = (np.concatenate([[0.0], cells.cumsum()]) for cells in (self._nats, self._count))
        nats, count = nats[size:] - nats[:-size], count[size:] - count[:-size]  # of the block that begins at each cell
        blocks = np.random.default_rng(0).integers(len(nats), size=(_RESAMPLES, -(-len(self._nats) // size)))
        means = nats[blocks].sum(1) / count[blocks].sum(1)
        low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2]) / (self._nats.sum() / self._count.sum())
        return float(low), float(high)


def evaluate(
    model: CharLSTM,
    split: Split,
    tokenizer: Tokenizer,
    device: Device,
    group: Group = ALONE,
    *,
    part: int | None = None,
) -> Score:
    """Score a whole text, each character given all before it in its document, the first given its start."""
    *_, score = progress(model, split, tokenizer, device, group, part=part)
    return together(score, group)


def together(score: Score, group: Group) -> Score:
    """Return the score of the text from what each process has scored of it."""
    sums = torch.tensor([score.nats, score.characters], dtype=torch.float64)
    group.add([sums])
    # A whole text's characters are known; what was scored of a part is counted by each process for its own streams.
    characters = score.characters if score.bytes else max(1, round(float(sums[1])))
    return dataclasses.replace(score, nats=float(sums[0]), characters=characters)


def progress(
    model: CharLSTM,
    split: Split,
    tokenizer: Tokenizer,
    device: Device,
    group: Group = ALONE,
    *,
    cold: int | None = None,
    part: int | None = None,
    cells: Cells | None = None,
) -> Iterator[Score]:
    """Do what `evaluate` does, yielding what was scored so far; the last one is the whole text's.

    The text is cut into streams that are read side by side, as nothing is fast one character at a time; each but the
    first reads WARM_UP characters before its own. The count of bytes and unknown characters comes with the last.
    In a job of several processes each reads some of the streams, and the nats are those of its own: see `together`.

    Args:
        model: what is scored.
        split: the text.
        tokenizer: of its ids.
        device: where the model lies.
        group: the processes of the job.
        cold: score windows of so many ids instead, each from a zero state and given the id before it.
        part: score about so many ids, in passages spread over the text, always the same ones; by default all of it.
        cells: takes in where in the text the nats are.
    """
    read = windows(model, split, tokenizer, device, group, cold=cold, part=part)
    yield from add_up(read, split, tokenizer, cells, whole=part is None)


def add_up(
    windows_read: Iterable[tuple[Tensor, Batch]],
    split: Split,
    tokenizer: Tokenizer,
    cells: Cells | None = None,
    *,
    whole: bool = True,
) -> Iterator[Score]:
    """Score what was read of a text, window by window; the last score is that of all that was read.

    Args:
        windows_read: logits, (T, N, V), and what came.
        split: the text.
        tokenizer: of its ids.
        cells: takes in where in the text the nats are.
        whole: whether all of the text is read; bytes and unknown characters are counted only then.
    """
    nats, characters = 0.0, 0
    for logits, batch in windows_read:
        positions, surprises = surprise(logits, batch, tokenizer)
        nats += float(surprises.sum())
        if cells is not None:
            cells.add(positions, surprises)
        characters += _characters(batch, tokenizer)
        yield Score(nats, characters, 0, 0)
    yield Score(nats, split.characters, split.bytes, split.unknown) if whole else Score(nats, characters, 0, 0)


def _characters(batch: Batch, tokenizer: Tokenizer) -> int:
    """Return how many characters a window's targets are; of bytes, those that begin one, and the ends of documents."""
    targets = batch.targets[batch.targets != IGNORE]
    if tokenizer.kind == "byte":
        return int(widths(targets, "byte")[0].sum())
    return len(targets)


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


def probabilities(
    model: CharLSTM, split: Split, tokenizer: Tokenizer, device: Device, other: int
) -> Iterator[tuple[Positions, Floats, Floats]]:
    """Yield how likely each id of a text was before it came, and how likely `other` was there; not of a `<start>`.

    The text is read as `progress` reads it. Each item is of some positions: these, P(the id there), P(other there).
    """
    for logits, batch in windows(model, split, tokenizer, device):
        inside = torch.from_numpy(batch.targets != IGNORE).to(device.name)
        likely = logits[inside].softmax(-1).double()  # (positions, V)
        positions = batch.positions[batch.targets != IGNORE]
        chosen = torch.from_numpy(split.ids[positions].astype(np.int64)).to(device.name)
        there = likely.gather(1, chosen[:, None])[:, 0]
        yield positions, there.cpu().numpy(), likely[:, other].cpu().numpy()


def windows(
    model: CharLSTM,
    split: Split,
    tokenizer: Tokenizer,
    device: Device,
    group: Group = ALONE,
    *,
    cold: int | None = None,
    part: int | None = None,
) -> Iterator[tuple[Tensor, Batch]]:
    """Yield the logits, (T, N, V) in fp32, and what was read and came, window by window, as `progress` reads them."""
    if cold is None:
        return _windows(model, split, tokenizer, device, group, part)
    return _cold_windows(model, split, tokenizer, device, cold)


def read(model: CharLSTM, batch: Batch, state: State, device: Device) -> tuple[Tensor, State]:
    """Return the logits of a window of all streams, (T, N, V) in fp32, and the state after it."""
    with device.autocast():
        logits, state = model(torch.from_numpy(batch.inputs).to(device.name), state)
    return logits.float(), state


def fitting(streams: int, length: int, vocab_size: int) -> tuple[int, int]:
    """Return how many streams are read side by side, and how far at a time, that their logits stay within memory."""
    streams = max(1, min(streams, MAX_STREAMS, _MAX_LOGITS // (_LEAST_WINDOW * vocab_size)))
    return streams, max(_LEAST_WINDOW, min(length, _MAX_LOGITS // (streams * vocab_size)))


@contextlib.contextmanager
def evaluating(model: CharLSTM) -> Iterator[None]:
    """Have the model drop nothing, and leave it as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@torch.inference_mode()
def _windows(
    model: CharLSTM,
    split: Split,
    tokenizer: Tokenizer,
    device: Device,
    group: Group = ALONE,
    part: int | None = None,
) -> Iterator[tuple[Tensor, Batch]]:
    """Yield the logits, (T, N, V), of one window of all of this process's streams after the other.

    Of a part as many streams are read as a text of its length has; each begins where it would in the whole text, and
    ends early.
    """
    ids = split.ids
    length = len(ids) if part is None else min(part, len(ids))
    streams, seq_length = fitting(length // (8 * WARM_UP), WARM_UP, tokenizer.vocab_size)
    batches = Batches(split, tokenizer, streams, seq_length)
    count = -(-batches.windows * length // len(ids))
    rows = group.rows(streams)
    if rows.start == rows.stop:  # fewer streams than processes
        return
    with evaluating(model):
        starts = (np.arange(streams) * len(ids) // streams)[rows]
        state = _warm_state(model, ids, starts, seq_length, device)
        for number in range(count):
            batch = batches.at(number).of(rows)
            logits, state = read(model, batch, state, device)
            yield logits, batch


@torch.inference_mode()
def _cold_windows(
    model: CharLSTM, split: Split, tokenizer: Tokenizer, device: Device, length: int
) -> Iterator[tuple[Tensor, Batch]]:
    """Yield the logits of some windows of the text side by side, each from a zero state, in pieces of them."""
    ids = split.ids
    streams, piece = fitting(MAX_STREAMS, length, tokenizer.vocab_size)
    starts = np.arange(0, len(ids), length)
    with evaluating(model):
        for first in range(0, len(starts), streams):
            windows = starts[first : first + streams]
            state = model.zero_state(len(windows))
            for begin in range(0, min(length, len(ids)), piece):
                places = windows + np.arange(begin, min(begin + piece, length))[:, None]  # (T, N)
                inside = places < len(ids)
                positions = np.minimum(places, len(ids) - 1)
                batch = window_of(ids, tokenizer, positions, positions == 0, inside, np.full(len(windows), begin == 0))
                logits, state = read(model, batch, state, device)
                yield logits, batch


def _warm_state(model: CharLSTM, ids: np.ndarray, starts: Positions, seq_length: int, device: Device) -> State:
    """Return the state of each stream after the WARM_UP characters before it; the text's beginning has none."""
    fresh = int(starts[0] == 0)
    state = model.zero_state(len(starts))
    if len(starts) == fresh:
        return state
    warm: State = [tuple(part[:, fresh:] for part in layer) for layer in state]
    for begin in range(-WARM_UP, 0, seq_length):
        positions = starts[fresh:] + np.arange(begin, min(begin + seq_length, 0))[:, None]
        inputs = torch.from_numpy(ids[positions - 1].astype(np.int64)).to(device.name)
        with device.autocast():
            _, warm = model(inputs, warm)
    return [
        tuple(torch.cat([part[:, :fresh].to(other.dtype), other], 1) for part, other in zip(layer, others, strict=True))
        for layer, others in zip(state, warm, strict=True)
    ]
