"""One `.safetensors` file <-> config, vocabulary, weights and training state; atomic, verified, without torch.

The file's metadata holds everything that is not a tensor, as JSON. Its entry `sha256` is the SHA-256 of the rest of the
header (as canonical JSON) followed by the tensor bytes, so that no bit of the file can change unnoticed.

Files outlive versions. Entries missing from a file of an older version get their defaults. A newer version may add
optional entries; this version keeps those it does not know in `Checkpoint.unknown` and writes them back. A new entry
that is not optional requires a new schema: a model with labels has one more tensor, so its file is written in schema 2,
and all others in schema 1, which every version reads.
"""

import dataclasses
import json
import math
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from charlstm import __version__
from charlstm.config import RunConfig, TextConfig
from charlstm.errors import DataError
from charlstm.network import ngrams, weights
from charlstm.network.cells import CELLS
from charlstm.storage import durable
from charlstm.storage import header as headers
from charlstm.text import tokenizer as tokenizers
from charlstm.text.corpus import Source
from charlstm.text.tokenizer import Tokenizer

SCHEMA = 1
_LABELLED = 2  # the schema of a model with labels
_FORMAT = "charlstm"
_COPIES = 3  # how many copies of all tensors exist at the same time during a write

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What the optimizer keeps for each weight."""

TABLE_SUMS = "optimizer.sum.ngrams"
"""The sums of squares of the rows of n-grams in use, (U,)."""
RECENT = "state.recent"
"""The codes of the last characters of each stream, (1, N, highest order - 1), int32, if n-grams are inputs."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Standing:
    """Where a run stands: what it needs to go on, in addition to its tensors and settings.

    Every field has a default, so that adding a field never makes a saved run unresumable. `header.TRAINING` says which
    of them every file must have.
    """

    step: int = 0
    characters: int = 0
    """Characters trained on."""
    seconds: float = 0.0
    """Duration of the run, not counting the time during which it was stopped."""
    nats_since_row: float = 0.0
    characters_since_row: int = 0
    row_step: int = 0
    """Step of the newest row in the metrics."""
    best_loss: float | None = None
    """Lowest held-out loss, in nats per character."""
    best_step: int | None = None
    misses: int = 0
    """Measurements since the best one."""
    halved: bool = False
    """Whether a step was undone because its loss or gradient was not finite, and the learning rate halved."""
    scored: int | None = None
    """How many characters of held-out text `best_loss` was measured on."""
    abandoned: bool = False
    """Whether the best weights come from a fall of the learning rate that was abandoned, because the run goes on for
    longer: step `best_step` of this run has other weights."""
    plan: Mapping[str, Any] = field(default_factory=dict)
    """Length of the run, as written by `Plan.to_dict`."""
    machine: Mapping[str, Any] = field(default_factory=dict)
    """What computed the run, as described by `device.machine`."""

    @property
    def at_best(self) -> bool:
        """Whether the weights at this step are the best ones."""
        return self.best_step == self.step and not self.abandoned


@dataclass(frozen=True)
class Origin:
    """A model whose weights a run began with."""

    name: str
    """As the user named it."""
    sha256: str
    """Of its file."""
    source: Source
    """The text it was trained on."""
    text: TextConfig
    """How that was read."""
    step: int
    val_loss: float | None


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint file."""

    config: RunConfig
    tokenizer: Tokenizer
    source: Source
    step: int
    val_loss: float | None
    """Held-out loss of these weights in nats per character, or None if it was not measured."""
    tensors: Mapping[str, Array]
    """The model's tensors by torch's names, plus `optimizer.*` and `state.*` if a run can go on from here."""
    training: Standing | None = None
    """What else a run needs to go on; None if it cannot go on from here."""
    versions: dict[str, str] = field(
        default_factory=lambda: {"charlstm": __version__, "python": platform.python_version()}
    )
    origin: tuple[Origin, ...] = ()
    """The models that the weights come from, the oldest first; none if the run began from nothing."""
    unknown: Mapping[str, Any] = field(default_factory=dict)
    """What a newer version wrote and this one does not know, nested as in the metadata."""

    @property
    def weights(self) -> dict[str, Array]:
        """The model's tensors alone."""
        return {name: tensor for name, tensor in self.tensors.items() if not name.startswith(("optimizer.", "state."))}

    @property
    def parameters(self) -> int:
        """Number of weights, without the vectors of n-grams."""
        return sum(tensor.size for name, tensor in self.weights.items() if not name.startswith("ngrams."))

    @property
    def ngram_rows(self) -> int:
        """Vectors of n-grams in use."""
        return len(self.tensors[ngrams.ROWS]) if ngrams.ROWS in self.tensors else 0

    @property
    def unknown_names(self) -> list[str]:
        """The names of the unknown entries, such as `config.train.flavour`."""

        def names(values: Mapping[str, Any], known: Mapping[str, Any], place: str = "") -> Iterator[str]:
            for name, value in values.items():
                if name in known:
                    yield from names(value, known[name], f"{place}{name}.")
                else:
                    yield place + name

        return sorted(names(self.unknown, _metadata(self)))


