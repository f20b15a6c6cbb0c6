"""Numbers on fixed grids: the tables of sigmoid, tanh and exp that exact arithmetic looks up, and integer frequencies.

Libraries compute exp and tanh with other last bits on other processors, so here nobody computes them: `tables.bin` has
their values, rounded once from 40 decimal digits. What is left is +, -, *, /, floor and max, which IEEE 754 rounds in
one way on every machine. Integers up to 2^53 are kept in float64, the fastest exact type that numpy has.

Rounding to a grid is floor(x + 1/2) throughout: half a step goes up, for negative numbers too.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.errors import DataError

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.integer[Any]]

GRID = 1 << 10
"""Steps per unit of what is looked up: pre-activations and cell states (in nats, of scores too)."""
UNIT = 1 << 15
"""What stands for 1 in the tables of sigmoid and tanh, which end at UNIT - 1: a gate is never quite open, so a cell
state has a bound."""
SIGMOID_END, TANH_END = 12, 6
"""Beyond these, on either side, the tables' first and last values hold: the functions have saturated."""
WEIGHT = 1 << 30
"""What stands for 1 in the table of exp."""
EXP_SIZE = 22 * GRID
"""Values in the table of exp: exp(-k / GRID), k = 0, 1, ... Below them everything is 0."""
TOTAL = 1 << 22
"""The sum of all frequencies of a distribution."""
SHA256 = "739975d9e980e6a8fdae201801f4c497fc2bf702279f73ae6f7122e14b2c8472"
"""Of `tables.bin`."""
_FILE = Path(__file__).with_name("tables.bin")
_DIGITS = 40
_LEAST = -1 << 29


@dataclass(frozen=True)
class Tables:
    """The functions, by place on the grid."""

    sigmoid: npt.NDArray[np.float64]
    """Place k has sigmoid(k / GRID - SIGMOID_END), 0 to 1 in steps of 1 / UNIT."""
    tanh: npt.NDArray[np.float64]
    """Place k has tanh(k / GRID - TANH_END), -1 to 1 in steps of 1 / UNIT."""
    exp: npt.NDArray[np.int64]
    """Place k has exp(-k / GRID) in steps of 1 / WEIGHT, and the last place 0."""


def compute() -> bytes:
    """Return the contents of `tables.bin`: int16 of sigmoid, int16 of tanh, int32 of exp, all little-endian."""
    from decimal import Decimal, localcontext  # it takes a moment to load, and seconds to compute

    def rounded(value: Decimal, unit: int) -> int:
        return int((value * unit).to_integral_value())

    with localcontext() as context:
        context.prec = _DIGITS

        def places(end: int, function: Callable[[Decimal], Decimal]) -> list[int]:
            return [rounded(function(Decimal(k) / GRID - end), UNIT) for k in range(2 * end * GRID)]

        sigmoid = places(SIGMOID_END, lambda x: 1 / (1 + (-x).exp()))
        tanh = places(TANH_END, lambda x: 1 - 2 / (1 + (2 * x).exp()))
        exp = [rounded((Decimal(-k) / GRID).exp(), WEIGHT) for k in range(EXP_SIZE)]
    limits = -UNIT + 1, UNIT - 1
    return b"".join(
        (
            np.clip(sigmoid, *limits).astype("<i2").tobytes(),
            np.clip(tanh, *limits).astype("<i2").tobytes(),
            np.array(exp).astype("<i4").tobytes(),
        )
    )


@functools.cache
def tables() -> Tables:
    """Return the tables.

    Raises:
        DataError: if their file is damaged.
    """
    data = _FILE.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise DataError(f"{_FILE}: damaged; install charlstm again")
    ends = 2 * GRID * np.cumsum([SIGMOID_END, TANH_END])
    both = np.frombuffer(data, "<i2", ends[1])
    exp = np.frombuffer(data, "<i4", EXP_SIZE, offset=both.nbytes)
    return Tables(both[: ends[0]] / UNIT, both[ends[0] :] / UNIT, np.append(exp, 0).astype(np.int64))


def look_up(table: npt.NDArray[Any], places: Floats) -> npt.NDArray[Any]:
    """Return a table's values at the whole parts of these places; outside of it, its first and last value."""
    return table.take(places.astype(np.intp), mode="clip")  # below 0 the whole part is too high, and no matter


def nearest(values: Floats) -> Floats:
    """Return values rounded to integers, in place."""
    values += 0.5
    return np.floor(values, out=values)


def weights(below: Integers) -> npt.NDArray[np.int64]:
    """Return exp of what scores are below the highest one, (..., V), in steps of 1 / WEIGHT.

    Args:
        below: (..., V), in steps of 1 / GRID, from 0 on.
    """
    found: npt.NDArray[np.int64] = tables().exp.take(below, mode="clip")
    return found


def frequencies(scores: Integers, never: Sequence[int] = ()) -> npt.NDArray[np.uint32]:
    """Return the softmax in integers, (..., V), with the sum `TOTAL`.

    Each id gets 1 and its share of the rest, rounded down; what is left over goes to the likeliest, to the first of
    them if there are several. So an id costs less than 0.001 bits more than its probability says, as long as that is
    above a few thousandths of V / TOTAL.

    Args:
        scores: (..., V), in steps of 1 / GRID nats, less than 2^29; not changed.
        never: ids that never occur: they get 0.
    """
    if never:
        scores = scores.copy()
        for id in never:
            scores[..., id] = _LEAST
    weight = weights(scores.max(-1, keepdims=True) - scores)
    shared = TOTAL - scores.shape[-1] + len(never)
    found: npt.NDArray[np.int64] = weight * shared // weight.sum(-1, keepdims=True) + 1
    for id in never:
        found[..., id] = 0
    rows = found.reshape(-1, scores.shape[-1])
    rows[np.arange(len(rows)), scores.argmax(-1).ravel()] += TOTAL - rows.sum(-1)
    return found.astype(np.uint32)
