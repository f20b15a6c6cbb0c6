"""Statistics of a signal against what they mean."""

import numpy as np
import pytest

from charlstm.measure.search import areas

SOURCE = np.random.default_rng(0)
LEVELS = SOURCE.integers(0, 12, 300)
TRUE = SOURCE.random(300) < 0.2 + LEVELS / 20
WITH, WITHOUT = np.bincount(LEVELS[TRUE], minlength=12), np.bincount(LEVELS[~TRUE], minlength=12)


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    pairs = LEVELS[TRUE][:, None] - LEVELS[~TRUE]
    assert areas.auc(WITH, WITHOUT) == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())
    assert np.isnan(areas.auc(WITH, 0 * WITHOUT))
    assert areas.strength(0.1) == pytest.approx(0.9)


def test_matthews_correlation_is_the_correlation_of_two_flags() -> None:
    found = areas.mcc(WITH, WITHOUT)
    assert found[0] == 0  # everything is told to have it
    for threshold in range(1, 12):
        assert found[threshold] == pytest.approx(np.corrcoef(threshold <= LEVELS, TRUE)[0, 1])


def test_explained_variance_is_that_of_the_means() -> None:
    count = LEVELS // 3 + SOURCE.integers(0, 3, 300)
    means = np.array([count[level == LEVELS].mean() for level in range(12)])
    sums = np.bincount(LEVELS, count, 12)
    expected = 1 - ((count - means[LEVELS]) ** 2).sum() / ((count - count.mean()) ** 2).sum()
    assert areas.r2(np.bincount(LEVELS, minlength=12), sums, (count**2).sum()) == pytest.approx(expected)


def test_bins_are_about_equal() -> None:
    assert areas.bins(np.array([10, 10, 10, 10]), 2).tolist() == [0, 0, 1, 1]
    assert areas.bins(np.array([97, 1, 1, 1]), 4).tolist() == [1, 3, 3, 3]
