"""One score for each line of a text of any length, as it comes: each line is a text of its own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from charlstm.measure.abreast import DEFAULT, Abreast, Row, Sizes
from charlstm.measure.read import Reader
from charlstm.measure.score import Score
from charlstm.text.decoding import Codes
from charlstm.text.tokenizer import widths


def scores(reader: Reader, blocks: Iterable[Codes], sizes: Sizes = DEFAULT) -> Iterator[list[Score]]:
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
class _Line(Row):
    """A line as far as it has come."""

    characters: int = 0
    bytes: int = 0


class _Scorer:
    """Cuts blocks into lines and scores them."""

    def __init__(self, reader: Reader, sizes: Sizes) -> None:
        self._tokenizer, self._sizes = reader.tokenizer, sizes
        self._abreast = Abreast(reader, sizes)
        self._open = self._fresh()

    def _fresh(self) -> _Line:
        return _Line(self._tokenizer.start_id, self._abreast.beginning)

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
        if self._open.length >= self._sizes.piece:
            left = self._abreast.go_on([self._open], np.concatenate(self._open.ids))
            self._open.ids, self._open.length = [left], len(left)
        return scores

    def rest(self) -> list[Score]:
        """Return the score of what follows the last newline."""
        return self._end_all([self._open] if self._open.bytes else [])

    def _end_all(self, lines: list[_Line]) -> list[Score]:
        self._abreast.end_all(lines)
        end = len(self._abreast.end)
        return [Score(line.nats, line.characters + end, line.bytes + end, line.unknown) for line in lines]
