"""Embedding -> recurrent layers -> logits; state in, state out."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from charlstm.config import ModelConfig
from charlstm.errors import UsageError
from charlstm.network.cells import CELLS
from charlstm.network.layers import LayerState, recurrence
from charlstm.network.lookup import NGrams
from charlstm.network.ngrams import DENSE, Alphabet, dense, orders
from charlstm.network.weights import B_IH, EMBEDDING, LABELS, W_HH, W_IH, embeddings, freeze_end, gate_rows

_LISTENING = 8
"""One in so many units of the first layer begins as a memory of the label."""
_HELD = (100, 1000)
"""The characters for which such a unit remembers, at first."""
_OPEN = 2.0  # the pre-activation of its gate at an opening

State = list[LayerState]
"""For each layer h, and c if the cell has one: (1, N, H) each. If n-grams are inputs, a last entry follows: the codes
of the last characters, (1, N, highest order - 1), int64."""


class CharLSTM(nn.Module):
    """A character language model; it keeps no state, computes no loss and does no sampling.

    Every layer above the first reads the embedding in addition to the outputs of the layer below, and the logits are
    computed from the outputs of all layers (the skip connections of Graves 2013, "Generating sequences with recurrent
    neural networks", section 2), so the gradient has a short path to each layer.

    If documents have frames, the last feature of the embedding is reserved: it is 1 for `<end>` and 0 for every other
    id, and its weights in each layer saturate the gates, so that the state after an `<end>` is always the same, bit for
    bit. This costs nothing: the kernels run unchanged.

    If documents have labels, a label is read in place of `<start>`, as the sum of the vector of `<start>` and its own.
    """

    def __init__(self, config: ModelConfig, alphabet: Alphabet, *, initialise: bool = True) -> None:
        """Initialise the weights from torch's global generator, unless they will be loaded.

        Recurrent weights are orthogonal (Saxe et al. 2014) and input weights Glorot-uniform (Glorot & Bengio 2010),
        separately for each gate's matrix; the forget biases add up to 1 (Gers et al. 2000; Jozefowicz et al. 2015), and
        peephole weights are zero.
        The embedding of `<unk>` starts at zero: a character never trained on carries no information. So do the vectors
        of n-grams. If documents have labels, some units begin as a memory of what opens a document.

        Raises:
            UsageError: if the embedding is too short for the feature of `<end>`.
        """
        super().__init__()
        if alphabet.end_id is not None and config.embedding_size < 2:
            raise UsageError("--embedding-size 1: with documents, one feature marks their ends; give at least 2")
        self.config = config
        self._alphabet = alphabet
        self._end_id = alphabet.end_id
        self._dealt: tuple[slice, int] | None = None
        size = config.hidden_size
        self.embedding = nn.Embedding(alphabet.vocab_size, config.embedding_size)
        count = alphabet.num_ids - alphabet.vocab_size
        self.labels = _Labels(count, config.embedding_size) if count else None
        self.ngrams: NGrams | None
        self.use_ngrams(config, alphabet)
        self.layers = nn.ModuleList(
            recurrence(config.cell, config.embedding_size + (size if number else 0), size)
            for number in range(config.num_layers)
        )
        self.output = nn.Linear(config.num_layers * size, alphabet.vocab_size)
        if initialise:
            self._initialise(alphabet.unknown_id)
            self.pin()
        if alphabet.end_id is not None:
            # The weights of the feature get no gradient, because the gates that they saturate have no slope there.
            self.embedding.weight.register_hook(_without_last_feature)  # type: ignore[no-untyped-call]
            if self.labels is not None:
                self.labels.weight.register_hook(_without_last_feature)  # type: ignore[no-untyped-call]

    def use_ngrams(self, config: ModelConfig, alphabet: Alphabet) -> None:
        """Begin with an empty table of n-grams, as large as the configuration says, or none.

        No random number is drawn for it, and no other weight depends on it.
        """
        self.config, self.ngrams = config, None
        if orders(config.ngrams):
            codes = torch.from_numpy(alphabet.codes)
            table = NGrams(config.ngrams, config.ngram_rows, config.embedding_size, codes)
            self.ngrams = table.to(self.embedding.weight.device)

    @classmethod
    def from_weights(
        cls,
        config: ModelConfig,
        alphabet: Alphabet,
        weights: Mapping[str, npt.NDArray[Any]],
    ) -> "CharLSTM":
        """Rebuild a trained model from a checkpoint's tensors, in evaluation mode."""
        model = cls(config, alphabet, initialise=False)
        model.take(weights)
        return model.eval()

    def matrices(self) -> dict[str, nn.Parameter]:
        """Return all weights but the table of n-grams, by name."""
        return {name: weight for name, weight in self.named_parameters() if name != DENSE}

    def take(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        """Replace the weights by a checkpoint's, whose table of n-grams has the rows in use alone."""
        plain = {name: torch.from_numpy(weight) for name, weight in weights.items() if not name.startswith("ngrams.")}
        if self.ngrams is not None:
            plain[DENSE] = torch.from_numpy(dense(weights, self.config.ngram_rows))
        self.load_state_dict(plain)

    @torch.no_grad()
    def _initialise(self, unknown_id: int | None) -> None:
        cell = CELLS[self.config.cell]
        for layer in self.layers:
            w_ih, w_hh, b_ih, b_hh, *w_ch = layer.parameters()
            for gate in cell.gates:
                nn.init.xavier_uniform_(w_ih[self._rows(gate)])
                nn.init.orthogonal_(w_hh[self._rows(gate)])
            for weight in (b_ih, b_hh, *w_ch):
                weight.zero_()
            if cell.keep_gate == "f":
                b_ih[self._rows("f")] = 1  # torch adds two biases: the first one gets the whole value
        nn.init.xavier_uniform_(self.output.weight)
        self.output.bias.zero_()
        if unknown_id is not None:
            self.embedding.weight[unknown_id] = 0
        if self.labels is not None:
            self.labels.weight.normal_()
            self._listen()

    def _listen(self) -> None:
        """Have some units of the first layer hold, for hundreds of characters, what opened the document.

        A label is worth a bit or two in a whole document: too little for a network to find out by itself that it must
        be remembered. These units write at an opening and are shut to other characters, as in chrono initialisation
        (Tallec & Ollivier 2018); from there on they learn as all others do. The simple recurrent network has no gates,
        and is left unchanged.
        """
        cell = CELLS[self.config.cell]
        if not cell.keep_gate:
            return
        w_ih, b_ih = (self.layers[0].get_parameter(name) for name in (W_IH, B_IH))
        count = max(1, self.config.hidden_size // _LISTENING)
        keep = b_ih.new_empty(count).uniform_(*_HELD).log()
        start = self.embedding.weight[self._alphabet.start_id, :-1]
        opens = (keep[:, None] + _OPEN) * start / start.square().sum()  # at a `<start>` the gate is turned around
        first = self._rows(cell.keep_gate).start
        b_ih[first : first + count] = keep
        if not cell.input_gate:
            w_ih[first : first + count, :-1] = -opens
            return
        first = self._rows(cell.input_gate).start
        b_ih[first : first + count] = -keep
        w_ih[first : first + count, :-1] = opens

    @torch.no_grad()
    def begin_at(self, counts: npt.NDArray[np.int64]) -> None:
        """Set the output biases to the log frequencies of the characters, the best guess before anything is learnt.

        Args:
            counts: how often each id occurs, (V,); one that never does counts as half a time.
        """
        frequencies = np.maximum(counts, 0.5) / max(1, counts.sum())
        self.output.bias.copy_(torch.from_numpy(np.log(frequencies)))

    @torch.no_grad()
    def chrono(self, longest: int) -> None:
        """Set the biases for memories of up to `longest` steps: chrono initialisation (Tallec & Ollivier 2018).

        A gate with a bias of ln(t - 1) loses one part in t per step, and so remembers for about t steps. Each unit's t
        is drawn uniformly from 2 to `longest`, so before anything is learnt, some units already remember what they read
        for that long. A separate input gate gets the opposite bias. The simple recurrent network has no such gate and
        is left unchanged.
        """
        cell = CELLS[self.config.cell]
        for layer in self.layers:
            bias = layer.get_parameter(B_IH)
            if cell.keep_gate:
                keep = bias.new_empty(self.config.hidden_size).uniform_(1, max(longest - 1, 2)).log()
                bias[self._rows(cell.keep_gate)] = keep
                if cell.input_gate:
                    bias[self._rows(cell.input_gate)] = -keep

    def deal(self, rows: slice, streams: int) -> None:
        """Set which streams of a larger batch are read here: dropout is drawn for all, and only these rows are used."""
        self._dealt = (rows, streams)

    @torch.no_grad()
    def pin(self) -> None:
        """Reset the reserved feature and its weights, which weight decay has moved."""
        freeze_end(dict(self.named_parameters()), self.config, self._end_id)

    def _rows(self, gate: str) -> slice:
        return gate_rows(self.config.cell, gate, self.config.hidden_size)

    def zero_state(self, streams: int) -> State:
        """Return the state at the beginning of a text."""
        zeros = self.output.weight.new_zeros(1, streams, self.config.hidden_size)
        state: State = [(zeros, zeros) if CELLS[self.config.cell].has_c else (zeros,) for _ in self.layers]
        if self.ngrams is not None:
            state.append((zeros.new_zeros(1, streams, self.config.ngrams - 1, dtype=torch.int64),))
        return state

    def forward(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Read a window of every stream.

        Args:
            ids: (T, N), int64.
            state: as returned by `zero_state` or an earlier call.

        Returns:
            The logits of the characters that follow each position, (T, N, V), and the state after the window.
        """
        outputs, state = self.outputs(ids, state)
        return self.output(outputs), state

    def outputs(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what the logits of a window are computed from, (T, N, L H), and the state after it; see `forward`."""
        embedded, recent = self._embed(ids, state)  # (T, N, E)
        outputs: list[Tensor] = []
        after: State = []
        for layer, before in zip(self.layers, state, strict=False):
            inputs = torch.cat([embedded.to(outputs[-1].dtype), outputs[-1]], -1) if outputs else embedded
            output, after_layer = self._recur(layer, inputs, before)  # (T, N, H)
            after.append(after_layer)
            last = len(outputs) == self.config.num_layers - 1
            outputs.append(self._drop(output, self.config.dropout / (1 if last else 2)))
        return torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0], after + recent

    def _embed(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the input of the layers, (T, N, E), and the last entry of the state after the window, if any."""
        embedded = self._embedded(ids)
        if self.ngrams is None:
            return embedded, []
        ((recent,),) = state[len(self.layers) :]
        keep, rate = None, self.config.ngram_dropout if self.training else 0.0
        if rate:
            rows, streams = self._dealt or (slice(None), ids.shape[1])
            shape = (len(ids), streams, len(orders(self.config.ngrams)))
            keep = torch.empty(shape, device=ids.device).bernoulli_(1 - rate)[:, rows].bool()
        sums, recent = self.ngrams(ids, recent, keep, rate)
        if sums.requires_grad and self._end_id is not None:
            sums.register_hook(_without_last_feature)
        return embedded + sums, [(recent,)]

    def _embedded(self, ids: Tensor) -> Tensor:
        """Return the vector of each id, (T, N, E)."""
        if self.labels is None:
            return cast("Tensor", self.embedding(ids))
        weights = {EMBEDDING: self.embedding.weight, LABELS: self.labels.weight}
        return nn.functional.embedding(ids, embeddings(weights, self._alphabet))

    def _recur(self, layer: nn.Module, inputs: Tensor, before: LayerState) -> tuple[Tensor, LayerState]:
        """Run a layer; in training, some of its units are cut off from the recurrence for the whole window.

        A mask shared by all streams amounts to a mask on the columns of the recurrent matrix, so the fused kernel runs
        unchanged: recurrent dropout (Gal & Ghahramani 2016) at the cost of weight dropping (Merity et al. 2018).
        """
        rate = self.config.recurrent_dropout
        if not self.training or rate == 0:
            return cast("tuple[Tensor, LayerState]", layer(inputs, before))
        weight = layer.get_parameter(W_HH)
        mask = weight.new_empty(weight.shape[1]).bernoulli_(1 - rate) / (1 - rate)  # (H,)
        masked = torch.func.functional_call(layer, {W_HH: weight * mask}, (inputs, before))
        return cast("tuple[Tensor, LayerState]", masked)

    def _drop(self, outputs: Tensor, rate: float) -> Tensor:
        """Drop the same units at every step of the window: locked dropout (Gal & Ghahramani 2016; Merity et al. 2018).

        This spares a recurrent network noise that changes with every character, and a mask of (N, H) takes 0.3 ms,
        whereas one of (T, N, H) took 9 of the 35 ms of a step (1 x 512, batch 32, window 64, two cores).
        """
        if not self.training or rate == 0:
            return outputs
        rows, streams = self._dealt or (slice(None), outputs.shape[1])
        mask = outputs.new_empty(1, streams, outputs.shape[2]).bernoulli_(1 - rate)[:, rows] / (1 - rate)  # (1, N, H)
        return outputs * mask


class _Labels(nn.Module):
    """What each label adds to the vector of `<start>`, (A, E)."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count, size))


def joined(states: Sequence[State]) -> State:
    """Join the states of several groups of streams along the stream axis."""
    return [tuple(torch.cat(parts, 1) for parts in zip(*layers, strict=True)) for layers in zip(*states, strict=True)]


def _without_last_feature(gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    gradient[..., -1] = 0
    return gradient