def save(path: Path, checkpoint: Checkpoint, *, keep: Path | None = None) -> None:
    """Write a checkpoint; the file at `path` is replaced completely or not at all, and may be kept under another name.

    Raises:
        DataError: if the vocabulary is too large for the size of the network.
        InputOutputError: if the file cannot be written.
    """
    metadata = _metadata(checkpoint)
    texts = {name: _json(_with(value, checkpoint.unknown.get(name))) for name, value in metadata.items()}
    texts |= {name: text for name, text in checkpoint.unknown.items() if name not in metadata}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in checkpoint.tensors.items()}
    # safetensors aborts the process if memory for its copies runs out. This allocation raises MemoryError instead, and
    # touches no memory.
    np.empty(_COPIES * sum(tensor.nbytes for tensor in tensors.values()) + headers.LEAST, np.uint8)
    data = safetensors.numpy.save(tensors, texts)
    if headers.end_of(data) - 8 > headers.most(len(data)):
        raise DataError(
            f"{path}: a vocabulary of {checkpoint.tokenizer.vocab_size:,} is too large for a network this small; "
            "give a larger --hidden-size, or --min-count 2"
        )
    durable.write(path, safetensors.numpy.save(tensors, texts | {"sha256": headers.digest_of(data)}), keep=keep)


def load(path: Path) -> Checkpoint:
    """Read and verify a checkpoint. Nothing in the file is executed, and everything else is checked before any tensor
    is created.

    Raises:
        DataError: if the file is not a checkpoint, or is damaged.
        InputOutputError: if it is missing or cannot be read.
    """
    with durable.opened(path) as (file, size):
        try:
            header, begin = headers.read(file, size)
            metadata = header["__metadata__"]
            written_in = json.loads(metadata["schema"])
            if json.loads(metadata["format"]) != _FORMAT:
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(f"{path}: not a charlstm checkpoint; name one that `charlstm train` wrote") from None
        if not headers.is_count(written_in) or written_in not in {SCHEMA, _LABELLED}:
            raise DataError(
                f"{path}: written in schema {written_in!r:.20}, this version reads {SCHEMA} and {_LABELLED}; update "
                "charlstm"
            )
        try:
            checkpoint = _described(header)
            _require_tensors(checkpoint, header)
            data = begin + file.read(size - len(begin))
            headers.require_digest(header, memoryview(data)[len(begin) :])
            checkpoint = dataclasses.replace(checkpoint, tensors=safetensors.numpy.load(data))
            _require_numbers(checkpoint)
        except headers.UNUSABLE as error:
            raise DataError(f"{path}: not a usable checkpoint ({error}); use another copy") from None
    return checkpoint


Kind = tuple[str, tuple[int, ...]]
"""The type of a tensor, as safetensors names it, and its shape."""


def kinds(config: RunConfig, vocab_size: int, used: int, *, with_state: bool, labels: int = 0) -> dict[str, Kind]:
    """Return the type and shape of each tensor of a checkpoint.

    Args:
        config: the settings of the run.
        vocab_size: number of ids.
        used: rows of the table of n-grams in use.
        with_state: whether a run can go on from it: it then has the moments of the weights and the recurrent state too.
        labels: number of labels.
    """
    model = config.model
    shapes = weights.shapes(model, vocab_size, labels)
    table = shapes.pop(ngrams.DENSE, None)
    found: dict[str, Kind] = {name: ("F32", shape) for name, shape in shapes.items()}
    if with_state:
        found |= {f"optimizer.{moment}.{name}": ("F32", shape) for moment in MOMENTS for name, shape in shapes.items()}
        parts = "hc" if CELLS[model.cell].has_c else "h"
        state = (1, config.train.batch_size, model.hidden_size)
        found |= {f"state.{number}.{part}": ("F32", state) for number in range(model.num_layers) for part in parts}
    if table is not None:
        found |= {ngrams.ROWS: ("I32", (used,)), ngrams.VALUES: ("F32" if with_state else "I8", (used, table[1]))}
        if with_state:
            found |= {TABLE_SUMS: ("F32", (used,)), RECENT: ("I32", (1, config.train.batch_size, model.ngrams - 1))}
        else:
            found[ngrams.SCALES] = ("F32", (used,))
    return found


_BYTES = {"F32": 4, "I32": 4, "I8": 1}


def state_bytes(config: RunConfig, vocab_size: int, labels: int = 0) -> int:
    """Return how many bytes the tensors of a run's state take, if all rows of n-grams are in use."""
    tensors = kinds(config, vocab_size, config.model.ngram_rows, with_state=True, labels=labels)
    return sum(_BYTES[kind] * math.prod(shape) for kind, shape in tensors.values())


