"""The hashes of n-grams against plain arithmetic of 32 bits, and their table against a dictionary of vectors."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from charlstm.config import ModelConfig
from charlstm.network import ngrams
from charlstm.network.ngrams import DENSE, NOTHING, ROWS, SCALES, VALUES, Symbols, Table

KNOWN = [
    # Computed by a C program with uint32_t: the code points of a text, and the hash of the n-gram of each order that
    # ends with it. Any other engine must find the same.
    ("the", [788040130, 565845495]),
    ("ere ", [369479416, 1472718083, 1194252339]),
    ("\x10\N{REPLACEMENT CHARACTER}\N{GRINNING FACE}\U0010ffff", [2429003161, 608316985, 879840478]),
    ("\u4f60\u597d", [100151720]),
]
ALPHABET = Symbols(30, end_id=29)


def finalised(number: np.uint32) -> np.uint32:
    """MurmurHash3's fmix32, as published."""
    number ^= number >> np.uint32(16)
    number *= np.uint32(0x85EBCA6B)
    number ^= number >> np.uint32(13)
    number *= np.uint32(0xC2B2AE35)
    number ^= number >> np.uint32(16)
    return number


def expected(codes: list[int], order: int) -> int | None:
    """Return the hash of the n-gram of this order that ends with the last code, or None if there is none."""
    if len(codes) < order or NOTHING in codes[-order:]:
        return None
    with np.errstate(over="ignore"):
        total, factor = np.uint32(0), np.uint32(0x9E3779B1)
        for code in codes[-order:]:
            total = total * factor + np.uint32(code)
        return int(finalised(total ^ (np.uint32(order) * factor)))


def test_the_finaliser_is_the_published_one() -> None:
    with np.errstate(over="ignore"):
        assert [finalised(np.uint32(number)) for number in (0, 1, 0xFFFFFFFF)] == [0, 0x514E28B7, 0x81F16F39]


@pytest.mark.parametrize(("text", "answers"), KNOWN)
def test_known_answers(text: str, answers: list[int]) -> None:
    codes = [ord(character) + 1 for character in text]
    assert [expected(codes, order) for order in range(2, len(codes) + 1)] == answers
    assert ngrams.one(codes, 2**32) == answers
    assert ngrams.one(codes, 32768) == [answer % 32768 for answer in answers]
    for library in (np.array, torch.tensor):
        found = ngrams.hashes(library(codes), len(codes))
        assert [int(hashed[0]) - 1 for hashed in found] == answers
        assert [int(ngrams.row(hashed, 32768)[0]) for hashed in found] == [answer % 32768 for answer in answers]


@given(
    st.integers(2, 6),
    st.lists(
        st.lists(st.one_of(st.just(NOTHING), st.integers(1, ngrams.LAST_CODE)), min_size=9, max_size=9),
        min_size=1,
        max_size=3,
    ),
)
def test_numpy_torch_and_plain_integers_find_the_same(highest: int, streams: list[list[int]]) -> None:
    codes = np.array([[0] * (highest - 1) + stream for stream in streams]).T  # (highest - 1 + 9, N)
    found = np.stack(ngrams.hashes(codes, highest), -1)  # (9, N, orders)
    assert found.shape == (9, len(streams), highest - 1)
    assert np.array_equal(found, torch.stack(ngrams.hashes(torch.from_numpy(codes), highest), -1).numpy())
    for number, stream in enumerate(streams):
        for place in range(9):
            read = stream[: place + 1]
            answers = [expected(read, order) for order in range(2, highest + 1)]
            assert [None if it == NOTHING else it - 1 for it in found[place, number].tolist()] == answers
            whole = [answer for answer in answers if answer is not None]
            assert ngrams.one(read[-highest:], 2**32) == whole
            assert ngrams.one(codes[place : place + highest, number].tolist(), 2**32) == whole


def test_nothing_reaches_across_an_end_or_the_beginning() -> None:
    codes = np.array([0, 0, 0, 5, 6, NOTHING, 7, 8, 9, 10])
    found = np.stack(ngrams.hashes(codes, 4), -1) != NOTHING
    assert found.sum(1).tolist() == [0, 1, 0, 0, 1, 2, 3]


