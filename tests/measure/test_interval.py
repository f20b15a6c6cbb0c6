"""The interval holds what it promises: of sources whose mean is known, about 95 in 100."""

import math

import numpy as np
import pytest

from charlstm.measure import read, scoring
from charlstm.measure.interval import Series
from charlstm.measure.read import Reader
from charlstm.network.device import Device
from charlstm.text import corpus
from tests.conftest import fitted
from tests.measure.test_score import build

CPU = Device("cpu", "fp32")


def test_the_interval_is_of_the_scores_themselves(text: str) -> None:
    tokenizer = fitted(text[:20_000])
    split = corpus.encode(text[:30_000], tokenizer)
    series = Series(len(split.ids))
    for window in scoring.scored(read.windows(Reader(build(tokenizer), tokenizer, CPU), split), tokenizer):
        series.add(window.positions, window.nats)
    found = scoring.measured(read.windows(Reader(build(tokenizer), tokenizer, CPU), split), split, tokenizer)
    assert found.score.unknown > 0
    assert series.sums.sum() == pytest.approx(found.score.nats)
    assert series.counts.sum() == 30_000
    interval = series.interval()
    assert interval is not None
    assert found.interval is not None
    assert interval.low < interval.mean < interval.high
    assert found.interval == pytest.approx((interval.low / math.log(2), interval.high / math.log(2)))


def markov(source: np.random.Generator, length: int) -> np.ndarray:
    """Return the nats of a chain that is calm or excited for some hundred steps, told by one who knows its rules."""
    switches = source.random(length) < 1 / 200
    excited = (switches.cumsum() + source.integers(2)) % 2 == 1
    likely = np.where(excited, 0.3, 0.9)
    return -np.log(np.where(source.random(length) < likely, likely, 1 - likely))


@pytest.mark.slow
def test_the_interval_holds_what_it_promises() -> None:
    """A source of known entropy: the interval of one text holds the truth in about 95 of 100."""
    source = np.random.default_rng(1)
    entropy = np.mean([-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in (0.3, 0.9)])
    held = 0
    for _ in range(300):
        nats = markov(source, 50_000)
        interval = Series.spaced(nats, 1).interval()
        assert interval is not None
        held += interval.low <= entropy <= interval.high
    assert 0.9 <= held / 300 <= 0.985


def test_a_short_text_has_no_interval() -> None:
    for length in (1, 99, 150, 2000, 9900):
        assert Series.spaced(np.ones(length), 1).interval() is None
    interval = Series.spaced(np.ones(10_000), 1).interval()
    assert interval is not None
    assert (interval.low, interval.mean, interval.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("length", "every"), [(256, 16), (500, 16), (2000, 16), (400, 1)])
def test_a_short_text_has_a_wider_one_if_it_is_asked_for(length: int, every: int) -> None:
    source = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        values = source.exponential(2, length)
        interval = Series.spaced(values, every).interval(short=True)
        assert interval is not None
        assert interval.mean == pytest.approx(values.mean())
        held += abs(interval.mean - 2) < interval.margin
    assert 0.9 < held / 400 <= 0.99
