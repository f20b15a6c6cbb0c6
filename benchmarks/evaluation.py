"""Evaluation: its speed against the training of the same model, and what dynamic evaluation gains at what price.

    python benchmarks/evaluation.py CHECKPOINT [--rounds 5]
    python benchmarks/evaluation.py CHECKPOINT --sweep      (the settings of dynamic evaluation, one after the other)

The text is the one the checkpoint was trained on; it is found as `charlstm eval` finds it. For --sweep give a model
that was trained on a part of the training text: what it holds out is then no one's held-out text.
"""

import time
from collections.abc import Callable

import click
from measure import alternate

from charlstm import checkpoint as checkpoints
from charlstm import corpus as corpora
from charlstm import dynamic, evaluate, runs
from charlstm.cache import Cache, default_root
from charlstm.cli import texts
from charlstm.config import DeviceConfig
from charlstm.corpus import Corpus
from charlstm.device import Device, choose
from charlstm.model import CharLSTM
from charlstm.train import Training

SETTINGS = [
    *({"RATE": rate} for rate in (1e-4, 3e-4, 5e-4, 1e-3)),
    *({"DECAY": decay} for decay in (0.0, 3e-4, 3e-3, 1e-2)),
    *({"_EPSILON": epsilon} for epsilon in (1e-3, 1e-1)),
    *({"STREAMS": streams} for streams in (8, 32)),
    *({"WINDOW": window} for window in (8, 16, 32)),
]


def load(name: str) -> tuple[checkpoints.Checkpoint, Corpus, CharLSTM]:
    loaded = checkpoints.load(runs.find(name))
    cache = Cache(default_root())
    (_, held_out), train = texts.scored(loaded, None, None, None, cache), texts.training(loaded, cache)
    corpus = Corpus(loaded.source, loaded.tokenizer, train, held_out)
    model = CharLSTM.from_weights(loaded.config.model, loaded.tokenizer.vocab_size, loaded.weights)
    return loaded, corpus, model


def timed(work: Callable[[], int]) -> float:
    """Return the characters a second of something that returns how many it read."""
    began = time.perf_counter()
    characters = work()
    return characters / (time.perf_counter() - began)


def compare(loaded: checkpoints.Checkpoint, corpus: Corpus, model: CharLSTM, rounds: int) -> None:
    def training(precision: str) -> Callable[[], float]:
        run = Training(loaded.config, corpus, Device("cpu", precision))
        run.update(1e-3)

        def steps() -> int:
            before, until = run.characters, time.perf_counter() + 3
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

    for precision in ("fp32", "bf16"):
        print(f"\n{precision}")
        ways = {"evaluation": plain(precision), "training": training(precision)}
        alternate(ways, rounds, "characters/s")
    print("\nfp32, with its statistics of the training text")
    alternate({"dynamic evaluation": lambda: timed(learning), "evaluation": plain("fp32")}, rounds, "characters/s")


def sweep(corpus: corpora.Corpus, model: CharLSTM) -> None:
    device = Device("cpu", "fp32")
    plain = evaluate.evaluate(model, corpus.val, corpus.tokenizer, device).loss
    print(f"plain {plain:.4f}")
    for setting in SETTINGS:
        before = {name: getattr(dynamic, name) for name in setting}
        for name, value in setting.items():
            setattr(dynamic, name, value)
        read = dynamic.windows(model, corpus.val, corpus.train, corpus.tokenizer, device)
        *_, score = evaluate.add_up(read, corpus.val, corpus.tokenizer)
        print(f"{setting}: {score.loss:.4f} ({score.loss / plain - 1:+.2%})", flush=True)
        for name, value in before.items():
            setattr(dynamic, name, value)


@click.command()
@click.argument("name")
@click.option("--rounds", default=5, show_default=True)
@click.option("--sweep", "sweeping", is_flag=True)
def main(name: str, rounds: int, sweeping: bool) -> None:
    choose(DeviceConfig())
    loaded, corpus, model = load(name)
    shape, train = loaded.config.model, loaded.config.train
    print(
        f"{name}: {shape.num_layers} x {shape.hidden_size}, batch {train.batch_size}, window {train.seq_length}; "
        f"{corpus.val.characters:,} characters held out"
    )
    if sweeping:
        sweep(corpus, model)
    else:
        compare(loaded, corpus, model, rounds)


if __name__ == "__main__":
    main()