def example(rows: int = 64, size: int = 5) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return a table, and which of its rows are in use; the others are zero."""
    source = np.random.default_rng(0)
    used = np.sort(source.choice(rows, rows // 2, replace=False))
    table = np.zeros((rows, size), np.float32)
    table[used] = source.normal(size=(len(used), size)) * source.uniform(1e-3, 10, (len(used), 1))
    return table, used


def test_the_rows_in_use_are_kept_exactly() -> None:
    table, used = example()
    kept = ngrams.packed(table, used)
    assert (kept[ROWS].dtype, kept[VALUES].dtype) == (np.int32, np.float32)
    assert kept[VALUES].shape == (32, 5)
    assert ngrams.dense(kept, 64).tobytes() == table.tobytes()


def test_eight_bits_are_half_a_step_off_at_most() -> None:
    table, used = example()
    table[used[3]] = 0
    kept = ngrams.rounded(table, used, np.ones(32, np.float32))
    assert {name: array.dtype for name, array in kept.items()} == {ROWS: np.int32, VALUES: np.int8, SCALES: np.float32}
    off = np.abs(ngrams.dense(kept, 64) - table).max(1)
    assert (off <= np.abs(table).max(1) / 127 / 2 * 1.001).all()
    assert off.max() > 0
    assert (ngrams.dense(kept, 64)[used[3]] == 0).all()


@given(arrays.arrays(np.float32, (3, 4), elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=True)))
def test_no_value_is_too_small_or_too_large_for_eight_bits(table: npt.NDArray[np.float32]) -> None:
    kept = ngrams.rounded(table, np.arange(3), np.ones(3, np.float32))
    assert np.abs(kept[VALUES].astype(int)).max() <= 127
    again = ngrams.dense(kept, 4)[:3]
    assert (np.sign(again) * np.sign(table) >= 0).all()
    np.testing.assert_allclose(again, table, rtol=0, atol=np.abs(table).max() / 127 + 1e-40)


def test_too_large_a_table_loses_its_least_important_rows() -> None:
    table, used = example()
    importance = np.random.default_rng(1).permutation(32).astype(np.float32)
    kept = ngrams.rounded(table, used, importance, limit=20 * (5 + 8) + 12)
    assert kept[ROWS].tolist() == [row for row, weight in zip(used, importance, strict=True) if weight >= 12]
    size = sum(array.nbytes for array in kept.values())
    assert size <= 20 * (5 + 8) + 12
    assert (np.diff(kept[ROWS]) > 0).all()
    assert ngrams.rounded(table, used, importance, limit=0)[VALUES].shape == (0, 5)
    assert len(ngrams.rounded(table, used, importance)[ROWS]) == 32


def variants(table: npt.NDArray[np.float32], used: npt.NDArray[np.int64]) -> dict[str, Table]:
    """Return the same table in each form in which an engine takes it."""
    exact = ngrams.packed(table, used)
    config = ModelConfig(ngrams=5, ngram_rows=64, embedding_size=5)
    codes = ALPHABET.codes
    return {
        "dense": Table(config, codes, {DENSE: table}),
        "packed": Table(config, codes, exact),
        "torch": Table(config, codes, {DENSE: torch.from_numpy(table)}),
    }


def by_hand(table: npt.NDArray[np.float32], ids: list[int]) -> npt.NDArray[np.float64]:
    """Return the sum of the vectors of the n-grams of 2 to 5 ids that end here, in float64."""
    codes = [ALPHABET.codes.tolist()[id] for id in ids]
    found = [expected(codes, order) for order in range(2, 6)]
    return sum((table[it % 64].astype(float) for it in found if it is not None), np.zeros(5))


def test_every_form_of_the_table_reads_the_sums_and_many_streams_read_as_one_to_the_bit() -> None:
    table, used = example()
    ids = np.random.default_rng(2).choice([*range(8), 29], (40, 3))
    for name, form in variants(table, used).items():
        together, alone = form.beginning(3), [form.beginning(None) for _ in range(3)]
        for place, row in enumerate(ids):
            sums, together = form.read(row if name != "torch" else torch.from_numpy(row), together)
            for stream in range(3):
                single, alone[stream] = form.read(int(row[stream]), alone[stream])
                assert np.array_equal(np.asarray(sums)[stream], np.asarray(single)), name
                assert np.array_equal(np.asarray(together)[stream], np.asarray(alone[stream]))
                read = by_hand(table, ids[: place + 1, stream].tolist())
                np.testing.assert_allclose(np.asarray(single), read, rtol=1e-5, atol=1e-5)


def test_a_rounded_table_reads_as_the_dense_one_to_the_bit() -> None:
    table, used = example()
    kept = ngrams.rounded(table, used, np.ones(32, np.float32), limit=20 * 13)
    config = ModelConfig(ngrams=5, ngram_rows=64, embedding_size=5)
    rounded = Table(config, ALPHABET.codes, kept)
    whole = Table(config, ALPHABET.codes, {DENSE: ngrams.dense(kept, 64)})
    states = [rounded.beginning(2), whole.beginning(2)]
    for row in np.random.default_rng(3).choice([*range(8), 29], (40, 2)):
        ours, states[0] = rounded.read(row, states[0])
        theirs, states[1] = whole.read(row, states[1])
        assert ours.dtype == np.float32
        assert ours.tobytes() == theirs.tobytes()


def test_a_table_without_any_row_in_use_adds_nothing() -> None:
    kept = ngrams.packed(np.zeros((64, 4), np.float32), np.zeros(0, np.int64))
    form = Table(ModelConfig(ngrams=3, ngram_rows=64), ALPHABET.codes, kept)
    recent = form.beginning(None)
    for id in (1, 2, 3):
        sums, recent = form.read(id, recent)
        assert sums.tolist() == [0.0] * 4


@pytest.mark.parametrize("size", [1, 2, 8])
def test_sums_of_many_orders_are_rounded_alike_in_one_stream_and_in_many(size: int) -> None:
    table, used = example(size=size)
    config = ModelConfig(ngrams=16, ngram_rows=64)
    form = Table(config, ALPHABET.codes, ngrams.packed(table, used))
    together, alone = form.beginning(2), [form.beginning(None) for _ in range(2)]
    for row in np.random.default_rng(4).choice([*range(9)] * 5 + [29], (100, 2)):
        sums, together = form.read(row, together)
        for stream in range(2):
            single, alone[stream] = form.read(int(row[stream]), alone[stream])
            assert single.tobytes() == sums[stream].tobytes()


@pytest.mark.parametrize("streams", [None, 2])
@pytest.mark.parametrize("form", ["packed", "torch"])
def test_after_an_end_nothing_is_remembered(form: str, streams: int | None) -> None:
    """Two documents leave the same state behind, and the state that was given is not changed."""
    table = variants(*example())[form]
    library = torch.tensor if form == "torch" else np.array

    def read(ids: list[int]) -> list[list[int]]:
        recent = table.beginning(streams)
        seen = []
        for id in ids:
            before = recent.tolist()
            _, after = table.read(id if streams is None else library([id] * 2), recent)
            assert recent.tolist() == before
            recent = after
            seen.append(recent.tolist() if streams is None else recent[0].tolist())
        return seen

    assert read([1, 2, 3, 29])[-1] == read([4, 5, 29])[-1] == [NOTHING] * 4
    assert read([1, 2, 3, 29, 6])[-1] == [NOTHING] * 3 + [7]
    for before, after in pairwise(read([1, 2, 3, 4, 5])):
        assert after[:-1] == before[1:]


@pytest.mark.parametrize("order", [2, 3, 5])
def test_different_n_grams_are_counted_to_within_a_hundredth(text: str, order: int) -> None:
    codes = np.array([ord(character) + 1 for character in text])
    found = {text[place : place + order] for place in range(len(text) - order + 1)}
    assert ngrams.distinct(codes, order) == pytest.approx(len(found) / (len(text) - order + 1), rel=0.01)


def test_different_n_grams_of_short_texts() -> None:
    alike = np.array([5, 5, 5, 5, NOTHING, 5, 5, 5])  # none reaches across the end of a document
    assert ngrams.distinct(alike, 2) == pytest.approx(1 / 5, rel=0.01)
    assert ngrams.distinct(np.arange(1, 1_000), 2) == pytest.approx(1, rel=0.01)
    assert ngrams.distinct(np.array([7]), 3) == 0
