"""What the last six characters tell."""

import numpy as np
import pytest

from charlstm.measure.search import grams

TEXT = np.random.default_rng(0).integers(0, 3, 6_000)
FIRST, SECOND = np.arange(3_000), np.arange(3_000, 6_000)


def test_what_six_characters_show_is_known_and_what_seven_show_is_not() -> None:
    contexts = grams.Grams(TEXT, FIRST, SECOND)
    for back, least, most in ((0, 1, 1), (5, 0.9, 1), (6, 0.4, 0.6)):
        values = np.roll(TEXT == 2, back).astype(float)
        assert least - 1e-9 <= contexts.auc(values) <= most + 1e-9


def test_a_count_is_predicted_by_its_mean() -> None:
    contexts = grams.Grams(TEXT, FIRST, SECOND)
    assert contexts.r2(TEXT + np.roll(TEXT, 1) * 2.0) > 0.99
    assert contexts.r2(np.roll(TEXT, 9).astype(float)) < 0.05


def test_an_unknown_context_falls_back_to_a_shorter_one() -> None:
    ids = np.array([0, 1, 0, 1, 2, 1, 2])
    values = np.array([0.0, 1, 0, 1, 0, 1, 0])
    expected = grams.Grams(ids, np.arange(5), np.array([5])).predictions(values)
    # The prior is half an example: of all five, 0.4; after one more 1, both with the label; 2 1 was never seen.
    assert expected[0] == pytest.approx([(2 + 0.5 * 0.4) / 2.5])
    assert expected[5] == pytest.approx(expected[0])


def test_the_area_of_scores() -> None:
    assert grams.area_of(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True])) == 0.875
