"""Everything that changes during a run: the model, its optimizer, the recurrent state, and where the run stands.

One update trains on one window of every stream (truncated backpropagation through time, with the state carried over).
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from charlstm.config import RunConfig, TrainConfig
from charlstm.errors import DataError, DivergedError, UsageError
from charlstm.network import ngrams
from charlstm.network.device import Device
from charlstm.network.distributed import ALONE, Group
from charlstm.network.model import CharLSTM, State, joined
from charlstm.network.weights import EMBEDDING, OUTPUT, OUTPUT_BIAS
from charlstm.storage.checkpoint import MOMENTS, RECENT, TABLE_SUMS, Checkpoint, Origin, Standing
from charlstm.text.batches import Batch, Batches, Mixed
from charlstm.text.corpus import Corpus
from charlstm.training import softmax
from charlstm.training.adagrad import RowAdagrad
from charlstm.training.adamw import AdamW
from charlstm.training.softmax import Sampled, SampledSoftmax

_KNOWN = 1e-6
"""What the squares of the gradients of a trained vector of n-grams are taken to add up to: those of a run's frequent
n-grams do."""
FORGETTING = 0.01
"""Probability that a stream begins a step from a zero state."""


class Training:
    """The state of training: what is saved, and what a resume restores."""

    def __init__(
        self,
        config: RunConfig,
        corpus: Corpus,
        device: Device,
        group: Group = ALONE,
        *,
        forgetting: float = FORGETTING,
    ) -> None:
        """Initialise the model from the seed; the first step is number 0.

        Args:
            config: all settings.
            corpus: the text.
            device: the processor that computes.
            group: the processes among which the streams are divided. Each computes the gradient of its own streams, and
                all get the same sum, so a run is the same on any number of processes, except for rounding.
            forgetting: probability that a stream begins a step from a zero state.

        Raises:
            DataError: if the text is shorter than a window, or has fewer characters than there are streams.
            UsageError: if there are fewer streams than processes, or than parts.
        """
        train = config.train
        self.group = group
        self._forgetting_share = forgetting
        self._rows = group.rows(train.batch_size)
        if train.batch_size < group.size * train.accumulate:
            raise UsageError(
                f"--batch-size {train.batch_size}: fewer streams than {group.size} processes with --accumulate "
                f"{train.accumulate}; give at least {group.size * train.accumulate}"
            )
        own = self._rows.stop - self._rows.start
        bounds = self._rows.start + np.arange(train.accumulate + 1) * own // train.accumulate
        self._parts = [slice(int(begin), int(end)) for begin, end in pairwise(bounds)]
        self.batches = _batches(config, corpus)
        torch.manual_seed(train.seed)
        self.config = config
        self.device = device
        self.model = CharLSTM(config.model, corpus.tokenizer)
        self._counts = corpus.tokenizer.counts(corpus.train.ids)
        self.model.begin_at(self._counts)
        self.model.to(device.name)
        multipliers = {
            EMBEDDING: train.embedding_multiplier,
            OUTPUT: train.output_multiplier,
            OUTPUT_BIAS: train.output_multiplier,
        }
        self.optimizer = AdamW(self.model.matrices(), train.weight_decay, multipliers)
        self._dense = list(self.model.matrices().values())
        self._exact: torch.Tensor | None = None
        self._begin()
        self.at = Standing()
        """Where the run stands."""
        self.origin: tuple[Origin, ...] = ()
        """The models that the weights come from."""
        self.unknown: Mapping[str, Any] = {}
        """What a newer version wrote into the checkpoint; it is kept."""
        self._pending: list[tuple[torch.Tensor, int]] = []

    def adapted(self, config: RunConfig, corpus: Corpus) -> "Training":
        """Return a training with these settings, before its first step; it reuses this model if the shape is right.

        The weights are those that a new model would have: only `rehearse` may have been called before.
        """
        fixed = [_fixed(each) for each in (self.config, config)]
        if self.step or fixed[0] != fixed[1]:
            return Training(config, corpus, self.device, self.group)
        self.batches = _batches(config, corpus)
        self.config = config
        self.model.use_ngrams(config.model, corpus.tokenizer)
        self._begin()
        return self

    def begin_with(self, weights: Mapping[str, npt.NDArray[Any]], origin: tuple[Origin, ...] = ()) -> None:
        """Begin with trained weights instead of random ones; the optimizer knows nothing of how they came about."""
        self.model.take(weights)
        self.origin = origin
        if self._table is not None:
            self._table.begin_at(_KNOWN)

    def _begin(self) -> None:
        """Set what depends on the settings that `adapted` may change to what it is before the first step."""
        size, seed = self.config.train.softmax_sample, self.config.train.seed
        self._sampling = SampledSoftmax(self._counts, size, seed) if size else None
        self._table = None if self.model.ngrams is None else RowAdagrad(self.model.ngrams.weight)
        self.state = self.model.zero_state(self._rows.stop - self._rows.start)

    @property
    def step(self) -> int:
        """Updates so far."""
        return self.at.step

    @property
    def parameters(self) -> int:
        """Number of weights, without the table of n-grams."""
        return sum(weight.numel() for weight in self._dense)

    @property
    def softmax_size(self) -> int:
        """Among how many ids the softmax of an ordinary step chooses."""
        if self._sampling is None:
            return self.model.output.out_features
        return len(self._sampling.at(self.batches.at(self.batches.ordinary(0)).targets, 0).ids)

    @property
    def epoch(self) -> float:
        """Passes over the training text."""
        return self.step / self.batches.windows

    def update(self, rate: float) -> None:
        """Train on the next window of every stream, with this learning rate.

        If the loss or the gradient is not finite, the weights do not change, and the rate is halved from here on.

        Raises:
            DivergedError: if that happens for the second time.
        """
        batch = self.batches.at(self.step)
        rate = rate / 2 if self.at.halved else rate
        loss, states = self._gradient(batch)
        if self.group.size > 1:
            gradients = [weight.grad for weight in self._dense if weight.grad is not None]
            self.group.add([*gradients, loss])
            if self._table is not None:
                self._table.share(self.group)
        norm = torch.nn.utils.clip_grad_norm_(self._dense, self.config.train.clip_norm, foreach=True)
        self.at = dataclasses.replace(self.at, step=self.step + 1)
        if not math.isfinite(loss + norm):
            if self.at.halved:
                raise DivergedError(f"the loss is not a finite number at step {self.step:,}, for the second time")
            self.at = dataclasses.replace(self.at, halved=True)
            return
        self.optimizer.step(rate)
        if self._table is not None:
            self._table.step(rate * self.config.train.ngram_rate / self.config.train.learning_rate)
        self.model.pin()
        self.state = states[0] if len(states) == 1 else joined(states)
        self._pending.append((loss, batch.characters))
        self.at = dataclasses.replace(self.at, characters=self.at.characters + batch.characters)

    def rehearse(self) -> None:
        """Compute the gradient of an ordinary step and discard it: takes as long as a step, and changes nothing."""
        self._gradient(self.batches.at(self.batches.ordinary(self.step)))
        self.model.zero_grad()
        self.device.synchronize()

    @torch.enable_grad()
    def _gradient(self, batch: Batch) -> tuple[torch.Tensor, list[State]]:
        """Compute this process's share of the gradient; return its share of the loss and the states after the step."""
        zeroed = batch.begins | self._forgetting()
        sampled = None if self._sampling is None else self._sampling.at(batch.targets, self.step)
        self.model.zero_grad()
        losses, states = [], []
        for rows in self._parts:
            # Seeding the generator at each step makes the step a function of (seed, step): no generator state to save.
            self.device.seed(step_seed(self.config.train.seed, self.step))
            self.model.deal(rows, self.config.train.batch_size)
            loss, state = self._loss(batch.of(rows), zeroed[rows], self._state_of(rows), sampled)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            states.append(state)
        return torch.stack(losses).sum() if len(losses) > 1 else losses[0], states

    def _state_of(self, rows: slice) -> State:
        """Return the state of these streams, which belong to this process."""
        if len(self._parts) == 1:
            return self.state
        begin, end = rows.start - self._rows.start, rows.stop - self._rows.start
        return [tuple(part[:, begin:end] for part in layer) for layer in self.state]

    def _loss(
        self, batch: Batch, zeroed: npt.NDArray[np.bool_], state: State, sampled: Sampled | None
    ) -> tuple[torch.Tensor, State]:
        """Return these streams' share of the mean loss of a window, in nats per character, and the state after it."""
        name = self.device.name
        if zeroed.any():
            begins = torch.from_numpy(zeroed).to(name)[:, None]
            state = [tuple(part.masked_fill(begins, 0) for part in layer) for layer in state]
        inputs = torch.from_numpy(batch.inputs).to(name, non_blocking=True)
        targets = torch.from_numpy(batch.targets).to(name, non_blocking=True)
        with self.device.autocast():
            outputs, state = self.model.outputs(inputs, state)
            nats = softmax.nats(outputs, targets, self.model.output, sampled)
        return nats / batch.characters, [tuple(part.detach() for part in layer) for layer in state]

    def _forgetting(self) -> npt.NDArray[np.bool_]:
        """Return which streams begin this step from a zero state, (N,): each one from time to time, at random.

        A state that is carried over forever can settle in a region that is never reached by reading a text from its
        beginning. A network trained there fits the training text and fails on any other (benchmarks/README.md shows
        such a run).
        """
        source = np.random.default_rng((self.config.train.seed, self.step))
        return source.random(self.config.train.batch_size) < self._forgetting_share

    def settle(self) -> tuple[float, int]:
        """Fetch the losses since the last call; return their mean in nats per character, and how many characters."""
        pending, self._pending = self._pending, []
        if not pending:
            return math.nan, 0
        losses = torch.stack([loss for loss, _ in pending]).tolist()
        nats, since_row = 0.0, self.at.nats_since_row
        for loss, (_, characters) in zip(losses, pending, strict=True):
            nats += loss * characters
            since_row += loss * characters  # added one by one, so that the sum does not depend on when this is called
        characters = sum(count for _, count in pending)
        self.at = dataclasses.replace(
            self.at,
            nats_since_row=since_row,
            characters_since_row=self.at.characters_since_row + characters,
        )
        return nats / characters, characters

    def weights(self) -> dict[str, np.ndarray]:
        """Return the model's tensors by name, as a finished model has them: the table of n-grams in 8 bits."""
        weights = self._arrays()
        if self._table is not None:
            used, sums = self._table.used()
            weights |= ngrams.rounded(weights.pop(ngrams.DENSE), used, sums)
        return weights

    @contextlib.contextmanager
    def finished(self) -> Iterator[CharLSTM]:
        """Give out the model as a file would hold it: what is measured is what will be saved."""
        if self._table is None:
            yield self.model
            return
        exact = self._table.table.detach().clone()
        self.model.take(self.weights())
        self._exact = exact
        try:
            yield self.model
        finally:
            with torch.no_grad():
                self._table.table.copy_(exact)
            self._exact = None

    def _arrays(self) -> dict[str, np.ndarray]:
        """Return the model's tensors by name, with the exact table of n-grams even while the model is `finished`."""
        exact = {} if self._exact is None else {ngrams.DENSE: self._exact}
        return {name: _array(tensor) for name, tensor in (self.model.state_dict() | exact).items()}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return all tensors that a run needs to go on; the state includes the streams of all processes."""
        streams = self.config.train.batch_size
        tensors = self._arrays()
        if self._table is not None:
            used, sums = self._table.used()
            tensors |= ngrams.packed(tensors.pop(ngrams.DENSE), used) | {TABLE_SUMS: sums}
        for name, moments in self.optimizer.moments().items():
            for kind, moment in zip(MOMENTS, moments, strict=True):
                tensors[f"optimizer.{kind}.{name}"] = _array(moment)
        for name, part in _named_state(self.state, self.config.model.num_layers):
            tensors[name] = _array(self.group.gather(part, streams)).astype(np.int32 if name == RECENT else np.float32)
        return tensors

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore the state from a checkpoint.

        Raises:
            DataError: if it holds only weights.
        """
        if checkpoint.training is None:
            raise DataError("this checkpoint holds only weights: a run goes on from last.safetensors")
        tensors = {name: torch.from_numpy(array.copy()) for name, array in checkpoint.tensors.items()}
        self.model.take(checkpoint.weights)
        if self._table is not None:
            self._table.sums.zero_()
            self._table.sums[tensors[ngrams.ROWS].long()] = tensors[TABLE_SUMS].to(self._table.sums.device)
        moments = {name: [tensors[f"optimizer.{kind}.{name}"] for kind in MOMENTS] for name in self.model.matrices()}
        self.optimizer.restore(moments, checkpoint.step - checkpoint.training.halved)  # an undone step does not count
        # fp32 represents a bf16 state exactly, and the kernels accept either.
        names = iter([name for name, _ in _named_state(self.state, self.config.model.num_layers)])
        state = [tuple(tensors[next(names)][:, self._rows].to(self.device.name) for _ in layer) for layer in self.state]
        if self._table is not None:
            state[-1] = (state[-1][0].long(),)
        self.state = state
        self.at = checkpoint.training
        self.origin, self.unknown = checkpoint.origin, checkpoint.unknown


