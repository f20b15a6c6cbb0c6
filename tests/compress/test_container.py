"""Damaged and hostile containers: one line, and no wrong text."""

import os
import zlib

import numpy as np
import pytest

from charlstm.compress import archive, container, index
from charlstm.compress.container import RECORDS, TEXT
from charlstm.errors import DataError
from tests.compress.conftest import coding
from tests.compress.test_archive import words

TIMES = 10_000 if "CHARLSTM_TORTURE" in os.environ else 300


def read(data: bytes) -> bytes:
    return archive.decompress(container.parsed(data, "x.clz"), lambda _: coding("char"), "x.clz")


@pytest.mark.parametrize("records", [False, True])
def test_what_is_damaged_is_refused(records: bool) -> None:
    """One flipped bit, a few bytes, a piece left out, put twice or cut off: always the very text, or an error."""
    text = words(40)
    used = coding("char")
    whole = (archive.compress_records(text, used) if records else archive.compress(text, used)).data
    assert read(whole) == text
    rng = np.random.default_rng(records)
    refused = 0
    for _ in range(TIMES // 2):
        data = bytearray(whole)
        at, other = sorted(rng.integers(0, len(data), 2).tolist())
        match rng.integers(5):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at : at + 3] = rng.bytes(3)
            case 2:
                del data[at:other]
            case 3:
                data[at:at] = data[at:other]
            case 4:
                del data[at:]
        try:
            assert read(bytes(data)) == text
        except DataError as problem:
            assert str(problem).startswith("x.clz: ")
            assert "\n" not in str(problem)
            refused += 1
    assert refused > TIMES // 3


def test_hostile_headers_cost_nothing() -> None:
    """Their checksums are right; their lengths are not."""
    used = coding("char")
    head = container.MAGIC + bytes([1])
    rng = np.random.default_rng(0)
    lengths = [0, 1, 2, 63, 64, 255, 1 << 16, (1 << 20) + 3, 1 << 30, 1 << 32, (1 << 32) + 1, 1 << 63, 1 << 70]
    for number in range(200):
        size, length, records = (lengths[at] for at in rng.integers(0, len(lengths), 3))
        kind = number % 4
        data = head + bytes([kind]) + container.varint(size) + rng.bytes(8)
        if kind:
            data += bytes([number % 3, used.arithmetic]) + used.id + bytes([number % 80]) + b"n" * (number % 80)
            data += used.known_answer
        body = rng.bytes(int(rng.integers(0, 40)))
        if kind == TEXT:
            data += bytes([number % 5]) + container.varint(length)
        elif kind == RECORDS:
            data += container.varint(records)
        data += zlib.crc32(body, zlib.crc32(data)).to_bytes(4, "little") + body
        with pytest.raises(DataError):
            read(data)


def test_what_is_no_container() -> None:
    with pytest.raises(DataError, match=r"x.clz: not a file that `charlstm compress` wrote"):
        read(b"CL")
    with pytest.raises(DataError, match="written in format 9, this version reads 1"):
        read(b"CLZ\x09")
    with pytest.raises(DataError, match=r"x.clz: damaged at byte 4 \(it ends too early\)"):
        read(b"CLZ\x01")


def test_what_is_written_is_read() -> None:
    for held in (
        archive.compress(words(40), coding("char")).container,
        archive.compress_records(words(40)[:-1], coding("lines")).container,
        archive.compress(b"", coding("byte")).container,
    ):
        assert container.parsed(container.written(held), "x") == held


def test_the_index() -> None:
    rng = np.random.default_rng(0)
    for lengths in ([], [1], [1, 2, 3, 1 << 20], rng.integers(1, 40, 1000).tolist(), [70_000] * 50):
        assert index.decoded(index.encoded(lengths), sum(lengths)) == lengths
    assert len(index.encoded(rng.integers(8, 40, 1000).tolist())) < 700
    with pytest.raises(DataError):
        index.decoded(b"\xff" * 9, 1000)
