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

from charlstm import checkpoint as checkpoints
from charlstm import dynamic, evaluate, runs
from charlstm.cache import Cache, default_root
from charlstm.cli import texts
from charlstm.config import DeviceConfig
from charlstm.corpus import Corpus
from charlstm.device import Device, choose
from charlstm.dynamic import Tuning
from charlstm.model import CharLSTM
from charlstm.train import Training

TRIED = {
    "rate": [Tuning(rate=rate) for rate in (1e-4, 3e-4, 5e-4, 1e-3)],
    "decay": [Tuning(decay=decay) for decay in (0.0, 3e-4, 3e-3, 1e-2)],
    "epsilon": [Tuning(epsilon=epsilon) for epsilon in (1e-3, 1e-1)],
    "streams": [Tuning(streams=streams) for streams in (8, 32)],
    "window": [Tuning(window=window) for window in (8, 16, 32)],
}


def load(name: str) -> tuple[checkpoints.Checkpoint, Corpus, CharLSTM]:
    loaded = checkpoints.load(runs.find(name))
    cache = Cache(default_root())
    _, held_out = texts.scored(loaded, None, None, None, cache)
    train = texts.training(loaded, cache, "it is measured with it")
    corpus = Corpus(loaded.source, loaded.tokenizer, train, held_out)
    model = CharLSTM.from_weights(loaded.config.model, loaded.tokenizer.vocab_size, loaded.weights)
    return loaded, corpus, model


def timed(work: Callable[[], int]) -> float:
    """Return the characters a second of something that returns how many it read."""
    began = time.perf_counter()
    characters = work()
    return characters / (time.perf_counter() - began)


def compare(loaded: checkpoints.Checkpoint, corpus: Corpus, model: CharLSTM, rounds: int, stretch: float) -> None:
    """Print characters per second; a stretch of training lasts so many seconds."""

    def training(precision: str) -> Callable[[], float]:
        run = Training(loaded.config, corpus, Device("cpu", precision))
        run.update(1e-3)

        def steps() -> int:
            before, until = run.characters, time.perf_counter() + stretch
            while time.perf_counter() < until:
                run.update(1e-3)
                run.settle()
            return run.characters - before

        return lambda: timed(steps)

    def plain(precision: str) -> Callable[[], float]:
        device = Device("cpu", precision)
        return lambda: timed(lambda: evaluate.evaluate(model, corpus.val, corpus.tokenizer, device).characters)

    def learning() -> int:
        read = dynamic.windows(model, corpus.val, corpus.train, corpus.tokenizer, Device("cpu", "fp32"))
        *_, score = evaluate.add_up(read, corpus.val, corpus.tokenizer)
        return score.characters

    for precision in reversed(measure.precisions()):
        print(f"\n{precision}")
        ways = {"evaluation": plain(precision), "training": training(precision)}
        measure.alternate(ways, rounds, "characters/s")
    print("\nfp32, with its statistics of the training text")
    measure.alternate(
        {"dynamic evaluation": lambda: timed(learning), "evaluation": plain("fp32")}, rounds, "characters/s"
    )


def sweep(corpus: Corpus, model: CharLSTM, names: Iterable[str]) -> None:
    """Print what each of the tried values does to the loss, the others staying as they are."""
    device = Device("cpu", "fp32")
    plain = evaluate.evaluate(model, corpus.val, corpus.tokenizer, device).loss
    print(f"plain {plain:.4f}")
    for name in names:
        for tuning in TRIED[name]:
            read = dynamic.windows(model, corpus.val, corpus.train, corpus.tokenizer, device, tuning)
            *_, score = evaluate.add_up(read, corpus.val, corpus.tokenizer)
            print(f"{name} {getattr(tuning, name):g}: {score.loss:.4f} ({score.loss / plain - 1:+.2%})", flush=True)


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
    loaded, corpus, model = load(name)
    shape, train = loaded.config.model, loaded.config.train
    print(
        f"{name}: {shape.num_layers} x {shape.hidden_size}, batch {train.batch_size}, window {train.seq_length}; "
        f"{corpus.val.characters:,} characters held out"
    )
    if swept:
        sweep(corpus, model, TRIED if swept == "all" else [swept])
    else:
        compare(loaded, corpus, model, rounds, stretch)


if __name__ == "__main__":
    main()
