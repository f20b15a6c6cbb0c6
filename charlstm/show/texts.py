"""Shows generated texts as they are written: as a page for people, or as one JSON object per text for programs."""

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from charlstm.show import terminal

if TYPE_CHECKING:
    from charlstm.measure.novelty import Highlighter
    from charlstm.sample import Piece
    from charlstm.show.terminal import Output


@dataclasses.dataclass
class _Text:
    """What a stream has written but has not been shown yet."""

    highlighter: "Highlighter | None"
    pieces: list[tuple[str, bool]] = dataclasses.field(default_factory=list)
    """Pieces of text, and whether each is copied from the training text."""
    stopped: str | None = None
    lines: bool = False
    """Whether the text has more than one line."""
    _newline: bool = False

    def add(self, piece: "Piece") -> None:
        """Add a piece from the stream."""
        self.stopped = piece.stopped
        self._see(piece.text)
        if self.highlighter is None:
            self.pieces.append((piece.text, False))
            return
        self.pieces += self.highlighter.add(piece.text)
        if piece.stopped:
            self.pieces += self.highlighter.rest()

    def prompt(self, text: str) -> None:
        """Begin with the user's prompt."""
        self._see(text)
        self.pieces.append((text, False))

    def taken(self) -> list[tuple[str, bool]]:
        """Return and remove what has not been shown yet."""
        pieces, self.pieces = self.pieces, []
        return pieces

    def _see(self, text: str) -> None:
        self.lines |= "\n" in text.rstrip("\n") or (self._newline and text.strip("\n") != "")
        self._newline |= "\n" in text


class _Writer:
    """Counts copied characters; the base class of both kinds of output."""

    def __init__(self, output: "Output", highlighter: "Callable[[], Highlighter] | None") -> None:
        """Begin before the first text; `highlighter` creates, for each text, what finds the copied spans."""
        self._output = output
        self._highlighter = highlighter
        self._copied = self._characters = self._longest = 0

    def _text(self) -> _Text:
        return _Text(self._highlighter() if self._highlighter else None)

    def _count(self, text: _Text) -> None:
        if text.highlighter is not None:
            self._copied += text.highlighter.copied
            self._characters += text.highlighter.characters
            self._longest = max(self._longest, text.highlighter.longest)

    def end(self) -> None:
        """Report how much was copied."""
        self._output.flush()
        if self._highlighter is None:
            return
        terminal.plain(
            f"{self._copied:,} of {self._characters:,} characters copied from the training text, "
            f"the longest span {self._longest:,}"
            if self._copied
            else f"none of {self._characters:,} characters copied from the training text"
        )


class Rows(_Writer):
    """Texts for programs: one JSON object per text, in order."""

    def __init__(
        self,
        output: "Output",
        highlighter: "Callable[[], Highlighter] | None",
        label: Callable[[int], str | None] | None = None,
    ) -> None:
        """Begin before the first text; `label` returns that of a text, given its seed, if texts have labels."""
        super().__init__(output, highlighter)
        self._began = time.perf_counter()
        self._label = label

    def take(self, pieces: "Iterable[Piece]", count: int, seed: int) -> None:
        """Write the texts of some streams, whose pieces come as they are written."""
        texts = [self._text() for _ in range(count)]
        seconds = [0.0] * count
        shown = 0
        for piece in pieces:
            texts[piece.stream].add(piece)
            if piece.stopped:
                seconds[piece.stream] = round(time.perf_counter() - self._began, 6)
            while shown < count and texts[shown].stopped:
                self._row(texts[shown], seed + shown, seconds[shown])
                shown += 1

    def _row(self, text: _Text, seed: int, seconds: float) -> None:
        self._count(text)
        pieces = text.taken()
        written = "".join(part for part, _ in pieces)
        row: dict[str, Any] = {"text": written, "seed": seed, "characters": len(written)}
        if self._label is not None:
            row["label"] = self._label(seed)
        if self._highlighter is not None:
            row["copied"] = _spans(pieces)
        self._output.json(row | {"seconds": seconds, "stopped": text.stopped})


class Page(_Writer):
    """Texts for people, in order: the first as it is written, each other one once all before it are complete."""

    def __init__(
        self,
        output: "Output",
        prompt: str,
        separator: str | None,
        highlighter: "Callable[[], Highlighter] | None",
    ) -> None:
        """Begin before the first text."""
        super().__init__(output, highlighter)
        self._prompt = prompt
        self._separator = separator
        self._blank_line: bool | None = None
        """Without a separator, whether a blank line goes between texts; None as long as this is not known."""
        self._first = True
        self._last = ""
        """The last two characters of the text."""

    def take(self, pieces: "Iterable[Piece]", count: int, seed: int) -> None:
        """Write the texts of some streams, whose pieces come as they are written."""
        texts = [self._text() for _ in range(count)]
        for text in texts:
            text.prompt(self._prompt)
        shown, begun = 0, self._first
        for piece in pieces:
            texts[piece.stream].add(piece)
            while shown < count:
                if not begun:
                    if not self._separate(texts):
                        break
                    begun = True
                for part, copied in texts[shown].taken():
                    self._show(part, copied=copied)
                if not texts[shown].stopped:
                    break
                self._count(texts[shown])
                shown, begun = shown + 1, False
        self._first = False

    def end(self) -> None:
        """End the last line, and report how much was copied."""
        if not self._last.endswith("\n"):
            self._output.write("\n")
        super().end()

    def _separate(self, texts: list[_Text]) -> bool:
        """Write what goes between two texts, and return True; return False if it is not known yet."""
        between = self._separator
        if between is None:
            if self._blank_line is None and any(text.lines for text in texts):
                self._blank_line = True
            elif self._blank_line is None and all(text.stopped for text in texts):
                self._blank_line = False
            if self._blank_line is None:
                return False
            between = "\n\n" if self._blank_line else "\n"
            while between and self._last.endswith(between[0]):  # line ends that the text already has
                self._last, between = self._last[:-1], between[1:]
        self._show(between)
        self._last = ""
        return True

    def _show(self, text: str, *, copied: bool = False) -> None:
        self._output.write(text, underlined=copied)
        self._last = (self._last + text)[-2:]


def _spans(pieces: list[tuple[str, bool]]) -> list[list[int]]:
    """Return where each copied span in a text begins and ends."""
    spans: list[list[int]] = []
    at = 0
    for text, copied in pieces:
        if copied and spans and spans[-1][1] == at:
            spans[-1][1] += len(text)
        elif copied and text:
            spans.append([at, at + len(text)])
        at += len(text)
    return spans
