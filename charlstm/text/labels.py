"""What a document is labelled with: a field of its record, or the name of its file or folder; and a text's labels."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.config import TextConfig
from charlstm.errors import DataError
from charlstm.text.tokenizer import Ids, Tokenizer

MOST = 1000
"""Labels that a text may have."""
NONE = -1
"""The number of a document without a label."""
_MANY = 100  # labels; if there are more, they must be fewer than half as many as documents
_EXAMPLES = 3
_COMPRESSED = {".gz", ".xz", ".zst"}
_STDIN = "-"

Numbers = npt.NDArray[np.int64]


def of_file(path: str, source: str | None) -> str | None:
    """Return the label of a file's documents: its name without ending, or that of the folder it lies in.

    Args:
        path: of the file.
        source: `file` or `folder`; if it is None, a file says nothing about its documents.
    """
    if source is None or path == _STDIN:
        return None
    place = Path(os.path.abspath(path))  # noqa: PTH100 (a link lies where it lies)
    if source == "folder":
        return place.parent.name
    return Path(place.stem if place.suffix in _COMPRESSED else place.name).stem


def of_record(record: Any, field: str) -> str | None:
    """Return the label in a record of JSON Lines: a text, a whole number, or true or false; None if it has none."""
    value = record.get(field) if isinstance(record, dict) else None
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return json.dumps(value) if isinstance(value, (bool, int)) else None


class TooManyLabelsError(DataError):
    """A text has more than MOST labels: an error in any file, also in one that was found in a folder."""


class Numbering:
    """Numbers the labels of a text, in the order in which they first appear."""

    def __init__(self, known: Sequence[str] | None = None) -> None:
        """Begin before the first document; `known` are the labels of the model that reads it, if there is one."""
        self._known = None if known is None else frozenset(known)
        self._numbers: dict[str, int] = {}
        self.strangers: list[str] = []
        """Some labels that the model does not know."""

    @property
    def names(self) -> tuple[str, ...]:
        """The labels, in the order of their numbers."""
        return tuple(self._numbers)

    def of(self, labels: Sequence[str | None]) -> Numbers:
        """Return the number of each label, NONE for one that the model does not know.

        Raises:
            TooManyLabelsError: if a text has more than MOST of them.
        """
        return np.array([self._of(label) for label in labels], np.int64)

    def _of(self, label: str | None) -> int:
        if label is None:
            return NONE
        if self._known is not None and label not in self._known:
            if len(self.strangers) < _EXAMPLES and label not in self.strangers:
                self.strangers.append(label)
            return NONE
        number = self._numbers.setdefault(label, len(self._numbers))
        if number >= MOST:
            raise TooManyLabelsError(f"more than {MOST:,} different labels, such as {label!r:.60}", otherwise=ANOTHER)
        return number


ANOTHER = "name a --label-field with few values, or use --label-from folder"


def counted(names: Sequence[str], numbers: Numbers, config: TextConfig, text: str) -> dict[str, int]:
    """Return the labels of a training text: how many documents have each.

    Args:
        names: the labels.
        numbers: of each document.
        config: how the text is read.
        text: its name, for the errors.

    Raises:
        DataError: if there are fewer than two labels, or so many that they tell nothing.
    """
    counts = np.bincount(numbers[numbers != NONE], minlength=len(names)).tolist()
    found = {name: count for name, count in zip(names, counts, strict=True) if count}
    if len(found) < 2:
        there = f"only the label {next(iter(found))!r:.60}" if found else "no label"
        same = "every document has the same" if found else "no document has a text or a number as"
        remedy = (
            f"{same} {config.label_field!r}; name another --label-field"
            if config.label_from is None
            else f"name several {'files' if config.label_from == 'file' else 'folders'}, or a folder with them"
        )
        raise DataError(f"{text}: its training part has {there}, and voices need two", otherwise=remedy)
    if len(found) > _MANY and 2 * len(found) > len(numbers):
        raise DataError(
            f"{text}: {len(found):,} different labels for {len(numbers):,} documents say nothing about other documents",
            otherwise=ANOTHER,
        )
    return found


def of_documents(ids: Ids, bounds: Numbers, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return how many documents of a text have each label of its tokenizer.

    Args:
        ids: of all documents, with their frames.
        bounds: where each document begins, and where the last one ends.
        tokenizer: of the ids.
    """
    numbers = ids[bounds[:-1]].astype(np.int64) - tokenizer.vocab_size
    counts = np.bincount(numbers[numbers >= 0], minlength=len(tokenizer.labels))
    return tuple(counts.tolist())


@dataclass(frozen=True)
class Unlabelled:
    """Documents of a text that are read without a label by a model that has some."""

    documents: int = 0
    of: int = 0
    """How many documents there are."""
    examples: tuple[str, ...] = ()
    """Labels that do not occur in the training text."""

    @classmethod
    def among(
        cls, names: Sequence[str], numbers: Numbers, known: Sequence[str], strangers: Sequence[str]
    ) -> "Unlabelled":
        """Count them.

        Args:
            names: the labels of the text.
            numbers: of each document.
            known: the labels of the model.
            strangers: some labels of those documents that have no number.
        """
        lacking = [number for number, name in enumerate(names) if name not in known]
        without = np.isin(numbers, [NONE, *lacking])
        examples = (*(names[number] for number in lacking if (numbers == number).any()), *strangers)
        return cls(int(without.sum()), len(numbers), examples[:_EXAMPLES])

    def notes(self) -> list[str]:
        """Return what a user should know about it: one line, or none."""
        if not self.documents:
            return []
        such = f" (such as {self.examples[0]!r:.60})" if self.examples else ""
        return [
            f"{self.documents:,} of {self.of:,} documents have no label that the training text has{such}: they are "
            "read without one"
        ]
