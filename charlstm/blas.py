"""In how many threads numpy's BLAS multiplies: chosen by measuring, and never seen in a text.

On idle cores two threads compute a product in half the time. On busy ones they wait for each other's turn, and the
same product takes a hundred times as long. Neither the load average nor the number of cores says which of the two it
will be, so a text begins in one thread, which is never bad, and now and then more are tried beside it.

More threads may add up a product in another order, and so change its last bits, and with them a text that a seed should
repeat. So they are taken only after products of the very same shapes were the same, bit for bit: OpenBLAS divides a
matrix by its shape alone, and if it matters where, nearly every random vector shows it.
"""

import contextlib
import ctypes
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

_VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_DEFAULT_NUM_THREADS")
_FIRST = 0.1  # seconds of computing before more threads are tried
_AGAIN = 1.0  # ... and before they are tried again, at least
_MOST_WAIT = 60.0
_SHARE = 50  # of the time trying may take a part
_PAIRS = 16  # products in both numbers of threads; each shows a difference in bits in 39 of 40 cases
_GAIN = 0.85  # the share of the time that more threads may take
_HOPELESS = 4.0  # times the time after which trying is given up
_WINDOW = 16  # steps whose time is looked at together
_STRIKES = 2  # windows in a row that are slower than fewer threads were


class Blas(Protocol):
    """A library that multiplies in several threads."""

    def get(self) -> int:
        """Return the number of threads."""

    def set(self, threads: int) -> None:
        """Change it, for the whole process."""


class _OpenBlas:
    def __init__(self, getter: Any, setter: Any) -> None:
        getter.argtypes, getter.restype = [], ctypes.c_int
        setter.argtypes, setter.restype = [ctypes.c_int], None
        self.get: Callable[[], int] = getter
        self.set: Callable[[int], None] = setter


def load_numpy() -> None:
    """Load numpy with a BLAS of one thread, unless the user has chosen a number: further ones would wait in vain.

    OpenBLAS reads the variable as it is loaded; no process that this one starts sees it.
    """
    if "numpy" in sys.modules or _chosen():
        return
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        import numpy  # noqa: F401
    finally:
        del os.environ["OPENBLAS_NUM_THREADS"]


def library() -> Blas | None:
    """Return numpy's OpenBLAS; None if it has another BLAS, or if the user has chosen a number of threads."""
    return None if _chosen() else _openblas()


def _chosen() -> bool:
    return any(os.environ.get(name) for name in _VARIABLES)


@functools.cache
def _openblas() -> Blas | None:
    """Find the library that numpy itself uses; there may be others in the process."""
    for file in _libraries():
        try:
            library = ctypes.CDLL(str(file))
        except OSError:
            continue
        for prefix in ("scipy_", ""):  # numpy's wheels, and everybody else's OpenBLAS
            for suffix in ("64_", "", "_64"):
                names = (f"{prefix}openblas_{verb}_num_threads{suffix}" for verb in ("get", "set"))
                with contextlib.suppress(AttributeError):
                    return _OpenBlas(*(getattr(library, name) for name in names))
    return None


def _libraries() -> Iterator[Path]:
    """Yield files in which OpenBLAS's functions may be found: an extension hands on what it is linked to."""
    extension = getattr(sys.modules.get("numpy._core._multiarray_umath"), "__file__", None)
    if extension:
        yield Path(extension)
        yield from (Path(extension).parents[2] / "numpy.libs").glob(
            "*openblas*"
        )  # Windows looks no further than a file


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Held:
    """While it is entered, the BLAS computes in the number of threads that was found best."""

    def __init__(self, blas: Blas) -> None:
        """Begin with one."""
        self.threads = 1
        self._blas = blas
        self._outside = 1

    def __enter__(self) -> None:
        """Set the number."""
        self._outside = self._blas.get()
        if self._outside != self.threads:
            self._blas.set(self.threads)

    def __exit__(self, *_: object) -> None:
        """Set back what others in this process have chosen."""
        if self._outside != self.threads:
            self._blas.set(self._outside)


class Pace:
    """Times the steps that are done while it is entered, and looks now and then for a better number of threads."""

    def __init__(
        self,
        rehearsal: Callable[[int], Callable[[], Sequence[Any]]],
        blas: Blas,
        most: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Begin with one thread.

        Args:
            rehearsal: for a number, a function that computes the products of a step with inputs drawn by that number.
            blas: what computes them.
            most: threads at most.
            clock: returns seconds.
        """
        self.held = Held(blas)
        """To be entered for what belongs to a step, but is not timed."""
        self._rehearsal, self._blas, self._most, self._clock = rehearsal, blas, most, clock
        self._began = 0.0
        self._spent = 0.0  # since more threads were last tried
        self._wait = _FIRST
        self._window: list[float] = []
        self._mean = 0.0  # seconds of a step, in the last whole window
        self._limit = 0.0  # ... and in fewer threads than now
        self._strikes = 0

    @property
    def threads(self) -> int:
        """The number that was found best."""
        return self.held.threads

    def __enter__(self) -> None:
        """Begin a step."""
        self.held.__enter__()
        self._began = self._clock()

    def __exit__(self, *exception: object) -> None:
        """End a step; may then try other numbers of threads, which takes 2 % of the time at most, or a moment."""
        seconds = self._clock() - self._began
        self.held.__exit__(*exception)
        if exception[0] is not None:
            return
        self._spent += seconds
        self._window.append(seconds)
        if self.threads > 1 and sum(self._window) > _WINDOW * self._limit:
            self._window.clear()
            self._strikes += 1
            if self._strikes == _STRIKES:
                self._turn_to(1, better=False, cost=0.0)
        elif len(self._window) == _WINDOW:
            self._mean = sum(self._window) / _WINDOW
            self._window.clear()
            self._strikes = 0
            if self._spent > self._wait and 2 * self.threads <= self._most:
                began = self._clock()
                better = self._is_better(2 * self.threads)
                self._turn_to(2 * self.threads if better else self.threads, better=better, cost=self._clock() - began)

    def _turn_to(self, threads: int, *, better: bool, cost: float) -> None:
        if better:
            self._limit = self._mean
            self._wait = max(_FIRST, _SHARE * cost)
        else:
            self._wait = min(_MOST_WAIT, max(_AGAIN, _SHARE * cost, 2 * self._wait))
        self.held.threads = threads
        self._spent, self._strikes = 0.0, 0

    def _is_better(self, more: int) -> bool:
        """Return whether products are much faster in `more` threads, and the same; if not the same, never ask again."""
        few = many = 0.0
        outside = self._blas.get()
        try:
            self._blas.set(more)
            if self._blas.get() != more:  # built for fewer
                self._most = self.threads
                return False
            self._rehearsal(_PAIRS)()  # the first time threads are made
            for number in range(_PAIRS):
                multiply = self._rehearsal(number)
                seconds, expected = self._timed(self.threads, multiply)
                few += seconds
                seconds, products = self._timed(more, multiply)
                many += seconds
                if any(one.tobytes() != other.tobytes() for one, other in zip(expected, products, strict=True)):
                    self._most = self.threads
                    return False
                if many > _HOPELESS * few:
                    return False
        finally:
            self._blas.set(outside)
        return many < _GAIN * few

    def _timed(self, threads: int, multiply: Callable[[], Sequence[Any]]) -> tuple[float, Sequence[Any]]:
        self._blas.set(threads)
        began = self._clock()
        products = multiply()
        return self._clock() - began, products
