"""From logits to text: the filters; `generate`, which yields ids; and `write`, which yields text.

The filters apply in this order: temperature, top-k, top-p, min-p. Ties are broken in favour of the lower id.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from charlstm.config import SampleConfig
from charlstm.errors import DataError, UsageError
from charlstm.network import fixed
from charlstm.network.exact import ExactEngine
from charlstm.network.stepper import Engine
from charlstm.text.tokenizer import Tokenizer

Floats = npt.NDArray[np.floating[Any]]

TOGETHER = 64
"""Texts to write side by side: more are hardly faster, and delay the first one."""
_DRAWS = 256  # random numbers drawn at a time
_SEEDS = 2**63
_OF_LABEL = 1  # tells the draw of a text's label from those of its characters


class Context:
    """What a number of streams have read: the state after it, and the scores of the next character."""

    def __init__(self, engine: Engine, streams: int = 1) -> None:
        """Start before the first character of a text."""
        self.streams = streams
        self.engine = engine
        self._single = streams == 1
        rows = None if self._single else streams
        self._state = engine.zero_state(rows)
        self._output: Any = None
        pace = engine.pace(rows)
        self._stepping = pace or contextlib.nullcontext()
        self._scoring = pace.held if pace else contextlib.nullcontext()

    def read(self, ids: Any) -> None:
        """Read one character in every stream: ids is (N,)."""
        with self._stepping:
            self._output, self._state = self.engine.step(ids[0] if self._single else ids, self._state)

    def prefill(self, ids: Sequence[int]) -> None:
        """Read the same prompt in every stream."""
        for id in ids:
            self.read([int(id)] * self.streams)

    def logits(self) -> Floats:
        """Return the scores of the next character, (N, V); something must have been read before."""
        with self._scoring:
            logits = self.engine.logits(self._output)
        array: Floats = logits if isinstance(logits, np.ndarray) else logits.float().cpu().numpy()
        return array[None] if self._single else array

    def branch(self, streams: int) -> "Context":
        """Return a context of `streams` streams that continue from what this one has read; this one does not change."""
        assert self._single, "a text branches from one stream"
        branches = Context(self.engine, streams)
        branches._output, branches._state = self._output, self._state
        if streams > 1:
            branches._state = [tuple(_repeated(part, streams) for part in layer) for layer in self._state]
            branches._output = None if self._output is None else _repeated(self._output, streams)
        return branches

    @classmethod
    def abreast(cls, contexts: "Sequence[Context]") -> "Context":
        """Return a context whose streams continue from what each of these, all of one stream, has read."""
        first = contexts[0]
        if all(context is first for context in contexts):
            return first.branch(len(contexts))
        joined = cls(first.engine, len(contexts))
        states = [context._state for context in contexts]
        joined._state = [
            tuple(_stacked(parts) for parts in zip(*layers, strict=True)) for layers in zip(*states, strict=True)
        ]
        joined._output = _stacked([context._output for context in contexts])
        return joined


def _stacked(arrays: Sequence[Any]) -> Any:
    """Return arrays (H,) as the rows of (N, H)."""
    if isinstance(arrays[0], np.ndarray):
        return np.stack(arrays)
    import torch

    return torch.stack(list(arrays))


def drawn_label(tokenizer: Tokenizer, seed: int) -> str | None:
    """Return the label of a text with this seed: drawn as often as the training text has it; None if there are none."""
    if not tokenizer.labels:
        return None
    place = np.random.default_rng((seed, _OF_LABEL)).random() * sum(tokenizer.label_counts)
    number = int(np.searchsorted(np.cumsum(tokenizer.label_counts), place, "right"))
    return tokenizer.labels[min(number, len(tokenizer.labels) - 1)]


def next_seed(seed: int, number: int) -> int:
    """Return the seed of the text that is this number of texts after the one with `seed`."""
    return (seed + number) % _SEEDS


def opened(engine: Engine, tokenizer: Tokenizer, seed: int, streams: int) -> Context:
    """Return a context at the beginning of texts, each with the label that its seed draws."""
    if not tokenizer.labels:
        context = Context(engine, streams)
        context.prefill(tokenizer.opening)
        return context
    begun: dict[str | None, Context] = {}
    labels = [drawn_label(tokenizer, next_seed(seed, number)) for number in range(streams)]
    for label in labels:
        if label not in begun:
            begun[label] = Context(engine)
            begun[label].prefill(tokenizer.opened(label))
    return Context.abreast([begun[label] for label in labels])


def _repeated(array: Any, times: int) -> Any:
    """Return an array (H,) repeated as the rows of (N, H)."""
    return array[None].repeat(times, 0) if isinstance(array, np.ndarray) else array[None].repeat(times, 1)


def weigh(logits: Floats, config: SampleConfig, never: Sequence[int] = ()) -> npt.NDArray[np.float64]:
    """Return a weight for each next character after the filters, (N, V), relative to 1 for the likeliest.

    If the scores of a row contain NaN, or are all -inf, its weights are NaN.

    Args:
        logits: (N, V); not changed.
        config: sets temperature, top_k (Fan et al. 2018), top_p (Holtzman et al. 2020) and min_p (Nguyen et al. 2024).
        never: ids that must not be chosen.
    """
    scores = logits.astype(np.float64)
    scores[:, list(never)] = -np.inf
    top = scores.max(-1, keepdims=True)
    if config.temperature == 0:
        greedy = np.zeros_like(scores)
        greedy[np.arange(len(scores)), scores.argmax(-1)] = np.where(top[:, 0] > -np.inf, 1, np.nan)
        return greedy
    if not np.isfinite(top).all():  # infinity minus infinity is NaN, but an infinite score means certainty
        scores = np.where(top == np.inf, np.where(scores == np.inf, 0, -np.inf), scores)
        top = np.where(top == np.inf, 0, top)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        below = scores - top
        weights: npt.NDArray[np.float64] = np.exp(below / config.temperature)
    _keep_likeliest(weights, scores, config)
    if config.min_p:
        # As a logarithm, times the temperature: neither exp(below) nor below / temperature may underflow.
        weights[below < config.temperature * math.log(config.min_p)] = 0
    return weights


def weigh_exactly(logits: Floats, config: SampleConfig, never: Sequence[int] = ()) -> npt.NDArray[np.float64]:
    """Return a weight for each next character after the filters, as `weigh` does: the same ones on every machine.

    The weights are integers, exp from a table; that of the likeliest is `fixed.WEIGHT`, and what is less likely than
    exp(-22) of it has none. What a score is below the highest one is divided by the temperature and rounded to the
    table's steps. top-k, top-p and min-p compare these integers, where ties may be more frequent. Every operation on
    floats is one that IEEE 754 rounds in one way.

    Args:
        logits: (N, V), multiples of 1 / `fixed.GRID`; not changed.
        config: as for `weigh`.
        never: ids that must not be chosen.
    """
    if config.temperature == 0:
        return weigh(logits, config, never)
    scores = logits * fixed.GRID
    scores[:, list(never)] = -np.inf
    with np.errstate(over="ignore"):
        below = (scores.max(-1, keepdims=True) - scores) / config.temperature
    weights = fixed.weights(np.rint(np.minimum(below, fixed.EXP_SIZE)).astype(np.int64)).astype(np.float64)
    _keep_likeliest(weights, scores, config)
    if config.min_p:
        weights[weights < config.min_p * fixed.WEIGHT] = 0
    return weights


def _keep_likeliest(weights: npt.NDArray[np.float64], scores: Floats, config: SampleConfig) -> None:
    """Set the weights of all but the likeliest characters to 0, as top-k and top-p say."""
    if config.top_k is None and config.top_p is None:
        return
    # Rank by scores, because a very high or low temperature makes different weights equal.
    order = np.argsort(-scores, axis=-1, kind="stable")
    ranked = np.take_along_axis(weights, order, -1)
    if config.top_k is not None:
        ranked[:, config.top_k :] = 0
    if config.top_p is not None and config.top_p < 1:
        sums = ranked.cumsum(-1)
        ranked[:, 1:][sums[:, :-1] >= config.top_p * sums[:, -1:]] = 0
    np.put_along_axis(weights, order, ranked, -1)


def draw(weights: Floats, uniforms: Floats) -> npt.NDArray[np.intp]:
    """Return an id for each row, drawn by inverting the cumulative distribution.

    Args:
        weights: (N, V), not negative; an id is drawn in proportion to its weight.
        uniforms: (N,), in [0, 1).

    Raises:
        DataError: if a row has no positive weight.
    """
    totals = weights.cumsum(-1, dtype=np.float64)
    if not (totals[:, -1] > 0).all():
        raise DataError("the model's scores are not numbers: its weights are too large; train it again")
    ids: npt.NDArray[np.intp] = (totals <= uniforms[:, None] * totals[:, -1:]).sum(-1)
    return ids


class Drawn(NamedTuple):
    """The next id of every stream."""

    ids: npt.NDArray[np.intp]  # (N,)
    logits: Floats  # (N, V), the scores from which they were drawn, before the filters


def generate(
    context: Context, config: SampleConfig, seeds: Sequence[int], never: Sequence[int] = ()
) -> Iterator[Drawn]:
    """Yield the next id of every stream, endlessly; when an id is yielded, the context has already read it.

    Args:
        context: must have read the prompt.
        config: the filters.
        seeds: one per stream, so that no stream depends on how many others there are.
        never: ids that must not be chosen.
    """
    generators = [np.random.PCG64(seed) for seed in seeds]
    weighing = weigh_exactly if isinstance(context.engine, ExactEngine) else weigh
    while True:
        for uniforms in np.stack([_uniforms(generator) for generator in generators], -1):
            logits = context.logits()
            ids = draw(weighing(logits, config, never), uniforms)
            context.read(ids)
            yield Drawn(ids, logits)


def _uniforms(generator: np.random.PCG64) -> npt.NDArray[np.float64]:
    """Return what `Generator.random` returns, in [0, 1); but these bits no version of numpy may change (NEP 19)."""
    bits: npt.NDArray[np.uint64] = generator.random_raw(_DRAWS)
    uniforms: npt.NDArray[np.float64] = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniforms


@dataclass(frozen=True)
class Piece:
    """A piece of text from one stream."""

    stream: int
    text: str
    stopped: str | None = None
    """Set on a stream's last piece: why it ended, `length`, `stop`, `end` (of a document) or `interrupted`."""
    logprob: float | None = None
    """Natural logarithm of the probability that the model gave to the drawn id, if requested."""
    top: tuple[tuple[int, float], ...] = ()
    """The likeliest ids and their log-probabilities, if requested."""


