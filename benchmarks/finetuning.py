"""Training from a model against training from nothing: the same text, time and seed, by turns.

The beginning of each text is cut to each size; its last tenth is held out in both ways. What is printed is what
`charlstm train` finds on all of the held-out part at the end.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from charlstm.config import duration, size

SIZES = ("5KB", "20KB", "100KB", "500KB", "2MB")


def as_a_user(arguments: list[str]) -> None:
    """Run charlstm."""
    subprocess.run([sys.executable, "-m", "charlstm", *arguments], check=True, stderr=subprocess.DEVNULL)


def trained(run: Callable[[list[str]], object], path: Path, folder: Path, options: list[str]) -> tuple[float, float]:
    """Train, and return the lowest held-out loss in bits per character and the seconds that the run took."""
    name = "run"
    run(["train", str(path), "--checkpoints", str(folder), "--name", name, "--force", *options])
    rows = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return min(row["val_loss"] for row in rows) / math.log(2), rows[-1]["seconds"]


def cut(text: Path, length: int, folder: Path) -> Path | None:
    """Write the first `length` bytes of a text, in whole characters; None if it is shorter."""
    data = text.read_bytes()
    if len(data) < length:
        return None
    path = folder / f"{text.stem}-{length // 1000}.txt"
    path.write_text(data[:length].decode("utf-8", "ignore"), encoding="utf-8", newline="")
    return path


@click.command()
@click.argument("texts", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--from", "base", default="english", show_default=True, help="The model to begin with.")
@click.option("--time", "length", default="60s", show_default=True, help="Length of each run.")
@click.option("--size", "sizes", multiple=True, default=SIZES, show_default=True, help="How much of each text is used.")
@click.option("--seeds", default=3, show_default=True, help="Runs of each way.")
@click.pass_obj
def main(
    run: Callable[[list[str]], object] | None,
    texts: tuple[Path, ...],
    base: str,
    length: str,
    sizes: tuple[str, ...],
    seeds: int,
) -> None:
    """Train on TEXTS both ways and print a table."""
    duration(length)  # say at once if it is none
    print("| text | from nothing | seconds | from the model | seconds | difference |\n|---|---|---|---|---|---|")
    for text in texts:
        for part in sizes:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                path = cut(text, size(part), folder)
                if path is None:
                    continue
                ways: dict[str, list[tuple[float, float]]] = {"nothing": [], "model": []}
                for seed in range(1, seeds + 1):
                    options = ["--time", length, "--seed", str(seed)]
                    ways["nothing"].append(trained(run or as_a_user, path, folder, options))
                    ways["model"].append(trained(run or as_a_user, path, folder, [*options, "--from", base]))
                bits = {way: statistics.median(loss for loss, _ in found) for way, found in ways.items()}
                took = {way: statistics.median(seconds for _, seconds in found) for way, found in ways.items()}
                differences = [b - a for (a, _), (b, _) in zip(ways["nothing"], ways["model"], strict=True)]
                print(
                    f"| {text.name}, {part} | {bits['nothing']:.3f} | {took['nothing']:.0f} | {bits['model']:.3f} "
                    f"| {took['model']:.0f} | {statistics.median(differences):+.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
