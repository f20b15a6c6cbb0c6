"""The stateful truncated-BPTT loop: it yields records, and saves what it has learnt."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from charlstm import evaluate, runs, sample
from charlstm.batches import IGNORE, Batch, Batches
from charlstm.checkpoint import MOMENTS, Checkpoint
from charlstm.checkpoint import load as load_checkpoint
from charlstm.checkpoint import save as save_checkpoint
from charlstm.config import RunConfig, SampleConfig
from charlstm.corpus import Corpus
from charlstm.device import Device, machine, use_threads
from charlstm.distributed import ALONE, Group
from charlstm.errors import DataError, DivergedError, InputOutputError, UsageError
from charlstm.model import CharLSTM, State, joined
from charlstm.schedule import Decision, Plan, learning_rate
from charlstm.stepper import Stepper

REFRESH_SECONDS = 0.1
"""Time between two `Progress` records; no number is fetched from the device more often."""
_FORGETTING = 0.01  # chance of a stream to begin a step from a zero state
_SAMPLE = SampleConfig(length=160, seed=1)


class Clock:
    """What may change a plan while the run goes on; this one lets it be."""

    def decide(self, training: "Training", plan: Plan, seconds: float) -> Decision | None:
        """Return what holds from this step on, if that is something new.

        Args:
            training: where the run stands.
            plan: what was decided so far.
            seconds: that the last step took.
        """
        return None

    def measured(self, seconds: float) -> None:
        """Take note of what a measurement of the held-out text took."""

    def over(self) -> bool:
        """Return whether even a measurement that has begun is to be given up."""
        return False


@dataclass(frozen=True)
class Progress:
    """Where the run stands, several times a second."""

    step: int
    loss: float
    """Training loss since the last such record, in nats a character."""
    characters: int
    """Characters trained on since the last such record."""
    seconds: float
    """Time since the last such record."""


@dataclass(frozen=True)
class Evaluation:
    """A measurement of the held-out text: a row of `metrics.jsonl`."""

    step: int
    epoch: float
    train_loss: float
    val_loss: float
    learning_rate: float
    characters: int
    seconds: float
    val_characters: int
    """Characters of the held-out text that were scored."""
    sample: str
    """What the model writes now."""
    improved: bool

    def row(self) -> dict[str, Any]:
        """Return the row of `metrics.jsonl`."""
        values = dataclasses.asdict(self)
        del values["sample"], values["improved"]
        if math.isnan(self.train_loss):
            values["train_loss"] = None
        return {"schema": 1} | values


@dataclass(frozen=True)
class Halved:
    """A step was undone, as its loss or gradient was not finite: the learning rate is half of what it was."""

    step: int


@dataclass(frozen=True)
class Unsaved:
    """The state could not be saved; the run goes on, and it is tried again."""

    step: int
    reason: str


@dataclass(frozen=True)
class Finished:
    """Why the run ended."""

    reason: str
    """`done`, `patience`, `deadline` or `stopped`."""
    step: int
    best_loss: float | None
    best_step: int | None
    scored: int | None = None
    """Characters of the held-out text that `best_loss` is of."""


Record = Progress | Evaluation | Halved | Unsaved | Decision | Finished


class Training:
    """Everything that changes while a run goes on: what is saved, and what a resume restores."""

    def __init__(self, config: RunConfig, corpus: Corpus, device: Device, group: Group = ALONE) -> None:
        """Initialise the model from the seed; the first step is number 0.

        Args:
            config: all settings.
            corpus: the text.
            device: what computes.
            group: the processes that the streams are dealt to: each computes the gradient of its own, and all have
                the same sum, so that a run is the same to rounding on any number of them.

        Raises:
            DataError: where the text is shorter than a window, or has fewer characters than there are streams.
            UsageError: where there are fewer streams than processes, or than parts.
        """
        train = config.train
        self.group = group
        self._rows = group.rows(train.batch_size)
        if train.batch_size < group.size * train.accumulate:
            raise UsageError(
                f"--batch-size {train.batch_size}: fewer streams than {group.size} processes with --accumulate "
                f"{train.accumulate}; give at least {group.size * train.accumulate}"
            )
        own = self._rows.stop - self._rows.start
        bounds = self._rows.start + np.arange(train.accumulate + 1) * own // train.accumulate
        self._parts = [slice(int(begin), int(end)) for begin, end in pairwise(bounds)]
        length = len(corpus.train.ids)
        if length < max(train.seq_length, train.batch_size):
            raise DataError(
                f"{' '.join(corpus.source.paths)}: the training text has {length:,} ids, shorter than one window; "
                f"give a longer text, or --seq-length and --batch-size below {length + 1:,}"
            )
        torch.manual_seed(train.seed)
        self.config = config
        self.device = device
        tokenizer = corpus.tokenizer
        self.batches = Batches(
            corpus.train, tokenizer, train.batch_size, train.seq_length, jitter=True, shuffle=train.seed
        )
        self.model = CharLSTM(config.model, tokenizer.vocab_size, tokenizer.unknown_id, tokenizer.end_id)
        self.model.to(device.name)
        weights = list(self.model.parameters())
        groups: list[dict[str, Any]] = [
            {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": train.weight_decay},
            {"params": [weight for weight in weights if weight.ndim == 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.state = self.model.zero_state(own)
        self.step = 0
        self.characters = 0
        self.seconds = 0.0
        self.nats_since_row = 0.0
        self.characters_since_row = 0
        self.row_step = 0
        self.best_loss: float | None = None
        self.best_step: int | None = None
        self.misses = 0
        self.halved = False
        self.scored: int | None = None
        """Characters of the held-out text that `best_loss` is of."""
        self._pending: list[tuple[torch.Tensor, int]] = []

    @property
    def epoch(self) -> float:
        """Passes over the training text."""
        return self.step / self.batches.windows

    def update(self, rate: float) -> None:
        """Train on the next window of every stream, with this learning rate.

        Where the loss or the gradient is not finite, nothing is learnt from this window, and the rate is halved from
        here on.

        Raises:
            DivergedError: where that happens a second time.
        """
        batch = self.batches.at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate / 2 if self.halved else rate
        loss, states = self._gradient(batch)
        if self.group.size > 1:
            gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
            self.group.add([*gradients, loss])
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.clip_norm, foreach=True)
        self.step += 1
        if not math.isfinite(loss + norm):
            if self.halved:
                raise DivergedError(f"the loss is not a finite number at step {self.step:,}, for the second time")
            self.halved = True
            return
        self.optimizer.step()
        self.model.pin()
        self.state = states[0] if len(states) == 1 else joined(states)
        self._pending.append((loss, batch.characters))
        self.characters += batch.characters

    def rehearse(self) -> None:
        """Compute the next step's gradient and forget it: what a step costs, and nothing changes."""
        self._gradient(self.batches.at(self.step))
        self.optimizer.zero_grad()
        self.device.synchronize()

    def _gradient(self, batch: Batch) -> tuple[torch.Tensor, list[State]]:
        """Compute this process's share in the gradient; return its share in the loss, and the states after the step."""
        zeroed = batch.begins | self._forgetting()
        self.optimizer.zero_grad()
        losses, states = [], []
        for rows in self._parts:
            # A generator seeded by the step makes every step a function of (seed, step): nothing to save or restore.
            self.device.seed(step_seed(self.config.train.seed, self.step))
            self.model.deal(rows, self.config.train.batch_size)
            loss, state = self._loss(batch.of(rows), zeroed[rows], self._state_of(rows))
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            states.append(state)
        return torch.stack(losses).sum() if len(losses) > 1 else losses[0], states

    def _state_of(self, rows: slice) -> State:
        """Return the state of some of this process's streams."""
        if len(self._parts) == 1:
            return self.state
        begin, end = rows.start - self._rows.start, rows.stop - self._rows.start
        return [tuple(part[:, begin:end] for part in layer) for layer in self.state]

    def _loss(self, batch: Batch, zeroed: npt.NDArray[np.bool_], state: State) -> tuple[torch.Tensor, State]:
        """Return these streams' share in the mean loss of a window in nats, and the state after it."""
        name = self.device.name
        if zeroed.any():
            begins = torch.from_numpy(zeroed).to(name)[:, None]
            state = [tuple(part.masked_fill(begins, 0) for part in layer) for layer in state]
        inputs = torch.from_numpy(batch.inputs).to(name, non_blocking=True)
        targets = torch.from_numpy(batch.targets).to(name, non_blocking=True)
        with self.device.autocast():
            logits, state = self.model(inputs, state)
        nats = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum")
        return nats / batch.characters, [tuple(part.detach() for part in layer) for layer in state]

    def _forgetting(self) -> npt.NDArray[np.bool_]:
        """Return which streams begin this step from a zero state, (N,): each one now and then, at random.

        A state that is carried on for ever can come to rest where no text read from its beginning ever leads: trained
        there, a network fits the training text and fails on any other (benchmarks/README.md shows such a run).
        """
        source = np.random.default_rng((self.config.train.seed, self.step))
        return source.random(self.config.train.batch_size) < _FORGETTING

    def settle(self) -> tuple[float, int]:
        """Fetch the losses since the last call; return their mean and the characters they are of."""
        pending, self._pending = self._pending, []
        if not pending:
            return math.nan, 0
        losses = torch.stack([loss for loss, _ in pending]).tolist()
        nats = 0.0
        for loss, (_, characters) in zip(losses, pending, strict=True):
            nats += loss * characters
            self.nats_since_row += loss * characters  # one by one: a sum that no call of this function rounds anew
        characters = sum(count for _, count in pending)
        self.characters_since_row += characters
        return nats / characters, characters

    def weights(self) -> dict[str, np.ndarray]:
        """Return the model's tensors by name."""
        return {name: _array(tensor) for name, tensor in self.model.state_dict().items()}

    def tensors(self) -> dict[str, np.ndarray]:
        """Return all tensors a run needs to go on; of the state all processes' streams."""
        streams = self.config.train.batch_size
        tensors = self.weights()
        for name, weight in self.model.named_parameters():
            moments = self.optimizer.state.get(weight, {})  # none before the first step
            for moment in MOMENTS:
                tensors[f"optimizer.{moment}.{name}"] = _array(moments.get(moment, torch.zeros_like(weight)))
        for number, layer in enumerate(self.state):
            for name, part in zip("hc", layer, strict=False):
                tensors[f"state.{number}.{name}"] = _array(self.group.gather(part, streams))
        return tensors

    def scalars(self) -> dict[str, Any]:
        """Return the rest of what a run needs to go on."""
        return {name: getattr(self, name) for name in _SCALARS}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take up the state that a checkpoint holds.

        Raises:
            DataError: where it holds weights alone.
        """
        if checkpoint.training is None:
            raise DataError("this checkpoint holds weights alone: a run goes on from last.safetensors")
        tensors = {name: torch.from_numpy(array.copy()) for name, array in checkpoint.tensors.items()}
        self.model.load_state_dict({name: tensors[name] for name in checkpoint.weights})
        updates = float(checkpoint.step - checkpoint.training["halved"])  # an undone step was none
        for name, weight in self.model.named_parameters():
            self.optimizer.state[weight] = {
                "step": torch.tensor(updates, device=weight.device),
                **{m: tensors[f"optimizer.{m}.{name}"].to(weight.device) for m in MOMENTS},
            }
        # fp32 holds a bf16 state exactly, and the kernels take either.
        self.state = [
            tuple(
                tensors[f"state.{number}.{name}"][:, self._rows].to(self.device.name)
                for name, _ in zip("hc", layer, strict=False)
            )
            for number, layer in enumerate(self.state)
        ]
        for name in _SCALARS:
            if name in checkpoint.training:  # a state saved by an older version has fewer
                setattr(self, name, checkpoint.training[name])


_SCALARS = (
    "step",
    "characters",
    "seconds",
    "nats_since_row",
    "characters_since_row",
    "row_step",
    "best_loss",
    "best_step",
    "misses",
    "halved",
    "scored",
)


def step_seed(seed: int, step: int) -> int:
    """Return the seed of a step's dropout."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def train(
    training: Training,
    corpus: Corpus,
    run: runs.Run,
    plan: Plan,
    stop: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
) -> Iterator[Record]:
    """Train until the plan's end, patience's end or `stop()`; yield what happens.

    Every measurement writes a generation: a row of metrics and the checkpoints; between them one is written every
    `save_every` seconds. When the iterator ends by `stop()`, the state of that very step is saved.

    Args:
        training: where the run stands.
        corpus: the text.
        run: where it is kept.
        plan: its length.
        stop: asked after every step, and while the held-out text is scored.
        clock: decides about the plan on the way.

    Raises:
        DivergedError: if the loss is not finite for a second time; the checkpoints before it are kept.
        InputOutputError: if the run's last state cannot be written.
    """
    yield from _Loop(training, corpus, run, plan, stop, clock or Clock()).run()


