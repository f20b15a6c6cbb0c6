"""Learning: charlstm's defaults and, given a checkout of it, nanoGPT's CPU recipe, side by side.

Both train on the same characters for the same wall-clock time with the same threads, one after the other, and are
scored on the same held-out characters under two protocols:

    carried   every held-out character given all before it: charlstm with carried state; nanoGPT, which has none,
              in overlapping blocks, so that each character has at least half a block before it
    cold B    nanoGPT's own protocol, crops of B characters read from nothing; all crops, not a random few
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click
import measure
import nanogpt
import numpy as np
import torch
import torch.nn.functional as F

from charlstm.config import TextConfig, duration
from charlstm.measure import scoring
from charlstm.measure.read import Reader
from charlstm.network.device import Device
from charlstm.network.model import CharLSTM
from charlstm.storage import checkpoint
from charlstm.text import corpus as corpora

COLD_BLOCKS = (64, 256)


@dataclass
class Result:
    """One training run and its scores in nats a character."""

    name: str
    seed: int
    seconds: float
    scores: dict[str, float]
    curve: list[tuple[float, float]] = field(default_factory=list)


@torch.inference_mode()
def mean_nats(logits_of: Callable[[torch.Tensor], torch.Tensor], ids: np.ndarray, block: int, first: int = 0) -> float:
    """Score crops of `block` characters, from position `first` of each."""
    step = block - first
    starts = np.arange(0, len(ids) - block, step)
    total, count = 0.0, 0
    for part in np.array_split(starts, max(1, len(starts) // 64)):
        grid = part[:, None] + np.arange(block)
        logits = logits_of(torch.from_numpy(ids[grid]))[:, first:]
        targets = torch.from_numpy(ids[grid + 1])[:, first:]
        total += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
        count += targets.numel()
    return total / count


def as_a_user(arguments: list[str]) -> None:
    """Run charlstm, its start being a part of the time."""
    subprocess.run([sys.executable, "-m", "charlstm", *arguments], check=True, stderr=subprocess.DEVNULL)


def train_charlstm(
    run: Callable[[list[str]], object], path: Path, seconds: float, seed: int, folder: Path, options: tuple[str, ...]
) -> Result:
    """Train with nothing but the time given."""
    began = time.monotonic()
    command = ["train", str(path), "--time", f"{seconds}s", "--seed", str(seed)]
    run([*command, "--checkpoints", str(folder), "--name", "run", *options])
    took = time.monotonic() - began
    loaded = checkpoint.load(folder / "run" / "best.safetensors")
    tokenizer = loaded.tokenizer
    model = CharLSTM.from_weights(loaded.config.model, tokenizer, loaded.weights)
    split = corpora.load([str(path)], [], TextConfig(), tokenizer).val
    scores = {"carried": scoring.evaluate(Reader(model, tokenizer, Device("cpu", "fp32")), split).loss}
    ids = split.ids.astype(np.int64)
    for block in COLD_BLOCKS:
        scores[f"cold {block}"] = mean_nats(
            lambda rows: model(rows.T, model.zero_state(len(rows)))[0].transpose(0, 1), ids, block
        )
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return Result("charlstm", seed, took, scores, [(row["seconds"], row["val_loss"]) for row in rows])


def train_nanogpt(checkout: Path, path: Path, seconds: float, seed: int, folder: Path) -> Result:
    """Train nanoGPT's CPU recipe on the same split, and score it."""
    corpus = corpora.load([str(path)], [], TextConfig())
    train, held_out = (corpus.tokenizer.decode(part.ids) for part in (corpus.train, corpus.val))
    trained = nanogpt.train(checkout, train, held_out, seconds, seed, folder / "nanogpt")
    ids = np.array([trained.table[character] for character in held_out])

    def logits_of(rows: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = trained.model(rows, rows)[0]  # with targets it returns the logits of every position
        return logits

    block = nanogpt.BLOCK
    scores = {
        "carried": mean_nats(logits_of, ids, block, first=block // 2),
        f"cold {block}": mean_nats(logits_of, ids, block),
    }
    return Result("nanoGPT", seed, trained.seconds, scores, trained.curve)


def table(results: list[Result], seconds: float) -> str:
    """Return the medians over the seeds as a Markdown table."""
    protocols = ["carried", *(f"cold {block}" for block in COLD_BLOCKS)]
    lines = [f"| {seconds:g} s | {' | '.join(protocols)} | seconds used |", "|---" * (len(protocols) + 2) + "|"]
    for name in dict.fromkeys(result.name for result in results):
        own = [result for result in results if result.name == name]
        cells = []
        for protocol in protocols:
            values = [result.scores[protocol] for result in own if protocol in result.scores]
            spread = f" ({min(values):.4f} to {max(values):.4f})" if len(values) > 1 else ""
            cells.append(f"{statistics.median(values):.4f}{spread}" if values else "")
        lines.append(f"| {name} | {' | '.join(cells)} | {statistics.median(r.seconds for r in own):.0f} |")
    return "\n".join(lines)


def plot(results: list[Result], path: Path) -> None:
    """Draw held-out loss against seconds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for number, name in enumerate(dict.fromkeys(result.name for result in results)):
        for index, result in enumerate(r for r in results if r.name == name):
            axes.plot(
                *zip(*result.curve, strict=True),
                marker="o",
                ms=3,
                color=f"C{number}",
                label=name if not index else None,
            )
    axes.set(xlabel="seconds of training", ylabel="held-out loss, nats a character")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


@click.command()
@click.argument("corpus", type=click.Path(exists=True, path_type=Path))
@click.option("--time", "length", default="94s", show_default=True, help="Wall-clock budget of each run.")
@click.option("--seeds", default=3, show_default=True, help="Runs of each.")
@click.option("--nanogpt", "checkout", type=click.Path(exists=True, path_type=Path), help="A checkout of nanoGPT.")
@measure.PLOT
@click.argument("options", nargs=-1)
@click.pass_obj
def main(
    run: Callable[[list[str]], object] | None,
    corpus: Path,
    length: str,
    seeds: int,
    checkout: Path | None,
    picture: Path | None,
    options: tuple[str, ...],
) -> None:
    """Train and score; OPTIONS (after --) go to charlstm train."""
    seconds = duration(length)
    results = []
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            results.append(train_charlstm(run or as_a_user, corpus, seconds, seed, Path(folder), options))
            print(results[-1].name, seed, results[-1].scores, flush=True)
            if checkout:
                results.append(train_nanogpt(checkout, corpus, seconds, seed, Path(folder)))
                print(results[-1].name, seed, results[-1].scores, flush=True)
    print(f"\n{corpus.name}, {torch.get_num_threads()} threads, median of {seeds}\n\n{table(results, seconds)}")
    if picture:
        plot(results, picture)


if __name__ == "__main__":
    main()
