"""Training: charlstm's update against a bare loop over the same fused kernels, sizes and precision."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import measure
import torch
import torch.nn.functional as F

from charlstm.config import CELLS, DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.network.device import Device, choose
from charlstm.text import corpus as corpora
from charlstm.training.state import Training

SHAPES = (
    ModelConfig(hidden_size=256),
    ModelConfig(),
    ModelConfig(dropout=0.35, recurrent_dropout=0.1),
    ModelConfig(hidden_size=768, dropout=0.35, recurrent_dropout=0.1),
    ModelConfig(num_layers=2, dropout=0.35, recurrent_dropout=0.1),
)


def bare_loop(config: RunConfig, vocab_size: int, precision: str) -> Callable[[], None]:
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
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def repeated(step: Callable[[], None], steps: int, window: int) -> Callable[[], float]:
    """Return what measures the characters per second of a step that reads `window` of them; it is run once at once."""
    step()

    def measured() -> float:
        began = time.perf_counter()
        for _ in range(steps):
            step()
        return steps * window / (time.perf_counter() - began)

    return measured


def update(training: Training) -> Callable[[], None]:
    """Return charlstm's step."""
    return lambda: training.update(1e-3)


def words(config: RunConfig, precision: str) -> str:
    """Return what is measured, in words."""
    model, train = config.model, config.train
    return (
        f"\n{model.num_layers} x {model.hidden_size}, batch {train.batch_size}, window {train.seq_length}, {precision}"
    )


def compare_cells(corpus: corpora.Corpus, models: Sequence[ModelConfig], rounds: int, steps: int) -> None:
    """Print the characters per second of an update with each recurrence."""
    for precision in measure.precisions():
        for model in models:
            ways = {}
            for cell in reversed(CELLS):
                sizes = ModelConfig(cell=cell, hidden_size=model.hidden_size, num_layers=model.num_layers)
                config = RunConfig(text=TextConfig(), model=sizes, train=TrainConfig())
                training = Training(config, corpus, Device("cpu", precision))
                ways[cell] = repeated(update(training), steps, config.train.seq_length * config.train.batch_size)
            print(words(config, precision))
            measure.alternate(ways, rounds, "characters/s")


def trained(training: Training, steps: int) -> Callable[[], float]:
    """Return what measures the characters per second of some steps by the trainer's own count."""
    training.update(1e-3)

    def measured() -> float:
        before, began = training.at.characters, time.perf_counter()
        for _ in range(steps):
            training.update(1e-3)
        training.settle()
        return (training.at.characters - before) / (time.perf_counter() - began)

    return measured


def compare_frames(path: str, models: Sequence[ModelConfig], rounds: int, steps: int) -> None:
    """Print the speed on a text with a document on each line, framed and as one stream; an end is a character."""
    for precision in measure.precisions():
        for model in models:
            ways = {}
            for name, separator in (("framed", r"\n"), ("one stream", None)):
                text = TextConfig(separator=separator)
                config = RunConfig(text=text, model=model, train=TrainConfig(epochs=1))
                corpus = corpora.load([path], [], text)
                ways[name] = trained(Training(config, corpus, Device("cpu", precision)), steps)
            print(words(config, precision))
            measure.alternate(ways, rounds, "characters/s")


def compare_with_bare(corpus: corpora.Corpus, models: Sequence[ModelConfig], rounds: int, steps: int) -> None:
    """Print the characters per second of an update, and of a bare loop."""
    for precision in measure.precisions():
        for model in models:
            config = RunConfig(text=TextConfig(), model=model, train=TrainConfig())
            window = config.train.seq_length * config.train.batch_size
            training = Training(config, corpus, Device("cpu", precision))
            bare = bare_loop(config, corpus.tokenizer.vocab_size, precision)
            print(
                f"\n{model.num_layers} x {model.hidden_size}, embedding {model.embedding_size}, {precision}, "
                f"dropout {model.dropout:g}, recurrent dropout {model.recurrent_dropout:g}"
            )
            ways = {
                "charlstm": repeated(update(training), steps, window),
                "bare loop": repeated(bare, steps, window),
            }
            measure.alternate(ways, rounds, "characters/s")
            training.settle()


@click.command()
@click.option("--rounds", default=9, show_default=True)
@click.option("--steps", default=30, show_default=True)
@click.option("--cells", is_flag=True, help="Compare the recurrences instead, at 1 x 256.")
@click.option(
    "--framed", metavar="FILE", help="Compare this text, a document on each line, with the same as one stream."
)
@measure.SHAPES
def main(rounds: int, steps: int, cells: bool, framed: str | None, models: tuple[ModelConfig, ...]) -> None:
    """Print characters per second of both."""
    if cells and framed:
        raise click.UsageError("--cells and --framed exclude each other")
    choose(DeviceConfig(device="cpu"))  # sets the allocator as `charlstm train` does: for both
    if framed:
        sizes = ModelConfig(hidden_size=256), ModelConfig(hidden_size=512)
        compare_frames(framed, models or sizes, rounds, steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        corpus = corpora.load([str(measure.write_text(Path(folder)))], [], TextConfig())
    if cells:
        compare_cells(corpus, models or SHAPES[:1], rounds, steps)
    else:
        compare_with_bare(corpus, models or SHAPES, rounds, steps)


if __name__ == "__main__":
    main()
