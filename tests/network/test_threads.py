import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from charlstm.network import threads
from charlstm.network.threads import adapted, fastest, wait_politely


class Work:
    """Takes as long in each number of threads as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, costs: dict[int, float]) -> None:
        self.costs, self.now, self.used, self.tried = costs, 0.0, 0, set[int]()
        monkeypatch.setattr("charlstm.network.threads.time.perf_counter", lambda: self.now)

    def use(self, number: int) -> None:
        self.used = number

    def do(self) -> None:
        self.tried.add(self.used)
        self.now += self.costs[self.used]


@pytest.mark.parametrize(
    ("costs", "now", "expected"),
    [
        ({2: 1.0, 1: 1.8}, 2, 2),  # an idle machine
        ({2: 3.0, 1: 1.0}, 2, 1),  # a busy one
        ({2: 1.0, 1: 0.97}, 2, 2),  # not worth a change
        ({2: 1.0, 1: 1.8}, 1, 2),  # idle again
        ({8: 4.0, 4: 2.0, 2: 1.0, 1: 1.5}, 8, 2),
        ({8: 1.0, 4: 2.0, 2: 3.0, 1: 4.0}, 2, 8),
        ({3: 1.0, 1: 2.0}, 3, 3),
        ({1: 1.0}, 1, 1),
    ],
)
def test_the_fastest_number_is_found(
    monkeypatch: pytest.MonkeyPatch, costs: dict[int, float], now: int, expected: int
) -> None:
    work = Work(monkeypatch, costs)
    assert fastest(work.do, work.use, now, max(costs)) == expected
    assert work.used == now


def test_slow_work_is_not_repeated_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch, {16: 10.0, 8: 9.0, 4: 8.0, 2: 7.0, 1: 6.0})
    assert fastest(work.do, work.use, 16, 16, seconds=1.0) == 8
    assert work.now < 80


def read(work: Work, count: int, most: int | None, busy: set[int]) -> list[int]:
    """Return the numbers of threads that items were made in; one thread is as fast as ever while others are busy."""
    used = []

    def items() -> Iterator[None]:
        for number in range(count):
            used.append(work.used)
            work.now += work.costs[work.used] * (5 if number in busy and work.used > 1 else 1)
            yield

    work.used = max(work.costs)
    list(adapted(items(), work.use, work.used, most))
    return used


def test_items_are_made_in_as_many_threads_as_are_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(monkeypatch, {2: 1.0, 1: 1.7})
    idle = read(work, 300, 2, set())
    assert idle.count(1) == 2  # one trial
    busy = read(work, 300, 2, set(range(300)))
    assert busy.count(2) < 40  # now and then, whether the others are idle again
    changing = read(work, 300, 2, set(range(100, 200)))
    assert changing[:100].count(1) <= 2
    assert changing[110:200].count(1) > 75
    assert changing[230:].count(2) > 60
    assert read(work, 50, None, set(range(50))) == [2] * 50
    assert read(Work(monkeypatch, {1: 1.0}), 50, 1, set()) == [1] * 50


def test_of_many_threads_the_best_number_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    used = read(Work(monkeypatch, {16: 4.0, 8: 2.0, 4: 1.0, 2: 1.5, 1: 3.0}), 200, 16, set())
    assert used[50:].count(4) > 120


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, "1000 None"), ({"GOMP_SPINCOUNT": "7"}, "7 None"), ({"OMP_WAIT_POLICY": "active"}, "None active")],
)
def test_the_users_own_way_of_waiting_stays(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, str], after: str
) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "x")  # restored after the test
        monkeypatch.delenv(name)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    wait_politely()
    from os import environ

    assert f"{environ.get('GOMP_SPINCOUNT')} {environ.get('OMP_WAIT_POLICY')}" == after


def test_the_way_of_waiting_is_set_before_torch_is_loaded() -> None:
    code = (
        "import os, sys\n"
        "os.environ.pop('GOMP_SPINCOUNT', None), os.environ.pop('OMP_WAIT_POLICY', None)\n"
        "seen = []\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch': seen.append(os.environ.get('GOMP_SPINCOUNT')); sys.exit(print(seen[0]))\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from charlstm.__main__ import main\n"
        "sys.argv = ['charlstm', 'probe', '--lag=1', '--time=1s']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["1000"], done.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {}),
        ({"OMP_NUM_THREADS": "3", "OMP_SCHEDULE": "dynamic"}, {"OMP_NUM_THREADS": "3", "OMP_SCHEDULE": "dynamic"}),
        ({"OMP_DYNAMIC": "true"}, {}),
        ({"OMP_THREAD_LIMIT": "1"}, {"OMP_NUM_THREADS": "1"}),
        ({"OMP_THREAD_LIMIT": "2", "OMP_NUM_THREADS": "64,2"}, {"OMP_NUM_THREADS": "2"}),
        ({"OMP_THREAD_LIMIT": "64", "OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2"}),
        ({"OMP_MAX_ACTIVE_LEVELS": "0", "OMP_NUM_THREADS": "4"}, {"OMP_NUM_THREADS": "1"}),
        ({"OMP_MAX_ACTIVE_LEVELS": "1"}, {}),
        ({"OMP_THREAD_LIMIT": "many"}, {}),
        ({"OMP_THREAD_LIMIT": "9" * 5000}, {}),
    ],
)
def test_variables_that_make_torch_compute_wrongly(before: dict[str, str], after: dict[str, str]) -> None:
    threads.settle(before)
    assert before == after


def test_as_many_threads_as_can_be_started() -> None:
    for number in (None, 1, (os.cpu_count() or 1) + 1, 10**9):  # the last is refused as a setting
        threads.require(number)
