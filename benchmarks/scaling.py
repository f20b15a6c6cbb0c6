"""How training grows: speed and peak memory against the corpus, the network, the batch and the processes.

Every measurement is a process of its own, so that its peak memory is its own.

    python benchmarks/scaling.py corpus 1 16 256 2048 --folder FOLDER
    python benchmarks/scaling.py model --plot PNG
    python benchmarks/scaling.py processes
    python benchmarks/scaling.py predict
"""

import json
import math
import os
import random
import re
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import measure

from charlstm.config import ModelConfig

STEPS = 12
ROUNDS = 3
DEFAULT = {"hidden_size": 512, "num_layers": 1, "batch_size": 32, "seq_length": 64}
VARIED: dict[str, tuple[int, ...]] = {
    "hidden_size": (128, 256, 512, 768, 1024, 1536, 2048),
    "num_layers": (1, 2, 3, 4),
    "batch_size": (8, 32, 128, 512),
    "seq_length": (16, 64, 256),
}


def make_text(path: Path, megabytes: int) -> None:
    """Write the standard library's sources over and over, with edits, so that no two passes are alike."""
    source = random.Random(1)
    library = Path(sysconfig.get_path("stdlib"))
    texts = [file.read_text("utf-8", "ignore") for file in sorted(library.glob("*.py"))]
    size, limit = 0, megabytes * 1_000_000
    with path.open("w", encoding="utf-8", newline="") as file:
        while size < limit:
            source.shuffle(texts)
            for text in texts:
                old, new = source.choice(("self", "return", "the", "if")), f"v{source.randrange(10**6)}"
                edited = re.sub(rf"\b{old}\b", new, text)[: limit - size]
                size += len(edited.encode())
                file.write(edited)