def write(
    context: Context,
    tokenizer: Tokenizer,
    config: SampleConfig,
    seed: int,
    stops: Sequence[str] = (),
    interrupted: Callable[[], bool] = lambda: False,
    *,
    top: int | None = None,
) -> Iterator[Piece]:
    """Yield text until every stream has ended.

    A stream ends after `config.length` characters, at one of `stops` (which is left out), at the end of its document,
    or if `interrupted()` returns True; the context has then read what was yielded.

    Stream n is seeded with `seed` + n. If `top` is given, every drawn id yields a piece, which says how likely the id
    was and which `top` ids were likeliest; the text of such a piece may be empty.

    Raises:
        DataError: if the model's scores are not numbers.
        UsageError: if a stop text is empty.
    """
    if any(not stop for stop in stops):
        raise UsageError("--stop '': an empty text is found everywhere; give at least one character")
    streams = [_Stream(tokenizer, config.length, stops) for _ in range(context.streams)]
    going = list(range(context.streams))
    if config.length == 0:
        yield from (Piece(number, "", "length") for number in going)
        return
    seeds = [next_seed(seed, number) for number in going]
    for drawn in generate(context, config, seeds, tokenizer.never):
        for number in tuple(going):
            stream, id = streams[number], int(drawn.ids[number])
            text = stream.add(id)
            if stream.stopped:
                going.remove(number)
            if top is not None:
                likely = log_probabilities(drawn.logits[number])
                yield Piece(number, text, stream.stopped, float(likely[id]), _likeliest(likely, top))
            elif text or stream.stopped:
                yield Piece(number, text, stream.stopped)
        if going and interrupted():
            yield from (Piece(number, streams[number].held, "interrupted") for number in going)
            return
        if not going:
            return


