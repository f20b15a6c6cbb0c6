"""Chooses the settings that the user left open, and gives reasons.

benchmarks/README.md says how these numbers were found, and what did not help.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from charlstm.config import ModelConfig, RunConfig, flag
from charlstm.network import weights

MAX_EPOCHS = 30.0
"""Passes over the text after which a run with a time limit can gain nothing more."""
_SHAPES = (
    *((1, units) for units in (128, 192, 256, 320, 384, 448, 512, 640, 768)),
    *((2, units) for units in (384, 512, 640, 768, 1024)),
)
_CHARACTERS_PER_PARAMETER = {1: 3.0, 2: 1.3}  # characters per parameter that a run should read, by number of layers
_FEW_EPOCHS = 3.0  # a run that reads its text less often should read more: what is new teaches more
_LEAST_WINDOWS = 32  # per epoch
_FEWEST_STREAMS, _MOST_STREAMS = 4, 32
_ORDERS = ((10.0, 3), (3.0, 4), (1.0, 5), (0.0, 6))  # from this many epochs on, the highest order of n-grams
_MOST_DISTINCT = 0.2  # different n-grams per place, of the highest order
_HALF_DROPPED = 4.0  # epochs with which half of the n-grams are dropped
_MOST_DROPPED = 0.9
_LARGE_VOCABULARY, _SAMPLE = 512, 128  # from this many characters on, the softmax of a step is sampled
_EMBEDDING_MULTIPLIER = 4.0  # of the learning rate: a character's vector moves only when the character comes
_OUTPUT_MULTIPLIER = 3.0  # with a sampled softmax: most characters are rare then
_IDS_PER_ROW = 8  # of the training text, for each row of the table of n-grams
_LEAST_ROWS, _MOST_ROWS = 2**12, 2**19
_FEW, _MANY = 5.0, 30.0  # weighted epochs: dropout is lowest up to the first number, and highest from the second
_FURTHER_RATE, _FURTHER_DROPOUT, _FURTHER_NGRAMS = 2e-3, 0.15, 0.4  # of a run whose model knows such text
_FURTHER_EPOCHS = 3.0  # passes over a text after which such a run only unlearns what it knew
_WELL, _BARELY = 1.2, 1.6  # times the n-grams' loss: up to which a model knows a text well, from which barely
_REFERENCE_PARAMETERS = 1.24e6  # 1 x 512
_LONG_RUN, _LONG_WINDOW = 10.0, 128  # from this many epochs on, the window has this length


@dataclass(frozen=True)
class Choice:
    """Settings that were chosen together, and why."""

    name: str
    value: str
    reason: str
    matters: bool = True
    """Whether it depends on the text, the time or the machine, rather than being the same in nearly every run."""

    @property
    def words(self) -> str:
        """The choice on one line."""
        return f"{self.value}: {self.reason}"


def most_epochs(known: float | None) -> float:
    """Return how many passes over its text a run with a time limit makes at most: more would teach it nothing.

    Args:
        known: of a run that begins with a trained model, the loss of that model on the text before any training,
            divided by that of the text's own n-grams; None: the run begins from nothing.
    """
    if known is None:
        return MAX_EPOCHS
    share = min(1.0, max(0.0, (known - _WELL) / (_BARELY - _WELL)))
    return _FURTHER_EPOCHS + share * (MAX_EPOCHS - _FURTHER_EPOCHS)


def pace(
    config: RunConfig, given: Collection[str], length: int, known: float | None = None
) -> tuple[RunConfig, list[Choice]]:
    """Choose the number of streams for a training text of `length` ids, and the learning rates.

    A short text is read in fewer streams; otherwise, a run of a few epochs would have too few steps to learn much.
    """
    train = config.train
    streams = _MOST_STREAMS
    while streams > _FEWEST_STREAMS and length / (streams * train.seq_length) < _LEAST_WINDOWS:
        streams //= 2
    few = streams < _MOST_STREAMS
    reason = f"few, because the text is short ({length / (streams * train.seq_length):.0f} steps per epoch)"
    if "batch_size" not in given:
        train = dataclasses.replace(train, batch_size=streams)
    rates: dict[str, Any] = {
        "learning_rate": train.learning_rate if known is None else _FURTHER_RATE,
        "embedding_multiplier": _EMBEDDING_MULTIPLIER if known is None else 1.0,
        "output_multiplier": _OUTPUT_MULTIPLIER if known is None and train.softmax_sample else 1.0,
    }
    train = dataclasses.replace(train, **{name: value for name, value in rates.items() if name not in given})
    multiples = [
        f"{name} x {value:g}"
        for name, value in (("embedding", train.embedding_multiplier), ("output", train.output_multiplier))
        if value != 1
    ]
    choices = [
        _choice("streams", f"{train.batch_size}", reason if few else "read side by side", {"batch_size"}, given, few),
        _choice(
            "rate",
            ", ".join([f"{train.learning_rate:g}", *multiples]),
            "the highest of the run; it rises in the first steps, and falls to zero at the end",
            set(rates),
            given,
            matters=False,
        ),
    ]
    return dataclasses.replace(config, train=train), choices


def window(config: RunConfig, given: Collection[str], length: int, epochs: float) -> tuple[RunConfig, list[Choice]]:
    """Choose how many characters a step reads from each stream, in a run of `epochs` passes over `length` ids.

    No gradient reaches further back than that. A short run benefits more from more steps. If the user gave a number of
    steps, the window is not made longer.
    """
    train = config.train
    many = length / (train.batch_size * _LONG_WINDOW) >= _LEAST_WINDOWS
    long = epochs >= _LONG_RUN and many and train.steps is None
    if long and "seq_length" not in given:
        train = dataclasses.replace(train, seq_length=_LONG_WINDOW)
    reason = f"long, because the text is read {epochs:.0f} times" if long else "characters per stream and step"
    choice = _choice("window", f"{train.seq_length}", reason, {"seq_length"}, given, long)
    return dataclasses.replace(config, train=train), [choice]


def size(
    config: RunConfig, given: Collection[str], vocab_size: int, length: int, readable: Callable[[int], float]
) -> tuple[RunConfig, list[Choice]]:
    """Choose the number and size of the layers: the largest network for which the run can read enough text.

    Args:
        config: the settings, given or default.
        given: the names of the settings that the user set; these are not changed.
        vocab_size: among how many ids the softmax of a step chooses.
        length: ids of the training text.
        readable: given a number of parameters, returns how many characters the run can read.
    """
    model = config.model
    shapes: Iterator[dict[str, Any]] = (
        {name: value for name, value in (("num_layers", layers), ("hidden_size", units)) if name not in given}
        for layers, units in _SHAPES
    )
    candidates = list(dict.fromkeys(dataclasses.replace(model, **shape) for shape in shapes))
    candidates.sort(key=lambda candidate: weights.count(candidate, vocab_size))
    fed = [candidate for candidate in candidates if _feeds(candidate, vocab_size, length, readable)]
    chosen = fed[-1] if fed else candidates[0]
    count = weights.count(chosen, vocab_size)
    computed = " of a step" if config.train.softmax_sample else ""
    reason = f"{_millions(readable(count))} characters to read for {_millions(count)} weights{computed}"
    value = f"{chosen.num_layers} x {chosen.hidden_size}"
    choice = _choice("size", value, reason, {"num_layers", "hidden_size"}, given)
    return dataclasses.replace(config, model=chosen), [choice]


def softmax(config: RunConfig, given: Collection[str], vocab_size: int) -> tuple[RunConfig, list[Choice]]:
    """Choose among how many ids a step's softmax chooses: with a large vocabulary, most of its cost is the softmax."""
    sample = config.train.softmax_sample
    if "softmax_sample" not in given:
        sample = _SAMPLE if vocab_size >= _LARGE_VOCABULARY else 0
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, softmax_sample=sample))
    if not sample:
        return config, []
    reason = f"each step chooses among some of the {vocab_size:,} characters, those of its text included"
    value = f"{sample} frequent and {sample} others drawn at random"
    return config, [_choice("softmax", value, reason, {"softmax_sample"}, given)]


