"""The piece of text that `inspect` reads: of a file, of what was typed, or of the model's own held-out text."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charlstm.cli import opening
from charlstm.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from charlstm.storage.loaded import Loaded
    from charlstm.text.cache import Cache
    from charlstm.text.tokenizer import Tokenizer

_MOST_IDS = 4  # per character: the bytes of one, or a character, the end of its document and the beginning of the next


@dataclass(frozen=True)
class Piece:
    """A piece of a text, with all that comes before it."""

    name: str
    """What it is, in words."""
    ids: "npt.NDArray[np.int64]"
    """From the beginning of the text to the end of the piece."""
    begin: int
    """How many characters come before the piece."""
    length: int
    """Of the piece, in characters."""
    text: str | None = None
    """One character per id, for showing the characters that the vocabulary lacks; None if only the ids are known."""


@dataclass(frozen=True)
class Wanted:
    """What a user has asked for."""

    file: str | None
    """TEXT: a file, a folder or -."""
    typed: str | None
    """--text."""
    encoding: str | None
    begin: int
    length: int | None

    def piece(self, loaded: "Loaded", cache: "Cache", own_length: int, most: int) -> Piece:
        """Return the piece of text, and print what a user should know about it.

        Args:
            loaded: the model.
            cache: where prepared corpora are kept.
            own_length: characters of the model's own text, if no length was asked for.
            most: characters of any other text, if no length was asked for.

        Raises:
            DataError: if there is no text.
            UsageError: if it ends before it would begin.
        """
        if self.typed is not None:
            loaded.require_encodable(self.encoding, None)
            if not self.typed:
                raise DataError("--text '': empty; give a text with some characters")
            piece = self._cut(loaded.tokenizer.encode(self.typed), loaded.tokenizer, self.length or most, "--text")
            whole = None if loaded.tokenizer.kind == "byte" else self.typed[: piece.begin + piece.length]
            return Piece("the text", piece.ids, piece.begin, piece.length, whole)
        passage = opening.passage(loaded, self.file, None, cache, self.encoding, "inspect")
        length = self.length or (own_length if self.file is None else most)
        return self._cut(passage.split.ids, loaded.tokenizer, length, passage.name)

    def _cut(self, ids: "npt.NDArray[Any]", tokenizer: "Tokenizer", length: int, name: str) -> Piece:
        import numpy as np

        from charlstm.measure.inside import signals

        end = self.begin + length
        for most in (min(len(ids), _MOST_IDS * (end + 2)), len(ids)):  # bytes that are not UTF-8 may need them all
            wide = np.asarray(ids[:most], np.int64)
            cut = signals.cut(tokenizer, wide)
            if len(cut.characters) >= end:
                break
        there = len(cut.characters)
        if not there:
            raise DataError(f"{name}: no characters in it; give a text with some")
        if self.begin >= there:
            raise UsageError(f"--begin {self.begin}: the text has {there:,} characters ({name}); begin before the last")
        end = min(end, there)
        return Piece(name, wide[: int(cut.last[end - 1]) + 1], self.begin, end - self.begin)
