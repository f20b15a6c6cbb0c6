"""Alternates two or more ways of doing a thing in one process and prints medians and ratios."""

import statistics
from collections.abc import Callable, Mapping


def alternate(ways: Mapping[str, Callable[[], float]], rounds: int, unit: str) -> dict[str, float]:
    """Run every way `rounds` times, one after the other; print the median of each, and the ratios to the last.

    A way returns the figure it measured, in `unit`.
    """
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            figures[name].append(way())
    medians = {name: statistics.median(values) for name, values in figures.items()}
    reference = list(ways)[-1]
    # The ratio of each round: what the machine does to one way it does to its neighbour too.
    for name, values in figures.items():
        ratio = statistics.median(a / b for a, b in zip(values, figures[reference], strict=True))
        print(
            f"{name:<28} {medians[name]:>12,.3f} {unit}  ({min(values):,.3f} to {max(values):,.3f})  "
            f"{ratio:6.3f} of {reference}"
        )
    return medians
