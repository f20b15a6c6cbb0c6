"""Two halves of a text, made of blocks of consecutive characters: one to choose on, one to report on.

Neighbouring characters are alike, so single positions would put nearly the same examples into both halves.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BLOCK = 1_000
"""Characters of a block, at least."""
LEAST_BLOCKS = 10
"""Of each half."""
RESAMPLES = 2_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Halves:
    """Which block each character is in, and which half each block is in."""

    block: npt.NDArray[np.int64]
    """(T,)"""
    second: npt.NDArray[np.bool_]
    """(blocks,)"""

    @property
    def chosen_on(self) -> npt.NDArray[np.int64]:
        """Positions of the first half."""
        return np.flatnonzero(~self.second[self.block])

    @property
    def reported_on(self) -> npt.NDArray[np.int64]:
        """Positions of the second half."""
        return np.flatnonzero(self.second[self.block])


def split(count: int, seed: int, block: int = BLOCK) -> Halves:
    """Assign the blocks of a text to two halves at random.

    Args:
        count: characters of the text.
        seed: of the assignment.
        block: characters of a block, at least.
    """
    blocks = max(1, count // block)
    second = np.zeros(blocks, bool)
    second[np.random.default_rng(seed).permutation(blocks)[: blocks // 2]] = True
    return Halves(np.arange(count) * blocks // count, second)


def draws(blocks: int, seed: int) -> Floats:
    """Return how often each block is drawn in each resample of the bootstrap, (RESAMPLES, blocks)."""
    return np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), RESAMPLES).astype(np.float64)


def interval(values: Floats) -> tuple[float, float]:
    """Return the bounds of the middle 95 % of resampled values."""
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.025, 0.975]).tolist() if len(values) else (np.nan, np.nan)
    return low, high
