"""Speeds by a counter of energy of our own; no time is asserted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from charlstm.measure.inside import speed
from charlstm.measure.inside.speed import Pace
from charlstm.storage.loaded import load
from tests.measure.inside.test_energy import counter


def test_paces_add_up() -> None:
    assert Pace(1.0, 2.0) + Pace(0.5, 0.25) == Pace(1.5, 2.25)
    assert Pace(1.0, 2.0) + Pace(0.5, None) == Pace(1.5, None)


def test_joules_per_character(tmp_path: Path) -> None:
    """Each call adds 3 microjoules to the counter and handles 2 characters; the first one does not count."""
    calls = 0

    def act() -> int:
        nonlocal calls
        calls += 1
        counter(tmp_path, "intel-rapl:0", "package-0", 3 * calls)
        return 2

    found = speed.pace(act, 0.001, tmp_path)
    assert found.joules == pytest.approx(1.5e-6)
    assert found.seconds > 0


def test_bandwidth_and_rate_are_positive() -> None:
    with speed.one_thread():
        assert speed.bandwidth(1000, 0.001) > 0
        assert speed.rate(0.001) > 0


@pytest.mark.parametrize("begin", [speed.reading, speed.writing])
def test_reading_and_writing_go_on(trained: Path, begin: Callable[..., Callable[[], int]]) -> None:
    act = begin(load(str(trained)))
    assert [act(), act()] == [4, 4]
