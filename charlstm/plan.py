"""Measures this machine, and turns a budget of time into a number of steps, and into the network that fits it."""

import itertools
import math
import time
from collections.abc import Collection
from dataclasses import dataclass

from charlstm import evaluate, recipe
from charlstm.config import DeviceConfig, RunConfig, TrainConfig
from charlstm.corpus import Corpus
from charlstm.device import Device, choose, has_bf16
from charlstm.distributed import ALONE, Group
from charlstm.recipe import Choice
from charlstm.train import Plan, Training, learning_rate

_WARM_UP_STEPS = 3
_PROBE_SECONDS = 0.5
_EVALUATION_SHARE = 0.1  # of the time, that evaluations may take
_LATEST = 2.0  # seconds after its time at which a run gives up its last evaluation
_RESERVE = 0.05  # of the time, for saving, and for a machine that is a little slower later


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to begin."""

    training: Training
    plan: Plan
    choices: list[Choice]
    """What the recipe chose, and what the user had set."""
    notes: list[str]
    """What did not go as it was asked for."""


def prepare(
    config: RunConfig,
    given: Collection[str],
    corpus: Corpus,
    device_config: DeviceConfig,
    began: float,
    group: Group = ALONE,
) -> Prepared:
    """Measure the machine, choose what the user did not, and lay out the run.

    Args:
        config: the settings as given or by default.
        given: the names of those that the user set: they stay as they are.
        corpus: the text.
        device_config: the processor asked for.
        began: `time.monotonic()` at which the run's time began to run.
        group: the processes of the job; what the first one measures holds for all.

    Raises:
        UsageError: where this machine has no such processor.
        DataError: where the text is too short.
    """
    vocab_size, length = corpus.tokenizer.vocab_size, len(corpus.train.ids)
    config, paces = recipe.pace(config, given, length)
    device, seconds, notes = choose_device(device_config, config, corpus, group)
    each = config.train.batch_size * config.train.seq_length
    # A step's time is nearly proportional to the number of parameters: good enough to choose a size by.
    rate = each * recipe.parameters(config.model, vocab_size) / seconds

    def readable(parameters: int) -> float:
        train = config.train
        if train.time is not None:
            return min(rate * train.time * (1 - _RESERVE - _EVALUATION_SHARE) / parameters, recipe.MAX_EPOCHS * length)
        return train.steps * each if train.steps is not None else (train.epochs or 0) * length

    config, sizes = recipe.size(config, given, vocab_size, readable)
    read = readable(recipe.parameters(config.model, vocab_size))
    config, windows = recipe.window(config, given, length, read / length)
    # Measured on what takes longest, as dropout depends on what is measured here.
    slowest, _ = recipe.dropout(config, given, vocab_size, recipe.MAX_EPOCHS)
    training = Training(slowest, corpus, device, group)
    plan = make(training, corpus, config.train, began)
    config, dropouts = recipe.dropout(config, given, vocab_size, plan.steps / training.batches.windows)
    return Prepared(Training(config, corpus, device, group), plan, [*sizes, *dropouts, *paces, *windows], notes)


def choose_device(
    config: DeviceConfig, run: RunConfig, corpus: Corpus, group: Group = ALONE
) -> tuple[Device, float, list[str]]:
    """Return the processor, the precision in which it is measured to train faster, the seconds of a step, and notes.

    Where bf16 fails, though the processor says that it has it, fp32 is taken instead, and a note tells it.

    Raises:
        UsageError: where this machine has no such processor.
    """
    name = choose(config)
    measured = ["bf16", "fp32"] if has_bf16(name) else ["fp32"]
    precisions = measured if config.precision == "auto" else [config.precision]
    if precisions == ["fp32"] and run.train.time is None:  # nothing depends on the speed
        return Device(name, "fp32"), math.nan, []
    timed: list[tuple[float, Device]] = []
    notes = []
    while precisions:
        device = Device(name, precisions.pop(0))
        try:
            timed.append((step_seconds(Training(run, corpus, device, group), _PROBE_SECONDS), device))
        except RuntimeError as error:
            if device.precision == "fp32":
                raise
            notes.append(f"bf16 fails on this machine ({str(error).splitlines()[0]:.120}): computing in fp32")
            precisions = ["fp32"]
    seconds, device = group.agree(min(timed, key=lambda pair: pair[0]))
    return device, seconds, notes


def make(
    training: Training,
    corpus: Corpus,
    config: TrainConfig,
    began: float,
) -> Plan:
    """Return the run's length; where it is given as a time, measure first how many steps it holds.

    Args:
        training: where the run stands; it is left as it is.
        corpus: the text.
        config: with time, steps or epochs.
        began: `time.monotonic()` at which the time began to run.
    """
    if config.time is None:
        steps = config.steps or math.ceil((config.epochs or 0) * training.batches.windows)
        return Plan(steps, math.ceil(steps / config.evaluations))
    group = training.group
    deadline = began + config.time
    scratch = Training(training.config, corpus, training.device, group)
    each = step_seconds(scratch, min(5.0, config.time / 40))
    evaluation = evaluation_seconds(training, corpus, _PROBE_SECONDS)
    left = deadline - time.monotonic() - _RESERVE * config.time
    evaluations = max(1, min(config.evaluations, int(_EVALUATION_SHARE * left / evaluation)))
    steps = max(1, int((left - evaluations * evaluation) / each))
    steps = training.step + min(steps, math.ceil(recipe.MAX_EPOCHS * training.batches.windows))
    return group.agree(Plan(steps, math.ceil(steps / evaluations), deadline - evaluation, deadline + _LATEST))


def step_seconds(training: Training, seconds: float) -> float:
    """Return the time of one update, measured for about `seconds`; the training given is used up."""
    taken = []
    end = math.inf
    for number in itertools.count():
        start = time.perf_counter()
        training.update(learning_rate(training.config.train, 0, 1_000_000))
        training.device.synchronize()
        now = time.perf_counter()
        if number == _WARM_UP_STEPS:
            end = now + seconds
        if number >= _WARM_UP_STEPS:
            taken.append(now - start)
        if any(training.group.any([now >= end])):
            break
    return sum(taken) / len(taken)


def evaluation_seconds(training: Training, corpus: Corpus, seconds: float) -> float:
    """Return the time it takes to score the held-out text, measured on its beginning for about `seconds`."""
    began = time.perf_counter()
    first = first_characters = 0.0
    for score in evaluate.progress(training.model, corpus.val, corpus.tokenizer, training.device, training.group):
        taken = time.perf_counter() - began
        if not first:  # the first window comes late, as the streams are warmed up before it
            first, first_characters = taken, score.characters
        elif taken > seconds:
            each = (taken - first) / max(1, score.characters - first_characters)
            return first + each * (corpus.val.characters - first_characters)
    return time.perf_counter() - began
