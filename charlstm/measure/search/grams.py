"""What the last six characters tell about a label: the control for units that merely see what stands just before."""

import itertools

import numpy as np
import numpy.typing as npt

from charlstm.measure.search import areas

HIGHEST = 6
_PRIORS = (0.5, 3.0)  # how many examples of a context its shorter one counts as
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]


class Grams:
    """The contexts of a text: the last 1 to 6 characters, each with its own label read already."""

    def __init__(self, ids: npt.NDArray[np.int64], first: Positions, second: Positions) -> None:
        """Number the contexts of one half, and find those of the other among them.

        Args:
            ids: one per character of the text, (T,).
            first: positions of the half that is counted.
            second: positions of the half that is predicted.
        """
        self._first, self._second = first, second
        self._tables = [self._numbered(codes) for codes in (ids, _kinds(ids))]

    def _numbered(self, ids: Positions) -> list[tuple[Positions, Positions, int]]:
        """Return, by order, the numbers of the contexts of both halves, and how many there are."""
        tables = []
        hashes = np.zeros(len(ids), np.uint64)
        codes = (ids + 1).astype(np.uint64)
        for order in range(1, HIGHEST + 1):
            older = np.concatenate([np.zeros(order - 1, np.uint64), codes[: len(codes) - order + 1]])
            hashes = (hashes ^ older) * _FACTOR
            hashes ^= hashes >> np.uint64(29)
            known, numbers = np.unique(hashes[self._first], return_inverse=True)
            there = hashes[self._second]
            at = np.searchsorted(known, there)
            tables.append(
                (numbers, np.where(known[np.minimum(at, len(known) - 1)] == there, at, len(known)), len(known))
            )
        return tables

    def predictions(self, values: Floats) -> list[Floats]:
        """Return the mean label expected at each position of the second half, by kind, smoothing and order.

        A context's own mean is mixed with that of the context one shorter, which counts as a few examples more.

        Args:
            values: the label, (T,).
        """
        made = []
        counted = values[self._first]
        for tables, prior in itertools.product(self._tables, _PRIORS):
            expected = np.full(len(self._second), counted.mean())
            for numbers, found, known in tables:
                counts = np.bincount(numbers, minlength=known + 1)[: known + 1].astype(float)
                sums = np.bincount(numbers, counted, known + 1)
                expected = (sums[found] + prior * expected) / (counts[found] + prior)
                made.append(expected)
        return made

    def auc(self, values: Floats) -> float:
        """Return the best area under the ROC curve, on the second half, of any order and smoothing."""
        true = values[self._second] > 0
        return max(float(areas.strength(area_of(expected, true))) for expected in self.predictions(values))

    def r2(self, values: Floats) -> float:
        """Return the largest share of a count's variance on the second half that any of them explains."""
        actual = values[self._second]
        total = float(((actual - actual.mean()) ** 2).sum())
        return max(1 - float(((actual - expected) ** 2).sum()) / total for expected in self.predictions(values))


def _kinds(codes: Positions) -> Positions:
    """Return the characters with all small letters alike, all capitals, and all digits: rare contexts become common."""
    known, numbers = np.unique(codes, return_inverse=True)
    characters = [chr(code) for code in known.tolist()]
    kinds = [
        "a" if each.islower() else "A" if each.isupper() else "0" if each.isdigit() else each for each in characters
    ]
    return np.array([ord(each) for each in kinds], np.int64)[numbers]


def area_of(scores: Floats, true: npt.NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve of scores, given which of them have the label."""
    _, levels = np.unique(scores, return_inverse=True)
    number = int(levels.max()) + 1
    return float(areas.auc(np.bincount(levels[true], minlength=number), np.bincount(levels[~true], minlength=number)))
