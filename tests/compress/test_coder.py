"""The range coder against constriction's, which is a Rust library, and against the sum of the logarithms."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlstm.compress.coder import MOST_TOTAL, Decoder, Encoder

Symbols = list[tuple[int, int, int]]


def encoded(symbols: Symbols) -> bytes:
    encoder = Encoder()
    for begin, size, total in symbols:
        encoder.encode(begin, size, total)
    return encoder.finish()


def require_back(data: bytes, symbols: Symbols) -> None:
    decoder = Decoder(data)
    for begin, size, total in symbols:
        assert begin <= decoder.target(total) < begin + size
        decoder.take(begin, size, total)
    assert decoder.beyond <= 6


def drawn(rng: np.random.Generator, bits: int) -> npt.NDArray[np.int64]:
    """Return frequencies of at least 1 with the sum 2^bits: some flat, some nearly certain."""
    shares = rng.random(rng.integers(2, 300)) ** rng.integers(1, 40)
    free = (1 << bits) - len(shares)
    found = 1 + (shares * free / shares.sum()).astype(np.int64)
    found[0] += (1 << bits) - found.sum()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("bits", [16, 22])
def test_the_length_is_that_of_constriction(bits: int) -> None:
    stream: Any = pytest.importorskip("constriction").stream
    rng = np.random.default_rng(bits)
    for _ in range(30):
        ours: Symbols = []
        theirs = stream.queue.RangeEncoder()
        ideal = 0.0
        for _ in range(300):
            sizes = drawn(rng, bits)
            symbol = int(rng.choice(len(sizes), p=sizes / sizes.sum()))
            ours.append((int(sizes[:symbol].sum()), int(sizes[symbol]), 1 << bits))
            ideal -= math.log2(sizes[symbol] / (1 << bits))
            model = stream.model.Categorical(sizes / (1 << bits), perfect=False)
            theirs.encode(np.array([symbol], np.int32), model)
        data = encoded(ours)
        require_back(data, ours)
        assert abs(len(data) - 4 * len(theirs.get_compressed())) <= 4
        assert len(data) <= math.ceil(ideal / 8) + 1


@given(st.data())
def test_whatever_is_encoded_is_decoded(data: st.DataObject) -> None:
    symbols = []
    for _ in range(data.draw(st.integers(0, 12))):
        total = data.draw(st.integers(1, MOST_TOTAL))
        size = data.draw(st.one_of(st.just(1), st.just(total), st.integers(1, total)))
        begin = data.draw(st.one_of(st.just(0), st.just(total - size), st.integers(0, total - size)))
        symbols.append((begin, size, total))
    written = encoded(symbols)
    require_back(written, symbols)
    assert 8 * len(written) <= sum(math.log2(total / size) for _, size, total in symbols) + 8.01


def test_a_carry_runs_through_all_bytes() -> None:
    """At the upper end of the interval every byte is 255 until the last symbol carries."""
    symbols = [(MOST_TOTAL - 1, 1, MOST_TOTAL)] * 50 + [(1, 1, 3)] * 5
    require_back(encoded(symbols), symbols)
    assert encoded([]) == b""


def test_what_is_missing_is_noticed() -> None:
    symbols = [(7, 1, 256)] * 40
    decoder = Decoder(encoded(symbols)[:20])
    for _ in range(40):
        begin = decoder.target(256)
        decoder.take(begin, 1, 256)
    assert decoder.beyond > 6
