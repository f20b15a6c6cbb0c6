"""Ctrl-C at any moment: the command ends with code 130, and shows no traceback."""

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
    """Return whether a frame belongs to the loading of a module.

    An exception raised there may be swallowed, or come out as another one: by code that tries what it can import, or by
    compiled code that does not look.
    """
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False


def after_imports(act: Callable[[], object], frame: FrameType | None) -> None:
    """Act on a signal: now or, if the frame that it came in is loading a module, when that is loaded."""
    if importing(frame) and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, lambda _, later: after_imports(act, later))
        signal.setitimer(signal.ITIMER_REAL, _MOMENT)
    else:
        act()


def forget() -> None:
    """Do not act on a signal that `after_imports` has put off."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def caused(problem: BaseException) -> bool:
    """Return whether an error came from an interrupt: raised while one was dealt with, or made of one."""
    reason: BaseException | None = problem
    while reason is not None:
        if isinstance(reason, KeyboardInterrupt):
            return True
        reason = reason.__cause__ or reason.__context__
    return False


class Interrupts:
    """While it is entered, Ctrl-C raises KeyboardInterrupt; during an import the handler from before decides.

    `__main__` has set one that ends the process at once: nothing is lost while modules are loaded.
    """

    def __init__(self) -> None:
        """Keep what was there before."""
        self._before: Any = None
        self._unraisable = sys.unraisablehook

    def __enter__(self) -> "Interrupts":
        """Take the signal, unless it is ignored: under nohup, say."""
        before = signal.getsignal(signal.SIGINT)
        if callable(before):
            with contextlib.suppress(ValueError):  # not the main thread, which alone gets signals
                signal.signal(signal.SIGINT, self._interrupt)
                self._before = before
        sys.unraisablehook = self._unheard
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signal back."""
        sys.unraisablehook = self._unraisable
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if importing(frame):
            self._before(number, frame)
        raise KeyboardInterrupt

    def _unheard(self, unraisable: Any) -> None:
        """Print what was raised in a place that cannot raise, such as a destructor; but no interrupt."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._unraisable(unraisable)
