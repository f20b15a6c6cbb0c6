"""Ctrl-C and similar signals during training: the first one saves and stops, the second one quits at once."""

import contextlib
import os
import signal
from types import FrameType

from charlstm.cli import interrupts
from charlstm.network.distributed import processes


class _Stopped(BaseException):
    """A signal arrived while there was nothing to save."""


class Stop:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a request to stop; the second one ends the process at once.

    As long as there is nothing to save, the first signal ends the command immediately.
    """

    _SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self) -> None:
        """Begin without a request to stop."""
        self.exit_code = 0
        self._alone = processes() == 1
        self._saves = False  # whether there is something to save, and a loop that asks whether to stop

    def __call__(self) -> bool:
        """Return whether a stop was requested."""
        return self.exit_code != 0

    def begin(self) -> None:
        """From here on, save before stopping; a signal that came earlier and was postponed by an import stops now."""
        if self():
            raise _Stopped
        self._saves = True

    def __enter__(self) -> "Stop":
        """Install the handlers."""
        # A signal that the process ignores, as under nohup, stays ignored.
        self._before = {
            number: signal.signal(number, self._stop)
            for number in self._SIGNALS
            if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN
        }
        return self

    def __exit__(self, kind: object, *_: object) -> bool:
        """Restore the earlier handlers."""
        interrupts.forget()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        return kind is _Stopped

    def _stop(self, number: int, frame: FrameType | None) -> None:
        second, self.exit_code = self.exit_code != 0, self.exit_code or 128 + number
        if not self._saves:
            if second and interrupts.importing(frame):
                os._exit(self.exit_code)
            interrupts.after_imports(self._end, frame)
            return
        if not self._alone:
            return  # torchrun sends each of its processes a second signal, and kills those that are slow
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        # os.write, because the handler may interrupt a print; it fails if nobody is left to read the message.
        with contextlib.suppress(OSError):
            os.write(2, b"\nsaving, then stopping (once more to quit at once)\n")

    def _end(self) -> None:
        if not self._saves:
            raise _Stopped