def log_probabilities(logits: Floats) -> npt.NDArray[np.float64]:
    """Return the natural logarithms of the probabilities that these scores represent, (..., V)."""
    scores = logits.astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    likely: npt.NDArray[np.float64] = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    return likely


def _likeliest(likely: npt.NDArray[np.float64], count: int) -> tuple[tuple[int, float], ...]:
    """Return the likeliest ids and their log-probabilities; ties are broken in favour of the lower id."""
    return tuple((int(id), float(likely[id])) for id in np.argsort(-likely, kind="stable")[:count])


class _Stream:
    """The text of one stream: counts characters, and holds back what may turn out to be a stop text."""

    def __init__(self, tokenizer: Tokenizer, length: int, stops: Sequence[str]) -> None:
        self._decoder = tokenizer.stream()
        self._end_id = tokenizer.end_id
        self._left = length
        self._stops = stops
        self.held = ""
        """Text that may be the beginning of a stop text."""
        self.stopped: str | None = None

    def add(self, id: int) -> str:
        """Add an id, and return the text that can be shown now."""
        if id == self._end_id:
            self.stopped = "end"
            return self.held
        fresh = self._decoder.decode((id,))[: self._left]
        self._left -= len(fresh)
        if not self._stops:
            if self._left == 0:
                self.stopped = "length"
            return fresh
        text = self.held + fresh
        ends = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped = "stop"
            return text[: min(ends)]
        if self._left == 0:
            self.stopped = "length"
            return text
        kept = max(_overlap(text, stop) for stop in self._stops)
        self.held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest suffix of `text` that is a prefix of `stop`, shorter than `stop` itself."""
    return next(size for size in range(min(len(text), len(stop) - 1), -1, -1) if text.endswith(stop[:size]))