def ngrams(
    config: RunConfig,
    given: Collection[str],
    length: int,
    epochs: float,
    distinct: Callable[[int], float],
    known: float | None = None,
) -> tuple[RunConfig, list[Choice]]:
    """Choose the n-grams that are inputs, for a run of `epochs` passes over a training text of `length` ids.

    The more often a text is read, the more of its long n-grams are learnt by heart: then short ones help, and most of
    them are dropped at each step. A text that is not read to its end once gives long ones too. An order whose n-grams
    mostly come only once teaches nothing: in a script of thousands of characters, this is true of three already.

    Args:
        config: the settings, given or default.
        given: the names of the settings that the user set; these are not changed.
        length: ids of the training text.
        epochs: passes over it.
        distinct: given an order, returns the number of different n-grams per place of the text.
        known: see `most_epochs`.
    """
    model = config.model
    if "ngrams" in given and model.ngrams < 2:
        return config, [Choice("n-grams", "none", "as given", matters=False)]
    kept = 1 / (1 + (epochs / _HALF_DROPPED) ** 1.5)
    values: dict[str, Any] = {
        "ngram_rows": min(_MOST_ROWS, max(_LEAST_ROWS, 2 ** math.ceil(math.log2(max(1, length) / _IDS_PER_ROW)))),
        "ngram_dropout": round(min(_MOST_DROPPED, 1 - kept), 2) if known is None or known > _WELL else _FURTHER_NGRAMS,
    }
    if "ngrams" not in given:  # counting takes a moment
        highest = next(order for least, order in _ORDERS if epochs >= least)
        values["ngrams"] = next((order for order in range(highest, 2, -1) if distinct(order) <= _MOST_DISTINCT), 2)
    model = dataclasses.replace(model, **{name: value for name, value in values.items() if name not in given})
    reason = f"vectors for what was just read, in {model.ngram_rows:,} rows, {model.ngram_dropout:.0%} of them dropped"
    choice = _choice("n-grams", f"2 to {model.ngrams}", reason, {"ngrams", *values}, given)
    return dataclasses.replace(config, model=model), [choice]


