"""One `.safetensors` file <-> config, vocabulary, weights and training state; atomic, verified, free of torch.

The file's metadata holds, as JSON, all that is not a tensor. Its entry `sha256` is the SHA-256 of the rest of the
header (as canonical JSON) followed by the tensor bytes, so that no bit of the file can change unnoticed.
"""

import dataclasses
import hashlib
import json
import math
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from charlstm import __version__, durable
from charlstm import tokenizer as tokenizers
from charlstm.cells import CELLS
from charlstm.config import ModelConfig, RunConfig
from charlstm.corpus import Source
from charlstm.errors import CharLSTMError, DataError
from charlstm.tokenizer import Tokenizer

SCHEMA = 1
_FORMAT = "charlstm"
_LEAST_HEADER = 1 << 20  # bytes that a header may always have
_HEADER_SHARE = 8  # a longer one is at most this part of the file: JSON takes many times its length in memory
_MAX_HEADER = 100_000_000  # the limit of the safetensors format

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What the optimizer keeps of each weight."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds."""

    config: RunConfig
    tokenizer: Tokenizer
    source: Source
    step: int
    val_loss: float | None
    """Held-out loss of these weights in nats a character, or None where it was not measured."""
    tensors: Mapping[str, Array]
    """The model's tensors by torch's names; and `optimizer.*` and `state.*` where a run can go on from here."""
    training: dict[str, Any] | None = None
    """The rest of what a run needs to go on, as plain JSON values."""
    versions: dict[str, str] = field(
        default_factory=lambda: {"charlstm": __version__, "python": platform.python_version()}
    )

    @property
    def weights(self) -> dict[str, Array]:
        """The model's tensors alone."""
        return {name: tensor for name, tensor in self.tensors.items() if not name.startswith(("optimizer.", "state."))}

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.size for tensor in self.weights.values())


def save(path: Path, checkpoint: Checkpoint, *, keep: Path | None = None) -> None:
    """Write a checkpoint; the file at `path` is replaced whole or not at all, and may be kept under another name.

    Raises:
        DataError: where the vocabulary is too large for so small a network.
        InputOutputError: where the folder or the disk does not take it.
    """
    metadata = {
        "format": _FORMAT,
        "schema": SCHEMA,
        "config": checkpoint.config.to_dict(),
        "tokenizer": checkpoint.tokenizer.kind,
        "vocabulary": checkpoint.tokenizer.vocabulary,
        "source": dataclasses.asdict(checkpoint.source),
        "step": checkpoint.step,
        "val_loss": checkpoint.val_loss,
        "training": checkpoint.training,
        "versions": checkpoint.versions,
    }
    texts = {name: _json(value) for name, value in metadata.items()}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in checkpoint.tensors.items()}
    data = safetensors.numpy.save(tensors, texts)
    end = 8 + int.from_bytes(data[:8], "little")
    if end - 8 > _most_header(len(data)):
        raise DataError(
            f"{path}: a vocabulary of {checkpoint.tokenizer.vocab_size:,} is too large for so small a network; "
            "give a larger --hidden-size, or --min-count 2"
        )
    digest = _digest(_header(data[8:end]), memoryview(data)[end:])
    durable.write(path, safetensors.numpy.save(tensors, texts | {"sha256": digest}), keep=keep)


def load(path: Path) -> Checkpoint:
    """Read and verify a checkpoint. Nothing in the file is executed, and no tensor is made before all else is checked.

    Raises:
        DataError: where the file is no checkpoint, or is damaged.
        InputOutputError: where it is missing or cannot be read.
    """
    with durable.opened(path) as (file, size):
        try:
            header, begin = _read_header(file, size)
            metadata = header["__metadata__"]
            written_in = json.loads(metadata["schema"])
            if json.loads(metadata["format"]) != _FORMAT:
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(f"{path}: not a charlstm checkpoint; name one that `charlstm train` wrote") from None
        if not _is_count(written_in) or written_in != SCHEMA:
            raise DataError(
                f"{path}: written in schema {written_in!r:.20}, this version reads {SCHEMA}; update charlstm"
            )
        try:
            checkpoint = _described(header)
            _require_tensors(checkpoint, header)
            data = begin + file.read(size - len(begin))
            if _digest(header, memoryview(data)[len(begin) :]) != metadata.get("sha256"):
                raise DataError("its SHA-256 does not match: it is damaged")
            checkpoint = dataclasses.replace(checkpoint, tensors=safetensors.numpy.load(data))
            _require_numbers(checkpoint)
        except (
            CharLSTMError,
            safetensors.SafetensorError,
            ValueError,
            KeyError,
            TypeError,
            OverflowError,
            RecursionError,
        ) as error:
            raise DataError(f"{path}: not a usable checkpoint ({error}); use another copy") from None
    return checkpoint


