"""Everything that draws: tables, bars and lines on stderr, results on stdout."""

import contextlib
import functools
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from charlstm.errors import InputOutputError, UsageError, os_reason
from charlstm.show.characters import HIDDEN, columns, left, one_line, printable, wrapped

if TYPE_CHECKING:
    from rich.console import Console

_NARROWEST = 20  # columns of a value in a table
_UNDERLINE = "\x1b[4m{}\x1b[24m"  # ECMA-48
_FLUSH_SECONDS = 0.02


class ClosedOutputError(Exception):
    """Whoever read our output has gone (`| head`): there is nothing left to do, and nothing wrong."""


class Output:
    """The result, on stdout, as it comes."""

    def __init__(self) -> None:
        """Take stdout as UTF-8, line ends as they are."""
        if sys.stdout is None:
            raise InputOutputError("standard output is closed; open it or redirect it to a file")
        self._stream: TextIO = sys.stdout
        self.terminal = self._stream.isatty()
        """Whether people see it at once."""
        if hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(encoding="utf-8", errors="replace", newline="")
        self._flushed = 0.0

    def write(self, text: str, *, drawn: bool = False, underlined: bool = False) -> None:
        """Write text; it is shown within _FLUSH_SECONDS while more comes, and on `flush`.

        On a terminal control characters are made visible, unless the text was `drawn` here; and nowhere else is
        anything underlined.

        Raises:
            ClosedOutputError: if nobody reads the output any more.
            InputOutputError: if it cannot be written.
        """
        try:
            shown = printable(text) if self.terminal and not drawn else text
            self._stream.write(_UNDERLINE.format(shown) if self.terminal and underlined else shown)
            now = time.monotonic()
            if now - self._flushed > _FLUSH_SECONDS:
                self._stream.flush()
                self._flushed = now
        except OSError as error:
            raise self._failure(error) from None

    def flush(self) -> None:
        """Show what was written; raises as `write` does."""
        try:
            self._stream.flush()
        except OSError as error:
            raise self._failure(error) from None

    def bytes(self, data: bytes) -> None:
        """Write bytes as they are; raises as `write` does, and `UsageError` for a terminal, which would obey them."""
        if self.terminal:
            raise UsageError("standard output is a terminal, and the result is not text; redirect it, or give --output")
        try:
            self._stream.flush()
            self._stream.buffer.write(data)
            self._stream.buffer.flush()
        except OSError as error:
            raise self._failure(error) from None

    def json(self, row: Mapping[str, Any]) -> None:
        """Write a JSON object on a line of its own; raises as `write` does."""
        # What is hidden is written as JSON's escapes: a lone surrogate, which stands for a byte that is in no
        # character and for which UTF-8 has nothing, as well as what a terminal would obey.
        line = json.dumps({"schema": 1} | dict(row), ensure_ascii=False)
        self.write(HIDDEN.sub(lambda match: json.dumps(match[0])[1:-1], line) + "\n", drawn=True)
        self.flush()

    def _failure(self, error: OSError) -> Exception:
        # What is still in the buffer would fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        if isinstance(error, BrokenPipeError):
            return ClosedOutputError()
        return InputOutputError(f"standard output: cannot be written ({os_reason(error)}); free some space")


def error(message: str) -> None:
    """Say what went wrong, in one line."""
    _noted("error:", "bold red", message)


def warn(message: str) -> None:
    """Say what a user should know, in one line."""
    _noted("note:", "yellow", message)


def _noted(label: str, style: str, message: str) -> None:
    """Print a message on a line, which a terminal shows broken between words."""
    console = stderr()
    first, *others = wrapped(f"{label} {printable(one_line(message))}", width_of(console))
    draw(console, (label, style), (first[len(label) :], ""))
    for line in others:
        draw(console, (line, ""))