def dropout(
    config: RunConfig, given: Collection[str], vocab_size: int, epochs: float, known: float | None = None
) -> tuple[RunConfig, list[Choice]]:
    """Choose the dropout of a run of `epochs` passes over the training text.

    The more often a text is read, and the larger the network, the more of the text it memorises. Dropout therefore
    grows with the logarithm of the epochs, weighted by the square root of the number of parameters.
    """
    weighted = epochs * math.sqrt(weights.count(config.model, vocab_size) / _REFERENCE_PARAMETERS)
    share = min(1.0, max(0.0, math.log(max(weighted, 1e-9) / _FEW) / math.log(_MANY / _FEW)))
    values = {"dropout": round(0.15 + 0.35 * share, 2), "recurrent_dropout": round(0.15 * share, 2)}
    if known is not None and known <= _WELL:  # much dropout would cost what the model knows
        values = {"dropout": _FURTHER_DROPOUT, "recurrent_dropout": 0.0}
    reason = f"the text is read {epochs:.1f} times" if epochs < 100 else f"the text is read {epochs:,.0f} times"
    changes: dict[str, Any] = {name: value for name, value in values.items() if name not in given}
    model = dataclasses.replace(config.model, **changes)
    value = f"{model.dropout:g}, recurrent {model.recurrent_dropout:g}"
    return dataclasses.replace(config, model=model), [_choice("dropout", value, reason, set(values), given)]


def _choice(
    name: str, value: str, reason: str, settings: set[str], given: Collection[str], matters: bool = True
) -> Choice:
    """Return a choice; if the user set all of it, the reason is only that."""
    free = settings - set(given)
    if not free:
        return Choice(name, value, "as given", matters=False)
    return Choice(
        name, value, reason if free == settings else f"{reason}, {flag(min(settings - free))} as given", matters
    )


def _feeds(model: ModelConfig, vocab_size: int, length: int, readable: Callable[[int], float]) -> bool:
    """Return whether a run can read enough characters for each weight of this network."""
    count = weights.count(model, vocab_size)
    characters = readable(count)
    more: float = max(1.0, (_FEW_EPOCHS * length / max(characters, 1.0)) ** 0.7)
    return characters >= more * _CHARACTERS_PER_PARAMETER[min(model.num_layers, 2)] * count


def _millions(number: float) -> str:
    return f"{number / 1e6:.2g} M" if number < 1e7 else f"{number / 1e6:,.0f} M"
