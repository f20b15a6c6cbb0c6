"""Blocks of a text in two halves."""

import numpy as np

from charlstm.measure.search import halves


def test_every_block_is_whole_and_in_one_half() -> None:
    parts = halves.split(20_999, seed=3)
    assert np.bincount(parts.block).min() >= halves.BLOCK
    assert (np.diff(parts.block) >= 0).all()
    assert len(parts.second) == 20
    assert parts.second.sum() == 10
    both = np.concatenate([parts.chosen_on, parts.reported_on])
    assert sorted(both) == list(range(20_999))
    assert not (halves.split(20_999, seed=4).second == parts.second).all()


def test_resamples_are_as_large_as_the_half() -> None:
    drawn = halves.draws(7, seed=0)
    assert drawn.shape == (halves.RESAMPLES, 7)
    assert (drawn.sum(1) == 7).all()
    np.testing.assert_allclose(drawn.mean(0), 1, atol=0.1)


def test_the_interval_is_the_middle() -> None:
    assert halves.interval(np.array([*range(201), np.nan])) == (5, 195)
