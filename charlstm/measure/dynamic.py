"""Dynamic evaluation: a copy of the model goes on learning from the text, from each window after it was scored.

Krause, Kahembwe, Murray & Renals 2018, "Dynamic evaluation of neural sequence models": the RMS-scaled update, with a
decay towards the weights w_0 as they were trained.

    w <- w - rate g / (r + epsilon) + min(decay r / mean(r), 1) (w_0 - w)

g is the gradient of a window's mean loss, and r the root mean square of such gradients on the training text: every
weight moves by as much as is usual for it. The paper reads one stream; here several are read side by side and share the
weights, which is several times as fast. Still every character is scored before anything is learnt from it.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from charlstm.measure.read import Reader, Window
from charlstm.measure.report import Progress, Report
from charlstm.measure.scoring import Measured, measured
from charlstm.network.device import in_fastest_threads
from charlstm.network.model import CharLSTM, State
from charlstm.text.batches import IGNORE, Batch, Batches
from charlstm.text.corpus import Split


@dataclass(frozen=True)
class Tuning:
    """How fast the copy learns; chosen on parts of training texts that were held out (benchmarks/README.md)."""

    rate: float = 5e-4
    decay: float = 1e-3
    epsilon: float = 1e-2
    """As a share of the mean of r."""
    streams: int = 16
    """Streams read side by side, at most."""
    window: int = 20
    """Ids of each stream between two updates."""


DEFAULT = Tuning()
_MEASURED = 32  # windows of each stream of the training text from which r is taken
_LARGEST = 5  # times the rate: without it one character that was rare in training, so that its r is tiny, ruins it all
_LEAST_STREAM = 2048  # ids


class DynamicReport(Report):
    """The score of the text if the model may learn on."""

    name = "dynamic"
    doing = "learning"
    from_training = "dynamic evaluation"

    def measure(self, report: Progress) -> Measured:
        """Return the score, and how sure it is."""
        subject = self.subject
        assert subject.train is not None
        reader = Reader.of(subject.loaded)
        read = in_fastest_threads(windows(reader, subject.text, subject.train), subject.threads, reader.device.name)
        return measured(read, subject.text, reader.tokenizer, report)


def windows(reader: Reader, split: Split, train: Split, tuning: Tuning = DEFAULT) -> Iterator[Window]:
    """Yield what the model reads of a text; a window is learnt from when the next one is asked for.

    Args:
        reader: the model, which is left as it is.
        split: the text.
        train: the training text, which tells how far each weight is to move.
        tuning: how fast it learns.
    """
    learner = _Learner(reader, tuning)
    length, tokenizer = tuning.window, reader.tokenizer
    learner.measure(Batches(train, tokenizer, max(1, min(tuning.streams, len(train.ids) // length)), length))
    # Each stream begins from a zero state: what it read before its own ids would be learnt from, and yet it is for
    # another stream to score.
    streams = max(1, min(tuning.streams, len(split.ids) // _LEAST_STREAM))
    batches = Batches(split, tokenizer, streams, length)
    state = learner.model.zero_state(streams)
    for number in range(batches.windows):
        batch = batches.at(number)
        logits, state = learner.read(batch, state)
        yield logits.detach(), batch
        learner.learn(logits, batch)


class _Learner:
    """A copy of a model, with what its updates need."""

    def __init__(self, reader: Reader, tuning: Tuning) -> None:
        config = dataclasses.replace(reader.model.config, dropout=0.0, recurrent_dropout=0.0, ngram_dropout=0.0)
        self.model = CharLSTM(config, reader.tokenizer)
        self.model.to(reader.device.name)
        self.model.load_state_dict(reader.model.state_dict())
        self.model.train()  # cuDNN computes no gradients in evaluation mode
        self._reader, self._tuning = dataclasses.replace(reader, model=self.model), tuning
        self._weights = list(self.model.matrices().values())
        if self.model.ngrams is not None:  # its vectors stay: hardly any comes twice before the text moves on
            self.model.ngrams.weight.requires_grad_(False)
        self._trained = [weight.detach().clone() for weight in self._weights]
        self._rates = [torch.zeros_like(weight) for weight in self._trained]
        self._decays = [torch.zeros_like(weight) for weight in self._trained]

    def read(self, batch: Batch, state: State) -> tuple[Tensor, State]:
        """Return the logits in fp32, and the state after the window, from which no gradient flows back."""
        logits, state = self._reader.forward(batch.inputs, state)
        return logits, [tuple(part.detach() for part in layer) for layer in state]

    def measure(self, batches: Batches) -> None:
        """Learn from the beginnings of streams all over the training text how far each weight is to move."""
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
        """Update the weights by the gradient of a window's loss."""
        gradients, largest = self._gradients(logits, batch), _LARGEST * self._tuning.rate
        for weight, gradient, rate, decay, trained in zip(
            self._weights, gradients, self._rates, self._decays, self._trained, strict=True
        ):
            step = (gradient * rate).clamp_(-largest, largest)
            weight.addcmul_(trained - weight, decay).sub_(step)
        self.model.pin()

    @torch.enable_grad()
    def _gradients(self, logits: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        targets = torch.from_numpy(batch.targets).to(self._reader.device.name)
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum")
        return torch.autograd.grad(nats / max(1, batch.characters), self._weights)
