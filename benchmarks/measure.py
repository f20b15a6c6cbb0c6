"""What the benchmarks share: ways that are run in turns, sizes and precisions to run them in, a text, a picture."""

import importlib.util
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from charlstm.config import ModelConfig


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


def shape(value: str) -> ModelConfig:
    """Return the network that a shape like 2x512 names: layers and units."""
    layers, _, units = value.partition("x")
    if not (layers.isdecimal() and units.isdecimal()):
        raise click.BadParameter(f"{value!r} is not a shape: write it like 2x512")
    return ModelConfig(num_layers=int(layers), hidden_size=int(units))


SHAPES = click.option(
    "--shape",
    "models",
    type=shape,
    multiple=True,
    metavar="LAYERSxUNITS",
    help="Measure this network; may be given several times.  [default: those of README.md]",
)


def precisions() -> list[str]:
    """Return the precisions that the processor computes in; what is not measured is said."""
    from charlstm.network.device import has_bf16

    if has_bf16("cpu"):
        return ["bf16", "fp32"]
    print("this processor has no bf16: fp32 only")
    return ["fp32"]


def write_text(folder: Path) -> Path:
    """Write a text that every Python carries, the language reference, into a folder; return the file."""
    from pydoc_data.topics import topics

    path = folder / "docs.txt"
    path.write_text("\n".join(topics.values()), encoding="utf-8")
    return path


def _drawable(ctx: click.Context, _: click.Parameter, path: Path | None) -> Path | None:
    if path and importlib.util.find_spec("matplotlib") is None:
        raise click.UsageError("--plot needs an extra package: pip install -e '.[plot]'", ctx)
    return path


PLOT = click.option(
    "--plot", "picture", type=click.Path(path_type=Path), callback=_drawable, help="Write a PNG (extra: plot)."
)