@contextlib.contextmanager
def unfailing_stderr() -> Iterator[None]:
    """Have no command end because what it says on the way cannot be written: to a closed terminal, say, or a full disk.

    A run of hours is worth more than the line that tells of it.
    """
    before = sys.stderr
    if before is not None:
        sys.stderr = cast("TextIO", _Unfailing(before))
    try:
        yield
    finally:
        sys.stderr = before


class _Unfailing:
    """A stream whose failures go unheard."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def plain(message: str) -> None:
    """Say something in passing without loading rich: before the first character of a text every moment counts."""
    print(printable(message), file=sys.stderr, flush=True)


def say(message: str) -> None:
    """Say something in passing."""
    console = stderr()
    for line in wrapped(printable(message), width_of(console)):
        draw(console, (line, "dim"))


def table(rows: Iterable[tuple[str, str]], *, result: bool = False) -> None:
    """Print names and values, a value that a terminal has no room for below itself; a result goes to stdout."""
    from rich.console import Console

    console, output, drawn = stderr(), None, io.StringIO()
    width = width_of(console)
    if result:
        output = Output()
        console = Console(file=drawn, force_terminal=output.terminal)  # rich would tell of a full disk in its own way
        width = console.width if output.terminal else None
    shown = [(printable(one_line(name)), printable(one_line(value))) for name, value in rows]
    beside = max((columns(name) for name, _ in shown), default=0) + 2
    for name, value in shown:
        lines = wrapped(value, None if width is None else max(_NARROWEST, width - beside), cut=True)
        for number, line in enumerate(lines):
            head = left("" if number else name, beside if line else 0)
            draw(console, (head, "dim"), (line, ""))
    if output is not None:
        output.write(drawn.getvalue(), drawn=True)
        output.flush()


def commands(lines: Sequence[tuple[str, str]]) -> None:
    """Print what a user may want to type next; each command on a line that can be copied."""
    console = stderr()
    for purpose, command in lines:
        draw(console, (f"  {purpose:<9}", "dim"), (printable(command), "bold"))


@contextlib.contextmanager
def bar(what: str, delay: float = 0) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on a terminal, after `delay` seconds; yield the function to call with the share done."""
    from tqdm import tqdm

    with tqdm(
        total=1.0,
        desc=what,
        file=sys.stderr,
        disable=sys.stderr is None or not sys.stderr.isatty(),
        bar_format="{desc} {percentage:3.0f}% {bar} {elapsed}<{remaining}",
        dynamic_ncols=True,
        leave=False,
        delay=delay,
    ) as drawn:

        def report(share: float) -> None:
            drawn.update(share - drawn.n)

        yield report


@contextlib.contextmanager
def reading() -> Iterator[Callable[[int, int], None]]:
    """Show the progress of reading on a terminal; yield the function to call with the bytes read, and their total."""
    from tqdm import tqdm

    with tqdm(
        desc="reading",
        file=sys.stderr,
        disable=sys.stderr is None or not sys.stderr.isatty(),
        unit="B",
        unit_scale=True,
        dynamic_ncols=True,
        leave=False,
        delay=0.5,
    ) as drawn:

        def watch(read: int, total: int) -> None:
            drawn.total = total or None
            drawn.update(read - drawn.n)

        yield watch


def draw(console: "Console", *parts: tuple[str, str]) -> None:
    """Print texts, each in its style, on one line: as they are, whatever markup or emoji they may spell."""
    from rich.text import Text

    console.print(Text.assemble(*parts), soft_wrap=True)


def width_of(console: "Console") -> int | None:
    """Return the columns of a terminal; None if it writes to no terminal, so that every line stays whole."""
    return console.width if console.file.isatty() else None


def people() -> bool:
    """Return whether somebody sees stderr at once, and may want to know what to do next."""
    return sys.stderr is not None and sys.stderr.isatty()


def stderr() -> "Console":
    """Return the console that writes to stderr."""
    return _console(sys.stderr)


@functools.lru_cache(maxsize=1)
def _console(stream: TextIO | None) -> "Console":
    from rich.console import Console

    return Console(file=stream, stderr=True)
