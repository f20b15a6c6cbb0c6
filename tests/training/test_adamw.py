"""The update against torch's optimizer, which computes it without the fused kernel."""

import subprocess
import sys

import torch
from torch import nn

from charlstm.training.adamw import AdamW


def test_the_update_is_that_of_torch_and_goes_on_from_restored_moments() -> None:
    torch.manual_seed(0)
    start = {
        "matrix": torch.randn(7, 5),
        "vector": torch.randn(5),
        "quick": torch.randn(2, 4),
        "still": torch.randn(3, 3),
    }
    ours = {name: nn.Parameter(weight.clone()) for name, weight in start.items()}
    theirs = {name: nn.Parameter(weight.clone()) for name, weight in start.items()}
    groups = [
        {"params": [theirs["matrix"], theirs["still"]], "weight_decay": 0.3},
        {"params": [theirs["vector"]], "weight_decay": 0.0},
        {"params": [theirs["quick"]], "weight_decay": 0.3 / 4},  # decays as the others do
    ]
    reference = torch.optim.AdamW(groups, betas=(0.9, 0.99), foreach=False)
    optimizer = AdamW(ours, 0.3, {"quick": 4.0})
    for number, rate in enumerate((0.1, 0.02, 0.05, 0.01)):
        if number == 2:  # as a resumed run does
            moments, optimizer = optimizer.moments(), AdamW(ours, 0.3, {"quick": 4.0})
            optimizer.restore(moments, number)
        for name in ("matrix", "vector", "quick"):  # the last one never has a gradient
            gradient = torch.randn_like(start[name])
            ours[name].grad, theirs[name].grad = gradient.clone(), gradient.clone()
        for group, multiplier in zip(reference.param_groups, (1, 1, 4), strict=True):
            group["lr"] = rate * multiplier
        reference.step()
        optimizer.step(rate)
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], rtol=1e-5, atol=1e-6)
    assert torch.equal(ours["still"], start["still"])
    for name in ("matrix", "vector", "quick"):
        mean, square = optimizer.moments()[name]
        torch.testing.assert_close(mean, reference.state[theirs[name]]["exp_avg"])
        torch.testing.assert_close(square, reference.state[theirs[name]]["exp_avg_sq"])


def test_training_does_not_import_torch_s_compiler() -> None:
    program = """
import sys, torch
from charlstm.training.adamw import AdamW
weight = torch.nn.Parameter(torch.ones(3, 3))
weight.grad = torch.ones(3, 3)
AdamW({"w": weight}, 0.1).step(0.1)
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
