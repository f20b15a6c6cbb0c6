"""Small models whose gates move, as those of trained ones do."""

from pathlib import Path

import numpy as np
import torch

from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.network.model import CharLSTM
from charlstm.storage.checkpoint import Checkpoint
from charlstm.storage.loaded import Loaded
from charlstm.text.corpus import Source
from charlstm.text.tokenizer import Tokenizer
from tests.network.conftest import NGRAMS, fill

KNOWN = "\n !'(),-.:;ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def model(tokenizer: Tokenizer, cell: str = "lstm", num_layers: int = 1, *, with_ngrams: bool = True) -> CharLSTM:
    """Return a torch model with random weights."""
    torch.manual_seed(0)
    options = NGRAMS if with_ngrams else {}
    config = ModelConfig(cell=cell, num_layers=num_layers, hidden_size=24, embedding_size=8, **options)
    built = CharLSTM(config, tokenizer).eval()
    fill(built)
    with torch.no_grad():
        for name, weight in built.named_parameters():
            if name.endswith("ch_l0"):
                weight.normal_(std=0.1)
            else:
                weight.mul_(0.3 if name.startswith("ngrams") else 1.5)
    built.pin()
    return built


def opened(built: CharLSTM, tokenizer: Tokenizer) -> Loaded:
    """Return a model as an opened checkpoint."""
    weights = {name: weight.detach().numpy().copy() for name, weight in built.state_dict().items()}
    source = Source(("nowhere",), "0" * 64, 1)
    config = RunConfig(text=TextConfig(), model=built.config, train=TrainConfig())
    return Loaded(Path("nowhere"), Checkpoint(config, tokenizer, source, 1, None, weights))


def loaded(tokenizer: Tokenizer, cell: str = "lstm", num_layers: int = 1, *, with_ngrams: bool = True) -> Loaded:
    """Return an opened checkpoint with random weights."""
    return opened(model(tokenizer, cell, num_layers, with_ngrams=with_ngrams), tokenizer)


def ids_of(tokenizer: Tokenizer, documents: list[str]) -> np.ndarray:
    """Return the ids of documents, one after the other, with their frames."""
    frames = [[tokenizer.start_id, *tokenizer.encode(each).tolist(), tokenizer.end_id] for each in documents]
    return np.concatenate(frames)
