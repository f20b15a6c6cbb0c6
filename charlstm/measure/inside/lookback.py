"""How far back a prediction looked: the gradient of its log probability with respect to each input before it.

Backpropagation through time (Werbos 1990) in numpy, in float64. The forward pass uses the equations of `cells.py`; the
derivatives of each cell are below, next to one another.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlstm.errors import UsageError
from charlstm.measure.inside.signals import IdsLike, opening
from charlstm.network import ngrams
from charlstm.network.cells import CELLS, Array, Gates, State
from charlstm.network.weights import (
    B_HH,
    B_IH,
    OUTPUT,
    OUTPUT_BIAS,
    W_CH,
    W_HH,
    W_IH,
    count_layers,
    embeddings,
    of_layer,
)
from charlstm.sample import log_probabilities
from charlstm.storage.loaded import Loaded

Floats = npt.NDArray[np.float64]

_EXACT = 128
"""So many characters before the inputs are read in float64 too. What is before them, if anything, has been read by the
engine, in float32, which is faster."""


@dataclass(frozen=True)
class Lookback:
    """What a prediction depended on."""

    at: int
    """The predicted character: its index in the passage."""
    log_probability: float
    """Of that character, in nats; an unknown one costs its name too, as in its surprise."""
    first: int
    """Index of the first input of `gradients`; what is read before the passage has none."""
    gradients: npt.NDArray[np.float64]
    """(inputs, E): with respect to what the network reads at each of them, the character's vector and its n-grams'."""
    reserved: int = 0
    """Features at the end of each vector in which no character differs from another: the one that ends a document,
    whose frozen weights are enormous."""

    @property
    def sizes(self) -> npt.NDArray[np.float64]:
        """The norm of the gradient at each input, (inputs,), without the reserved feature."""
        gradients = self.gradients[:, : self.gradients.shape[1] - self.reserved]
        sizes: npt.NDArray[np.float64] = np.sqrt((gradients**2).sum(-1))
        return sizes


def lookback(
    loaded: Loaded,
    ids: IdsLike,
    at: int,
    *,
    back: int = 128,
    report: Callable[[float], None] = lambda _: None,
) -> Lookback:
    """Differentiate the log probability of ids[at] with respect to the last `back` inputs before it, in float64.

    Args:
        loaded: the model.
        ids: a passage, perhaps with the frames of documents; the beginning of a document is read before it.
        at: the index of an id. A character of the tokenizer `byte` is several ids: choose one of them.
        back: the most inputs to differentiate with respect to; fewer if the passage begins after them.
        report: told the share of what comes before them that has been read.

    Raises:
        UsageError: if there is no such id, or it begins a document, which is never predicted.
    """
    tokenizer = loaded.tokenizer
    if not 0 <= at < len(ids):
        raise UsageError(f"at {at}: the passage has characters 0 to {len(ids) - 1}; choose one of them")
    target = int(ids[at])
    if tokenizer.opens(target):
        raise UsageError(f"at {at}: a document begins there, which is not predicted; choose the character after it")
    first = max(0, at - back)
    before = [*opening(tokenizer, ids), *(int(id) for id in ids[: max(0, first - _EXACT)])]
    read = [int(id) for id in ids[max(0, first - _EXACT) : at]]
    if first <= _EXACT:
        before, read = [], before + read
    pace = loaded.engine.pace()
    with pace.held if pace else contextlib.nullcontext():  # more threads only get in each other's way
        state = loaded.engine.zero_state()
        for number, id in enumerate(before):
            _, state = loaded.engine.step(id, state)
            if number % _EXACT == 0:
                report(number / len(before))
        network = _Network(loaded)
        layers = network.forward(read, [tuple(_plain(part) for part in layer) for layer in state])
        outputs = np.concatenate([layer.after[-1][0] for layer in layers])
        likely = log_probabilities(network.logits(outputs))
        chosen = -np.exp(likely)
        chosen[target] += 1  # d log p(target) / d logits
        gradients = network.backward(layers, chosen, at - first)
    log_probability = float(likely[target]) - (tokenizer.unknown_nats if target == tokenizer.unknown_id else 0.0)
    return Lookback(at, log_probability, first, gradients, int(tokenizer.framed))


@dataclass(frozen=True)
class _Steps:
    """What a layer did along a passage of S characters, all of it in float64."""

    gates: list[Gates]
    before: list[State]
    """The states before each character."""
    after: list[State]
    from_h: list[Array]
    """U h(t-1) + b_hh, (GH,) each."""


class _Layer:
    """The weights of a layer, in float64."""

    def __init__(self, loaded: Loaded, number: int) -> None:
        weights, config = loaded.checkpoint.weights, loaded.config.model
        self.w_ih, self.w_hh, self.b_ih, self.b_hh = (
            weights[of_layer(number, name)].astype(np.float64) for name in (W_IH, W_HH, B_IH, B_HH)
        )
        self.cell = CELLS[config.cell]
        self.peepholes = (weights[of_layer(number, W_CH)].astype(np.float64),) if self.cell.peepholes else ()
        self._backward = _BACKWARD[config.cell]

    def forward(self, inputs: Floats, state: State) -> _Steps:
        """Read the inputs, (S, I)."""
        steps = _Steps([], [], [], [])
        for from_x in inputs @ self.w_ih.T + self.b_ih:
            from_h = self.w_hh @ state[0] + self.b_hh
            steps.before.append(state)
            steps.from_h.append(from_h)
            steps.gates.append(self.cell.activate(from_x, from_h, state, *self.peepholes))
            state = self.cell.update(steps.gates[-1], state)
            steps.after.append(state)
        return steps

    def backward(self, steps: _Steps, grad_outputs: Floats) -> Floats:
        """Return the gradient with respect to the last inputs, (inputs, I), given that of the outputs, (inputs, H)."""
        gradients = np.empty((len(grad_outputs), len(self.w_ih)))
        grad_h = np.zeros(self.w_hh.shape[1])
        grad_c = np.zeros_like(grad_h)
        for place in range(1, len(grad_outputs) + 1):  # from the end
            step = _Step(
                steps.gates[-place],
                steps.before[-place],
                steps.after[-place],
                steps.from_h[-place],
                *self.peepholes,
            )
            gradient = self._backward(step, grad_outputs[-place] + grad_h, grad_c)
            gradients[-place] = gradient.from_x
            grad_h = gradient.from_h @ self.w_hh + gradient.h
            grad_c = gradient.c
        return gradients @ self.w_ih


class _Network:
    """A model in float64."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        weights = loaded.checkpoint.weights
        self._layers = [_Layer(loaded, number) for number in range(count_layers(weights))]
        self._output = weights[OUTPUT].astype(np.float64)
        self._output_bias = weights[OUTPUT_BIAS].astype(np.float64)

    def forward(self, ids: list[int], state: list[State]) -> list[_Steps]:
        """Return what each layer does as it reads these ids."""
        embedded = self._embed(ids, state)
        done: list[_Steps] = []
        inputs = embedded
        for layer, before in zip(self._layers, state, strict=False):
            done.append(layer.forward(inputs, before))
            inputs = np.concatenate([embedded, [after[0] for after in done[-1].after]], 1)
        return done

    def _embed(self, ids: list[int], state: list[State]) -> Floats:
        """Return the vector of each id, and of the n-grams that end at it, added up: (S, E)."""
        weights, config = self._loaded.checkpoint.weights, self._loaded.config.model
        embedded: Floats = embeddings(weights, self._loaded.tokenizer)[ids].astype(np.float64)
        if not ngrams.orders(config.ngrams):
            return embedded
        table = weights.get(ngrams.DENSE)
        if table is None:
            table = ngrams.dense(weights, config.ngram_rows)
        ((recent,),) = state[len(self._layers) :]
        codes = np.concatenate([recent, self._loaded.tokenizer.codes[ids]])
        for hashed in ngrams.hashes(codes, config.ngrams):
            there = hashed != ngrams.NOTHING
            embedded[there] += table[ngrams.row(hashed[there], config.ngram_rows)]
        return embedded

    def logits(self, outputs: Floats) -> Floats:
        """Return the scores of the next character, (V,), given the outputs of all layers, (LH,)."""
        logits: Floats = self._output @ outputs + self._output_bias
        return logits

    def backward(self, steps: list[_Steps], grad_logits: Floats, inputs: int) -> Floats:
        """Return the gradient with respect to the vectors of the last inputs, (inputs, E), given that of the scores."""
        size = self._loaded.config.model.embedding_size
        grad_embedded = np.zeros((inputs, size))
        from_output = np.split(grad_logits @ self._output, len(self._layers))
        grad_below = np.zeros((inputs, len(from_output[0])))
        for layer, done, of_output in zip(reversed(self._layers), reversed(steps), reversed(from_output), strict=True):
            grad_below[-1:] += of_output  # no later output bears on this prediction
            gradients = layer.backward(done, grad_below)
            grad_embedded += gradients[:, :size]
            grad_below = gradients[:, size:]
        return grad_embedded


