"""Dynamic evaluation: a copy of the model goes on learning from the text, each piece after it was scored on it.

Krause, Kahembwe, Murray & Renals 2018, "Dynamic evaluation of neural sequence models": the RMS-scaled update, with a
decay towards the weights w_0 as they were trained.

    w <- w - rate g / (r + epsilon) + min(decay r / mean(r), 1) (w_0 - w)

g is the gradient of a window's mean loss, and r the root of the mean square of such gradients on training text: every
weight moves in the measure that is usual for it. The paper reads one stream; here some are read side by side and share
the weights, which is several times as fast, and still every character is scored before anything is learnt from it.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from charlstm import evaluate
from charlstm.batches import IGNORE, Batch, Batches
from charlstm.corpus import Split
from charlstm.device import Device
from charlstm.model import CharLSTM, State
from charlstm.tokenizer import Tokenizer


@dataclass(frozen=True)
class Tuning:
    """How fast the copy learns; chosen on texts that were cut out of training texts (benchmarks/README.md)."""

    rate: float = 5e-4
    decay: float = 1e-3
    epsilon: float = 1e-2
    """As a share of the mean of r."""
    streams: int = 16
    """Streams read side by side, at most."""
    window: int = 20
    """Characters of each stream between two updates."""


DEFAULT = Tuning()
_MEASURED = 32  # windows of each stream of the training text from which r is taken
_LARGEST = 5  # times the rate: without it one character that was rare in training, and so its r, ruins the weights
_LEAST_STREAM = 2048  # characters


def windows(
    model: CharLSTM, split: Split, train: Split, tokenizer: Tokenizer, device: Device, tuning: Tuning = DEFAULT
) -> Iterator[tuple[Tensor, Batch]]:
    """Yield the logits, (T, N, V) in fp32, and what was read and came; what came is learnt when the next are asked for.

    Args:
        model: is left as it is.
        split: the text.
        train: the training text, which tells how far each weight is to move.
        tokenizer: of both.
        device: where the model lies.
        tuning: how fast it learns.
    """
    learner = _Learner(model, tokenizer, device, tuning)
    length = tuning.window
    learner.measure(Batches(train, tokenizer, max(1, min(tuning.streams, len(train.ids) // length)), length))
    # Each stream begins from nothing: what it read before its own characters would be learnt from, and is another one's
    # to be scored.
    streams = max(1, min(tuning.streams, len(split.ids) // _LEAST_STREAM))
    batches = Batches(split, tokenizer, streams, length)
    state = learner.model.zero_state(streams)
    for number in range(batches.windows):
        batch = batches.at(number)
        logits, state = learner.read(batch, state)
        yield logits.detach(), batch
        learner.learn(logits, batch)


class _Learner:
    """A copy of a model, and what its updates need."""

    def __init__(self, model: CharLSTM, tokenizer: Tokenizer, device: Device, tuning: Tuning) -> None:
        config = dataclasses.replace(model.config, dropout=0.0, recurrent_dropout=0.0)
        self.model = CharLSTM(config, tokenizer.vocab_size, tokenizer.unknown_id, tokenizer.end_id).to(device.name)
        self.model.load_state_dict(model.state_dict())
        self.model.train()  # cuDNN computes no gradients in evaluation mode
        self._device, self._tuning = device, tuning
        self._weights = list(self.model.parameters())
        self._trained = [weight.detach().clone() for weight in self._weights]
        self._rates = [torch.zeros_like(weight) for weight in self._trained]
        self._decays = [torch.zeros_like(weight) for weight in self._trained]

    def read(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        """Return the logits in fp32, and the state after the window, from which no gradient flows back."""
        logits, state = evaluate.read(self.model, batch, state, self._device)
        return logits, [tuple(part.detach() for part in layer) for layer in state]

    def measure(self, batches: Batches) -> None:
        """Take from the beginnings of the streams, all over the training text, how far each weight is to move."""
        squares = [torch.zeros_like(weight) for weight in self._trained]
        count = min(_MEASURED, batches.windows)
        state = self.model.zero_state(batches.at(0).inputs.shape[1])
        for number in range(count):
            batch = batches.at(number)
            logits, state = self.read(batch, state)
            gradients = self._gradients(logits, batch)
            torch._foreach_addcmul_(squares, gradients, gradients)
        roots = [(square / count).sqrt() for square in squares]
        mean = float(torch.cat([root.flatten() for root in roots]).mean()) or 1.0
        self._rates = [self._tuning.rate / (root + self._tuning.epsilon * mean) for root in roots]
        self._decays = [(self._tuning.decay / mean * root).clamp(max=1) for root in roots]

    @torch.no_grad()
    def learn(self, logits: Tensor, batch: Batch) -> None:
        """Update the weights by what a window's logits should have been."""
        gradients, largest = self._gradients(logits, batch), _LARGEST * self._tuning.rate
        for weight, gradient, rate, decay, trained in zip(
            self._weights, gradients, self._rates, self._decays, self._trained, strict=True
        ):
            step = (gradient * rate).clamp_(-largest, largest)
            weight.addcmul_(trained - weight, decay).sub_(step)
        self.model.pin()

    @torch.enable_grad()
    def _gradients(self, logits: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        targets = torch.from_numpy(batch.targets).to(self._device.name)
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum")
        return torch.autograd.grad(nats / max(1, batch.characters), self._weights)
