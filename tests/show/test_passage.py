"""Lines of a passage: nothing is lost, nothing is broken in two, nothing is wider than the room."""

import itertools
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from charlstm.show.characters import columns, printable
from charlstm.show.passage import TAB, Line, lines, shown_as
from charlstm.text.tokenizer import END

texts = st.text(
    st.one_of(st.characters(), st.sampled_from("ab \t\n\r\x1b\u0301\u200d\ufe0f漢\u202e\U000e0041")), max_size=200
)


def laid(text: str, width: int, **options: bool) -> list[Line]:
    return list(lines(((character, True) for character in text), width, **options))


@given(texts, st.integers(12, 60))
def test_every_character_has_a_place(text: str, width: int) -> None:
    found = laid(text, width)
    places = [cell.at for line in found for cell in line]
    assert places == sorted(set(places))
    assert (places[-1] if places else -1) == len(text) - 1
    for line in found:
        assert sum(cell.width for cell in line) <= width
        assert all(printable(cell.shown) == cell.shown for cell in line)
        assert columns("".join(cell.shown for cell in line)) <= width
    assert [line[-1].shown[0] == "↵" for line in found[:-1]].count(True) >= text.count("\n") - 1
    shown = "".join(cell.shown for line in found for cell in line)
    assert shown.replace("\N{DOTTED CIRCLE}", "").replace(" ", "") == "".join(map(shown_as, text)).replace(
        "\N{DOTTED CIRCLE}", ""
    ).replace(" ", "")


@given(texts, st.integers(12, 60))
def test_a_line_can_go_on_after_a_line_feed(text: str, width: int) -> None:
    found = laid(text, width, through=True)
    for line, after in itertools.pairwise(found):
        assert sum(cell.width for cell in line) + max(after[0].width, 1) > width or after[0].shown[0] == "→"


def shown(text: str, width: int = 20) -> list[list[tuple[str, int, int]]]:
    return [[(cell.shown, cell.width, cell.at) for cell in line] for line in laid(text, width)]


def test_what_is_special() -> None:
    assert shown("a\nb") == [[("a", 1, 0), ("↵", 1, 1)], [("b", 1, 2)]]
    assert shown("ab\tc") == [[("a", 1, 0), ("b", 1, 1), ("→     ", TAB - 2, 2), ("c", 1, 3)]]
    assert shown("e\u0301x") == [[("e\u0301", 1, 1), ("x", 1, 2)]]
    assert shown("\n\u0301") == [[("↵", 1, 0)], [("\N{DOTTED CIRCLE}\u0301", 1, 1)]]
    assert shown("漢a", 2) == [[("漢", 2, 0)], [("a", 1, 1)]]
    assert shown("\x1b[2J\r") == [[("␛", 1, 0), ("[", 1, 1), ("2", 1, 2), ("J", 1, 3), ("␍", 1, 4)]]
    assert shown("\u202e") == [[("\\u202e", 6, 0)]]


def test_ends_of_documents_and_unknown_characters() -> None:
    found = list(lines([("a", True), (END, True), ("é", False)], 20))
    assert [[cell.shown for cell in line] for line in found] == [["a", "<end>"], ["\N{REPLACEMENT CHARACTER}"]]


def test_a_line_is_there_as_soon_as_it_is_complete() -> None:
    read = []

    def characters() -> Iterator[tuple[str, bool]]:
        for character in "one\ntwo\nthree\n":
            read.append(character)
            yield character, True

    next(lines(characters(), 40))
    assert len(read) == len("one\nt")  # one more, which could have been an accent
