"""The training loop: it yields records, and saves what the run has learnt."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from charlstm import sample
from charlstm.config import SampleConfig
from charlstm.errors import InputOutputError
from charlstm.measure import scoring
from charlstm.measure.read import Reader
from charlstm.measure.score import Score
from charlstm.network.device import machine, use_threads
from charlstm.network.model import CharLSTM
from charlstm.network.stepper import Stepper
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage import runs
from charlstm.storage.checkpoint import Checkpoint
from charlstm.text.corpus import Corpus
from charlstm.training.plan import Decision, Plan, learning_rate
from charlstm.training.records import Evaluation, Finished, Halved, Progress, Record, Unsaved
from charlstm.training.state import Training

REFRESH_SECONDS = 0.1
"""Least time between two `Progress` records; values are not fetched from the device more often."""
_SAMPLE = SampleConfig(length=160, seed=1)


class Clock:
    """May change the plan during a run; this base class never does."""

    def decide(self, training: "Training", plan: Plan, seconds: float) -> Decision | None:
        """Return a new decision that applies from this step on, or None.

        Args:
            training: where the run stands.
            plan: what was decided so far.
            seconds: how long the last step took.
        """
        return None

    def measured(self, seconds: float, scoring: float) -> None:
        """Note how long a measurement of the held-out text took, with the sample and the save that follow it.

        Args:
            seconds: all of that.
            scoring: what the reading of the text took.
        """

    def over(self) -> bool:
        """Return whether even a measurement in progress must be abandoned."""
        return False


def train(
    training: Training,
    corpus: Corpus,
    run: runs.Run,
    plan: Plan,
    stop: Callable[[], bool] = lambda: False,
    clock: Clock | None = None,
) -> Iterator[Record]:
    """Train until the plan ends, patience runs out or `stop()` returns True; yield what happens.

    Every measurement writes a generation: a row of metrics and the checkpoints. Between measurements, a generation is
    written every `save_every` seconds. If `stop()` ends the run, the state of that very step is saved.

    Args:
        training: where the run stands.
        corpus: the text.
        run: where it is kept.
        plan: its length.
        stop: called after every step, and while the held-out text is scored.
        clock: may change the plan during the run.

    Raises:
        DivergedError: if the loss is not finite for the second time; earlier checkpoints are kept.
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
        """Yield what happens; the last record says why the run ended."""
        training, keeper = self._training, self._keeper
        patience = training.config.train.patience
        if training.step == 0:
            keeper.save()
        while True:
            holds = keeper.plan.at(training.step)
            self._use_threads(holds)
            since = training.step - training.at.row_step
            ends = training.step >= holds.steps
            if since and (ends or since >= holds.evaluate_every):
                began = time.monotonic()
                evaluation, scoring = self._evaluate()
                if isinstance(evaluation, str):
                    reason = evaluation
                    break
                tired = patience is not None and training.at.misses >= patience
                keeper.save(last=ends or tired)
                took = time.monotonic() - began
                self._refreshed += took  # `Progress` tells how fast the training is
                self._clock.measured(took, scoring)
                yield evaluation
                if tired:
                    yield self._finished("patience")
                    return
            if ends:
                yield self._finished("done")
                return
            if training.step == holds.begin and training.step > 0:
                keeper.save_level()
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
        before, began = training.at.halved, time.monotonic()
        training.update(learning_rate(training.config.train, training.step, self._keeper.plan))
        if training.at.halved and not before:
            yield Halved(training.step)
        now = time.monotonic()
        if now - self._refreshed > REFRESH_SECONDS or training.step >= holds.steps:
            loss, characters = training.settle()
            now = time.monotonic()  # fetching the loss may have waited for a GPU
            if characters:
                yield Progress(training.step, loss, characters, now - self._refreshed)
            self._refreshed = now
        # Only the first process has a clock; a request to stop may reach any of them.
        decision = self._clock.decide(training, self._keeper.plan, now - began) if group.first else None
        stopped, _, due, decided = self._asked(decision is not None)
        if decided:
            decision = group.agree(decision)
        if due and not stopped:
            self._keeper.save()
        return decision, stopped

    def _asked(self, further: bool) -> list[bool]:
        """Return whether any process wants to stop, to give up or to save, and whether any has `further` set."""
        group = self._training.group
        over, due = group.first and self._clock.over(), group.first and self._keeper.overdue()
        return group.any((self._stop(), over, due, further))

    def _evaluate(self) -> "tuple[Evaluation | str, float]":
        """Measure the held-out text and record the result; return it and how many seconds the reading took.

        Instead of a result, return why the measurement was abandoned: `stopped` or `deadline`.
        """
        training, keeper = self._training, self._keeper
        with training.finished() as model:
            began = time.monotonic()
            score = self._score(model, keeper.plan.part)
            scoring = time.monotonic() - began
        if isinstance(score, str):
            return score, scoring
        evaluation = _evaluation(training, self._corpus, keeper.plan, score, keeper.seconds())
        keeper.take(evaluation)
        return evaluation, scoring

    def _score(self, model: CharLSTM, part: int | None) -> Score | str:
        """Score held-out text, or return why all processes stopped before reading all of it."""
        corpus, group = self._corpus, self._training.group
        reader = Reader(model, corpus.tokenizer, self._training.device, group)
        scores = scoring.progress(reader, corpus.val, part=part)
        score, following = None, next(scores, None)
        while True:
            stopped, over, due, more = self._asked(following is not None)
            if due:  # a measurement may take a long time
                self._keeper.save()
            if stopped or over:
                return "stopped" if stopped else "deadline"
            if not more:
                break
            score, following = following or score, next(scores, None)
        assert score is not None
        return scoring.together(score, group)

    def _finished(self, reason: str) -> Finished:
        """End the run; if only part of the held-out text was scored so far, measure the best weights on all of it."""
        training, plan = self._training, self._keeper.plan
        loss, scored = training.at.best_loss, training.at.scored
        if plan.part is not None and plan.whole and loss is not None and reason != "stopped":
            with _best_model(training, self._run) as model:
                whole = self._score(model, None)
            if isinstance(whole, Score):
                loss, scored = whole.loss, whole.characters
                self._keeper.know(loss)
        return Finished(reason, training.step, loss, training.at.best_step, scored)


