"""Embedding -> recurrent layers -> logits; state in, state out."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy.typing as npt
import torch
from torch import Tensor, nn

from charlstm.cells import CELLS
from charlstm.config import ModelConfig
from charlstm.errors import UsageError
from charlstm.layers import LayerState, recurrence

_FAR = 1e4  # a gate's sum at which a sigmoid or tanh is saturated to the bit, whatever the rest of the sum

State = list[LayerState]
"""h, and c where the cell has one, of each layer: (1, N, H)."""


class CharLSTM(nn.Module):
    """A character language model; it keeps no state, no loss and no sampling.

    Every layer above the first reads the embedding beside the outputs below it, and the logits are made from the
    outputs of all layers (the skip connections of Graves 2013, "Generating sequences with recurrent neural networks",
    section 2): the gradient reaches each layer on a short way.

    Where documents have frames, the last feature of the embedding is reserved: it is 1 for `<end>` and 0 for all else,
    and the weights that every layer has for it drive the gates so far that the state after an `<end>` is always the
    same, to the bit. It costs nothing: the kernels run as they are.
    """

    def __init__(
        self, config: ModelConfig, vocab_size: int, unknown_id: int | None = None, end_id: int | None = None
    ) -> None:
        """Initialise the weights from torch's global generator.

        Recurrent weights are orthogonal (Saxe et al. 2014) and input weights Glorot-uniform (Glorot & Bengio 2010),
        each gate's matrix on its own; the forget bias is 1 in total (Gers et al. 2000; Jozefowicz et al. 2015), and
        peephole weights are zero.
        The vector of `unknown_id` begins at zero: a character never trained on says nothing.

        Raises:
            UsageError: where the embedding is too short for the feature of `end_id`.
        """
        super().__init__()
        if end_id is not None and config.embedding_size < 2:
            raise UsageError("--embedding-size 1: with documents one feature is for their ends; give at least 2")
        self.config = config
        self._end_id = end_id
        self._dealt: tuple[slice, int] | None = None
        size = config.hidden_size
        self.embedding = nn.Embedding(vocab_size, config.embedding_size)
        self.layers = nn.ModuleList(
            recurrence(config.cell, config.embedding_size + (size if number else 0), size)
            for number in range(config.num_layers)
        )
        self.output = nn.Linear(config.num_layers * size, vocab_size)
        self._initialise(unknown_id)
        self.pin()
        if end_id is not None:
            # The weights of the feature get no gradient, as the gates that they drive have no slope there.
            self.embedding.weight.register_hook(_without_last_feature)  # type: ignore[no-untyped-call]

    @classmethod
    def from_weights(cls, config: ModelConfig, vocab_size: int, weights: Mapping[str, npt.NDArray[Any]]) -> "CharLSTM":
        """Rebuild a trained model from a checkpoint's tensors, in evaluation mode."""
        model = cls(config, vocab_size)
        model.load_state_dict({name: torch.from_numpy(weight) for name, weight in weights.items()})
        return model.eval()

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
                b_ih[self._rows("f")] = 1  # torch adds two biases: all of it goes into the first
        nn.init.xavier_uniform_(self.output.weight)
        self.output.bias.zero_()
        if unknown_id is not None:
            self.embedding.weight[unknown_id] = 0

    @torch.no_grad()
    def chrono(self, longest: int) -> None:
        """Set the biases for memories of up to `longest` steps: chrono initialisation (Tallec & Ollivier 2018).

        A gate with a bias of ln(t - 1) keeps all but one part in t a step, and so for about t steps. The t of the units
        are drawn evenly from 2 to `longest`: some hold for that long what they have read before anything is learnt. An
        input gate of its own gets the opposite bias. The simple recurrent network has no such gate: it is left alone.
        """
        cell = CELLS[self.config.cell]
        for layer in self.layers:
            bias = layer.get_parameter("bias_ih_l0")
            if cell.keep_gate:
                keep = bias.new_empty(self.config.hidden_size).uniform_(1, max(longest - 1, 2)).log()
                bias[self._rows(cell.keep_gate)] = keep
                if cell.input_gate:
                    bias[self._rows(cell.input_gate)] = -keep

    def deal(self, rows: slice, streams: int) -> None:
        """Say which streams of a larger batch are read here: dropout is drawn for all, and these rows are used."""
        self._dealt = (rows, streams)

    @torch.no_grad()
    def pin(self) -> None:
        """Set the reserved feature and its weights, which weight decay has moved."""
        if self._end_id is None:
            return
        last = self.config.embedding_size - 1
        self.embedding.weight[:, last] = 0
        self.embedding.weight[self._end_id, last] = 1
        for layer in self.layers:
            weights = layer.get_parameter("weight_ih_l0")[:, last]
            weights.zero_()
            for gate, sign in CELLS[self.config.cell].reset.items():
                weights[self._rows(gate)] = sign * _FAR

    def _rows(self, gate: str) -> slice:
        """Return where a gate lies in the weights of a layer."""
        size = self.config.hidden_size
        number = CELLS[self.config.cell].gates.index(gate)
        return slice(number * size, (number + 1) * size)

    def zero_state(self, streams: int) -> State:
        """Return the state in which a text begins."""
        zeros = self.output.weight.new_zeros(1, streams, self.config.hidden_size)
        return [(zeros, zeros) if CELLS[self.config.cell].has_c else (zeros,) for _ in self.layers]

    def forward(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Read a window of every stream.

        Args:
            ids: (T, N), int64.
            state: as `zero_state` or an earlier call returned it.

        Returns:
            The logits of the characters that follow each position, (T, N, V), and the state after the window.
        """
        embedded = self.embedding(ids)  # (T, N, E)
        outputs: list[Tensor] = []
        after: State = []
        for layer, before in zip(self.layers, state, strict=True):
            inputs = torch.cat([embedded.to(outputs[-1].dtype), outputs[-1]], -1) if outputs else embedded
            output, after_layer = self._recur(layer, inputs, before)  # (T, N, H)
            after.append(after_layer)
            last = len(outputs) == self.config.num_layers - 1
            outputs.append(self._drop(output, self.config.dropout / (1 if last else 2)))
        return self.output(torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]), after

    def _recur(self, layer: nn.Module, inputs: Tensor, before: LayerState) -> tuple[Tensor, LayerState]:
        """Run a layer; in training some of its units are cut off from the recurrence for the whole window.

        One mask for all streams is a mask on the columns of the recurrent matrix, so that the fused kernel runs as it
        is: recurrent dropout (Gal & Ghahramani 2016) at the price of weight dropping (Merity et al. 2018).
        """
        rate = self.config.recurrent_dropout
        if not self.training or rate == 0:
            return cast("tuple[Tensor, LayerState]", layer(inputs, before))
        weight = layer.get_parameter("weight_hh_l0")
        mask = weight.new_empty(weight.shape[1]).bernoulli_(1 - rate) / (1 - rate)  # (H,)
        masked = torch.func.functional_call(layer, {"weight_hh_l0": weight * mask}, (inputs, before))
        return cast("tuple[Tensor, LayerState]", masked)

    def _drop(self, outputs: Tensor, rate: float) -> Tensor:
        """Drop the same units at every step of the window: locked dropout (Gal & Ghahramani 2016; Merity et al. 2018).

        A recurrent network is spared the noise that changes from one character to the next, and a mask of (N, H) takes
        0.3 ms where one of (T, N, H) took 9 of a step's 35 (1 x 512, batch 32, window 64, two cores).
        """
        if not self.training or rate == 0:
            return outputs
        rows, streams = self._dealt or (slice(None), outputs.shape[1])
        mask = outputs.new_empty(1, streams, outputs.shape[2]).bernoulli_(1 - rate)[:, rows] / (1 - rate)  # (1, N, H)
        return outputs * mask


def joined(states: Sequence[State]) -> State:
    """Put the states of several groups of streams side by side."""
    return [tuple(torch.cat(parts, 1) for parts in zip(*layers, strict=True)) for layers in zip(*states, strict=True)]


def _without_last_feature(gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    gradient[:, -1] = 0
    return gradient
