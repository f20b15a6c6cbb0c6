"""The ledger of a unit: what each character put into it, and how much of that is still there.

A cell state is a sum. c(T) = sum over t of i(t) g(t) f(t+1) f(t+2) ... f(T), plus what is left of the state before the
passage (Murdoch & Szlam 2017). If one gate does both, i = 1 - f. The output h of a GRU is such a sum too:
h(t) = (1 - z(t)) n(t) + z(t) h(t-1).

The end of a document shuts the gate that keeps, so the shares of all characters before it are exactly 0. After it, c
is 0 if there is a separate input gate; c of a coupled cell and h of a GRU are 1, which is the share of `<end>` itself.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.errors import UsageError
from charlstm.measure.inside.signals import Reading
from charlstm.network.cells import CELLS


@dataclass(frozen=True)
class Ledger:
    """The sum that a unit's state is."""

    layer: int
    unit: int
    signal: str
    """c; of a GRU, h."""
    at: int
    """The character after which the unit has this value: its index in the passage."""
    value: float
    carried: float
    """What is left of the state before the passage."""
    shares: npt.NDArray[np.float64]
    """What each character up to `at` put in, as far as it is still there, (at + 1,); value = carried + their sum."""


def needed(cell: str) -> tuple[str, str]:
    """Return the signals that a reading must keep for a ledger: the gate that keeps, and the state that it keeps.

    Raises:
        UsageError: if the cell keeps nothing.
    """
    kind = CELLS[cell]
    if kind.keep_gate is None:
        raise UsageError(
            f"--ledger: a unit of the cell {cell} computes its state anew at every character and keeps nothing; choose "
            "a model with another cell"
        )
    return kind.keep_gate, "c" if kind.has_c else "h"


def ledger(reading: Reading, cell: str, layer: int, unit: int, at: int) -> Ledger:
    """Return the ledger of a unit; the reading must have kept what `needed` says of it.

    What a character put in is s(t) - k(t) s(t-1), for the state s and the gate k that keeps it. That is i g, (1 - f) g
    or (1 - z) n as the network rounded it when it added it, so that the sum is exact over any number of characters.

    Args:
        reading: of the passage.
        cell: of the model.
        layer: from 1.
        unit: from 0.
        at: the character after which the unit has the value, from 0.

    Raises:
        UsageError: if the cell keeps nothing, or the passage has no such character.
    """
    gate, signal = needed(cell)
    if not 0 <= at < len(reading.characters):
        raise UsageError(f"at {at}: the passage has characters 0 to {len(reading.characters) - 1}; choose one of them")
    before = reading.before[layer - 1][1 if CELLS[cell].has_c else 0]
    state = reading.signal(layer, unit, signal).values[: at + 1].astype(np.float64)
    keep = reading.signal(layer, unit, gate).values[: at + 1].astype(np.float64)
    previous = np.concatenate([[float(before[unit])], state[:-1]])
    left = np.append(keep[:0:-1].cumprod()[::-1], 1.0)  # of what each character put in, after the last one
    shares = (state - keep * previous) * left
    carried = previous[0] * keep[0] * left[0]
    return Ledger(layer, unit, signal, at, float(state[-1]), float(carried), shares)