@contextlib.contextmanager
def _best_model(training: Training, run: runs.Run) -> Iterator[CharLSTM]:
    """Give out the model with the best weights, as its file has them."""
    if training.at.at_best:
        with training.finished() as model:
            yield model
    else:
        best = checkpoints.load(run.best)
        yield CharLSTM.from_weights(best.config.model, best.tokenizer, best.weights).to(training.device.name)


class Keeper:
    """Writes the generations of a run, and remembers what could not be written."""

    def __init__(self, training: Training, corpus: Corpus, run: runs.Run, plan: Plan) -> None:
        """Begin with nothing to write; the run's folder must exist."""
        self._training, self._corpus, self._run, self.plan = training, corpus, run, plan
        self._began = time.monotonic() - training.at.seconds
        self._saved = time.monotonic()
        self._best: Checkpoint | None = None  # kept until it is written, as are the rows
        self._rows: list[dict[str, Any]] = []
        self._failures: list[Unsaved] = []

    def seconds(self) -> float:
        """Return how many seconds the run has lasted, not counting the time during which it was stopped."""
        return time.monotonic() - self._began

    def overdue(self) -> bool:
        """Return whether the next save is due."""
        return time.monotonic() - self._saved > self._training.config.train.save_every

    def take(self, evaluation: Evaluation) -> None:
        """Queue a measurement's row, and these weights if they are the best, for the next generation."""
        self._rows.append(evaluation.row())
        if evaluation.improved:
            self._best = _checkpoint(self._training, self._corpus, self.plan, with_state=False)

    def save(self, *, last: bool = False) -> None:
        """Write a generation; raises InputOutputError if it is the last one of the run and cannot be written."""
        training, checkpoint = self._training, self._state()
        try:
            if training.group.first:
                self._run.save(checkpoint, self._best, self._rows)
            self._best = None
        except InputOutputError as error:
            if last:
                raise
            if self._best is not None:  # copy them, because training goes on to change the model's weights
                copies = {name: part.copy() for name, part in self._best.tensors.items()}
                self._best = dataclasses.replace(self._best, tensors=copies)
            self._failures.append(Unsaved(training.step, str(error)))
        self._saved = time.monotonic()

    def _state(self) -> Checkpoint:
        """Return all that the run needs to go on from here."""
        training = self._training
        training.settle()
        training.at = dataclasses.replace(training.at, seconds=self.seconds())
        return _checkpoint(training, self._corpus, self.plan, with_state=True)

    def save_level(self) -> None:
        """Keep the state at which the learning rate begins to fall, from which a longer run goes on."""
        training, checkpoint = self._training, self._state()
        try:
            if training.group.first:
                self._run.save_level(checkpoint)
        except InputOutputError as error:
            self._failures.append(Unsaved(training.step, str(error)))

    def know(self, loss: float) -> None:
        """Record the loss on all of the held-out text in the checkpoint of the best weights."""
        if self._training.group.first:
            with contextlib.suppress(InputOutputError):  # not worth failing a run for
                checkpoints.save(self._run.best, dataclasses.replace(checkpoints.load(self._run.best), val_loss=loss))

    def failures(self) -> Iterator[Unsaved]:
        """Yield what could not be written since the last call."""
        yield from self._failures
        self._failures.clear()


