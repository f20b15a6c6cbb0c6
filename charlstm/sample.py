"""From logits to text: the filters, `generate`, which yields ids, and `write`, which yields text.

The filters apply in this order: temperature, top-k, top-p, min-p. Ties are broken in favour of the lower id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.config import SampleConfig
from charlstm.errors import UsageError
from charlstm.stepper import Stepper
from charlstm.tokenizer import Tokenizer

Floats = npt.NDArray[np.floating[Any]]

_DRAWS = 256  # random numbers drawn at a time
_SEEDS = 2**63
_COLD = 1e-30


class Context:
    """What some streams have read: the state after it, and the scores of what comes next."""

    def __init__(self, stepper: Stepper, streams: int = 1) -> None:
        """Begin before the first character of a text."""
        self.streams = streams
        self._stepper = stepper
        self._single = streams == 1
        self._state = stepper.zero_state(None if self._single else streams)
        self._output: Any = None

    def read(self, ids: Any) -> None:
        """Go one character further in every stream: ids is (N,)."""
        self._output, self._state = self._stepper.step(ids[0] if self._single else ids, self._state)

    def prefill(self, ids: Sequence[int]) -> None:
        """Read the same prompt in every stream."""
        for id in ids:
            self.read([int(id)] * self.streams)

    def logits(self) -> Floats:
        """Return the scores of the next character, (N, V); only after something was read."""
        logits = self._stepper.logits(self._output)
        array: Floats = logits if isinstance(logits, np.ndarray) else logits.float().cpu().numpy()
        return array[None] if self._single else array


def weigh(logits: Floats, config: SampleConfig) -> Floats:
    """Return how likely each next character is after the filters, up to a factor a row, (N, V).

    Args:
        logits: (N, V); -inf for what must never be chosen.
        config: its temperature, top_k (Fan et al. 2018), top_p (Holtzman et al. 2020) and min_p (Nguyen et al. 2024).
    """
    if config.temperature == 0:
        greedy = np.zeros_like(logits)
        greedy[np.arange(len(logits)), logits.argmax(-1)] = 1
        return greedy
    # Nothing is warmer than greedy below this temperature, and nothing overflows above it.
    weights: Floats = np.exp((logits - logits.max(-1, keepdims=True)) / max(config.temperature, _COLD))
    if config.top_k is not None or config.top_p is not None:
        order = np.argsort(-weights, axis=-1, kind="stable")
        ranked = np.take_along_axis(weights, order, -1)
        if config.top_k is not None:
            ranked[:, config.top_k :] = 0
        if config.top_p is not None:
            before = np.cumsum(ranked, -1) - ranked
            ranked[before >= config.top_p * ranked.sum(-1, keepdims=True)] = 0
        np.put_along_axis(weights, order, ranked, -1)
    if config.min_p is not None:
        weights[weights < config.min_p * weights.max(-1, keepdims=True)] = 0
    return weights


def draw(weights: Floats, uniforms: Floats) -> npt.NDArray[np.intp]:
    """Return an id a row, by inverting the cumulative distribution.

    Args:
        weights: (N, V), not negative; an id is drawn in proportion to its weight.
        uniforms: (N,), in [0, 1).
    """
    totals = weights.cumsum(-1, dtype=np.float64)
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
    """On a stream's last piece: why it ended, `length`, `stop` or `end` (of a document)."""


def write(
    context: Context, tokenizer: Tokenizer, config: SampleConfig, seed: int, stops: Sequence[str] = ()
) -> Iterator[Piece]:
    """Yield text until every stream has written `config.length` characters, or one of `stops`, which is left out, or
    has come to the end of its document.

    Stream n is seeded with `seed` + n.
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
        if not going:
            return


class _Stream:
    """The text of one stream: holds back what may yet become a stop text, and counts characters."""

    def __init__(self, tokenizer: Tokenizer, length: int, stops: Sequence[str]) -> None:
        self._decoder = tokenizer.stream()
        self._end_id = tokenizer.end_id
        self._left = length
        self._stops = stops
        self._held = ""
        self.stopped: str | None = None

    def add(self, id: int) -> str:
        """Return the text that can be shown now that `id` has come."""
        if id == self._end_id:
            self.stopped = "end"
            return self._held
        fresh = self._decoder.decode((id,))[: self._left]
        self._left -= len(fresh)
        if not self._stops:
            if self._left == 0:
                self.stopped = "length"
            return fresh
        text = self._held + fresh
        ends = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped = "stop"
            return text[: min(ends)]
        if self._left == 0:
            self.stopped = "length"
            return text
        kept = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that begins `stop`."""
    return next(size for size in range(min(len(text), len(stop) - 1), -1, -1) if text.endswith(stop[:size]))
