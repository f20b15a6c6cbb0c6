"""Random models in integers, and the recurrences in Python's own integers: no floats, no BLAS, no code of the package.

`python -m tests.network.integers` prints a digest of what all these models say about a text, for other processors.
"""

import functools
import hashlib
from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from charlstm.config import ModelConfig
from charlstm.network.cells import CELLS
from charlstm.network.exact import ExactEngine, Quantised
from charlstm.network.ngrams import Symbols, hashes
from charlstm.network.weights import EMBEDDING, FAR, W_IH, gate_rows, of_layer, shapes

UNFRAMED, FRAMED = Symbols(20, unknown_id=0), Symbols(20, unknown_id=0, end_id=19, start_id=18)
NGRAMS = {"ngrams": 4, "ngram_rows": 64}
SHAPES = [
    (cell, layers, alphabet, options)
    for cell in CELLS
    for layers in (1, 2)
    for alphabet in (UNFRAMED, FRAMED)
    for options in ({}, NGRAMS)
]


def weights(config: ModelConfig, alphabet: Symbols, seed: int = 0, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Return the weights of a model with sharp distributions, and of one that knows where documents end."""
    source = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes(config, alphabet.vocab_size).items():
        size = {"output.weight": 2.0, EMBEDDING: 1.0, "ngrams.weight": 0.5}.get(name, 3 / config.hidden_size**0.5)
        found[name] = (source.standard_normal(shape) * size * scale).astype(np.float32)
    if alphabet.end_id is not None:
        found[EMBEDDING][:, -1] = 0
        found[EMBEDDING][alphabet.end_id, -1] = 1
        if config.ngrams:
            found["ngrams.weight"][:, -1] = 0
        for number in range(config.num_layers):
            w_ih = found[of_layer(number, W_IH)]
            w_ih[:, config.embedding_size - 1] = 0
            for gate, sign in CELLS[config.cell].reset.items():
                w_ih[gate_rows(config.cell, gate, config.hidden_size), config.embedding_size - 1] = sign * FAR
    return found


def quantised(
    cell: str, num_layers: int, alphabet: Symbols, options: dict[str, int], hidden_size: int = 24, seed: int = 0
) -> Quantised:
    config = ModelConfig(cell=cell, num_layers=num_layers, hidden_size=hidden_size, **{"embedding_size": 12} | options)
    return Quantised.from_checkpoint(config, alphabet, weights(config, alphabet, seed))


def text(length: int, seed: int = 0) -> list[int]:
    """Return random ids, those of frames too."""
    return np.random.default_rng(seed).integers(20, size=length).tolist()


@functools.cache
def table(name: str, place: int) -> int:
    """Return a function at a place on the grid of 2^-10, in steps of 2^-15; exp of minus that in steps of 2^-30."""
    with localcontext() as context:
        context.prec = 60
        x = Decimal(place) / 1024
        if name == "exp":
            return int(((-x).exp() * 2**30).to_integral_value()) if place < 22 * 1024 else 0
        y = 1 / (1 + (-x).exp()) if name == "sigmoid" else 1 - 2 / (1 + (2 * x).exp())
        return max(-32767, min(32767, int((y * 2**15).to_integral_value())))


def sigmoid(sums: list[int]) -> list[int]:
    return [table("sigmoid", max(-12 * 1024, min(12 * 1024 - 1, (each + 2**21) >> 22))) for each in sums]


def tanh(sums: list[int], bits: int = 22) -> list[int]:
    return [table("tanh", max(-6 * 1024, min(6 * 1024 - 1, (each + 2 ** (bits - 1)) >> bits))) for each in sums]


class Reference:
    """A model in Python's integers; sums are in steps of 2^-32 unless a comment says otherwise."""

    def __init__(self, quantised: Quantised) -> None:
        self.config, self.alphabet = quantised.config, quantised.alphabet
        self.tensors = quantised.tensors()
        self.size = self.config.hidden_size
        self.recent = [0] * (self.config.ngrams - 1) if self.config.ngrams else []
        layers = range(self.config.num_layers)
        self.h = [[0] * self.size for _ in layers]
        self.c = [[0] * self.size for _ in layers]  # in steps of 2^-14

    def __getitem__(self, name: str) -> list[Any]:
        return self.tensors[name].tolist()

    def times(self, name: str, values: list[int]) -> list[int]:
        rows = self.tensors[name].astype(object)
        return list((rows * np.array(values, object)).sum(1) * self.tensors[name + ".scale"].astype(object))

    @functools.cached_property
    def steps(self) -> int:
        """Steps per unit in which sums of n-grams' vectors are rounded: the most, from 4096 down to 256, at which the
        sums of products stay below 2^24; 4096 if there is none."""
        values, scales = self.tensors["ngrams.values"].astype(object), self.tensors["ngrams.scales"].astype(object)
        most = (abs(values) * scales[:, None]).max(0) * (self.config.ngrams - 1)
        for steps in (4096, 2048, 1024, 512, 256):
            bound = np.array([each // (2**24 // steps) + 1 for each in most], object)
            heaviest = max(
                (abs(self.tensors[f"layers.{number}.weight_x"].astype(object)) * bound).sum(1).max()
                for number in range(self.config.num_layers)
            )
            if heaviest < 2**24:
                return steps
        return 4096

    def ngrams(self, id: int) -> list[int]:
        codes = [*self.recent, int(self.alphabet.codes[id])]
        self.recent = codes[1:] if codes[-1] else [0] * len(self.recent)
        used = self["ngrams.rows"]
        sums = np.zeros(self.config.embedding_size, object)
        for (hashed,) in hashes(np.array(codes), self.config.ngrams):
            row = (int(hashed) - 1) % self.config.ngram_rows
            if hashed and row in used:
                at = used.index(row)
                sums = sums + self.tensors["ngrams.values"][at].astype(object) * int(self.tensors["ngrams.scales"][at])
        return [(int(each) * self.steps + 2**23) >> 24 for each in sums]

    def read(self, id: int) -> list[int]:
        """Read a character, and return the scores of the next one, in steps of 2^-10."""
        end = id == self.alphabet.end_id
        grams = self.ngrams(id) if self.config.ngrams else []
        for number in range(self.config.num_layers):
            at = f"layers.{number}."
            if end:
                self.h[number], self.c[number] = [0] * self.size, [0] * self.size
            bias_h = self[at + "bias_hh_l0"]
            own = [0] * (2 * self.size) + bias_h[2 * self.size :] if self.config.cell == "gru" else [0] * len(bias_h)
            far = self[at + "far"] if end else [0] * len(own)
            from_x = []
            parts = self.times(at + "weight_x", self["embedding.weight"][id]), self[at + "bias_ih_l0"], bias_h, own, far
            for total, b, b_h, b_own, f in zip(*parts, strict=True):  # in steps of 2^-14
                rounded = ((total + 2**17) >> 18) + b + b_h - b_own + f
                from_x.append(max(-(2**23) + 1, min(2**23 - 1, rounded)) << 18)
            if grams:
                more = self.times(at + "weight_x", grams)
                from_x = [x + each * (4096 // self.steps) for x, each in zip(from_x, more, strict=True)]
            if number:
                more = self.times(at + "weight_below", self.h[number - 1])
                from_x = [x + each for x, each in zip(from_x, more, strict=True)]
            from_h = [
                product + (bias << 18)
                for product, bias in zip(self.times(at + "weight_hh_l0", self.h[number]), own, strict=True)
            ]
            self.update(number, from_x, from_h)
        outputs = [each for layer in self.h for each in layer]
        scores = zip(self.times("output.weight", outputs), self["output.bias"], strict=True)
        return [(total + (bias << 18) + 2**21) >> 22 for total, bias in scores]

    def update(self, number: int, from_x: list[int], from_h: list[int]) -> None:
        size, cell, c = self.size, self.config.cell, self.c[number]
        sums = [x + h for x, h in zip(from_x, from_h, strict=True)]
        gate = [sums[at : at + size] for at in range(0, len(sums), size)]
        if cell == "rnn":
            self.h[number] = [(each * 127 + 2**14) >> 15 for each in tanh(sums)]
            return
        if cell == "gru":
            r, z = sigmoid(gate[0]), sigmoid(gate[1])
            h_n = [(each + 2**17) >> 18 for each in from_h[2 * size :]]  # in steps of 2^-14
            n = tanh([x + (a * b << 3) for x, a, b in zip(from_x[2 * size :], r, h_n, strict=True)])
            c = [((2**15 - a) * (b << 14) + a * (old << 15) + 2**29) >> 30 for a, b, old in zip(z, n, c, strict=True)]
            self.c[number], self.h[number] = c, [(each * 127 + 2**13) >> 14 for each in c]
            return
        i = f = g = o = []
        if cell == "lstm":
            i, f, g, o = sigmoid(gate[0]), sigmoid(gate[1]), tanh(gate[2]), sigmoid(gate[3])
        elif cell == "coupled":
            f, g, o = sigmoid(gate[0]), tanh(gate[1]), sigmoid(gate[2])
            i = [2**15 - each for each in f]
        else:
            p = self[f"layers.{number}.weight_ch_l0"]
            i, f = sigmoid(self.peeped(gate[0], p[:size], c)), sigmoid(self.peeped(gate[1], p[size : 2 * size], c))
            g = tanh(gate[2])
        c = [
            (forget * (old << 15) + write * (new << 14) + 2**29) >> 30
            for forget, old, write, new in zip(f, c, i, g, strict=True)
        ]
        if cell == "peephole":
            o = sigmoid(self.peeped(gate[3], self[f"layers.{number}.weight_ch_l0"][2 * size :], c))
        self.c[number] = c
        self.h[number] = [(a * b * 127 + 2**29) >> 30 for a, b in zip(o, tanh(c, 4), strict=True)]

    def peeped(self, sums: list[int], weights: list[int], c: list[int]) -> list[int]:
        seen = [max(-(2**23), min(2**23, each)) for each in c]
        return [total + (weight * each << 2) for total, weight, each in zip(sums, weights, seen, strict=True)]

    def frequencies(self, scores: list[int]) -> list[int]:
        never = {self.alphabet.start_id} if self.alphabet.end_id is not None else set()
        top = max(score for id, score in enumerate(scores) if id not in never)
        shares = [0 if id in never else table("exp", top - score) for id, score in enumerate(scores)]
        rest = 2**22 - len(scores) + len(never)
        found = [0 if id in never else 1 + share * rest // sum(shares) for id, share in enumerate(shares)]
        best = next(id for id, score in enumerate(scores) if score == top and id not in never)
        found[best] += 2**22 - sum(found)
        return found


def digests() -> Iterator[str]:
    """Yield a digest of each model and of what it says, for one stream and for several."""
    for shape in SHAPES:
        model = quantised(*shape, hidden_size=131)
        engine = ExactEngine(model)
        digest = hashlib.sha256(model.model_id.encode())
        state, states = engine.zero_state(), engine.zero_state(9)
        for id in text(10):
            outputs, state = engine.step(id, state)
            digest.update(engine.frequencies(outputs).astype("<u4").tobytes())
        for first in text(4):
            outputs, states = engine.step((np.arange(9) + first) % 20, states)
            digest.update(engine.frequencies(outputs).astype("<u4").tobytes())
        yield digest.hexdigest()


if __name__ == "__main__":
    print(*digests())
