"""What a reader would name in a text, without looking ahead."""

from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlstm.errors import UsageError
from charlstm.measure.search.labels import NEVER, Label, labels

REAL = "\n\n".join(topics.values())


def label(name: str, text: str) -> Label:
    return next(each for each in labels(text) if each.name == name)


def marked(name: str, text: str) -> str:
    """Return the text's label as digits, with a dot for 0."""
    return "".join("." if value == 0 else f"{int(value):x}" for value in label(name, text).values)


# Each text, and below it the label of each character. A tilde stands for a line feed.
BY_HAND = {
    "inside quotes": """
He's "in" not “a „b” «c»
.....111......11111..11.
an "open~~end" x
...111111....111
""",
    "inside brackets": """
f(a[1], b)) {1) x} [[]
.11111111...11111..111
""",
    "bracket depth": """
f(a[1], b)) {1) x} [[]
.11221111...11111..121
""",
    "inside a comment": """
x = 1  # so~// a:/*b~/*c~d*/ http://e
.......1111..1111111..11111..........
""",
    "inside a string": """
x = 'a\\'b' + f("", "c")
....11111......1...11..
It's 'so', he said "no"
.......................
return "a", """
    + "'''"
    + """b~c"""
    + "'''"
    + """
.......11.....111111.
""",
    "column": """
ab~cde~~f
12.123..1
""",
    "position in the word": """
It's a_b 3.
1234.123.1.
""",
    "indentation": """
  a b~    c~d
12222.12344..
""",
    "capital": """
aBÉ d
.11..
""",
    "digit": """
a1 23
.1.11
""",
    "punctuation": """
a, (b)
.1.1.1
""",
    "speaker or heading": """
ROMEO:~So I~~King of France: Go~~The cat
11111........11111111111111......1111...
a~# On it~b
...111111..
""",
    "inside a tag": """
1 < 2 <a href="x">b</a>
.......1111111111...11.
""",
}


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name: str) -> None:
    lines = BY_HAND[name].strip("\n").splitlines()
    for text, expected in zip(lines[::2], lines[1::2], strict=True):
        assert marked(name, text.replace("~", "\n")) == expected


def test_what_closes_and_opens() -> None:
    quotes = label("inside quotes", 'a "b" "c')
    assert quotes.closers.tolist() == [4]
    assert quotes.since_opener is not None
    assert quotes.since_opener.tolist() == [NEVER, NEVER, 0, 1, 2, 3, 0, 1]
    assert label("inside brackets", "(a[b]) c]").closers.tolist() == [5]  # the outer one
    assert label("speaker or heading", "\n\nROMEO:\nIt: no").closers.tolist() == [7]


def assert_never_looks_ahead(text: str, end: int) -> None:
    for whole, begun in zip(labels(text), labels(text[:end]), strict=True):
        np.testing.assert_array_equal(begun.values, whole.values[:end], whole.name)
        np.testing.assert_array_equal(begun.closers, whole.closers[whole.closers < end], whole.name)
        if whole.since_opener is not None:
            np.testing.assert_array_equal(begun.since_opener, whole.since_opener[:end], whole.name)


@pytest.mark.parametrize("end", [1, 1003, 3571, 5999])
def test_real_text_is_never_read_ahead(end: int) -> None:
    assert_never_looks_ahead(REAL[20_000:26_000], end)


@settings(max_examples=200)
@given(st.text("\"'“”«»()[]{}<>/\\#*=:,. \t\nabAB1-", max_size=60), st.data())
def test_no_text_is_read_ahead(text: str, data: st.DataObject) -> None:
    assert_never_looks_ahead(text, data.draw(st.integers(0, len(text))))


def test_documents_begin_anew() -> None:
    text = 'a "b (c'
    twice = labels(text + text, begins=[len(text)])
    for once, both in zip(labels(text), twice, strict=True):
        np.testing.assert_array_equal(both.values, np.tile(once.values, 2))
        np.testing.assert_array_equal(both.closers, [*once.closers, *(once.closers + len(text))])


def test_a_regular_expression_is_true_inside_its_matches() -> None:
    followed = labels("xx to\nthe to", {"end": "t[a-z]$"})[-1]
    assert (followed.name, followed.count, followed.since_opener) == ("end", False, None)
    assert followed.values.tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1]
    assert followed.closers.tolist() == [4, 11]


def test_a_regular_expression_cannot_take_the_name_of_a_label() -> None:
    with pytest.raises(UsageError, match="there already is a label 'column'"):
        labels("a", {"column": "a"})
