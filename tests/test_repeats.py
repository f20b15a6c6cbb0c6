"""Which pieces of a text occur in another: what a comparison of strings says."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlstm import repeats
from charlstm.repeats import LEAST_PIECE, Pieces, occurring


def pieces(texts: list[str], dtype: str = "u1", gap: int = 0) -> Pieces:
    """Put texts one after the other, with other characters between them."""
    ids = np.frombuffer(("\1" * gap).join(["", *texts, ""]).encode("latin-1"), np.uint8).astype(dtype)
    lengths = np.array([len(text) for text in texts], np.int64)
    ends = lengths.cumsum() + gap * np.arange(1, len(texts) + 1)
    return Pieces(ends - lengths, ends, lambda begin, end: ids[begin:end])


texts = st.lists(st.text("ab", min_size=1, max_size=20), min_size=1, max_size=30)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@given(texts, texts, st.integers(0, 2))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_equal_pieces_are_found_across_blocks(
    monkeypatch: pytest.MonkeyPatch, dtype: str, searched: list[str], text: list[str], gap: int
) -> None:
    for block in (3, 16, 1 << 19):
        monkeypatch.setattr(repeats, "_BLOCK", block)
        found = occurring(pieces(searched, dtype), pieces(text, dtype, gap), within=False)
        assert found.tolist() == [piece in text for piece in searched]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_stretches_are_found_across_blocks(monkeypatch: pytest.MonkeyPatch, dtype: str, data: st.DataObject) -> None:
    monkeypatch.setattr(repeats, "_PATTERN", LEAST_PIECE)
    whole = data.draw(st.text("ab", min_size=300, max_size=400))
    begins = data.draw(st.lists(st.integers(0, 299), min_size=1, max_size=5))
    searched = [whole[begin : begin + data.draw(st.integers(1, 200))] for begin in begins]
    searched += [piece[:-1] + "c" for piece in searched]
    for block in (50, 1 << 19):
        monkeypatch.setattr(repeats, "_BLOCK", block)
        found = occurring(pieces(searched, dtype), pieces([whole], dtype), within=True)
        assert found.tolist() == [
            piece == whole or (len(piece) >= LEAST_PIECE and piece in whole) for piece in searched
        ]


def test_a_piece_does_not_lie_across_two() -> None:
    text = ["x" * 50 + "a" * 50, "b" * 50]
    assert occurring(pieces(["a" * 50 + "b" * 50]), pieces(text, gap=1), within=True).tolist() == [False]


def test_names_by_the_hundred_thousand_are_compared_a_few_at_a_time() -> None:
    """In a list of names most occur again and again: once found, none is hashed a second time."""
    drawn = np.random.default_rng(0)
    names = [f"name{number}" for number in drawn.integers(0, 2000, 200_000)]
    searched = [f"name{number}" for number in range(0, 4000, 7)]
    found = occurring(pieces(searched), pieces(names), within=False)
    assert found.tolist() == [name in set(names) for name in searched]
