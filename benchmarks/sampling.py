"""Sampling, one stream: charlstm's numpy stepper, a loop over `nn.LSTM` single steps with the same weights, nanoGPT."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import measure
import nanogpt
import numpy as np
import torch

from charlstm.config import ModelConfig, SampleConfig
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Alphabet, Symbols
from charlstm.network.stepper import Stepper
from charlstm.sample import Context, generate
from charlstm.storage import checkpoint, runs

CONFIG = SampleConfig(temperature=1.0)
START, UNKNOWN = 1, 0


def compare(model: CharLSTM, alphabet: Alphabet, rounds: int, length: int) -> dict[str, float]:
    """Print characters a second of both, and the largest difference of their probabilities; return the medians."""
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    stepper = Stepper(model.config, alphabet, weights)

    def ours() -> float:
        context = Context(stepper)
        context.prefill([START])
        began = time.perf_counter()
        for _ in itertools.islice(generate(context, CONFIG, [1], [UNKNOWN]), length):
            pass
        return length / (time.perf_counter() - began)

    def torch_loop() -> float:
        id, state = torch.tensor([[START]]), model.zero_state(1)
        began = time.perf_counter()
        for _ in range(length):
            logits, state = model(id, state)
            id = torch.multinomial(logits[0].softmax(-1), 1)
        return length / (time.perf_counter() - began)

    shape = f"{model.config.num_layers} x {model.config.hidden_size}, embedding {model.config.embedding_size}"
    print(f"\n{shape}")
    ours(), torch_loop()
    medians = measure.alternate({"charlstm (numpy)": ours, "nn.LSTM steps (torch)": torch_loop}, rounds, "characters/s")

    context, state, id, worst = Context(stepper), model.zero_state(1), START, 0.0
    compared = min(length, 1000)
    for number in range(compared):
        context.read([id])
        logits, state = model(torch.tensor([[id]]), state)
        theirs = logits[0, 0].softmax(-1)
        worst = max(worst, (torch.from_numpy(context.logits()[0]).softmax(-1) - theirs).abs().max().item())
        chances = theirs.double().numpy()
        id = int(np.random.default_rng(number).choice(len(chances), p=chances / chances.sum()))
    print(f"largest difference of a probability over {compared:,} characters: {worst:.1e}")
    return {f"{name}, {shape}": median for name, median in medians.items()}


def generating(model: Any, length: int) -> Callable[[], float]:
    """Return what measures the characters per second of nanoGPT's `generate`."""

    def measured() -> float:
        began = time.perf_counter()
        model.generate(torch.zeros(1, 1, dtype=torch.int64), length)
        return length / (time.perf_counter() - began)

    return measured


def nanogpt_speed(checkout: Path, rounds: int, length: int) -> dict[str, float]:
    """Print characters a second of its `generate` on the CPU recipe's shape and the GPU recipe's; random weights."""
    module = nanogpt.load(checkout)
    ways = {}
    for layers, width, block in ((4, 128, nanogpt.BLOCK), (6, 384, 256)):
        config = module.GPTConfig(
            n_layer=layers, n_head=width // 32, n_embd=width, block_size=block, vocab_size=65, bias=False, dropout=0.0
        )
        model = module.GPT(config).eval()

        ways[f"nanoGPT {layers} x {width}, block {block}"] = generating(model, length)
    print("\nnanoGPT")
    return measure.alternate(ways, rounds, "characters/s")


def plot(medians: dict[str, float], path: Path) -> None:
    """Draw a bar for each way."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.4 * len(medians) + 1))
    names = list(medians)[::-1]
    bars = axes.barh(
        names,
        [medians[name] for name in names],
        color=["C0" if name.startswith("charlstm") else "C1" if name.startswith("nn") else "C2" for name in names],
    )
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.set(xlabel="characters a second, one stream", xlim=(0, 1.15 * max(medians.values())))
    figure.tight_layout()
    figure.savefig(path, dpi=120)


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--length", default=3000, show_default=True)
@click.option("--nanogpt", "checkout", type=click.Path(exists=True, path_type=Path), help="A checkout of nanoGPT.")
@measure.PLOT
@measure.SHAPES
@torch.inference_mode()
def main(
    rounds: int, length: int, checkout: Path | None, picture: Path | None, models: tuple[ModelConfig, ...]
) -> None:
    """Compare on the pretrained model, and on random weights of other shapes."""
    loaded = checkpoint.load(runs.find("shakespeare"))
    pretrained = CharLSTM.from_weights(loaded.config.model, loaded.tokenizer, loaded.weights)
    others = ModelConfig(embedding_size=512), ModelConfig(num_layers=2), ModelConfig(hidden_size=256)
    medians: dict[str, float] = {}
    symbols = Symbols(66, UNKNOWN)
    medians |= compare(pretrained, loaded.tokenizer, rounds, length)
    for shape in models or others:
        medians |= compare(CharLSTM(shape, symbols).eval(), symbols, rounds, length)
    if checkout:
        medians |= nanogpt_speed(checkout, rounds, length)
    if picture:
        plot(medians, picture)


if __name__ == "__main__":
    main()
