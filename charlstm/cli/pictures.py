"""What goes with a picture of `inspect`: notes about the text, a file, and what to type next."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charlstm.cli.passages import Wanted
from charlstm.errors import InputOutputError, os_reason
from charlstm.measure.inside import signals
from charlstm.network.cells import CELLS
from charlstm.shell import command
from charlstm.show import terminal
from charlstm.show.canvas import Canvas
from charlstm.storage import durable
from charlstm.text.tokenizer import REPLACEMENT

_LONGEST_HINT = 200  # characters of a text that was typed


def unknown(characters: Sequence[str], known: npt.NDArray[np.bool_]) -> dict[str, int]:
    """Return how often each unknown character comes."""
    return dict(Counter(characters[at] for at in np.flatnonzero(~known).tolist()))


def finish(canvas: Canvas, view: str, svg: str | None, unknown: dict[str, int]) -> None:
    """Show the rest of a picture, say which characters were unknown, and write it to a file if that was asked for.

    Args:
        canvas: with the picture.
        view: its name, for the title.
        svg: the file.
        unknown: how often each unknown character comes.

    Raises:
        InputOutputError: if the file cannot be written.
    """
    canvas.end()
    if unknown:
        names = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in list(unknown)[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        told = "" if set(unknown) == {REPLACEMENT} else f": {names}{more}"
        count = sum(unknown.values())
        what = "one character" if count == 1 else f"{count:,} characters"
        terminal.warn(f"{what} that this model has never seen, shown as {REPLACEMENT}{told}")
    if svg is None:
        return
    path = Path(svg)
    try:
        durable.write(path, canvas.svg(f"charlstm inspect {view.replace('_', ' ')}".strip()).encode())
    except InputOutputError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        reason = os_reason(error.__cause__)
        raise InputOutputError(f"--svg {path}: cannot be written ({reason}); choose another file") from None


def hints(checkpoint: str | None, wanted: Wanted, cell: str, layer: int, unit: int) -> None:
    """Print what a user may want to type next, for the same model, text and unit."""
    if not terminal.people() or len(wanted.typed or "") > _LONGEST_HINT:
        return
    given = [each for each in (checkpoint, wanted.file) if each is not None]
    same = {
        "text": wanted.typed,
        "encoding": wanted.encoding,
        "begin": str(wanted.begin) if wanted.begin else None,
        "length": None if wanted.length is None else str(wanted.length),
        "unit": str(unit),
        "layer": str(layer) if layer > 1 else None,
    }
    ledger = [("ledger", command("inspect", *given, ledger=True, **same))] if CELLS[cell].keep_gate else []
    terminal.commands(
        [
            ("gates", command("inspect", *given, show=",".join(signals.names(cell)), **same)),
            *ledger,
            ("meaning", command("inspect", *given[: checkpoint is not None], units=True)),
        ]
    )
