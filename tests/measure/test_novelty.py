"""What is copied, against a search of every substring."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlstm.config import TextConfig
from charlstm.measure import novelty
from charlstm.measure.novelty import Copies, Follower, Highlighter
from charlstm.show import terminal as console
from charlstm.text import corpus as corpora
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer
from tests.conftest import Command, fitted

SHORT = ("--evaluations=1", "--precision=fp32")
ALPHABETS = {"latin": "ab\xff", "wide": "a\u0100\u20ac", "widest": "a\u0100\U0001f600"}


def longest(text: str, train: str) -> list[int]:
    return [
        max(length for length in range(end + 1) if text[end - length : end] in train) for end in range(1, len(text) + 1)
    ]


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("kind", ["char", "byte"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_longest_span_up_to_each_character(data: st.DataObject, alphabet: str, kind: str) -> None:
    characters = st.sampled_from(ALPHABETS[alphabet])
    train = data.draw(st.text(characters, min_size=1, max_size=40))
    text = data.draw(st.text(st.sampled_from(ALPHABETS[alphabet] + "z\U0010ffff"), max_size=40))
    tokenizer: Tokenizer = ByteTokenizer() if kind == "byte" else fitted(train)
    follower = Follower(Copies(tokenizer.encode(train), tokenizer))
    assert [follower.add(character) for character in text] == longest(text, train)


@settings(max_examples=100, deadline=None)
@given(
    train=st.text("ab", min_size=1, max_size=60),
    text=st.text("ab", max_size=60),
    cuts=st.lists(st.integers(1, 9), max_size=30),
    least=st.integers(1, 6),
)
def test_what_is_underlined_lies_in_a_long_span(train: str, text: str, cuts: list[int], least: int) -> None:
    tokenizer = CharTokenizer("ab")
    marks = [False] * len(text)
    for end, length in enumerate(longest(text, train), 1):
        if length >= least:
            marks[end - length : end] = [True] * length
    highlighter = Highlighter(Copies(tokenizer.encode(train), tokenizer), least)
    pieces, begin = [], 0
    for cut in [*cuts, len(text)]:
        pieces += highlighter.add(text[begin : begin + cut])
        begin += cut
        if not any(marks[max(0, begin - least) : begin]):
            assert sum(len(piece) for piece, _ in pieces) > min(begin, len(text)) - least
    pieces += highlighter.rest()
    assert "".join(piece for piece, _ in pieces) == text
    assert [copied for piece, copied in pieces for _ in piece] == marks
    assert (highlighter.copied, highlighter.characters) == (sum(marks), len(text))


def test_no_span_goes_beyond_a_document_or_an_unknown_character(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("anna\nbob\n" + "carl\n" * 3)
    for kind in ("char", "byte"):
        text = corpora.load([str(tmp_path / "names.txt")], [], TextConfig(separator=r"\n", tokenizer=kind))
        copies = Copies(text.train.ids, text.tokenizer)
        follower = Follower(copies)
        assert max(follower.add(character) for character in "annabob\ncarl") <= 4
    tokenizer = CharTokenizer("ab")
    follower = Follower(Copies(tokenizer.encode("aXb"), tokenizer))
    assert [follower.add(character) for character in "a\N{REPLACEMENT CHARACTER}b"] == [1, 0, 1]


class Terminal:
    """A stream that says it is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


@pytest.mark.slow
def test_sample_underlines_copies(
    charlstm: Command, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corpus.txt").write_text("The quick brown fox jumps over the lazy dog again. " * 200)
    assert charlstm("train", "corpus.txt", "--steps=150", "--hidden-size=48", "--seed=1", *SHORT).code == 0
    arguments = ["sample", "corpus", "--seed=2", "--length=400", "--temperature=0.3", "--num-samples=2"]
    plain = charlstm(*arguments)
    marked = charlstm(*arguments, "--highlight-copies")
    assert marked.out == plain.out  # nothing is underlined but on a terminal
    assert "copied from the training text, the longest span" in marked.err
    rows = [json.loads(line) for line in charlstm(*arguments, "--highlight-copies", "--json").out.splitlines()]
    train = (tmp_path / "corpus.txt").read_text()
    for row in rows:
        assert row["copied"]
        for begin, end in row["copied"]:
            assert end - begin >= 20
            assert all(row["text"][at : at + 20] in train for at in (begin, end - 20))
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    assert charlstm(*arguments, "--highlight-copies").code == 0
    shown = re.split(r"\x1b\[4m(.*?)\x1b\[24m", terminal.text, flags=re.DOTALL)
    assert "".join(shown) == plain.out
    underlined = sum(len(part) for part in shown[1::2])
    assert underlined == sum(end - begin for row in rows for begin, end in row["copied"])


@pytest.mark.slow
def test_eval_compares_samples_with_held_out_text(charlstm: Command, trained: Path) -> None:
    shown = charlstm("eval", trained, "--novelty")
    assert shown.code == 0, shown.err
    assert "the text scored" in shown.out
    assert max(map(len, shown.out.partition("\n\n")[2].partition("The model's longest")[0].splitlines())) <= 60
    found = json.loads(charlstm("eval", trained, "--novelty", "--json").out)["novelty"]
    assert found["passages"] == 4  # of 1,000 characters, in 4,000 that are held out
    for name in ("sampled", "held_out"):
        spans = found[name]
        assert spans["median"] <= spans["percentile_90"] <= spans["longest"] == len(spans["example"])
        assert 0 <= spans["copied"] <= 1
    train = (trained.parent.parent / "reference.txt").read_text()[:36_000]
    held_out = (trained.parent.parent / "reference.txt").read_text()[36_000:]
    example = found["held_out"]["example"]
    assert example in train
    assert example in held_out
    assert max(longest(held_out[:1000], train)) <= found["held_out"]["longest"]


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_passages_have_a_thousand_characters(kind: str) -> None:
    text = "".join(chr(0x430 + number % 31) for number in range(7100)) + "ab"
    tokenizer: Tokenizer = ByteTokenizer() if kind == "byte" else fitted(text)
    passages = list(novelty.passages(corpora.encode(text, tokenizer), tokenizer))
    assert [len(passage) for passage in passages] == [1000] * 7
    assert all(passage in text for passage in passages)


@pytest.mark.slow
def test_copies_of_documents(charlstm: Command, text: str, tmp_path: Path) -> None:
    words = sorted({word.lower() for word in text.split() if word.isascii() and word.isalpha()})[:500]
    (tmp_path / "words.txt").write_text("\n".join(words) + "\n")
    assert (
        charlstm("train", "words.txt", "--separator=\\n", "--steps=60", "--hidden-size=32", "--batch-size=4").code == 0
    )
    found = json.loads(charlstm("eval", "words", "--novelty", "--json").out)["novelty"]
    assert found["passages"] > 20
    assert found["sampled"]["longest"] <= max(map(len, words))
    assert console.printable(found["sampled"]["example"]) == found["sampled"]["example"]
