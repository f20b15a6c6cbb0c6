"""Energy: the processor's own counter where it can be read (RAPL), and an estimate from published figures elsewhere."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/class/powercap")
"""Where Linux shows the counters of Intel and AMD processors."""
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
"""Where Linux describes the caches of the first processor."""

MULTIPLY, ADD = 3.7e-12, 0.9e-12
"""Joules of an operation on two 32-bit floats, in a 45 nm process at 0.9 V (M. Horowitz, "Computing's energy problem
(and what we can do about it)", ISSCC 2014, figure 1.1.9)."""
FROM_CACHE, FROM_MEMORY = 100e-12 / 8, 1.95e-9 / 8
"""Joules per byte, from the same figure: 64 bits from a cache of 1 MB take 100 pJ, and from DRAM 1.3 to 2.6 nJ, the
middle of which is taken here."""


@dataclass(frozen=True)
class Reading:
    """What a counter shows."""

    domain: str
    """What it counts: package-0, dram, ..."""
    microjoules: int
    """Since some moment in the past."""
    limit: int
    """At this many microjoules the counter begins again at 0."""


def read(root: Path = ROOT) -> tuple[Reading, ...]:
    """Read the counters of every processor package, and of the memory where it has its own.

    A package's counter includes all of its cores, whatever they are doing. Most systems let only root read it, because
    it tells what other programs compute (CVE-2020-8694).

    Returns:
        Nothing if there are no counters, or if one of them cannot be read: a part of the sum would mislead.
    """
    found = []
    for folder in sorted(root.glob("intel-rapl:*")):  # Linux has the same name for AMD's
        try:
            domain = (folder / "name").read_text().strip()
            if not domain.startswith("package") and domain != "dram":
                continue  # a part of a package, or of the whole machine
            energy, limit = (int((folder / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
        except (OSError, ValueError):
            return ()
        found.append(Reading(f"{folder.name} {domain}", energy, limit))
    return tuple(found)


def spent(before: tuple[Reading, ...], after: tuple[Reading, ...]) -> float | None:
    """Return the joules between two readings, which may not be more than one turn of a counter apart.

    Returns:
        None if there are no counters, or if they stand still, as those of many virtual machines do.
    """
    if [each.domain for each in before] != [each.domain for each in after]:
        return None
    microjoules = 0
    for one, other in zip(before, after, strict=True):
        turned = other.limit if other.microjoules < one.microjoules else 0
        microjoules += other.microjoules - one.microjoules + turned
    return microjoules / 1e6 or None


def estimate(operations: float, bytes: float, *, cached: bool) -> float:
    """Return the joules of multiplications, each with an addition, and of fetching bytes.

    It is the energy of the arithmetic and of the fetching alone, in chips of 2014. The instructions themselves, idle
    transistors and the rest of the machine take several times as much.

    Args:
        operations: multiplications.
        bytes: fetched.
        cached: whether they come from a cache.
    """
    return operations * (MULTIPLY + ADD) + bytes * (FROM_CACHE if cached else FROM_MEMORY)


def largest_cache(root: Path = CACHES) -> int | None:
    """Return the bytes of the processor's largest cache; None if the system does not say."""
    sizes = []
    for file in root.glob("index*/size"):
        try:
            text = file.read_text().strip()
            sizes.append(int(text.rstrip("KMG")) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1))
        except (OSError, ValueError):
            continue
    return max(sizes, default=None)
