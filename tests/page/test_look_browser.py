"""The sections Write and Look in Chromium: what a person does there, and what is shown of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from charlstm.export import payload
from charlstm.measure.inside.ledger import ledger
from charlstm.measure.inside.signals import Reading
from charlstm.show.page import join
from tests.page.models import loaded
from tests.page.test_drawing import shown

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TEXT = "the cell, its gates\nand what it keeps of all that it has read " * 3
MODEL = loaded("lstm", 2, "char", with_ngrams=False)
FINDING: dict[str, Any] = {
    **{"layer": 2, "unit": 7, "signal": "h", "label": "inside <b>", "positives": 0.1, "auc": 0.93, "late": None},
    **{"mcc": 0.7, "r2": None, "low": 0.91, "high": 0.95, "p_value": 0.01, "clamped": None, "example": [0, 5]},
    **{"controls": {"untrained": 0.6, "ngram": 0.7, "shifted": 0.55}, "mean_inside": 0.5, "mean_outside": -0.5},
}
FOUND = {"rows": [FINDING], "others": [FINDING | {"unit": 3}], "absent": [], "characters": 20_000, "units": 48}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a small model, with a text and a finding."""
    path = tmp_path_factory.mktemp("look") / "page.html"
    path.write_bytes(join.joined("small", *payload.of(MODEL), join.Passage(TEXT, FOUND)))
    return path


@pytest.fixture
def page(browser: "Browser", path: Path) -> "Iterator[Page]":
    """The page, when it has read its text."""
    context = browser.new_context(offline=True, reduced_motion="reduce", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda problem: problems.append(str(problem)))
    page.goto(path.as_uri())
    has(page, "#tally", f"{len(TEXT)} characters")
    yield page
    assert problems == []
    context.close()


def has(page: "Page", selector: str, text: str) -> None:
    """Wait until an element has a text in it."""
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent.includes(text)", arg=[selector, text]
    )


def reading() -> Reading:
    """What the exact engine did along the text, in the first layer."""
    engine = MODEL.exactly().engine
    state = engine.zero_state()
    for id in MODEL.tokenizer.opening:
        layers, state = engine.trace(int(id), state)
    before = layers[0].c
    values: dict[tuple[int, str], list[Any]] = {(1, "c"): [], (1, "f"): []}
    for id in MODEL.tokenizer.encode(TEXT):
        layers, state = engine.trace(int(id), state)
        values[1, "c"].append(layers[0].c)
        values[1, "f"].append(layers[0].gates["f"])
    arrays = {key: np.array(rows, np.float32) for key, rows in values.items()}
    units = tuple(range(MODEL.config.model.hidden_size))
    known = np.ones(len(TEXT), bool)
    return Reading(tuple(TEXT), known, np.zeros(len(TEXT)), arrays, units, [(np.zeros(len(units)), before)])


def test_a_character_and_its_ledger(page: "Page") -> None:
    read, at, unit = reading(), 100, 5
    page.evaluate(f"location.hash = '#unit=1:{unit}&at={at}&signal=c'")
    expected = ledger(read, "lstm", 1, unit, at)
    has(page, "#ledger-sum", f"c = {shown(expected.value, 3)}")
    largest = np.argsort(-abs(expected.shares), kind="stable")[:8]
    values = page.locator("#shares .bar:not([hidden]) .value").all_text_contents()
    assert values == [shown(float(expected.shares[place]), 3) for place in largest]
    has(page, "#here-place", f"Character {at} ")  # what is out of sight is drawn a little later
    assert page.text_content("#here-character") == TEXT[at]
    assert page.locator("#signals .chosen .value").text_content() == shown(float(read.values[1, "c"][at, unit]))
    page.locator("#shares button").nth(1).click()
    has(page, "#here-place", f"Character {largest[1]} ")
    page.wait_for_function(f"() => location.hash === '#unit=1:{unit}&at={largest[1]}'")


ON = """(wanted) => {
  const units = [...document.querySelectorAll("#on-units button")].map((each) => Number(each.dataset.unit));
  return JSON.stringify(units.sort((a, b) => a - b)) === JSON.stringify(wanted);
}"""
"""Whether these units are on in the brushed stretch, and no others."""


