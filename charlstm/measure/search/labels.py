"""What a unit may follow: properties of a text that a reader would name; none looks ahead.

The label of a character is what a reader knows once that character has been read, so the labels of a beginning are the
beginning of the labels. An opening mark is therefore inside already and a closing mark outside; a triple quote opens
with its third mark, and a tag with the character after its `<`. Rules are simple and the same for every text:

- Quotes are double ones: a straight one opens and closes in turn. Quotes, brackets and tags end with their paragraph.
- A string of source text opens where an expression can begin (after `=`, an opening bracket, a keyword, ...), so that
  neither the quotes of prose nor apostrophes count; a comment opens with `#`, `//` or `/*`.
- A speaker's line follows an empty line, and so far has only words that begin with a capital: until its colon, nobody
  knows more. A line that begins with `#` and a space is a heading in any case.

A regular expression of the user's labels whole matches, from their first character on: where it ends may depend on what
follows. That is the user's to avoid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from charlstm.errors import UsageError
from charlstm.measure.search import matches
from charlstm.measure.search.source import SourceReader

NEVER = 1 << 30
"""Characters since the last opener if there has been none."""
_MOST_COLUMNS, _MOST_LETTERS, _MOST_INDENTED, _MOST_DEEP = 120, 20, 40, 20

_QUOTES = {"“": "”", "«": "»", "„": "“", "「": "」", "『": "』", '"': '"'}
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_LONGEST_TAG, _LONGEST_NAME, _LONGEST_LINE = 500, 40, 200
_SMALL_WORDS = frozenset(["a", "an", "and", "for", "in", "of", "on", "or", "the", "to", "with"])

Bits = Sequence[int]


@dataclass(frozen=True)
class Label:
    """A property of each character of a text."""

    name: str
    values: npt.NDArray[np.float64]
    """(T,): 0 or 1, or a count."""
    count: bool
    closers: npt.NDArray[np.int64]
    """Positions of the characters that end a stretch in which the label is true; empty if it has none."""
    since_opener: npt.NDArray[np.int64] | None
    """Characters since the last opener, (T,), if the label is opened by a character."""


@dataclass
class _Stretches:
    """Where a scanner was inside something, as far as it has read."""

    inside: list[int]
    """Per character: how deep, or 0 or 1."""
    openers: list[int]
    closers: list[int]


def labels(text: str, follow: dict[str, str] | None = None, begins: Sequence[int] = ()) -> tuple[Label, ...]:
    """Return every label that the text can have, and those of the user's regular expressions.

    Args:
        text: what the model reads, one character per value.
        follow: regular expressions by name; `^` and `$` match at lines. A label is true inside a match.
        begins: where documents begin: what one has opened is not open in the next.

    Raises:
        UsageError: if a regular expression is wrong, takes too long, matches nothing, or has the name of a label.
    """
    bounds = sorted({0, *begins, len(text)})
    documents = [text[begin:end] for begin, end in pairwise(bounds)]
    found = [_built_in(document) for document in documents] or [_built_in("")]
    joined = [_joined(each) for each in zip(*found, strict=True)]
    for name, pattern in (follow or {}).items():
        if any(name == label.name for label in joined):
            raise UsageError(f"--follow {name}={pattern}: there already is a label {name!r}; choose another name")
        joined.append(_followed(name, pattern, text))
    return tuple(joined)


def _built_in(text: str) -> list[Label]:
    """Return the labels of one document."""
    quotes, brackets, tags = _quotes(text), _brackets(text), _tags(text)
    comments, strings = _source(text)
    names, colons = _names(text)
    return [
        _of_stretches("inside quotes", quotes),
        _of_stretches("inside brackets", brackets),
        _count("bracket depth", brackets.inside, _MOST_DEEP),
        _of_stretches("inside a comment", comments),
        _of_stretches("inside a string", strings),
        _count("column", _columns(text), _MOST_COLUMNS),
        _count("position in the word", _letters(text), _MOST_LETTERS),
        _count("indentation", _indentation(text), _MOST_INDENTED),
        _plain("capital", [character.isupper() for character in text]),
        _plain("digit", [character.isdigit() for character in text]),
        _plain("punctuation", [not character.isalnum() and not character.isspace() for character in text]),
        Label("speaker or heading", _floats(names), False, np.array(colons, np.int64), None),
        _of_stretches("inside a tag", tags),
    ]


def _of_stretches(name: str, found: _Stretches) -> Label:
    inside = np.minimum(np.array(found.inside, np.float64), 1)
    closers = np.array(found.closers, np.int64)
    at = np.arange(len(inside))
    last = np.full(len(inside), -NEVER)
    last[found.openers] = found.openers
    since = np.minimum(at - np.maximum.accumulate(last), NEVER) if len(inside) else at
    return Label(name, inside, False, closers[inside[closers] == 0] if len(closers) else closers, since)


def _count(name: str, values: Bits, most: int) -> Label:
    return Label(name, np.minimum(_floats(values), most), True, np.zeros(0, np.int64), None)


def _plain(name: str, values: Sequence[bool]) -> Label:
    return Label(name, _floats(values), False, np.zeros(0, np.int64), None)


def _floats(values: Bits) -> npt.NDArray[np.float64]:
    return np.array(values, np.float64)


def _joined(parts: Sequence[Label]) -> Label:
    """Return the label of documents that follow one another."""
    first, offset, closers = parts[0], 0, []
    for part in parts:
        closers.append(part.closers + offset)
        offset += len(part.values)
    since = None
    if first.since_opener is not None:
        since = np.concatenate([part.since_opener for part in parts if part.since_opener is not None])
    values = np.concatenate([part.values for part in parts])
    return Label(first.name, values, first.count, np.concatenate(closers), since)


def _followed(name: str, pattern: str, text: str) -> Label:
    """Return the label of a regular expression; what ends a match is its last character."""
    spans = matches.find(name, pattern, text)
    change = np.zeros(len(text) + 1)
    np.add.at(change, spans[:, 0], 1)
    np.add.at(change, spans[:, 1], -1)
    longer = spans[:, 1] - spans[:, 0] > 1
    return Label(name, change[:-1].cumsum(), False, spans[longer, 1] - 1, None)


def _scan(text: str, step: Callable[[str, _Stretches, int], int]) -> _Stretches:
    """Read a text by character; `step` returns how deep the text is after each. An empty line is a 'paragraph' to it.

    `step` is given the character, what was found before it, and its position; `"\\n\\n"` instead of the line feed that
    ends an empty line.
    """
    found = _Stretches([], [], [])
    empty = False
    for at, character in enumerate(text):
        ends = character == "\n" and empty
        found.inside.append(step("\n\n" if ends else character, found, at))
        empty = character == "\n" or (empty and character in " \t\r")
    return found


def _quotes(text: str) -> _Stretches:
    closing = ""

    def step(character: str, found: _Stretches, at: int) -> int:
        nonlocal closing
        if character == "\n\n":
            closing = ""
        elif closing and character == closing:
            closing = ""
            found.closers.append(at)
        elif not closing and character in _QUOTES:
            closing = _QUOTES[character]
            found.openers.append(at)
        return int(bool(closing))

    return _scan(text, step)


def _brackets(text: str) -> _Stretches:
    opened: list[str] = []

    def step(character: str, found: _Stretches, at: int) -> int:
        if character == "\n\n":
            opened.clear()
        elif character in "([{":
            opened.append(character)
            found.openers.append(at)
        elif character in _BRACKETS and _BRACKETS[character] in opened:
            while opened.pop() != _BRACKETS[character]:
                pass
            found.closers.append(at)
        return len(opened)

    return _scan(text, step)


def _tags(text: str) -> _Stretches:
    opened = -1  # where the `<` is
    inside = False

    def step(character: str, found: _Stretches, at: int) -> int:
        nonlocal opened, inside
        if character == ">" and inside:
            found.closers.append(at)
        if character in {"\n\n", ">"} or at - opened > _LONGEST_TAG:
            opened, inside = -1, False
        elif character == "<":
            opened, inside = at, False
        elif opened == at - 1 >= 0 and (character.isalpha() or character in "/!"):
            inside = True
            found.openers.append(at)
        return int(inside)

    return _scan(text, step)


def _source(text: str) -> tuple[_Stretches, _Stretches]:
    """Return where comments and strings of source text are."""
    comments, strings = _Stretches([], [], []), _Stretches([], [], [])
    reader = SourceReader()
    for at, character in enumerate(text):
        before = reader.mode
        reader.read(character)
        for found, mode in ((comments, "comment"), (strings, "string")):
            found.inside.append(int(reader.mode == mode))
            if reader.mode == mode != before:
                found.openers.append(at)
            elif before == mode != reader.mode:
                found.closers.append(at)
    return comments, strings


def _names(text: str) -> tuple[list[int], list[int]]:
    """Return where a line may name a speaker or be a heading, and the colons that end such lines."""
    values, colons = [], []
    line, after_empty, name = "", True, True
    for at, character in enumerate(text):
        if character == "\n":
            line, after_empty, name = "", not line.strip(), True
            values.append(0)
            continue
        ends = character == ":" and name and after_empty and line != ""
        if ends:
            colons.append(at)
        name = name and not ends and _may_be_name(line, character)
        line = (line + character)[:_LONGEST_LINE]
        heading = line.startswith("#") and line.lstrip("#").startswith(" ")
        values.append(int(heading or (name and after_empty)))
    return values, colons


def _may_be_name(line: str, character: str) -> bool:
    """Return whether what may be a name still may with one more character: whether its words begin with capitals."""
    word = line.rpartition(" ")[2]
    if len(line) >= _LONGEST_NAME or not (character.isalnum() or character in " '’.-&"):
        return False
    if not line:
        return character.isupper()
    if character == " " and word and word[0].islower():
        return word in _SMALL_WORDS
    if character.islower() and (not word or word[0].islower()):
        return any(small.startswith(word + character) for small in _SMALL_WORDS)
    return True


def _columns(text: str) -> list[int]:
    """Return how many characters there are since the last line feed, which itself is at 0."""
    values, column = [], 0
    for character in text:
        column = 0 if character == "\n" else column + 1
        values.append(column)
    return values


def _letters(text: str) -> list[int]:
    """Return the position of each letter in its word, from 1; 0 between words. An apostrophe after a letter counts."""
    values, position = [], 0
    for character in text:
        word = character.isalnum() or character == "_" or (position > 0 and character in "'’")
        position = position + 1 if word else 0
        values.append(position)
    return values


def _indentation(text: str) -> list[int]:
    """Return how far this line is indented, as far as it has been read; a tab goes to the next multiple of 8."""
    values, width, leading = [], 0, True
    for character in text:
        if character == "\n":
            width, leading = 0, True
        elif leading and character == " ":
            width += 1
        elif leading and character == "\t":
            width += 8 - width % 8
        else:
            leading = False
        values.append(width)
    return values
