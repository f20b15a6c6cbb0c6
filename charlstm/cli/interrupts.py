"""Ctrl-C at any moment: the command ends with exit code 130 and without a traceback."""

import contextlib
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

INTERRUPTED = 128 + signal.SIGINT
_IMPORTS = "<frozen importlib._bootstrap>"
_MOMENT = 0.02  # seconds


def importing(frame: FrameType | None) -> bool:
    """Return whether a frame is part of importing a module.

    An exception raised there may be swallowed, or turned into another one, by code that tries out imports or by
    compiled code that does not check for errors.
    """
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False


def after_imports(act: Callable[[], object], frame: FrameType | None) -> None:
    """Call `act` for a signal: now or, if the signal interrupted an import, once that import is done."""
    if importing(frame) and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda _, later: after_imports(act, later))
        signal.setitimer(signal.ITIMER_REAL, _MOMENT)
    else:
        act()


def forget() -> None:
    """Drop a signal that `after_imports` has postponed."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def caused(problem: BaseException) -> bool:
    """Return whether an error was caused by an interrupt, directly or while one was being handled."""
    reason: BaseException | None = problem
    while reason is not None:
        if isinstance(reason, KeyboardInterrupt):
            return True
        reason = reason.__cause__ or reason.__context__
    return False


class Interrupts:
    """A context in which Ctrl-C raises KeyboardInterrupt; during an import, the earlier handler is called instead.

    That is the handler set by `__main__`, which ends the process at once: during an import, there is nothing to lose.
    """

    def __init__(self) -> None:
        """Remember the current hook."""
        self._before: Any = None
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> "Interrupts":
        """Install the handler, unless the signal is ignored, as under nohup."""
        before = signal.getsignal(signal.SIGINT)
        if callable(before):
            with contextlib.suppress(ValueError):  # raised outside the main thread, the only one that gets signals
                signal.signal(signal.SIGINT, self._interrupt)
                self._before = before
        sys.unraisablehook = self._unheard
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the earlier handlers."""
        sys.unraisablehook = self._unraisable
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if importing(frame):
            self._before(number, frame)
        raise KeyboardInterrupt

    def _unheard(self, unraisable: Any) -> None:
        """Report an exception from a place that cannot raise, such as a destructor, unless it is an interrupt."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._unraisable(unraisable)
