"""`charlstm sample`."""

import contextlib
import dataclasses
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from charlstm import blas
from charlstm.cli import texts
from charlstm.cli.options import HELP, cached, collect, common, open_cache, settings
from charlstm.config import SampleConfig, TextConfig, unescaped
from charlstm.errors import CharLSTMError, DataError, UsageError

if TYPE_CHECKING:
    from charlstm.analysis.novelty import Highlighter
    from charlstm.console import Output
    from charlstm.sample import Context, Piece
    from charlstm.tokenizer import Tokenizer


@click.command(context_settings=HELP, short_help="Write text, character by character.")
@click.argument("checkpoint", required=False)
@click.option("--prompt", default=None, help="Text to go on from.  [default: the start of a document, or of a line]")
@click.option("--prompt-file", metavar="FILE", help="Take the prompt from a file (UTF-8), or standard input (-).")
@click.option(
    "--stop",
    "stops",
    metavar="TEXT",
    multiple=True,
    help=r"End before this text (may be repeated); \n, \t and \\ are understood.",
)
@click.option("--interactive", is_flag=True, help="Take turns: it goes on from all that was written before.")
@click.option(
    "--highlight-copies",
    is_flag=True,
    help="Underline what is copied from the training text, 20 characters and more, and say how much it is.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a text.")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "mps"]),
    default="cpu",
    show_default=True,
    help="Processor to compute on; on a CPU torch is not even loaded.",
)
@settings(SampleConfig)
@cached
@common
def sample(
    checkpoint: str | None,
    prompt: str | None,
    prompt_file: str | None,
    stops: tuple[str, ...],
    interactive: bool,
    highlight_copies: bool,
    as_json: bool,
    device: str,
    root: str | None,
    **values: Any,
) -> None:
    """Write text, character by character.

    CHECKPOINT is a file, the folder or the name of a run; by default the newest. The prompt is printed too (not with
    --json), and counts nothing. Filters apply in this order: temperature, top-k, top-p, min-p; ties go to the character
    that comes first in the vocabulary.
    """
    config = collect(SampleConfig, values)
    if prompt is not None and prompt_file is not None:
        raise UsageError("--prompt and --prompt-file exclude each other: give one of them")
    if interactive and (as_json or config.num_samples > 1):
        raise UsageError("--interactive writes one text for people: leave --json and --num-samples out")
    if interactive and highlight_copies:
        raise UsageError("--interactive and --highlight-copies exclude each other: give one of them")
    if config.separator_out is not None and (as_json or config.num_samples == 1):  # so it is with --interactive
        raise UsageError("--separator-out stands between texts: give --num-samples with it, and no --json")
    if "" in stops:
        raise UsageError("--stop '': an empty text is found everywhere; give at least one character")
    stops = tuple(map(unescaped, stops))

    blas.load_numpy()
    import numpy as np

    from charlstm import checkpoint as checkpoints
    from charlstm import console, runs
    from charlstm.sample import Context
    from charlstm.stepper import Stepper

    output = console.Output()
    path = runs.find(checkpoint)
    loaded = checkpoints.load(path)
    tokenizer = loaded.tokenizer
    start = _prompt(prompt, prompt_file, tokenizer)
    _require_known(start, tokenizer)
    if config.seed is None:
        config = dataclasses.replace(config, seed=secrets.randbelow(2**32))
    if sys.stderr is not None and (sys.stderr.isatty() or values["seed"] is None):
        console.plain(f"{path}, seed {config.seed}")
    copies = None
    if highlight_copies:
        train = texts.training(loaded, open_cache(root), "--highlight-copies looks for copies in it")
        copies = texts.copies(train, tokenizer)
    try:
        # Weights that overflow are told in one line, when no character can be drawn any more.
        with np.errstate(over="ignore", invalid="ignore"):
            context = Context(Stepper(loaded.config.model.cell, _on_device(loaded.weights, device)))
            context.prefill([*tokenizer.opening, *tokenizer.encode(start).tolist()])
            if interactive:
                _converse(context, tokenizer, config, stops, output)
            else:
                highlighter = copies.highlighter if copies is not None else None
                separator = loaded.config.text.between or None
                if config.separator_out is not None:
                    separator = unescaped(config.separator_out)
                writer: _Rows | _Page = (
                    _Rows(output, highlighter) if as_json else _Page(output, start, separator, highlighter)
                )
                _write(context, tokenizer, config, stops, writer)
    except MemoryError:
        raise CharLSTMError(
            "out of memory: the model and what it writes do not fit; give fewer --num-samples or a shorter --length"
        ) from None


def _on_device(weights: dict[str, Any], device: str) -> dict[str, Any]:
    if device == "cpu":
        return weights
    import torch

    from charlstm.config import DeviceConfig
    from charlstm.device import choose

    name = choose(DeviceConfig(device=device))
    return {key: torch.from_numpy(array).to(name) for key, array in weights.items()}


