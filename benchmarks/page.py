"""The page in Chromium, without a window: size, time to the first character, speed, and what drawing costs."""

import itertools
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from measure import shape

from charlstm import api
from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.export import payload
from charlstm.network import weights
from charlstm.show.page import join
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage.loaded import Loaded
from charlstm.text.corpus import Source

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECTIONS = ("write", "look", "heat-box", "cell", "unrolled")
PACES = ("quick", "fast")
LATE = 20  # ms
FIRST = """
const look = () => {
  const sheet = document.getElementById("sheet");
  if (sheet && sheet.textContent) window.first = performance.now();
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
SPEED = """async (length) => {
  await charlstm.generate({ length: 200, seed: 1 });
  const began = performance.now();
  const text = await charlstm.generate({ length, seed: 1, temperature: 1 });
  return text.length / (performance.now() - began) * 1000;
}"""
FRAMES = """(seconds) => new Promise((done) => {
  const sheet = document.getElementById("sheet");
  const frames = [];
  let last = performance.now();
  let characters = 0;
  const began = last;
  const watch = new MutationObserver((changes) => {
    for (const { type, target, oldValue, addedNodes } of changes) {
      if (type === "characterData") characters += target.length - oldValue.length;
      for (const node of addedNodes) characters += node.textContent.length;
    }
  });
  watch.observe(sheet, { childList: true, subtree: true, characterData: true, characterDataOldValue: true });
  const next = (now) => {
    frames.push(now - last);
    last = now;
    if (now - began < 1000 * seconds) requestAnimationFrame(next);
    else done({ frames: frames.slice(1), speed: characters / (now - began) * 1000 });
  };
  requestAnimationFrame(next);
})"""


def model(config: ModelConfig) -> Loaded:
    """Return a model of this shape that has learnt nothing: it computes as fast as any other."""
    known = api.load("shakespeare").loaded
    source = np.random.default_rng(1)
    shapes = weights.shapes(config, known.tokenizer.vocab_size)
    tensors = {name: source.normal(0, 0.1, each).astype(np.float32) for name, each in shapes.items()}
    run = RunConfig(text=TextConfig(), model=config, train=TrainConfig())
    made = checkpoints.Checkpoint(run, known.tokenizer, Source(("a.txt",), "0" * 64, 1), 1, None, tensors)
    return Loaded(Path("random.safetensors"), made)


def sizes(loaded: Loaded) -> tuple[bytes, str]:
    """Return the page of a model, and a line on its size."""
    manifest, coded = payload.of(loaded)
    page = join.joined(manifest["name"], manifest, coded)
    other = len(page) - len(coded)
    count = weights.count(loaded.config.model, loaded.tokenizer.vocab_size)
    return page, f"{count / 1e6:.2f} M weights: {len(page) / 1e6:.2f} MB, of it {other / 1e3:.1f} KB are no weights"


def opened(browser: Any, path: Path, query: str = "") -> Any:
    """Return a page that is ready."""
    page = browser.new_context(offline=True, viewport={"width": 1280, "height": 900}).new_page()
    page.add_init_script(FIRST)
    page.goto(path.as_uri() + query)
    page.wait_for_function("() => window.first !== undefined")
    return page


def still(page: Any) -> None:
    """Stop what the page writes by itself."""
    page.evaluate("() => { const go = document.getElementById('go'); if (go.textContent === 'Stop') go.click(); }")


def told(name: str, values: list[float], unit: str) -> None:
    """Print the median of some figures, and their extremes."""
    print(f"{name:<44} {statistics.median(values):>9,.1f} {unit}  ({min(values):,.1f} to {max(values):,.1f})")


def measured(browser: Any, path: Path, rounds: int, length: int, seconds: float) -> None:
    """Print what a page does."""
    figures: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    for _ in range(rounds):
        page = opened(browser, path)
        add("load to first character, ms", page.evaluate("window.first"))
        still(page)
        add("WebAssembly, characters/s", page.evaluate(SPEED, length))
        page.fill("#length", "")
        page.click("#go")
        for pace, section in itertools.product(PACES, SECTIONS):
            page.click(f"label:has(input[name=pace][value={pace}])")
            page.evaluate("(id) => document.getElementById(id).scrollIntoView()", section)
            page.wait_for_timeout(500)
            live = page.evaluate(FRAMES, seconds)
            add(f"{pace}, #{section} in sight, characters/s", live["speed"])
            on_time = float(np.mean(np.array(live["frames"]) <= LATE))
            add(f"{pace}, #{section} in sight, frames within 20 ms, %", 100 * on_time)
        page.context.close()
        page = opened(browser, path, "?engine=js")
        still(page)
        add("JavaScript, characters/s", page.evaluate(SPEED, max(1, length // 5)))
        page.context.close()
    for name, values in figures.items():
        what, unit = name.rsplit(", ", 1)
        told(what, values, unit)


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--length", default=20_000, show_default=True, help="Characters that are written in each round.")
@click.option("--seconds", default=5.0, show_default=True, help="For which frames are timed.")
@click.option("--larger", default="1x1080", show_default=True, help="Shape of the network whose size is told too.")
def main(rounds: int, length: int, seconds: float, larger: str) -> None:
    """Print the size of a page, how fast it opens and writes, and how long its frames take."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise click.ClickException("no chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    page, size = sizes(api.load("shakespeare").loaded)
    print(f"shakespeare, {size}")
    print(f"{larger}, {sizes(model(shape(larger)))[1]}")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "page.html"
        path.write_bytes(page)
        browser = playwright.chromium.launch(executable_path=program)
        print(f"Chromium {browser.version}, shakespeare:")
        measured(browser, path, rounds, length, seconds)
        browser.close()


if __name__ == "__main__":
    main()
