"""`charlstm sample --interactive`: the user and the model take turns."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

from charlstm.config import SampleConfig
from charlstm.errors import DataError
from charlstm.show import terminal

if TYPE_CHECKING:
    from charlstm.sample import Context
    from charlstm.show.terminal import Output
    from charlstm.text.tokenizer import Tokenizer


def converse(
    context: "Context",
    tokenizer: "Tokenizer",
    config: SampleConfig,
    stops: tuple[str, ...],
    output: "Output",
    label: str | None = None,
) -> None:
    """Read a line, continue the text, and repeat; the state is carried over from turn to turn, and so is the label.

    Ctrl-C ends the text being written, or clears the line being typed; a second one, with nothing typed, leaves.
    """
    from charlstm.sample import write

    assert config.seed is not None
    seed = config.seed
    typed = sys.stdin is not None and sys.stdin.isatty()
    terminal.plain("The model continues what you type; press Enter alone to let it go on.")
    if typed:
        terminal.plain("Ctrl-C ends a text or clears a line, Ctrl-D leaves.")
    for line in _lines(typed=typed) if sys.stdin is not None else ():
        try:
            tokenizer.require_known(line)
        except DataError as error:
            terminal.warn(str(error))
            continue
        context.prefill(tokenizer.encode(line).tolist())
        with _interruptible() as interrupted:
            for piece in write(context, tokenizer, config, seed, stops, interrupted):
                output.write(piece.text)
                if piece.stopped == "end":
                    context.prefill([tokenizer.opener(label)])
            output.write("\n")
            output.flush()
        seed += 1  # the next turn draws different numbers


def _lines(*, typed: bool) -> Iterator[str]:
    """Yield the user's lines until end of file; typed lines have editing and a history if Python supports them."""
    pending: Callable[[], str] = str  # returns what was typed when Ctrl-C came; without readline, always nothing
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
                terminal.plain("")
            return
        except KeyboardInterrupt:
            if not typed or (warned and not pending()):
                raise
            warned = True
            terminal.plain("\nCtrl-C again or Ctrl-D leaves.")
            continue
        warned = False
        yield line


def _entered(*, typed: bool) -> str:
    """Return a line; the prompt `> ` is never written to redirected standard output."""
    if typed and not sys.stdout.isatty():
        print("> ", end="", file=sys.stderr, flush=True)
        return input()
    return input("> " if typed else "")


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT has arrived; a second SIGINT ends the command."""
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
