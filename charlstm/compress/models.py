"""A checkpoint, or the file that two parties share <-> a `Coding`.

The shared file is a `.safetensors` file with the tensors of `Quantised` alone, a quarter of a checkpoint's size. Its
metadata holds the settings of the network, the vocabulary and a SHA-256 of everything, as a checkpoint's does.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from charlstm.compress.container import Writer
from charlstm.compress.predict import Coding
from charlstm.config import ModelConfig
from charlstm.errors import DataError, InputOutputError, UsageError
from charlstm.network.quantise import ARITHMETIC, Quantised
from charlstm.storage import durable, loaded, runs
from charlstm.storage import header as headers
from charlstm.text import tokenizer as tokenizers

_FORMAT = "charlstm-quantised"
_ENTRIES = ("format", "arithmetic", "model", "tokenizer", "vocabulary", "separator", "name")
_OF_RUNS = {"best", "last", "previous", "level"}
_WIDTHS = {"I8": 1, "I16": 2, "I32": 4, "I64": 8, "U8": 1, "U16": 2, "U32": 4, "F32": 4, "F64": 8}


def opened(name: str | None, root: Path = runs.ROOT) -> Coding:
    """Return the model of a shared file, a checkpoint, or the folder or name of a run; by default the newest run's.

    Raises:
        DataError: if it cannot be used.
        InputOutputError: if it is missing or cannot be read.
    """
    path = runs.find(name, root)
    with durable.opened(path) as (file, size):
        try:
            header, begin = headers.read(file, size)
            shared = json.loads(header["__metadata__"]["format"]) == _FORMAT
        except (ValueError, KeyError, TypeError, RecursionError):
            shared = False
        if shared:
            try:
                return _shared(header, begin + file.read(size - len(begin)), len(begin))
            except headers.UNUSABLE as error:
                raise DataError(f"{path}: not a usable model ({error}); use another copy") from None
    return of(loaded.load(name, root))


def of(opening: loaded.Loaded) -> Coding:
    """Return the model of an opened checkpoint, in integers.

    Raises:
        DataError: if its weights are not numbers, or too large for exact arithmetic.
    """
    config = opening.config
    quantised = Quantised.from_checkpoint(config.model, opening.tokenizer, opening.checkpoint.weights)
    separator = config.text.between if opening.tokenizer.framed else ""
    return Coding(quantised, opening.tokenizer, separator, name_of(opening.path))


def finder(name: str | None, root: Path = runs.ROOT) -> Any:
    """Return what finds the model of a container: the one with this name, or with the name that the container tells."""

    def find(writer: Writer) -> Coding:
        if name is not None:
            return opened(name, root)
        wanted = f"it needs {writer.words}"
        try:
            found = opened(writer.name or None, root)
        except (InputOutputError, UsageError):
            raise InputOutputError(f"{wanted}, which is not here; name its file with --model") from None
        if found.id != writer.model_id:
            raise DataError(f"{wanted}, and {found.name!r} here is another one (id {found.id.hex()}); name it: --model")
        return found

    return find


def write(path: Path, coding: Coding) -> None:
    """Write the file that two parties share.

    Raises:
        DataError: if the vocabulary is too large for the size of the network.
        InputOutputError: if it cannot be written.
    """
    values = {
        "format": _FORMAT,
        "arithmetic": ARITHMETIC,
        "model": coding.quantised.config.to_dict(),
        "tokenizer": coding.tokenizer.kind,
        "vocabulary": coding.tokenizer.vocabulary,
        "labels": coding.tokenizer.counts_by_label,
        "separator": coding.separator,
        "name": coding.name,
    }
    texts = {name: json.dumps(value, sort_keys=True) for name, value in values.items()}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in coding.quantised.tensors().items()}
    digest = headers.digest_of(safetensors.numpy.save(tensors, texts))
    data = safetensors.numpy.save(tensors, texts | {"sha256": digest})
    if headers.end_of(data) - 8 > headers.most(len(data)):
        raise DataError(
            f"{path}: a vocabulary of {coding.tokenizer.vocab_size:,} is too large for a shared file of a network this "
            "small; share the checkpoint itself"
        )
    durable.write(path, data)


def _shared(header: dict[str, Any], data: bytes, begin: int) -> Coding:
    """Return the model in a shared file; raises DataError, or what a value that makes no sense raises."""
    metadata = header["__metadata__"]
    values = {name: json.loads(metadata[name], object_pairs_hook=headers.unique) for name in _ENTRIES}
    labels = json.loads(metadata.get("labels", "{}"), object_pairs_hook=headers.unique)
    if values["arithmetic"] != ARITHMETIC:
        raise DataError(f"arithmetic {values['arithmetic']!r:.20}, this version has {ARITHMETIC}; update charlstm")
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    size = sum(_WIDTHS[entry["dtype"]] * math.prod(entry["shape"]) for entry in tensors.values())
    if begin + size != len(data):
        raise DataError("its tensors and its size do not agree")
    headers.require_digest(header, memoryview(data)[begin:])
    vocabulary, separator, name = values["vocabulary"], values["separator"], values["name"]
    if not isinstance(vocabulary, list) or not isinstance(separator, str) or not isinstance(name, str):
        raise DataError("its vocabulary, separator or name is invalid")
    if not headers.ENTRIES["labels"].fits(labels):
        raise DataError("its labels are invalid")
    tokenizer = tokenizers.from_vocabulary(values["tokenizer"], vocabulary, labels)
    config = ModelConfig.from_dict(values["model"])
    quantised = Quantised.of_tensors(config, tokenizer, safetensors.numpy.load(data))
    return Coding(quantised, tokenizer, separator if tokenizer.framed else "", name)


def name_of(path: Path) -> str:
    """Return what a run is called: its folder's name, or the file's own."""
    return path.absolute().parent.name if path.stem in _OF_RUNS else path.stem
