"""Measures this machine, and turns a budget of time into a number of steps."""

import itertools
import math
import time
from collections.abc import Callable

from charlstm import evaluate, recipe
from charlstm.config import DeviceConfig, RunConfig, TrainConfig
from charlstm.corpus import Corpus
from charlstm.device import Device, choose, has_bf16
from charlstm.train import Plan, Training, learning_rate

_WARM_UP_STEPS = 3
_PROBE_SECONDS = 0.5
_EVALUATION_SHARE = 0.1  # of the time, that evaluations may take
_RESERVE = 0.05  # of the time, for saving, and for a machine that is a little slower later


def choose_device(config: DeviceConfig, run: RunConfig, corpus: Corpus) -> Device:
    """Return the processor, and the precision in which it is measured to train faster.

    Raises:
        UsageError: where this machine has no such processor.
    """
    name = choose(config)
    if config.precision != "auto":
        return Device(name, config.precision)
    if not has_bf16(name):
        return Device(name, "fp32")
    candidates = [Device(name, precision) for precision in ("bf16", "fp32")]
    return min(candidates, key=lambda device: step_seconds(Training(run, corpus, device), _PROBE_SECONDS))


def make(
    training: Training,
    corpus: Corpus,
    config: TrainConfig,
    began: float,
    stop: Callable[[], bool] = lambda: False,
) -> Plan:
    """Return the run's length; where it is given as a time, measure first how many steps it holds.

    Args:
        training: where the run stands; it is left as it is.
        corpus: the text.
        config: with time, steps or epochs.
        began: `time.monotonic()` at which the time began to run.
        stop: polled while measuring.
    """
    if config.time is None:
        steps = config.steps or math.ceil((config.epochs or 0) * training.batches.windows)
        return Plan(steps, math.ceil(steps / config.evaluations))
    deadline = began + config.time
    scratch = Training(training.config, corpus, training.device)
    each = step_seconds(scratch, min(5.0, config.time / 40), stop)
    evaluation = evaluation_seconds(training, corpus, _PROBE_SECONDS, stop)
    left = deadline - time.monotonic() - _RESERVE * config.time
    evaluations = max(1, min(config.evaluations, int(_EVALUATION_SHARE * left / evaluation)))
    steps = max(1, int((left - evaluations * evaluation) / each))
    steps = training.step + min(steps, math.ceil(recipe.MAX_EPOCHS * training.batches.windows))
    return Plan(steps, math.ceil(steps / evaluations), deadline - evaluation)


def step_seconds(training: Training, seconds: float, stop: Callable[[], bool] = lambda: False) -> float:
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
        if now >= end or stop():
            break
    return sum(taken) / len(taken) if taken else math.inf


def evaluation_seconds(
    training: Training, corpus: Corpus, seconds: float, stop: Callable[[], bool] = lambda: False
) -> float:
    """Return the time it takes to score the held-out text, measured on its beginning for about `seconds`."""
    began = time.perf_counter()
    for score in evaluate.progress(training.model, corpus.val, corpus.tokenizer, training.device):
        taken = time.perf_counter() - began
        if taken > seconds or stop():
            return taken * corpus.val.characters / max(1, score.characters)
    return time.perf_counter() - began
