"""How well a signal tells a label: the area under the ROC curve, Matthews' correlation, and the variance explained.

All are computed exactly from histograms of the signal's levels; values of the same level count as ties. The area is the
probability that the signal is higher at a character with the label than at one without it (Hanley & McNeil 1982).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[Any]


def auc(with_label: Counts, without: Counts) -> Floats:
    """Return the area under the ROC curve, (...); NaN if all or no characters have the label.

    Args:
        with_label: how many characters that have the label are at each level, (..., levels).
        without: how many of the others, (..., levels).
    """
    below = without.cumsum(-1) - without / 2
    pairs = with_label.sum(-1) * without.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (with_label * below).sum(-1) / pairs
    return found


def strength(area: Any) -> Any:
    """Return how far areas are from chance, as an area of at least a half: low units tell as much as high ones."""
    return 0.5 + np.abs(np.asarray(area, np.float64) - 0.5)


def mcc(with_label: Counts, without: Counts) -> Floats:
    """Return Matthews' correlation for each threshold: "has it" from that level on, (levels,); 0 if undefined."""
    hits, alarms = with_label[::-1].cumsum()[::-1].astype(float), without[::-1].cumsum()[::-1].astype(float)
    positives, negatives = with_label.sum(), without.sum()
    told = hits + alarms
    below = (positives * negatives) ** 0.5 * (told * (positives + negatives - told)) ** 0.5
    return np.where(below > 0, (hits * negatives - alarms * positives) / np.where(below > 0, below, 1), 0)


def r2(counts: Counts, sums: Floats, squares: Any) -> Floats:
    """Return the share of a count's variance that the means of a signal's bins explain, (...), if they fit these data.

    Args:
        counts: characters in each bin, (..., bins).
        sums: of the label in each bin, (..., bins).
        squares: the sum of the label's squares, (...).
    """
    total = sums.sum(-1) ** 2 / counts.sum(-1)
    between = (sums**2 / np.maximum(counts, 1)).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (between - total) / (squares - total)
    return found


def bins(counts: Counts, number: int) -> npt.NDArray[np.int64]:
    """Return the bin of each level, (..., levels): about as many characters in each, as far as ties allow."""
    ranks = (counts.cumsum(-1) - counts / 2) / np.maximum(counts.sum(-1, keepdims=True), 1)
    numbers: npt.NDArray[np.int64] = np.minimum((ranks * number).astype(np.int64), number - 1)
    return numbers
