import torch

from charlstm.config import ModelConfig
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Symbols


def build(seed: int = 0, **options: object) -> CharLSTM:
    torch.manual_seed(seed)
    return CharLSTM(
        ModelConfig(**{"hidden_size": 32, "embedding_size": 12} | options), Symbols(20, unknown_id=0)
    ).eval()
