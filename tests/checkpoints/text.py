"""The text of the runs that are kept here: made of plain arithmetic, so that it is the same in every Python."""

NAME = "words.txt"
SHA256 = "da489ca6ecc4fa7a8ed5f220038921fcc0af88349edc1389445fca6ce5a67253"
_WORDS = [
    *("a", "the", "some", "no", "every", "old", "small", "sea", "ship", "wind"),
    *("star", "sailor", "looks", "for", "finds", "loses", "under", "over", "by", "and"),
]


def text() -> str:
    """Return 200 lines of words, the same for ever; its SHA-256 as UTF-8 is `SHA256`."""
    lines = []
    number = 1
    for _ in range(200):
        line = []
        for _ in range(6):
            number = number * 16807 % 2147483647  # Park and Miller's generator
            line.append(_WORDS[number % len(_WORDS)])
        lines.append(" ".join(line).capitalize() + ".")
    return "\n".join(lines) + "\n"
