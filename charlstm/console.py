"""Everything that draws: tables, bars and lines on stderr, results on stdout."""

import contextlib
import dataclasses
import io
import json
import math
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from charlstm.errors import InputOutputError, os_reason

if TYPE_CHECKING:
    from rich.console import Console

    from charlstm.analysis.baselines import Baseline
    from charlstm.analysis.failures import Failures
    from charlstm.analysis.novelty import Novelty
    from charlstm.analysis.probe import Recall
    from charlstm.analysis.probe import Training as ProbeTraining
    from charlstm.analysis.reach import Reach
    from charlstm.analysis.structure import Band
    from charlstm.schedule import Decision, Plan
    from charlstm.train import Evaluation, Progress, Record, Training

_OVERRIDES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # they reorder what is on the screen
_UNDERLINE = "\x1b[4m{}\x1b[24m"  # ECMA-48
_FLUSH_SECONDS = 0.02
_LINE_SECONDS = 10.0  # between lines where there is no terminal to draw a bar on
_BEFORE, _AFTER = 24, 8  # columns of a place's context
_CHART = 20  # columns
_EXAMPLE = 200  # characters


class ClosedOutputError(Exception):
    """Whoever read our output has gone (`| head`): there is nothing left to do, and nothing wrong."""


def printable(text: str) -> str:
    """Return `text` with its control characters made visible, so that no file can steer a terminal."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character in "\n\t":
        return character
    if character == "\r":  # of a CRLF; alone it would overwrite the line
        return ""
    if unicodedata.category(character) not in {"Cc", "Cs"} and unicodedata.bidirectional(character) not in _OVERRIDES:
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def duration(seconds: float) -> str:
    """Return a time as `1:02:03` or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def spoken(seconds: float) -> str:
    """Return a time as `10 s` below a minute, else as `2:03` or `1:02:03`."""
    return f"{seconds:.0f} s" if seconds < 59.5 else duration(seconds)


class Output:
    """The result, on stdout, as it comes."""

    def __init__(self) -> None:
        """Take stdout as UTF-8, line ends as they are."""
        if sys.stdout is None:
            raise InputOutputError("standard output is closed; open it or redirect it to a file")
        self._stream: TextIO = sys.stdout
        self._terminal = self._stream.isatty()
        if hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(encoding="utf-8", errors="replace", newline="")
        self._flushed = 0.0

    def write(self, text: str, *, drawn: bool = False, underlined: bool = False) -> None:
        """Write text; it is shown within _FLUSH_SECONDS while more comes, and on `flush`.

        On a terminal control characters are made visible, unless the text was `drawn` here; and nowhere else is
        anything underlined.

        Raises:
            ClosedOutputError: where nobody reads any more.
            InputOutputError: where the disk does not take it.
        """
        try:
            shown = printable(text) if self._terminal and not drawn else text
            self._stream.write(_UNDERLINE.format(shown) if self._terminal and underlined else shown)
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

    def json(self, row: Mapping[str, Any]) -> None:
        """Write a JSON object on a line of its own; raises as `write` does."""
        line = json.dumps({"schema": 1} | dict(row), ensure_ascii=False)
        # A byte that is in no character is a lone surrogate, for which JSON has an escape and UTF-8 has nothing.
        self.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
        self.flush()

    def _failure(self, error: OSError) -> Exception:
        # What is still in the buffer would fail again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        if isinstance(error, BrokenPipeError):
            return ClosedOutputError()
        return InputOutputError(f"standard output: cannot be written ({os_reason(error)}); free some space")


def error(message: str) -> None:
    """Say what went wrong, in one line."""
    _stderr().print(f"[bold red]error:[/] {_escape(_one_line(message))}", soft_wrap=True, highlight=False)


def warn(message: str) -> None:
    """Say what a user should know, in one line."""
    _stderr().print(f"[yellow]note:[/] {_escape(_one_line(message))}", soft_wrap=True, highlight=False)


def _one_line(message: str) -> str:
    return message.replace("\r", "\u240d").replace("\n", "\u2424").replace("\t", "\u2409")


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
    _stderr().print(f"[dim]{_escape(message)}[/]", soft_wrap=True, highlight=False)


