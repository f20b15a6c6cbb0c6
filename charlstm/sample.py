"""From logits to text: the filters, `generate`, which yields ids, and `write`, which yields text.

The filters apply in this order: temperature, top-k, top-p, min-p. Ties are broken in favour of the lower id.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.config import SampleConfig
from charlstm.errors import DataError, UsageError
from charlstm.stepper import Stepper
from charlstm.tokenizer import Tokenizer

Floats = npt.NDArray[np.floating[Any]]

TOGETHER = 64
"""Texts to write side by side: more are hardly faster, and the first one is longer in coming."""
_DRAWS = 256  # random numbers drawn at a time
_SEEDS = 2**63


class Context:
    """What some streams have read: the state after it, and the scores of what comes next."""

    def __init__(self, stepper: Stepper, streams: int = 1) -> None:
        """Begin before the first character of a text."""
        self.streams = streams
        self._stepper = stepper
        self._single = streams == 1
        rows = None if self._single else streams
        self._state = stepper.zero_state(rows)
        self._output: Any = None
        pace = stepper.pace(rows)
        self._stepping = pace or contextlib.nullcontext()
        self._scoring = pace.held if pace else contextlib.nullcontext()

    def read(self, ids: Any) -> None:
        """Go one character further in every stream: ids is (N,)."""
        with self._stepping:
            self._output, self._state = self._stepper.step(ids[0] if self._single else ids, self._state)

    def prefill(self, ids: Sequence[int]) -> None:
        """Read the same prompt in every stream."""
        for id in ids:
            self.read([int(id)] * self.streams)

    def logits(self) -> Floats:
        """Return the scores of the next character, (N, V); only after something was read."""
        with self._scoring:
            logits = self._stepper.logits(self._output)
        array: Floats = logits if isinstance(logits, np.ndarray) else logits.float().cpu().numpy()
        return array[None] if self._single else array

    def branch(self, streams: int) -> "Context":
        """Return as many streams that go on from what this one has read; it is not changed by what they read."""
        assert self._single, "a text branches from one stream"
        branches = Context(self._stepper, streams)
        branches._output, branches._state = self._output, self._state
        if streams > 1:
            branches._state = [tuple(_repeated(part, streams) for part in layer) for layer in self._state]
            branches._output = None if self._output is None else _repeated(self._output, streams)
        return branches


def _repeated(array: Any, times: int) -> Any:
    """Return an array (H,) as rows, (N, H)."""
    return array[None].repeat(times, 0) if isinstance(array, np.ndarray) else array[None].repeat(times, 1)


def weigh(logits: Floats, config: SampleConfig) -> npt.NDArray[np.float64]:
    """Return how likely each next character is after the filters, (N, V): its weight, the likeliest one's being 1.

    The weights of a row whose scores are not numbers, or all -inf, are not numbers.

    Args:
        logits: (N, V); -inf for what must never be chosen.
        config: its temperature, top_k (Fan et al. 2018), top_p (Holtzman et al. 2020) and min_p (Nguyen et al. 2024).
    """
    scores = logits.astype(np.float64)
    top = scores.max(-1, keepdims=True)
    if config.temperature == 0:
        greedy = np.zeros_like(scores)
        greedy[np.arange(len(scores)), scores.argmax(-1)] = np.where(top[:, 0] > -np.inf, 1, np.nan)
        return greedy
    if not np.isfinite(top).all():  # infinity less infinity is no number, but here it is certainty
        scores = np.where(top == np.inf, np.where(scores == np.inf, 0, -np.inf), scores)
        top = np.where(top == np.inf, 0, top)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        below = (scores - top) / config.temperature
        weights: npt.NDArray[np.float64] = np.exp(below)
    if config.top_k is not None or config.top_p is not None:
        # Ranked by their scores: at a very high or low temperature weights that are not equal become so.
        order = np.argsort(-scores, axis=-1, kind="stable")
        ranked = np.take_along_axis(weights, order, -1)
        if config.top_k is not None:
            ranked[:, config.top_k :] = 0
        if config.top_p is not None and config.top_p < 1:
            sums = ranked.cumsum(-1)
            ranked[:, 1:][sums[:, :-1] >= config.top_p * sums[:, -1:]] = 0
        np.put_along_axis(weights, order, ranked, -1)
    if config.min_p:
        weights[below < math.log(config.min_p)] = 0  # as a logarithm it cannot underflow
    return weights


def draw(weights: Floats, uniforms: Floats) -> npt.NDArray[np.intp]:
    """Return an id a row, by inverting the cumulative distribution.

    Args:
        weights: (N, V), not negative; an id is drawn in proportion to its weight.
        uniforms: (N,), in [0, 1).

    Raises:
        DataError: if there is nothing to draw from in a row.
    """
    totals = weights.cumsum(-1, dtype=np.float64)
    if not (totals[:, -1] > 0).all():
        raise DataError("the model's scores are not numbers: its weights are too large; train it again")
    ids: npt.NDArray[np.intp] = (totals <= uniforms[:, None] * totals[:, -1:]).sum(-1)
    return ids


def generate(
    context: Context, config: SampleConfig, seeds: Sequence[int], never: Sequence[int] = ()
) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the next id of every stream, (N,), without end; the context has read each id when it is yielded.

    Args:
        context: has read the prompt.
        config: the filters.
        seeds: one a stream, so that a stream does not depend on how many run beside it.
        never: ids that are not chosen.
    """
    generators = [np.random.default_rng(seed) for seed in seeds]
    while True:
        for uniforms in np.stack([generator.random(_DRAWS) for generator in generators], -1):
            logits = context.logits()
            logits[:, list(never)] = -np.inf
            ids = draw(weigh(logits, config), uniforms)
            context.read(ids)
            yield ids


@dataclass(frozen=True)
class Piece:
    """A bit of text as it comes out of one stream."""

    stream: int
    text: str
    stopped: str | None = None
    """On a stream's last piece: why it ended, `length`, `stop`, `end` (of a document) or `interrupted`."""


def write(
    context: Context,
    tokenizer: Tokenizer,
    config: SampleConfig,
    seed: int,
    stops: Sequence[str] = (),
    interrupted: Callable[[], bool] = lambda: False,
) -> Iterator[Piece]:
    """Yield text until every stream has written `config.length` characters, or one of `stops`, which is left out, or
    has come to the end of its document, or until `interrupted()`: then the context has read what was yielded.

    Stream n is seeded with `seed` + n.

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
    seeds = [(seed + number) % _SEEDS for number in going]
    for ids in generate(context, config, seeds, tokenizer.never):
        for number in tuple(going):
            stream = streams[number]
            text = stream.add(int(ids[number]))
            if stream.stopped:
                going.remove(number)
            if text or stream.stopped:
                yield Piece(number, text, stream.stopped)
        if going and interrupted():
            yield from (Piece(number, streams[number].held, "interrupted") for number in going)
            return
        if not going:
            return


class _Stream:
    """The text of one stream: holds back what may yet become a stop text, and counts characters."""

    def __init__(self, tokenizer: Tokenizer, length: int, stops: Sequence[str]) -> None:
        self._decoder = tokenizer.stream()
        self._end_id = tokenizer.end_id
        self._left = length
        self._stops = stops
        self.held = ""
        """What may yet become a stop text."""
        self.stopped: str | None = None

    def add(self, id: int) -> str:
        """Return the text that can be shown now that `id` has come."""
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
    """Return the length of the longest end of `text` that begins `stop`."""
    return next(size for size in range(min(len(text), len(stop) - 1), -1, -1) if text.endswith(stop[:size]))
