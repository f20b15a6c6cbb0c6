"""What opens and closes, and how likely the model says it is."""

import numpy as np
import pytest
import torch

from charlstm.measure import structure
from charlstm.measure.ngram import KneserNey
from charlstm.measure.read import Reader
from charlstm.network.device import Device
from charlstm.text import corpus as corpora
from tests.conftest import fitted
from tests.measure.test_reach import small_model

CPU = Device("cpu", "fp32")


def test_what_opens_and_closes() -> None:
    text = 'He (or "she [x] too") left. "Oh\n\nROMEO:\nA) b\n\nJULIET:\nNo.\n\nROMEO:\nYes.\n\n'
    text += "  one\n  two\n    three\n"
    found = [(it.kind, text[it.opener], text[it.at], it.distance) for it in structure.find(text, least=1)]
    assert found == [
        ("bracket", "[", "]", 2),
        ("bracket", "(", ")", 17),
        ("quote", '"', '"', 12),
        ("speaker", ":", ":", 26),
        ("indent", "o", "t", 6),
    ]


def test_closings_are_weighed_by_what_the_model_says(text: str) -> None:
    tokenizer = fitted(text[:40_000])
    split = corpora.encode(text[:40_000], tokenizer)
    ids = split.ids
    model = small_model(tokenizer.vocab_size)
    ngrams = KneserNey(ids, tokenizer.vocab_size, tokenizer.start_id)
    bands = structure.measure(Reader(model, tokenizer, CPU), split, ngrams)
    with torch.inference_mode():
        read = torch.from_numpy(np.concatenate(([tokenizer.start_id], ids[:-1])).astype(np.int64))[:, None]
        likely = model(read, model.zero_state(1))[0][:, 0].softmax(-1).numpy()
    closings = [it for it in structure.find(text[:40_000]) if it.kind == "bracket" and 10 <= it.distance < 30]
    band = next(band for band in bands if (band.kind, band.least) == ("bracket", 10))
    assert band.count == len(closings) > 20
    assert band.model == pytest.approx(np.mean([likely[it.at, ids[it.at]] for it in closings]), rel=1e-3)
    assert band.ngram > 10 * band.model  # it has counted this very text, the model nothing
    assert {band.kind for band in bands} >= {"bracket", "quote", "indent"}
