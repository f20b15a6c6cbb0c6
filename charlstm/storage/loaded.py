"""An opened checkpoint: its contents, the models made from it, and the text it was trained on.

Commands and reports take it as a single argument. It returns warnings for the user, and prints nothing.
"""

import dataclasses
import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charlstm.config import RunConfig, TextConfig
from charlstm.errors import InputOutputError, UsageError
from charlstm.network import ngrams
from charlstm.network.stepper import Engine, Stepper
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage import durable, runs
from charlstm.storage.checkpoint import Checkpoint
from charlstm.text.corpus import Source, Split
from charlstm.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from charlstm.network.device import Device
    from charlstm.network.model import CharLSTM
    from charlstm.text.cache import Cache
    from charlstm.text.gather import Watch

_PUBLIC = {
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed": "Tiny Shakespeare, the file input.txt in "
    "data/tinyshakespeare/ of Andrej Karpathy's char-rnn on GitHub",
}
"""Where anyone can get a text, by its SHA-256: models trained on it are shared without it."""


def _unwatched(_: int, __: int) -> None:
    """Ignore the progress of reading."""


class MissingTextError(InputOutputError):
    """The training text or held-out text of a model is no longer there, or has changed."""


@dataclass(frozen=True)
class Passage:
    """A text for the model to read."""

    name: str
    """What it is, in words."""
    split: Split
    notes: tuple[str, ...] = ()
    """What a user should know about it, one line per note."""


