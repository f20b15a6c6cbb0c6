"""What every report has in common: what it is about, what it needs, and how it comes to its result."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from charlstm.config import DeviceConfig

if TYPE_CHECKING:
    from charlstm.measure.scoring import Scored
    from charlstm.storage.loaded import Loaded
    from charlstm.text.corpus import Split

Progress = Callable[[float], None]
"""Told the share that is done."""


@dataclass(frozen=True)
class Subject:
    """A model, and the text it is measured on."""

    loaded: "Loaded"
    text: "Split"
    train: "Split | None" = None
    """The text that the model has learnt from, if a report needs it and it is there."""
    threads: DeviceConfig = dataclasses.field(default_factory=DeviceConfig)
    """How many threads may compute."""


class Report:
    """One thing to know about a model and a text.

    A report is created before the text is read, so that a missing package is reported before any long work starts. It
    may take in the windows that the text's score is made of, and then has what it found: a frozen dataclass, from which
    the terminal and JSON are made.
    """

    name: ClassVar[str]
    """Its key in JSON; with dashes, its option."""
    doing: ClassVar[str] = ""
    """What a bar says while it is measured, in a word; empty if that takes no time of its own."""
    from_training: ClassVar[str] = ""
    """What of it needs the training text, in words; empty if nothing does."""
    partial: ClassVar[bool] = False
    """Whether the rest of it can be measured without the training text."""

    def __init__(self, subject: Subject) -> None:
        """Get ready; raises `UsageError` if a package is missing."""
        self.subject = subject

    @property
    def notes(self) -> list[str]:
        """What a user should know, a line each."""
        return []

    def add(self, window: "Scored") -> None:
        """Take in a window of the text."""

    def measure(self, report: Progress) -> Any:
        """Return what was found, once the text has been scored: a frozen dataclass, or a tuple of them."""
        raise NotImplementedError


def unwatched(_: float) -> None:
    """Take no interest in how far a measurement is."""


def shortened(train: "Split", most: int) -> list[str]:
    """Return a note if only the end of a training text is compared with."""
    if len(train.ids) <= most:
        return []
    return [f"only the last {most:,} of the training text's {len(train.ids):,} ids are compared with"]
