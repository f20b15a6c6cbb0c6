"""How terminals treat characters: which ones control the terminal, how wide they are, and where a line may break.

A text is called printable if `printable` has returned it: nothing in it controls the terminal or is hidden.
"""

import re
import unicodedata

# Whatever controls a terminal, reorders or breaks a line, or is invisible: control characters, Unicode's bidi controls,
# its line and paragraph separators, zero-width spaces, fillers and tags. Joiners and variation selectors are not
# included: some scripts and emoji are unreadable without them.
HIDDEN = re.compile(
    r"[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff"
    r"\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)
_JOINER = "\u200d"
_EMOJI_SELECTOR = "\ufe0f"  # widens the character before it
_MEDIALS = re.compile(r"[\u1160-\u11ff\ud7b0-\ud7ff]")  # Hangul letters that are drawn into the preceding syllable
_TAB = 8  # columns
BLANK = "␣"


def printable(text: str) -> str:
    """Return `text` with everything hidden made visible, so that no file can control the terminal or deceive a reader.

    Line feeds and tabs are kept; carriage returns are removed.
    """
    return HIDDEN.sub(lambda match: _visible(match[0]), text)


def _visible(character: str) -> str:
    if character == "\r":  # part of a CRLF; on its own it would overwrite the line
        return ""
    return chr(0x2400 + ord(character)) if character < " " else _escaped(character)  # the control pictures


def _escaped(character: str) -> str:
    """Return Python's escape sequence for a character."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def fitted(text: str, width: int, *, end: bool = False) -> str:
    """Return as much of a printable line as fits into `width` terminal columns: its beginning, or its end.

    Accents are never separated from their letters.
    """
    sizes = _sizes(text)
    taken = 0
    if end:
        start = len(text)
        while start and (taken := taken + sizes[start - 1]) <= width:
            start -= 1
        while 0 < start < len(text) and (not sizes[start] or unicodedata.category(text[start])[0] == "M"):
            start += 1
        return text[start:]
    stop = 0
    while stop < len(text) and (taken := taken + sizes[stop]) <= width:
        stop += 1
    return text if stop == len(text) else text[:stop].rstrip(_JOINER)


def columns(text: str) -> int:
    """Return how many terminal columns a printable line takes.

    Terminals disagree about the width of joined emoji; this counts the most columns that they may take.
    """
    return sum(_sizes(text))


def _sizes(text: str) -> list[int]:
    """Return the width of each character in columns."""
    if text.isascii() and "\t" not in text:
        return [1] * len(text)
    sizes: list[int] = []
    for character in text:
        if character == "\t":
            sizes.append(_TAB - sum(sizes) % _TAB)
        elif character == _EMOJI_SELECTOR:
            sizes.append(int(sizes[-1:] == [1]))
        elif _joins(character):
            sizes.append(0)
        else:
            sizes.append(2 if unicodedata.east_asian_width(character) in "WF" else 1)
    return sizes


def _joins(character: str) -> bool:
    """Return whether a character is drawn into the one before it, or not at all."""
    category = unicodedata.category(character)
    if category == "Cf":  # some format characters are visible, such as the signs around Arabic numbers
        return unicodedata.bidirectional(character) == "BN"
    return category in {"Mn", "Me"} or _MEDIALS.match(character) is not None


def left(text: str, width: int) -> str:
    """Pad a text with blanks on the right to `width` columns."""
    return text + " " * (width - columns(text))


def right(text: str, width: int) -> str:
    """Pad a text with blanks on the left to `width` columns."""
    return " " * (width - columns(text)) + text


def wrapped(text: str, width: int | None, *, cut: bool = False) -> list[str]:
    """Return a printable text as lines of at most `width` columns, broken between words.

    With `cut`, a word that is too long is broken; otherwise it is kept whole. If `width` is None, nothing is broken.
    """
    if width is None:
        return [text.rstrip()]
    lines, line = [], ""
    for word in re.findall(r" *[^ ]+", text):
        fits = columns(line) + columns(word) <= width
        if not fits and line and (cut or columns(word.strip()) <= width):
            lines.append(line)
            line = ""
        line += word if line or not lines else word.strip()
        while cut and columns(line) > width:
            lines.append(fitted(line, width))
            line = line[len(lines[-1]) :]
    return [each.rstrip() for each in [*lines, line]]


def marked(text: str) -> str:
    """Return a text on one line, with blanks, line ends, tabs and everything hidden made visible."""
    shown = "".join(map(_named_blank, _on_one_line(text)))
    # A combining accent needs a base character.
    return "\N{DOTTED CIRCLE}" + shown if shown and not columns(shown[0]) else shown


def _named_blank(character: str) -> str:
    if character == " ":
        return BLANK
    return _escaped(character) if character.isspace() else character


def in_brief(text: str) -> str:
    """Return a text on one line, with one column per hidden character: an escape that is cut off would be misread."""
    return _on_one_line(HIDDEN.sub(lambda match: match[0] if match[0] < " " else "\N{REPLACEMENT CHARACTER}", text))


def _on_one_line(text: str) -> str:
    """Return a text on one line, with line ends and tabs made visible."""
    return printable(text.replace("\r", "\u240d")).replace("\n", "↵").replace("\t", "→")


def one_line(message: str) -> str:
    """Return a message on one line, with line ends and tabs replaced by visible symbols."""
    return message.replace("\r", "\u240d").replace("\n", "\u2424").replace("\t", "\u2409")
