"""Training: charlstm's update against a bare loop over the same fused kernels, sizes and precision."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import click
import torch
import torch.nn.functional as F
from measure import alternate

from charlstm import corpus as corpora
from charlstm.config import CELLS, DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.device import Device, choose
from charlstm.train import Training

SHAPES: tuple[dict[str, Any], ...] = (
    {"hidden_size": 256},
    {},
    {"dropout": 0.35, "recurrent_dropout": 0.1},
    {"hidden_size": 768, "dropout": 0.35, "recurrent_dropout": 0.1},
    {"num_layers": 2, "dropout": 0.35, "recurrent_dropout": 0.1},
)


def bare_loop(config: RunConfig, vocab_size: int, precision: str):
    """Forward, backward and AdamW on one window of random ids again and again: nothing else."""
    model, train = config.model, config.train
    embedding = torch.nn.Embedding(vocab_size, model.embedding_size)
    sizes = [model.embedding_size] + [model.embedding_size + model.hidden_size] * (model.num_layers - 1)
    layers = [torch.nn.LSTM(size, model.hidden_size) for size in sizes]
    output = torch.nn.Linear(model.hidden_size * model.num_layers, vocab_size)
    parameters = [weight for module in (embedding, *layers, output) for weight in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    inputs, targets = torch.randint(vocab_size, (2, train.seq_length, train.batch_size))
    state: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * model.num_layers

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            embedded = embedding(inputs)
            read, outputs = embedded, []
            for number, layer in enumerate(layers):
                h, (last_h, last_c) = layer(read, state[number])
                state[number] = (last_h.detach(), last_c.detach())
                outputs.append(h)
                read = torch.cat((embedded, h), dim=-1)
            logits = output(torch.cat(outputs, dim=-1) if len(outputs) > 1 else h)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def speed(step: Callable[[], None], steps: int, window: int) -> float:
    """Return the characters a second of a step that reads so many."""
    began = time.perf_counter()
    for _ in range(steps):
        step()
    return steps * window / (time.perf_counter() - began)


def compare_cells(corpus: corpora.Corpus, rounds: int, steps: int) -> None:
    """Print the characters a second of an update with each recurrence."""
    for precision in ("bf16", "fp32"):
        print(f"\n1 x 256, batch 32, window 64, {precision}")
        updates = {}
        for cell in CELLS:
            config = RunConfig(text=TextConfig(), model=ModelConfig(cell=cell, hidden_size=256), train=TrainConfig())
            training = Training(config, corpus, Device("cpu", precision))
            training.update(1e-3)
            updates[cell] = lambda training=training: speed(lambda: training.update(1e-3), steps, 32 * 64)
        alternate(dict(reversed(updates.items())), rounds, "characters/s")


def compare_frames(path: str, rounds: int, steps: int) -> None:
    """Print the characters a second of a text of a document a line, framed and as one stream; an end counts as one."""
    for precision in ("bf16", "fp32"):
        for size in (256, 512):
            print(f"\n1 x {size}, batch 32, window 64, {precision}")
            ways = {}
            for name, separator in (("framed", r"\n"), ("one stream", None)):
                text = TextConfig(separator=separator)
                corpus = corpora.load([path], [], text)
                config = RunConfig(text=text, model=ModelConfig(hidden_size=size), train=TrainConfig(epochs=1))
                training = Training(config, corpus, Device("cpu", precision))
                training.update(1e-3)

                def way(training=training) -> float:
                    before, began = training.characters, time.perf_counter()
                    for _ in range(steps):
                        training.update(1e-3)
                    training.settle()
                    return (training.characters - before) / (time.perf_counter() - began)

                ways[name] = way
            alternate(ways, rounds, "characters/s")


@click.command()
@click.option("--rounds", default=9, show_default=True)
@click.option("--steps", default=30, show_default=True)
@click.option("--cells", is_flag=True, help="Compare the recurrences instead, at 1 x 256.")
@click.option("--framed", metavar="FILE", help="Compare this text, a document a line, with the same as one stream.")
def main(rounds: int, steps: int, cells: bool, framed: str | None) -> None:
    """Print characters a second of both."""
    choose(DeviceConfig(device="cpu"))  # sets the allocator as `charlstm train` does: for both
    if framed:
        compare_frames(framed, rounds, steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "docs.txt"
        path.write_text("\n".join(topics.values()), encoding="utf-8")
        corpus = corpora.load([str(path)], [], TextConfig())
    if cells:
        compare_cells(corpus, rounds, steps)
        return
    for precision in ("bf16", "fp32"):
        for shape in SHAPES:
            config = RunConfig(text=TextConfig(), model=ModelConfig(**shape), train=TrainConfig())
            training = Training(config, corpus, Device("cpu", precision))
            bare = bare_loop(config, corpus.tokenizer.vocab_size, precision)
            window = config.train.seq_length * config.train.batch_size

            def ours(training=training) -> None:
                training.update(1e-3)

            ours(), bare()
            model = config.model
            print(
                f"\n{model.num_layers} x {model.hidden_size}, embedding {model.embedding_size}, {precision}, "
                f"dropout {model.dropout:g}, recurrent dropout {model.recurrent_dropout:g}"
            )
            alternate(
                {
                    "charlstm": lambda ours=ours, window=window: speed(ours, steps, window),
                    "bare loop": lambda bare=bare, window=window: speed(bare, steps, window),
                },
                rounds,
                "characters/s",
            )
            training.settle()


if __name__ == "__main__":
    main()
