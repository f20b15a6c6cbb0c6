"""Which pieces of a text occur in another: what a comparison of strings says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlstm.text.repeats import LEAST_PIECE, Overlap, Pieces, Search, occurring


def pieces(texts: list[str], dtype: str = "u1", gap: int = 0) -> Pieces:
    """Put texts one after the other, with other characters between them."""
    ids = np.frombuffer(("\1" * gap).join(["", *texts, ""]).encode("latin-1"), np.uint8).astype(dtype)
    lengths = np.array([len(text) for text in texts], np.int64)
    ends = lengths.cumsum() + gap * np.arange(1, len(texts) + 1)
    return Pieces(ends - lengths, ends, lambda begin, end: ids[begin:end])


texts = st.lists(st.text("ab", min_size=1, max_size=20), min_size=1, max_size=30)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@given(texts, texts, st.integers(0, 2))
@settings(max_examples=60)
def test_equal_pieces_are_found_across_blocks(dtype: str, searched: list[str], text: list[str], gap: int) -> None:
    for block in (3, 16, 1 << 19):
        found = occurring(pieces(searched, dtype), pieces(text, dtype, gap), within=False, block=block)
        assert found.tolist() == [piece in text for piece in searched]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@given(st.data())
@settings(max_examples=60)
def test_stretches_are_found_across_blocks(dtype: str, data: st.DataObject) -> None:
    whole = data.draw(st.text("ab", min_size=300, max_size=400))
    begins = data.draw(st.lists(st.integers(0, 299), min_size=1, max_size=5))
    searched = [whole[begin : begin + data.draw(st.integers(1, 200))] for begin in begins]
    searched += [piece[:-1] + "c" for piece in searched]
    for block in (50, 1 << 19):
        found = occurring(
            pieces(searched, dtype), pieces([whole], dtype), within=True, block=block, pattern=LEAST_PIECE
        )
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
    known = set(names)
    assert found.tolist() == [name in known for name in searched]


def test_a_search_takes_any_blocks_and_nothing_beyond_the_last_piece() -> None:
    """As the encoding shows it a whole text, of which the end is held out."""
    whole = "".join(map(chr, np.random.default_rng(0).integers(97, 123, 1000)))
    ids = np.frombuffer(whole.encode(), np.uint8)
    train = Pieces(np.array([0]), np.array([900]), lambda begin, end: ids[begin:end])
    searched = [whole[800:900], whole[850:950], whole[900:1000], whole[:900]]
    for size in (7, 64, 900, 1000):
        search = Search(pieces(searched), train, within=True, pattern=LEAST_PIECE)
        for begin in range(0, 1000, size):
            search.see(begin, ids[begin : begin + size])
        assert search.found.tolist() == [True, False, False, True]
        assert not search.complete


def test_an_overlap_is_told() -> None:
    assert Overlap(0, 9).notes() == []
    assert Overlap(2, 1_000, dropped=True).notes() == [
        "2 of 1,000 held-out documents also occur in the training text: left out of the held-out part"
    ]
    assert Overlap(1, 1).notes() == [
        "the held-out text also occurs in the training text: the model is scored on what it has learnt from"
    ]