class Processes:
    """Runs a command of this file in processes of their own."""

    def alone(self, *arguments: str, threads: int | None = None) -> dict[str, Any]:
        """Return what one process prints, its seconds, and its peak memory in MB."""
        began = time.perf_counter()
        command = [sys.executable, __file__, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_with(threads)) as process:
            out = process.stdout.read() if process.stdout else ""
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return {
            "wall": time.perf_counter() - began,
            "megabytes": usage.ru_maxrss * unit / 1e6,
            **json.loads(out.splitlines()[-1]),
        }

    def together(self, count: int, *arguments: str) -> dict[str, Any]:
        """Return what the first of some processes of one thread prints, which train together as under torchrun."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        job = _with(threads=1) | {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, __file__, *arguments]
        started = [
            subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, env=job | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            )
            for rank in range(count)
        ]
        outs = [process.communicate()[0] for process in started]
        for process in started:
            if process.returncode:
                raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
        printed: dict[str, Any] = json.loads(outs[0].splitlines()[-1])
        return printed


def _with(threads: int | None) -> dict[str, str]:
    """Return the environment of a process of so many threads."""
    return os.environ | ({"OMP_NUM_THREADS": str(threads)} if threads else {})


@click.group()
@click.pass_context
def main(ctx: click.Context) -> None:
    """Measure how training grows with one of these."""
    ctx.obj = ctx.obj or Processes()


@main.command(hidden=True)
@click.argument("path")
@click.argument("cache")
@click.option("--steps", default=60)
def measure_corpus(path: str, cache: str, steps: int) -> None:
    """Prepare a text and train a few steps on it; print the seconds of each."""
    from charlstm.config import DeviceConfig, RunConfig, TextConfig, TrainConfig
    from charlstm.network.device import Device, choose
    from charlstm.text import corpus as corpora
    from charlstm.text.cache import Cache
    from charlstm.training.state import Training

    choose(DeviceConfig(device="cpu"))
    began = time.perf_counter()
    corpus = corpora.load([path], [], TextConfig(), cache=Cache(Path(cache)))
    prepared = time.perf_counter()
    config = RunConfig(text=TextConfig(), model=ModelConfig(hidden_size=256), train=TrainConfig(steps=1000))
    training = Training(config, corpus, Device("cpu", "fp32"))
    training.update(1e-3)
    started = time.perf_counter()
    for _ in range(steps):
        training.update(1e-3)
    done = time.perf_counter()
    print(
        json.dumps(
            {
                "prepare": prepared - began,
                "start": started - prepared,
                "speed": steps * 32 * 64 / (done - started),
                "characters": corpus.source.characters,
            }
        )
    )


@main.command(hidden=True)
@click.argument("sizes")
@click.argument("precision")
@click.option("--steps", default=STEPS)
def measure_model(sizes: str, precision: str, steps: int) -> None:
    """Train some steps of a network; print the median seconds of a step and the number of weights."""
    import numpy as np

    from charlstm.config import DeviceConfig, RunConfig, TextConfig, TrainConfig
    from charlstm.network import weights
    from charlstm.network.device import Device, choose
    from charlstm.network.distributed import join, leave
    from charlstm.text import corpus as corpora
    from charlstm.text.corpus import Corpus, Source
    from charlstm.text.tokenizer import CharTokenizer
    from charlstm.training.state import Training

    choose(DeviceConfig(device="cpu"))
    group = join("cpu")
    chosen: dict[str, Any] = json.loads(sizes)
    tokenizer = CharTokenizer("".join(map(chr, range(32, 127))))
    ids = np.random.default_rng(0).integers(1, 96, 2_000_000)
    split = corpora.encode(tokenizer.decode(ids), tokenizer)
    corpus = Corpus(Source(("none",), "", len(ids)), tokenizer, split, split)
    model = {key: chosen[key] for key in ("hidden_size", "num_layers")}
    train = {key: chosen[key] for key in ("batch_size", "seq_length")}
    config = RunConfig(text=TextConfig(), model=ModelConfig(**model), train=TrainConfig(steps=1000, **train))
    training = Training(config, corpus, Device("cpu", precision), group)
    times = []
    for step in range(steps + 3):
        began = time.perf_counter()
        training.update(1e-3)
        if step >= 3:
            times.append(time.perf_counter() - began)
    if group.first:
        print(json.dumps({"seconds": float(np.median(times)), "parameters": weights.count(config.model, 96)}))
    leave(group)


@main.command()
@click.argument("megabytes", type=int, nargs=-1)
@click.option("--folder", type=click.Path(path_type=Path), help="Where the texts are kept.  [default: a temporary one]")
@click.option("--steps", default=60, show_default=True, help="Steps of training.")
@click.pass_obj
def corpus(processes: Processes, megabytes: Sequence[int], folder: Path | None, steps: int) -> None:
    """Print how preparing and training grow with the corpus, 1, 16 and 256 MB of it if MEGABYTES are not given."""
    folder = folder or Path(tempfile.gettempdir())
    head = ("corpus", "prepared in", "MB/s", "second run", "characters/s trained", "peak memory", "above the first")
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    least = None
    for size in megabytes or (1, 16, 256):
        text = folder / f"scaling-{size}.txt"
        if not text.exists():
            make_text(text, size)
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            arguments = "measure-corpus", str(text), cache, f"--steps={steps}"
            first, second = processes.alone(*arguments), processes.alone(*arguments)
        peak = max(first["megabytes"], second["megabytes"])
        least = least or peak
        print(
            f"| {size:,} MB | {first['prepare']:.2f} s | {size / first['prepare']:,.0f} | {second['prepare']:.2f} s "
            f"| {second['speed']:,.0f} | {peak:,.0f} MB | {peak - least:+,.0f} MB |",
            flush=True,
        )


def _computable(ctx: click.Context, param: click.Parameter, precision: str | None) -> str:
    """Return the precision asked for, or the processor's faster one; refuse what it has not."""
    from charlstm.network.device import has_bf16

    if precision == "bf16" and not has_bf16("cpu"):
        raise click.BadParameter("this processor has no bf16; give fp32", ctx, param)
    return precision or measure.precisions()[0]


