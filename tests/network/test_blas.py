"""The number of threads: by a clock and a library that are made up, and by numpy's own."""

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from charlstm.network import blas
from charlstm.network.blas import Blas, Pace

VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_DEFAULT_NUM_THREADS")


class Machine:
    """A library, a clock and a step's products: how long they take depends on the threads."""

    def __init__(self, *, outside: int = 8, most: int = 64) -> None:
        self.number, self.most, self.now = outside, most, 0.0
        self.seconds: Callable[[int], float] = lambda threads: 1e-4
        self.differs: set[int] = set()
        self.computed_in: list[int] = []

    def get(self) -> int:
        return self.number

    def set(self, threads: int) -> None:
        self.number = min(threads, self.most)

    def multiply(self) -> list[np.ndarray]:
        self.now += self.seconds(self.number)
        return [np.array([1.0 + (self.number in self.differs)])]

    def pace(self, most: int) -> Pace:
        return Pace(lambda _: self.multiply, self, most, clock=lambda: self.now)

    def steps(self, pace: Pace, seconds: float) -> float:
        """Step for so long and return how many steps a second there were."""
        began, count = self.now, 0
        while self.now < began + seconds:
            with pace:
                self.computed_in.append(self.number)
                self.multiply()
            assert self.number == 8  # what others have chosen
            count += 1
        return count / (self.now - began)


def idle(threads: int) -> float:
    return 1e-4 / threads


def busy(threads: int) -> float:
    return 1e-4 if threads == 1 else 7e-3


def test_idle_cores_are_used_and_one_thread_is_how_it_begins() -> None:
    machine = Machine()
    machine.seconds = idle
    pace = machine.pace(most=6)
    machine.steps(pace, 3)
    assert set(machine.computed_in[:1000]) == {1}
    assert pace.threads == 4  # 8 would be more than there are
    assert machine.steps(pace, 1) == pytest.approx(40_000, rel=0.01)


def test_busy_cores_are_left_alone_and_trying_costs_little() -> None:
    machine = Machine()
    machine.seconds = busy
    pace = machine.pace(most=64)
    assert machine.steps(pace, 20) > 0.98 * 10_000
    assert set(machine.computed_in) == {1}


def test_cores_that_become_busy_are_given_back_and_looked_at_again() -> None:
    machine = Machine()
    machine.seconds = idle
    pace = machine.pace(most=2)
    machine.steps(pace, 1)
    assert pace.threads == 2
    machine.seconds = busy
    before = len(machine.computed_in)
    machine.steps(pace, 1)
    assert pace.threads == 1
    assert machine.computed_in[before:].count(2) <= 4  # of 7 ms each
    machine.seconds = idle
    machine.steps(pace, 5)
    assert pace.threads == 2


def test_a_hiccup_is_no_reason() -> None:
    machine = Machine()
    machine.seconds = idle
    pace = machine.pace(most=2)
    machine.steps(pace, 1)
    for _ in range(100):
        machine.seconds = lambda _: 5e-3
        machine.steps(pace, 1e-3)
        machine.seconds = idle
        machine.steps(pace, 0.05)
        assert pace.threads == 2


def test_a_small_gain_is_left_to_others() -> None:
    machine = Machine()
    machine.seconds = lambda threads: 1e-4 if threads == 1 else 9.5e-5
    pace = machine.pace(most=64)
    machine.steps(pace, 10)
    assert set(machine.computed_in) == {1}


def test_other_bits_are_never_written() -> None:
    machine = Machine()
    machine.seconds = idle
    machine.differs = {4}
    pace = machine.pace(most=64)
    machine.steps(pace, 8)
    assert set(machine.computed_in) == {1, 2}


def test_a_library_of_one_thread_is_asked_once() -> None:
    machine = Machine(outside=8, most=8)
    pace = machine.pace(most=64)
    machine.most = 1
    machine.number = 1
    for _ in range(3_000):
        with pace:
            machine.multiply()
    assert (pace.threads, machine.number) == (1, 1)


def test_an_error_in_a_step_sets_the_number_back() -> None:
    machine = Machine()
    pace = machine.pace(most=2)
    with pytest.raises(ZeroDivisionError), pace:
        assert machine.number == 1
        raise ZeroDivisionError
    assert machine.number == 8
    with pytest.raises(ZeroDivisionError), pace.held:
        assert machine.number == 1
        raise ZeroDivisionError
    assert machine.number == 8


@pytest.fixture
def openblas(monkeypatch: pytest.MonkeyPatch) -> Blas:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    found = blas.library()
    if found is None:
        pytest.skip("this numpy has no OpenBLAS")
    before = found.get()
    found.set(2)
    several = found.get() == 2
    found.set(before)
    if not several:
        pytest.skip("this OpenBLAS has one thread")
    return found


@pytest.mark.parametrize("name", VARIABLES)
def test_a_number_that_the_user_has_chosen_stays(name: str, openblas: Blas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "3")
    assert blas.library() is None


def shaped(size: int, source: np.random.Generator) -> np.ndarray:
    return (source.standard_normal((4 * size, size)) / size**0.5).astype(np.float32).T


@pytest.mark.parametrize("size", [512, 500, 513])
def test_numpys_own_products_have_the_bits_of_one_thread(size: int, openblas: Blas) -> None:
    weight = shaped(size, np.random.default_rng(0))
    now = 0.0

    def clock() -> float:  # as if more threads were always faster
        nonlocal now
        now += 1 / openblas.get() if openblas.get() in {1, 2} else 1.0
        return now

    def rehearsal(seed: int) -> Callable[[], list[np.ndarray]]:
        row = np.random.default_rng(seed).standard_normal(size, np.float32)
        return lambda: [row @ weight]

    pace = Pace(rehearsal, openblas, most=2, clock=clock)
    source = np.random.default_rng(1)
    rows = source.standard_normal((40, size), np.float32)
    before = openblas.get()
    try:
        openblas.set(2)
        doubled = [row @ weight for row in rows]
        openblas.set(1)
        expected = [row @ weight for row in rows]
    finally:
        openblas.set(before)
    written = []
    for row in rows:
        with pace:
            written.append(row @ weight)
    assert [row.tobytes() for row in written] == [row.tobytes() for row in expected]
    same = all((one == two).all() for one, two in zip(expected, doubled, strict=True))
    assert pace.threads == (2 if same else 1)
    assert openblas.get() == before


def loaded(variables: dict[str, str]) -> str:
    """Return the library's threads and the variable after numpy was loaded in a process of its own."""
    code = """
import os
from charlstm.network import blas
blas.load_numpy()
import numpy
found = blas.library()
print(found and found.get(), os.environ.get("OPENBLAS_NUM_THREADS"), "numpy" in __import__("sys").modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables)
    return done.stdout.strip()


def test_numpy_is_loaded_with_one_thread_unless_the_user_has_chosen(openblas: Blas) -> None:
    environment = dict(os.environ)
    assert loaded(environment) == "1 None True"
    assert loaded(environment | {"OPENBLAS_NUM_THREADS": "2"}) == "None 2 True"
