"""How many threads compute, and how they wait for each other; does not need torch.

On an otherwise idle machine, one thread per core is best, and threads that spin while waiting for each other lose no
time. Next to one busy program (a browser is enough), spinning threads occupy the very core needed by the thread they
wait for: training next to two such programs took 20 times as long (benchmarks/README.md).
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
_SPINS = "1000"  # as fast as endless spinning on idle cores, and up to 20 times as fast next to busy programs
_ROUNDS = 3
_TURNS = 2
_REST = 16  # items between two trials
_SLOWER = 1.5  # another number is tried if an item takes more than this many times the least time
_WORTH = 0.92  # another number is used if it takes at most this share of the time

Item = TypeVar("Item")


def wait_politely() -> None:
    """Make OpenMP's threads spin only briefly before they sleep, unless the user's environment says how they wait.

    libgomp reads these variables once, when torch loads it, so call this first.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def settle(variables: MutableMapping[str, str]) -> None:
    """Remove the variables that make OpenMP start fewer threads than torch asks for; call this before loading torch.

    torch's kernels rely on getting the threads that they ask for: with fewer, they silently leave part of a result
    uncomputed, and an LSTM's outputs are wrong (torch 2.9 to 2.13). A limit becomes the number of threads instead.
    """
    found = {name: variables.pop(name, "").strip() for name in _FEWER}
    limit = 1 if found["OMP_MAX_ACTIVE_LEVELS"] == "0" else _whole(found["OMP_THREAD_LIMIT"])
    if limit:
        asked = _whole(variables.get(_COUNT, "").partition(",")[0].strip()) or os.cpu_count() or 1
        variables[_COUNT] = str(min(limit, asked))


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def require(number: int | None) -> None:
    """Raise `UsageError` if this process cannot start the requested number of threads.

    OpenMP would end the process before we could say why. Numbers up to that of the cores are not tried: they always
    start.
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
    """Return whether the environment sets the number of threads (torchrun sets it too)."""
    return _COUNT in os.environ


def fastest(
    work: Callable[[], object], use: Callable[[int], None], now: int, most: int, seconds: float = math.inf
) -> int:
    """Return the number of threads with which `work` is fastest, found by halving and doubling the current number.

    Two numbers are measured in turns, so that other load on the machine affects both, and the current number is kept
    unless another is clearly faster.

    Args:
        work: does the same work on every call.
        use: sets the number of threads.
        now: the number of threads used now; it is restored at the end.
        most: the largest number of threads to try.
        seconds: how long the search should take in total; if the work takes longer, fewer numbers are tried, twice
            each.
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
    """Yield the items, computed with the fastest number of threads.

    All items are assumed to be equal work. Two numbers of threads take turns for a few items: at the beginning, again
    if items become much slower than before, and as long as fewer threads than possible are used.

    Args:
        items: computes each item when it is requested.
        use: sets the number of threads.
        now: the number of threads used now.
        most: the largest number to try; None leaves the number unchanged.
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
    """Chooses the number of threads for each item, given how long the items before it took."""

    def __init__(self, now: int, most: int) -> None:
        self._best, self._most = now, most
        self._least = math.inf  # seconds of an item with the best number
        self._rest = 1  # items before the next trial; the first item is slow with any number
        self._fewer = True  # whether the next trial uses fewer threads
        self._turns: list[int] = []  # the numbers still to be tried
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
        """End a trial; if the other number was clearly better, the search goes on in its direction."""
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
    """Return the median seconds that the work takes with each of two numbers of threads, which take turns."""
    taken: dict[int, list[float]] = {number: [] for number in numbers}
    for turn in range(_ROUNDS + 1):
        if turn > 1 and time.perf_counter() > until:
            break
        for number in numbers:
            use(number)
            began = time.perf_counter()
            work()
            if turn:  # the first turn only wakes threads and fills caches
                taken[number].append(time.perf_counter() - began)
    return {number: statistics.median(seconds) for number, seconds in taken.items()}