def table(rows: Iterable[tuple[str, str]], title: str | None = None, *, result: bool = False) -> None:
    """Print names and values; a result goes to stdout."""
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title and _escape(title), show_header=False, box=None, title_justify="left", pad_edge=False)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(_escape(name), _escape(value))
    if result:
        output = Output()
        drawn = io.StringIO()  # rich would tell of a full disk in its own way
        Console(file=drawn, force_terminal=sys.stdout.isatty()).print(grid)
        output.write("".join(line.rstrip() + "\n" for line in drawn.getvalue().splitlines()), drawn=True)
        output.flush()
    else:
        _stderr().print(grid)


def commands(lines: Sequence[tuple[str, str]]) -> None:
    """Print what a user may want to type next; each command on a line that can be copied."""
    console = _stderr()
    for purpose, command in lines:
        console.print(f"  [dim]{purpose:<9}[/][bold]{_escape(command)}[/]", soft_wrap=True, highlight=False)


@contextlib.contextmanager
def bar(what: str) -> Iterator[Callable[[float], None]]:
    """Show on a terminal what share of something is done, as the function it gives is told."""
    from tqdm import tqdm

    with tqdm(
        total=1.0,
        desc=what,
        file=sys.stderr,
        disable=sys.stderr is None or not sys.stderr.isatty(),
        bar_format="{desc} {percentage:3.0f}% {bar} {elapsed}<{remaining}",
        dynamic_ncols=True,
        leave=False,
    ) as drawn:

        def report(share: float) -> None:
            drawn.update(share - drawn.n)

        yield report


