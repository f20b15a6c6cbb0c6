"""A model that learns from the text it codes: its output layer, and counts of what followed the last characters.

Everything is an integer, if sometimes in a float64, where integers below 2^53 are exact in any order of summing.

The output layer takes a step of gradient descent after each id: D += lr (1[id] - p) h, and the scores are those of the
model plus D h. Counts of what followed the last 2, 3, ... ids in this text are mixed in geometrically (Mattern 2012,
"Mixing strategies in data compression"): the scores are w_0 s + sum over orders of w f, where f is 0 for what never
followed and otherwise, with count c and d different successors of V ids, ln c + ln((V - d) / d): Witten and Bell's
estimate. The weights w, by order and by the ranges of d and of the sum of counts, take a step of gradient descent too.
"""

from collections.abc import Sequence
from decimal import Context, Decimal
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.compress.predict import Coding, Frequencies
from charlstm.network import fixed
from charlstm.network.fixed import GRID, TOTAL

ORDERS = (2, 3, 4, 5, 6, 8)
_UNIT = 1 << 16  # steps per unit of weights
_WEIGHT = 3 * _UNIT // 20  # of each order at the beginning
_KINDS = 12  # of contexts: three ranges of d, four of the sum
_MOST_COUNT = 255  # above it, all counts of a context are halved
_MOST_CONTEXTS = 1 << 17  # of an order: above it, the older half is forgotten
_ERRORS = TOTAL.bit_length() - 1 - 16  # errors are in steps of 2^-16
_LEAST_ERROR = 64  # smaller ones teach nothing
_RATE = 17  # the output layer's rate is 2^-(this + bits of the number of units), in steps of errors, units and scores
_LEVELS = 127
_CLIPPED_EVERY = 256  # steps
_WEIGHT_RATE = 1, 3  # 1 / 2^3
_SCALE_RATE = 1, 5
_DIGITS = Context(prec=30)


@cache
def ln(number: int) -> int:
    """Return the natural logarithm in steps of 1 / GRID, computed in decimals: the same everywhere."""
    return int((Decimal(number).ln(_DIGITS) * GRID).to_integral_value(context=_DIGITS))


