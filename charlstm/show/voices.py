"""Voices as a person sees them: which label each document has, and how often that was right; and their rows of JSON."""

from typing import TYPE_CHECKING, Any

from charlstm.show.characters import columns, fitted, in_brief, left, right
from charlstm.show.terminal import Output, warn

if TYPE_CHECKING:
    from charlstm.measure.voices import Tally, Verdict

_WIDTH = 78  # columns of a line
_LABEL = 20  # columns of a label, at most
_CELL = 8  # of a table's column
_MOST = 6  # labels of a table; of more, the most frequent mistakes are listed
_MISTAKES = 10


def name(label: str, width: int = _LABEL) -> str:
    """Return a label on one line, cut if it is too long."""
    return fitted(in_brief(label), width)


def verdict(found: "Verdict", output: Output) -> None:
    """Print the most probable label of a document, how probable it is, and how the document begins."""
    width = min(_LABEL, max(columns(in_brief(label)) for label in found.labels))
    head = f"{left(name(found.best), width)} {found.probability:>6.1%}  "
    output.write(f"{head}{fitted(in_brief(found.beginning), _WIDTH - columns(head))}".rstrip() + "\n", drawn=True)


def verdict_row(found: "Verdict", number: int) -> dict[str, Any]:
    """Return a verdict as JSON has it."""
    probabilities = dict(zip(found.labels, found.probabilities.tolist(), strict=True))
    return {
        "line": number,
        "label": found.best,
        "probability": found.probability,
        "given": found.given,
        "probabilities": probabilities,
    }


def tally(found: "Tally", output: Output) -> None:
    """Print how often documents of each label were named rightly, and for which others they were taken."""
    _warn(found)
    if not found.labelled:
        return
    lines = ["", f"{found.right:,} of {found.labelled:,} named rightly: {found.right / found.labelled:.1%}", ""]
    labels = sorted({label for pair in found.pairs for label in pair})
    lines += _table(found, labels) if len(labels) <= _MOST else _mistakes(found)
    output.write("".join(f"{line}\n" for line in lines), drawn=True)


def tally_row(found: "Tally") -> dict[str, Any]:
    """Return a tally as JSON has it."""
    _warn(found)
    return {
        "documents": found.documents,
        "labelled": found.labelled,
        "accuracy": found.right / found.labelled if found.labelled else None,
        "confusion": found.confusion,
    }


def _warn(found: "Tally") -> None:
    if found.strangers:
        (example, _), *_ = found.strangers.most_common(1)
        warn(
            f"{found.strangers.total():,} documents have labels that the model does not know, such as {example!r:.60}: "
            "they do not count"
        )


def _table(found: "Tally", labels: list[str]) -> list[str]:
    """Return a row for each label that documents have, and a column for each that they were given."""
    head = " " * _LABEL + "".join(right(name(label, _CELL - 1), _CELL) for label in labels)
    rows = [
        left(name(given), _LABEL) + "".join(f"{found.pairs[given, named]:>{_CELL},}" for named in labels)
        for given in labels
        if any(found.pairs[given, named] for named in labels)
    ]
    return ["a row for each label, a column for what was named:", "", head, *rows]


def _mistakes(found: "Tally") -> list[str]:
    """Return the most frequent mistakes."""
    wrong = [(pair, count) for pair, count in found.pairs.most_common() if pair[0] != pair[1]]
    if not wrong:
        return []
    rows = [f"{count:>8,}  {name(given)} taken for {name(named)}" for (given, named), count in wrong[:_MISTAKES]]
    return ["the most frequent mistakes:", "", *rows]
