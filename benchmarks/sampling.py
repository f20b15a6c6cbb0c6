"""Sampling: charlstm's numpy stepper against a loop over `nn.LSTM` single steps with the same weights."""

import itertools
import time

import click
import numpy as np
import torch
from measure import alternate

from charlstm import checkpoint, runs
from charlstm.config import SampleConfig
from charlstm.model import CharLSTM
from charlstm.sample import Context, generate
from charlstm.stepper import Stepper


@click.command()
@click.argument("name", default="shakespeare")
@click.option("--rounds", default=7, show_default=True)
@click.option("--length", default=3000, show_default=True)
@torch.inference_mode()
def main(name: str, rounds: int, length: int) -> None:
    """Print characters a second of both, and the largest difference of their probabilities."""
    loaded = checkpoint.load(runs.find(name))
    tokenizer = loaded.tokenizer
    stepper = Stepper(loaded.weights)
    model = CharLSTM.from_weights(loaded.config.model, tokenizer.vocab_size, loaded.weights).eval()

    def ours() -> float:
        context = Context(stepper)
        context.prefill([tokenizer.start_id])
        began = time.perf_counter()
        for _ in itertools.islice(generate(context, SampleConfig(temperature=1.0), [1], tokenizer.unknown_id), length):
            pass
        return length / (time.perf_counter() - began)

    def torch_loop() -> float:
        id, state = torch.tensor([[tokenizer.start_id]]), model.zero_state(1)
        began = time.perf_counter()
        for _ in range(length):
            logits, state = model(id, state)
            id = torch.multinomial(logits[0].softmax(-1), 1)
        return length / (time.perf_counter() - began)

    shape = loaded.config.model
    print(f"{shape.num_layers} x {shape.hidden_size}, {tokenizer.vocab_size} ids, one stream")
    ours(), torch_loop()
    alternate({"charlstm (numpy)": ours, "nn.LSTM steps (torch)": torch_loop}, rounds, "characters/s")

    context = Context(stepper)
    ids = [tokenizer.start_id]
    worst = 0.0
    state = model.zero_state(1)
    for _ in range(1000):
        context.read([ids[-1]])
        logits, state = model(torch.tensor([[ids[-1]]]), state)
        ours_now, theirs = torch.from_numpy(context.logits()[0]).softmax(-1), logits[0, 0].softmax(-1)
        worst = max(worst, (ours_now - theirs).abs().max().item())
        ids.append(int(np.random.default_rng(len(ids)).choice(len(theirs), p=theirs.double() / theirs.double().sum())))
    print(f"largest difference of a probability over 1,000 characters: {worst:.1e}")


if __name__ == "__main__":
    main()
