"""The best signal for each label: chosen on the first half of a text, scored on the second."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.measure.search import areas, halves
from charlstm.measure.search.halves import Halves
from charlstm.measure.search.labels import Label
from charlstm.measure.search.levels import LEVELS, Storage

BINS = 10
"""Of a signal, for the variance of a count that it explains."""
LATE = 10
"""Characters after an opener that the late score leaves out."""
_LEAST, _LEAST_STRETCHES = 50, 5  # characters of each kind in each half, and stretches in all, for a label to be there
_LEAST_LATE = 30
_EXAMPLE, _BEFORE_CHANGE = 60, 20
_TRIED = 200  # changes of the label, one of which becomes the example

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Score:
    """The best signal for a label."""

    label: Label
    row: int
    """Which one."""
    value: float
    """AUC, or R² of a count, on the second half."""
    low: float
    high: float
    late: float | None
    mcc: float | None
    example: tuple[int, int]

    @property
    def strength(self) -> float:
        """R², or an AUC of at least a half."""
        return self.value if self.label.count else float(areas.strength(self.value))


def is_present(label: Label, parts: Halves) -> bool:
    """Return whether the text has enough of a label, in both halves."""
    values = label.values
    if label.count:
        _, numbers, counts = np.unique(values, return_inverse=True, return_counts=True)
        rare = numbers != counts.argmax()
    else:
        rare = values > 0
    if np.diff(rare.astype(np.int8), prepend=0).clip(0).sum() < _LEAST_STRETCHES:
        return False
    for where in (parts.chosen_on, parts.reported_on):
        number = int(rare[where].sum())
        if number < _LEAST or (not label.count and len(where) - number < _LEAST):
            return False
    return True


def scores(levels: Storage, labels: Sequence[Label], parts: Halves, *, intervals: bool = True) -> list[Score]:
    """Return the best signal for each label.

    Args:
        levels: of every signal, (rows, T).
        labels: those that the text has.
        parts: its halves.
        intervals: whether they are needed; without, they are the value itself.
    """
    everywhere = histograms(levels, parts.chosen_on)
    drawn = halves.draws(int(parts.second.sum()), 0) if intervals else np.ones((1, int(parts.second.sum())))
    return [
        _count(levels, label, parts, everywhere, drawn)
        if label.count
        else _plain(levels, label, parts, everywhere, drawn)
        for label in labels
    ]


def histograms(levels: Storage, where: Positions) -> npt.NDArray[np.int64]:
    """Return how many of these positions are at each level of each signal, (rows, levels)."""
    return np.stack([np.bincount(row[where], minlength=LEVELS) for row in levels])


def _plain(levels: Storage, label: Label, parts: Halves, everywhere: npt.NDArray[np.int64], drawn: Floats) -> Score:
    """Choose by the area under the ROC curve: the late one, if there are openers."""
    where, true = parts.chosen_on, label.values > 0
    inside = histograms(levels, where[true[where]])
    late = _late(label, parts)
    far = areas.auc(inside, everywhere - inside)
    if late is not None:
        early = where[~late[where]]
        early_inside = histograms(levels, early[true[early]])
        early_outside = histograms(levels, early[~true[early]])
        far = areas.auc(inside - early_inside, everywhere - inside - early_outside)
    row = int(areas.strength(far).argmax())
    by_threshold = areas.mcc(inside[row], everywhere[row] - inside[row])
    threshold = int(np.abs(by_threshold).argmax())
    sign = float(np.sign(by_threshold[threshold]))

    number = len(parts.second)
    signal = levels[row].astype(np.int64)
    there = parts.reported_on

    def by_block(some: Positions) -> npt.NDArray[np.int64]:
        places = parts.block[some] * LEVELS + signal[some]
        return np.bincount(places, minlength=number * LEVELS).reshape(number, LEVELS)[parts.second]

    positive, negative = by_block(there[true[there]]), by_block(there[~true[there]])
    low, high = halves.interval(areas.auc(drawn @ positive, drawn @ negative))
    later = None
    if late is not None:
        kept = there[late[there]]
        later = float(areas.auc(by_block(kept[true[kept]]).sum(0), by_block(kept[~true[kept]]).sum(0)))
    told = (signal >= threshold) == (sign > 0)
    return Score(
        label=label,
        row=row,
        value=float(areas.auc(positive.sum(0), negative.sum(0))),
        low=low,
        high=high,
        late=later,
        mcc=sign * float(areas.mcc(positive.sum(0), negative.sum(0))[threshold]),
        example=_example(true, told == true, parts),
    )


def _count(levels: Storage, label: Label, parts: Halves, everywhere: npt.NDArray[np.int64], drawn: Floats) -> Score:
    """Choose by the variance of a count that the means of a signal's bins explain."""
    where, values = parts.chosen_on, label.values
    counted = values[where]
    sums = np.stack([np.bincount(row[where], counted, LEVELS) for row in levels])
    bins = areas.bins(everywhere, BINS)
    rows = np.arange(len(levels))[:, None]
    in_bins, of_bins = np.zeros((2, len(levels), BINS))
    np.add.at(in_bins, (rows, bins), everywhere)
    np.add.at(of_bins, (rows, bins), sums)
    row = int(np.nan_to_num(areas.r2(in_bins, of_bins, (counted**2).sum())).argmax())
    means = np.where(in_bins[row] > 0, of_bins[row] / np.maximum(in_bins[row], 1), counted.mean())

    expected = means[bins[row][levels[row]]]
    errors = (values - expected) ** 2
    there = parts.reported_on
    block, number = parts.block[there], len(parts.second)
    each = [np.bincount(block, some[there], number) for some in (np.ones(len(values)), values, values**2, errors)]
    summed = np.stack(each)[:, parts.second]  # (4, blocks)

    def explained(n: Floats, total: Floats, squares: Floats, missed: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return 1 - missed / (squares - total**2 / n)

    low, high = halves.interval(explained(*(summed @ drawn.T)))
    changes = np.diff(values, prepend=0) < 0
    return Score(
        label=label,
        row=row,
        value=float(explained(*summed.sum(1))),
        low=low,
        high=high,
        late=None,
        mcc=None,
        example=_example(changes, errors < np.var(values), parts),
    )


def _late(label: Label, parts: Halves) -> npt.NDArray[np.bool_] | None:
    """Return where the late score is taken; None if it is the same as the other, or nearly nothing is left for it."""
    if label.since_opener is None:
        return None
    late = label.since_opener >= LATE
    positives = late & (label.values > 0)
    enough = min(int(positives[where].sum()) for where in (parts.chosen_on, parts.reported_on)) >= _LEAST_LATE
    return late if enough else None


def _example(state: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_], parts: Halves) -> tuple[int, int]:
    """Return a stretch of the second half in which the state begins and the signal is mostly right.

    Args:
        state: what the signal is to tell, (T,).
        right: whether it does, (T,).
        parts: the halves.
    """
    count = len(state)
    begins = np.flatnonzero(np.diff(state.astype(np.int8), prepend=0) > 0) - _BEFORE_CHANGE
    begins = begins[(begins >= 0) & (begins + _EXAMPLE <= count)]
    inside = parts.second[parts.block]
    begins = begins[inside[begins] & inside[begins + _EXAMPLE - 1]][:_TRIED]
    if not len(begins):
        first = int(parts.reported_on[0])
        return first, min(count, first + _EXAMPLE)
    good = np.concatenate([[0], right.cumsum()])
    first = int(begins[(good[begins + _EXAMPLE] - good[begins]).argmax()])
    return first, first + _EXAMPLE
