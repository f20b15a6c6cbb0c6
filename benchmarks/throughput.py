"""Training: charlstm's update against a bare loop over the same fused kernels, sizes and precision."""

import itertools
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics

import click
import torch
import torch.nn.functional as F
from measure import alternate

from charlstm import corpus as corpora
from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.device import Device, choose
from charlstm.train import Training


def bare_loop(config: RunConfig, vocab_size: int, precision: str):
    """Forward, backward and AdamW on one window of random ids again and again: nothing else."""
    model, train = config.model, config.train
    embedding = torch.nn.Embedding(vocab_size, model.embedding_size)
    sizes = [model.embedding_size] + [model.hidden_size] * model.num_layers
    layers = [torch.nn.LSTM(below, size) for below, size in itertools.pairwise(sizes)]
    output = torch.nn.Linear(model.hidden_size, vocab_size)
    parameters = [weight for module in (embedding, *layers, output) for weight in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    inputs, targets = torch.randint(vocab_size, (2, train.seq_length, train.batch_size))
    state: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * model.num_layers

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            h = embedding(inputs)
            for number, layer in enumerate(layers):
                h, (last_h, last_c) = layer(h, state[number])
                state[number] = (last_h.detach(), last_c.detach())
            logits = output(h)
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


@click.command()
@click.option("--rounds", default=9, show_default=True)
@click.option("--steps", default=30, show_default=True)
def main(rounds: int, steps: int) -> None:
    """Print characters a second of both."""
    choose(DeviceConfig(device="cpu"))  # sets the allocator as `charlstm train` does: for both
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "docs.txt"
        path.write_text("\n".join(topics.values()), encoding="utf-8")
        corpus = corpora.load([str(path)], [], TextConfig())
    for precision in ("bf16", "fp32"):
        for shape in ({}, {"dropout": 0.35, "recurrent_dropout": 0.1}, {"num_layers": 2}, {"hidden_size": 256}):
            config = RunConfig(text=TextConfig(), model=ModelConfig(**shape), train=TrainConfig())
            training = Training(config, corpus, Device("cpu", precision))
            bare = bare_loop(config, corpus.tokenizer.vocab_size, precision)
            window = config.train.seq_length * config.train.batch_size

            def timed(step, window=window):
                began = time.perf_counter()
                for _ in range(steps):
                    step()
                return steps * window / (time.perf_counter() - began)

            def ours(training=training) -> None:
                training.update(1e-3)

            ours(), bare()
            model = config.model
            print(
                f"\n{model.num_layers} x {model.hidden_size}, embedding {model.embedding_size}, {precision}, "
                f"dropout {model.dropout:g}, recurrent dropout {model.recurrent_dropout:g}"
            )
            alternate(
                {"charlstm": lambda: timed(ours), "bare loop": lambda bare=bare: timed(bare)}, rounds, "characters/s"
            )
            training.settle()


if __name__ == "__main__":
    main()
