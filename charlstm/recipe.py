"""Chooses what a run needs and the user did not say, and says why."""

import dataclasses
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from charlstm.config import RunConfig

MAX_EPOCHS = 30.0
"""Passes over the text after which a run given as a time has nothing more to gain."""
_FEW, _MANY = 4.0, 16.0  # epochs up to which regularisation is at its least, and from which at its most


@dataclass(frozen=True)
class Choice:
    """A setting, its value, and the reason for it."""

    name: str
    value: float
    reason: str


def adapt(config: RunConfig, given: Collection[str], epochs: float) -> tuple[RunConfig, list[Choice]]:
    """Return the configuration for a run of so many epochs, and what was chosen.

    The more often a text is read, the more a network learns it by heart: dropout grows with the logarithm of the
    number of epochs between its least and its greatest value (benchmarks/README.md says how they were found).

    Args:
        config: the settings as given or by default.
        given: the names of those that the user set: they stay as they are.
        epochs: the length of the run in passes over the training text.
    """
    share = _position(epochs)
    values = {"dropout": 0.2 + 0.3 * share, "recurrent_dropout": 0.2 * share}
    choices = [
        Choice(name, round(value, 2), f"the text is read {epochs:.1f} times")
        for name, value in values.items()
        if name not in given
    ]
    changes: dict[str, Any] = {choice.name: choice.value for choice in choices}
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **changes)), choices


def _position(epochs: float) -> float:
    """Return where a number of epochs lies between _FEW (0) and _MANY (1), on a logarithmic scale."""
    return min(1.0, max(0.0, math.log(max(epochs, 1e-9) / _FEW) / math.log(_MANY / _FEW)))
