"""What a training begins with if it begins with a trained model: its shape, its characters and its weights.

Characters keep their meaning (`network/transfer.py`), whatever the alphabet of the new text. Everything else, the text,
its split, the schedule and the optimizer, is that of a new run.
"""

import dataclasses
import math
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlstm.config import RunConfig, flag
from charlstm.errors import DataError, UsageError
from charlstm.measure import score, scoring
from charlstm.measure.ngram import KneserNey
from charlstm.measure.read import Floats, Reader, windows
from charlstm.network import transfer
from charlstm.network.device import Device
from charlstm.network.model import CharLSTM
from charlstm.network.transfer import Moved
from charlstm.storage.checkpoint import Origin
from charlstm.storage.loaded import Loaded
from charlstm.text import corpus as corpora
from charlstm.text.corpus import Corpus, Split
from charlstm.text.tokenizer import Inherited, Tokenizer
from charlstm.training.recipe import Choice
from charlstm.training.state import Training

SHAPE = ("cell", "hidden_size", "num_layers", "embedding_size", "ngrams", "ngram_rows")
"""The settings that come from the model."""
_ORDER = 5
_MOST_COUNTED = 1 << 19  # ids of the training text whose n-grams are counted
_MOST_SCORED = 1 << 13  # held-out ids
_USELESS, _MOST_NEW = 1.05, 0.3
_MOST_ADVISED = 1 << 21  # ids of a training text, beyond which it teaches more than any model brings
_LOOKED_AT = 1 << 11  # held-out ids
_TRIAL_RISE = 40  # steps, as in a run
_READ = (256, 8)  # ids that are read to find out what the scores add up to


@dataclass(frozen=True)
class Brought:
    """What a model knows of a text before any training on it, beside what counting knows; in nats per character."""

    name: str
    step: int
    loss: float
    unigrams: float
    ngrams: float
    """Kneser-Ney's, of order 5."""
    known: float
    """The loss as a multiple of the n-grams' loss, both for the characters that the model knows alone."""
    new: int
    """Characters of the text that the model does not know."""
    share: float
    """Their share of the text."""

    @property
    def useless(self) -> bool:
        """Whether the model knows less of such text than nothing: it expects other characters than come."""
        return self.loss > _USELESS * self.unigrams or self.share > _MOST_NEW


@dataclass(frozen=True)
class Base:
    """A trained model that a run begins with."""

    name: str
    """As the user named it."""
    loaded: Loaded

    @property
    def origin(self) -> tuple[Origin, ...]:
        """Where the weights of the new run come from: the models before this one, and this one."""
        loaded, checkpoint = self.loaded, self.loaded.checkpoint
        here = Origin(
            name=self.name,
            sha256=loaded.digest,
            source=loaded.source,
            text=loaded.config.text,
            step=checkpoint.step,
            val_loss=checkpoint.val_loss,
        )
        return (*checkpoint.origin, here)

    def settle(self, config: RunConfig, given: Collection[str]) -> RunConfig:
        """Return the settings with the shape of this model; raises `UsageError` if one of them contradicts it."""
        model, text = self.loaded.config.model, self.loaded.config.text
        for group, own, names in ((config.model, model, SHAPE), (config.text, text, ("tokenizer",))):
            for name in names:
                asked, has = getattr(group, name), getattr(own, name)
                if name in given and asked != has:
                    raise UsageError(
                        f"{flag(name)} {asked}: --from {self.name} has {has}, which cannot change; "
                        "leave the option out, or train from nothing"
                    )
        return dataclasses.replace(
            config,
            model=dataclasses.replace(config.model, **{name: getattr(model, name) for name in SHAPE}),
            text=dataclasses.replace(config.text, tokenizer=text.tokenizer),
        )

    def inherited(self, *, characters: bool) -> Inherited:
        """Return what the vocabulary of the new run has from this model."""
        return Inherited.of(self.loaded.tokenizer, characters=characters)

    def move(self, tokenizer: Tokenizer) -> Moved:
        """Return this model's weights for the vocabulary of the new run."""
        loaded = self.loaded
        return transfer.move(loaded.config.model, loaded.checkpoint.weights, loaded.tokenizer, tokenizer)

    def weights(self, moved: Moved, corpus: Corpus) -> dict[str, npt.NDArray[Any]]:
        """Return the weights that the run begins with: what is new gets its share of the probability."""
        if not len(moved.new):
            return moved.weights
        counts = corpus.tokenizer.counts(corpus.train.ids)
        model = CharLSTM.from_weights(moved.config, corpus.tokenizer, moved.weights)
        return transfer.introduce(moved, counts / max(1, counts.sum()), _total(model, corpus.train))


