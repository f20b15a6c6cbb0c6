"""How the gates of a whole layer work, in words and figures."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from charlstm.show.canvas import Canvas

if TYPE_CHECKING:
    from charlstm.measure.inside.overview import Overview, TimeScale

_BAR = 24  # columns
_QUIET = "dim"
_NO_GATES = "No gates: the state is computed anew at each character."
_IN_BRIEF = 3  # units with a long memory


def in_brief(canvas: Canvas, found: "Overview", layers: int, units: int, characters: int) -> None:
    """Draw the overview of a layer in a few lines.

    Args:
        canvas: where to draw.
        found: the overview.
        layers: how many the model has.
        units: of a layer.
        characters: that were read for it.
    """
    canvas.said(f"Layer {found.layer} of {layers}, {units:,} units, along {_counted(characters)}:")
    if found.saturation:
        shares = ", ".join(f"{it.gate} {it.shut:.0%}/{it.open:.0%}" for it in found.saturation)
        canvas.said(f"gates nearly shut/open: {shares}", _QUIET)
    else:
        canvas.said(_NO_GATES, _QUIET)
    if found.longest:
        longest = ", ".join(f"unit {it.unit} {_spoken(it)}" for it in found.longest[:_IN_BRIEF])
        canvas.said(f"longest memories: {longest}", _QUIET)
    if found.kept:
        canvas.said(f"left of a state after so many characters: {_kept(found)}", _QUIET)


def overview(canvas: Canvas, found: "Overview", units: int, characters: int) -> None:
    """Draw the overview of a layer: its gates, the time scales of its units, and how long a state lasts."""
    canvas.said(f"Layer {found.layer}: {units:,} units, {_counted(characters)}", "bold")
    if not found.saturation:
        canvas.said(_NO_GATES)
        return
    canvas.words()
    canvas.words((f"{'gate':<4}{'shut':>8}{'open':>8}", _QUIET))
    for gate in found.saturation:
        canvas.words((f"{gate.gate:<4}{gate.shut:>8.1%}{gate.open:>8.1%}", ""))
    canvas.said("shut: below 0.1 (g and n: below -0.8); open: above 0.9 (0.8)", _QUIET)
    canvas.words()
    if found.histogram:
        canvas.said("Time scales: for how many characters units keep what they hold", "")
        most = max(count for _, count in found.histogram) or 1
        room = min(_BAR, max(0, canvas.width - 21))
        for least, count in found.histogram:
            head = f"from {least:,.0f}"
            bar = "█" * math.ceil(count / most * room) if count else ""
            canvas.words((f"{head:<12}{count:>7,}  ", ""), (bar, "blue"))
    if found.longest:
        canvas.words()
        canvas.said("The longest: " + ", ".join(f"unit {it.unit} {_spoken(it)}" for it in found.longest))
    if found.kept:
        canvas.words()
        canvas.said(f"Share of a state that is left, on average, after so many characters: {_kept(found)}.")


def _counted(characters: int) -> str:
    return "1 character" if characters == 1 else f"{characters:,} characters"


def _kept(found: "Overview") -> str:
    return ", ".join(f"{characters:,}: {_share(share)}" for characters, share in found.kept)


def _share(share: float) -> str:
    return "under 0.1%" if share < 0.001 else f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def _spoken(scale: "TimeScale") -> str:
    return f"({scale.characters:,.0f})" if math.isfinite(scale.characters) else "(for ever)"


def overview_row(found: "Sequence[Overview]") -> dict[str, Any]:
    """Return the overviews of layers as JSON has them."""
    return {
        "layers": [
            {
                "layer": one.layer,
                "saturation": [dataclasses.asdict(each) for each in one.saturation],
                "histogram": [
                    {"least": least if math.isfinite(least) else None, "units": count} for least, count in one.histogram
                ],
                "longest": [
                    {"unit": it.unit, "characters": it.characters if math.isfinite(it.characters) else None}
                    for it in one.longest
                ],
                "kept": [{"characters": characters, "share": share} for characters, share in one.kept],
            }
            for one in found
        ]
    }
