"""What a unit is for: how much worse the closing character is predicted if the unit cannot tell that it is inside.

That a unit follows a label does not mean that the network uses it (Antverg & Belinkov 2022, "encoded is not used"). So
the unit is held at the mean that it has where the label is false, from up to 24 characters before the closing one, and
the closing character's surprise is compared: with the unit left alone, and with other units held in the same way
(Lakretz et al. 2019 ablated single units of an LSTM).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.measure.search.labels import Label
from charlstm.network.stepper import Hold, Stepper, StepState, outputs
from charlstm.text.tokenizer import Ids

CLOSINGS, LEAST_CLOSINGS = 24, 5
RANDOM_UNITS = 100
_BEFORE = 24  # characters before the closing one, in which the unit is held
_INSIDE = 4  # characters inside, at least
_RESTS, _REST = 24, 64  # other stretches of the text, and the characters of each
_STREAMS = 512  # read at once: bounds the memory

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Clamped:
    """What happens to the closing character if the unit is held at its mean elsewhere."""

    bits: float
    """By how many bits the closing character becomes more surprising."""
    random: float
    """Share of 100 random units whose clamping does less."""
    rest: float
    """By how many bits per character the rest of the text becomes more surprising."""


@dataclass(frozen=True)
class Window:
    """A stretch of ids that is read while a unit is held; those from `scored` on are scored."""

    begin: int
    scored: int
    end: int


@dataclass(frozen=True)
class Plan:
    """Where a label's units will be clamped: decided before anything is read, so that the states there can be kept."""

    closings: tuple[Window, ...]
    rest: tuple[Window, ...]

    @property
    def states(self) -> set[int]:
        """The ids after which a state is needed."""
        return {window.begin - 1 for window in (*self.closings, *self.rest)}


def plan(label: Label, second: npt.NDArray[np.bool_], ends: npt.NDArray[np.int64], seed: int) -> Plan | None:
    """Choose closings of the second half, and other stretches of it; None if there are too few closings.

    Args:
        label: one with closers.
        second: whether a character is of the second half, (T,).
        ends: the last id of each character, (T,).
        seed: of the choice.
    """
    inside = label.values > 0
    begun = np.where(np.diff(inside, prepend=False) & inside, np.arange(len(inside)), 0)
    begun = np.maximum.accumulate(begun)  # where the newest stretch began
    windows = []
    for at in label.closers.tolist():
        first = max(at - _BEFORE, int(begun[at - 1]) + 1) if at else 0
        if 0 < first <= at - _INSIDE and second[at] and inside[first:at].all():
            windows.append(Window(int(ends[first - 1]) + 1, int(ends[at - 1]) + 1, int(ends[at]) + 1))
    if len(windows) < LEAST_CLOSINGS:
        return None
    source = np.random.default_rng(seed)
    chosen = np.sort(source.permutation(len(windows))[:CLOSINGS])
    closers = np.zeros(len(inside), bool)
    closers[label.closers] = True
    firsts = np.flatnonzero(second[1 : -_REST - 1]) + 1
    rest = []
    for first in np.sort(source.choice(firsts, min(_RESTS, len(firsts)), replace=False)).tolist():
        begin, end = int(ends[first - 1]) + 1, int(ends[first + _REST - 1]) + 1
        rest.append(Window(begin, begin + 1, end))
    return Plan(tuple(windows[number] for number in chosen), tuple(rest))


