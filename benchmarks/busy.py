"""A busy machine: how fast charlstm's commands are beside 0, 1 and 2 busy programs, and what share that is of idle.

    python benchmarks/busy.py [--spin]

Each command runs as a user runs it, as a process of its own, in turns with busy programs and without. With --spin
OpenMP's threads wait as they do by default, which is what charlstm does not let them do.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from pydoc_data.topics import topics

import click

_BUSY = "while True: pass"


@contextlib.contextmanager
def busy(programs: int) -> Iterator[None]:
    """Keep so many processors busy."""
    running = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(programs)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


Run = Callable[[Path, dict[str, str], tuple[str, ...]], str]
"""Runs a command line in a folder and an environment, and returns what it prints."""


def as_a_user(folder: Path, environment: dict[str, str], arguments: tuple[str, ...]) -> str:
    """Run a command line in a process of its own."""
    command = [sys.executable, "-m", "charlstm", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout


def ways(
    charlstm: Callable[..., str], folder: Path, seconds: float, hidden_size: int, length: int
) -> dict[str, Callable[[], float]]:
    """Return what is measured: each gives characters per second."""

    def train() -> float:
        size = (f"--hidden-size={hidden_size}", "--num-layers=1")
        charlstm("train", "docs.txt", f"--time={seconds}s", "--name=measured", "--force", *size)
        row = json.loads((folder / "checkpoints/measured/metrics.jsonl").read_text().splitlines()[-1])
        return float(row["characters"]) / float(row["seconds"])

    def evaluate() -> float:
        row = json.loads(charlstm("eval", "model", "part.txt", "--json"))
        return float(row["characters"]) / float(row["seconds"])

    def sample() -> float:
        row = json.loads(charlstm("sample", "model", f"--length={length}", "--json", "--seed=1"))
        return float(row["characters"]) / float(row["seconds"])

    return {"train": train, "eval": evaluate, "sample": sample}


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=20.0, show_default=True, help="Length of a training.")
@click.option("--hidden-size", default=384, show_default=True, help="Units of the one layer.")
@click.option("--length", default=20_000, show_default=True, help="Characters of a sample.")
@click.option("--characters", default=100_000, show_default=True, help="Characters of the text that is scored.")
@click.option("--programs", default=2, show_default=True, help="Busy programs, at most.")
@click.option("--spin", is_flag=True, help="Let threads wait as OpenMP's default has it.")
@click.pass_obj
def main(
    run: Run | None,
    rounds: int,
    seconds: float,
    hidden_size: int,
    length: int,
    characters: int,
    programs: int,
    spin: bool,
) -> None:
    """Print characters per second of training, evaluation and sampling, and their shares of the idle speed."""
    environment = os.environ | ({"GOMP_SPINCOUNT": "300000000"} if spin else {})
    text = "\n".join(topics[name] for name in sorted(topics))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)

        def charlstm(*arguments: str) -> str:
            return (run or as_a_user)(folder, environment, arguments)

        (folder / "docs.txt").write_text(text, encoding="utf-8")
        (folder / "part.txt").write_text(text[:characters], encoding="utf-8")
        shape = (f"--hidden-size={hidden_size}", "--num-layers=1", "--name=model")
        charlstm("train", "docs.txt", "--steps=20", *shape)
        measured = ways(charlstm, folder, seconds, hidden_size, length)
        figures: dict[tuple[str, int], list[float]] = {}
        for _ in range(rounds):
            for name, way in measured.items():
                for number in range(programs + 1):
                    with busy(number):
                        figures.setdefault((name, number), []).append(way())
    print(f"1 x {hidden_size}, {os.cpu_count()} processors, medians of {rounds}\n")
    print("         busy programs   characters/s   share of idle")
    for (name, number), values in sorted(figures.items(), key=lambda item: (list(measured).index(item[0][0]), item[0])):
        shares = [a / b for a, b in zip(values, figures[name, 0], strict=True)]
        print(f"{name:<8} {number:>13}   {statistics.median(values):>12,.0f}   {statistics.median(shares):>13.2f}")


if __name__ == "__main__":
    main()
