"""The processor's energy counters, as Linux shows them, in a folder of our own."""

import os
from pathlib import Path

import pytest

from charlstm.measure.inside import energy


def counter(root: Path, folder: str, name: str, microjoules: int, limit: int = 262_143_328_850) -> Path:
    (root / folder).mkdir(exist_ok=True)
    for file, value in (("name", name), ("energy_uj", microjoules), ("max_energy_range_uj", limit)):
        (root / folder / file).write_text(f"{value}\n")
    return root / folder / "energy_uj"


def test_packages_and_memory_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    domains = [("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1"), ("intel-rapl:0:0", "core")]
    domains += [("intel-rapl:0:1", "dram"), ("intel-rapl:2", "psys"), ("intel-rapl-mmio:0", "package-0")]
    for folder, name in domains:
        counter(tmp_path, folder, name, 5_000_000)
    before = energy.read(tmp_path)
    assert len(before) == 3
    for number, (folder, name) in enumerate(domains):
        counter(tmp_path, folder, name, 5_000_000 + 10**number)
    assert energy.spent(before, energy.read(tmp_path)) == pytest.approx((1 + 10 + 1000) / 1e6)


def test_a_counter_begins_again_at_its_limit(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", "package-0", 999_000, 1_000_000)
    before = energy.read(tmp_path)
    counter(tmp_path, "intel-rapl:0", "package-0", 4_000, 1_000_000)
    assert energy.spent(before, energy.read(tmp_path)) == pytest.approx(0.005)


def test_no_counters(tmp_path: Path) -> None:
    assert energy.read(tmp_path / "absent") == ()
    assert energy.spent((), ()) is None


def test_counters_that_stand_still(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", "package-0", 7)
    assert energy.spent(energy.read(tmp_path), energy.read(tmp_path)) is None


@pytest.mark.parametrize("spoil", ["absent", "forbidden", "no number"])
def test_one_counter_that_cannot_be_read_is_too_many(tmp_path: Path, spoil: str) -> None:
    counter(tmp_path, "intel-rapl:0", "package-0", 7)
    file = counter(tmp_path, "intel-rapl:1", "package-1", 7)
    whole = energy.read(tmp_path)
    if spoil == "no number":
        file.write_text("?")
    else:
        file.unlink()
        if spoil == "forbidden":
            file.mkdir()  # reading it fails for root, too, whom permissions do not stop
    assert energy.read(tmp_path) == ()
    assert energy.spent(whole, energy.read(tmp_path)) is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not stop this user")
def test_a_counter_for_root_alone(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", "package-0", 7).chmod(0)
    assert energy.read(tmp_path) == ()


def test_the_estimate_by_hand() -> None:
    """1,000 products with their sums at 4.6 pJ, and 8,000 bytes at 100 pJ or 1,950 pJ for eight."""
    assert energy.estimate(1000, 8000, cached=True) == pytest.approx(4.6e-9 + 100e-9)
    assert energy.estimate(1000, 8000, cached=False) == pytest.approx(4.6e-9 + 1950e-9)


def test_the_largest_cache(tmp_path: Path) -> None:
    assert energy.largest_cache(tmp_path) is None
    for number, size in enumerate(("32K", "1024K", "36608K", "?")):
        (tmp_path / f"index{number}").mkdir()
        (tmp_path / f"index{number}" / "size").write_text(f"{size}\n")
    assert energy.largest_cache(tmp_path) == 36608 << 10
