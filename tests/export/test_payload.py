import base64

import numpy as np
import pytest

from charlstm.compress import models
from charlstm.export import payload
from charlstm.network import weights
from charlstm.network.quantise import Quantised
from tests.page.models import loaded


@pytest.mark.parametrize("kind", ["char", "char-labels", "byte-documents"])
def test_the_integers_come_back(kind: str) -> None:
    model = loaded("peephole", 2, kind, with_ngrams=True)
    manifest, text = payload.of(model)
    data = base64.b64decode(text)
    assert (
        len(data)
        == manifest["bytes"]
        == sum(np.prod(each["shape"]) * int(each["type"][3:]) // 8 for each in manifest["tensors"])
    )
    tensors = {}
    for each in manifest["tensors"]:
        dtype, count = np.dtype(each["type"]).newbyteorder("<"), int(np.prod(each["shape"]))
        assert each["at"] % dtype.itemsize == 0
        tensors[each["name"]] = (
            np.frombuffer(data, dtype, count, each["at"]).reshape(each["shape"]).astype(each["type"])
        )
    quantised = Quantised.of_tensors(model.config.model, model.tokenizer, tensors)
    assert quantised.model_id == manifest["id"]


def test_the_manifest_says_what_the_model_is() -> None:
    model = loaded("gru", 1, "char-labels", with_ngrams=True)
    manifest, _ = payload.of(model)
    coding = models.of(model)
    assert manifest["shape"] == {
        "cell": "gru",
        "layers": 1,
        "hiddenSize": 24,
        "embeddingSize": 12,
        "vocabSize": model.tokenizer.vocab_size,
        "ngrams": 4,
        "ngramRows": 64,
    }
    assert manifest["vocabulary"] == model.tokenizer.vocabulary
    assert dict(zip(manifest["labels"], manifest["labelCounts"], strict=True)) == model.tokenizer.counts_by_label
    assert manifest["weights"] == weights.count(model.config.model, model.tokenizer.vocab_size)
    assert manifest["coding"] == coding.id.hex()
    assert manifest["answer"]["crc"] & 0xFFFF == int.from_bytes(coding.known_answer, "little")
