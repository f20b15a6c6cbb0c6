"""Where documents begin and end: what strings and sets say."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from charlstm.text.documents import MANY_DOCUMENTS, MOST_HELD_OUT, Cutter, Part, are_drawn, framed, split


def codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


@given(st.text("ab-", max_size=60), st.sampled_from(["-", "--", "-a-", "ab"]), st.integers(1, 9))
def test_a_cutter_finds_what_split_finds_in_any_blocks(text: str, separator: str, block: int) -> None:
    cutter, remains, ends = Cutter(codes(separator)), "", []
    pieces = [cutter.cut(codes(text[at : at + block]), np.empty(0, np.int64)) for at in range(0, len(text), block)]
    for kept, closing in [*pieces, cutter.rest()]:
        ends += [len(remains) + end for end in closing.tolist()]
        remains += kept.tobytes().decode()
    found = [remains[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    assert found == text.split(separator)


lengths = st.lists(st.integers(1, 30), min_size=1, max_size=60)
shares = st.floats(0.01, 0.9)


def stretches(part: Part) -> list[tuple[int, int]]:
    return list(zip(part.begins.tolist(), part.ends.tolist(), strict=True))


@given(lengths, shares)
def test_a_split_gives_every_place_to_one_part(sizes: list[int], share: float) -> None:
    ends = np.cumsum(sizes)
    parts = split(ends, share)
    places = [place for part in parts for begin, end in stretches(part) for place in range(begin, end)]
    assert sorted(places) == list(range(ends[-1]))
    held_out = sum(end - begin for begin, end in stretches(parts[1]))
    if len(sizes) < MANY_DOCUMENTS:
        assert not are_drawn(ends, share)
        assert held_out == int(ends[-1] * share)
        assert stretches(parts[1]) == [] or stretches(parts[1])[-1][1] == ends[-1]
    else:
        assert are_drawn(ends, share)
        assert all(part.opens.all() and part.closes.all() for part in parts)
        assert 0 < len(parts[1].ends) < len(sizes)
    for part in parts:  # frames belong where documents begin and end
        assert [begin in {0, *ends.tolist()} for begin, _ in stretches(part)] == part.opens.tolist()
        assert [end in ends.tolist() for _, end in stretches(part)] == part.closes.tolist()


def test_no_more_than_a_million_characters_are_held_out() -> None:
    (_, held_out) = split(np.array([10**9]), 0.1)
    assert stretches(held_out) == [(10**9 - MOST_HELD_OUT, 10**9)]
    (_, held_out) = split(np.arange(1, 1001) * 10**6, 0.1)
    assert len(held_out.ends) == 1
    assert len(split(np.array([5, 9]), 0)) == 1


@given(lengths, shares, st.integers(1, 40))
def test_a_part_in_blocks_is_the_part_with_its_frames(sizes: list[int], share: float, block: int) -> None:
    ends = np.cumsum(sizes)
    text = np.arange(ends[-1]).astype(np.uint16) % 60_000
    close, opening = 60_001, 60_002
    for part in split(ends, share):
        expected: list[int] = []
        bounds = [0]
        for (begin, end), opens, closes in zip(stretches(part), part.opens, part.closes, strict=True):
            expected += [opening] * int(opens) + text[begin:end].tolist() + [close] * int(closes)
            bounds.append(len(expected))
        for whole, numbers in ((part, text), (part.closed_up(), np.concatenate([text[:0], *gathered(part, text)]))):
            found: list[int] = []
            for begin in range(0, len(numbers), block):
                ids, closing, opened = whole.within(begin, numbers[begin : begin + block])
                assert (len(ids) > 0) == whole.touches(begin, begin + block)
                found += framed(ids, closing, opened, close, np.full(len(opened), opening, np.uint16)).tolist()
            assert found == expected
        assert part.bounds(framed=True).tolist() == bounds
        assert part.bounds(framed=False).tolist() == [0, *np.cumsum(part.ends - part.begins).tolist()]


def gathered(part: Part, text: np.ndarray) -> list[np.ndarray]:
    return [text[begin:end] for begin, end in stretches(part)]


def test_a_part_without_some_stretches() -> None:
    part = split(np.array([2, 5, 9]), 0)[0].without(np.array([False, True, False]))
    assert stretches(part) == [(0, 2), (5, 9)]
    assert stretches(part.closed_up()) == [(0, 2), (2, 6)]
