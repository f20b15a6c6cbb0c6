"""The best signal for shifted labels, and p-values from it."""

import numpy as np
import pytest

from charlstm.measure.search import shifts
from charlstm.measure.search.areas import auc, bins, r2

SOURCE = np.random.default_rng(0)
COUNT = 1_500
LEVELS = SOURCE.integers(0, 256, (70, COUNT), dtype=np.uint8)
WHERE = np.sort(SOURCE.choice(COUNT, 700, replace=False))
SHIFTS = np.array([17, 400, 1_499])


def test_shifts_keep_their_distance() -> None:
    drawn = shifts.drawn(5_000, seed=1)
    assert len(set(drawn.tolist())) == shifts.SHIFTS
    assert drawn.min() >= shifts.LEAST
    assert drawn.max() <= 5_000 - shifts.LEAST


def test_the_best_area_is_that_of_every_signal_by_itself() -> None:
    labels = [(SOURCE.random(COUNT) < share).astype(float) for share in (0.1, 0.5)]
    found = shifts.best_areas(LEVELS, labels, WHERE, SHIFTS)
    for label, row in zip(labels, found, strict=True):
        for shift, value in zip(SHIFTS, row, strict=True):
            true = np.roll(label, shift)[WHERE] > 0
            every = [
                auc(np.bincount(each[true], minlength=256), np.bincount(each[~true], minlength=256))
                for each in LEVELS[:, WHERE]
            ]
            assert value == pytest.approx(np.abs(np.array(every) - 0.5).max(), rel=1e-4)


def test_the_best_explained_variance_is_that_of_every_signal_by_itself() -> None:
    label = SOURCE.integers(0, 30, COUNT).astype(float)
    (found,) = shifts.best_r2(LEVELS, [label], WHERE, SHIFTS, 10)
    for shift, value in zip(SHIFTS, found, strict=True):
        moved = np.roll(label, shift)[WHERE]
        every = []
        for each in LEVELS[:, WHERE]:
            numbers = bins(np.bincount(each, minlength=256), 10)[each]
            every.append(r2(np.bincount(numbers, minlength=10), np.bincount(numbers, moved, 10), (moved**2).sum()))
        assert value == pytest.approx(max(every), rel=1e-3)


def test_p_values_are_those_of_the_largest_standing_over_all_labels() -> None:
    by_chance = SOURCE.normal(size=(2, 99)) * [[1], [10]] + [[0], [100]]
    standing = (by_chance - by_chance.mean(1, keepdims=True)) / by_chance.std(1, keepdims=True)
    median = float(np.median(standing.max(0)))
    found = by_chance.mean(1) + by_chance.std(1) * [9, median]
    assert shifts.p_values(found, by_chance).tolist() == [0.01, pytest.approx(0.51, abs=0.02)]
