"""Everything that draws: tables, bars and lines on stderr, results on stdout."""

import contextlib
import dataclasses
import io
import json
import math
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from charlstm.errors import InputOutputError, os_reason

if TYPE_CHECKING:
    from rich.console import Console

    from charlstm.analysis.baselines import Baseline
    from charlstm.analysis.failures import Failures, Place
    from charlstm.analysis.novelty import Novelty
    from charlstm.analysis.probe import Recall
    from charlstm.analysis.probe import Training as ProbeTraining
    from charlstm.analysis.reach import Reach
    from charlstm.analysis.structure import Band
    from charlstm.schedule import Decision, Plan
    from charlstm.train import Evaluation, Progress, Record, Training

# What steers a terminal, reorders or breaks a line, or cannot be seen: control characters, Unicode's bidi controls, its
# line and paragraph separators, zero-width spaces, fillers, tags. The joiners and variation selectors are not among
# them: some scripts and emoji are unreadable without.
_HIDDEN = re.compile(
    r"[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufeff"
    r"\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)
_JOINER = "\u200d"
_EMOJI_SELECTOR = "\ufe0f"  # widens the character before it
_MEDIALS = re.compile(r"[\u1160-\u11ff\ud7b0-\ud7ff]")  # of Hangul: drawn into the syllable before them
_TAB = 8  # columns
_BLANK = "␣"
_NARROWEST = 20  # columns of a value in a table
_UNDERLINE = "\x1b[4m{}\x1b[24m"  # ECMA-48
_FLUSH_SECONDS = 0.02
_LINE_SECONDS = 10.0  # between lines where there is no terminal to draw a bar on
_WIDTH = 60  # columns that every report fits in
_BEFORE, _HERE, _AFTER = 24, 4, 8  # columns of a surprising place
_CHART = 20  # columns
_EXAMPLE = 200  # characters


class ClosedOutputError(Exception):
    """Whoever read our output has gone (`| head`): there is nothing left to do, and nothing wrong."""


def printable(text: str) -> str:
    """Return `text` with all that is hidden in it made visible: no file can steer a terminal or deceive who reads it.

    Line feeds and tabs stay, carriage returns go.
    """
    return _HIDDEN.sub(lambda match: _visible(match[0]), text)


def _visible(character: str) -> str:
    if character == "\r":  # of a CRLF; alone it would overwrite the line
        return ""
    return chr(0x2400 + ord(character)) if character < " " else _escaped(character)  # the control pictures


def _escaped(character: str) -> str:
    """Return how Python writes a character by its number."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def fitted(text: str, width: int, *, end: bool = False) -> str:
    """Return as much of a printable line as fits into `width` columns of a terminal: its beginning, or its end.

    No accent is separated from its letter.
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
    """Return how many columns of a terminal a printable line takes.

    Terminals disagree about emoji that are joined into one; the most that they may take is what counts.
    """
    return sum(_sizes(text))


def _sizes(text: str) -> list[int]:
    """Return the columns of each character."""
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
    if category == "Cf":  # there are visible ones, among them the signs around Arabic numbers
        return unicodedata.bidirectional(character) == "BN"
    return category in {"Mn", "Me"} or _MEDIALS.match(character) is not None


def _left(text: str, width: int) -> str:
    """Fill a text up to `width` columns with blanks after it."""
    return text + " " * (width - columns(text))


def _right(text: str, width: int) -> str:
    """Fill a text up to `width` columns with blanks before it."""
    return " " * (width - columns(text)) + text


def _wrapped(text: str, width: int | None, *, cut: bool = False) -> list[str]:
    """Return a printable text in lines of at most `width` columns, broken between words.

    A word that is longer is cut, or stays whole. Without a width nothing is broken.
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
            ClosedOutputError: where nobody reads any more.
            InputOutputError: where the disk does not take it.
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

    def json(self, row: Mapping[str, Any]) -> None:
        """Write a JSON object on a line of its own; raises as `write` does."""
        # What is hidden is written as JSON's escapes: a lone surrogate, which stands for a byte that is in no
        # character and for which UTF-8 has nothing, as well as what a terminal would obey.
        line = json.dumps({"schema": 1} | dict(row), ensure_ascii=False)
        self.write(_HIDDEN.sub(lambda match: json.dumps(match[0])[1:-1], line) + "\n", drawn=True)
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
    console = _stderr()
    first, *others = _wrapped(f"{label} {printable(_one_line(message))}", _width(console))
    _draw(console, (label, style), (first[len(label) :], ""))
    for line in others:
        _draw(console, (line, ""))


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
    console = _stderr()
    for line in _wrapped(printable(message), _width(console)):
        _draw(console, (line, "dim"))


def table(rows: Iterable[tuple[str, str]], *, result: bool = False) -> None:
    """Print names and values, a value that a terminal has no room for below itself; a result goes to stdout."""
    from rich.console import Console

    console, output, drawn = _stderr(), None, io.StringIO()
    width = _width(console)
    if result:
        output = Output()
        console = Console(file=drawn, force_terminal=output.terminal)  # rich would tell of a full disk in its own way
        width = console.width if output.terminal else None
    shown = [(printable(_one_line(name)), printable(_one_line(value))) for name, value in rows]
    beside = max((columns(name) for name, _ in shown), default=0) + 2
    for name, value in shown:
        lines = _wrapped(value, None if width is None else max(_NARROWEST, width - beside), cut=True)
        for number, line in enumerate(lines):
            head = _left("" if number else name, beside if line else 0)
            _draw(console, (head, "dim"), (line, ""))
    if output is not None:
        output.write(drawn.getvalue(), drawn=True)
        output.flush()


def commands(lines: Sequence[tuple[str, str]]) -> None:
    """Print what a user may want to type next; each command on a line that can be copied."""
    console = _stderr()
    for purpose, command in lines:
        _draw(console, (f"  {purpose:<9}", "dim"), (printable(command), "bold"))


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
            _draw(self._console, (f"        {fitted(line, width)}".rstrip(), "dim"))
        if self._bar is not None:
            self._bar.refresh()


def reach(found: "Reach") -> None:
    """Print the loss by context as a table and a chart that fit in 60 columns, and the n-grams' below it if any."""
    longest = found.rows[-1]
    most = max(mean.bits for mean in [*(row.loss for row in found.rows), *(found.ngrams or [])])
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
    lines.append(gained)
    if found.ngrams is not None and found.best_order is not None:
        lines += ["", "Kneser-Ney n-grams of the training text, same characters:", "", "  order     bits"]
        for order, mean in enumerate(found.ngrams, 1):
            lines.append(f"{order:>7}   {mean.bits:.4f} ±{mean.margin:.4f}   {'':<14}   {_bar(mean.bits / most)}")
        less = found.ngrams[found.best_order - 1].bits - longest.loss.bits
        lines.append(f"The model needs {abs(less):.4f} bits {'less' if less >= 0 else 'more'} than the best of them.")
    _lines(lines)


def structure(bands: "Sequence[Band]", order: int | None) -> None:
    """Print how likely the right closing was, by kind and distance, beside the n-gram of this order if any."""
    if not bands:
        return
    beside = "what it closes." if order is None else f"what it closes; beside it that of the {order}-gram."
    rows = [
        "",
        "Probability of the right closing, by the distance from",
        beside,
        "",
        f"closing   distance   count   model{'' if order is None else '   n-gram'}",
    ]
    for number, band in enumerate(bands):
        kind = band.kind if number == 0 or bands[number - 1].kind != band.kind else ""
        to = f"-{band.limit - 1}" if band.limit is not None else " on"
        ngram = "" if band.ngram is None else f"{band.ngram:>6.3f}   "
        rows.append(
            f"{kind:<7} {f'{band.least}{to}':>10}   {band.count:>5}   {band.model:>5.3f}   {ngram}{_bar(band.model)}"
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
    # What knows the training text may lack that; what knows nothing can only lack its package.
    absent = {each.name for each in found if each.bits_per_character is None and not each.primed}
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
    head = f"{'':<{_BEFORE}}  here  {'':<{_AFTER}}   bits  expected"
    lines += ["", "The most surprising places, and what was expected there:", "", head]
    lines += map(_place, found.places)
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


def _place(place: "Place") -> str:
    """Return a line for a surprising place; what does not fit is cut from the text before it."""
    here, before, after = marked(place.character), _in_brief(place.before), _in_brief(place.after)
    # Blanks beside the place would be taken for the gaps between the columns.
    inner = before.rstrip(" ")
    before = inner + _BLANK * (len(before) - len(inner))
    inner = after.lstrip(" ")
    after = _BLANK * (len(after) - len(inner)) + inner
    times = f"  x {place.times}" if place.times > 1 else ""
    expected = f"{place.bits:>6.1f}  {marked(place.expected)} {place.probability:.0%}{times}"
    rest = f"  {_left(here, _HERE)}  {_left(fitted(after, _AFTER), _AFTER)} {expected}"
    width = min(_BEFORE - max(0, columns(here) - _HERE), _WIDTH - columns(rest))
    return _right(fitted(before, width, end=True), width) + rest


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
    lines += ["", "The model's longest:"]
    lines += [f"  {line}" for line in _wrapped(marked(found.sampled.example[:_EXAMPLE]), _WIDTH - 2, cut=True)]
    _lines(lines)


def marked(text: str) -> str:
    """Return a text on one line, its blanks, line ends, tabs and all that is hidden made visible."""
    shown = "".join(map(_named_blank, _on_one_line(text)))
    # An accent needs something to stand on.
    return "\N{DOTTED CIRCLE}" + shown if shown and not columns(shown[0]) else shown


def _named_blank(character: str) -> str:
    if character == " ":
        return _BLANK
    return _escaped(character) if character.isspace() else character


def _in_brief(text: str) -> str:
    """Return a text on one line, a column for each hidden character: an escape that is cut off would be misread."""
    return _on_one_line(_HIDDEN.sub(lambda match: match[0] if match[0] < " " else "\N{REPLACEMENT CHARACTER}", text))


def _on_one_line(text: str) -> str:
    """Return a text on one line, its line ends and tabs made visible."""
    return printable(text.replace("\r", "\u240d")).replace("\n", "↵").replace("\t", "→")


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


def _draw(console: "Console", *parts: tuple[str, str]) -> None:
    """Print texts, each in its style, on one line: as they are, whatever markup or emoji they may spell."""
    from rich.text import Text

    console.print(Text.assemble(*parts), soft_wrap=True)


def _width(console: "Console") -> int | None:
    """Return the columns of a terminal; None where stderr is none, for there every line stays whole."""
    return console.width if console.file.isatty() else None


def _stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True)
