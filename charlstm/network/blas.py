"""How many threads numpy's BLAS uses: chosen by measuring, and without effect on the generated text.

On idle cores two threads compute a product in half the time. On busy cores they wait for each other, and the same
product takes a hundred times as long. Neither the load average nor the number of cores predicts which case applies. A
text therefore begins with one thread, which is never a bad choice, and more threads are tried from time to time.

More threads may sum a product in a different order. That changes its last bits, and with them a text that a seed should
reproduce. So more threads are used only after products of exactly the same shapes came out the same, bit for bit:
OpenBLAS divides a matrix by its shape alone, and if the division matters, nearly every random vector shows it.
"""

import contextlib
import ctypes
import functools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

_VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_DEFAULT_NUM_THREADS")
_FIRST = 0.1  # seconds of computing before more threads are tried
_AGAIN = 1.0  # ... and before they are tried again, at least
_MOST_WAIT = 60.0
_SHARE = 50  # trials take at most 1/50 of the time
_PAIRS = 16  # products computed with both thread counts; each reveals a difference in bits in 39 of 40 cases
_GAIN = 0.85  # more threads are used if they take less than this share of the time
_HOPELESS = 4.0  # a trial is abandoned once it has taken this many times as long
_WINDOW = 16  # steps that are timed together
_STRIKES = 2  # consecutive windows slower than with fewer threads, after which one thread is used again


class Blas(Protocol):
    """A library that can multiply with several threads."""

    def get(self) -> int:
        """Return the number of threads."""

    def set(self, threads: int) -> None:
        """Set the number of threads for the whole process."""


class _OpenBlas:
    def __init__(self, getter: Any, setter: Any) -> None:
        getter.argtypes, getter.restype = [], ctypes.c_int
        setter.argtypes, setter.restype = [ctypes.c_int], None
        self.get: Callable[[], int] = getter
        self.set: Callable[[int], None] = setter


def load_numpy() -> None:
    """Load numpy with a single-threaded BLAS, unless the user has chosen a number: more threads would only wait.

    OpenBLAS reads the variable while it is being loaded; no child process inherits it.
    """
    if "numpy" in sys.modules or _chosen():
        return
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    try:
        import numpy  # noqa: F401
    finally:
        del os.environ["OPENBLAS_NUM_THREADS"]


def library() -> Blas | None:
    """Return numpy's OpenBLAS; None if numpy uses another BLAS, or if the user has chosen a number of threads."""
    return None if _chosen() else _openblas()


def _chosen() -> bool:
    return any(os.environ.get(name) for name in _VARIABLES)


@functools.cache
def _openblas() -> Blas | None:
    """Find the library that numpy itself uses; the process may contain others."""
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
    """Yield files in which OpenBLAS's functions may be found: an extension re-exports what it is linked to."""
    extension = getattr(sys.modules.get("numpy._core._multiarray_umath"), "__file__", None)
    if extension:
        yield Path(extension)
        yield from (Path(extension).parents[2] / "numpy.libs").glob(
            "*openblas*"
        )  # Windows searches only the file itself


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Turns:
    """Tracks which steps are being computed and with how many threads; the thread count belongs to the whole process.

    Several steps may run at the same time with one thread each. A step that uses more threads runs alone.
    """

    def __init__(self, blas: Blas) -> None:
        self._blas = blas
        self._changed = threading.Condition()
        self._users = 0
        self._threads = self._outside = 1

    def begin(self, threads: int) -> None:
        """Begin a step: with this many threads if no other step is running, otherwise with one."""
        with self._changed:
            while self._users and self._threads > 1:
                self._changed.wait()
            if not self._users:
                self._threads, self._outside = threads, self._blas.get()
                if self._outside != threads:
                    self._blas.set(threads)
            self._users += 1

    def end(self) -> None:
        """End a step; the last one restores the number that the rest of the process had set."""
        with self._changed:
            self._users -= 1
            if not self._users and self._outside != self._threads:
                self._blas.set(self._outside)
            self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[bool]:
        """Block other steps, and yield whether none is running: only then may other thread counts be tried."""
        with self._changed:
            yield not self._users


