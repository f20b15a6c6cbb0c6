"""How sure a mean along a text is: one estimator for every interval, the moving-block bootstrap (Künsch 1989).

A character's surprise is like its neighbours', so the mean of n characters is known less well than that of n
independent numbers. Blocks of consecutive positions are drawn from all places of the text, with replacement, until they
are as long as the text, 2,000 times over; the interval holds the middle 95 % of their means. It says where the mean of
endless text of the same kind lies.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BIN = 100
"""Positions of the text whose values are added up before anything is drawn; of a short text, fewer."""
BLOCK = 1000
"""Positions that are drawn together, at least."""
LEAST_BLOCKS = 10
_MOST_BLOCKS = 1000  # a longer text is drawn in longer blocks
_RESAMPLES = 2000
# Ten blocks vary less about their own mean than about the true one: n / (n - 1), and Student's t with 9 degrees of
# freedom instead of the normal distribution.
_OF_TEN_BLOCKS = (10 / 9) ** 0.5 * 2.262 / 1.96

Positions = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean, and the bounds within which that of endless text lies."""

    mean: float
    low: float
    high: float

    @property
    def margin(self) -> float:
        """Half the width."""
        return (self.high - self.low) / 2


class Series:
    """Values along a text, added up in bins; the memory is that of the bins."""

    def __init__(self, length: int) -> None:
        """Make room for values at this many positions."""
        self._short = -(-length // BIN) < LEAST_BLOCKS * BLOCK // BIN
        self._bin = max(1, min(BIN, length // (LEAST_BLOCKS * LEAST_BLOCKS)))
        self.sums = np.zeros(-(-length // self._bin))
        self.counts = np.zeros(len(self.sums))

    @classmethod
    def spaced(cls, values: Floats, spacing: int) -> "Series":
        """Return the series of values that lie this many positions apart."""
        series = cls(len(values) * spacing)
        series.add(np.arange(len(values)) * spacing, values)
        return series

    def add(self, positions: Positions, values: Floats) -> None:
        """Take in the values at these positions."""
        np.add.at(self.sums, positions // self._bin, values)
        np.add.at(self.counts, positions // self._bin, 1)

    def interval(self, *, share: float = 0.95, short: bool = False) -> Interval | None:
        """Return the mean and its interval; None if the text is shorter than ten blocks.

        With `short` a shorter text is drawn in ten shorter blocks, and the interval widened for there being so few:
        fit for values that are alike only over a small part of a block, such as differences between two readings.

        Args:
            share: of the means that lie in the interval.
            short: whether a text shorter than ten blocks has an interval.
        """
        size = max(BLOCK // self._bin, -(-len(self.sums) // _MOST_BLOCKS))
        widened = 1.0
        if self._short:
            if not short:
                return None
            size, widened = max(1, len(self.sums) // LEAST_BLOCKS), _OF_TEN_BLOCKS
        sums, counts = (np.concatenate([[0.0], bins.cumsum()]) for bins in (self.sums, self.counts))
        sums, counts = sums[size:] - sums[:-size], counts[size:] - counts[:-size]  # of the block from each bin on
        blocks = np.random.default_rng(0).integers(len(sums), size=(_RESAMPLES, -(-len(self.sums) // size)))
        means = sums[blocks].sum(1) / counts[blocks].sum(1)
        mean = float(self.sums.sum() / self.counts.sum())
        low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2]).tolist()
        if widened == 1:
            return Interval(mean, low, high)
        return Interval(mean, mean - widened * (mean - low), mean + widened * (high - mean))
