import math
from pathlib import Path

import pytest
import torch

from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.network.device import Device
from charlstm.text import corpus as corpora
from charlstm.text.corpus import Corpus
from charlstm.training.state import Training

CPU = Device("cpu", "fp32")
NGRAMS: dict[str, object] = {"ngrams": 4, "ngram_rows": 256}
"""Options of a model with n-grams."""


def config(model: dict[str, object] | None = None, **options: object) -> RunConfig:
    sizes = {"hidden_size": 24, "embedding_size": 8, "num_layers": 2, "dropout": 0.2, "recurrent_dropout": 0.2} | (
        model or {}
    )
    lengths = {"batch_size": 6, "seq_length": 20, "steps": 40} | options
    return RunConfig(text=TextConfig(), model=ModelConfig(**sizes), train=TrainConfig(**lengths))


@pytest.fixture
def corpus(text: str, tmp_path: Path) -> Corpus:
    (tmp_path / "corpus.txt").write_text(text[:3000], encoding="utf-8", newline="")
    return corpora.load([str(tmp_path / "corpus.txt")], [], TextConfig())


def poisoned(training: Training, step: int) -> None:
    """Make the loss of one step not finite."""

    def poison(_: torch.nn.Module, __: object, logits: torch.Tensor) -> torch.Tensor:
        return logits * math.nan if training.step == step and training.model.training else logits

    training.model.output.register_forward_hook(poison)