def _prompt(prompt: str | None, prompt_file: str | None, tokenizer: "Tokenizer") -> str:
    if prompt_file is None:
        return prompt or ""
    from charlstm import files

    return files.text(prompt_file, TextConfig(tokenizer=tokenizer.kind), binary="\0" in tokenizer.vocabulary)


def _require_known(prompt: str, tokenizer: "Tokenizer") -> None:
    """Raise `DataError` naming the characters that the model has never seen."""
    ids = tokenizer.encode(prompt)
    if tokenizer.unknown_id is None or tokenizer.unknown_id not in ids:
        return
    unknown = list(dict.fromkeys(prompt[at] for at in (ids == tokenizer.unknown_id).nonzero()[0]))
    names = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in unknown[:5])
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    first = prompt.index(unknown[0])
    raise DataError(
        f"the prompt has characters this model has never seen: {names}{more}, the first at position {first}; "
        "leave them out, or train a model on text that has them"
    )


def _write(
    context: "Context", tokenizer: "Tokenizer", config: SampleConfig, stops: tuple[str, ...], writer: "_Rows | _Page"
) -> None:
    """Write all texts, some at a time side by side, so that any number of them fits in memory."""
    from charlstm.sample import TOGETHER, write

    assert config.seed is not None
    for first in range(0, config.num_samples, TOGETHER):
        count, seed = min(TOGETHER, config.num_samples - first), config.seed + first
        writer.take(write(context.branch(count), tokenizer, config, seed, stops), count, seed)
    writer.end()


@dataclasses.dataclass
class _Text:
    """What a stream has written and is not shown yet."""

    highlighter: "Highlighter | None"
    pieces: list[tuple[str, bool]] = dataclasses.field(default_factory=list)
    """Bits of text, and whether they are copied from the training text."""
    stopped: str | None = None
    lines: bool = False
    """Whether something stands after the end of a line."""
    _newline: bool = False

    def add(self, piece: "Piece") -> None:
        """Take in what comes out of the stream."""
        self.stopped = piece.stopped
        self._see(piece.text)
        if self.highlighter is None:
            self.pieces.append((piece.text, False))
            return
        self.pieces += self.highlighter.add(piece.text)
        if piece.stopped:
            self.pieces += self.highlighter.rest()

    def prompt(self, text: str) -> None:
        """Begin with what the user has written."""
        self._see(text)
        self.pieces.append((text, False))

    def taken(self) -> list[tuple[str, bool]]:
        """Return what is not shown yet, which then is."""
        pieces, self.pieces = self.pieces, []
        return pieces

    def _see(self, text: str) -> None:
        self.lines |= "\n" in text.rstrip("\n") or (self._newline and text.strip("\n") != "")
        self._newline |= "\n" in text


class _Writer:
    """Counts what is copied."""

    def __init__(self, output: "Output", highlighter: "Callable[[], Highlighter] | None") -> None:
        self._output = output
        self._highlighter = highlighter
        self._copied = self._characters = self._longest = 0

    def _text(self) -> _Text:
        return _Text(self._highlighter() if self._highlighter else None)

    def _count(self, text: _Text) -> None:
        if text.highlighter is not None:
            self._copied += text.highlighter.copied
            self._characters += text.highlighter.characters
            self._longest = max(self._longest, text.highlighter.longest)

    def end(self) -> None:
        """Say how much was copied."""
        from charlstm import console

        self._output.flush()
        if self._highlighter is None:
            return
        console.plain(
            f"{self._copied:,} of {self._characters:,} characters copied from the training text, "
            f"the longest span {self._longest:,}"
            if self._copied
            else f"nothing of {self._characters:,} characters copied from the training text"
        )


class _Rows(_Writer):
    """Texts for programs: a JSON object each, in their order."""

    def __init__(self, output: "Output", highlighter: "Callable[[], Highlighter] | None") -> None:
        super().__init__(output, highlighter)
        self._began = time.perf_counter()

    def take(self, pieces: "Iterable[Piece]", count: int, seed: int) -> None:
        """Write the texts of some streams, whose pieces come as they are written."""
        texts = [self._text() for _ in range(count)]
        seconds = [0.0] * count
        shown = 0
        for piece in pieces:
            texts[piece.stream].add(piece)
            if piece.stopped:
                seconds[piece.stream] = round(time.perf_counter() - self._began, 6)
            while shown < count and texts[shown].stopped:
                self._row(texts[shown], seed + shown, seconds[shown])
                shown += 1

    def _row(self, text: _Text, seed: int, seconds: float) -> None:
        self._count(text)
        pieces = text.taken()
        written = "".join(part for part, _ in pieces)
        row: dict[str, Any] = {"text": written, "seed": seed, "characters": len(written)}
        if self._highlighter is not None:
            row["copied"] = _spans(pieces)
        self._output.json(row | {"seconds": seconds, "stopped": text.stopped})


