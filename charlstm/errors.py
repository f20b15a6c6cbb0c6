"""The errors a user can do something about, each kind with its exit code.

Every message is one line: what is wrong, where, and what to do. The remedy can depend on the command: an error about a
text lists its remedies by the option that each one needs, and a command offers those whose option it has.
"""

from collections.abc import Collection, Mapping


class CharLSTMError(Exception):
    """A failure the user can do something about; the base of all others (exit code 1).

    Args:
        fact: what is wrong, and where; also the remedy, if it is always the same.
        remedies: what to do about it, by the command-line option that each remedy needs.
        otherwise: what to do if the command has none of these options.
    """

    exit_code = 1

    def __init__(self, fact: str, *, remedies: Mapping[str, str] | None = None, otherwise: str = "") -> None:
        """Take the parts of the message; it names every remedy until `offer` is called."""
        super().__init__(fact)
        self.fact = fact
        self._remedies = remedies or {}
        self._otherwise = otherwise
        self._options: Collection[str] = self._remedies

    def offer(self, options: Collection[str]) -> None:
        """From now on, name only the remedies that need one of these options."""
        self._options = options

    def __str__(self) -> str:
        """Return the message, on one line."""
        remedies = [words for option, words in self._remedies.items() if option in self._options]
        return "; ".join(filter(None, (self.fact, ", or ".join(remedies) or self._otherwise)))


class DivergedError(CharLSTMError):
    """Training produced a loss that is not finite; the last good checkpoint is kept."""


class OutOfMemoryError(CharLSTMError):
    """The command needs more memory than the machine has, or than this process may use."""

    def __init__(self) -> None:
        """Name a remedy for commands without an option that saves memory."""
        super().__init__("out of memory", otherwise="close other programs, or give a smaller text")

    def offer(self, options: Collection[str]) -> None:
        """From now on, name those of the command's options that save memory."""
        *others, last = [option for option in _SMALLER if option in options] or [""]
        if last:
            named = f"{', '.join(others)} or {last}" if others else last
            self._otherwise = f"choose a smaller {named}" + (", or --min-count 2" if "--min-count" in options else "")


_SMALLER = ("--hidden-size", "--batch-size", "--seq-length", "--lag", "--num-samples")


class UsageError(CharLSTMError):
    """An option, argument or setting that makes no sense."""

    exit_code = 2


class DataError(CharLSTMError):
    """A text or a checkpoint whose content cannot be used."""

    exit_code = 65


class InputOutputError(CharLSTMError):
    """A file that is missing, or cannot be read or written."""

    exit_code = 74


def os_reason(error: OSError) -> str:
    """Return the system's own words for an `OSError`, without the path that it repeats."""
    return (error.strerror or str(error)).lower()
