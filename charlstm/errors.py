"""What a user can mend: each kind of error with its exit code.

The message of every error is one line: what is wrong, where, and the remedy. What a user can do about a text depends on
the command that reads it: so such an error names each remedy with the option it takes, and a command offers those whose
option it has.
"""

from collections.abc import Collection, Mapping


class CharLSTMError(Exception):
    """A failure the user can do something about; the base of all others (exit code 1).

    Args:
        fact: what is wrong, and where; the remedy too, if it is always the same.
        remedies: what to do about it, by the command-line option that this takes.
        otherwise: what to do if there is none of these options.
    """

    exit_code = 1

    def __init__(self, fact: str, *, remedies: Mapping[str, str] | None = None, otherwise: str = "") -> None:
        """Take a message; without `offer` it names every remedy."""
        super().__init__(fact)
        self.fact = fact
        self._remedies = remedies or {}
        self._otherwise = otherwise
        self._options: Collection[str] = self._remedies

    def offer(self, options: Collection[str]) -> None:
        """Name from now on only the remedies that these options allow."""
        self._options = options

    def __str__(self) -> str:
        """Return the message, in one line."""
        remedies = [words for option, words in self._remedies.items() if option in self._options]
        return "; ".join(filter(None, (self.fact, ", or ".join(remedies) or self._otherwise)))


class DivergedError(CharLSTMError):
    """Training produced a loss that is not finite; the last good checkpoint is kept."""


class OutOfMemoryError(CharLSTMError):
    """The machine, or a limit set to this process, has less memory than the command needs."""

    def __init__(self) -> None:
        """Say what to do if no option makes the command need less."""
        super().__init__("out of memory", otherwise="close other programs, or give a smaller text")

    def offer(self, options: Collection[str]) -> None:
        """Name those of a command's options with which it needs less memory."""
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
    """Return the system's own words for an `OSError`, without the path it repeats."""
    return (error.strerror or str(error)).lower()
