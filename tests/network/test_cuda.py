"""A GPU against the CPU: the same model, gradients, updates and commands; skipped on a machine without one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from charlstm import api
from charlstm.config import DeviceConfig
from charlstm.network import device as devices
from charlstm.network.cells import CELLS
from charlstm.network.ngrams import Symbols
from charlstm.network.stepper import Stepper
from tests.conftest import SMALL, Command
from tests.network.conftest import NGRAMS, build

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
SHAPES = pytest.mark.parametrize("options", [{}, NGRAMS, NGRAMS | {"num_layers": 2}], ids=["plain", "ngrams", "two"])


@SHAPES
@pytest.mark.parametrize("cell", CELLS)
def test_logits_states_and_gradients_are_those_of_the_cpu(cell: str, options: dict[str, int]) -> None:
    devices.choose(DeviceConfig(device="cuda"))
    ids = torch.from_numpy(np.random.default_rng(0).integers(20, size=(40, 3)))
    found = []
    for device in ("cpu", "cuda"):
        # cuDNN computes no gradients in evaluation mode.
        model = build(cell=cell, dropout=0.0, ngram_dropout=0.0, **options).train().to(device)
        state = model.zero_state(3)
        for part in ids.split(20):
            logits, state = model(part.to(device), state)
        logits.square().mean().backward()
        gradients = [weight.grad.to_dense().cpu() for weight in model.parameters() if weight.grad is not None]
        found.append([logits.detach().cpu(), *(part.detach().cpu() for layer in state for part in layer), *gradients])
    for cpu, cuda in zip(*found, strict=True):
        torch.testing.assert_close(cuda, cpu, atol=2e-4, rtol=2e-3)


@SHAPES
def test_the_engine_on_a_gpu_is_that_on_numpy(options: dict[str, int]) -> None:
    model = build(**options)
    weights = model.state_dict()
    numpy = Stepper(model.config, Symbols(20), {name: weight.numpy() for name, weight in weights.items()})
    cuda = Stepper(model.config, Symbols(20), {name: weight.cuda() for name, weight in weights.items()})
    ids = np.random.default_rng(1).integers(20, size=(30, 4))
    before, here = numpy.zero_state(4), cuda.zero_state(4)
    for row in ids:
        outputs, before = numpy.step(row, before)
        on_gpu, here = cuda.step(torch.from_numpy(row).cuda(), here)
        scores = cuda.logits(on_gpu).cpu().numpy()
        np.testing.assert_allclose(scores, numpy.logits(outputs), atol=1e-3)


@pytest.mark.parametrize(
    "options", [[], ["--ngrams=0", "--softmax-sample=8"], ["--separator=\n", "--num-layers=2"]], ids=str
)
def test_a_run_trains_resumes_and_is_measured_as_on_the_cpu(charlstm: Command, text: str, options: list[str]) -> None:
    Path("text.txt").write_text(text[:40_000], encoding="utf-8")
    arguments = ["text.txt", "--device=cuda", *SMALL, *options]
    assert charlstm("train", *arguments, "--steps=40", "--name=whole").code == 0
    on_cpu = ["text.txt", "--device=cpu", *SMALL, *options]
    assert charlstm("train", *on_cpu, "--steps=40", "--name=cpu").code == 0
    losses = {}
    for name in ("whole", "cpu"):
        for device in ("cuda", "cpu"):
            outcome = charlstm("eval", name, "--device", device, "--json")
            assert outcome.code == 0, outcome.err
            losses[name, device] = json.loads(outcome.out)["bits_per_character"]
    assert losses["whole", "cuda"] == pytest.approx(losses["whole", "cpu"], abs=1e-4)
    assert losses["whole", "cpu"] == pytest.approx(losses["cpu", "cpu"], abs=0.15)  # other dropout masks
    assert charlstm("train", *arguments, "--epochs=0.2", "--name=longer").code == 0
    assert charlstm("train", "--resume", "--name=longer", "--steps=60", "--device=cuda").code == 0
    model = api.load("whole", device="cuda")
    assert len(model.generate("The ", length=50, seed=1)) == 50
    assert model.score(text[:500]).loss == pytest.approx(api.load("whole").score(text[:500]).loss, abs=1e-4)
    assert charlstm("eval", "whole", "--dynamic", "--device=cuda").code == 0
