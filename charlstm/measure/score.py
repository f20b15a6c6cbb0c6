"""How surprised a model is by a text: the sums, the ratios that people quote, and both from single steps on numpy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from charlstm.network.stepper import Engine
from charlstm.sample import TOGETHER, Context, log_probabilities
from charlstm.text.corpus import Split
from charlstm.text.tokenizer import Tokenizer

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Sums over a text; scores of parts add up to the score of the whole."""

    nats: float
    characters: int
    """The end of a document counts as one, if the model knows documents."""
    bytes: int
    """Of the text in UTF-8."""
    unknown: int
    """Characters outside the vocabulary."""

    def __add__(self, other: Self) -> "Score":
        """Return the score of both texts."""
        return Score(
            self.nats + other.nats,
            self.characters + other.characters,
            self.bytes + other.bytes,
            self.unknown + other.unknown,
        )

    @property
    def loss(self) -> float:
        """Nats per character."""
        return self.nats / self.characters

    @property
    def bits_per_character(self) -> float:
        """Loss in bits."""
        return self.loss / math.log(2)

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte of the text in UTF-8."""
        return self.nats / self.bytes / math.log(2)

    @property
    def perplexity(self) -> float:
        """Number of equally likely characters that would surprise as much."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


NOTHING = Score(0.0, 0, 0, 0)


def nats(engine: Engine, ids: Sequence[int], tokenizer: Tokenizer, label: str | None = None) -> Floats:
    """Return the surprise at each id of a text, given all ids before it; an unknown one costs its name too.

    Args:
        engine: the model.
        ids: (T,), without a frame at the beginning.
        tokenizer: of the ids.
        label: of the text, if it has one.
    """
    context = Context(engine)
    context.prefill(tokenizer.opened(label))
    costs = np.empty(len(ids))
    for number, id in enumerate(ids):
        costs[number] = -log_probabilities(context.logits()[0])[id]
        context.read([id])
    if tokenizer.unknown_id is not None:
        costs[np.asarray(ids) == tokenizer.unknown_id] += tokenizer.unknown_nats
    return costs


def posterior(nats: Floats, counts: Sequence[int]) -> Floats:
    """Return the probability of each label, given a text, by Bayes' rule: (labels,).

    Args:
        nats: the surprise at the text, given each label, (labels,).
        counts: how often each label occurs: their shares are what is known before the text is read.
    """
    joint = np.log(np.array(counts, np.float64)) - nats
    likely = np.exp(joint - joint.max())
    probabilities: Floats = likely / likely.sum()
    return probabilities


def by_label(engine: Engine, ids: Sequence[int], tokenizer: Tokenizer) -> Floats:
    """Return the surprise at a whole document, given each label, in nats: (labels,).

    Args:
        engine: the model.
        ids: (T,), without frames.
        tokenizer: of the ids; it has labels.
    """
    found = []
    for first in range(tokenizer.vocab_size, tokenizer.num_ids, TOGETHER):
        openers = list(range(first, min(first + TOGETHER, tokenizer.num_ids)))
        context = Context(engine, len(openers))
        context.prefill(tokenizer.opening[:-1])
        context.read(openers)
        costs = np.zeros(len(openers))
        for id in (*ids, tokenizer.end_id):
            costs -= log_probabilities(context.logits())[:, id]
            context.read([id] * len(openers))
        found.append(costs)
    return np.concatenate(found)


def by_steps(engine: Engine, document: Split, tokenizer: Tokenizer) -> Score:
    """Score one document, each character given all before it, in steps of one character."""
    framed = tokenizer.end_id is not None
    first = int(document.ids[0])
    label = tokenizer.labels[first - tokenizer.vocab_size] if first >= tokenizer.vocab_size else None
    total = float(nats(engine, document.ids[int(framed) :].tolist(), tokenizer, label).sum())
    return Score(total, document.characters, document.bytes, document.unknown)
