"""What single units follow: the table of a search, and its rows of JSON."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from charlstm.show.canvas import Canvas, Tile
from charlstm.show.characters import one_line, printable
from charlstm.show.colours import SIGNED
from charlstm.show.inside import drawn
from charlstm.show.passage import lines

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from charlstm.measure.search.units import Found, Search

_QUIET = "dim"
_LIKELY = 0.05  # the largest p-value of a finding

Example = tuple[tuple[str, ...], "npt.NDArray[np.float32]"]
"""The characters of an example, and the unit's values along it."""


def findings(canvas: Canvas, found: "Search", examples: "dict[Found, Example]") -> None:
    """Draw what a search has found, best first; and what it has not.

    Args:
        canvas: where to draw.
        found: what was found.
        examples: a piece of the text for some of the findings.
    """
    canvas.said(
        f"{found.units:,} units searched along {found.characters:,} characters: chosen on one half of them, scored on "
        "the other."
    )
    canvas.words()
    if not found.found:
        canvas.said(
            "None found: no unit follows any of the labels better than chance and simple predictors do.", "bold"
        )
    for one in found.found:
        _finding(canvas, one, examples.get(one))
    if examples:
        canvas.scale(SIGNED, "examples: tanh(c) or h", "-1", "+1")
        canvas.words()
    if found.others:
        canvas.said(
            "The best unit of each other label, which does not count:" if found.found else "The best that there was:"
        )
        for one in found.others:
            canvas.said(f"{_label(one)}: {_unit(one)}, {_score(one)}; {why_not(one)}", _QUIET)
            if one.clamped is not None:
                canvas.said(f"  clamped: {_clamped(one)}", _QUIET)
    if found.absent:
        canvas.words()
        canvas.said(f"The text has too little of: {printable(one_line(', '.join(found.absent)))}", _QUIET)


def _finding(canvas: Canvas, one: "Found", example: "Example | None") -> None:
    """Draw one finding: what it is, how sure that is, what it is for, and an example."""
    canvas.said(f"{_label(one)}: {_unit(one)}", "bold")
    rows = [("score", f"{_score(one)}, 95 % interval {one.low:.3f} to {one.high:.3f}")]
    if one.positives is not None:
        rows.append(("base rate", f"true at {one.positives:.1%} of the characters"))
    if one.mcc is not None:
        rows.append(("MCC", f"{one.mcc:.3f}"))
    if one.late is not None:
        rows.append(("late", f"AUC {one.late:.3f} without the first 10 characters after an opener"))
    control = one.controls
    rows.append(
        ("controls", f"untrained {control.untrained:.3f}, 6-gram {control.ngram:.3f}, shifted {control.shifted:.3f}")
    )
    rows.append(("p", f"{one.p_value:.3f}, corrected for the search"))
    if one.clamped is not None:
        rows.append(("clamped", _clamped(one)))
    for name, value in rows:
        canvas.said(f"  {name}: {value}", _QUIET)
    if example is not None:
        _example(canvas, one, example)
    canvas.words()


def _label(one: "Found") -> str:
    """Return the name of a label, which the user may have chosen."""
    return printable(one_line(one.label))


def _unit(one: "Found") -> str:
    return f"layer {one.layer}, unit {one.unit}, {one.signal}"


def _score(one: "Found") -> str:
    if one.auc is not None:
        return f"AUC {one.auc:.3f}" + (" (low where it is true)" if one.auc < 0.5 else "")
    return "R² ?" if one.r2 is None else f"R² {one.r2:.3f}"


def _clamped(one: "Found") -> str:
    """Return what clamping a unit does, and whether the unit is used or only encodes."""
    effect = one.clamped
    assert effect is not None
    used = "used" if effect.random >= 0.99 else "encoded, but not shown to be used"
    return (
        f"the closing character costs {effect.bits:+.3f} bits, more than for {effect.random:.0%} of random units "
        f"({used}); the rest of the text {effect.rest:+.4f} bits per character"
    )


def why_not(one: "Found") -> str:
    """Return why a finding does not count, in words."""
    control = one.controls
    beside = {"an untrained network": control.untrained, "a 6-gram": control.ngram, "a shifted label": control.shifted}
    best = max(beside.values())
    low_where_true = one.auc is not None and one.auc < 0.5
    bound = 1 - one.high if low_where_true else one.low
    reasons = []
    if not bound > best:
        as_well = " and ".join(name for name, value in beside.items() if not bound > value)
        reasons.append(f"{as_well} may do as well ({best:.3f})")
    elif one.late is not None and not (1 - one.late if low_where_true else one.late) > best:
        reasons.append(f"it sees the opener alone: AUC {one.late:.3f} later on")
    if one.p_value > _LIKELY:
        reasons.append(f"p = {one.p_value:.2f}")
    return "; ".join(reasons) or "it does not stand out enough"


def _example(canvas: Canvas, one: "Found", example: "Example") -> None:
    """Draw a line or two of the text, coloured by the unit."""
    characters, values = example
    for line in lines(((each, True) for each in characters), canvas.width - 4):
        tiles = [Tile(cell.shown, cell.width, drawn(one.signal, float(values[cell.at]))) for cell in line]
        canvas.letters(("    ", ""), tiles, SIGNED)


def findings_row(found: "Search") -> dict[str, Any]:
    """Return a search as JSON has it."""
    return {
        "rows": [_row(one) for one in found.found],
        "others": [_row(one) for one in found.others],
        "absent": list(found.absent),
        "characters": found.characters,
        "units": found.units,
    }


def _row(one: "Found") -> dict[str, Any]:
    row = {name: _finite(value) for name, value in dataclasses.asdict(one).items()}
    return row | {"example": list(one.example)}


def _finite(value: Any) -> Any:
    """Return a value as JSON can have it: null for what is not a number."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
