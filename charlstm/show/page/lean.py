"""JavaScript or CSS -> the same without comments, which a browser does not need.

What stands in quotes, in template literals and in regular expressions is left as it is, and lines end where they ended.
"""

import re

_QUOTED = r'"(?:[^"\\\n]|\\.)*"' + r"|'(?:[^'\\\n]|\\.)*'" + r"|`(?:[^`\\]|\\.)*`"
# A slash begins a regular expression after what cannot end a value; after a value it divides.
_REGEX = r"(?:[(,=:\[!&|?{;+*%<>~^-]|\breturn|\bcase)\s*/(?![/*])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/"
_SCRIPT = re.compile(rf"(?P<kept>{_QUOTED}|{_REGEX})|[ \t]*(?://[^\n]*|/\*.*?\*/)", re.DOTALL)
_STYLE = re.compile(rf"(?P<kept>{_QUOTED})|[ \t]*/\*.*?\*/", re.DOTALL)
_EMPTY = re.compile(r"^\n+", re.MULTILINE)


def script(text: str) -> str:
    """Return a module without comments and empty lines."""
    return _lean(_SCRIPT, text)


def style(text: str) -> str:
    """Return styles without comments and empty lines."""
    return _lean(_STYLE, text)


def _lean(pattern: re.Pattern[str], text: str) -> str:
    return _EMPTY.sub("", pattern.sub(lambda found: found["kept"] or "", text))