def _plain(array: Array) -> Array:
    """Return numpy's array of one of numpy or torch: floating-point numbers in float64."""
    plain = array if isinstance(array, np.ndarray) else array.cpu().numpy()
    return plain.astype(np.float64) if np.issubdtype(plain.dtype, np.floating) else plain


@dataclass(frozen=True)
class _Step:
    """What a layer did at one character, for its derivative."""

    gates: Gates
    before: State
    after: State
    from_h: Array
    peepholes: Array | None = None


@dataclass(frozen=True)
class _Gradient:
    """Derivatives with respect to what a step began with."""

    from_x: Array
    """(GH,), and so is `from_h`."""
    from_h: Array
    h: Array | float
    """With respect to h(t-1), (H,), but for what passes through from_h."""
    c: Array
    """With respect to c(t-1), (H,)."""


def _lstm(step: _Step, grad_h: Array, grad_c: Array) -> _Gradient:
    """Differentiate c = f c(t-1) + i g and h = o tanh(c); a sigmoid s has the slope s (1 - s), and tanh 1 - tanh^2.

    With peepholes, the pre-activation of o has p_o c, and those of i and f have p_i c(t-1) and p_f c(t-1).
    """
    i, f, g, o = step.gates
    old, new = step.before[1], np.tanh(step.after[1])
    p_i, p_f, p_o = np.split(step.peepholes, 3) if step.peepholes is not None else (0.0, 0.0, 0.0)
    into_o = grad_h * new * o * (1 - o)
    grad_c = grad_c + grad_h * o * (1 - new**2) + into_o * p_o
    into_i = grad_c * g * i * (1 - i)
    into_f = grad_c * old * f * (1 - f)
    into_g = grad_c * i * (1 - g**2)
    gates = np.concatenate([into_i, into_f, into_g, into_o])
    return _Gradient(gates, gates, 0.0, grad_c * f + into_i * p_i + into_f * p_f)