@torch.inference_mode()
def _total(model: CharLSTM, text: Split) -> float:
    """Return ln of the sum of exp of the scores, the mean over some of a text."""
    length, streams = _READ
    streams = max(1, min(streams, len(text.ids) // length))
    starts = np.arange(streams) * len(text.ids) // streams
    places = np.minimum(starts + np.arange(length)[:, None], len(text.ids) - 1)
    logits, _ = model(torch.from_numpy(text.ids[places].astype(np.int64)), model.zero_state(streams))
    return float(logits.logsumexp(-1).mean())


def brought(base: Base, weights: Mapping[str, npt.NDArray[Any]], moved: Moved, corpus: Corpus) -> Brought:
    """Measure what a model knows of a text: on the beginning of what is held out.

    Args:
        base: the model.
        weights: those that the run begins with.
        moved: which ids are new.
        corpus: the text.
    """
    tokenizer, held_out = corpus.tokenizer, _beginning(corpus.val, _MOST_SCORED)
    model = CharLSTM.from_weights(moved.config, tokenizer, weights)
    read = list(scoring.scored(windows(Reader(model, tokenizer, Device("cpu", "fp32")), held_out), tokenizer))
    positions = np.concatenate([window.positions for window in read])
    nats = np.concatenate([window.nats for window in read])
    unigrams, ngrams = (bits[positions] for bits in _counted(corpus, held_out))
    old = ~np.isin(held_out.ids[positions], moved.new)
    counts = tokenizer.counts(corpus.train.ids)
    characters = [id for id in moved.new.tolist() if id not in {tokenizer.start_id, tokenizer.end_id}]
    return Brought(
        name=base.name,
        step=base.loaded.checkpoint.step,
        loss=float(nats.mean()),
        unigrams=float(unigrams.mean()),
        ngrams=float(ngrams.mean()),
        known=float(nats[old].sum() / max(ngrams[old].sum(), 1e-9)),
        new=len(characters),
        share=float(counts[characters].sum() / max(1, counts.sum())),
    )


def _beginning(split: Split, most: int) -> Split:
    """Return the beginning of a text; its number of characters is not known."""
    bounds = np.unique(np.minimum(split.bounds, most))
    return dataclasses.replace(split, ids=split.ids[:most], bounds=bounds)


def _counted(corpus: Corpus, held_out: Split) -> tuple[Floats, Floats]:
    """Return what unigrams and n-grams of the training text need for each id of a text, in nats; (positions,) each."""
    tokenizer, ids = corpus.tokenizer, held_out.ids.astype(np.int64)
    counts = KneserNey(corpus.train.ids[-_MOST_COUNTED:].astype(np.int64), tokenizer.vocab_size, tokenizer.start_id)
    nats = np.concatenate(list(counts.bits(ids)), 1) * math.log(2)  # (orders, positions)
    if tokenizer.unknown_id is not None:
        nats = nats + (ids == tokenizer.unknown_id) * tokenizer.unknown_nats
    return nats[0], nats[_ORDER - 1]


def advice(base: Base, corpus: Corpus) -> str | None:
    """Return a line that tells how well a model knows a text, if it knows it better than the text's own n-grams do."""
    if len(corpus.train.ids) > _MOST_ADVISED or corpus.tokenizer.kind != base.loaded.tokenizer.kind:
        return None
    held_out = _beginning(corpus.val, _LOOKED_AT)
    text = corpus.tokenizer.decode(held_out.ids)
    known = base.loaded.tokenizer
    if known.unknown_id in known.encode(text):
        return None
    bits = score.by_steps(base.loaded.engine, corpora.encode(text, known), known).bits_per_character
    ngrams = float(_counted(corpus, held_out)[1].mean()) / math.log(2)
    if bits > ngrams:
        return None
    return (
        f"--from {base.name} would help: untrained on this text, it needs {bits:.2f} bits per character of it; "
        f"n-grams of the text itself need {ngrams:.2f}"
    )


def trial(training: Training, corpus: Corpus, seconds: float) -> float:
    """Train for a moment, and return the loss on the beginning of the held-out text, in nats per character."""
    end = time.monotonic() + seconds
    config = training.config.train
    while not any(training.group.any([time.monotonic() > end])):
        training.update(config.learning_rate * min(1.0, (training.step + 1) / _TRIAL_RISE))
    held_out = _beginning(corpus.val, _MOST_SCORED)
    with training.finished() as model:
        reader = Reader(model, corpus.tokenizer, training.device, training.group)
        return scoring.evaluate(reader, held_out, part=len(held_out.ids)).loss


def require_same(base: Base, origin: Origin) -> None:
    """Raise `DataError` if a model is not the one that a run began with."""
    if base.loaded.digest != origin.sha256:
        raise DataError(
            f"{base.loaded.path}: not the model this run began with (its SHA-256 differs); restore it, or start a new "
            "run with --from"
        )


def explained(choices: Iterable[Choice], base: Base) -> tuple[Choice, ...]:
    """Return the recipe's choices, with the model as the reason for what comes from it."""
    reasons = {"size": f"that of {base.name}", "n-grams": f"those of {base.name}"}
    return tuple(
        dataclasses.replace(choice, reason=reasons[choice.name], matters=False) if choice.name in reasons else choice
        for choice in choices
    )