@dataclass(frozen=True)
class Loaded:
    """An opened checkpoint."""

    path: Path
    checkpoint: Checkpoint
    device: "Device | None" = None
    """The device that torch uses; None until `on` sets it."""
    exact: bool = False
    """Whether the engine computes in integers, with the same results on every machine; `exactly` sets it."""

    @property
    def config(self) -> RunConfig:
        """The settings of the run."""
        return self.checkpoint.config

    @property
    def tokenizer(self) -> Tokenizer:
        """Converts text to the model's ids, and back."""
        return self.checkpoint.tokenizer

    @property
    def source(self) -> Source:
        """The text it was trained on."""
        return self.checkpoint.source

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of the file.

        Raises:
            InputOutputError: if it is no longer there, or cannot be read.
        """
        with durable.opened(self.path) as (file, _):
            return hashlib.sha256(file.read()).hexdigest()

    def on(self, device: "Device") -> "Loaded":
        """Return the same checkpoint for torch on this device; it shares no engine or model with this one."""
        return dataclasses.replace(self, device=device)

    def exactly(self) -> "Loaded":
        """Return the same checkpoint with an engine whose arithmetic is the same on every machine."""
        return dataclasses.replace(self, exact=True)

    @functools.cached_property
    def engine(self) -> Engine:
        """The model that reads one character at a time: on numpy, or on torch if a GPU was chosen.

        Raises:
            DataError: if it is to be exact, and the weights are too large for that.
        """
        weights: dict[str, Any] = self.checkpoint.weights
        if self.exact:
            from charlstm.network.exact import ExactEngine, Quantised

            return ExactEngine(Quantised.from_checkpoint(self.config.model, self.tokenizer, weights))
        if self.device is not None and self.device.name != "cpu":
            import torch

            if ngrams.VALUES in weights:
                weights[ngrams.DENSE] = ngrams.dense(weights, self.config.model.ngram_rows)
            weights = {name: torch.from_numpy(weight).to(self.device.name) for name, weight in weights.items()}
        return Stepper(self.config.model, self.tokenizer, weights)

    @functools.cached_property
    def model(self) -> "CharLSTM":
        """The torch model for whole windows, in evaluation mode, on the chosen device or the CPU."""
        from charlstm.network.model import CharLSTM

        model = CharLSTM.from_weights(self.config.model, self.tokenizer, self.checkpoint.weights)
        return model.to("cpu" if self.device is None else self.device.name)

    def training_text(self, purpose: str, cache: "Cache", watch: "Watch" = _unwatched) -> Split:
        """Return the text that the model was trained on, without the held-out part.

        Args:
            purpose: what it is needed for, in words.
            cache: where prepared corpora are kept.
            watch: called with the progress of reading.

        Raises:
            MissingTextError: if it is no longer there.
        """
        return training_text(self.source, self.config.text, self.tokenizer, purpose, cache, watch)

    def passage(
        self,
        text: str | None,
        split: str | None,
        cache: "Cache",
        *,
        encoding: str | None = None,
        command: str = "eval",
        watch: "Watch" = _unwatched,
    ) -> Passage:
        """Return the text that a user names, or the model's own.

        Args:
            text: a file, a folder or `-`; None means the text that the model was trained on.
            split: `all`, `train` or `val`; by default all of a named text, or the held-out part of the model's own.
            cache: where prepared corpora are kept.
            encoding: the encoding of `text`, if it differs from that of the training text.
            command: the command that reads it, for messages.
            watch: called with the progress of reading.

        Raises:
            MissingTextError: if the model's own text is no longer there, or has changed.
            DataError: if there is no text, or it cannot be read as text.
            UsageError: if an encoding is given that would be ignored.
        """
        self.require_encodable(encoding, text)
        if text is not None:
            return self._named(text, split or "all", cache, encoding, watch)
        return self._own(split, cache, command, watch)

    def _named(self, text: str, split: str, cache: "Cache", encoding: str | None, watch: "Watch") -> Passage:
        """Return a text that a user names, read by today's rules, whatever rules the model's own text was read by."""
        from charlstm.text import corpus as corpora

        config = dataclasses.replace(self.config.text, deduplicate=None)
        if encoding is not None:
            config = dataclasses.replace(config, encoding=encoding)
        if split == "all":
            return self._whole((text,), config, cache, watch, named=True)
        corpus = corpora.load((text,), (), config, self.tokenizer, cache=cache, watch=watch)
        part = corpus.train if split == "train" else corpus.val
        return Passage(_part_of(text, split, part, corpus.source), part, tuple(corpus.notes()))

    def _own(self, split: str | None, cache: "Cache", command: str, watch: "Watch") -> Passage:
        """Return the model's own text, or a part of it."""
        from charlstm.text import corpus as corpora

        source, config = self.source, self.config.text
        another = f", or name another text: charlstm {command} CHECKPOINT TEXT"
        scored = f"without a TEXT, {command} scores it"
        if source.val_sha256 is None:
            if split not in {"train", "all"}:
                scored = f"without a TEXT, {command} scores its held-out part"
            paths = _find(source.paths, source.sha256, scored, another)
            if split == "all":
                return self._whole(paths, config, cache, watch)
            corpus = corpora.load(paths, (), config, self.tokenizer, cache=cache, watch=watch)
            if split == "train":
                return Passage(_part_of(" ".join(paths), "train", corpus.train, corpus.source), corpus.train)
            name = _part_of(" ".join(paths), "val", corpus.val, corpus.source)
            return Passage(name, corpus.val, tuple(corpus.overlap.notes()))
        # The held-out text has its own file: no part of the corpus is held out.
        if split not in {None, "val"}:
            return self._whole(_find(source.paths, source.sha256, scored, another), config, cache, watch)
        val_paths = _find(source.val_paths, source.val_sha256, scored, another)
        if not config.deduplicate:
            return self._whole(val_paths, config, cache, watch)
        name = " ".join(val_paths)
        # Leave out what the two texts have in common.
        purpose = f"without a TEXT, {command} scores what {' '.join(source.val_paths)} does not have in common with it"
        paths = _find(source.paths, source.sha256, purpose, another)
        corpus = corpora.load(paths, val_paths, config, self.tokenizer, cache=cache, watch=watch)
        notes = tuple(corpus.overlap.notes())
        return Passage(f"{name}, without what also occurs in the training text", corpus.val, notes)

    def _whole(
        self,
        paths: tuple[str, ...],
        config: TextConfig,
        cache: "Cache",
        watch: "Watch",
        *,
        named: bool = False,
    ) -> Passage:
        """Return all of a text; if a user named it, with notes about it."""
        from charlstm.text import corpus as corpora

        whole = corpora.load_text(paths, config, self.tokenizer, cache=cache, watch=watch)
        notes = [*whole.left_out.notes(), *whole.unlabelled.notes()] if named else []
        if named and whole.sha256 == self.source.sha256:
            notes.append("the model was trained on most of this text; leave TEXT out to take the held-out part alone")
        return Passage(f"{' '.join(paths)}, all of it", whole.split, tuple(notes))

    def require_encodable(self, encoding: str | None, text: str | None) -> None:
        """Raise `UsageError` if an encoding is given that would be ignored, or would garble the model's own text."""
        if encoding is None:
            return
        if self.tokenizer.kind == "byte":
            raise UsageError(f"--encoding {encoding}: this model reads bytes as they are; leave the option out")
        if text is None:
            raise UsageError(
                f"--encoding {encoding}: it is for a TEXT, and none is given (the model's own text is decoded as it "
                "was in training); leave the option out"
            )


