import re
import unicodedata

import pytest

from charlstm.show import characters

# Unicode's property Bidi_Control, from PropList.txt.
BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

# Hangul fillers: letters to Unicode, and nothing to see.
FILLERS = "\u115f\u1160\u3164\uffa0"

# Format characters that are seen, or without which a script or an emoji is another one.
NEEDED = re.compile(
    "[\u200c\u200d\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u180e\U000110bd\U000110cd\U00013430-\U0001345f]"
)

ZWJ, ZWNJ = "\u200d", "\u200c"


@pytest.mark.slow
def test_what_is_hidden_is_shown_and_nothing_else() -> None:
    assert set(BIDI_CONTROLS) | {"\u2028", "\u2029", "\u200b", "\u2060", "\ufeff", "\U000e0001", "\U000e0041"} <= {
        character for character in map(chr, range(0x110000)) if characters.printable(character) != character
    }
    for code in range(0x110000):
        character = chr(code)
        shown = characters.printable(character)
        category = unicodedata.category(character)
        if character in "\n\t" or NEEDED.fullmatch(character):
            assert shown == character
        elif category in {"Cc", "Cf", "Cs", "Zl", "Zp"} or character in FILLERS:
            assert shown != character, hex(code)
            assert shown.isprintable()
        elif category != "Cn":
            assert shown == character, hex(code)
    assert characters.printable("a\x1b[31mb\x9b\r\n\t\u202ec\u200dd\ud800") == (
        "a\u241b[31mb\\x9b\n\t\\u202ec\u200dd\\ud800"
    )
    assert characters.printable("\U000e0041\u200f") == "\\U000e0041\\u200f"


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
    assert characters.columns(text) == size
    for width in range(size + 1):
        for cut in (characters.fitted(text, width), characters.fitted(text, width, end=True)):
            assert "\t" in text or characters.columns(cut) <= width
    assert characters.fitted(text, size) == characters.fitted(text, size, end=True) == text


def test_a_cut_parts_no_character() -> None:
    assert characters.fitted("漢字", 3) == "漢"
    assert characters.fitted("漢字", 3, end=True) == "字"
    assert characters.fitted("ae\u0301o", 2) == "ae\u0301"
    assert characters.fitted("ae\u0301o", 1, end=True) == "o"
    assert characters.fitted("ae\u0301", 0, end=True) == ""
    assert characters.fitted(f"👩{ZWJ}🚀", 3) == "👩"
    assert characters.fitted(f"👩{ZWJ}🚀", 3, end=True) == "🚀"
    assert characters.fitted("❤\ufe0f", 1) == "❤"
