"""One `.safetensors` file <-> config, vocabulary, weights and training state; atomic, verified, free of torch.

The file's metadata holds, as JSON, all that is not a tensor. Its entry `sha256` is the SHA-256 of the rest of the
header (as canonical JSON) followed by the tensor bytes, so that no bit of the file can change unnoticed.
"""

import dataclasses
import hashlib
import json
import os
import platform
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from charlstm import __version__
from charlstm import tokenizer as tokenizers
from charlstm.cells import CELLS
from charlstm.config import ModelConfig, RunConfig
from charlstm.corpus import Source
from charlstm.errors import CharLSTMError, DataError, InputOutputError, os_reason
from charlstm.tokenizer import Tokenizer

SCHEMA = 1
_FORMAT = "charlstm"
_MAX_HEADER = 100_000_000  # the limit of the safetensors format

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


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the file at `path` is replaced whole or not at all.

    Raises:
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
    texts = {name: json.dumps(value, sort_keys=True) for name, value in metadata.items()}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in checkpoint.tensors.items()}
    header, body = _parts(safetensors.numpy.save(tensors, texts))
    data = safetensors.numpy.save(tensors, texts | {"sha256": _digest(header, body)})
    write_atomically(path, data)


def load(path: Path) -> Checkpoint:
    """Read and verify a checkpoint. Nothing in the file is executed.

    Raises:
        DataError: where the file is no checkpoint, or is damaged.
        InputOutputError: where it is missing or cannot be read.
    """
    data = _read(path)
    try:
        header, body = _parts(data)
        metadata = header["__metadata__"]
        written_in = json.loads(metadata["schema"])
        if json.loads(metadata["format"]) != _FORMAT:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{path}: not a charlstm checkpoint; name one that `charlstm train` wrote") from None
    if written_in != SCHEMA:
        raise DataError(f"{path}: written in schema {written_in!r}, this version reads {SCHEMA}; update charlstm")
    if _digest(header, body) != metadata.get("sha256"):
        raise DataError(f"{path}: damaged (its SHA-256 does not match); use another copy")
    try:
        values = {name: json.loads(text) for name, text in metadata.items() if name != "sha256"}
        source = values["source"]
        checkpoint = Checkpoint(
            config=RunConfig.from_dict(values["config"]),
            tokenizer=tokenizers.from_vocabulary(values["tokenizer"], values["vocabulary"]),
            source=Source(**source | {name: tuple(source[name]) for name in ("paths", "val_paths")}),
            step=values["step"],
            val_loss=values["val_loss"],
            tensors=safetensors.numpy.load(data),
            training=values["training"],
            versions=values["versions"],
        )
        _require_weights(checkpoint)
    except (
        CharLSTMError,
        safetensors.SafetensorError,
        ValueError,
        KeyError,
        TypeError,
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


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`: temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        InputOutputError: naming the reason; the old file and nothing else is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise InputOutputError(
            f"{path}: cannot be written ({os_reason(error)}); free some space or choose another --checkpoints folder"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.read_bytes()
    except FileNotFoundError:
        raise InputOutputError(f"{path}: no such checkpoint; check the path") from None
    except OSError as error:
        raise InputOutputError(f"{path}: cannot be read ({os_reason(error)}); check its permissions") from error
    kind = "a folder without a checkpoint in it" if stat.S_ISDIR(mode) else "not a regular file"
    raise DataError(f"{path}: {kind}; name a .safetensors file or a run that `charlstm train` wrote")


def _parts(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the header and the tensor bytes of a safetensors file; raises ValueError where it has none."""
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= min(len(data) - 8, _MAX_HEADER):
        raise ValueError("no header")
    header = json.loads(data[8 : 8 + length])
    if not isinstance(header, dict):
        raise TypeError("the header is no object")
    return header, memoryview(data)[8 + length :]


def _digest(header: dict[str, Any], body: memoryview) -> str:
    metadata = {name: text for name, text in header["__metadata__"].items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(header | {"__metadata__": metadata}, sort_keys=True).encode())
    digest.update(body)
    return digest.hexdigest()


def _require_weights(checkpoint: Checkpoint) -> None:
    """Raise `DataError` where the tensors are not those of the model the config describes."""
    expected = weight_shapes(checkpoint.config.model, checkpoint.tokenizer.vocab_size)
    if set(checkpoint.weights) != set(expected):
        raise DataError("its tensors are not those of its configuration")
    for name, shape in expected.items():
        tensor = checkpoint.tensors[name]
        if tensor.shape != shape or tensor.dtype != np.float32:
            raise DataError(f"tensor {name} is {tensor.dtype} {tensor.shape}, expected float32 {shape}")
        if not np.isfinite(tensor).all():
            raise DataError(f"tensor {name} holds numbers that are not finite")
