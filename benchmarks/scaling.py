"""How training grows: speed and peak memory against the corpus, the network, the batch and the processes.

Every measurement is a process of its own, so that its peak memory is its own.

    python benchmarks/scaling.py corpus --megabytes 1 16 256 2048 --folder FOLDER
    python benchmarks/scaling.py model [--plot PNG]
    python benchmarks/scaling.py processes
"""

import argparse
import json
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
    "hidden_size": (128, 256, 512, 1024, 2048),
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
    print(json.dumps(fit(rows)))
    if plot:
        draw(rows, plot)


def fit(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Fit seconds = operations / rate + weights * cost + (steps in time) * cost, by relative errors."""
    import numpy as np

    operations = np.array([6.0 * row["parameters"] * row["batch_size"] * row["seq_length"] for row in rows])
    weights = np.array([float(row["parameters"]) for row in rows])
    recurrent = np.array([float(row["seq_length"] * row["num_layers"]) for row in rows])
    seconds = np.array([row["seconds"] for row in rows])
    columns = np.stack([operations, weights, recurrent], 1) / seconds[:, None]
    solution = np.ones(3)
    active = [0, 1, 2]
    while active:  # no cost is negative
        found, *_ = np.linalg.lstsq(columns[:, active], np.ones(len(rows)), rcond=None)
        solution = np.zeros(3)
        solution[active] = found
        if (found >= 0).all():
            break
        active = [number for number, value in zip(active, found, strict=True) if value > 0]
    predicted = np.stack([operations, weights, recurrent], 1) @ solution
    error = np.abs(predicted / seconds - 1)
    return {
        "operations a second": float(1 / solution[0]),
        "nanoseconds a weight": float(solution[1] * 1e9),
        "microseconds a time step and layer": float(solution[2] * 1e6),
        "median error": float(np.median(error)),
        "largest error": float(error.max()),
    }


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
            axis.set_xticks(values, [str(value) for value in values])
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
    parser.add_argument("what", choices=["corpus", "model", "processes"])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.what == "corpus":
        corpus_table(options.megabytes, options.folder)
    elif options.what == "model":
        model_table(options.precision, options.plot)
    else:
        processes_table(options.precision)


if __name__ == "__main__":
    if sys.argv[1] == "--corpus":
        measure_corpus(*sys.argv[2:])
    elif sys.argv[1] == "--model":
        measure_model(*sys.argv[2:])
    else:
        main()
