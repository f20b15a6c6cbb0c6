"""What a user can mend: each kind of error with its exit code.

The message of every error is one line: what is wrong, where, and the remedy.
"""


class CharLSTMError(Exception):
    """A failure the user can do something about; the base of all others (exit code 1)."""

    exit_code = 1


class DivergedError(CharLSTMError):
    """Training produced a loss that is not finite; the last good checkpoint is kept."""


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
