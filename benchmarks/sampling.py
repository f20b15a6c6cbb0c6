"""Sampling: charlstm's numpy stepper against a loop over `nn.LSTM` single steps with the same weights."""

import itertools
import time

import click
import numpy as np
import torch
from measure import alternate

from charlstm import checkpoint, runs
from charlstm.config import ModelConfig, SampleConfig
from charlstm.model import CharLSTM
from charlstm.sample import Context, generate
from charlstm.stepper import Stepper

CONFIG = SampleConfig(temperature=1.0)
START, UNKNOWN = 1, 0


def compare(model: CharLSTM, rounds: int, length: int) -> None:
    """Print characters a second of both, and the largest difference of their probabilities."""
    stepper = Stepper({name: weight.numpy() for name, weight in model.state_dict().items()})

    def ours() -> float:
        context = Context(stepper)
        context.prefill([START])
        began = time.perf_counter()
        for _ in itertools.islice(generate(context, CONFIG, [1], UNKNOWN), length):
            pass
        return length / (time.perf_counter() - began)

    def torch_loop() -> float:
        id, state = torch.tensor([[START]]), model.zero_state(1)
        began = time.perf_counter()
        for _ in range(length):
            logits, state = model(id, state)
            id = torch.multinomial(logits[0].softmax(-1), 1)
        return length / (time.perf_counter() - began)

    shape = model.config
    print(f"\n{shape.num_layers} x {shape.hidden_size}, embedding {shape.embedding_size}, one stream")
    ours(), torch_loop()
    alternate({"charlstm (numpy)": ours, "nn.LSTM steps (torch)": torch_loop}, rounds, "characters/s")

    context, state, id, worst = Context(stepper), model.zero_state(1), START, 0.0
    for number in range(1000):
        context.read([id])
        logits, state = model(torch.tensor([[id]]), state)
        theirs = logits[0, 0].softmax(-1)
        worst = max(worst, (torch.from_numpy(context.logits()[0]).softmax(-1) - theirs).abs().max().item())
        chances = theirs.double().numpy()
        id = int(np.random.default_rng(number).choice(len(chances), p=chances / chances.sum()))
    print(f"largest difference of a probability over 1,000 characters: {worst:.1e}")


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--length", default=3000, show_default=True)
@torch.inference_mode()
def main(rounds: int, length: int) -> None:
    """Compare on the pretrained model, and on random weights of other shapes."""
    loaded = checkpoint.load(runs.find("shakespeare"))
    compare(CharLSTM.from_weights(loaded.config.model, loaded.tokenizer.vocab_size, loaded.weights), rounds, length)
    for shape in (ModelConfig(embedding_size=512), ModelConfig(num_layers=2), ModelConfig(hidden_size=256)):
        compare(CharLSTM(shape, 66, UNKNOWN).eval(), rounds, length)


if __name__ == "__main__":
    main()
