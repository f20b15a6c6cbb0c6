"""Documents read side by side, each from its beginning: the memory depends neither on their number nor their length.

Documents of about the same length are read together; one too long to be held is read piece by piece, and its state
carried on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlstm.measure.read import Reader, evaluating
from charlstm.measure.scoring import surprise
from charlstm.network.model import State, joined
from charlstm.text.batches import IGNORE, Batch
from charlstm.text.tokenizer import Ids

_WINDOW = 128
_STREAMS = (1, 4, 16, 64)
_STEP = 8


@dataclass(frozen=True)
class Sizes:
    """How much is held and read at a time."""

    piece: int = 1 << 16
    """Ids that are cut into documents at a time, and ids of one document that are held until its end comes."""
    together: int = 1 << 14
    """Ids of all documents that are read side by side."""
    window: int = 1 << 11
    """Positions of all these documents that are read in one go."""


DEFAULT = Sizes()


@dataclass
class Row:
    """A document as far as it has come; of a long one, the ids that were read are dropped."""

    before: int
    """The id before the first of `ids`; at its beginning a `<start>`, a label or a newline."""
    state: State
    ids: list[Ids] = field(default_factory=list)
    length: int = 0
    """Of `ids`."""
    nats: float = 0.0
    """What the ids cost that were read."""
    unknown: int = 0
    """How many of them are unknown."""


class Abreast:
    """Reads documents side by side, and adds up what their ids cost."""

    def __init__(self, reader: Reader, sizes: Sizes = DEFAULT) -> None:
        """Take a model; `beginning` is then the state in which a document begins."""
        self._reader, self._sizes = reader, sizes
        self._tokenizer = tokenizer = reader.tokenizer
        self.beginning = self._after_opening()
        newline = [id for id in tokenizer.encode("\n").tolist() if id != tokenizer.unknown_id]
        self.end = np.array(newline if tokenizer.end_id is None else [tokenizer.end_id], np.int64)
        """What ends a document, and is scored too: `<end>` or a newline; nothing if the model knows neither."""

    @torch.inference_mode()
    def _after_opening(self) -> State:
        """Return the state in which a document begins: for some cells it is not zero after an `<end>`."""
        state = self._reader.model.zero_state(1)
        with evaluating(self._reader.model):
            for id in self._tokenizer.opening[:-1]:
                _, state = self._reader.forward(np.array([[id]], np.int64), state)
        return state

    def end_all(self, rows: Iterable[Row]) -> None:
        """Read documents to their end, the longest first, so that those side by side are about equally long."""
        waiting = sorted(rows, key=lambda row: -row.length)
        while waiting:
            most = max(1, min(self._most, self._sizes.together // (waiting[0].length + 1)))
            group = waiting[: max(number for number in _STREAMS if number <= most)]
            self._add(group, [np.concatenate([*row.ids, self.end]) for row in group])
            del waiting[: len(group)]
            for row in group:
                row.ids.clear()

    def go_on(self, rows: Sequence[Row], ids: Ids) -> Ids:
        """Read ids that come next in each of these documents; return the last few, which were not read yet.

        Padding up to a full step would change the state.
        """
        whole = len(ids) // _STEP * _STEP
        piece = whole if len(rows) == 1 else max(_STEP, self._sizes.together // self._most // _STEP * _STEP)
        for first in range(0, len(rows), self._most):
            group = rows[first : first + self._most]
            for begin in range(0, whole, max(1, piece)):
                self._add(group, [ids[begin : min(begin + piece, whole)]] * len(group))
        return ids[whole:]

    @property
    def _most(self) -> int:
        """The most documents that are read side by side."""
        return self._reader.fitting(_STREAMS[-1], 1)[0]

    @torch.inference_mode()
    def _add(self, rows: Sequence[Row], texts: Sequence[npt.NDArray[Any]]) -> None:
        """Add to each row what the ids cost that come next in it, and move its state on."""
        # A kernel keeps memory for every shape it has seen, so there are few of them.
        streams = next(number for number in _STREAMS if number >= len(rows))
        length = -(-max(map(len, texts)) // _STEP) * _STEP
        inputs = np.zeros((length, streams), np.int64)
        targets = np.full_like(inputs, IGNORE)
        for column, (row, ids) in enumerate(zip(rows, texts, strict=True)):
            inputs[: len(ids), column] = np.append(row.before, ids[:-1])[: len(ids)]
            targets[: len(ids), column] = ids
        state = joined([row.state for row in rows] + [self.beginning] * (streams - len(rows)))
        _, window = self._reader.fitting(streams, min(_WINDOW, self._sizes.window // streams))
        columns = np.broadcast_to(np.arange(streams), inputs.shape)
        none = np.zeros(streams, bool)
        nats = np.zeros(streams)
        with evaluating(self._reader.model):
            for begin in range(0, length, window):
                piece = slice(begin, begin + window)
                batch = Batch(inputs[piece], targets[piece], columns[piece], none, 0)
                logits, state = self._reader.forward(batch.inputs, state)
                places, surprises = surprise(logits, batch, self._tokenizer)
                nats += np.bincount(places, surprises, streams)
        for column, (row, ids) in enumerate(zip(rows, texts, strict=True)):
            row.nats += float(nats[column])
            row.unknown += int((ids == self._tokenizer.unknown_id).sum())
            if len(ids):
                row.before = int(ids[-1])
            row.state = [tuple(part[:, column : column + 1] for part in layer) for layer in state]
