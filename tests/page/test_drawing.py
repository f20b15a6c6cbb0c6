"""The section "Understand" in Chromium: every number of the drawings is that of the exact engine."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from charlstm.export import payload
from charlstm.show.page import join
from tests.page.models import loaded

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TEXT = "the cell, its gates\nand what it keeps"
LAYER, UNIT = 2, 5
NUMBERS = """(name) => Object.fromEntries([...document.querySelectorAll(`#cell [${name}]`)]
    .map((one) => [one.getAttribute(name), one.textContent]))"""
CELLS = {
    "lstm": {"c0", "f", "i", "g", "kept", "added", "c", "squashed", "o", "h"},
    "peephole": {"c0", "f", "i", "g", "kept", "added", "c", "squashed", "o", "h"},
    "coupled": {"c0", "f", "i", "g", "kept", "added", "c", "squashed", "o", "h"},
    "gru": {"h0", "r", "z", "i", "n", "kept", "added", "h"},
    "rnn": {"h"},
}


def shown(value: float, digits: int = 2) -> str:
    """Return a number as the page writes it."""
    rounded = Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{rounded if rounded else abs(rounded)}".replace("-", "\N{MINUS SIGN}")


@dataclass
class Drawn:
    """A page, and what the exact engine says of its text."""

    page: "Page"
    cell: str
    values: list[list[dict[str, Any]]]
    """Of the opening's only character, of each of the text, and of each layer, the signals (H,)."""

    def expected(self, at: int) -> dict[str, float]:
        """Return what the drawing of a character must show."""
        before, after = (self.values[place][LAYER - 1] for place in (at, at + 1))
        v = {name: float(values[UNIT]) for name, values in after.items()}
        v["h0"] = float(before["h"][UNIT])
        if "c" in v:
            v["c0"] = float(before["c"][UNIT])
            v["i"] = v.get("i", 1 - v["f"])
            v |= {"kept": v["f"] * v["c0"], "added": v["i"] * v["g"], "squashed": float(np.tanh(v["c"]))}
        elif self.cell == "gru":
            v["i"] = 1 - v["z"]
            v |= {"kept": v["z"] * v["h0"], "added": v["i"] * v["n"]}
        return {name: v[name] for name in CELLS[self.cell]}

    def check(self, at: int) -> None:
        """Hold the drawing and its equations against the exact engine."""
        place = f"character {at} (0 to {len(TEXT) - 1})"
        self.page.wait_for_function("(place) => document.querySelector('.cell-place').textContent === place", arg=place)
        expected = self.expected(at)
        assert self.page.evaluate(NUMBERS, "data-number") == {name: shown(value) for name, value in expected.items()}
        results = self.page.evaluate(NUMBERS, "data-equation")
        assert results == {name: shown(expected[name], 3) for name in results}
        assert set(results) == set(self.values[0][0]) & set(expected)


@pytest.fixture(params=CELLS)
def drawn(request: pytest.FixtureRequest, browser: "Browser", tmp_path: Path) -> Iterator[Drawn]:
    """Open the page of a small model of each cell, with a text, at its tenth character."""
    model = loaded(request.param, 2, "char", with_ngrams=False)
    engine = model.exactly().engine
    values, state = [], engine.zero_state()
    for id in [*model.tokenizer.opening, *model.tokenizer.encode(TEXT)]:
        layers, state = engine.trace(int(id), state)
        values.append([layer.gates | {"h": layer.h} | ({} if layer.c is None else {"c": layer.c}) for layer in layers])
    manifest, weights = payload.of(model)
    path = tmp_path / "page.html"
    path.write_bytes(join.joined("small", manifest, weights, join.Passage(TEXT)))
    context = browser.new_context(offline=True, reduced_motion="reduce")
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda problem: problems.append(str(problem)))
    page.goto(f"{path.as_uri()}#unit={LAYER}:{UNIT}&at=9")
    page.locator("#cell").scroll_into_view_if_needed()
    yield Drawn(page, request.param, values)
    assert problems == []
    context.close()


UNROLLED = """([at, wanted]) => {
  const columns = [...document.querySelectorAll(".unrolled-column:not([hidden])")];
  const first = at - columns.findIndex((one) => one.querySelector("[aria-current=true]"));
  const numbers = (one) => [...one.querySelectorAll(".unrolled-number")].map((box) => box.textContent);
  return JSON.stringify(columns.map(numbers)) === JSON.stringify(wanted.slice(first, first + columns.length));
}"""
"""Whether the columns around a character show its numbers, and those of its neighbours."""


def test_every_number_is_that_of_the_exact_engine(drawn: Drawn) -> None:
    drawn.check(9)
    page = drawn.page
    page.get_by_role("button", name="Forward").click()
    drawn.check(10)
    page.locator(".cell-figure").focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    drawn.check(0)
    page.get_by_role("button", name="Back").click()  # there is nothing before it
    drawn.check(0)
    page.set_viewport_size({"width": 360, "height": 800})
    page.wait_for_selector(".cell-narrow")
    drawn.check(0)


@pytest.mark.parametrize("drawn", ["lstm"], indirect=True)
def test_it_plays_and_is_unrolled_and_can_be_heard(drawn: Drawn) -> None:
    page = drawn.page
    drawn.check(9)
    sentence = page.locator(".cell-sentence").text_content() or ""
    v = drawn.expected(9)
    assert f"now {'+' if v['c'] > 0 else ''}{shown(v['c'])}. " in sentence
    picture = page.get_by_role("img", name="One step of a long short-term memory (LSTM)", exact=True)
    assert picture.locator("desc").text_content() == sentence

    current = page.locator(".unrolled-column [aria-current=true]")
    boxes = [[shown(float(layer["c"][UNIT])) for layer in layers] for layers in drawn.values[1:]]
    page.wait_for_function(UNROLLED, arg=[9, boxes])
    current.locator("xpath=../preceding-sibling::*[1]").get_by_role("button").click()
    drawn.check(8)
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    drawn.check(5)
    assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "true"
    assert (current.get_attribute("aria-label") or "").startswith("‘e’: expected ")

    page.select_option(".cell-controls select", "16")
    page.locator(".cell-figure").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Play").wait_for()  # at the end
    drawn.check(len(TEXT) - 1)
    heard = "() => document.querySelector('#cell [aria-live]').textContent"
    page.wait_for_function(f"{heard}.includes('unit {UNIT} of layer {LAYER}')")
