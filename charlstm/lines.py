"""One score for each line of a text of any length, as it comes: each line is a text of its own.

Lines of about the same length are read side by side; a line too long to be held is read piece by piece, its state
carried on. So the memory depends on neither the text's length nor its lines'.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlstm.batches import IGNORE, Batch
from charlstm.device import Device
from charlstm.evaluate import Score, evaluating, fitting, read, surprise
from charlstm.files import Codes
from charlstm.model import CharLSTM, State, joined
from charlstm.tokenizer import Ids, Tokenizer, widths

_PIECE = 1 << 16  # ids that are cut into lines at a time, and of a line that are held until its end comes
_AT_ONCE = 1 << 14  # ids of the lines that are read side by side
_READ = 1 << 11  # positions of all lines together that are read in one go
_WINDOW = 128
_STREAMS = (1, 4, 16, 64)
_STEP = 8


def scores(model: CharLSTM, blocks: Iterable[Codes], tokenizer: Tokenizer, device: Device) -> Iterator[list[Score]]:
    """Yield scores of lines in their order, as many as there are as soon as the block is there in which they end.

    A line begins as a document does, and its end is scored too: as one character, `<end>` or a newline; not where the
    model knows neither. What follows the last newline is a line, if there is anything.

    Args:
        model: what scores.
        blocks: the text, piece by piece, as code points (as bytes for the tokenizer `byte`).
        tokenizer: the model's.
        device: where the model lies.
    """
    reader = _Reader(model, tokenizer, device)
    for block in blocks:
        for begin in range(0, len(block), _PIECE):
            yield reader.read(block[begin : begin + _PIECE])
    yield reader.rest()


@dataclass
class _Line:
    """A line as far as it has come; of a long one the ids that were read are let go."""

    before: int
    """The id before the first of `ids`."""
    state: State
    ids: list[Ids] = field(default_factory=list)
    length: int = 0
    """Of `ids`."""
    nats: float = 0.0
    characters: int = 0
    bytes: int = 0
    unknown: int = 0


class _Reader:
    """Cuts blocks into lines and scores them."""

    def __init__(self, model: CharLSTM, tokenizer: Tokenizer, device: Device) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._beginning = self._after_opening()
        newline = [id for id in tokenizer.encode("\n").tolist() if id != tokenizer.unknown_id]
        self._end = np.array(newline if tokenizer.end_id is None else [tokenizer.end_id], np.int64)
        self._open = self._fresh()

    def _fresh(self) -> _Line:
        return _Line(self._tokenizer.start_id, self._beginning)

    @torch.inference_mode()
    def _after_opening(self) -> State:
        """Return the state in which a document begins: not of every cell is it zero after an `<end>`."""
        state = self._model.zero_state(1)
        with evaluating(self._model), self._device.autocast():
            for id in self._tokenizer.opening[:-1]:
                _, state = self._model(torch.tensor([[id]], device=self._device.name), state)
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
            line.characters += int(characters[end] - characters[begin])
            line.bytes += int(sizes[end] - sizes[begin])
            if end < len(block):
                ended.append(line)
                self._open = self._fresh()
            begin = end + 1
        scores = self._end_all(ended)
        if self._open.length >= _PIECE:
            ids = np.concatenate(self._open.ids)
            whole = len(ids) // _STEP * _STEP  # what would be filled up to a step would go into the state
            self._add([self._open], [ids[:whole]])
            self._open.ids, self._open.length = [ids[whole:]], len(ids) - whole
        return scores

    def rest(self) -> list[Score]:
        """Return the score of what follows the last newline."""
        return self._end_all([self._open] if self._open.bytes else [])

    def _end_all(self, lines: list[_Line]) -> list[Score]:
        """Score lines whose end has come, the longest first: those side by side are about as long as each other."""
        waiting = sorted(lines, key=lambda line: -line.length)
        while waiting:
            most, _ = fitting(_STREAMS[-1], 1, self._tokenizer.vocab_size)
            most = max(1, min(most, _AT_ONCE // (waiting[0].length + 1)))
            group = waiting[: max(number for number in _STREAMS if number <= most)]
            self._add(group, [np.concatenate([*line.ids, self._end]) for line in group])
            del waiting[: len(group)]
            for line in group:
                line.ids.clear()
        ends = len(self._end)
        return [Score(line.nats, line.characters + ends, line.bytes + ends, line.unknown) for line in lines]

    @torch.inference_mode()
    def _add(self, lines: Sequence[_Line], texts: Sequence[npt.NDArray[Any]]) -> None:
        """Add to each line's nats what these ids cost, which come next in it; a single line's state goes on."""
        # A kernel keeps memory for every shape it has seen: so there are few of them.
        streams = next(number for number in _STREAMS if number >= len(lines))
        length = -(-max(map(len, texts)) // _STEP) * _STEP
        inputs = np.zeros((length, streams), np.int64)
        targets = np.full_like(inputs, IGNORE)
        for column, (line, ids) in enumerate(zip(lines, texts, strict=True)):
            inputs[: len(ids), column] = np.append(line.before, ids[:-1])[: len(ids)]
            targets[: len(ids), column] = ids
        state = joined([line.state for line in lines] + [self._beginning] * (streams - len(lines)))
        _, window = fitting(streams, min(_WINDOW, _READ // streams), self._tokenizer.vocab_size)
        columns = np.broadcast_to(np.arange(streams), inputs.shape)
        none = np.zeros(streams, bool)
        nats = np.zeros(streams)
        with evaluating(self._model):
            for begin in range(0, length, window):
                piece = slice(begin, begin + window)
                batch = Batch(inputs[piece], targets[piece], columns[piece], none, 0)
                logits, state = read(self._model, batch, state, self._device)
                places, surprises = surprise(logits, batch, self._tokenizer)
                nats += np.bincount(places, surprises, streams)
        for line, ids, cost in zip(lines, texts, nats[: len(lines)].tolist(), strict=True):
            line.nats += cost
            line.unknown += int((ids == self._tokenizer.unknown_id).sum())
            if len(ids):
                line.before = int(ids[-1])
        if len(lines) == 1:
            lines[0].state = state