class _Page(_Writer):
    """Texts for people, in their order: the first as it comes, the others once all before them are complete."""

    def __init__(
        self,
        output: "Output",
        prompt: str,
        separator: str | None,
        highlighter: "Callable[[], Highlighter] | None",
    ) -> None:
        super().__init__(output, highlighter)
        self._prompt = prompt
        self._separator = separator
        self._blank_line: bool | None = None
        """Without a separator, whether there is a blank line between texts; None while nobody knows."""
        self._first = True
        self._last = ""
        """The last two characters of the text."""

    def take(self, pieces: "Iterable[Piece]", count: int, seed: int) -> None:
        """Write the texts of some streams, whose pieces come as they are written."""
        texts = [self._text() for _ in range(count)]
        for text in texts:
            text.prompt(self._prompt)
        shown, begun = 0, self._first
        for piece in pieces:
            texts[piece.stream].add(piece)
            while shown < count:
                if not begun:
                    if not self._separate(texts):
                        break
                    begun = True
                for part, copied in texts[shown].taken():
                    self._show(part, copied=copied)
                if not texts[shown].stopped:
                    break
                self._count(texts[shown])
                shown, begun = shown + 1, False
        self._first = False

    def end(self) -> None:
        """End the last line, and say how much was copied."""
        if not self._last.endswith("\n"):
            self._output.write("\n")
        super().end()

    def _separate(self, texts: list[_Text]) -> bool:
        """Write what stands between two texts, and return whether it is known yet."""
        between = self._separator
        if between is None:
            if self._blank_line is None and any(text.lines for text in texts):
                self._blank_line = True
            elif self._blank_line is None and all(text.stopped for text in texts):
                self._blank_line = False
            if self._blank_line is None:
                return False
            between = "\n\n" if self._blank_line else "\n"
            while between and self._last.endswith(between[0]):  # ends of lines that the text has already
                self._last, between = self._last[:-1], between[1:]
        self._show(between)
        self._last = ""
        return True

    def _show(self, text: str, *, copied: bool = False) -> None:
        self._output.write(text, underlined=copied)
        self._last = (self._last + text)[-2:]


def _spans(pieces: list[tuple[str, bool]]) -> list[list[int]]:
    """Return where in a text what was copied begins and ends."""
    spans: list[list[int]] = []
    at = 0
    for text, copied in pieces:
        if copied and spans and spans[-1][1] == at:
            spans[-1][1] += len(text)
        elif copied and text:
            spans.append([at, at + len(text)])
        at += len(text)
    return spans


def _converse(
    context: "Context", tokenizer: "Tokenizer", config: SampleConfig, stops: tuple[str, ...], output: "Output"
) -> None:
    """Read a line, go on from it, and again; the state carries on between the turns.

    Ctrl-C ends what is being written, and clears what is being typed; a second one, with nothing typed, ends all.
    """
    from charlstm import console
    from charlstm.sample import write

    assert config.seed is not None
    seed = config.seed
    typed = sys.stdin is not None and sys.stdin.isatty()
    console.plain("The text goes on from what you type, or from Enter alone.")
    if typed:
        console.plain("Ctrl-C ends a text or clears a line, Ctrl-D leaves.")
    for line in _lines(typed=typed) if sys.stdin is not None else ():
        try:
            _require_known(line, tokenizer)
        except DataError as error:
            console.warn(str(error))
            continue
        context.prefill(tokenizer.encode(line).tolist())
        with _interruptible() as interrupted:
            for piece in write(context, tokenizer, config, seed, stops, interrupted):
                output.write(piece.text)
                if piece.stopped == "end":
                    context.prefill([tokenizer.start_id])
            output.write("\n")
            output.flush()
        seed += 1  # the next turn draws other numbers


def _lines(*, typed: bool) -> Iterator[str]:
    """Yield what the user enters, until its end; where it is typed, with editing and a history if Python has them."""
    from charlstm import console

    pending: Callable[[], str] = str  # what was typed when Ctrl-C came; nothing, for all we know
    if typed:
        with contextlib.suppress(ImportError):  # Windows's console edits lines itself
            import readline

            pending = readline.get_line_buffer
    warned = False
    while True:
        try:
            line = _entered(typed=typed)
        except EOFError:
            if typed:
                console.plain("")
            return
        except KeyboardInterrupt:
            if not typed or (warned and not pending()):
                raise
            warned = True
            console.plain("\nCtrl-C again or Ctrl-D leaves.")
            continue
        warned = False
        yield line


def _entered(*, typed: bool) -> str:
    """Return a line; the prompt is never in the result."""
    if typed and not sys.stdout.isatty():
        print("> ", end="", file=sys.stderr, flush=True)
        return input()
    return input("> " if typed else "")


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Have the first SIGINT be a wish, which the function tells; the second one ends the command."""
    wished = False

    def wish(number: int, frame: FrameType | None) -> None:
        nonlocal wished
        if wished:
            raise KeyboardInterrupt
        wished = True

    before = signal.signal(signal.SIGINT, wish)
    try:
        yield lambda: wished
    finally:
        signal.signal(signal.SIGINT, before)