@contextlib.contextmanager
def reading() -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how far the reading of a text is: the bytes read, of those there are."""
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


class TrainingView:
    """A bar on a terminal, a plain line now and then elsewhere; and the evaluations."""

    def __init__(self, plan: "Plan", training: "Training") -> None:
        """Begin where the training stands."""
        from tqdm import tqdm

        self._steps = plan.steps
        self._threads = plan.at(training.step).threads
        self._console = _stderr()
        self._began = self._lined = time.monotonic()
        self._first = training.step
        self._bar: Any = None
        self._headed = False
        if self._console.is_terminal:
            self._bar = tqdm(
                total=plan.steps,
                initial=training.step,
                file=sys.stderr,
                dynamic_ncols=True,
                smoothing=0,  # the time of evaluations is spread over the steps, so that the ETA includes them
                bar_format="{percentage:3.0f}% {bar} {elapsed}<{remaining}{postfix}",
                leave=False,
            )

    def __enter__(self) -> "TrainingView":
        """Nothing is drawn before the first record."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def show(self, record: "Record") -> None:
        """Draw what happened."""
        from charlstm.schedule import Decision
        from charlstm.train import Evaluation, Halved, Progress, Unsaved

        if isinstance(record, Progress):
            self._progress(record)
        elif isinstance(record, Decision):
            self._decision(record)
        elif isinstance(record, Evaluation):
            self._evaluation(record)
        elif isinstance(record, Halved):
            self._note(f"step {record.step:,} was undone, as its loss was not finite; half the learning rate from here")
        elif isinstance(record, Unsaved):
            self._note(f"not saved at step {record.step:,}, and tried again later: {record.reason}")

    def _decision(self, record: "Decision") -> None:
        self._steps = record.steps
        if self._bar is not None:
            self._bar.total = record.steps
        if record.threads not in {None, self._threads}:
            if self._threads is not None:
                self._note(f"{record.threads} of the threads are faster now, from step {record.step:,} on")
            self._threads = record.threads

    def _note(self, message: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        warn(message)
        if self._bar is not None:
            self._bar.refresh()

    def _progress(self, record: "Progress") -> None:
        speed = record.characters / max(record.seconds, 1e-9)
        numbers = f"loss {record.loss:.3f} bpc {record.loss / math.log(2):.3f} {_thousands(speed)} ch/s"
        if self._bar is not None:
            self._bar.set_postfix_str(numbers, refresh=False)
            self._bar.update(record.step - self._bar.n)
            return
        now = time.monotonic()
        if now - self._lined >= _LINE_SECONDS:
            self._lined = now
            left = (now - self._began) / max(1, record.step - self._first) * (self._steps - record.step)
            share = record.step / self._steps
            say(f"step {record.step:,}/{self._steps:,} {share:4.0%} {numbers} eta {duration(left)}")

    def _evaluation(self, record: "Evaluation") -> None:
        mark = " *" if record.improved else ""
        if self._bar is not None:
            self._bar.clear()
        if not self._headed:
            self._headed = True
            self._console.print("[dim]   step  epoch   train  held-out     bpc   time (* best)[/]")
        bpc = record.val_loss / math.log(2)
        self._console.print(
            f"{record.step:>7,} {record.epoch:>6.2f} {record.train_loss:>7.4f} [bold]{record.val_loss:>9.4f}[/] "
            f"{bpc:>7.4f} {duration(record.seconds):>6}{mark}",
            highlight=False,
        )
        width = max(20, self._console.width - 10)
        for line in printable(record.sample).strip("\n").splitlines()[:3]:
            self._console.print(f"[dim]        {_escape(line[:width])}[/]", highlight=False, soft_wrap=True)
        if self._bar is not None:
            self._bar.refresh()


def reach(found: "Reach") -> None:
    """Print the loss by context as a table and a chart that fit in 60 columns, and the n-grams' below it."""
    longest = found.rows[-1]
    most = max(row.loss.bits for row in found.rows)
    lines = [
        "Bits a character, with 95 % intervals, of",
        f"{found.characters:,} characters of the text, each predicted from so many",
        "before it, and what is lost by not reading further.",
        "",
        "context     bits              lost",
    ]
    for row in found.rows:
        lost = "" if row is longest else f"{row.lost.bits:.4f} ±{row.lost.margin:.4f}"
        lines.append(
            f"{row.context:>7}   {row.loss.bits:.4f} ±{row.loss.margin:.4f}   {lost:<14}   {_bar(row.loss.bits / most)}"
        )
    gained = (
        f"Reading more than {found.enough} gains nothing these could show."
        if found.enough < longest.context
        else f"There is still something to gain at {longest.context}."
    )
    lines += [gained, "", "Kneser-Ney n-grams of the training text, same characters:", "", "  order     bits"]
    for order, mean in enumerate(found.ngrams, 1):
        lines.append(f"{order:>7}   {mean.bits:.4f} ±{mean.margin:.4f}   {'':<14}   {_bar(mean.bits / most)}")
    less = found.ngrams[found.best_order - 1].bits - longest.loss.bits
    lines.append(f"The model needs {abs(less):.4f} bits {'less' if less >= 0 else 'more'} than the best of them.")
    _lines(lines)


def structure(bands: "Sequence[Band]", order: int) -> None:
    """Print how likely the right closing was, by kind and distance."""
    if not bands:
        return
    rows = [
        "",
        "Probability of the right closing, by the distance from",
        f"what it closes; beside it that of the {order}-gram.",
        "",
        "closing   distance   count   model   n-gram",
    ]
    for number, band in enumerate(bands):
        kind = band.kind if number == 0 or bands[number - 1].kind != band.kind else ""
        to = f"-{band.limit - 1}" if band.limit is not None else " on"
        rows.append(
            f"{kind:<7} {f'{band.least}{to}':>10}   {band.count:>5}   {band.model:>5.3f}   {band.ngram:>6.3f}   "
            f"{_bar(band.model)}"
        )
    _lines(rows)


def baselines(own: Sequence[tuple[str, float]], found: "Sequence[Baseline]") -> None:
    """Print what the model and others need for the same text, the worst first."""
    rows = [(name, "training", bits) for name, bits in own]
    rows += [
        (each.name, "training" if each.primed else "nothing", each.bits_per_character)
        for each in found
        if each.bits_per_character is not None
    ]
    most = max(bits for _, _, bits in rows)
    lines = [
        "",
        "Bits a character of this text, by what was known before:",
        "",
        f"{'':<24}{'known':<11}bits",
    ]
    for name, known, bits in sorted(rows, key=lambda row: -row[2]):
        lines.append(f"{name:<24}{known:<9}{bits:>6.3f}  {_bar(bits / most)}")
    absent = {each.name for each in found if each.bits_per_character is None}
    if absent:
        lines += ["", f"Not measured: {', '.join(sorted(absent))}; pip install 'charlstm[baselines]'"]
    _lines(lines)


def failures(found: "Failures") -> None:
    """Print the surprise by kind of character, the most surprising places, and the calibration."""
    total = sum(kind.bits for kind in found.kinds)
    dearest = max(kind.bits_per_character for kind in found.kinds)
    lines = ["", "By kind of character:", "", f"{'':<14}{'characters':>10}  bits each  of all"]
    for kind in found.kinds:
        each = kind.bits_per_character
        lines.append(
            f"{kind.name:<14}{kind.characters:>10,}{each:>11.3f}{kind.bits / total:>7.1%}  {_bar(each / dearest)}"
        )
    lines += ["", "The most surprising places (|here|), and what was expected:", ""]
    for place in found.places:
        after = _shown(place.after)[:_AFTER]
        times = f"  x {place.times}" if place.times > 1 else ""
        context = f"{_shown(place.before)[-_BEFORE:]:>{_BEFORE}}|{_visible_space(place.character)}|{after:<{_AFTER}}"
        lines.append(
            f"{context}  {place.bits:>4.1f} bits  {_visible_space(place.expected)} {place.probability:.0%}{times}"
        )
    lines += [
        "",
        f"The likeliest character comes {found.accuracy:.1%} of the time: by how",
        "likely it was said to be (|), how often it came (bar):",
        "",
        "said        count    said    came",
    ]
    for one in found.bins:
        mark = round(one.confidence * _CHART)
        drawn = "".join(
            "|" if number == mark else "█" if number < round(one.accuracy * _CHART) else " "
            for number in range(_CHART + 1)
        )
        lines.append(
            f"from {one.least:<4.0%}{one.count:>8,}{one.confidence:>8.1%}{one.accuracy:>8.1%}  {drawn.rstrip()}"
        )
    lines.append(f"Expected calibration error: {found.calibration_error:.2%}.")
    _lines(lines)


def novelty(found: "Novelty") -> None:
    """Print what a sample has from the training text, and what held-out text has."""
    lines = [
        "",
        f"The longest span copied from the training text, in {found.passages:,}",
        f"passages of at most {found.length:,} characters:",
        "",
        f"{'':<16}median  9 of 10  longest  in spans of {found.least}+",
    ]
    for name, spans in (("this model", found.sampled), ("the text scored", found.held_out)):
        lines.append(
            f"{name:<16}{spans.median:>6.0f}{spans.percentile_90:>9.0f}{spans.longest:>9,}{spans.copied:>9.1%}"
        )
    lines += ["", f"The model's longest: {_shown(found.sampled.example[:_EXAMPLE])}"]
    _lines(lines)


def _visible_space(text: str) -> str:
    return _shown(text).replace(" ", "␣")


def _shown(text: str) -> str:
    """Return a text on one line."""
    return printable(text).replace("\n", "↵").replace("\t", "→")


def _lines(lines: Iterable[str]) -> None:
    output = Output()
    output.write("".join(line + "\n" for line in lines), drawn=True)
    output.flush()


def _bar(share: float) -> str:
    """Return a bar of at most 16 columns, drawn to an eighth of a column."""
    eighths = round(share * 16 * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


class ProbeView:
    """The table of recalls as it grows, on stdout; what is being trained now, on a terminal's stderr."""

    def __init__(self, *, as_json: bool) -> None:
        """Nothing is drawn before the first record."""
        self._output = Output()
        self._as_json = as_json
        self._headed = self._marked = False
        self._status: Any = None

    def __enter__(self) -> "ProbeView":
        """Begin."""
        from tqdm import tqdm

        if sys.stderr is not None and sys.stderr.isatty():
            self._status = tqdm(file=sys.stderr, bar_format="{desc}", leave=False, dynamic_ncols=True)
        return self

    def __exit__(self, *_: object) -> None:
        """Take away what is not the result, and say what the marks mean."""
        if self._status is not None:
            self._status.close()
        if self._marked:
            say("* chrono initialisation; gradient: before any training")

    def show(self, record: "ProbeTraining | Recall") -> None:
        """Draw what happened."""
        from charlstm.analysis.probe import Recall

        if isinstance(record, Recall):
            self._row(record)
        elif self._status is not None:
            self._status.set_description_str(
                f"{record.cell}, lag {record.lag}: step {record.step:,}, loss {record.loss:.3f}, {record.seconds:.0f} s"
            )

    def _row(self, row: "Recall") -> None:
        if self._status is not None:
            self._status.clear()
        if self._as_json:
            self._output.json(dataclasses.asdict(row))
            return
        if not self._headed:
            self._headed = True
            self._output.write("   lag  cell       recall  chance    steps  seconds gradient\n")
        self._marked |= row.chrono
        cell = row.cell + ("*" if row.chrono else "")
        self._output.write(
            f"{row.lag:>6}  {cell:<9} {row.recall:>7.1%} {row.chance:>7.1%} {row.steps:>8,} {row.seconds:>8.1f} "
            f"{row.gradient_norm:>8.0e}\n"
        )
        self._output.flush()


def _thousands(number: float) -> str:
    if number < 1000:
        return f"{number:.0f}"
    return f"{number / 1000:.1f}k" if number < 10_000 else f"{number / 1000:.0f}k"


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(printable(text))


def _stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True)
