"""The page in Chromium, from disk and without a network: what it loads, writes and shows, and who can use it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import charlstm as api
from charlstm.cli import run
from charlstm.compress import archive, models
from charlstm.export import payload
from charlstm.show.page import join
from charlstm.storage import loaded as opening
from tests.conftest import SMALL
from tests.page.conftest import still

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AXE = "axe-core@4.14.1"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
REPORTS = """
window.reports = [];
addEventListener("securitypolicyviolation", (event) => reports.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
HOSTILE = (
    "</script><script>window.hacked = 1</script><!--\0\ud800 \udcff\u2028\u202e<img src=x onerror=hacked=1>&lt;{{x}}"
)
READY = "() => window.charlstm && document.getElementById('app').getAttribute('aria-busy') === null"
WRITTEN = """(prompt) => {
  const text = document.getElementById("sheet").textContent;
  const idle = document.getElementById("go").textContent === "Write";
  return idle && text.startsWith(prompt) && text.length > prompt.length;
}"""
COUNTS = "(told) => document.getElementById('tally').textContent.startsWith(told)"
LISTED = "() => document.querySelectorAll('#shares li:not([hidden])').length === 8"
"""Whether what is still in the unit is listed; that comes last."""
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Comes to an end after what is due has been laid out and drawn."""
SHOWS = "(text) => document.getElementById('sheet').textContent === text"


@dataclass
class Opened:
    """A page, and what it did that it should not do."""

    page: "Page"
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def generate(self, **wishes: Any) -> str:
        """Return what the page's model writes."""
        text: str = self.page.evaluate("(wishes) => charlstm.generate(wishes)", wishes)
        return text

    def write(self, prompt: str = "", **settings: str) -> str:
        """Write as a person does, and return the whole text."""
        for name, value in ({"length": "60"} | settings).items():
            self.page.fill(f"#{name}", value)
        self.page.click("label:has(input[name=pace][value=fast])")
        self.page.fill("#prompt", prompt)
        still(self.page)
        self.page.click("#go")
        self.page.wait_for_function(WRITTEN, arg=prompt)
        return str(self.page.evaluate("document.getElementById('sheet').textContent"))


Open = Callable[..., Opened]


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[Open]:
    """Open a page with the network off; at the end nothing but the page itself must have been asked for or reported."""
    opened: list[Opened] = []

    def open_it(path: Path, query: str = "", **context: Any) -> Opened:
        place = browser.new_context(offline=True, **context)
        place.add_init_script(REPORTS)
        it = Opened(place.new_page())
        it.page.on("request", lambda request: it.requests.append(request.url))
        it.page.on("console", lambda message: it.problems.append(message.text) if message.type != "log" else None)
        it.page.on("pageerror", lambda problem: it.problems.append(str(problem)))
        it.page.goto(path.as_uri() + query)
        it.page.wait_for_function(READY)
        opened.append(it)
        return it

    yield open_it
    for it in opened:
        assert len(it.requests) == 1, it.requests
        assert it.problems == []
        assert it.page.evaluate("reports") == []
        it.page.context.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for pages."""
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def shakespeare(pages: Path) -> Path:
    """The page of the model that comes with the package."""
    assert run(["export", "page", "shakespeare", "-o", str(pages / "shakespeare.html")]) == 0
    return pages / "shakespeare.html"


@pytest.fixture(scope="module")
def small(pages: Path, trained: Path) -> Path:
    """The page of a small model."""
    assert run(["export", "page", str(trained), "-o", str(pages / "small.html")]) == 0
    return pages / "small.html"


@pytest.fixture(scope="module")
def others(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with other cells, tokenizers and alphabets, in one folder."""
    root = tmp_path_factory.mktemp("others")
    strange = "<b>&amp;\"'</script><!--\0\u2028\u2029\u202eabc\u2066\ufeff\u00ad \t\x1b[31m漢é\U0001f600\n"
    for name, content, options in (
        ("gru", text[:6_000], ["--cell=gru", "--num-layers=2", "--separator=\\n"]),
        ("byte", text[:6_000] + strange * 20, ["--cell=coupled", "--tokenizer=byte"]),
        ("strange", strange * 200, ["--ngrams=2"]),
    ):
        (root / f"{name}.txt").write_text(content, encoding="utf-8", newline="")
        arguments = [str(root / f"{name}.txt"), "--checkpoints", str(root), "--name", name, "--steps=3", *SMALL]
        assert run(["train", *arguments, *options]) == 0
    return root


@pytest.fixture
def exported(pages: Path, others: Path) -> Callable[[str], Path]:
    """Write the page of one of the others."""

    def export(name: str) -> Path:
        assert run(["export", "page", str(others / name), "-f", "-o", str(pages / f"{name}.html")]) == 0
        return pages / f"{name}.html"

    return export


def test_it_opens_and_writes_what_sample_writes(open_page: Open, shakespeare: Path) -> None:
    model = api.load("shakespeare", exact=True)
    it = open_page(shakespeare)
    assert it.page.title() == "shakespeare · charlstm"
    assert it.page.evaluate("charlstm.model.engine") == "wasm"
    assert it.write("ROMEO:", seed="7") == "ROMEO:" + model.generate("ROMEO:", length=60, seed=7)
    settings: dict[str, Any] = {"length": 80, "temperature": 1.3, "seed": 2**40 + 1}
    wanted = model.generate("KING", top_k=9, top_p=0.9, min_p=0.01, stop="\n", **settings)
    assert it.generate(prompt="KING", topK=9, topP=0.9, minP=0.01, stops=["\n"], **settings) == wanted
    assert it.generate(prompt="", length=50, temperature=0, seed=1) == model.generate(length=50, temperature=0)


def test_javascript_and_webassembly_are_the_same(open_page: Open, small: Path) -> None:
    found = []
    for query in ("", "?engine=js"):
        it = open_page(small, query)
        kind = it.page.evaluate("charlstm.model.engine")
        trace = it.page.evaluate("charlstm.trace('What light')")
        found.append((kind, it.generate(prompt="The ", length=500, seed=3), trace))
    assert [kind for kind, _, _ in found] == ["wasm", "js"]
    assert found[0][1:] == found[1][1:]


@pytest.mark.parametrize("name", ["small", "gru", "byte"])
def test_it_shows_what_the_model_does(
    open_page: Open, small: Path, trained: Path, others: Path, exported: Callable[[str], Path], name: str
) -> None:
    path, folder = (small, trained) if name == "small" else (exported(name), others / name)
    model, text = api.load(str(folder), exact=True), "The value of (it) is"
    shown = open_page(path).page.evaluate("(text) => charlstm.trace(text)", text)
    for ours, theirs in zip(shown, model.trace(text), strict=True):
        for layer, wanted in zip(ours["layers"], theirs.layers, strict=True):
            signals = dict(wanted.gates) | {"h": wanted.h} | ({} if wanted.c is None else {"c": wanted.c})
            assert set(layer) == set(signals)
            for signal, values in signals.items():
                assert np.array_equal(np.array(layer[signal], np.float32), values.astype(np.float32)), signal
    surprise = [each["surprise"] for each in shown]
    assert sum(surprise) == pytest.approx(float(model.surprise(text).sum()), abs=0.05 * len(text))


@pytest.mark.parametrize("name", ["gru", "byte", "strange"])
def test_other_models_write_what_sample_writes(
    open_page: Open, others: Path, exported: Callable[[str], Path], name: str
) -> None:
    it, model = open_page(exported(name)), api.load(str(others / name), exact=True)
    for seed in (1, 2):
        wanted = model.generate("ab", length=200, seed=seed, temperature=1.0)
        found = it.generate(prompt="ab", length=200, seed=seed, temperature=1.0)
        assert found == wanted.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    assert it.page.evaluate("window.hacked") is None


def test_what_strangers_bring_is_text(open_page: Open, trained: Path, pages: Path) -> None:
    manifest, weights = payload.of(opening.load(str(trained)))
    vocabulary = [name + HOSTILE if name in "etaoin" else name for name in manifest["vocabulary"]]
    finding = {"layer": 1, "unit": 3, "signal": "c", "label": HOSTILE, "text": HOSTILE, "example": [0, 5]}
    found = {"rows": [], "others": [], "absent": [HOSTILE], "characters": 20_000, "units": 48}
    found["rows"] = [_finding(**finding)]
    page = pages / "hostile.html"
    page.write_bytes(
        join.joined(
            HOSTILE, manifest | {"name": HOSTILE, "vocabulary": vocabulary}, weights, join.Passage(HOSTILE, found)
        )
    )
    it = open_page(page)
    it.write("((")
    typed = HOSTILE.replace("\ud800", "").replace("\udcff", "")
    it.page.fill("#text", typed)
    it.page.wait_for_function(COUNTS, arg=f"{len(typed)} characters")
    state = it.page.evaluate(
        """() => ({
            hacked: window.hacked ?? null,
            scripts: document.querySelectorAll("script").length,
            images: document.querySelectorAll("img, iframe, object, embed, link, base, [onerror]").length,
        })"""
    )
    assert state == {"hacked": None, "scripts": 7, "images": 0}  # those of the page, and the one that was unfolded


def _finding(**values: Any) -> dict[str, Any]:
    """Return a finding as JSON has it."""
    usual: dict[str, Any] = {
        **{"positives": 0.1, "auc": 0.93, "late": None, "mcc": 0.7, "r2": None, "low": 0.91, "high": 0.95},
        **{"p_value": 0.01, "controls": {"untrained": 0.6, "ngram": 0.7, "shifted": 0.55}, "clamped": None},
        **{"mean_inside": 0.5, "mean_outside": -0.5},
    }
    return usual | values


@pytest.fixture(scope="module")
def with_text(pages: Path, trained: Path, text: str) -> Path:
    """A page with a text and findings."""
    manifest, weights = payload.of(opening.load(str(trained)))
    rows = [_finding(layer=1, unit=3, signal="c", label="inside quotes", text=text[900:980], example=[900, 980])]
    found = {"rows": rows, "others": rows, "absent": ["URL"], "characters": 20_000, "units": 48}
    page = pages / "with-text.html"
    page.write_bytes(join.joined("reference", manifest, weights, join.Passage(text[900:1500], found)))
    return page


@pytest.mark.parametrize("scheme", ["light", "dark", "narrow"])
def test_everybody_can_use_it(
    open_page: Open, with_text: Path, npm_package: Callable[[str], Path], axe: str, scheme: str
) -> None:
    size = {"width": 360, "height": 740} if scheme == "narrow" else {"width": 1280, "height": 900}
    it = open_page(
        with_text, viewport=size, color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
    )
    it.write("The ")
    it.page.evaluate(DRAWN)
    it.page.evaluate(axe)
    found = it.page.evaluate("(values) => axe.run({ runOnly: { type: 'tag', values } })", RULES)
    assert len(found["passes"]) > 10
    told = [
        f"{each['id']}: {each['help']} {[node['target'] for node in each['nodes']][:3]} "
        f"{[node.get('failureSummary', '') for node in each['nodes']][:1]}"
        for each in found["violations"]
    ]
    assert told == []
    overflow = it.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0


@pytest.fixture(scope="module")
def axe(npm_package: Callable[[str], Path]) -> str:
    """The text of axe-core."""
    return (npm_package(AXE) / "axe.min.js").read_text(encoding="utf-8")


CONTROLS = """() => {
  const seen = (it) => it.checkVisibility({ visibilityProperty: true }) && !it.disabled;
  const kinds = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  const all = [...document.querySelectorAll(kinds)].filter(seen).filter((it) => it.tabIndex >= 0);
  return all.filter((it) => it.type !== "radio" || it.checked).map(nameOf);
}"""
NAME = """() => {
  const names = new Map();
  window.nameOf = (it) => {
    if (it.closest(".unrolled-column")) return "a column"; // one of them is reached, the arrows lead to the others
    const own = it.id ? `#${it.id}` : `${it.tagName} ${it.textContent.slice(0, 20)} ${names.size}`;
    if (!names.has(it)) names.set(it, own);
    return names.get(it);
  };
}"""
AT = """(place) => document.getElementById("here-place").textContent.startsWith(`Character ${place} `)"""
AREA = """() => {
  const { width, height } = document.activeElement.getBoundingClientRect();
  return width * height;
}"""


def test_every_control_is_reached_by_the_keyboard(open_page: Open, with_text: Path) -> None:
    it = open_page(with_text, reduced_motion="reduce")
    it.page.wait_for_function(LISTED)
    it.page.evaluate(DRAWN)
    it.page.evaluate(NAME)
    controls = it.page.evaluate(CONTROLS)
    assert len(controls) > 20
    assert it.page.evaluate("[...document.querySelectorAll('[tabindex]')].every((each) => each.tabIndex <= 0)")
    reached = []
    it.page.evaluate("document.activeElement.blur()")
    for _ in range(3 * len(controls)):
        it.page.keyboard.press("Tab")
        name = it.page.evaluate("document.activeElement === document.body ? null : nameOf(document.activeElement)")
        if name is None and reached:
            break
        reached.append(name)
        assert it.page.evaluate(AREA) > 0, name
    assert set(controls) - set(reached) == set()


def test_writing_and_looking_by_the_keyboard(open_page: Open, small: Path, trained: Path) -> None:
    model = api.load(str(trained), exact=True)
    it = open_page(small, reduced_motion="reduce")
    page = it.page
    if page.text_content("#go") == "Stop":
        page.focus("#go")
        page.keyboard.press("Enter")
    page.focus("#length")
    page.keyboard.type("40")
    page.focus("#seed")
    page.keyboard.press("Control+A")
    page.keyboard.type("5")
    page.focus("input[name=pace]:checked")
    for pace in ("quick", "fast"):
        page.keyboard.press("ArrowRight")
        assert page.is_checked(f"input[name=pace][value={pace}]")
    page.focus("#prompt")
    page.keyboard.type("The ")
    page.focus("#go")
    page.keyboard.press("Space")
    page.wait_for_function(SHOWS, arg="The " + model.generate("The ", length=40, seed=5))
    page.focus("#strip")
    for key, place in (("Home", 0), ("ArrowRight", 1)):
        page.keyboard.press(key)
        page.wait_for_function(AT, arg=place)
    page.focus("#theme")
    page.keyboard.press("Enter")
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_a_link_leads_to_a_unit(open_page: Open, with_text: Path) -> None:
    it = open_page(with_text, "#unit=1:17&at=20")
    it.page.wait_for_function("document.getElementById('unit').value === '17'")
    assert json.loads(it.page.evaluate("JSON.stringify(charlstm.model.shape.hiddenSize)")) == 48


def test_nothing_is_cut_off(open_page: Open, with_text: Path) -> None:
    page = open_page(with_text, reduced_motion="reduce").page
    for width in (360, 768, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate(DRAWN)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_compressed_text_is_opened(open_page: Open, small: Path, trained: Path, text: str, tmp_path: Path) -> None:
    wanted = text[50_000:50_400]
    file = tmp_path / "a.clz"
    file.write_bytes(archive.compress(wanted.encode(), models.opened(str(trained))).data)
    page = open_page(small).page
    page.set_input_files("#clz", str(file))
    page.wait_for_function("(wanted) => document.getElementById('text').value === wanted", arg=wanted)
    damaged = tmp_path / "b.clz"
    damaged.write_bytes(file.read_bytes()[:-4])
    page.set_input_files("#clz", str(damaged))
    page.wait_for_function("() => document.getElementById('clz-said').textContent.includes('damaged at byte')")
    assert (page.text_content("#clz-said") or "").startswith("b.clz: ")
