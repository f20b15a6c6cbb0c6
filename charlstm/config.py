"""Every setting: its default, its help and its limits, each written once.

The command line makes its options from these dataclasses, checkpoints store them as JSON, and a `--config` file sets
them by the same names. A value outside its limits raises `UsageError`, wherever it came from. The file is long because
it holds every setting of every command, and nothing else does.
"""

import dataclasses
import functools
import math
import re
import types
import typing
from dataclasses import dataclass
from typing import Any, Self

from charlstm.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """The values an option accepts."""

    at_least: float = -math.inf
    at_most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    choices: tuple[str, ...] = ()

    def refusal(self, value: object) -> str | None:
        """Return why `value` is refused, or None if it is accepted."""
        if self.choices:
            return None if value in self.choices else f"must be one of {', '.join(self.choices)}"
        if isinstance(value, (int, float)):
            if isinstance(value, float) and not math.isfinite(value):
                return "must be a finite number"
            for holds, words, limit in (
                (value >= self.at_least, "at least", self.at_least),
                (value <= self.at_most, "at most", self.at_most),
                (value > self.above, "above", self.above),
                (value < self.below, "below", self.below),
                # Checkpoints and generators hold 64-bit integers.
                (not isinstance(value, int) or value < 2**63, "below", 2**63),
                (not isinstance(value, int) or value > -(2**63), "above", -(2**63)),
            ):
                if not holds:
                    return f"must be {words} {limit if isinstance(limit, int) else f'{limit:g}'}"
        return None


def option(default: Any, help: str, *, duration: bool = False, adapts: str | None = None, **limits: Any) -> Any:
    """Declare a dataclass field that is also a command-line option.

    `duration` marks a number of seconds that users write as `90s`, `5m` or `2h`. `adapts` says what is chosen if the
    user sets nothing; help shows it in place of the default.
    """
    metadata = {"help": help, "duration": duration, "adapts": adapts, "limits": Limits(**limits)}
    return dataclasses.field(default=default, metadata=metadata)


def flag(name: str) -> str:
    """Return the command-line spelling of a field's name."""
    return "--" + name.replace("_", "-")


_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"\s*(?:{_NUMBER}\s*h)?\s*(?:{_NUMBER}\s*m)?\s*(?:{_NUMBER}\s*s?)?\s*", re.ASCII)


def duration(text: str) -> float:
    """Return the seconds in `90`, `90s`, `5m`, `1m30s` or `2h`; raises `UsageError` on anything else."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise UsageError(f"{text!r} is not a duration: write it like 90s, 5m, 1m30s or 2h")
    return sum(float(part or 0) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True))


_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", re.ASCII | re.IGNORECASE)


def size(text: str) -> int:
    """Return the bytes in `500MB`, `10GB` or `2000`; raises `UsageError` on anything else."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a size: write it like 500MB or 10GB")
    number = float(match[1]) * 1000 ** " kmgt".index(match[2].lower() or " ")
    if number >= 2**63:
        raise UsageError(f"{text!r:.60} is larger than any disk: write it like 500MB or 10GB")
    return int(number)


def unescaped(text: str) -> str:
    r"""Return a text with the escapes \n, \t and \\ replaced, which a shell passes on as they are."""
    escapes = {r"\n": "\n", r"\t": "\t", r"\\": "\\"}
    return re.sub(r"\\[nt\\]", lambda match: escapes[match[0]], text)


@functools.cache
def _hints(owner: type) -> dict[str, Any]:
    """Return the types of a class's fields; to evaluate them takes longer than to check all values."""
    return typing.get_type_hints(owner)


