"""Chooses what a run needs and the user did not say, and says why.

What was tried to find these numbers, and what did not help, is in benchmarks/README.md.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from charlstm.checkpoint import weight_shapes
from charlstm.config import ModelConfig, RunConfig, flag

MAX_EPOCHS = 30.0
"""Passes over the text after which a run given as a time has nothing more to gain."""
_SHAPES = ((1, 256), (1, 384), (1, 512), (1, 640), (1, 768), (2, 512), (2, 640), (2, 768), (2, 1024))
_CHARACTERS_A_PARAMETER = {1: 1.25, 2: 2.0}  # that a run should read, by layers
_LEAST_WINDOWS = 32  # of an epoch
_FEWEST_STREAMS, _MOST_STREAMS = 4, 32
_FEW, _MANY = 5.0, 30.0  # weighted epochs up to which dropout is at its least, and from which at its most
_REFERENCE_PARAMETERS = 1.24e6  # 1 x 512
_LONG_RUN, _LONG_WINDOW = 10.0, 128  # epochs from which the window is longer


@dataclass(frozen=True)
class Choice:
    """Some settings that were chosen together, and why."""

    name: str
    value: str
    reason: str
    matters: bool = True
    """Whether it depends on the text, the time or the machine, rather than being what nearly every run has."""

    @property
    def words(self) -> str:
        """The choice in one line."""
        return f"{self.value}: {self.reason}"


def pace(config: RunConfig, given: Collection[str], length: int) -> tuple[RunConfig, list[Choice]]:
    """Choose the streams for a training text of so many ids, and how far a step goes.

    A short text is read in fewer streams: else a run of a few epochs would have too few steps to learn in.
    """
    train = config.train
    streams = _MOST_STREAMS
    while streams > _FEWEST_STREAMS and length / (streams * train.seq_length) < _LEAST_WINDOWS:
        streams //= 2
    few = streams < _MOST_STREAMS
    reason = f"few, as the text is short ({length / (streams * train.seq_length):.0f} steps per epoch)"
    if "batch_size" not in given:
        train = dataclasses.replace(train, batch_size=streams)
    choices = [
        _choice("streams", f"{train.batch_size}", reason if few else "read side by side", {"batch_size"}, given, few),
        _choice(
            "rate",
            f"{train.learning_rate:g}",
            "the highest of the run; it rises at first, then falls to zero as half a cosine",
            {"learning_rate"},
            given,
            matters=False,
        ),
    ]
    return dataclasses.replace(config, train=train), choices


def window(config: RunConfig, given: Collection[str], length: int, epochs: float) -> tuple[RunConfig, list[Choice]]:
    """Choose how many characters a step reads of each stream, in a run of so many passes over so many ids.

    No gradient reaches further back than that. A short run needs its steps more; a number of steps is not stretched.
    """
    train = config.train
    many = length / (train.batch_size * _LONG_WINDOW) >= _LEAST_WINDOWS
    long = epochs >= _LONG_RUN and many and train.steps is None
    if long and "seq_length" not in given:
        train = dataclasses.replace(train, seq_length=_LONG_WINDOW)
    reason = f"long, as the text is read {epochs:.0f} times" if long else "characters that a step reads of each stream"
    choice = _choice("window", f"{train.seq_length}", reason, {"seq_length"}, given, long)
    return dataclasses.replace(config, train=train), [choice]


def size(
    config: RunConfig, given: Collection[str], vocab_size: int, readable: Callable[[int], float]
) -> tuple[RunConfig, list[Choice]]:
    """Choose the layers and their size: the largest network that the run can feed.

    Args:
        config: the settings as given or by default.
        given: the names of those that the user set: they stay as they are.
        vocab_size: ids of the tokenizer.
        readable: returns how many characters the run can read with a network of so many parameters.
    """
    model = config.model
    shapes: Iterator[dict[str, Any]] = (
        {name: value for name, value in (("num_layers", layers), ("hidden_size", units)) if name not in given}
        for layers, units in _SHAPES
    )
    candidates = list(dict.fromkeys(dataclasses.replace(model, **shape) for shape in shapes))
    candidates.sort(key=lambda candidate: parameters(candidate, vocab_size))
    fed = [candidate for candidate in candidates if _feeds(candidate, vocab_size, readable)]
    chosen = fed[-1] if fed else candidates[0]
    count = parameters(chosen, vocab_size)
    reason = f"{_millions(readable(count))} characters to read for {_millions(count)} weights"
    value = f"{chosen.num_layers} x {chosen.hidden_size}"
    choice = _choice("size", value, reason, {"num_layers", "hidden_size"}, given)
    return dataclasses.replace(config, model=chosen), [choice]


def dropout(
    config: RunConfig, given: Collection[str], vocab_size: int, epochs: float
) -> tuple[RunConfig, list[Choice]]:
    """Choose the dropout of a run of so many passes over the training text.

    The more often a text is read, and the larger the network, the more of it is learnt by heart: dropout grows with
    the logarithm of the epochs, weighted by the square root of the number of parameters.
    """
    weighted = epochs * math.sqrt(parameters(config.model, vocab_size) / _REFERENCE_PARAMETERS)
    share = min(1.0, max(0.0, math.log(max(weighted, 1e-9) / _FEW) / math.log(_MANY / _FEW)))
    values = {"dropout": round(0.15 + 0.35 * share, 2), "recurrent_dropout": round(0.15 * share, 2)}
    reason = f"the text is read {epochs:.1f} times" if epochs < 100 else f"the text is read {epochs:,.0f} times"
    changes: dict[str, Any] = {name: value for name, value in values.items() if name not in given}
    model = dataclasses.replace(config.model, **changes)
    value = f"{model.dropout:g}, recurrent {model.recurrent_dropout:g}"
    return dataclasses.replace(config, model=model), [_choice("dropout", value, reason, set(values), given)]


def _choice(
    name: str, value: str, reason: str, settings: set[str], given: Collection[str], matters: bool = True
) -> Choice:
    """Return a choice; of what the user set himself there is nothing to say but that."""
    free = settings - set(given)
    if not free:
        return Choice(name, value, "as given", matters=False)
    return Choice(
        name, value, reason if free == settings else f"{reason}, {flag(min(settings - free))} as given", matters
    )


def parameters(model: ModelConfig, vocab_size: int) -> int:
    """Return the number of a model's weights."""
    return sum(math.prod(shape) for shape in weight_shapes(model, vocab_size).values())


def _feeds(model: ModelConfig, vocab_size: int, readable: Callable[[int], float]) -> bool:
    count = parameters(model, vocab_size)
    return readable(count) >= _CHARACTERS_A_PARAMETER[min(model.num_layers, 2)] * count


def _millions(number: float) -> str:
    return f"{number / 1e6:.2g} M" if number < 1e7 else f"{number / 1e6:,.0f} M"
