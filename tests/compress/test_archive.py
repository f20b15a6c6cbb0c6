"""Any bytes there and back, in blocks, in records, and as lines of base64; and what a model's code length says."""

import math
import os

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlstm.compress import archive, container
from charlstm.compress.coder import Decoder, Encoder
from charlstm.compress.container import MODEL, RAW, Container, Writer
from charlstm.compress.passage import text_of
from charlstm.compress.predict import TOTAL, Coding, Reader
from charlstm.errors import DataError, UsageError
from tests.compress.conftest import ALPHABET, KINDS, coding

TEXTS = st.one_of(
    st.binary(max_size=60),
    st.text(ALPHABET, max_size=80).map(str.encode),
    st.text(max_size=40).map(str.encode),
    st.lists(st.sampled_from([b"a word ", b"\r\n", b"\n", b"\xff", "é".encode(), b"\xe9", "😀".encode()])).map(
        b"".join
    ),
)
FULL = "CHARLSTM_TORTURE" in os.environ


def parsed(data: bytes) -> Container:
    return container.parsed(data, "x.clz")


@settings(max_examples=10_000 if FULL else 25)
@given(data=TEXTS, kind=st.sampled_from(KINDS), learning=st.booleans())
@example(data=b"", kind="char", learning=True)
@example(data="\ufeffa\r\nb\r\n".encode(), kind="char", learning=True)
@example(data=b"\xff\xfe" * 30, kind="framed", learning=False)
@example(data=b"a\n\n\nb", kind="lines", learning=True)
def test_any_bytes_come_back(data: bytes, kind: str, learning: bool) -> None:
    used = coding(kind)
    written = archive.compress(data, used, learning=learning)
    assert len(written.data) <= len(data) + 32
    assert archive.decompress(parsed(written.data), lambda _: used, "x") == data
    # Short ones are stored as they are: the code is tried by itself.
    passages, encoder = archive.begun(used, learning=learning), Encoder()
    assert passages.encode(text_of(data), encoder, lambda _: None)
    passages.begin()
    decoder = Decoder(encoder.finish())
    assert not data or passages.decode(decoder, len(data), lambda _: None) == data


@settings(max_examples=500 if FULL else 20)
@given(data=TEXTS, kind=st.sampled_from(KINDS))
@example(data=b"\n\n", kind="lines")
@example(data=b"one\ntwo", kind="framed")
def test_records_come_back_together_and_alone(data: bytes, kind: str) -> None:
    used = coding(kind)
    written = archive.compress_records(data, used)
    assert archive.decompress(parsed(written.data), lambda _: used, "x") == data
    lines = data.split(b"\n")
    lines = lines if lines[-1] else lines[:-1]
    for number, line in enumerate(lines, 1):
        assert archive.records(parsed(written.data), lambda _: used, "x", number) == [line]
    text = archive.lines_of(data, used)
    assert archive.text_of_lines(text, used, "x") == b"".join(line + b"\n" for line in lines)


def words(count: int) -> bytes:
    """Return lines of a few words that come again and again."""
    rng = np.random.default_rng(1)
    known = ["".join(rng.choice(list("abcdefgh"), 5)) for _ in range(40)]
    return "".join(f"{' '.join(rng.choice(known, 4))}\n" for _ in range(count)).encode()


def test_the_length_is_what_the_frequencies_say(small: Coding) -> None:
    """Up to a byte."""
    data = words(30)
    reader, bits = Reader(small), 0.0
    ids = small.tokenizer.encode(data.decode()).tolist()
    if small.separator:
        ids = [small.tokenizer.end_id if chr(byte) == "\n" else id for byte, id in zip(data, ids, strict=True)]
    for id in ids:
        bits -= math.log2(int(reader.frequencies()[id]) / TOTAL)
        reader.read(id)
        if id == small.tokenizer.end_id:
            reader.read(small.tokenizer.start_id)
    passages, encoder = archive.begun(small, learning=False), Encoder()
    passages.encode(data.decode(), encoder, lambda _: None)
    assert abs(len(encoder.finish()) - bits / 8) <= 1


