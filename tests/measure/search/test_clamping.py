"""Units that are held at another value, against a network whose one unit tells what comes."""

import numpy as np
import pytest

from charlstm.measure.search import clamping
from charlstm.measure.search.clamping import Window
from charlstm.measure.search.labels import labels
from charlstm.network.stepper import Hold, outputs
from tests.conftest import fitted
from tests.measure.search.by_hand import planted, quoted


def test_surprise_is_that_of_each_unit_held_by_itself(text: str) -> None:
    text = quoted(text[:2_000])
    tokenizer = fitted(text)
    engine = planted(tokenizer, 12, 5).engine
    ids = tokenizer.encode(text)
    windows = [Window(30, 35, 40), Window(100, 101, 130), Window(7, 8, 9)]
    states, state = {}, engine.zero_state()
    for position, id in enumerate(ids[:130].tolist()):
        _, state = engine.step(id, state)
        states[position] = state
    units, values = np.array([5, 0, 3]), np.array([0.5, -1, 1], np.float32)
    found = clamping.surprise(engine, ids, windows, states, Hold(1, "c", units, values))
    free = clamping.surprise(engine, ids, windows, states)
    for column, window in enumerate(windows):
        for row, hold in enumerate([*(Hold(1, "c", *each) for each in zip(units, values, strict=True)), None]):
            state, bits = states[window.begin - 1], 0.0
            for position in range(window.begin, window.end - 1):
                layers, state = engine.trace(int(ids[position]), state, hold)
                likely = np.exp(engine.logits(outputs(layers)).astype(float))
                if position + 1 >= window.scored:
                    bits -= np.log2(likely[ids[position + 1]] / likely.sum())
            assert (found[row] if hold else free[0])[column] == pytest.approx(bits, rel=1e-4)


def test_closings_are_held_inside_only(text: str) -> None:
    text = quoted(text[:20_000])
    quotes = next(label for label in labels(text) if label.name == "inside quotes")
    second = np.arange(len(text)) >= 10_000
    plan = clamping.plan(quotes, second, np.arange(len(text)), seed=0)
    assert plan is not None
    assert len(plan.closings) == clamping.CLOSINGS
    for window in plan.closings:
        assert window.end == window.scored + 1
        assert text[window.scored] == "”"
        assert window.scored >= 10_000
        assert 4 <= window.scored - window.begin <= 24
        assert "“" not in text[window.begin : window.scored]
        assert "”" not in text[window.begin - 1 : window.scored]
    assert clamping.plan(quotes, second & False, np.arange(len(text)), seed=0) is None