PRECISION = click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16"]),
    callback=_computable,
    help="[default: bf16 if the processor has it]",
)


@main.command()
@PRECISION
@click.option("--rounds", default=ROUNDS, show_default=True)
@click.option("--steps", default=STEPS, show_default=True)
@click.option(
    "--only", type=click.Choice(list(VARIED)), multiple=True, help="Vary this one; may be given several times."
)
@click.option("--at-most", type=int, help="Leave out greater values.")
@measure.PLOT
@click.pass_obj
def model(
    processes: Processes,
    precision: str,
    rounds: int,
    steps: int,
    only: Sequence[str],
    at_most: int | None,
    picture: Path | None,
) -> None:
    """Print how a step grows with the network and the batch."""
    rows = []
    print("| varied | parameters | seconds a step | characters/s | peak memory |\n|---|---|---|---|---|")
    for name in only or VARIED:
        for value in VARIED[name]:
            if at_most is not None and value > at_most:
                continue
            sizes = DEFAULT | {name: value}
            arguments = "measure-model", json.dumps(sizes), precision, f"--steps={steps}"
            runs = [processes.alone(*arguments) for _ in range(rounds)]
            found = sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]
            speed = sizes["batch_size"] * sizes["seq_length"] / found["seconds"]
            rows.append(sizes | found | {"varied": name, "speed": speed})
            print(
                f"| {name} {value} | {found['parameters'] / 1e6:.2f} M | {found['seconds']:.4f} | {speed:,.0f} "
                f"| {found['megabytes']:,.0f} MB |",
                flush=True,
            )
    for name, cost in fit(rows, 2 if precision == "bf16" else 4).items():
        print(f"{name}: {cost:.3g}")
    if picture:
        draw(rows, picture)


def fit(rows: list[dict[str, Any]], width: int) -> dict[str, float]:
    """Fit the cost model of docs/scaling.md by relative errors: what a step takes is a sum of four costs.

    Args:
        rows: what was measured.
        width: bytes of a number of the recurrent matrix.
    """
    import numpy as np

    seconds = np.array([row["seconds"] for row in rows])

    def costs(cache: float) -> Any:
        return np.array(
            [
                (
                    6.0 * row["parameters"] * row["batch_size"] * row["seq_length"],
                    row["parameters"],
                    row["seq_length"] * row["num_layers"],
                    2 * row["seq_length"] * row["num_layers"] * max(0, 4 * row["hidden_size"] ** 2 * width - cache),
                )
                for row in rows
            ]
        )

    best: dict[str, float] = {}
    for megabytes in np.arange(0.5, 16.5, 0.5):
        columns = costs(megabytes * 1e6) / seconds[:, None]
        active = [0, 1, 2, 3]
        while True:  # no cost is negative
            found, *_ = np.linalg.lstsq(columns[:, active], np.ones(len(rows)), rcond=None)
            if (found > 0).all():
                break
            active = [number for number, value in zip(active, found, strict=True) if value > 0]
        each = np.zeros(4)
        each[active] = found
        error = np.abs(columns @ each - 1)
        if not best or error.max() < best["largest error"]:
            best = {
                "operations a second": float(1 / each[0]),
                "nanoseconds a weight": float(each[1] * 1e9),
                "microseconds a time step and layer": float(each[2] * 1e6),
                "bytes a second beyond the cache": float(1 / each[3]) if each[3] else math.inf,
                "cache, MB": float(megabytes),
                "median error": float(np.median(error)),
                "largest error": float(error.max()),
            }
    return best


GPU = {  # assumed, not measured: of an H200's 990e12 operations a second, 4.8e12 bytes a second
    "operations a second": 2e14,
    "seconds a weight": 28 / 4.8e12,  # gradient read; weight and two moments read and written
    "seconds a time step and layer": 20e-6,
    "bytes a second within 8": 450e9,  # NVLink, one direction
    "bytes a second beyond 8": 50e9,  # a network of 400 Gbit/s for each
}


