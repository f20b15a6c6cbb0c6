"""Texts as they come: in their order, whatever order their pieces come in."""

import json
from collections.abc import Iterator

import pytest

from charlstm.sample import Piece
from charlstm.show.terminal import Output
from charlstm.show.texts import Page, Rows


def pieces(*parts: tuple[int, str, str | None]) -> Iterator[Piece]:
    return (Piece(stream, text, stopped) for stream, text, stopped in parts)


@pytest.mark.parametrize(
    ("separator", "shown"),
    [(None, "> one\n> two\n"), ("\n---\n", "> one\n---\n> two\n"), ("", "> one> two\n")],
)
def test_a_page_has_the_texts_in_their_order(
    capsys: pytest.CaptureFixture[str], separator: str | None, shown: str
) -> None:
    page = Page(Output(), "> ", separator, None)
    page.take(pieces((1, "tw", None), (0, "on", None), (1, "o", "length"), (0, "e", "length")), 2, seed=1)
    page.end()
    assert capsys.readouterr().out == shown


def test_a_blank_line_stands_between_texts_of_several_lines(capsys: pytest.CaptureFixture[str]) -> None:
    page = Page(Output(), "", None, None)
    page.take(pieces((0, "a\nb\n", "length"), (1, "c", "length")), 2, seed=1)
    page.take(pieces((0, "d", "length")), 1, seed=3)
    page.end()
    assert capsys.readouterr().out == "a\nb\n\nc\n\nd\n"


def test_rows_have_the_seed_of_each_text(capsys: pytest.CaptureFixture[str]) -> None:
    rows = Rows(Output(), None)
    rows.take(pieces((1, "second", "end"), (0, "fir", None), (0, "st", "stop")), 2, seed=7)
    rows.end()
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["text"], row["seed"], row["characters"], row["stopped"]) for row in found] == [
        ("first", 7, 5, "stop"),
        ("second", 8, 6, "end"),
    ]
