"""How training grows: speed and peak memory against the corpus, the network, the batch and the processes.

Every measurement is a process of its own, so that its peak memory is its own.

    python benchmarks/scaling.py corpus --megabytes 1 16 256 2048 --folder FOLDER
    python benchmarks/scaling.py model [--plot PNG]
    python benchmarks/scaling.py processes
    python benchmarks/scaling.py predict
"""

import argparse
import json
import math
import os
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

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


def child(arguments: list[str]) -> dict[str, Any]:
    """Run this file again with these arguments; return what it prints and its peak memory in MB."""
    before = time.perf_counter()
    with subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True) as process:
        out = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return {"wall": time.perf_counter() - before, "megabytes": usage.ru_maxrss * unit / 1e6} | json.loads(out)


def measure_corpus(path: str, cache: str) -> None:
    """Prepare a text and train a few steps on it; print the seconds of each."""
    from charlstm import corpus as corpora
    from charlstm.cache import Cache
    from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
    from charlstm.device import Device, choose
    from charlstm.train import Training

    choose(DeviceConfig(device="cpu"))
    began = time.perf_counter()
    corpus = corpora.load([path], [], TextConfig(), cache=Cache(Path(cache)))
    prepared = time.perf_counter()
    config = RunConfig(text=TextConfig(), model=ModelConfig(hidden_size=256), train=TrainConfig(steps=1000))
    training = Training(config, corpus, Device("cpu", "fp32"))
    training.update(1e-3)
    started = time.perf_counter()
    for _ in range(60):
        training.update(1e-3)
    done = time.perf_counter()
    print(
        json.dumps(
            {
                "prepare": prepared - began,
                "start": started - prepared,
                "speed": 60 * 32 * 64 / (done - started),
                "characters": corpus.source.characters,
            }
        )
    )


def measure_model(sizes: str, precision: str) -> None:
    """Train some steps of a network; print the median seconds of a step and the number of weights."""
    import numpy as np

    from charlstm import corpus as corpora
    from charlstm import recipe
    from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
    from charlstm.corpus import Corpus, Source
    from charlstm.device import Device, choose
    from charlstm.distributed import join, leave
    from charlstm.tokenizer import CharTokenizer
    from charlstm.train import Training

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
    for step in range(STEPS + 3):
        began = time.perf_counter()
        training.update(1e-3)
        if step >= 3:
            times.append(time.perf_counter() - began)
    if group.first:
        print(json.dumps({"seconds": float(np.median(times)), "parameters": recipe.parameters(config.model, 96)}))
    leave(group)


def corpus_table(megabytes: list[int], folder: Path) -> None:
    """Print how preparing and training grow with the corpus."""
    head = ("corpus", "prepared in", "MB/s", "second run", "characters/s trained", "peak memory", "above the first")
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|")
    least = None
    for size in megabytes:
        text = folder / f"scaling-{size}.txt"
        if not text.exists():
            make_text(text, size)
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            first = child(["--corpus", str(text), cache])
            second = child(["--corpus", str(text), cache])
        peak = max(first["megabytes"], second["megabytes"])
        least = least or peak
        print(
            f"| {size:,} MB | {first['prepare']:.2f} s | {size / first['prepare']:,.0f} | {second['prepare']:.2f} s "
            f"| {second['speed']:,.0f} | {peak:,.0f} MB | {peak - least:+,.0f} MB |",
            flush=True,
        )


def model_table(precision: str, plot: Path | None) -> None:
    """Print how a step grows with the network and the batch."""
    rows = []
    print("| varied | parameters | seconds a step | characters/s | peak memory |\n|---|---|---|---|---|")
    for name, values in VARIED.items():
        for value in values:
            sizes = DEFAULT | {name: value}
            runs = [child(["--model", json.dumps(sizes), precision]) for _ in range(ROUNDS)]
            found = sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]
            speed = sizes["batch_size"] * sizes["seq_length"] / found["seconds"]
            rows.append(sizes | found | {"varied": name, "speed": speed})
            print(
                f"| {name} {value} | {found['parameters'] / 1e6:.2f} M | {found['seconds']:.4f} | {speed:,.0f} "
                f"| {found['megabytes']:,.0f} MB |",
                flush=True,
            )
    for name, value in fit(rows, 2 if precision == "bf16" else 4).items():
        print(f"{name}: {value:.3g}")
    if plot:
        draw(rows, plot)


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


def predict() -> None:
    """Print what the cost model says of one large network on 1, 8 and 64 GPUs: a prediction from assumed figures."""
    from charlstm import recipe
    from charlstm.config import ModelConfig

    model, window = ModelConfig(hidden_size=2048, num_layers=4), 256
    parameters = recipe.parameters(model, 96)
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

    figure, axes = plt.subplots(2, len(VARIED), figsize=(3.2 * len(VARIED), 5.5), squeeze=False)
    for column, name in enumerate(VARIED):
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


def processes_table(precision: str) -> None:
    """Print one process of two threads against two processes of one thread, in turns; the global batch is the same."""
    print("| size | one process, 2 threads, characters/s | two processes, 1 thread | ratio |\n|---|---|---|---|")
    for sizes in ({}, {"hidden_size": 1024}, {"num_layers": 2}):
        chosen = json.dumps(DEFAULT | sizes)
        found: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            for count in (1, 2):
                command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
                environment = os.environ | {"OMP_NUM_THREADS": str(2 // count)}
                done = subprocess.run(
                    [*command, __file__, "--model", chosen, precision],
                    capture_output=True,
                    text=True,
                    check=False,
                    env=environment,
                )
                if done.returncode:
                    raise SystemExit(done.stderr)
                seconds = json.loads(done.stdout.splitlines()[-1])["seconds"]
                found[count].append(DEFAULT["batch_size"] * DEFAULT["seq_length"] / seconds)
        one, two = (sorted(found[count])[ROUNDS // 2] for count in (1, 2))
        name = f"{(DEFAULT | sizes)['num_layers']} x {(DEFAULT | sizes)['hidden_size']}"
        print(f"| {name} | {one:,.0f} | {two:,.0f} | {two / one:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["corpus", "model", "processes", "predict"])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.what == "corpus":
        corpus_table(options.megabytes, options.folder)
    elif options.what == "model":
        model_table(options.precision, options.plot)
    elif options.what == "processes":
        processes_table(options.precision)
    else:
        predict()


if __name__ == "__main__":
    if sys.argv[1] == "--corpus":
        measure_corpus(*sys.argv[2:])
    elif sys.argv[1] == "--model":
        measure_model(*sys.argv[2:])
    else:
        main()
