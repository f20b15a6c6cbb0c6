import numpy as np
import torch

from charlstm.config import ModelConfig
from charlstm.network import ngrams
from charlstm.network.model import CharLSTM
from charlstm.network.stepper import Stepper
from charlstm.text.tokenizer import Tokenizer


def with_ngrams(tokenizer: Tokenizer) -> tuple[CharLSTM, Stepper]:
    """Return a finished model with n-grams that bear on what it says, for windows and for single steps."""
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=24, embedding_size=8, ngrams=4, ngram_rows=256)
    weights = {name: weight.numpy() for name, weight in CharLSTM(config, tokenizer).state_dict().items()}
    table = weights.pop(ngrams.DENSE)
    table[::2, :-1] = np.random.default_rng(0).normal(size=(128, 7))
    weights["output.weight"] *= 3
    weights |= ngrams.rounded(table, np.arange(0, 256, 2), np.ones(128, np.float32))
    return CharLSTM.from_weights(config, tokenizer, weights), Stepper(config, tokenizer, weights)