def _evaluation(training: Training, corpus: Corpus, plan: Plan, score: Score, seconds: float) -> Evaluation:
    """Record a score in the training state, with whether it is the best so far; return the evaluation."""
    training.settle()
    at = training.at
    improved = at.best_loss is None or score.loss < at.best_loss
    learnt = at.characters_since_row  # 0 if no step since the last row had a finite loss
    training.at = dataclasses.replace(
        at,
        best_loss=score.loss if improved else at.best_loss,
        best_step=at.step if improved else at.best_step,
        abandoned=at.abandoned and not improved,
        misses=0 if improved else at.misses + 1,
        scored=score.characters,
        nats_since_row=0.0,
        characters_since_row=0,
        row_step=at.step,
    )
    return Evaluation(
        at.step,
        training.epoch,
        at.nats_since_row / learnt if learnt else math.nan,
        score.loss,
        learning_rate(training.config.train, at.step - 1, plan),
        at.characters,
        seconds,
        score.characters,
        _sample(training, corpus),
        improved,
    )


def _sample(training: Training, corpus: Corpus) -> str:
    engine = Stepper(training.config.model, corpus.tokenizer, training.weights())
    context = sample.opened(engine, corpus.tokenizer, seed=1, streams=1)
    return "".join(piece.text for piece in sample.write(context, corpus.tokenizer, _SAMPLE, seed=1))


def _checkpoint(training: Training, corpus: Corpus, plan: Plan, *, with_state: bool) -> Checkpoint:
    """Return the checkpoint to save: the weights alone, or everything that the run needs to go on."""
    state = None
    if with_state:
        state = dataclasses.replace(
            training.at,
            plan=plan.to_dict(),
            machine=machine(training.device) | {"processes": training.group.size},
        )
    return Checkpoint(
        config=training.config,
        tokenizer=corpus.tokenizer,
        source=corpus.source,
        origin=training.origin,
        step=training.step,
        val_loss=training.at.best_loss if training.at.at_best else None,
        tensors=training.tensors() if with_state else training.weights(),
        training=state,
        unknown=training.unknown if with_state else {},
    )