@pytest.mark.slow
def test_what_is_learnt_pays(small: Coding) -> None:
    lengths = []
    for learning in (True, False):
        encoder = Encoder()
        archive.begun(small, learning=learning).encode(text_of(words(60)), encoder, lambda _: None)
        lengths.append(len(encoder))
    assert lengths[0] < 0.8 * lengths[1]


def test_records_cost_a_byte_each() -> None:
    data = words(150)
    held = archive.compress_records(data, coding("char")).container
    assert held.kind == container.RECORDS
    assert len(held.blocks[0].data) - held.records <= 150


@pytest.mark.slow
def test_long_texts_have_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("container.BLOCK", "archive.BLOCK"):
        monkeypatch.setattr(f"charlstm.compress.{name}", 1 << 11)
    monkeypatch.setattr(container, "LONGEST_BLOCK", (1 << 11) + 3)
    rng = np.random.default_rng(0)
    # Words, noise, words, the same again and again, and characters of three bytes over the seams.
    data = words(100) + rng.bytes(2500) + words(100) + b"a" * 4096 + "\N{SNOWMAN}a".encode() * 700
    for kind in ("char", "byte"):
        used = coding(kind)
        written = archive.compress(data, used)
        methods = {block.method for block in written.container.blocks}
        assert MODEL in methods
        assert len(methods) > 1
        assert archive.decompress(parsed(written.data), lambda _, used=used: used, "x") == data  # type: ignore[misc]


def test_ten_megabytes_of_one_character(small: Coding) -> None:
    data = b"a" * 10_000_000
    written = archive.compress(data, small)
    assert len(written.data) < 2000
    assert archive.decompress(parsed(written.data), lambda _: small, "x") == data


def test_what_no_model_makes_shorter_is_stored(small: Coding) -> None:
    data = np.random.default_rng(0).bytes(3000)
    written = archive.compress(data, small)
    assert written.container.kind == RAW
    assert len(written.data) <= len(data) + 32

    def find(_: Writer) -> Coding:
        raise AssertionError

    assert archive.decompress(parsed(written.data), find, "x") == data


def test_another_model_and_another_machine_are_told() -> None:
    used = coding("char")
    held = archive.compress(words(60), used).container
    assert held.writer is not None
    with pytest.raises(DataError, match=f"written with the model 'small-char' .id {used.id.hex()}.*another one"):
        archive.decompress(held, lambda _: coding("char", 1), "x")
    answer = Writer(**vars(held.writer) | {"known_answer": b"??"})
    with pytest.raises(DataError, match="this machine computes other probabilities"):
        archive.decompress(Container(**vars(held) | {"writer": answer}), lambda _: used, "x")
    lines = archive.lines_of(b"a line\nanother\n", used)
    wrong = 0
    for seed in range(1, 5):
        with pytest.raises(DataError, match="x: line 1: "):
            archive.text_of_lines(lines, coding("char", seed), "x")
        wrong += 1
    assert wrong == 4
    with pytest.raises(DataError, match="x: line 3: not base64"):
        archive.text_of_lines([*lines, "a*b"], used, "x")


def test_there_is_no_such_record() -> None:
    used = coding("char")
    held = archive.compress_records(words(20), used).container
    for number in (0, 21):
        with pytest.raises(UsageError, match=f"--record {number}: x has the records 1 to 20"):
            archive.records(held, lambda _: used, "x", number)
    with pytest.raises(DataError, match="no records"):
        archive.records(archive.compress(words(60), used).container, lambda _: used, "x", 1)


@pytest.mark.parametrize("cell", ["gru", "rnn", "peephole", "coupled"])
def test_all_cells(cell: str) -> None:
    used = coding("framed", 0, cell)
    data = words(12) * 2
    assert archive.decompress(archive.compress(data, used).container, lambda _: used, "x") == data