@main.command()
def predict() -> None:
    """Print what the cost model says of one large network on 1, 8 and 64 GPUs: a prediction from assumed figures."""
    from charlstm.network import weights

    model, window = ModelConfig(hidden_size=2048, num_layers=4), 256
    parameters = weights.count(model, 96)
    print(f"{model.words}, {parameters / 1e6:.0f} M parameters, window {window}")
    print("| GPUs | streams each | seconds a step | of them exchange | characters/s | of so many times one |")
    print("|---|---|---|---|---|---|")
    one = 0.0
    for gpus, streams in ((1, 256), (8, 256), (64, 256), (8, 32), (64, 4)):
        width = GPU["bytes a second within 8" if gpus <= 8 else "bytes a second beyond 8"]
        exchange = 2 * (gpus - 1) / gpus * 4 * parameters / width  # a ring's all-reduce of fp32 gradients
        seconds = (
            6 * parameters * streams * window / GPU["operations a second"]
            + parameters * GPU["seconds a weight"]
            + window * model.num_layers * GPU["seconds a time step and layer"]
            + exchange
        )
        speed = gpus * streams * window / seconds
        one = one or speed
        print(f"| {gpus} | {streams} | {seconds:.4f} | {exchange:.4f} | {speed:,.0f} | {speed / one / gpus:.0%} |")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot speed and memory against each of the sizes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    varied = list(dict.fromkeys(row["varied"] for row in rows))
    figure, axes = plt.subplots(2, len(varied), figsize=(3.2 * len(varied), 5.5), squeeze=False)
    for column, name in enumerate(varied):
        own = [row for row in rows if row["varied"] == name]
        values = [row[name] for row in own]
        for line, (key, label) in enumerate((("speed", "characters/s"), ("megabytes", "peak memory, MB"))):
            axis = axes[line][column]
            axis.plot(values, [row[key] for row in own], marker="o")
            axis.set_xscale("log", base=2)
            shown = values if len(values) < 6 else values[::2]
            axis.set_xticks(shown, [str(value) for value in shown], minor=False)
            axis.set_ylim(bottom=0)
            axis.set_xlabel(name)
            axis.grid(alpha=0.3)
            if not column:
                axis.set_ylabel(label)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


@main.command(name="processes")
@PRECISION
@click.option("--rounds", default=ROUNDS, show_default=True)
@click.option("--steps", default=STEPS, show_default=True)
@measure.SHAPES
@click.pass_obj
def in_processes(
    processes: Processes, precision: str, rounds: int, steps: int, models: tuple[ModelConfig, ...]
) -> None:
    """Print one process of two threads against two processes of one thread, in turns; the global batch is the same."""
    print("| size | one process, 2 threads, characters/s | two processes, 1 thread | ratio |\n|---|---|---|---|")
    for shape in models or (ModelConfig(), ModelConfig(hidden_size=1024), ModelConfig(num_layers=2)):
        sizes = DEFAULT | {"hidden_size": shape.hidden_size, "num_layers": shape.num_layers}
        arguments = "measure-model", json.dumps(sizes), precision, f"--steps={steps}"
        speeds: list[tuple[float, float]] = []
        for _ in range(rounds):
            taken = processes.alone(*arguments, threads=2)["seconds"], processes.together(2, *arguments)["seconds"]
            one, two = (sizes["batch_size"] * sizes["seq_length"] / seconds for seconds in taken)
            speeds.append((one, two))
        one, two = (sorted(each)[rounds // 2] for each in zip(*speeds, strict=True))
        print(f"| {shape.num_layers} x {shape.hidden_size} | {one:,.0f} | {two:,.0f} | {two / one:.2f} |", flush=True)


if __name__ == "__main__":
    main()