class _Loop:
    """One run from where it stands to its end."""

    def __init__(
        self,
        training: Training,
        corpus: Corpus,
        run: runs.Run,
        plan: Plan,
        stop: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._training, self._corpus, self._run = training, corpus, run
        self._stop, self._clock = stop, clock
        self._keeper = Keeper(training, corpus, run, plan)
        self._refreshed = time.monotonic()
        self._threads: int | None = None

    def run(self) -> Iterator[Record]:
        """Yield what happens; the last record says why the run has ended."""
        training, keeper = self._training, self._keeper
        patience = training.config.train.patience
        if training.step == 0:
            keeper.save()
        while True:
            holds = keeper.plan.at(training.step)
            self._use_threads(holds)
            since = training.step - training.row_step
            ends = training.step >= holds.steps
            if since and (ends or since >= holds.evaluate_every):
                evaluation = self._evaluate()
                if isinstance(evaluation, str):
                    reason = evaluation
                    break
                tired = patience is not None and training.misses >= patience
                keeper.save(last=ends or tired)
                yield evaluation
                if tired:
                    yield self._finished("patience")
                    return
            if ends:
                yield self._finished("done")
                return
            decision, stopped = yield from self._step(holds)
            if decision is not None:
                keeper.plan = keeper.plan.then(decision)
                yield decision
            if stopped:
                reason = "stopped"
                break
            yield from keeper.failures()
        keeper.save(last=True)
        yield self._finished(reason)

    def _use_threads(self, holds: Decision) -> None:
        if holds.threads is not None and holds.threads != self._threads:
            use_threads(holds.threads)
            self._threads = holds.threads

    def _step(self, holds: Decision) -> Generator[Record, None, tuple[Decision | None, bool]]:
        """Make one update; return what the clock decides, and whether to stop."""
        training, group = self._training, self._training.group
        before, began = training.halved, time.monotonic()
        training.update(learning_rate(training.config.train, training.step, self._keeper.plan))
        if training.halved and not before:
            yield Halved(training.step)
        now = time.monotonic()
        if now - self._refreshed > REFRESH_SECONDS or training.step >= holds.steps:
            loss, characters = training.settle()
            now = time.monotonic()  # a GPU was waited for
            if characters:
                yield Progress(training.step, loss, characters, now - self._refreshed)
            self._refreshed = now
        # The clock is the first process's; a wish to stop may come to any.
        decision = self._clock.decide(training, self._keeper.plan, now - began) if group.first else None
        stopped, _, due, decided = self._asked(decision is not None)
        if decided:
            decision = group.agree(decision)
        if due and not stopped:
            self._keeper.save()
        return decision, stopped

    def _asked(self, further: bool) -> list[bool]:
        """Return what any of the processes says: to stop, to give up, to save; and something further."""
        group = self._training.group
        over, due = group.first and self._clock.over(), group.first and self._keeper.overdue()
        return group.any((self._stop(), over, due, further))

    def _evaluate(self) -> "Evaluation | str":
        """Measure the held-out text and note the result, or return why not: `stopped` or `deadline`."""
        training, keeper = self._training, self._keeper
        began = time.monotonic()
        score = self._score(training.model, keeper.plan.part)
        if isinstance(score, str):
            return score
        evaluation = _evaluation(training, self._corpus, keeper.plan, score, keeper.seconds())
        keeper.take(evaluation)
        self._clock.measured(time.monotonic() - began)
        return evaluation

    def _score(self, model: CharLSTM, part: int | None) -> evaluate.Score | str:
        """Score held-out text, or return why all processes have stopped before all of it was read."""
        corpus, group = self._corpus, self._training.group
        scores = evaluate.progress(model, corpus.val, corpus.tokenizer, self._training.device, group, part=part)
        score, following = None, next(scores, None)
        while True:
            stopped, over, due, more = self._asked(following is not None)
            if due:  # a measurement may take long
                self._keeper.save()
            if stopped or over:
                return "stopped" if stopped else "deadline"
            if not more:
                break
            score, following = following or score, next(scores, None)
        assert score is not None
        return evaluate.together(score, group)

    def _finished(self, reason: str) -> Finished:
        """Conclude; measure the best weights on all of the held-out text, if only a part of it was scored so far."""
        training, plan = self._training, self._keeper.plan
        loss, scored = training.best_loss, training.scored
        if plan.part is not None and plan.whole and loss is not None and reason != "stopped":
            whole = self._score(_best_model(training, self._run), None)
            if isinstance(whole, evaluate.Score):
                loss, scored = whole.loss, whole.characters
                self._keeper.know(loss)
        return Finished(reason, training.step, loss, training.best_step, scored)


def _best_model(training: Training, run: runs.Run) -> CharLSTM:
    """Return the model with the best weights."""
    if training.best_step == training.step:
        return training.model
    best = load_checkpoint(run.best)
    return CharLSTM.from_weights(best.config.model, best.tokenizer.vocab_size, best.weights).to(training.device.name)


class Keeper:
    """Writes a run's generations, and remembers what could not be written."""

    def __init__(self, training: Training, corpus: Corpus, run: runs.Run, plan: Plan) -> None:
        """Begin with nothing to write; the run's folder is there."""
        self._training, self._corpus, self._run, self.plan = training, corpus, run, plan
        self._began = time.monotonic() - training.seconds
        self._saved = time.monotonic()
        self._best: Checkpoint | None = None  # until it is written, as the rows
        self._rows: list[dict[str, Any]] = []
        self._failures: list[Unsaved] = []

    def seconds(self) -> float:
        """Return how long the run has lasted, without the time in which it was stopped."""
        return time.monotonic() - self._began

    def overdue(self) -> bool:
        """Return whether more would be lost than may be."""
        return time.monotonic() - self._saved > self._training.config.train.save_every

    def take(self, evaluation: Evaluation) -> None:
        """Have a measurement's row, and where they are the best these weights, written with the next generation."""
        self._rows.append(evaluation.row())
        if evaluation.improved:
            self._best = _checkpoint(self._training, self._corpus, self.plan, with_state=False)

    def save(self, *, last: bool = False) -> None:
        """Write a generation; raises InputOutputError where it cannot be written and is the run's last."""
        training = self._training
        training.settle()
        training.seconds = self.seconds()
        checkpoint = _checkpoint(training, self._corpus, self.plan, with_state=True)
        try:
            if training.group.first:
                self._run.save(checkpoint, self._best, self._rows)
            self._best = None
        except InputOutputError as error:
            if last:
                raise
            if self._best is not None:  # the model's own weights change from here on
                copies = {name: part.copy() for name, part in self._best.tensors.items()}
                self._best = dataclasses.replace(self._best, tensors=copies)
            self._failures.append(Unsaved(training.step, str(error)))
        self._saved = time.monotonic()

    def know(self, loss: float) -> None:
        """Note with the best weights, which are written, what they need for all of the held-out text."""
        if self._training.group.first:
            with contextlib.suppress(InputOutputError):  # no run fails for this
                save_checkpoint(self._run.best, dataclasses.replace(load_checkpoint(self._run.best), val_loss=loss))

    def failures(self) -> Iterator[Unsaved]:
        """Yield what could not be written since the last call."""
        yield from self._failures
        self._failures.clear()


def _evaluation(training: Training, corpus: Corpus, plan: Plan, score: evaluate.Score, seconds: float) -> Evaluation:
    """Record a score: is it the best, how long since there was a better one."""
    training.settle()
    improved = training.best_loss is None or score.loss < training.best_loss
    if improved:
        training.best_loss, training.best_step, training.misses = score.loss, training.step, 0
    else:
        training.misses += 1
    training.scored = score.characters
    learnt = training.characters_since_row  # none, if no step since the last row had a finite loss
    train_loss = training.nats_since_row / learnt if learnt else math.nan
    training.nats_since_row, training.characters_since_row = 0.0, 0
    training.row_step = training.step
    return Evaluation(
        training.step,
        training.epoch,
        train_loss,
        score.loss,
        learning_rate(training.config.train, training.step - 1, plan),
        training.characters,
        seconds,
        score.characters,
        _sample(training, corpus),
        improved,
    )


def _sample(training: Training, corpus: Corpus) -> str:
    context = sample.Context(Stepper(training.config.model.cell, training.weights()))
    context.prefill(corpus.tokenizer.opening)
    return "".join(piece.text for piece in sample.write(context, corpus.tokenizer, _SAMPLE, seed=1))


def _checkpoint(training: Training, corpus: Corpus, plan: Plan, *, with_state: bool) -> Checkpoint:
    """Return what is saved: the weights alone, or all that the run needs to go on."""
    state = None
    if with_state:
        state = training.scalars() | {
            "plan": plan.to_dict(),
            "machine": machine(training.device) | {"processes": training.group.size},
        }
    return Checkpoint(
        config=training.config,
        tokenizer=corpus.tokenizer,
        source=corpus.source,
        step=training.step,
        val_loss=training.best_loss if training.best_step == training.step else None,
        tensors=training.tensors() if with_state else training.weights(),
        training=state,
    )
