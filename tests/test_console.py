"""What a person sees: nothing hidden, nothing beyond the edge of a terminal, nothing broken in a pipe."""

import dataclasses
import io
import json
import re
import unicodedata

import pytest
from conftest import Command

from charlstm import console
from charlstm.analysis.failures import Bin, Failures, Kind, Place
from charlstm.analysis.novelty import Novelty, Spans

ZWJ, ZWNJ = "\u200d", "\u200c"
# Unicode's property Bidi_Control, from PropList.txt.
BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
# Hangul fillers: letters to Unicode, and nothing to see.
FILLERS = "\u115f\u1160\u3164\uffa0"
# Format characters that are seen, or without which a script or an emoji is another one.
NEEDED = re.compile(
    "[\u200c\u200d\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u180e\U000110bd\U000110cd\U00013430-\U0001345f]"
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """What was written, without its styles."""
        return re.sub(r"\x1b\[[\d;]*m", "", self.getvalue()).splitlines()


@pytest.fixture(params=[60, 80])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    for name, value in {"COLUMNS": request.param, "LINES": 25, "TERM": "xterm"}.items():
        monkeypatch.setenv(name, str(value))
    return int(request.param)


def test_what_is_hidden_is_shown_and_nothing_else() -> None:
    assert set(BIDI_CONTROLS) | {"\u2028", "\u2029", "\u200b", "\u2060", "\ufeff", "\U000e0001", "\U000e0041"} <= {
        character for character in map(chr, range(0x110000)) if console.printable(character) != character
    }
    for code in range(0x110000):
        character = chr(code)
        shown = console.printable(character)
        category = unicodedata.category(character)
        if character in "\n\t" or NEEDED.fullmatch(character):
            assert shown == character
        elif category in {"Cc", "Cf", "Cs", "Zl", "Zp"} or character in FILLERS:
            assert shown != character, hex(code)
            assert shown.isprintable()
        elif category != "Cn":
            assert shown == character, hex(code)
    assert console.printable("a\x1b[31mb\x9b\r\n\t\u202ec\u200dd\ud800") == (
        "a\u241b[31mb\\x9b\n\t\\u202ec\u200dd\\ud800"
    )
    assert console.printable("\U000e0041\u200f") == "\\U000e0041\\u200f"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("abc", 3),
        ("漢字", 4),
        ("ｶﾅカナ", 6),
        ("한국", 4),
        ("\u1112\u1161\u11ab", 2),  # the same syllable as 한, in its parts
        ("e\u0301", 1),
        ("مرحبا", 5),
        ("กำ", 2),
        ("😀", 2),
        ("❤", 1),
        ("❤\ufe0f", 2),
        (f"👩{ZWJ}🚀", 4),  # in a terminal that does not join them
        ("🇩🇪", 2),
        (f"می{ZWNJ}خواهم", 7),
        ("\tx", 9),
        ("漢\tx", 9),
    ],
)
def test_columns(text: str, size: int) -> None:
    assert console.columns(text) == size
    for width in range(size + 1):
        for cut in (console.fitted(text, width), console.fitted(text, width, end=True)):
            assert "\t" in text or console.columns(cut) <= width
    assert console.fitted(text, size) == console.fitted(text, size, end=True) == text


def test_a_cut_parts_no_character() -> None:
    assert console.fitted("漢字", 3) == "漢"
    assert console.fitted("漢字", 3, end=True) == "字"
    assert console.fitted("ae\u0301o", 2) == "ae\u0301"
    assert console.fitted("ae\u0301o", 1, end=True) == "o"
    assert console.fitted("ae\u0301", 0, end=True) == ""
    assert console.fitted(f"👩{ZWJ}🚀", 3) == "👩"
    assert console.fitted(f"👩{ZWJ}🚀", 3, end=True) == "🚀"
    assert console.fitted("❤\ufe0f", 1) == "❤"


MESSAGE = f"/home/{'x' * 70}/漢字 [bold]: is not there; put it back :smile: " + "or name another one " * 4 + "\u202e\n"


def test_a_terminal_breaks_messages_between_words(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for speak in (console.error, console.warn, console.say):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        speak(MESSAGE if speak is not console.say else MESSAGE.strip("\n"))
        assert len(terminal.lines) > 2
        said = " ".join(terminal.lines)
        assert MESSAGE.strip("\u202e\n").rstrip() in said  # no word is broken, no markup or emoji taken for one
        assert said.removesuffix("\u2424").endswith("\\u202e")
        assert all(console.columns(line) <= width or "/home/" in line for line in terminal.lines)


def test_a_pipe_gets_every_message_whole(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # of styles, not of lines
    for speak, label in ((console.error, "error: "), (console.warn, "note: "), (console.say, "")):
        pipe = io.StringIO()
        monkeypatch.setattr("sys.stderr", pipe)
        speak(MESSAGE.strip())
        plain = re.sub(r"\x1b\[[\d;]*m", "", pipe.getvalue())
        assert plain == label + console.printable(MESSAGE.strip()) + "\n"


ROWS = [("run", "checkpoints/run"), ("a longer name", "word " * 30), ("", "漢字" * 40), ("x", ""), ("y", "[red] :+1:")]


def test_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int) -> None:
    whole = ["run            checkpoints/run", f"a longer name  {('word ' * 30).rstrip()}", f"{'':<15}{'漢字' * 40}"]
    whole += ["x", "y              [red] :+1:"]
    console.table(ROWS)
    console.table(ROWS, result=True)
    assert [text.splitlines() for text in capsys.readouterr()] == [whole, whole]
    for stream in ("stdout", "stderr"):
        terminal = Terminal()
        monkeypatch.setattr(f"sys.{stream}", terminal)
        console.table(ROWS, result=stream == "stdout")
        assert all(console.columns(line) <= width for line in terminal.lines)
        assert all(line == line.rstrip() for line in terminal.lines)
        assert "".join(terminal.lines).replace(" ", "") == "".join(whole).replace(" ", "")
        assert len(terminal.lines) > len(whole)


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
    console.failures(Failures([Kind("small letters", 2, 3.0)], PLACES, [Bin(0.1, 3, 0.15, 0.2)]))
    shown = capsys.readouterr().out.splitlines()
    assert max(map(console.columns, shown)) <= 60
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
        assert console.columns(row[:at]) == shown[head].index("bits")


def test_a_span_of_blanks_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    spans = Spans(25, 28, 31, 0.07, " \t " * 8 + "\nend 漢" + " " * 60)
    console.novelty(Novelty(3, 1000, 20, spans, dataclasses.replace(spans, example="")))
    shown = capsys.readouterr().out.splitlines()
    at = shown.index("The model's longest:")
    example = "".join(line.removeprefix("  ") for line in shown[at + 1 :])
    assert example == "␣→␣" * 8 + "↵end␣漢" + "␣" * 60
    assert max(map(console.columns, shown)) <= 60


def test_json_obeys_no_terminal_and_stays_json(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"text": "a\x1b\x9b\x7f\u202e\U000e0041\udc80漢"}
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stdout", stream)
        console.Output().json(row)
        assert json.loads(stream.getvalue()) == {"schema": 1} | row
        assert console.printable(stream.getvalue()) == stream.getvalue()
        assert "漢" in stream.getvalue()


@pytest.mark.parametrize("columns", ["60", "80"])
def test_help_cuts_no_summary(charlstm: Command, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    shown = charlstm("--help").out
    summaries = shown.partition("Commands:\n")[2].splitlines()
    assert len(summaries) == 6  # one line each
    assert all(line.endswith(".") and "..." not in line for line in summaries)
    assert max(map(len, shown.splitlines())) < int(columns)
