"""How many threads compute, and how they wait for each other; free of torch.

On a machine that does nothing else, a thread for each core is best, and threads that spin while they wait for each
other lose no time. Beside one busy program (a browser is one), spinning threads keep the very core that the thread they
wait for would need: training beside two such programs took 20 times as long (benchmarks/README.md).
"""

import math
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import TypeVar

from charlstm.config import MOST_THREADS
from charlstm.errors import UsageError

_COUNT, _FEWER = "OMP_NUM_THREADS", ("OMP_DYNAMIC", "OMP_MAX_ACTIVE_LEVELS", "OMP_THREAD_LIMIT")
_SPINS = "1000"  # as fast as endless spinning on idle cores, and up to 20 times as fast beside busy programs
_ROUNDS = 3
_TURNS = 2
_REST = 16  # items between two trials
_SLOWER = 1.5  # times the least time of an item from which another number is tried
_WORTH = 0.92  # share of the time that another number of threads may take to be taken instead

Item = TypeVar("Item")


def wait_politely() -> None:
    """Have OpenMP's threads spin only briefly before they sleep, unless the user's environment says how they wait.

    libgomp reads these variables once, when torch loads it: this must come before.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def settle(variables: MutableMapping[str, str]) -> None:
    """Take variables out by which OpenMP starts fewer threads than torch asks for; to be called before torch is loaded.

    torch's kernels count on the threads that they ask for: with fewer they leave part of a result uncomputed, and say
    nothing; an LSTM's outputs are others then (torch 2.9 to 2.13). A limit becomes the number of threads.
    """
    found = {name: variables.pop(name, "").strip() for name in _FEWER}
    limit = 1 if found["OMP_MAX_ACTIVE_LEVELS"] == "0" else _whole(found["OMP_THREAD_LIMIT"])
    if limit:
        asked = _whole(variables.get(_COUNT, "").partition(",")[0].strip()) or os.cpu_count() or 1
        variables[_COUNT] = str(min(limit, asked))


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def require(number: int | None) -> None:
    """Raise `UsageError` if this process cannot start as many threads as it is asked to.

    OpenMP would end it without a word of ours. Up to the number of cores nothing is tried: so many start everywhere.
    """
    if number is None or not (os.cpu_count() or 1) < number <= MOST_THREADS:
        return
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(number):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            started.append(thread)
    except (RuntimeError, MemoryError):  # no thread, or no memory for one
        raise UsageError(
            f"--threads {number}: this process cannot start more than {len(started)} "
            f"(see ulimit -u, ulimit -v, or the container's limit); this machine has {os.cpu_count()} cores"
        ) from None
    finally:
        done.set()
        for thread in started:
            thread.join()


def chosen_by_user() -> bool:
    """Return whether the environment names a number of threads (torchrun does so too)."""
    return _COUNT in os.environ


def fastest(
    work: Callable[[], object], use: Callable[[int], None], now: int, most: int, seconds: float = math.inf
) -> int:
    """Return the number of threads in which `work` is done fastest, tried by halving and doubling the present one.

    Two numbers take turns, so that what the machine does meanwhile meets both of them, and the present one is kept
    unless another is clearly faster.

    Args:
        work: does the same work each time.
        use: sets the number of threads.
        now: the number of threads used now; it is set again at the end.
        most: the largest number of threads to try.
        seconds: that all of it should take; of longer work fewer numbers are tried, twice each.
    """
    best = now
    until = time.perf_counter() + seconds
    try:
        for ladder in (_halves(now), _doubles(now, most)):
            for number in ladder:
                taken = _alternate(work, use, (best, number), until)
                if taken[number] > _WORTH * taken[best]:
                    break
                best = number
                if time.perf_counter() > until:
                    return best
            if best != now:
                break
    finally:
        use(now)
    return best


def adapted(items: Iterable[Item], use: Callable[[int], None], now: int, most: int | None) -> Iterator[Item]:
    """Pass on what `items` makes, and have it made in as many threads as are fastest.

    The items are taken as equal work. Two numbers of threads take turns for a few of them, at the beginning and again
    when they come much more slowly than before, or while fewer threads than possible compute.

    Args:
        items: makes each item as it is asked for.
        use: sets the number of threads.
        now: the number of threads used now.
        most: the largest number to try; None leaves the number as it is.
    """
    if most is None or most == 1:
        yield from items
        return
    tuner, making = _Tuner(now, most), iter(items)
    while True:
        use(tuner.number)
        began = time.perf_counter()
        try:
            item = next(making)
        except StopIteration:
            return
        tuner.took(time.perf_counter() - began)
        yield item


class _Tuner:
    """Says in how many threads the next piece of work is done, and is told how long it took."""

    def __init__(self, now: int, most: int) -> None:
        self._best, self._most = now, most
        self._least = math.inf  # seconds of a piece in the best number
        self._rest = 1  # pieces before the next trial; the first one comes late in whatever number
        self._fewer = True  # whether the next trial is of fewer threads
        self._turns: list[int] = []  # what is still to be tried
        self._taken: dict[int, float] = {}

    @property
    def number(self) -> int:
        return self._turns[0] if self._turns else self._best

    def took(self, seconds: float) -> None:
        if self._turns:
            self._taken[self._turns.pop(0)] += seconds
            if not self._turns:
                self._conclude()
            return
        self._rest -= 1
        if self._rest > 0:
            self._least = min(self._least, seconds)
        elif self._least == math.inf or seconds > _SLOWER * self._least or self._best < self._most:
            other = self._neighbour()
            self._turns, self._taken = [self._best, other] * _TURNS, {self._best: 0.0, other: 0.0}

    def _neighbour(self) -> int:
        fewer, more = max(1, self._best // 2), min(2 * self._best, self._most)
        if (fewer if self._fewer else more) == self._best:
            self._fewer = not self._fewer
        return fewer if self._fewer else more

    def _conclude(self) -> None:
        """End a trial: a number that was clearly better is followed further in its direction."""
        (other,) = self._taken.keys() - {self._best}
        if self._taken[other] < _WORTH * self._taken[self._best]:
            self._best, self._rest = other, 1
        else:
            self._fewer, self._rest = not self._fewer, _REST
        self._least = self._taken[self._best] / _TURNS


def _halves(number: int) -> Iterator[int]:
    while (number := number // 2) >= 1:
        yield number


def _doubles(number: int, most: int) -> Iterator[int]:
    while number < most:
        number = min(2 * number, most)
        yield number


def _alternate(
    work: Callable[[], object], use: Callable[[int], None], numbers: tuple[int, int], until: float
) -> dict[int, float]:
    """Return the median seconds of the work in each of two numbers of threads, which take turns."""
    taken: dict[int, list[float]] = {number: [] for number in numbers}
    for turn in range(_ROUNDS + 1):
        if turn > 1 and time.perf_counter() > until:
            break
        for number in numbers:
            use(number)
            began = time.perf_counter()
            work()
            if turn:  # the first one wakes threads and fills caches
                taken[number].append(time.perf_counter() - began)
    return {number: statistics.median(seconds) for number, seconds in taken.items()}
