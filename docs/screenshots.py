"""Makes the two pictures of the README from a real page: `python docs/screenshots.py`, or `make page`."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from charlstm.cli import run

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TEXT = """ROMEO:
But, soft! what light through yonder window breaks?
It is the east, and Juliet is the sun.
Arise, fair sun, and kill the envious moon,
Who is already sick and pale with grief,
That thou her maid art far more fair than she:
Be not her maid, since she is envious;
Her vestal livery is but sick and green
And none but fools do wear it; cast it off.
It is my lady, O, it is my love!
O, that she knew she were!
She speaks yet she says nothing: what of that?
Her eye discourses; I will answer it.
I am too bold, 'tis not to me she speaks:
Two of the fairest stars in all the heaven,
Having some business, do entreat her eyes
To twinkle in their spheres till they return.
What if her eyes were there, they in her head?
"""
UNIT = "#unit=1:287&at=325"
WIDTH = 1200


def pictures(page: Any, folder: Path) -> None:
    """Write both pictures into a folder."""
    page.wait_for_function("() => document.getElementById('unit').value === '287'")
    page.wait_for_timeout(500)
    top = _box(page, ".chooser")["y"] - 16
    end = _box(page, ".legend")
    _clip(page, folder / "page-look.png", top, end["y"] + end["height"] + 8)
    page.click("#theme")
    page.locator("#unrolled").scroll_into_view_if_needed()
    page.locator("#cell").scroll_into_view_if_needed()
    page.wait_for_timeout(800)
    cell = _box(page, "#cell .cell-figure")
    _clip(page, folder / "page-step.png", cell["y"] - 16, cell["y"] + cell["height"] + 16)


def _box(page: Any, selector: str) -> dict[str, float]:
    """Return where an element is on the whole page."""
    box: dict[str, float] = page.locator(selector).first.evaluate(
        "(it) => { const { y, height } = it.getBoundingClientRect(); return { y: y + scrollY, height }; }"
    )
    return box


def _clip(page: Any, path: Path, top: float, end: float) -> None:
    clip = {"x": 0, "y": top, "width": WIDTH, "height": end - top}
    page.screenshot(path=str(path), clip=clip, full_page=True)


def main() -> int:
    """Write the pictures; return 1 if there is no browser."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        print("no chromium here: apt-get install chromium", file=sys.stderr)
        return 1
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "page.html"
        if code := run(["inspect", "shakespeare", "--text", TEXT, "--html", str(path)]):
            return code
        browser = playwright.chromium.launch(executable_path=program)
        context = browser.new_context(
            offline=True, viewport={"width": WIDTH, "height": 900}, color_scheme="light", reduced_motion="reduce"
        )
        page = context.new_page()
        page.goto(path.as_uri() + UNIT)
        pictures(page, HERE)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
