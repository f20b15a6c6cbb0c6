"""A checkpoint -> what the page in a browser opens: a manifest for JSON, and the integers of the model in base64.

The integers are those of exact arithmetic (`network/quantise.py`), so the page computes what `charlstm sample --exact`
does, to the bit; the manifest holds a known answer by which it finds out that it does.
"""

import base64
from typing import Any

from charlstm.compress import models
from charlstm.compress.predict import ASKED, Coding
from charlstm.network import weights
from charlstm.network.quantise import ARITHMETIC
from charlstm.storage.loaded import Loaded

Manifest = dict[str, Any]


def of(loaded: Loaded) -> tuple[Manifest, str]:
    """Return the manifest of a model, and its integers in base64, little-endian.

    The manifest has the shape of the network, the number of its weights, the vocabulary and the labels; for each
    tensor its name, its type, its shape and the byte at which it begins; and a known answer: the CRC-32 of the
    frequencies of the next id, as uint32, at the first places of a text whose id n is n * 7 modulo V.

    Raises:
        DataError: if the weights are not numbers, or too large for exact arithmetic.
    """
    coding = models.of(loaded)
    config, tokenizer = coding.quantised.config, coding.tokenizer
    tensors, data = _packed(coding)
    manifest = {
        "arithmetic": ARITHMETIC,
        "name": coding.name,
        "id": coding.quantised.model_id,
        "coding": coding.id.hex(),
        "separator": coding.separator,
        "shape": {
            "cell": config.cell,
            "layers": config.num_layers,
            "hiddenSize": config.hidden_size,
            "embeddingSize": config.embedding_size,
            "vocabSize": tokenizer.vocab_size,
            "ngrams": config.ngrams,
            "ngramRows": config.ngram_rows,
        },
        "weights": weights.count(config, tokenizer.vocab_size),
        "tokenizer": tokenizer.kind,
        "vocabulary": tokenizer.vocabulary,
        "labels": list(tokenizer.labels),
        "labelCounts": list(tokenizer.label_counts),
        "bytes": len(data),
        "tensors": tensors,
        "answer": {"ids": ASKED, "crc": coding.answer},
    }
    return manifest, base64.b64encode(data).decode("ascii")


def _packed(coding: Coding) -> tuple[list[Manifest], bytes]:
    """Return where each tensor lies, and the bytes of all: the widest type first, so that each is aligned."""
    entries, parts, at = [], [], 0
    ordered = sorted(coding.quantised.tensors().items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    for name, tensor in ordered:
        data = tensor.astype(tensor.dtype.newbyteorder("<")).tobytes()
        entries.append({"name": name, "type": tensor.dtype.name, "shape": list(tensor.shape), "at": at})
        parts.append(data)
        at += len(data)
    return entries, b"".join(parts)