def field_type(owner: type, name: str) -> tuple[type, bool]:
    """Return the plain type of a field (`int` for `int | None`), and whether None is allowed."""
    hint = _hints(owner)[name]
    if isinstance(hint, types.UnionType):
        (plain,) = (arm for arm in typing.get_args(hint) if arm is not types.NoneType)
        return plain, True
    return hint, False


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A group of options that checks its own values."""

    def __post_init__(self) -> None:
        """Check every value against its type and limits.

        Raises:
            UsageError: if a value does not fit; it names the option, the value, and what it must be.
        """
        for field in dataclasses.fields(self):
            if "limits" not in field.metadata:
                continue
            value = getattr(self, field.name)
            kind, optional = field_type(type(self), field.name)
            if value is None and optional:
                continue
            refusal = _type_refusal(value, kind) or field.metadata["limits"].refusal(value)
            if refusal:
                raise UsageError(f"{flag(field.name)} {value}: {refusal}")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild settings that `to_dict` wrote in this version, an older one or a newer one.

        Missing settings take their defaults; settings that this version does not know are left out.

        Raises:
            UsageError: if a value does not fit.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def _type_refusal(value: object, kind: type) -> str | None:
    if kind is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    elif kind is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    else:
        fits = isinstance(value, kind)
    return None if fits else f"must be {'a number' if kind in (int, float) else f'of type {kind.__name__}'}"


@dataclass(frozen=True, kw_only=True)
class TextConfig(Settings):
    """How text becomes ids, and which part of it is held out."""

    tokenizer: str = option(
        "char",
        "char: one id for each character of the training text; byte: 256 ids, which can read any file.",
        choices=("char", "byte"),
    )
    min_count: int = option(
        1, "Characters that occur less often than this in the training text become <unk> (tokenizer char).", at_least=1
    )
    encoding: str = option("utf-8", "Encoding of the text files (a byte order mark is removed).")
    separator: str | None = option(
        None,
        r"Text that separates the documents of a file; \n, \t and \\ are understood: --separator '\n' makes every line "
        "a document.",
    )
    field: str | None = option(None, "Read the files as JSON Lines: this field of each line is a document.")
    label_field: str | None = option(
        None,
        "This field of each line of JSON Lines is the document's label, such as its author: the model learns a voice "
        "for each.",
    )
    label_from: str | None = option(
        None,
        "Label each document by the name of its file (without the ending), or of the folder that the file lies in.",
        choices=("file", "folder"),
    )
    val_fraction: float = option(
        0.1,
        "Share of the text that is held out to measure the model: its end, or randomly drawn documents if there are 20 "
        "or more. At most a million characters.",
        above=0,
        below=1,
    )
    deduplicate: bool | None = option(
        None,
        "Remove documents from the held-out part that also occur in the training text. "
        "--no-deduplicate keeps them, and also reads files again that are links to others or have the same content.",
        adapts="if whole documents are held out",
    )

    def __post_init__(self) -> None:
        """Check the values, and that at most one option separates the documents, and at most one labels them."""
        super().__post_init__()
        if self.separator is not None and self.field is not None:
            raise UsageError(
                "--separator and --field exclude each other: in JSON Lines every line is already a document"
            )
        if self.separator is not None and not self.between:
            raise UsageError("--separator '': give at least one character")
        if self.label_field is not None and self.label_from is not None:
            raise UsageError("--label-field and --label-from exclude each other: a document has one label")
        if self.label_field is not None and self.field is None:
            raise UsageError(
                f"--label-field {self.label_field}: labels are fields of JSON Lines; name the field of the text too, "
                "with --field"
            )

    @property
    def between(self) -> str:
        """The separator with its escapes replaced; empty if there is none."""
        return unescaped(self.separator or "")

    @property
    def labels(self) -> bool:
        """Whether documents have labels."""
        return self.label_field is not None or self.label_from is not None


EVERY = 16
"""Characters from one that `charlstm reach` scores to the next, by default."""
CACHE_LIMIT = 10 * 10**9
"""Bytes that all prepared corpora may take together by default."""

_MOST_IN_TABLE = 2**27
"""Numbers in the table of n-grams: 512 MB in fp32."""

CELLS = ("lstm", "peephole", "coupled", "gru", "rnn")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """The shape of the network."""

    cell: str = option(
        "lstm",
        "Recurrence: lstm; peephole (its gates also see the cell state); coupled (one gate decides both what to forget "
        "and what to write); gru; rnn (no gates, so it forgets soon).",
        choices=CELLS,
    )
    hidden_size: int = option(
        512, "Units in each recurrent layer.", adapts="128 to 1024, by the run's length", at_least=1, at_most=65536
    )
    num_layers: int = option(
        1,
        "Number of recurrent layers.",
        adapts="1, or 2 in a long run",
        at_least=1,
        at_most=1024,
    )
    embedding_size: int = option(64, "Size of the vector that represents a character.", at_least=1, at_most=65536)
    dropout: float = option(
        0.15,
        "Share of the last layer's outputs that is dropped in training; between layers, half of that.",
        adapts="0.15 to 0.5, by epochs and size",
        at_least=0,
        below=1,
    )
    recurrent_dropout: float = option(
        0.0,
        "Share of each layer's units whose recurrent connections are dropped in training.",
        adapts="0 to 0.15, by epochs and size",
        at_least=0,
        below=1,
    )

    ngrams: int = option(
        0,
        "Highest order of the n-grams that are inputs beside the character, from 2 on; 0: none, the plain recurrence.",
        adapts="2 to 6, by text and epochs",
        at_least=0,
        at_most=16,
    )
    ngram_rows: int = option(
        32768,
        "Rows of the hashed table of n-grams: a power of two.",
        adapts="by the text's length",
        at_least=16,
        at_most=2**24,
    )
    ngram_dropout: float = option(
        0.5,
        "Share of the n-grams that is dropped in training.",
        adapts="0 to 0.9, by epochs",
        at_least=0,
        below=1,
    )

    def __post_init__(self) -> None:
        """Check the values, and that the table of n-grams has a power of two rows and fits in memory."""
        super().__post_init__()
        if self.ngram_rows & (self.ngram_rows - 1):
            raise UsageError(f"--ngram-rows {self.ngram_rows}: must be a power of two, such as 32768 or 65536")
        if self.ngrams > 1 and self.ngram_rows * self.embedding_size > _MOST_IN_TABLE:
            raise UsageError(
                f"--ngram-rows {self.ngram_rows}: with --embedding-size {self.embedding_size}, at most "
                f"{_MOST_IN_TABLE // self.embedding_size:,} rows fit into 512 MB; give fewer"
            )

    @property
    def words(self) -> str:
        """The shape as people write it."""
        plain = f"{self.cell}, {self.num_layers} x {self.hidden_size}, embedding {self.embedding_size}"
        return f"{plain}, n-grams of 2 to {self.ngrams}" if self.ngrams > 1 else plain


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """How the network is trained, and for how long."""

    time: float | None = option(
        None,
        "Length of the run (90s, 1m30s, 2h): as many steps as this machine manages in that time. "
        "10m unless --steps or --epochs is given.",
        duration=True,
        above=0,
    )
    steps: int | None = option(None, "Length of the run in steps (optimizer updates).", at_least=1)
    epochs: float | None = option(None, "Length of the run in passes over the training text.", above=0)
    batch_size: int = option(
        32,
        "Streams of text read in parallel.",
        adapts="4 to 32, by the text's length",
        at_least=1,
        at_most=2**20,
    )
    accumulate: int = option(
        1,
        "Compute each step in this many parts, one after the other, for batches that do not fit in memory.",
        at_least=1,
    )
    seq_length: int = option(
        64,
        "Characters that a step reads from each stream (the truncated-BPTT window).",
        adapts="64, or 128 in a long run",
        at_least=1,
        at_most=2**20,
    )
    learning_rate: float = option(4e-3, "Peak learning rate of AdamW.", above=0)
    embedding_multiplier: float = option(
        1.0,
        "Learning rate of the vectors of characters, as a multiple of --learning-rate.",
        adapts="4, or 1 with --from",
        above=0,
    )
    output_multiplier: float = option(
        1.0,
        "Learning rate of the layer that computes the logits, as a multiple of --learning-rate.",
        adapts="1, or 3 with a sampled softmax",
        above=0,
    )
    warmup: float | None = option(
        None,
        "Share of the run in which the learning rate rises to its peak.",
        adapts="40 steps",
        at_least=0,
        below=1,
    )
    fall: int | None = option(
        None,
        "Steps at the end of the run in which the learning rate falls to zero.",
        adapts="40 % of the run",
        at_least=1,
    )
    keep: float = option(
        0.0,
        "With --from: share of the streams that read the text of that model again, so that its skill is kept.",
        at_least=0,
        below=1,
    )
    drop_old_characters: bool = option(
        False, "With --from: leave out the characters of that model that the text does not have."
    )
    weight_decay: float = option(0.2, "Decoupled weight decay of the matrices (AdamW).", at_least=0)
    ngram_rate: float = option(0.2, "Peak learning rate of the n-grams' table (row-wise Adagrad).", above=0)
    softmax_sample: int = option(
        0,
        "With a large vocabulary: let each step's softmax choose among this many frequent characters, as many others "
        "drawn at random, and those of its window; 0: among all.",
        adapts="0, or 128 if there are 512 characters or more",
        at_least=0,
        at_most=2**20,
    )
    clip_norm: float = option(1.0, "Largest norm of the whole gradient; a larger one is scaled down to it.", above=0)
    evaluations: int = option(
        10,
        "How many times in a run the model is measured on the held-out text (fewer if --time is too short).",
        at_least=1,
    )
    patience: int | None = option(
        None, "Stop after this many measurements in a row without a better held-out loss.", at_least=1
    )
    save_every: float = option(60.0, "Longest time between two saves.", duration=True, above=0)
    seed: int = option(
        1, "Seed of everything random; the same seed and number of steps give the same model.", at_least=0, below=2**63
    )

    def __post_init__(self) -> None:
        """Check the values, and that only one of time, steps and epochs is set; time is 10 minutes if none is."""
        super().__post_init__()
        given = sum(value is not None for value in (self.time, self.steps, self.epochs))
        if given == 0:
            object.__setattr__(self, "time", 600.0)
        elif given > 1:
            raise UsageError("--time, --steps and --epochs exclude each other: give one of them")


MOST_THREADS = 1024
"""OpenMP keeps a list of its threads on the stack, 130 bytes each, and crashes the process if the list does not fit: a
stack of 256 KiB has room for 1,900 threads, the usual 8 MiB for 60,000. More than this make no machine faster."""


@dataclass(frozen=True, kw_only=True)
class DeviceConfig(Settings):
    """Where and in which precision the network is computed."""

    device: str = option(
        "auto", "Processor to compute on; auto takes a GPU if there is one.", choices=("auto", "cpu", "cuda", "mps")
    )
    precision: str = option(
        "auto",
        "Number format; auto is fp32, or in training bf16 if that is measured to be faster.",
        choices=("auto", "fp32", "bf16"),
    )
    threads: int | None = option(
        None,
        "Number of processor threads.",
        adapts="one per core, or fewer if that is measured to be faster",
        at_least=1,
        at_most=MOST_THREADS,
    )


@dataclass(frozen=True, kw_only=True)
class SampleConfig(Settings):
    """How the next character is chosen, and when a text ends."""

    length: int = option(500, "Number of new characters to write.", at_least=0)
    temperature: float = option(
        0.8, "Below 1 is safer, above 1 is wilder; 0 always takes the likeliest character.", at_least=0
    )
    top_k: int | None = option(None, "Choose only among the K likeliest characters.", at_least=1)
    top_p: float | None = option(
        None, "Choose only among the likeliest characters whose probabilities add up to P.", above=0, at_most=1
    )
    min_p: float | None = option(
        None, "Drop characters less likely than P times the likeliest one.", at_least=0, at_most=1
    )
    num_samples: int = option(1, "Number of texts to write.", at_least=1)
    separator_out: str | None = option(
        None,
        r"What to write between two texts; \n, \t and \\ are understood.  [default: the run's --separator; if it has "
        "none, a blank line if any text has several lines, else a new line]",
    )
    seed: int | None = option(
        None,
        "Seed of the first text; each further text takes the next number.  [default: a random one, which is shown]",
        at_least=0,
        below=2**63,
    )


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(Settings):
    """How the memory of a recurrence is tested."""

    time: float = option(120.0, "Longest time to train each cell at each lag.", duration=True, above=0)
    hidden_size: int = option(64, "Units of the network.", at_least=1, at_most=65536)
    learning_rate: float = option(5e-3, "Learning rate of AdamW.", above=0)
    seed: int = option(1, "Seed of the weights and the sequences.", at_least=0, below=2**63)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run computes; every checkpoint holds it."""

    text: TextConfig
    model: ModelConfig
    train: TrainConfig

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values; those of labels only if there are any, as older versions do."""
        values = dataclasses.asdict(self)
        values["text"] = {
            name: value for name, value in values["text"].items() if value is not None or not name.startswith("label_")
        }
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Rebuild what `to_dict` wrote; raises `UsageError` if a part is missing or a value does not fit."""
        if not all(isinstance(values.get(part), dict) for part in ("text", "model", "train")):
            raise UsageError("the configuration does not have the parts text, model and train")
        # A run that is older than this setting goes on with the text it had, duplicates included.
        return cls(
            text=TextConfig.from_dict({"deduplicate": False} | values["text"]),
            model=ModelConfig.from_dict(values["model"]),
            train=TrainConfig.from_dict(values["train"]),
        )
