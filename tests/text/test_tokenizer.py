import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlstm.errors import DataError, UsageError
from charlstm.text import tokenizer as tokenizers
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer
from tests.conftest import fitted

everything = st.text(st.characters(codec=None, exclude_categories=[]))  # lone surrogates as well
unicode = st.text(st.characters(codec="utf-8"))


@given(everything)
def test_char_round_trip(text: str) -> None:
    tokenizer = fitted(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(unicode)
def test_byte_round_trip(text: str) -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.encode(text).tobytes() == text.encode()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.binary())
def test_any_file_survives_the_byte_tokenizer(data: bytes) -> None:
    assert ByteTokenizer().encode(data.decode("utf-8", "surrogateescape")).tobytes() == data


@given(unicode, unicode)
def test_char_ids_are_ranks_by_code_point(known: str, text: str) -> None:
    ranks = {character: rank for rank, character in enumerate(sorted(set(known)), start=1)}
    assert fitted(known).encode(text).tolist() == [ranks.get(character, 0) for character in text]


def test_blocks_do_not_show() -> None:
    text = "abc\N{SNOWMAN}d\N{GRINNING FACE}" * 7 + "plain ascii " * 5
    tokenizer = fitted(text)
    assert tokenizer.encode(text, block=5).tolist() == tokenizer.encode(text).tolist()
    assert tokenizer.decode(tokenizer.encode(text, block=5)) == text


@given(unicode)
def test_a_stream_never_breaks_a_character(text: str) -> None:
    stream = ByteTokenizer().stream()
    pieces = [stream.decode([byte]) for byte in text.encode()]
    assert "".join(pieces) == text
    assert all(len(piece) <= 1 for piece in pieces)


@given(st.binary())
def test_a_stream_of_any_bytes_is_text(data: bytes) -> None:
    stream = ByteTokenizer().stream()
    "".join(stream.decode([byte]) for byte in data).encode()


def test_smallest_type() -> None:
    assert CharTokenizer([chr(code) for code in range(255)]).encode("a").dtype == "uint8"
    assert CharTokenizer([chr(code) for code in range(256)]).encode("a").dtype == "uint16"
    assert CharTokenizer([chr(code) for code in range(65_536)]).encode("a").dtype == "uint32"


def test_a_text_begins_after_a_newline() -> None:
    assert CharTokenizer("\nab").start_id == 1
    assert CharTokenizer("ab").start_id == CharTokenizer.unknown_id
    assert ByteTokenizer().start_id == 10


@pytest.mark.parametrize("tokenizer", [CharTokenizer("\nab", framed=True), ByteTokenizer(framed=True)])
def test_frames_are_the_last_two_ids(tokenizer: Tokenizer) -> None:
    start, end = tokenizer.vocab_size - 2, tokenizer.vocab_size - 1
    assert tokenizer.vocabulary[-2:] == ["<start>", "<end>"]
    assert len(tokenizer.vocabulary) == tokenizer.vocab_size
    assert (tokenizer.start_id, tokenizer.end_id, tokenizer.opening) == (start, end, [end, start])
    assert start in tokenizer.never and end not in tokenizer.never
    assert tokenizer.decode([start, *tokenizer.encode("ab"), end]) == "\nab\n"
    assert tokenizer.stream().decode([start, *tokenizer.encode("ab"), end]) == "ab"


def test_without_frames_nothing_but_the_unknown_is_never_written() -> None:
    assert (CharTokenizer("ab").end_id, CharTokenizer("ab").never, CharTokenizer("\nab").opening) == (None, [0], [1])
    assert (ByteTokenizer().end_id, ByteTokenizer().never, ByteTokenizer().opening) == (None, [], [10])


def test_an_unknown_character_costs_the_uniform_code_over_the_others() -> None:
    """Of 1,112,064 Unicode scalars, all but the known ones."""
    assert math.exp(CharTokenizer("abc").unknown_nats) == pytest.approx(1_112_064 - 3)
    assert ByteTokenizer().unknown_nats == 0


def test_vocabulary_round_trip() -> None:
    for tokenizer in (fitted("hello\n"), ByteTokenizer(), fitted("hello\n", framed=True), ByteTokenizer(framed=True)):
        again = tokenizers.from_vocabulary(tokenizer.kind, tokenizer.vocabulary)
        assert again.vocabulary == tokenizer.vocabulary
        assert again.encode("hello\n").tolist() == tokenizer.encode("hello\n").tolist()


@pytest.mark.parametrize(
    ("kind", "vocabulary"),
    [
        ("char", []),
        ("char", ["a"]),
        ("char", ["<unk>", "ab"]),
        ("char", ["<unk>", "a", "a"]),
        ("byte", ["0x00"]),
        ("x", []),
    ],
)
def test_a_wrong_vocabulary_is_refused(kind: str, vocabulary: list[str]) -> None:
    with pytest.raises(DataError):
        tokenizers.from_vocabulary(kind, vocabulary)


def test_a_surrogate_no_file_holds_is_refused_by_bytes() -> None:
    with pytest.raises(DataError, match=r"U\+D800"):
        ByteTokenizer().encode("a\ud800")


def test_ngrams_are_hashed_from_code_points_or_bytes() -> None:
    """One more than each: 0 is where nothing reaches across; `<unk>` and `<start>` come after all characters."""
    assert CharTokenizer("\na\N{SNOWMAN}\U0010ffff").codes.tolist() == [0x110001, 0x0B, 0x62, 0x2604, 0x110000]
    assert CharTokenizer("b", framed=True).codes.tolist() == [0x110001, 0x63, 0x110002, 0]
    assert CharTokenizer("").codes.tolist() == [0x110001]
    assert ByteTokenizer().codes.tolist() == list(range(1, 257))
    assert ByteTokenizer(framed=True).codes.tolist() == [*range(1, 257), 0x110002, 0]


@given(unicode)
def test_a_character_has_the_same_code_in_every_vocabulary(known: str) -> None:
    for tokenizer in (fitted(known), fitted(known, framed=True)):
        assert tokenizer.codes.dtype == "int64"
        assert tokenizer.codes[tokenizer.encode(known)].tolist() == [ord(character) + 1 for character in known]


def test_a_message_about_an_unknown_label_does_not_grow_with_the_labels() -> None:
    tokenizer = CharTokenizer("ab", framed=True).labelled({"x" * 100_000: 1, "y" * 100_000: 1})
    with pytest.raises(UsageError, match="choose one of 'xxx") as error:
        tokenizer.opener("z" * 100_000)
    assert len(str(error.value)) < 400
