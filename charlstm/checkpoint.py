"""One `.safetensors` file <-> config, vocabulary, weights and training state; atomic, verified, free of torch.

The file's metadata holds, as JSON, all that is not a tensor. Its entry `sha256` is the SHA-256 of the rest of the
header (as canonical JSON) followed by the tensor bytes, so that no bit of the file can change unnoticed.

Files outlive versions. A file written by an older version lacks what was added since: that takes its default. A newer
version may add entries that can be left out; this one keeps what it does not know in `Checkpoint.unknown`, and writes
it again. What cannot be left out needs another `SCHEMA`.
"""

import copy
import dataclasses
import hashlib
import itertools
import json
import math
import platform
from collections.abc import Callable, Iterator, Mapping
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
from charlstm.config import MOST_THREADS, ModelConfig, RunConfig
from charlstm.corpus import Source
from charlstm.errors import CharLSTMError, DataError
from charlstm.tokenizer import Tokenizer

SCHEMA = 1
_FORMAT = "charlstm"
_LEAST_HEADER = 1 << 20  # bytes that a header may always have
_HEADER_SHARE = 8  # a longer one is at most this part of the file: JSON takes many times its length in memory
_COPIES = 3  # of all tensors, that are made at the same time as they are written
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
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """What a newer version wrote and this one does not know: by the metadata's names, and within them by theirs."""

    @property
    def weights(self) -> dict[str, Array]:
        """The model's tensors alone."""
        return {name: tensor for name, tensor in self.tensors.items() if not name.startswith(("optimizer.", "state."))}

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.size for tensor in self.weights.values())

    @property
    def unknown_names(self) -> list[str]:
        """The names of what is unknown, such as `config.train.flavour`."""

        def names(values: Mapping[str, Any], known: Mapping[str, Any], place: str = "") -> Iterator[str]:
            for name, value in values.items():
                if name in known:
                    yield from names(value, known[name], f"{place}{name}.")
                else:
                    yield place + name

        return sorted(names(self.unknown, _metadata(self)))


def save(path: Path, checkpoint: Checkpoint, *, keep: Path | None = None) -> None:
    """Write a checkpoint; the file at `path` is replaced whole or not at all, and may be kept under another name.

    Raises:
        DataError: where the vocabulary is too large for so small a network.
        InputOutputError: where the folder or the disk does not take it.
    """
    metadata = _metadata(checkpoint)
    texts = {name: _json(_with(value, checkpoint.unknown.get(name))) for name, value in metadata.items()}
    texts |= {name: text for name, text in checkpoint.unknown.items() if name not in metadata}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in checkpoint.tensors.items()}
    # safetensors aborts the process if there is no memory for its copies; this raises MemoryError, and touches none.
    np.empty(_COPIES * sum(tensor.nbytes for tensor in tensors.values()) + _LEAST_HEADER, np.uint8)
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


