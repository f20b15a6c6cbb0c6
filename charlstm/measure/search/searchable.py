"""A text as the search for units reads it: its ids, and the characters that they are."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.measure.search.levels import Columns
from charlstm.storage.loaded import Loaded
from charlstm.text.tokenizer import Ids, code_points, widths

_MOST_LEVELS = 130_000_000  # characters x signals, one byte each
_LEAST_CHARACTERS = 20_000


@dataclass(frozen=True)
class SearchableText:
    """A text; each of its characters is one id, or several of a byte model."""

    ids: Ids
    text: str
    """One character per frame, too: a line feed."""
    ends: npt.NDArray[np.int64]
    """The last id of each character, (T,)."""
    begins: tuple[int, ...]
    """The characters at which documents begin."""

    @property
    def codes(self) -> npt.NDArray[np.int64]:
        """The code point of each character, (T,)."""
        return code_points(self.text).astype(np.int64)


def searchable(loaded: Loaded, ids: Ids) -> SearchableText:
    """Return as much of a text as the search can keep in memory: 100,000 characters of a layer of 640 units.

    Make the labels of its text, with its `begins`.
    """
    most = max(_LEAST_CHARACTERS, _MOST_LEVELS // len(Columns.of(loaded.config.model)))
    tokenizer = loaded.tokenizer
    if tokenizer.kind == "byte" and len(ids) > most:
        while most > 0 and ids[most] & 0xC0 == 0x80 and ids[most] < 256:  # within a character
            most -= 1
    ids = ids[:most]
    text = tokenizer.decode(ids)
    sizes = widths(code_points(text), "char")[1] if tokenizer.kind == "byte" else np.ones(len(text), np.int64)
    ends = sizes.cumsum() - 1
    begins = np.flatnonzero(tokenizer.opens(ids[ends]))
    return SearchableText(ids, text, ends, tuple(begins.tolist()))