def test_a_brushed_stretch(page: "Page") -> None:
    first, last = page.locator("#strip .line span").nth(4), page.locator("#strip .line span").nth(7)
    page.evaluate("document.getElementById('strip').scrollTop = 0")
    page.locator("#threshold").fill("0.05")
    page.locator("#strip").scroll_into_view_if_needed()
    for tile, act in ((first, page.mouse.down), (last, page.mouse.up)):
        box = tile.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 2, box["y"] + 6)
        act()
    has(page, "#brush-said", f"‘{TEXT[4:8]}’")
    page.select_option("#layer", "1")
    page.click("label:has(input[name=signal][value=c])")
    has(page, "#brush-said", "on in it and not beside it")
    values = np.tanh(reading().values[1, "c"].astype(np.float64))
    sign = np.where(values[4] < 0, -1, 1)
    inside, beside = (sign * values[4:8] >= 0.05).all(0), (sign * values[[3, 8]] < 0.05).all(0)
    page.wait_for_function(ON, arg=np.flatnonzero(inside & beside).tolist())
    page.focus("#strip")
    page.keyboard.press("Escape")
    page.wait_for_selector("#brush-none:not([hidden])")


WALKED = """(note) => {
  const down = new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true, cancelable: true });
  document.activeElement.dispatchEvent(down);
  return document.getElementById("heat-said").textContent.includes(note);
}"""
"""Walks down the heat map, and returns whether it says this; it does when its units are sorted."""


def test_the_heat_map_leads_to_a_unit(page: "Page") -> None:
    page.locator("#heat").scroll_into_view_if_needed()
    box = page.locator("#heat").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 60)
    has(page, "#heat-said", "Unit ")
    told = re.match(r"Unit (\d+), character (\d+): (.*?) =", page.text_content("#heat-said") or "")
    assert told is not None
    page.mouse.click(box["x"] + 200, box["y"] + 60)
    page.wait_for_function(IS_UNIT, arg=told[1])
    has(page, "#here-place", f"Character {told[2]} ")
    for order, note in (("time", "keeps for"), ("like", "r = "), ("follows", " with ")):
        page.select_option("#order", order)
        page.focus("#heat")
        page.wait_for_function(WALKED, arg=note)


IS_UNIT = "(unit) => document.getElementById('unit').value === unit"


def test_findings_and_another_text(page: "Page") -> None:
    page.wait_for_function(IS_UNIT, arg="7")
    page.fill("#unit", "2")
    page.get_by_role("button", name="inside <b>").first.click()
    page.wait_for_function(IS_UNIT, arg="7")
    assert page.input_value("#layer") == "2"
    assert page.is_checked("input[name=signal][value=h]")
    assert "AUC 0.93 (0.91 to 0.95)" in (page.text_content("#found") or "")
    page.fill("#text", TEXT[:30] + "another end ß")
    has(page, "#tally", "43 characters")
    has(page, "#text-note", "‘ß’")
    strip = page.locator("#strip").evaluate("(strip) => strip.textContent")
    assert strip == TEXT[:30].replace("\n", "↵") + "another end \N{REPLACEMENT CHARACTER}"


def test_a_text_branches_where_one_clicks(page: "Page") -> None:
    page.fill("#length", "30")
    page.fill("#prompt", "the cell")
    page.click("label:has(input[value=fast])")
    page.click("#go")
    has(page, "#tally", "the length was reached")
    sheet = "document.getElementById('sheet').textContent"
    whole = page.evaluate(sheet)
    assert len(whole) == 38
    place = page.evaluate(
        """() => {
          const range = document.createRange();
          const node = document.querySelector("#sheet .given").firstChild;
          range.setStart(node, 4);
          range.setEnd(node, 5);
          const { left, top } = range.getBoundingClientRect();
          return [left + 2, top + 4];
        }"""
    )
    page.mouse.click(*place)
    page.wait_for_function(f"() => {sheet} !== {whole!r} && document.getElementById('go').textContent === 'Write'")
    branched = page.evaluate(sheet)
    assert len(branched) == 35
    assert branched.startswith("the c")
    page.fill("#stop", branched[20:22])
    page.focus("#sheet")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.wait_for_function(f"() => {sheet} !== {branched!r} && document.getElementById('go').textContent === 'Write'")
    stopped = page.evaluate(sheet)
    assert stopped.startswith("t")
    assert branched[20:22] not in stopped[1:]
