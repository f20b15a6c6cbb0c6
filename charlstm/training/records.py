"""What a run reports while it trains."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from charlstm.training.plan import Decision


@dataclass(frozen=True)
class Progress:
    """Where the run stands, several times per second."""

    step: int
    loss: float
    """Training loss since the last such record, in nats per character."""
    characters: int
    """Characters trained on since the last such record."""
    seconds: float
    """Time since the last such record."""


@dataclass(frozen=True)
class Evaluation:
    """A measurement of the held-out text: a row of `metrics.jsonl`."""

    step: int
    epoch: float
    train_loss: float
    val_loss: float
    learning_rate: float
    characters: int
    seconds: float
    val_characters: int
    """Characters of the held-out text that were scored."""
    sample: str
    """A sample of what the model writes at this step."""
    improved: bool

    def row(self) -> dict[str, Any]:
        """Return the row of `metrics.jsonl`."""
        values = dataclasses.asdict(self)
        del values["sample"], values["improved"]
        if math.isnan(self.train_loss):
            values["train_loss"] = None
        return {"schema": 1} | values


@dataclass(frozen=True)
class Halved:
    """A step was undone because its loss or gradient was not finite; the learning rate is halved from here on."""

    step: int


@dataclass(frozen=True)
class Unsaved:
    """The state could not be saved; the run goes on, and will try again."""

    step: int
    reason: str


@dataclass(frozen=True)
class Finished:
    """Why the run ended."""

    reason: str
    """`done`, `patience`, `deadline` or `stopped`."""
    step: int
    best_loss: float | None
    best_step: int | None
    scored: int | None = None
    """How many characters of held-out text `best_loss` was measured on."""


Record = Progress | Evaluation | Halved | Unsaved | Decision | Finished