def _metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return everything that is not a tensor, as plain JSON values."""
    labels = checkpoint.tokenizer.counts_by_label
    return {
        "format": _FORMAT,
        "schema": _LABELLED if labels else SCHEMA,
        "config": checkpoint.config.to_dict(),
        "tokenizer": checkpoint.tokenizer.kind,
        "vocabulary": checkpoint.tokenizer.vocabulary,
        **({"labels": labels} if labels else {}),
        "source": dataclasses.asdict(checkpoint.source),
        "step": checkpoint.step,
        "val_loss": checkpoint.val_loss,
        "training": None if checkpoint.training is None else dataclasses.asdict(checkpoint.training),
        "versions": checkpoint.versions,
    } | ({"origin": [dataclasses.asdict(origin) for origin in checkpoint.origin]} if checkpoint.origin else {})


def _with(known: Any, unknown: Any) -> Any:
    """Return JSON values with the entries found by `_beyond` put back."""
    if not unknown:
        return known
    return {**known, **{name: _with(known[name], it) if name in known else it for name, it in unknown.items()}}


def _beyond(found: Any, known: Any) -> dict[str, Any]:
    """Return the entries of `found` that `known` lacks, at every level of nesting."""
    if not isinstance(found, dict) or not isinstance(known, dict):
        return {}
    beyond = {name: _beyond(value, known[name]) if name in known else value for name, value in found.items()}
    return {name: value for name, value in beyond.items() if name not in known or value}


def _json(value: Any) -> str:
    """Return compact JSON, with characters unescaped if UTF-8 can encode them."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(value, sort_keys=True)
    return text


def _described(header: dict[str, Any]) -> Checkpoint:
    """Return the checkpoint that the metadata describes, without tensors.

    Raises:
        DataError, KeyError, TypeError, ValueError: if the metadata is not valid.
    """
    texts = header["__metadata__"]
    found = {
        name: json.loads(texts[name], object_pairs_hook=headers.unique) for name in headers.ENTRIES if name in texts
    }
    values = headers.known("metadata", found, headers.ENTRIES)
    training = values["training"]
    if training is not None:
        training = headers.known("training", training, headers.TRAINING)
        training = Standing(**training | {"plan": headers.known("plan", training["plan"], headers.PLAN)})
    checkpoint = Checkpoint(
        config=RunConfig.from_dict(values["config"]),
        tokenizer=tokenizers.from_vocabulary(values["tokenizer"], values["vocabulary"], values["labels"]),
        source=_source(values["source"]),
        step=values["step"],
        val_loss=values["val_loss"],
        tensors={},
        training=training,
        versions=values["versions"],
        origin=tuple(_origin(each) for each in values["origin"]),
    )
    known = _metadata(checkpoint)
    unknown = {name: text for name, text in texts.items() if name not in {*known, *headers.ENTRIES, "sha256"}}
    found = {name: value for name, value in found.items() if name in known}
    return dataclasses.replace(checkpoint, unknown=unknown | _beyond(found, known))


def _origin(values: dict[str, Any]) -> Origin:
    known = headers.known("origin", values, headers.ORIGIN)
    return Origin(**known | {"source": _source(known["source"]), "text": TextConfig.from_dict(known["text"])})


def _source(values: dict[str, Any]) -> Source:
    source = headers.known("source", values, headers.SOURCE)
    return Source(**source | {name: tuple(source[name]) for name in ("paths", "val_paths")})


def _require_tensors(checkpoint: Checkpoint, header: Mapping[str, Any]) -> None:
    """Raise `DataError` unless the header announces exactly the tensors that the configuration implies."""
    config = checkpoint.config
    announced = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if config.model.num_layers > len(announced):
        raise DataError("its tensors do not match its configuration")
    used = 0
    if ngrams.ROWS in announced:
        (used,) = announced[ngrams.ROWS]["shape"]
        if not headers.is_count(used) or used > config.model.ngram_rows:
            raise DataError("it has more vectors of n-grams than its configuration allows")
    tokenizer, with_state = checkpoint.tokenizer, checkpoint.training is not None
    expected = kinds(config, tokenizer.vocab_size, used, with_state=with_state, labels=len(tokenizer.labels))
    if set(announced) != set(expected):
        raise DataError("its tensors do not match its configuration")
    for name, (kind, shape) in expected.items():
        found, length = announced[name]["dtype"], announced[name]["shape"]
        if length != list(shape) or found != kind:
            raise DataError(f"tensor {name} is {found!s:.20} {length!s:.60}, expected {kind} {list(shape)}")


def _require_numbers(checkpoint: Checkpoint) -> None:
    for name, tensor in checkpoint.tensors.items():
        if not np.isfinite(tensor).all():
            raise DataError(f"tensor {name} holds numbers that are not finite")
        if name.startswith(("optimizer.exp_avg_sq.", TABLE_SUMS)) and (tensor < 0).any():
            raise DataError(f"tensor {name} holds negative squares")
    rows = checkpoint.tensors.get(ngrams.ROWS)
    limits = [-1, checkpoint.config.model.ngram_rows]
    if rows is not None and (np.diff(rows, prepend=limits[:1], append=limits[1:]) <= 0).any():
        raise DataError(f"tensor {ngrams.ROWS} does not hold rows in ascending order")
    recent = checkpoint.tensors.get(RECENT)
    if recent is not None and ((recent < 0) | (recent > ngrams.LAST_CODE)).any():
        raise DataError(f"tensor {RECENT} holds numbers that are no characters")