def measure(
    engine: Stepper,
    ids: Ids,
    plan: Plan,
    states: Mapping[int, StepState],
    *,
    layer: int,
    unit: int,
    signal: str,
    outside: Floats,
    overall: Floats,
    seed: int,
) -> Clamped:
    """Clamp a unit, and a hundred others of its layer.

    Args:
        engine: the network.
        ids: the text.
        plan: where.
        states: of a single stream, after the ids that the plan needs.
        layer: the unit's, from 1.
        unit: from 0.
        signal: what is held, c or h.
        outside: the mean of this signal of each unit of the layer where the label is false, (H,).
        overall: its mean anywhere, (H,).
        seed: of the choice of random units.
    """
    others = np.setdiff1d(np.arange(len(outside)), [unit])
    others = np.random.default_rng(seed).permutation(others)[:RANDOM_UNITS]
    units = np.concatenate([[unit], others])
    free = surprise(engine, ids, plan.closings, states)
    held = surprise(engine, ids, plan.closings, states, Hold(layer, signal, units, outside[units].astype(np.float32)))
    effects = (held - free).mean(1)
    rest = 0.0
    if plan.rest:
        number = sum(window.end - window.scored for window in plan.rest)
        one = Hold(layer, signal, units[:1], overall[units[:1]].astype(np.float32))
        change = surprise(engine, ids, plan.rest, states, one) - surprise(engine, ids, plan.rest, states)
        rest = float(change.sum() / number)
    return Clamped(float(effects[0]), float((effects[1:] < effects[0]).mean()) if len(others) else 0.0, rest)


def surprise(
    engine: Stepper,
    ids: Ids,
    windows: Sequence[Window],
    states: Mapping[int, StepState],
    hold: Hold | None = None,
) -> Floats:
    """Return the bits that the scored ids of each window cost, (units, windows), for each unit that is held alone.

    Args:
        engine: the network.
        ids: the text.
        windows: where to read.
        states: before each window, of a single stream, by the id before.
        hold: units and their values, (units,) each; None leaves all alone and returns (1, windows).
    """
    number = 1 if hold is None else len(hold.units)
    together = max(1, _STREAMS // number)
    order = sorted(range(len(windows)), key=lambda index: windows[index].begin - windows[index].end)  # longest first
    bits = np.zeros((number, len(windows)))
    for first in range(0, len(order), together):
        some = order[first : first + together]
        bits[:, some] = _read(engine, ids, [windows[index] for index in some], states, hold, number)
    return bits


def _read(
    engine: Stepper,
    ids: Ids,
    windows: Sequence[Window],
    states: Mapping[int, StepState],
    hold: Hold | None,
    number: int,
) -> Floats:
    """Read windows, longest first, so that all end at the same step: the shorter ones join in later."""
    bits = np.zeros((len(windows), number))
    state: StepState = []
    joined = 0
    for left in range(windows[0].end - windows[0].begin, 1, -1):  # ids to go, this one included
        while joined < len(windows) and windows[joined].end - windows[joined].begin >= left:
            state = _with(state, states[windows[joined].begin - 1], number)
            joined += 1
        active = windows[:joined]
        inputs = np.repeat(np.array([int(ids[window.end - left]) for window in active]), number)
        held = None
        if hold is not None:
            held = Hold(hold.layer, hold.signal, np.tile(hold.units, joined), np.tile(hold.values, joined))
        layers, state = engine.trace(inputs, state, held)
        scored = np.array([window.end - left + 1 >= window.scored for window in active])
        if scored.any():
            rows = np.repeat(scored, number)
            logits = engine.logits(outputs(layers)[rows]).astype(np.float64)
            targets = np.repeat([int(ids[window.end - left + 1]) for window in active], number)[rows]
            bits[:joined][scored] += _bits(logits, targets).reshape(-1, number)
    return bits.T


def _with(state: StepState, one: StepState, number: int) -> StepState:
    """Return the states of streams and, after them, `number` times that of one more."""
    more = [tuple(np.repeat(part[None], number, 0) for part in parts) for parts in one]
    if not state:
        return more
    return [tuple(np.concatenate(pair) for pair in zip(*both, strict=True)) for both in zip(state, more, strict=True)]


def _bits(logits: Floats, targets: npt.NDArray[np.int64]) -> Floats:
    """Return the surprise of each target in bits, (n,)."""
    highest = logits.max(-1, keepdims=True)
    total = np.log(np.exp(logits - highest).sum(-1)) + highest[:, 0]
    bits: Floats = (total - logits[np.arange(len(targets)), targets]) / np.log(2)
    return bits
