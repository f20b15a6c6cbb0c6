"""Runs nanoGPT (a checkout of it, never part of this project) as its README says, for the comparisons."""

import importlib.util
import pickle
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

# The README's command for a laptop without a GPU.
COMMAND = [
    *("train.py", "config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=20"),
    *("--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128", "--dropout=0.0"),
]
BLOCK = 64


@dataclass
class Trained:
    """A model, the ids of its characters, and the way there."""

    model: Any
    table: dict[str, int]
    seconds: float
    curve: list[tuple[float, float]]
    """Seconds and held-out loss (of nanoGPT's own estimate), at the beginning and at the end."""


def load(checkout: Path) -> ModuleType:
    """Import the checkout's `model.py`."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", checkout / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def train(checkout: Path, text: str, held_out: str, seconds: float, seed: int, work: Path) -> Trained:
    """Train the CPU recipe for as many iterations as fit into the time, in the new folder `work`."""
    work.mkdir(parents=True)
    for name in ("train.py", "model.py", "configurator.py"):
        shutil.copy(checkout / name, work)
    shutil.copytree(checkout / "config", work / "config")
    source = (work / "train.py").read_text().replace("torch.manual_seed(1337", f"torch.manual_seed({1336 + seed}")
    (work / "train.py").write_text(source)
    characters = sorted(set(text) | set(held_out))
    table = {character: id for id, character in enumerate(characters)}
    data = work / "data" / "shakespeare_char"
    data.mkdir(parents=True)
    for name, part in (("train", text), ("val", held_out)):
        np.array([table[character] for character in part], np.uint16).tofile(data / f"{name}.bin")
    (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": len(characters)}))

    def run(iterations: int) -> tuple[float, str]:
        lengths = [f"--max_iters={iterations}", f"--lr_decay_iters={iterations}", f"--eval_interval={iterations}"]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, *COMMAND, *lengths, "--out_dir=out"], cwd=work, check=True, capture_output=True, text=True
        )
        return time.monotonic() - began, done.stdout

    short, long = run(200)[0], run(500)[0]  # two runs tell the start from the iterations
    each = (long - short) / 300
    took, out = run(max(1, int((seconds - (short - 200 * each)) / each)))

    module = load(work)
    saved = torch.load(work / "out" / "ckpt.pt", weights_only=True)
    model = module.GPT(module.GPTConfig(**saved["model_args"]))
    model.load_state_dict(saved["model"])
    losses = [float(loss) for loss in re.findall(r"val loss ([\d.]+)", out)]
    return Trained(model.eval(), table, took, [(short - 200 * each, losses[0]), (took, losses[-1])])