def _named_state(state: State, layers: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the parts of a state by their names in a checkpoint."""
    for number, layer in enumerate(state):
        if number == layers:
            yield RECENT, layer[0]
        else:
            yield from ((f"state.{number}.{name}", part) for name, part in zip("hc", layer, strict=False))


def _batches(config: RunConfig, corpus: Corpus) -> Batches | Mixed:
    """Lay out the training text; raises `DataError` if it is too short, `UsageError` if --keep has no stream."""
    train, length = config.train, len(corpus.train.ids)
    if length < max(train.seq_length, train.batch_size):
        raise DataError(
            f"{' '.join(corpus.source.paths)}: the training text has {length:,} ids, shorter than one window; "
            f"give a longer text, or --seq-length and --batch-size below {length + 1:,}"
        )
    others = 0
    if corpus.beside is not None:
        if train.batch_size < 2:
            raise UsageError("--keep: the model's own text needs a stream of its own; give --batch-size 2 or more")
        others = min(train.batch_size - 1, max(1, round(train.keep * train.batch_size)))
    streams = train.batch_size - others
    own = Batches(corpus.train, corpus.tokenizer, streams, train.seq_length, jitter=True, shuffle=train.seed)
    return own if corpus.beside is None else Mixed(own, corpus.beside, corpus.tokenizer, others)


def _fixed(config: RunConfig) -> RunConfig:
    """Return a configuration reset to its defaults, except for what shapes the matrices, their moments and the streams.

    The table of n-grams begins empty, and can be made again.
    """
    model = dataclasses.replace(
        config.model, dropout=0.0, recurrent_dropout=0.0, ngrams=0, ngram_rows=2**15, ngram_dropout=0.0
    )
    defaults = TrainConfig()
    changeable = {
        name: getattr(defaults, name)
        for name in (field.name for field in dataclasses.fields(TrainConfig))
        if name not in _OF_THE_STREAMS
    }
    return dataclasses.replace(config, model=model, train=dataclasses.replace(config.train, **changeable))


_OF_THE_STREAMS = ("batch_size", "accumulate", "weight_decay", "seed")


def step_seed(seed: int, step: int) -> int:
    """Return the seed of a step's dropout."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