def weight_shapes(config: ModelConfig, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of the model's tensors, by torch's names."""
    size, cell = config.hidden_size, CELLS[config.cell]
    rows = len(cell.gates) * size
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (vocab_size, config.embedding_size)}
    for number in range(config.num_layers):
        shapes |= {
            f"layers.{number}.weight_ih_l0": (rows, config.embedding_size + (size if number else 0)),
            f"layers.{number}.weight_hh_l0": (rows, size),
            f"layers.{number}.bias_ih_l0": (rows,),
            f"layers.{number}.bias_hh_l0": (rows,),
        }
        if cell.peepholes:
            shapes[f"layers.{number}.weight_ch_l0"] = (cell.peepholes * size,)
    return shapes | {"output.weight": (vocab_size, config.num_layers * size), "output.bias": (vocab_size,)}


def training_shapes(config: RunConfig, weights: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor that a run needs beside its weights to go on: moments and recurrent state."""
    shapes = {f"optimizer.{moment}.{name}": shape for moment in MOMENTS for name, shape in weights.items()}
    model = config.model
    state = (1, config.train.batch_size, model.hidden_size)
    parts = "hc" if CELLS[model.cell].has_c else "h"
    return shapes | {f"state.{number}.{part}": state for number in range(model.num_layers) for part in parts}


def _json(value: Any) -> str:
    """Return compact JSON: characters as themselves, where UTF-8 has them."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates
        return json.dumps(value, sort_keys=True)
    return text


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, Any], bytes]:
    """Return the header of a file of `size` bytes, and the bytes up to its end; raises ValueError where it has none."""
    first = file.read(8)
    length = int.from_bytes(first, "little")
    if not 0 < length <= min(size - 8, _most_header(size)):
        raise ValueError("no header")
    text = file.read(length)
    return _header(text), first + text


def _most_header(size: int) -> int:
    """Return how many bytes the header of a file of `size` bytes may have."""
    return min(_MAX_HEADER, max(_LEAST_HEADER, size // _HEADER_SHARE))


def _header(text: bytes) -> dict[str, Any]:
    header = json.loads(text, object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise TypeError("the header is no object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; one that names a thing twice may mean one thing to one reader and another to the next."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name appears twice")
    return found


def _digest(header: dict[str, Any], body: memoryview) -> str:
    metadata = {name: text for name, text in header["__metadata__"].items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(header | {"__metadata__": metadata}, sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()


def _described(header: dict[str, Any]) -> Checkpoint:
    """Return what the metadata says, without tensors; raises DataError, KeyError, TypeError or ValueError."""
    texts = header["__metadata__"]
    values = {name: json.loads(texts[name], object_pairs_hook=_unique) for name in _ENTRIES}
    for name, fits in _ENTRIES.items():
        if not fits(values[name]):
            raise DataError(f"its {name} cannot be")
    source = values["source"]
    return Checkpoint(
        config=RunConfig.from_dict(values["config"]),
        tokenizer=tokenizers.from_vocabulary(values["tokenizer"], values["vocabulary"]),
        source=Source(**source | {name: tuple(source[name]) for name in ("paths", "val_paths")}),
        step=values["step"],
        val_loss=values["val_loss"],
        tensors={},
        training=values["training"],
        versions=values["versions"],
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_positive(value: object) -> bool:
    return _is_count(value) and value != 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_source(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_texts(value["paths"])
        and _is_texts(value["val_paths"])
        and isinstance(value["sha256"], str)
        and isinstance(value["val_sha256"], str | None)
        and _is_count(value["characters"])
    )


def _is_versions(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(version, str) for version in value.values())


_PLAN: dict[str, Callable[[Any], bool]] = dict.fromkeys(("steps", "evaluate_every"), _is_positive)
_TRAINING: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("step", "characters", "characters_since_row", "row_step", "misses"), _is_count),
    **dict.fromkeys(("seconds", "nats_since_row"), _is_number),
    "best_loss": lambda value: value is None or _is_number(value),
    "best_step": lambda value: value is None or _is_count(value),
    "halved": lambda value: isinstance(value, bool),
    "plan": lambda value: isinstance(value, dict) and _is_whole(value, _PLAN),
    "machine": lambda value: isinstance(value, dict),
}
"""What `training` holds: where the run stands, its length, and what it was computed by."""


def _is_whole(values: Mapping[str, Any], kinds: Mapping[str, Callable[[Any], bool]]) -> bool:
    return set(values) == set(kinds) and all(fits(values[name]) for name, fits in kinds.items())


_ENTRIES: dict[str, Callable[[Any], bool]] = {
    "config": lambda value: isinstance(value, dict),
    "tokenizer": lambda value: isinstance(value, str),
    "vocabulary": _is_texts,
    "source": _is_source,
    "step": _is_count,
    "val_loss": lambda value: value is None or _is_number(value),
    "training": lambda value: value is None or (isinstance(value, dict) and _is_whole(value, _TRAINING)),
    "versions": _is_versions,
}


def _require_tensors(checkpoint: Checkpoint, header: Mapping[str, Any]) -> None:
    """Raise `DataError` where the header does not announce the tensors that the configuration describes, in fp32."""
    config = checkpoint.config
    announced = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if config.model.num_layers > len(announced):
        raise DataError("its tensors are not those of its configuration")
    expected = weight_shapes(config.model, checkpoint.tokenizer.vocab_size)
    if checkpoint.training is not None:
        expected |= training_shapes(config, expected)
    if set(announced) != set(expected):
        raise DataError("its tensors are not those of its configuration")
    for name, shape in expected.items():
        kind, found = announced[name]["dtype"], announced[name]["shape"]
        if found != list(shape) or kind != "F32":
            raise DataError(f"tensor {name} is {kind!s:.20} {found!s:.60}, expected F32 {list(shape)}")


def _require_numbers(checkpoint: Checkpoint) -> None:
    for name, tensor in checkpoint.tensors.items():
        if not np.isfinite(tensor).all():
            raise DataError(f"tensor {name} holds numbers that are not finite")
        if name.startswith("optimizer.exp_avg_sq.") and (tensor < 0).any():
            raise DataError(f"tensor {name} holds squares below zero")