def _metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return all that is not a tensor, as plain JSON values."""
    return {
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


def _with(known: Any, unknown: Any) -> Any:
    """Return JSON values with what `_beyond` has found put back."""
    if not unknown:
        return known
    return {**known, **{name: _with(known[name], it) if name in known else it for name, it in unknown.items()}}


def _beyond(found: Any, known: Any) -> dict[str, Any]:
    """Return the entries of `found` that `known` does not have, and those within its entries."""
    if not isinstance(found, dict) or not isinstance(known, dict):
        return {}
    beyond = {name: _beyond(value, known[name]) if name in known else value for name, value in found.items()}
    return {name: value for name, value in beyond.items() if name not in known or value}


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
    found = {name: json.loads(texts[name], object_pairs_hook=_unique) for name in _ENTRIES if name in texts}
    values = _known("metadata", found, _ENTRIES)
    source = _known("source", values["source"], _SOURCE)
    training = values["training"]
    if training is not None:
        training = _known("training", training, _TRAINING)
        training["plan"] = _known("plan", training["plan"], _PLAN)
    checkpoint = Checkpoint(
        config=RunConfig.from_dict(values["config"]),
        tokenizer=tokenizers.from_vocabulary(values["tokenizer"], values["vocabulary"]),
        source=Source(**source | {name: tuple(source[name]) for name in ("paths", "val_paths")}),
        step=values["step"],
        val_loss=values["val_loss"],
        tensors={},
        training=training,
        versions=values["versions"],
    )
    known = _metadata(checkpoint)
    unknown = {name: text for name, text in texts.items() if name not in known and name != "sha256"}
    return dataclasses.replace(checkpoint, unknown=unknown | _beyond(found, known))


_REQUIRED: Any = object()


@dataclass(frozen=True)
class _Entry:
    """A value of the metadata."""

    fits: Callable[[Any], bool]
    """Says whether a value may stand there."""
    default: Any = _REQUIRED
    """What a file of an older version means, which does not have it."""


def _known(what: str, values: Mapping[str, Any], entries: Mapping[str, _Entry]) -> dict[str, Any]:
    """Return the values of these entries, with defaults; raises `DataError` naming what is missing or cannot be."""
    known = {}
    for name, entry in entries.items():
        if name in values:
            known[name] = values[name]
            if not entry.fits(known[name]):
                raise DataError(f"its {name} cannot be" if what == "metadata" else f"its {what} has no such {name}")
        elif entry.default is _REQUIRED:
            raise DataError(f"its {what} lacks {name}")
        else:
            known[name] = copy.copy(entry.default)
    return known


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_positive(value: object) -> bool:
    return _is_count(value) and value != 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_versions(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(version, str) for version in value.values())


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_COUNT, _NUMBER, _TEXT, _TEXTS, _OBJECT = map(_Entry, (_is_count, _is_number, _is_text, _is_texts, _is_object))


def _is_decisions(value: object) -> bool:
    """Return whether a value is what was decided about a run's length, in the order of its steps."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return False
    fits = all(
        _is_count(it.get("step"))
        and _is_positive(it.get("steps"))
        and _is_positive(it.get("evaluate_every"))
        and (it.get("threads") is None or (_is_positive(it["threads"]) and it["threads"] <= MOST_THREADS))
        and isinstance(it.get("anew", False), bool)
        for it in value
    )
    return fits and all(a["step"] < b["step"] for a, b in itertools.pairwise(value))


_PLAN = {
    **dict.fromkeys(("steps", "evaluate_every"), _Entry(_is_positive)),
    "decisions": _Entry(_is_decisions, []),
    "part": _Entry(_or_none(_is_positive), None),
    "whole": _Entry(lambda value: isinstance(value, bool), False),
}
_TRAINING = {
    **dict.fromkeys(("step", "characters", "characters_since_row", "row_step", "misses"), _COUNT),
    **dict.fromkeys(("seconds", "nats_since_row"), _NUMBER),
    "best_loss": _Entry(_or_none(_is_number)),
    "best_step": _Entry(_or_none(_is_count)),
    "halved": _Entry(lambda value: isinstance(value, bool)),
    "scored": _Entry(_or_none(_is_count), None),
    "plan": _OBJECT,
    "machine": _OBJECT,
}
"""What `training` holds: where the run stands, its length, and what it was computed by."""
_SOURCE = {
    "paths": _TEXTS,
    "sha256": _TEXT,
    "characters": _COUNT,
    "val_paths": _Entry(_is_texts, []),
    "val_sha256": _Entry(_or_none(_is_text), None),
}
_ENTRIES = {
    "config": _OBJECT,
    "tokenizer": _TEXT,
    "vocabulary": _TEXTS,
    "source": _OBJECT,
    "step": _COUNT,
    "val_loss": _Entry(_or_none(_is_number)),
    "training": _Entry(_or_none(_is_object)),
    "versions": _Entry(_is_versions, {}),
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
