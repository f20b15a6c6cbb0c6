import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlstm import tokenizer as tokenizers
from charlstm.errors import DataError
from charlstm.tokenizer import ByteTokenizer, CharTokenizer

everything = st.text(st.characters(codec=None, exclude_categories=[]))  # lone surrogates as well
unicode = st.text(st.characters(codec="utf-8"))


@given(everything)
def test_char_round_trip(text: str) -> None:
    tokenizer = CharTokenizer.fit(text)
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
    assert CharTokenizer.fit(known).encode(text).tolist() == [ranks.get(character, 0) for character in text]


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "abc\N{SNOWMAN}d\N{GRINNING FACE}" * 7 + "plain ascii " * 5
    whole = CharTokenizer.fit(text)
    monkeypatch.setattr(tokenizers, "_BLOCK", 5)
    assert CharTokenizer.fit(text).vocabulary == whole.vocabulary
    assert whole.decode(whole.encode(text)) == text


@given(unicode, st.integers(1, 4))
def test_min_count(text: str, least: int) -> None:
    known = set(CharTokenizer.fit(text, least).vocabulary[1:])
    assert known == {character for character in text if text.count(character) >= least}


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


def test_vocabulary_round_trip() -> None:
    for tokenizer in (CharTokenizer.fit("hello\n"), ByteTokenizer()):
        again = tokenizers.from_vocabulary(tokenizer.kind, tokenizer.vocabulary)
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
