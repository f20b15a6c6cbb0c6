import torch

from charlstm.config import ModelConfig
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Symbols

NGRAMS = {"ngrams": 4, "ngram_rows": 256}
"""Options of a model with n-grams: few rows, so that many n-grams share one."""


def build(seed: int = 0, **options: object) -> CharLSTM:
    torch.manual_seed(seed)
    config = ModelConfig(**{"hidden_size": 32, "embedding_size": 12} | options)
    model = CharLSTM(config, Symbols(20, unknown_id=0))
    fill(model)
    return model.eval()


def fill(model: CharLSTM) -> None:
    """Give the n-grams, if there are any, the vectors of a trained model: random ones, but for the reserved feature."""
    if model.ngrams is not None:
        with torch.no_grad():
            model.ngrams.weight.normal_()
            model.ngrams.weight[:, -1] = 0
