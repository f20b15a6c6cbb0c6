import torch

from charlstm.config import ModelConfig
from charlstm.network.model import CharLSTM


def build(seed: int = 0, **options: object) -> CharLSTM:
    torch.manual_seed(seed)
    return CharLSTM(ModelConfig(**{"hidden_size": 32, "embedding_size": 12} | options), 20, unknown_id=0).eval()
