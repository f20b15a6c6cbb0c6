"""What a character costs, as a person sees it: a table of the matrices, one of the sums; and its row of JSON."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from charlstm.show.terminal import Output

if TYPE_CHECKING:
    from charlstm.measure.inside.cost import Activity, Cost

_WIDTH = 60  # columns that everything fits in
_COLUMN = 12  # ... and a figure
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_VERBS = {"read": "reading", "write": "writing", "train": "training"}


def cost(found: "Cost") -> None:
    """Print what a character costs, in 60 columns."""
    output = Output()
    lines = [*_matrices(found), "", *_sums(found), "", *_notes(found)]
    output.write("".join(line.rstrip() + "\n" for line in lines), drawn=True)
    output.flush()


def cost_row(found: "Cost") -> dict[str, Any]:
    """Return what a character costs as JSON has it: multiplications, bytes, seconds and joules per character."""

    def of_each(value: "Callable[[Activity], float | None]") -> dict[str, float | None]:
        return {each.name: value(each) for each in found.activities}

    return {
        "matrices": [
            {
                "name": each.name,
                "layer": each.layer,
                "tensor": each.tensor,
                "symbols": each.symbols,
                "shape": list(each.shape),
                "read": each.read,
                "write": each.write,
                "train": each.train,
                "bytes": each.bytes,
                "fetched": {"read": each.read_bytes, "write": each.write_bytes, "train": each.train_bytes},
            }
            for each in found.matrices
        ],
        "operations": of_each(lambda each: each.operations),
        "bytes": of_each(lambda each: each.bytes),
        "seconds": of_each(lambda each: each.seconds),
        "least_seconds": of_each(lambda each: each.least_seconds),
        "joules": of_each(lambda each: each.joules),
        "estimated": any(each.estimated for each in found.activities),
        "bandwidth": found.bandwidth,
        "rate": found.rate,
    }


def _matrices(found: "Cost") -> list[str]:
    """Return the lines of the matrices, with their shares of the multiplications of writing and training."""
    write, train = (max(1.0, sum(getattr(each, name) for each in found.matrices)) for name in ("write", "train"))
    rows = [
        (
            each.name if each.layer is None else f"{each.layer} {each.name}",
            each.symbols,
            " x ".join(map(str, each.shape)),
            _share(each.write / write) + _share(each.train / train),
        )
        for each in found.matrices
        if len(each.shape) > 1 or each.write
    ]
    added = sum(each.shape[0] for each in found.matrices if len(each.shape) == 1 and not each.write)
    rows.append(("biases and scales", "", str(added), _share(0) + _share(0)))
    rows.insert(0, ("", "", "", "  write  train"))
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    if sum(widths) - 2 > _WIDTH:  # the letters say it, too
        rows = [(name, symbols, "", shares) for name, symbols, _, shares in rows]
        widths[2] = 0
    return [
        "The matrices, and their shares of all multiplications:",
        ", ".join(f"{letter} = {value:,}" for letter, value in found.letters),
        "",
        *("".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)) for row in rows),
    ]


def _share(share: float) -> str:
    return f"{share:>7.1%}" if share else f"{'-':>7}"


def _sums(found: "Cost") -> list[str]:
    """Return a table with a column per activity."""

    def row(name: str, value: "Callable[[Activity], str]") -> str:
        return f"{name:<22}" + "".join(f"{value(each):>{_COLUMN}}" for each in found.activities)

    return [
        row("Per character", lambda each: _VERBS[each.name]),
        row("multiplications", lambda each: amount(each.operations, "")),
        row("weights fetched", lambda each: amount(each.bytes, "B")),
        row("time", lambda each: "-" if each.seconds is None else amount(each.seconds, "s")),
        row("  to fetch, at best", lambda each: amount(each.bytes / found.bandwidth, "s")),
        row("  to multiply, at best", lambda each: amount(each.operations / found.rate, "s")),
        row("energy", lambda each: ("~" if each.estimated else "") + amount(each.joules, "J")),
    ]


def _notes(found: "Cost") -> list[str]:
    """Return what the figures rest on."""
    lines = [
        f"In one thread, which at best fetches {amount(found.bandwidth, 'B')} and does",
        f"{amount(found.rate, '')} multiplications per second here. In training,",
        f"{found.streams:,} streams share what is fetched, in windows of {found.window:,}.",
    ]
    if any(each.seconds is None for each in found.activities):
        lines.append("Training was not timed: torch is not installed.")
    if any(not each.estimated for each in found.activities):
        lines += ["Energy: the processor's own counter, with all else that", "it did meanwhile."]
    if any(each.estimated for each in found.activities):
        lines += [
            "Energy (~): estimated from published figures for arithmetic",
            "and fetching alone (Horowitz 2014); a machine takes several",
            "times as much. docs/cost.md explains all figures.",
        ]
    return lines


def amount(value: float, unit: str) -> str:
    """Return a quantity with three digits and a prefix: 6.57 MB."""
    least = _PREFIXES[-1]
    factor, prefix = next((each for each in _PREFIXES if abs(value) >= each[0] * 0.9995), least)
    scaled = value / factor
    digits = 0 if abs(scaled) >= 99.95 else 1 if abs(scaled) >= 9.995 else 2
    return f"{scaled:.{digits}f} {prefix}{unit}".rstrip()