_turns: "weakref.WeakKeyDictionary[Blas, _Turns]" = weakref.WeakKeyDictionary()


class Held:
    """A context in which the BLAS uses the best known number of threads; several may be open at the same time."""

    def __init__(self, blas: Blas) -> None:
        """Begin with one thread."""
        self.threads = 1
        self.turns = _turns.setdefault(blas, _Turns(blas))

    def __enter__(self) -> None:
        """Set the number of threads."""
        self.turns.begin(self.threads)

    def __exit__(self, *_: object) -> None:
        """Restore the previous number."""
        self.turns.end()


class Paces:
    """What times and chooses the threads of an engine, for each number of streams."""

    def __init__(self, rehearsal: "Callable[[int | None, int], Callable[[], Sequence[Any]]]") -> None:
        """Take what computes the products of a step, given the number of streams and a seed."""
        self._rehearsal = rehearsal
        self._found: dict[int | None, Pace] = {}

    def of(self, streams: int | None) -> "Pace | None":
        """Return the pace of steps of this many streams, always the same one; None if there is no choice."""
        found = library()
        if found is None:
            return None
        if streams not in self._found:
            self._found[streams] = Pace(functools.partial(self._rehearsal, streams), found, cores())
        return self._found[streams]


class Pace:
    """A context that times each step, and looks for a better number of threads from time to time."""

    def __init__(
        self,
        rehearsal: Callable[[int], Callable[[], Sequence[Any]]],
        blas: Blas,
        most: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Begin with one thread.

        Args:
            rehearsal: given a seed, returns a function that computes the products of a step on inputs drawn from it.
            blas: the library that computes them.
            most: the largest number of threads.
            clock: returns seconds.
        """
        self.held = Held(blas)
        """A context for work that belongs to a step but is not timed."""
        self._rehearsal, self._blas, self._most, self._clock = rehearsal, blas, most, clock
        self._of_thread = threading.local()  # threads may share a model
        self._spent = 0.0  # seconds of computing since more threads were last tried
        self._wait = _FIRST
        self._window: list[float] = []
        self._mean = 0.0  # seconds per step in the last complete window
        self._limit = 0.0  # ... and with fewer threads than now
        self._strikes = 0

    @property
    def threads(self) -> int:
        """The best known number of threads."""
        return self.held.threads

    def __enter__(self) -> None:
        """Begin a step."""
        self.held.__enter__()
        self._of_thread.began = self._clock()

    def __exit__(self, *exception: object) -> None:
        """End a step; may then try other numbers of threads, which takes at most 2 % of the time, or a moment."""
        seconds = self._clock() - self._of_thread.began
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
        elif len(self._window) >= _WINDOW:
            self._mean = sum(self._window) / len(self._window)
            self._window.clear()
            self._strikes = 0
            if self._spent > self._wait and 2 * self.threads <= self._most:
                self._try(2 * self.threads)

    def _try(self, more: int) -> None:
        """Use more threads if they are better; never while other steps are running."""
        with self.held.turns.alone() as alone:
            began = self._clock()
            better = alone and self._is_better(more)
            self._turn_to(more if better else self.threads, better=better, cost=self._clock() - began)

    def _turn_to(self, threads: int, *, better: bool, cost: float) -> None:
        if better:
            self._limit = self._mean
            self._wait = max(_FIRST, _SHARE * cost)
        else:
            self._wait = min(_MOST_WAIT, max(_AGAIN, _SHARE * cost, 2 * self._wait))
        self.held.threads = threads
        self._spent, self._strikes = 0.0, 0

    def _is_better(self, more: int) -> bool:
        """Return whether products are the same and much faster with `more` threads; if they differ, never try again."""
        few = many = 0.0
        outside = self._blas.get()
        try:
            self._blas.set(more)
            if self._blas.get() != more:  # this build allows fewer
                self._most = self.threads
                return False
            self._rehearsal(_PAIRS)()  # the first product starts the threads
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
