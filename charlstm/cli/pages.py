"""A model as a page, with or without a text: how it is made, what is said about it, and what it may replace."""

from pathlib import Path
from typing import TYPE_CHECKING

from charlstm.cli import writing
from charlstm.errors import InputOutputError, UsageError, os_reason
from charlstm.export import payload
from charlstm.measure.novelty import LEAST, Copies
from charlstm.show import findings, terminal
from charlstm.show.page import join
from charlstm.show.page.join import Passage
from charlstm.storage.loaded import MissingTextError
from charlstm.text.tokenizer import END

if TYPE_CHECKING:
    from charlstm.measure.search.units import Found, Search
    from charlstm.storage.loaded import Loaded
    from charlstm.text.cache import Cache

MOST = 5_000
"""Characters of a text that a page opens with: as many as a browser reads in a moment and has room to trace."""

__all__ = ["MOST", "Passage", "compared", "found", "made", "write", "write_option"]


def made(loaded: "Loaded", passage: Passage | None = None) -> bytes:
    """Return the page of a model.

    Raises:
        DataError: if its weights cannot be computed with in integers.
    """
    manifest, weights = payload.of(loaded)
    return join.joined(manifest["name"], manifest, weights, passage)


def write(target: str, data: bytes) -> None:
    """Write a page where the user wants it, and say how it is opened."""
    writing.write(target, data)
    if target != writing.STDOUT:
        writing.tell(f"{target}: {len(data) / 1e6:.2f} MB; open it in a browser: it needs no network")


def write_option(option: str, file: str, data: bytes) -> None:
    """Write a page to the file that an option names; raises `InputOutputError` if it cannot be written."""
    path = Path(file)
    try:
        write(file, data)
    except InputOutputError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        reason = os_reason(error.__cause__)
        raise InputOutputError(f"{option} {path}: cannot be written ({reason}); choose another file") from None


def found(search: "Search", examples: "dict[Found, findings.Example]") -> dict[str, object]:
    """Return what a search has found as a page has it: as JSON, and each finding with the text of its example."""
    row = findings.findings_row(search)
    for shown, one in zip(row["rows"], search.found, strict=True):
        shown["text"] = "".join("\n" if each == END else each for each in examples[one][0])
    return row


def compared(loaded: "Loaded", text: str, cache: "Cache") -> None:
    """Say how much of a text that leaves the house is in the training text, word for word."""
    try:
        with terminal.reading() as watch:
            train = loaded.training_text(
                "without it nothing tells how much of the page's text is copied from it", cache, watch
            )
        highlighter = Copies(train.ids, loaded.tokenizer).highlighter()
    except (MissingTextError, UsageError) as problem:
        terminal.warn(f"not compared with the training text: {problem}")
        return
    for _ in highlighter.add(text):
        pass
    share = highlighter.copied / max(1, highlighter.characters)
    terminal.plain(
        f"The page has {highlighter.characters:,} characters of text: {share:.1%} of them are in passages of {LEAST} "
        f"or more that the training text has too (the longest: {highlighter.longest:,} characters)."
    )
