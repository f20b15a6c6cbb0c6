"""What the commands that measure have in common: a checkpoint opened, the text it reads, and where it computes."""

from typing import TYPE_CHECKING

from charlstm.config import DeviceConfig
from charlstm.errors import UsageError

if TYPE_CHECKING:
    from charlstm.storage.loaded import Loaded, Passage
    from charlstm.text.cache import Cache
    from charlstm.text.corpus import Split


def require_text(text: str | None) -> None:
    """Raise `UsageError` if the text's name is empty."""
    if text == "":
        raise UsageError("TEXT '': name a file or a folder, or - for standard input")


def passage(
    loaded: "Loaded", text: str | None, split: str | None, cache: "Cache", encoding: str | None, command: str
) -> "Passage":
    """Return the text that is scored, and print what a user should know about it."""
    from charlstm.show import terminal

    with terminal.reading() as watch:
        found = loaded.passage(text, split, cache, encoding=encoding, command=command, watch=watch)
    for note in found.notes:
        terminal.warn(note)
    return found


def computing(loaded: "Loaded", config: DeviceConfig) -> "Loaded":
    """Return the same checkpoint on the device that is asked for; `auto` precision is fp32, as exact as the model."""
    from charlstm.network import device as devices
    from charlstm.show import terminal

    name = devices.choose(config)
    precision, note = devices.precision("bf16" if config.precision == "bf16" else "fp32", name)
    if note:
        terminal.warn(note)
    return loaded.on(devices.Device(name, precision))


def training(loaded: "Loaded", cache: "Cache", purpose: str, left_out: str) -> "Split | None":
    """Return the training text; None, with a note, if it is missing and something can be left out instead.

    Args:
        loaded: the model.
        cache: where prepared corpora are kept.
        purpose: what it is needed for, in words.
        left_out: what is left out without it, in words; if empty, a missing text is an error.

    Raises:
        MissingTextError: if it is missing and nothing can be left out.
    """
    from charlstm.show import terminal
    from charlstm.storage.loaded import MissingTextError

    try:
        with terminal.reading() as watch:
            why = f"without it these are left out: {left_out}" if left_out else purpose
            return loaded.training_text(why, cache, watch)
    except MissingTextError as error:
        if not left_out:
            raise
        terminal.warn(str(error))
        return None
