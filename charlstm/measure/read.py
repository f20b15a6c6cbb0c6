"""One forward pass for every measurement: a model reads a text, window by window.

All windows come as (logits, batch): the logits, (T, N, V) in fp32, and what was read and came. `Reader.forward` is the
only place in this folder where a model is called, so that precision and device are the same for all that is measured.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlstm.network.device import Device
from charlstm.network.distributed import ALONE, Group
from charlstm.network.model import CharLSTM, State
from charlstm.storage.loaded import Loaded
from charlstm.text.batches import IGNORE, Batch, Batches, window_of
from charlstm.text.corpus import Split
from charlstm.text.tokenizer import Ids, Tokenizer

WARM_UP = 512
"""Ids that a stream reads before those it scores, so that its state is that of the whole text read in one go."""
_LEAST_STREAM = 8 * WARM_UP
_PASSAGE, _PASSAGE_WARM_UP = 256, 128
"""Ids that are scored of each passage of a part, and read before it: benchmarks/README.md has the errors of others."""
_LEAST_WINDOW = 16

Positions = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Window = tuple[Tensor, Batch]


@dataclass(frozen=True)
class Limits:
    """What is held in memory at a time."""

    streams: int = 64
    """Streams that are read side by side."""
    logits: int = 1 << 22
    """Logits (16 MB)."""


@dataclass(frozen=True)
class Reader:
    """A model, and how it reads."""

    model: CharLSTM
    tokenizer: Tokenizer
    device: Device
    group: Group = ALONE
    """The processes of the job: each reads some of the streams."""
    limits: Limits = Limits()

    @classmethod
    def of(cls, loaded: Loaded) -> "Reader":
        """Return what reads with an opened checkpoint."""
        return cls(loaded.model, loaded.tokenizer, loaded.device or Device("cpu", "fp32"))

    def forward(self, inputs: npt.NDArray[np.int64], state: State) -> tuple[Tensor, State]:
        """Return the logits of a window of all streams, (T, N, V) in fp32, and the state after it.

        Args:
            inputs: ids, (T, N).
            state: of the N streams.
        """
        with self.device.autocast():
            logits, state = self.model(torch.from_numpy(inputs).to(self.device.name), state)
        return logits.float(), state

    def fitting(self, streams: int, length: int) -> tuple[int, int]:
        """Return how many streams are read side by side, and how far at a time, so that their logits fit in memory."""
        most, vocab_size = self.limits.logits, self.tokenizer.vocab_size
        streams = max(1, min(streams, self.limits.streams, most // (_LEAST_WINDOW * vocab_size)))
        return streams, max(_LEAST_WINDOW, min(length, most // (streams * vocab_size)))


@contextlib.contextmanager
def evaluating(model: CharLSTM) -> Iterator[None]:
    """Switch dropout off, and leave the model as it was."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def windows(reader: Reader, split: Split, *, cold: int | None = None, part: int | None = None) -> Iterator[Window]:
    """Yield what the model reads of a text, window by window.

    The text is cut into streams that are read side by side, because reading one character at a time is slow; each but
    the first reads WARM_UP ids before its own. In a job of several processes each reads some of the streams.

    Args:
        reader: the model.
        split: the text.
        cold: read windows of this many ids instead, each from a zero state and given the id before it.
        part: score about this many ids, in short passages from all over the text, always the same ones; by default all
            of it.
    """
    length = len(split.ids)
    if cold is not None:
        return _passages(reader, split, np.arange(0, length, cold), cold, 0)
    if part is None or part >= length:
        return _streams(reader, split)
    count = max(1, part // _PASSAGE)
    return _passages(reader, split, np.arange(count) * length // count, _PASSAGE, _PASSAGE_WARM_UP)


def overhead(*, part: bool) -> float:
    """Return how many ids are read for each that is scored, in a part of a text or in all of it."""
    return 1 + (_PASSAGE_WARM_UP / _PASSAGE if part else WARM_UP / _LEAST_STREAM)


def probabilities(reader: Reader, split: Split, other: int) -> Iterator[tuple[Positions, Floats, Floats]]:
    """Yield how likely each id of a text was before it came, and how likely `other` was there; not for a `<start>`.

    Each item is of some positions: these, P(the id there), P(other there).
    """
    for logits, batch in windows(reader, split):
        inside = torch.from_numpy(batch.targets != IGNORE).to(reader.device.name)
        likely = logits[inside].softmax(-1).double()  # (positions, V)
        positions = batch.positions[batch.targets != IGNORE]
        chosen = torch.from_numpy(split.ids[positions].astype(np.int64)).to(reader.device.name)
        there = likely.gather(1, chosen[:, None])[:, 0]
        yield positions, there.cpu().numpy(), likely[:, other].cpu().numpy()


@torch.inference_mode()
def _streams(reader: Reader, split: Split) -> Iterator[Window]:
    """Yield one window of all of this process's streams after the other."""
    ids = split.ids
    streams, seq_length = reader.fitting(len(ids) // _LEAST_STREAM, WARM_UP)
    batches = Batches(split, reader.tokenizer, streams, seq_length)
    rows = reader.group.rows(streams)
    if rows.start == rows.stop:  # fewer streams than processes
        return
    with evaluating(reader.model):
        state = _warm_state(reader, ids, (np.arange(streams) * len(ids) // streams)[rows], WARM_UP, seq_length)
        for number in range(batches.windows):
            batch = batches.at(number).of(rows)
            logits, state = reader.forward(batch.inputs, state)
            yield logits, batch


@torch.inference_mode()
def _passages(reader: Reader, split: Split, starts: Positions, length: int, warm_up: int) -> Iterator[Window]:
    """Yield passages of the text, some side by side, in pieces of them.

    Args:
        reader: the model.
        split: the text.
        starts: where the passages begin, ascending; but for one at 0, there are more than `warm_up` ids before each.
        length: of each; the text may end within one.
        warm_up: ids that are read before each, from a zero state.
    """
    ids = split.ids
    starts = starts[reader.group.rows(len(starts))]
    if not len(starts):  # fewer passages than processes
        return
    streams, piece = reader.fitting(len(starts), length)
    with evaluating(reader.model):
        for begins in np.array_split(starts, -(-len(starts) // streams)):
            state = _warm_state(reader, ids, begins, warm_up, piece)
            for begin in range(0, min(length, len(ids)), piece):
                places = begins + np.arange(begin, min(begin + piece, length))[:, None]  # (T, N)
                inside = places < len(ids)
                positions = np.minimum(places, len(ids) - 1)
                fresh = np.full(len(begins), begin == 0)
                batch = window_of(ids, reader.tokenizer, positions, positions == 0, inside, fresh)
                logits, state = reader.forward(batch.inputs, state)
                yield logits, batch


def _warm_state(reader: Reader, ids: Ids, starts: Positions, warm_up: int, seq_length: int) -> State:
    """Return the state of each stream after the `warm_up` ids before it; the text's beginning has none."""
    fresh = int(starts[0] == 0)
    state = reader.model.zero_state(len(starts))
    if not warm_up or len(starts) == fresh:
        return state
    warm: State = [tuple(part[:, fresh:] for part in layer) for layer in state]
    for begin in range(-warm_up, 0, seq_length):
        positions = starts[fresh:] + np.arange(begin, min(begin + seq_length, 0))[:, None]
        _, warm = reader.forward(ids[positions - 1].astype(np.int64), warm)
    return [
        tuple(torch.cat([part[:, :fresh].to(other.dtype), other], 1) for part, other in zip(layer, others, strict=True))
        for layer, others in zip(state, warm, strict=True)
    ]
