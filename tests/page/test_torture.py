"""What takes minutes: Firefox, and ten minutes of writing."""

import os
import shutil
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import charlstm as api
from charlstm.cli import run
from tests.page.conftest import TORTURE, still
from tests.page.marionette import firefox

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not TORTURE, reason="minutes: only with CHARLSTM_TORTURE=1"),
]

MINUTES = float(os.environ.get("CHARLSTM_MINUTES", "10"))
FIREFOX = ("firefox-esr", "firefox")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """The page of the model that comes with the package."""
    assert run(["export", "page", "shakespeare", "-o", str(tmp_path / "page.html")]) == 0
    return tmp_path / "page.html"


@pytest.mark.parametrize("query", ["", "?engine=js"])
def test_firefox_writes_the_same(page: Path, tmp_path: Path, query: str) -> None:
    program = next(filter(None, map(shutil.which, FIREFOX)), None)
    if program is None:
        pytest.skip("no Firefox here: apt-get install firefox-esr")
    wanted = api.load("shakespeare", exact=True).generate("ROMEO:", length=1_000, seed=5)
    wishes = {"prompt": "ROMEO:", "length": 1_000, "seed": 5, "temperature": 0.8}
    with firefox(program, tmp_path) as browser:
        browser.open(page.as_uri() + query)
        ready = (
            "new Promise((done) => { const look = () => window.charlstm ? done(charlstm.model.engine)"
            " : setTimeout(look, 50); look(); })"
        )
        assert browser.run(ready) == ("js" if query else "wasm")
        text = browser.run("charlstm.generate(given[0])", wishes)
        assert text == wanted
        assert browser.run("performance.getEntriesByType('resource').length") == 0
        assert browser.run("document.getElementById('problem').hidden") is True
        assert browser.run("document.getElementById('sheet').textContent.length > 0") is True


def test_ten_minutes_of_writing_need_no_more_memory(page: Path, browser: "Browser") -> None:
    """What the page holds in the last of ten minutes is what it held in the third, give or take a tenth.

    Before that, the ring of what is kept of each character fills.
    """
    context = browser.new_context(offline=True)
    it = context.new_page()
    it.goto(page.as_uri())
    it.wait_for_function("() => window.charlstm")
    session = context.new_cdp_session(it)
    it.fill("#length", "")
    it.click("label:has(input[name=pace][value=fast])")
    still(it)
    it.click("#go")

    def held() -> float:
        session.send("HeapProfiler.collectGarbage")
        usage = session.send("Runtime.getHeapUsage")
        return float(sum(usage.get(name, 0) for name in ("usedSize", "embedderHeapUsedSize", "backingStorageSize")))

    sizes = []
    for _ in range(int(10 * MINUTES)):
        it.wait_for_timeout(6_000)
        sizes.append(held())
    assert it.text_content("#go") == "Stop"
    told = [round(size / 1e6, 2) for size in sizes]
    tenth = len(sizes) // 10
    first, last = statistics.median(sizes[2 * tenth : 3 * tenth]), statistics.median(sizes[-tenth:])
    context.close()
    assert last < 1.1 * first, told