def _coupled(step: _Step, grad_h: Array, grad_c: Array) -> _Gradient:
    """Differentiate c = f c(t-1) + (1 - f) g and h = o tanh(c)."""
    f, g, o = step.gates
    old, new = step.before[1], np.tanh(step.after[1])
    into_o = grad_h * new * o * (1 - o)
    grad_c = grad_c + grad_h * o * (1 - new**2)
    into_f = grad_c * (old - g) * f * (1 - f)
    into_g = grad_c * (1 - f) * (1 - g**2)
    gates = np.concatenate([into_f, into_g, into_o])
    return _Gradient(gates, gates, 0.0, grad_c * f)


def _gru(step: _Step, grad_h: Array, grad_c: Array) -> _Gradient:
    """Differentiate h = (1 - z) n + z h(t-1), where n = tanh(from_x + r from_h) sees from_h through r."""
    r, z, n = step.gates
    (old,) = step.before
    into_z = grad_h * (old - n) * z * (1 - z)
    into_n = grad_h * (1 - z) * (1 - n**2)
    into_r = into_n * step.from_h[2 * len(n) :] * r * (1 - r)
    from_x = np.concatenate([into_r, into_z, into_n])
    return _Gradient(from_x, np.concatenate([into_r, into_z, into_n * r]), grad_h * z, grad_c)


def _rnn(step: _Step, grad_h: Array, grad_c: Array) -> _Gradient:
    """Differentiate h = tanh(from_x + from_h)."""
    (h,) = step.gates
    gates = grad_h * (1 - h**2)
    return _Gradient(gates, gates, 0.0, grad_c)


_BACKWARD: dict[str, Callable[[_Step, Array, Array], _Gradient]] = {
    "lstm": _lstm,
    "peephole": _lstm,
    "coupled": _coupled,
    "gru": _gru,
    "rnn": _rnn,
}
"""The derivative of each cell's step, given those of what follows with respect to its h(t) and c(t), (H,) each."""