def training_text(
    source: Source, config: TextConfig, tokenizer: Tokenizer, purpose: str, cache: "Cache", watch: "Watch" = _unwatched
) -> Split:
    """Return the text that some model was trained on, without the held-out part.

    Args:
        source: where it came from.
        config: how it was read.
        tokenizer: of the ids that are returned.
        purpose: what it is needed for, in words.
        cache: where prepared corpora are kept.
        watch: called with the progress of reading.

    Raises:
        MissingTextError: if it is no longer there.
    """
    from charlstm.text import corpus as corpora

    paths = _find(source.paths, source.sha256, purpose)
    if source.val_sha256 is not None:
        return corpora.load_text(paths, config, tokenizer, cache=cache, watch=watch).split
    return corpora.load(paths, (), config, tokenizer, cache=cache, watch=watch).train


def load(name: str | None = None, root: Path = runs.ROOT) -> Loaded:
    """Open the checkpoint that a path, a run's folder or a run's name refers to; without a name, the newest one.

    Raises:
        DataError: if the file is not a checkpoint, or is damaged.
        InputOutputError: if it is missing or cannot be read.
        UsageError: if the name is empty.
    """
    path = runs.find(name, root)
    return Loaded(path, checkpoints.load(path))


def _part_of(name: str, split: str, part: Split, source: Source) -> str:
    return f"{name}, {split} part ({part.characters / source.characters:.0%})"


def _find(paths: tuple[str, ...], sha256: str, purpose: str, otherwise: str = "") -> tuple[str, ...]:
    """Return the paths of the text with this hash: where training read it, or by file name in this folder or in data/.

    Args:
        paths: where training read it.
        sha256: its SHA-256.
        purpose: what it is needed for, in words.
        otherwise: what else the user can do, in words.

    Raises:
        MissingTextError: if it is in none of these places.
    """
    from charlstm.text import corpus as corpora

    names = tuple(Path(path).name for path in paths)
    changed = False
    for candidates in (paths, names, tuple(f"data/{name}" for name in names)):
        if "-" in candidates or not all(Path(path).exists() for path in candidates):
            continue
        if corpora.is_text(candidates, sha256):
            return candidates
        changed = True
    if "-" in paths:
        raise MissingTextError(f"standard input: the text this model was trained on was not kept; {purpose}{otherwise}")
    state = "has changed" if changed else "is not there"
    public = f" (it is {_PUBLIC[sha256]})" if sha256 in _PUBLIC else ""
    raise MissingTextError(
        f"{' '.join(paths)}: the text this model was trained on {state} (SHA-256 {sha256[:12]}...); {purpose}; "
        f"put it there, into this folder or into data/{public}{otherwise}"
    )
