import dataclasses

import numpy as np
import pytest
import torch

from charlstm.config import ModelConfig
from charlstm.network import ngrams, transfer
from charlstm.network.cells import CELLS
from charlstm.network.model import CharLSTM
from charlstm.text.tokenizer import CharTokenizer, Tokenizer
from tests.network.conftest import NGRAMS, fill

SHAPES = pytest.mark.parametrize("options", [{}, NGRAMS, NGRAMS | {"num_layers": 2}], ids=["plain", "ngrams", "two"])
TEXT = "the cat sat on the mat and the dog did not"


def trained(tokenizer: Tokenizer, **options: object) -> CharLSTM:
    """Return a model with weights of all sizes, as training leaves them."""
    torch.manual_seed(1)
    config = ModelConfig(**{"hidden_size": 24, "embedding_size": 8} | options)
    model = CharLSTM(config, tokenizer).eval()
    with torch.no_grad():
        for weight in model.matrices().values():
            weight.add_(torch.randn_like(weight), alpha=0.3)
    fill(model)
    model.pin()
    return model


def arrays(model: CharLSTM) -> dict[str, np.ndarray]:
    return {name: weight.numpy().copy() for name, weight in model.state_dict().items()}


def moved(model: CharLSTM, old: Tokenizer, new: Tokenizer) -> tuple[transfer.Moved, CharLSTM]:
    result = transfer.move(model.config, arrays(model), old, new)
    return result, CharLSTM.from_weights(result.config, new, result.weights)


@torch.inference_mode()
def logits(model: CharLSTM, tokenizer: Tokenizer, text: str) -> np.ndarray:
    """Return the scores after each character of a text from its beginning, and before the first: (len + 1, V)."""
    ids = torch.tensor([*tokenizer.opening, *tokenizer.encode(text).tolist()])[:, None]
    scores, _ = model(ids, model.zero_state(1))
    return scores[len(tokenizer.opening) - 1 :, 0].numpy()


@SHAPES
@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_scores_of_known_characters_are_what_they_were(cell: str, framed: bool, options: dict[str, int]) -> None:
    old = CharTokenizer(sorted({*TEXT, "\n"}), framed=framed)
    new = CharTokenizer(sorted({*TEXT, "\n", "Z", "é", "!"}), framed=framed)  # before, among and after the others
    model = trained(old, cell=cell, **options)
    result, other = moved(model, old, new)
    assert [new.vocabulary[id] for id in result.new] == ["!", "Z", "é"]
    before, after = logits(model, old, TEXT), logits(other, new, TEXT)
    known = [new.vocabulary.index(name) for name in old.vocabulary]
    np.testing.assert_allclose(after[:, known], before, atol=1e-5)
    shares = np.exp(after) / np.exp(after).sum(-1, keepdims=True)
    assert shares[:, result.new].max() < 1e-6


@SHAPES
@pytest.mark.parametrize("cell", CELLS)
def test_frames_are_added_to_a_model_that_had_none(cell: str, options: dict[str, int]) -> None:
    old = CharTokenizer(sorted({*TEXT, "\n"}))
    new = CharTokenizer(sorted({*TEXT, "\n"}), framed=True)
    model = trained(old, cell=cell, **options)
    result, other = moved(model, old, new)
    assert result.config == dataclasses.replace(model.config, embedding_size=9)
    before, after = logits(model, old, TEXT), logits(other, new, TEXT)
    known = [new.vocabulary.index(name) for name in old.vocabulary]
    # An n-gram that reaches back to the beginning is another one now; and other cells have no zero state after an end.
    first = -5 if options or cell not in {"lstm", "peephole"} else 0
    np.testing.assert_allclose(after[first:, known], before[first:], atol=0.02 if first else 1e-4)
    ends = [other(torch.tensor(ids)[:, None], other.zero_state(1))[1] for ids in ([1, 5, new.end_id], [9, new.end_id])]
    for one, another in zip(*ends, strict=True):
        assert all(torch.equal(*pair) for pair in zip(one, another, strict=True))


def test_rows_follow_their_characters_when_some_are_dropped() -> None:
    old, new = CharTokenizer("abcdef"), CharTokenizer("bfx")
    model = trained(old, **NGRAMS)
    result, _ = moved(model, old, new)
    weights = arrays(model)
    for name in ("embedding.weight", "output.weight", "output.bias"):
        np.testing.assert_array_equal(result.weights[name][:3], weights[name][[0, 2, 6]])
    np.testing.assert_allclose(
        result.weights["embedding.weight"][3], weights["embedding.weight"][1:].mean(0), rtol=1e-6
    )
    np.testing.assert_array_equal(result.weights[ngrams.DENSE], weights[ngrams.DENSE])


def test_new_characters_get_their_share_of_the_probability() -> None:
    old, new = CharTokenizer("abc"), CharTokenizer("abcxy")
    model = trained(old)
    result, _ = moved(model, old, new)
    shares = np.array([0.0, 0.3, 0.3, 0.2, 0.15, 0.05])
    total = float(torch.from_numpy(logits(model, old, "a")[-1]).logsumexp(0))
    other = CharLSTM.from_weights(result.config, new, transfer.introduce(result, shares, total))
    scores = logits(other, new, "a")[-1].astype(np.float64)
    likely = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(likely[4:], [0.15, 0.05], rtol=1e-4)
    old_scores = logits(model, old, "a")[-1].astype(np.float64)
    np.testing.assert_allclose(likely[:4], 0.8 * np.exp(old_scores) / np.exp(old_scores).sum(), rtol=1e-4)
