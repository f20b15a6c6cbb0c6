"""One score for each line of a text of any length, as it comes: each line is a text of its own.

Lines of about the same length are read side by side; a line too long to be held is read piece by piece, and its state
carried on. So the memory depends neither on the text's length nor on that of its lines.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlstm.measure.read import Reader, evaluating
from charlstm.measure.score import NOTHING, Score
from charlstm.measure.scoring import surprise
from charlstm.network.model import State, joined
from charlstm.text.batches import IGNORE, Batch
from charlstm.text.decoding import Codes
from charlstm.text.tokenizer import Ids, widths

_WINDOW = 128
_STREAMS = (1, 4, 16, 64)
_STEP = 8


@dataclass(frozen=True)
class Sizes:
    """How much is held and read at a time."""

    piece: int = 1 << 16
    """Ids that are cut into lines at a time, and ids of one line that are held until its end comes."""
    together: int = 1 << 14
    """Ids of all lines that are read side by side."""
    window: int = 1 << 11
    """Positions of all these lines that are read in one go."""


def scores(reader: Reader, blocks: Iterable[Codes], sizes: Sizes = Sizes()) -> Iterator[list[Score]]:
    """Yield scores of lines in their order: with each block, those of the lines that end in it.

    A line begins as a document does, and its end is scored too: as one character, `<end>` or a newline; not if the
    model knows neither. What follows the last newline is a line, if there is anything.

    Args:
        reader: the model.
        blocks: the text, piece by piece, as code points (as bytes for the tokenizer `byte`).
        sizes: how much is held and read at a time.
    """
    scorer = _Scorer(reader, sizes)
    for block in blocks:
        for begin in range(0, len(block), sizes.piece):
            yield scorer.read(block[begin : begin + sizes.piece])
    yield scorer.rest()


@dataclass
class _Line:
    """A line as far as it has come; of a long one, the ids that were read are dropped."""

    before: int
    """The id before the first of `ids`."""
    state: State
    ids: list[Ids] = field(default_factory=list)
    length: int = 0
    """Of `ids`."""
    score: Score = NOTHING


class _Scorer:
    """Cuts blocks into lines and scores them."""

    def __init__(self, reader: Reader, sizes: Sizes) -> None:
        self._reader, self._sizes = reader, sizes
        self._tokenizer = tokenizer = reader.tokenizer
        self._beginning = self._after_opening()
        newline = [id for id in tokenizer.encode("\n").tolist() if id != tokenizer.unknown_id]
        self._end = np.array(newline if tokenizer.end_id is None else [tokenizer.end_id], np.int64)
        self._open = self._fresh()

    def _fresh(self) -> _Line:
        return _Line(self._tokenizer.start_id, self._beginning)

    @torch.inference_mode()
    def _after_opening(self) -> State:
        """Return the state in which a document begins: for some cells it is not zero after an `<end>`."""
        state = self._reader.model.zero_state(1)
        with evaluating(self._reader.model):
            for id in self._tokenizer.opening[:-1]:
                _, state = self._reader.forward(np.array([[id]], np.int64), state)
        return state

    def read(self, block: Codes) -> list[Score]:
        """Return the scores of the lines that end in a block."""
        ids = self._tokenizer.encode_codes(block)
        characters, sizes = (np.concatenate([[0], counts.cumsum()]) for counts in widths(block, self._tokenizer.kind))
        ended = []
        begin = 0
        for end in [*np.flatnonzero(block == ord("\n")).tolist(), len(block)]:
            line = self._open
            line.ids.append(ids[begin:end])
            line.length += end - begin
            line.score += Score(0.0, int(characters[end] - characters[begin]), int(sizes[end] - sizes[begin]), 0)
            if end < len(block):
                ended.append(line)
                self._open = self._fresh()
            begin = end + 1
        scores = self._end_all(ended)
        if self._open.length >= self._sizes.piece:
            ids = np.concatenate(self._open.ids)
            whole = len(ids) // _STEP * _STEP  # padding up to a full step would change the state
            self._add([self._open], [ids[:whole]])
            self._open.ids, self._open.length = [ids[whole:]], len(ids) - whole
        return scores

    def rest(self) -> list[Score]:
        """Return the score of what follows the last newline."""
        return self._end_all([self._open] if self._open.score.bytes else [])

    def _end_all(self, lines: list[_Line]) -> list[Score]:
        """Score lines whose end has come, the longest first, so that those side by side are about equally long."""
        waiting = sorted(lines, key=lambda line: -line.length)
        while waiting:
            most, _ = self._reader.fitting(_STREAMS[-1], 1)
            most = max(1, min(most, self._sizes.together // (waiting[0].length + 1)))
            group = waiting[: max(number for number in _STREAMS if number <= most)]
            self._add(group, [np.concatenate([*line.ids, self._end]) for line in group])
            del waiting[: len(group)]
            for line in group:
                line.ids.clear()
        end = Score(0.0, len(self._end), len(self._end), 0)
        return [line.score + end for line in lines]

    @torch.inference_mode()
    def _add(self, lines: Sequence[_Line], texts: Sequence[npt.NDArray[Any]]) -> None:
        """Add to each line's score what the ids cost that come next in it; the state of a single line is carried on."""
        # A kernel keeps memory for every shape it has seen, so there are few of them.
        streams = next(number for number in _STREAMS if number >= len(lines))
        length = -(-max(map(len, texts)) // _STEP) * _STEP
        inputs = np.zeros((length, streams), np.int64)
        targets = np.full_like(inputs, IGNORE)
        for column, (line, ids) in enumerate(zip(lines, texts, strict=True)):
            inputs[: len(ids), column] = np.append(line.before, ids[:-1])[: len(ids)]
            targets[: len(ids), column] = ids
        state = joined([line.state for line in lines] + [self._beginning] * (streams - len(lines)))
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
        for line, ids, cost in zip(lines, texts, nats[: len(lines)].tolist(), strict=True):
            line.score += Score(cost, 0, 0, int((ids == self._tokenizer.unknown_id).sum()))
            if len(ids):
                line.before = int(ids[-1])
        if len(lines) == 1:
            lines[0].state = state
