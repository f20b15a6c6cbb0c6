"""Reports in 60 columns, whatever a text holds."""

import dataclasses

import pytest

from charlstm.measure.by_character import Bin, Failures, Kind, Place
from charlstm.measure.novelty import Novelty, Spans
from charlstm.show import reports
from charlstm.show.characters import columns

ZWJ = "\u200d"


def place(before: str, character: str, after: str, expected: str = " ", times: int = 1) -> Place:
    return Place(0, before, character, after, 12.34, expected, 0.5, times)


PLACES = [
    place("and the pipes | are |", "|", "here| and "),
    place("ends with blanks   ", " ", "  x"),
    place("the\tline\r\n", "\n", "next\tline\n"),
    place("漢字漢字漢字漢字漢字漢字漢字漢字漢字", "漢", "字漢字漢字漢字", "字", 200),
    place("مرحبا بكم في هذا المكان", "ا", "مرحبا بكم"),
    place(f"emoji {f'👩{ZWJ}🚀' * 9}", "😀", f"👩{ZWJ}🚀" * 4, "👩"),
    place("an accent: e", "\u0301", "\u0301after"),
    place("hidden \u202e\u200b", "\u202e", "\u2028\u2029\ufeff", "\U000e0041", 120),
    place("", "\N{NO-BREAK SPACE}", "", "\N{IDEOGRAPHIC SPACE}"),
]


def test_surprising_places_of_every_script(capsys: pytest.CaptureFixture[str]) -> None:
    reports.failures(Failures([Kind("small letters", 2, 3.0)], PLACES, [Bin(0.1, 3, 0.15, 0.2)]))
    shown = capsys.readouterr().out.splitlines()
    assert max(map(columns, shown)) <= 60
    head = next(number for number, line in enumerate(shown) if line.endswith("expected"))
    rows = shown[head + 1 : head + 1 + len(PLACES)]
    assert rows[0] == "   and the pipes | are |  |     here| an   12.3  ␣ 50%"
    assert rows[1] == "     ends with blanks␣␣␣  ␣     ␣␣x        12.3  ␣ 50%"
    assert rows[2] == "              the→line␍↵  ↵     next→lin   12.3  ␣ 50%"
    assert rows[3] == "字漢字漢字漢字漢字漢字  漢    字漢字漢   12.3  字 50%  x 200"
    assert "◌\u0301" in rows[6]
    assert rows[7].split("  ")[:4] == ["", " hidden ��", "\\u202e", "���"]
    assert "\\U000e0041 50%  x 120" in rows[7]
    assert "\\xa0" in rows[8]
    assert "\\u3000" in rows[8]
    for row in rows[:3] + rows[4:6]:  # the columns begin where the head says
        at = row.index("12.3")
        assert columns(row[:at]) == shown[head].index("bits")


def test_a_span_of_blanks_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    spans = Spans(25, 28, 31, 0.07, " \t " * 8 + "\nend 漢" + " " * 60)
    reports.novelty(Novelty(3, 1000, 20, spans, dataclasses.replace(spans, example="")))
    shown = capsys.readouterr().out.splitlines()
    at = shown.index("The model's longest:")
    example = "".join(line.removeprefix("  ") for line in shown[at + 1 :])
    assert example == "␣→␣" * 8 + "↵end␣漢" + "␣" * 60
    assert max(map(columns, shown)) <= 60
