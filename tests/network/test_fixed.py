"""The tables against integers: exp by repeated multiplication in 128 bits, and what follows from it."""

import hashlib
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlstm.network import fixed

ONE = 1 << 128


@pytest.fixture(scope="module")
def powers() -> list[int]:
    """exp(-k / 1024) for k = 0, 1, ..., in steps of 2^-128."""
    factor, term, order = 0, ONE, 0
    while term:  # the series of exp(-1 / 1024)
        factor += term
        order += 1
        term = -term // (1024 * order) if term > 0 else -(term // (1024 * order))
        term = term if abs(term) > 1 else 0
    found = [ONE]
    while len(found) <= 24 * 1024:
        found.append(found[-1] * factor >> 128)
    return found


def rounded(numerator: int, denominator: int, unit: int) -> int:
    return (2 * numerator * unit + denominator) // (2 * denominator)


def test_the_file_is_the_one_that_was_computed() -> None:
    data = (Path(fixed.__file__).parent / "tables.bin").read_bytes()
    assert hashlib.sha256(data).hexdigest() == fixed.SHA256
    assert len(data) == 2 * 24 * 1024 + 2 * 12 * 1024 + 4 * 22 * 1024


@pytest.mark.slow
def test_it_can_be_computed_again() -> None:
    assert hashlib.sha256(fixed.compute()).hexdigest() == fixed.SHA256


def test_exp(powers: list[int]) -> None:
    table = fixed.tables().exp
    assert table[:-1].tolist() == [rounded(power, ONE, 2**30) for power in powers[: 22 * 1024]]
    assert table[-1] == 0


def test_sigmoid(powers: list[int]) -> None:
    table = fixed.tables().sigmoid * 2**15
    right = [min(2**15 - 1, rounded(ONE, ONE + power, 2**15)) for power in powers[: 12 * 1024]]
    assert table[12 * 1024 :].tolist() == right
    assert table[: 12 * 1024].tolist() == [rounded(power, ONE + power, 2**15) for power in powers[12 * 1024 : 0 : -1]]


def test_tanh(powers: list[int]) -> None:
    table = fixed.tables().tanh * 2**15
    right = [min(2**15 - 1, rounded(ONE - power, ONE + power, 2**15)) for power in powers[: 12 * 1024 : 2]]
    assert table[6 * 1024 :].tolist() == right
    assert table[1 : 6 * 1024].tolist() == [-each for each in right[:0:-1]]
    assert table[0] == 1 - 2**15


def test_saturated_gates_are_shut() -> None:
    assert fixed.tables().sigmoid[0] == 0
    assert fixed.tables().sigmoid[-1] == 1 - 2**-15


def test_places_outside_of_a_table_are_its_ends() -> None:
    table = np.arange(4)
    places = np.array([-1e9, -1.0, -0.3, 0.0, 0.99, 1.0, 3.99, 4.0, 1e9])
    assert fixed.look_up(table, places).tolist() == [0, 0, 0, 0, 0, 1, 3, 3, 3]


def test_halves_are_rounded_up() -> None:
    assert fixed.nearest(np.array([-1.5, -0.5, 0.49, 0.5, 1.5])).tolist() == [-1, 0, 0, 1, 2]


scores = st.lists(st.integers(-(2**28), 2**28) | st.integers(-20_000, 20_000), min_size=2, max_size=30)


@given(scores, st.booleans())
def test_frequencies(row: list[int], framed: bool) -> None:
    never = [len(row) - 2] if framed else []
    found = fixed.frequencies(np.array(row, np.int32), never)
    assert found.dtype == np.uint32
    assert found.sum() == fixed.TOTAL
    others = [id for id in range(len(row)) if id not in never]
    assert (found[others] >= 1).all()
    assert (found[never] == 0).all()
    ranked = sorted(others, key=lambda id: -row[id])
    assert all(found[a] >= found[b] for a, b in pairwise(ranked))
    together = fixed.frequencies(np.array([row, [0] * len(row)]), never)
    assert together[0].tolist() == found.tolist()


def test_frequencies_are_the_softmax() -> None:
    row = np.random.default_rng(0).normal(0, 2, 66)
    found = fixed.frequencies(np.rint(row * 1024).astype(np.int32)) / fixed.TOTAL
    expected = np.exp(row) / np.exp(row).sum()
    assert (expected * np.log2(expected / found)).sum() < 1e-4
    np.testing.assert_allclose(found, expected, atol=1e-6 + 0.5 / 1024)


def test_what_is_left_over_goes_to_the_first_of_the_likeliest() -> None:
    assert fixed.frequencies(np.zeros(3, np.int32)).tolist() == [1398102, 1398101, 1398101]
    assert math.prod(fixed.frequencies(np.array([0, 2**20], np.int32))) == 2**22 - 1