class Output:
    """The output layer's change, (V, LH)."""

    def __init__(self, vocab_size: int, inputs: int) -> None:
        """Begin with none."""
        self._change = np.zeros((vocab_size, inputs))
        self._shift = _RATE + inputs.bit_length()
        self._most = float(1 << (53 - 1 - (_LEVELS * inputs).bit_length()))  # twice as much is still exact in a sum
        self._steps = 0

    def scores(self, outputs: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
        """Return what is added to the scores, (V,)."""
        return (self._change @ outputs).astype(np.int64) >> self._shift

    def learn(self, errors: npt.NDArray[np.int64], outputs: npt.NDArray[np.floating[Any]]) -> None:
        """Take a step, given 1 - p of what came and -p of all others, (V,), in steps of 2^-16."""
        rows = (np.abs(errors) >= _LEAST_ERROR).nonzero()[0]
        self._change[rows] += np.multiply.outer(errors[rows].astype(np.float64), outputs)
        self._steps += 1
        if self._steps % _CLIPPED_EVERY == 0:
            self._change.clip(-self._most, self._most, out=self._change)


class Counts:
    """What followed the last ids in this text, for several orders."""

    def __init__(self, vocab_size: int) -> None:
        """Begin with none."""
        self._size = vocab_size
        self._tables: list[dict[int, dict[int, int]]] = [{} for _ in ORDERS]
        self._recent: list[int] = []
        self._keys: list[int] = []

    def found(self) -> list[dict[int, int]]:
        """Return how often which id followed, from the lowest order up to the highest that has occurred."""
        found = []
        for table, key in zip(self._tables, self._keys, strict=False):
            counts = table.get(key)
            if counts is None:
                break
            found.append(counts)
        return found

    def learn(self, id: int) -> None:
        """Count an id where it stands, and go on."""
        for table, key in zip(self._tables, self._keys, strict=False):
            counts = table.get(key)
            if counts is None:
                table[key] = {id: 1}
                if len(table) > _MOST_CONTEXTS:
                    for old in list(islice(table, _MOST_CONTEXTS // 2)):
                        del table[old]
                continue
            count = counts.get(id, 0) + 1
            counts[id] = count
            if count > _MOST_COUNT:
                for each in counts:
                    counts[each] = (counts[each] + 1) // 2
        self._recent = [*self._recent[-ORDERS[-1] + 1 :], id]
        self._keys = []
        key, reached = 1, 0
        for order in ORDERS:
            if order > len(self._recent):
                break
            for back in range(reached, order):
                key = key * self._size + self._recent[-1 - back]
            reached = order
            self._keys.append(key)


class Mixer:
    """Scores and counts -> scores, with weights that learn."""

    def __init__(self, vocab_size: int) -> None:
        """Begin with small weights for counts."""
        self._size = vocab_size
        self._weights = [[_WEIGHT] * _KINDS for _ in ORDERS]
        self._scales = [_UNIT] * (len(ORDERS) + 1)
        self._logs = np.array([ln(max(count, 1)) for count in range(_MOST_COUNT + 1)], np.int64)
        self._found: Sequence[dict[int, int]] = ()

    def mixed(self, scores: npt.NDArray[np.int64], found: Sequence[dict[int, int]]) -> npt.NDArray[np.int64]:
        """Return the mixture's scores, (V,), given the model's and the counts by order."""
        self._scores, self._found = scores, found
        scaled = scores * self._scales[len(found)]
        if found:
            ids: list[int] = []
            counts: list[int] = []
            for each in found:
                ids += each
                counts += each.values()
            sizes = [len(each) for each in found]
            self._bases = [ln(self._size - size) - ln(size) if size < self._size else 0 for size in sizes]
            self._kinds = [_kind(each) for each in found]
            weights = [self._weights[order][kind] for order, kind in enumerate(self._kinds)]
            self._ids = np.array(ids)
            self._features = self._logs[counts] + np.repeat(self._bases, sizes)
            self._starts = np.cumsum([0, *sizes[:-1]])
            scaled += np.bincount(self._ids, self._features * np.repeat(weights, sizes), self._size).astype(np.int64)
        return scaled >> 16

    def learn(self, id: int, frequencies: npt.NDArray[np.int64]) -> None:
        """Take a step, given what came and the frequencies that the mixture led to."""
        order = len(self._found)
        expected = int(frequencies @ self._scores) // TOTAL
        rate, shift = _SCALE_RATE
        scale = self._scales[order] + ((int(self._scores[id]) - expected) * rate >> shift)
        self._scales[order] = min(max(scale, 0), 4 * _UNIT)
        if not self._found:
            return
        sums = np.add.reduceat(frequencies[self._ids] * self._features, self._starts) // TOTAL
        rate, shift = _WEIGHT_RATE
        for number, (counts, kind, least) in enumerate(zip(self._found, self._kinds, sums.tolist(), strict=True)):
            came = counts.get(id)
            feature = 0 if came is None else int(self._logs[came]) + self._bases[number]
            weights = self._weights[number]
            weight = weights[kind] + ((feature - least) * rate >> shift)
            weights[kind] = min(max(weight, -_UNIT), 2 * _UNIT)


def _kind(counts: dict[int, int]) -> int:
    """Return which weight is for a context."""
    return 4 * (min(len(counts), 3) - 1) + min(sum(counts.values()).bit_length(), 4) - 1


class Learner:
    """A model that learns as it reads; see `Predictor`."""

    def __init__(self, coding: Coding) -> None:
        """Take a model, and begin."""
        self._engine = coding.engine
        self._opening = coding.tokenizer.opening
        self._size = coding.tokenizer.vocab_size
        start = coding.tokenizer.start_id
        self._never = [start] if coding.tokenizer.framed else []
        self.begin()

    def begin(self) -> None:
        """Forget everything, and stand at the beginning of a text."""
        self._state = self._engine.zero_state()
        for id in self._opening:
            self._outputs, self._state = self._engine.step(id, self._state)
        self._output = Output(self._size, len(self._outputs))
        self._counts, self._mixer = Counts(self._size), Mixer(self._size)
        self._predicted: Frequencies | None = None

    def frequencies(self) -> Frequencies:
        """Return the frequency of each id as the next one, (V,)."""
        scores = self._engine.scores(self._outputs) + self._output.scores(self._outputs)
        self._predicted = fixed.frequencies(self._mixer.mixed(scores, self._counts.found()), self._never)
        return self._predicted

    def read(self, id: int) -> None:
        """Learn from the next id if its frequency was asked for, and go on after it."""
        if self._predicted is not None:
            found = self._predicted.astype(np.int64)
            self._mixer.learn(id, found)
            self._counts.learn(id)
            found[id] -= TOTAL
            self._output.learn(-found >> _ERRORS, self._outputs)
            self._predicted = None
        self._outputs, self._state = self._engine.step(id, self._state)
