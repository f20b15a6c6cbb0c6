"""Evaluation: its speed against the training of the same model, and what dynamic evaluation gains at what price.

    python benchmarks/evaluation.py CHECKPOINT [--rounds 5]
    python benchmarks/evaluation.py CHECKPOINT --sweep         (the settings of dynamic evaluation, one after the other)
    python benchmarks/evaluation.py CHECKPOINT --sweep=rate    (one of them)

The text is the one the checkpoint was trained on; it is found as `charlstm eval` finds it. For --sweep give a model
that was trained on a part of the training text: what it holds out is then no one's held-out text.
"""

import time
from collections.abc import Callable, Iterable

import click
import measure

from charlstm import api
from charlstm.config import DeviceConfig
from charlstm.measure import dynamic, scoring
from charlstm.measure.dynamic import Tuning
from charlstm.measure.read import Reader, Window
from charlstm.measure.score import Score
from charlstm.network.device import Device, choose
from charlstm.storage.loaded import Loaded
from charlstm.text.cache import Cache, default_root
from charlstm.text.corpus import Corpus
from charlstm.training.state import Training

TRIED = {
    "rate": [Tuning(rate=rate) for rate in (1e-4, 3e-4, 5e-4, 1e-3)],
    "decay": [Tuning(decay=decay) for decay in (0.0, 3e-4, 3e-3, 1e-2)],
    "epsilon": [Tuning(epsilon=epsilon) for epsilon in (1e-3, 1e-1)],
    "streams": [Tuning(streams=streams) for streams in (8, 32)],
    "window": [Tuning(window=window) for window in (8, 16, 32)],
}


def load(name: str) -> tuple[Loaded, Corpus]:
    loaded = api.load(name).loaded
    cache = Cache(default_root())
    held_out = loaded.passage(None, None, cache).split
    train = loaded.training_text("needed to compare training", cache)
    return loaded, Corpus(loaded.source, loaded.tokenizer, train, held_out)


def scored(windows: Iterable[Window], corpus: Corpus) -> Score:
    """Return the score of the held-out text, given what was read of it."""
    return scoring.measured(windows, corpus.val, corpus.tokenizer).score


def timed(work: Callable[[], int]) -> float:
    """Return the characters a second of something that returns how many it read."""
    began = time.perf_counter()
    characters = work()
    return characters / (time.perf_counter() - began)


def compare(loaded: Loaded, corpus: Corpus, rounds: int, stretch: float) -> None:
    """Print characters per second; a stretch of training lasts so many seconds."""

    def training(precision: str) -> Callable[[], float]:
        run = Training(loaded.config, corpus, Device("cpu", precision))
        run.update(1e-3)

        def steps() -> int:
            before, until = run.at.characters, time.perf_counter() + stretch
            while time.perf_counter() < until:
                run.update(1e-3)
                run.settle()
            return run.at.characters - before

        return lambda: timed(steps)

    def plain(precision: str) -> Callable[[], float]:
        reader = Reader.of(loaded.on(Device("cpu", precision)))
        return lambda: timed(lambda: scoring.evaluate(reader, corpus.val).characters)

    def learning() -> int:
        return scored(dynamic.windows(Reader.of(loaded), corpus.val, corpus.train), corpus).characters

    for precision in reversed(measure.precisions()):
        print(f"\n{precision}")
        ways = {"evaluation": plain(precision), "training": training(precision)}
        measure.alternate(ways, rounds, "characters/s")
    print("\nfp32, with its statistics of the training text")
    measure.alternate(
        {"dynamic evaluation": lambda: timed(learning), "evaluation": plain("fp32")}, rounds, "characters/s"
    )


def sweep(loaded: Loaded, corpus: Corpus, names: Iterable[str]) -> None:
    """Print what each of the tried values does to the loss, the others staying as they are."""
    reader = Reader.of(loaded)
    plain = scoring.evaluate(reader, corpus.val).loss
    print(f"plain {plain:.4f}")
    for name in names:
        for tuning in TRIED[name]:
            loss = scored(dynamic.windows(reader, corpus.val, corpus.train, tuning), corpus).loss
            print(f"{name} {getattr(tuning, name):g}: {loss:.4f} ({loss / plain - 1:+.2%})", flush=True)


@click.command()
@click.argument("name")
@click.option("--rounds", default=5, show_default=True)
@click.option("--stretch", default=3.0, show_default=True, help="Seconds of training in a round.")
@click.option(
    "--sweep",
    "swept",
    type=click.Choice(["all", *TRIED]),
    is_flag=False,
    flag_value="all",
    help="Try the settings of dynamic evaluation instead, or those of one kind.",
)
def main(name: str, rounds: int, stretch: float, swept: str | None) -> None:
    """Compare the speeds of evaluation and training."""
    choose(DeviceConfig())
    loaded, corpus = load(name)
    shape, train = loaded.config.model, loaded.config.train
    print(
        f"{name}: {shape.num_layers} x {shape.hidden_size}, batch {train.batch_size}, window {train.seq_length}; "
        f"{corpus.val.characters:,} characters held out"
    )
    if swept:
        sweep(loaded, corpus, TRIED if swept == "all" else [swept])
    else:
        compare(loaded, corpus, rounds, stretch)


if __name__ == "__main__":
    main()
