"""Measures this machine, and turns a time budget into a number of steps and a network that fits it."""

import functools
import itertools
import math
import time
from collections.abc import Collection
from dataclasses import dataclass

from charlstm.config import DeviceConfig, RunConfig, TrainConfig
from charlstm.measure import read
from charlstm.network import ngrams, weights
from charlstm.network.device import (
    Device,
    bf16_pays,
    choose,
    has_bf16,
    most_threads,
    precision,
    threads,
    use_fastest_threads,
)
from charlstm.network.distributed import ALONE, Group
from charlstm.text.corpus import Corpus
from charlstm.training import recipe
from charlstm.training.clock import EVALUATION_SHARE, Deadline
from charlstm.training.loop import Clock
from charlstm.training.plan import Decision, Plan, fall
from charlstm.training.recipe import Choice
from charlstm.training.state import Training

_WARM_UP_STEPS = 2
_PROBE_SECONDS = 0.5
_RESERVE = 0.03  # share of the time reserved for saving and sampling
_SUSTAINED = 0.9  # of the speed measured at the start: laptops get hot
_LEAST_TRIAL = 10.0  # seconds; before a run at least this long, several thread counts are tried
_LEAST_PART = 1 << 14  # held-out ids that every measurement reads at least
_WHOLE_SHARE = 0.05  # share of the time that a last measurement of all of the held-out text may take
_MOST_COUNTED = 1 << 22  # ids, the last of the training text, whose n-grams are counted
_FEW_STEPS, _FEW_EPOCHS = 100, 0.1  # below which a run hardly learns


@dataclass(frozen=True)
class Timed:
    """The length of a run, and the clock that may change it."""

    plan: Plan
    clock: Clock
    most_steps: int | None = None
    """After how many steps a run with a time limit ends in any case: more would only make it memorise the text."""


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to be planned."""

    training: Training
    corpus: Corpus
    epochs: float
    """Passes over the training text that it can read, about."""
    most_epochs: float
    """Passes after which it ends before its time."""
    choices: list[Choice]
    """What the recipe chose, and what the user set."""
    notes: list[str]
    """What could not be done as requested."""


def prepare(
    config: RunConfig,
    given: Collection[str],
    corpus: Corpus,
    device_config: DeviceConfig,
    group: Group = ALONE,
    known: float | None = None,
) -> Prepared:
    """Measure the machine, and choose the settings that the user left open.

    Args:
        config: the settings, given or default.
        given: the names of the settings that the user set; these are not changed.
        corpus: the text.
        device_config: the requested processor.
        group: the processes of the job; the first one's measurements apply to all.
        known: what a trained model that the run begins with knows of the text (`recipe.most_epochs`), whose shape is
            among `given`. None: the run begins from nothing.

    Raises:
        UsageError: if this machine has no such processor.
        DataError: if the text is too short.
    """
    vocab_size, length = corpus.tokenizer.vocab_size, len(corpus.train.ids)
    most_epochs = recipe.most_epochs(known)
    config, softmaxes = recipe.softmax(config, given, vocab_size)
    config, paces = recipe.pace(config, given, length, known)
    training, seconds, notes = choose_device(device_config, config, corpus, group)
    each = config.train.batch_size * config.train.seq_length
    vocab_size = training.softmax_size  # what follows depends on the weights that a step computes with
    # The time per step is nearly proportional to their number: accurate enough for choosing a size.
    rate = each * weights.count(config.model, vocab_size) / seconds

    def readable(parameters: int) -> float:
        train = config.train
        if train.time is not None:
            trained = _SUSTAINED * train.time * (1 - _RESERVE - EVALUATION_SHARE)  # seconds at the measured speed
            return min(rate * trained / parameters, most_epochs * length)
        return train.steps * each if train.steps is not None else (train.epochs or 0) * length

    config, sizes = recipe.size(config, given, vocab_size, length, readable)
    epochs = readable(weights.count(config.model, vocab_size)) / length
    config, windows = recipe.window(config, given, length, epochs)
    codes = corpus.tokenizer.codes[corpus.train.ids[-_MOST_COUNTED:]]
    config, tables = recipe.ngrams(config, given, length, epochs, lambda order: ngrams.distinct(codes, order), known)
    config, dropouts = recipe.dropout(config, given, vocab_size, epochs, known)
    choices = [*sizes, *tables, *dropouts, *softmaxes, *paces, *windows]
    return Prepared(training.adapted(config, corpus), corpus, epochs, most_epochs, choices, notes)


def choose_device(
    config: DeviceConfig, run: RunConfig, corpus: Corpus, group: Group = ALONE
) -> tuple[Training, float, list[str]]:
    """Return a training on the processor, in the precision measured to be faster; the seconds per step; and notes.

    If the run has a time limit, the number of threads is set to what is fastest at the moment. If bf16 fails although
    the processor claims to support it, fp32 is used instead, and a note says so.

    Raises:
        UsageError: if this machine has no such processor.
    """
    name = choose(config)
    notes = []
    precisions = ["bf16", "fp32"] if has_bf16(name) and group.agree(bf16_pays(name)) else ["fp32"]
    if config.precision != "auto":
        asked, note = precision(config.precision, name)
        precisions, notes = [asked], [note] if note else []
    limit = run.train.time
    training = Training(run, corpus, Device(name, precisions[0]), group)
    if precisions == ["fp32"] and limit is None:  # nothing depends on the speed
        return training, math.nan, notes
    probe = min(_PROBE_SECONDS, (limit or math.inf) / 60)
    timed: list[tuple[float, Device]] = []
    tried = limit is None or limit < _LEAST_TRIAL or group.size > 1
    while precisions:
        training.device = device = Device(name, precisions.pop(0))
        try:
            if not tried:
                use_fastest_threads(training.rehearse, most_threads(config, name), 2 * probe)
                tried = True
            timed.append((step_seconds(training, probe), device))
        except RuntimeError as error:
            if device.precision == "fp32":
                raise
            notes.append(f"bf16 fails on this machine ({str(error).splitlines()[0]:.120}): computing in fp32")
            precisions = ["fp32"]
    seconds, training.device = group.agree(min(timed, key=lambda pair: pair[0]))
    return training, seconds, notes


def make(
    training: Training,
    corpus: Corpus,
    config: TrainConfig,
    device_config: DeviceConfig,
    began: float,
    before: Plan | None = None,
    most_epochs: float = recipe.MAX_EPOCHS,
) -> Timed:
    """Return the run's length; if it is given as a time, first measure how many steps fit into it.

    Args:
        training: where the run stands; it is not changed.
        corpus: the text.
        config: sets time, steps or epochs.
        device_config: the requested processor and threads.
        began: `time.monotonic()` at the moment from which the time counts.
        before: the plan so far, if the run is given a new length.
        most_epochs: passes over the text after which the run ends before its time.
    """
    group, step = training.group, training.step
    most = most_threads(device_config, training.device.name) if group.size == 1 else None
    used = None if most is None or config.time is None else threads()

    def planned(steps: int, evaluations: int, part: int | None = None, *, whole: bool = False) -> Plan:
        every = math.ceil(steps / evaluations)
        decision = Decision(step, steps, every, used, anew=True, fall=fall(config, steps))
        return Plan((decision,), part, whole) if before is None else before.then(decision)

    if config.time is None:
        steps = config.steps or math.ceil((config.epochs or 0) * training.batches.windows)
        return Timed(planned(steps, config.evaluations), Clock())
    each = step_seconds(training, min(2.0, config.time / 100))
    speed = evaluation_speed(training, corpus, min(_PROBE_SECONDS, config.time / 60))

    length = len(corpus.val.ids)
    share = EVALUATION_SHARE * config.time
    all_of_it = length * read.overhead(part=False) / speed
    each_id = read.overhead(part=True) / speed
    part: int | None = before.part if before else max(_LEAST_PART, int(share / config.evaluations / each_id))
    if part is not None and part >= length:
        part = None
    measured = all_of_it if part is None else part * each_id
    whole = before.whole if before else part is not None and all_of_it <= _WHOLE_SHARE * config.time
    ending = all_of_it / measured if part is not None and whole else 0.0
    evaluations = max(1, min(config.evaluations, int(share / measured)))
    left = began + config.time * (1 - _RESERVE) - time.monotonic() - (evaluations + ending) * measured
    most_steps = step + math.ceil(most_epochs * training.batches.windows)
    plan = group.agree(planned(min(step + max(1, int(left / each)), most_steps), evaluations, part, whole=whole))
    clock = Deadline(
        config.time,
        began,
        most_steps=most_steps,
        evaluations=config.evaluations,
        evaluation_seconds=measured,
        ending=ending,
        most_threads=most,
        fall=functools.partial(fall, config),
    )
    return Timed(plan, clock, most_steps)


def too_short(plan: Plan, training: Training) -> str | None:
    """Return a note if too few steps fit into the run's time to learn much, with what would help."""
    limit, steps = training.config.train.time, plan.steps - training.step
    epochs = steps / training.batches.windows
    if limit is None or (plan.steps >= _FEW_STEPS and epochs >= _FEW_EPOCHS) or training.step >= _FEW_STEPS:
        return None
    count = f"{steps:,} steps" if steps > 1 else "1 step"
    return (
        f"--time {limit:g}s allows about {count} here, {epochs:.2f} of a pass over the text: too few to learn much; "
        "give more --time, a smaller --hidden-size, or less text"
    )


def step_seconds(training: Training, seconds: float) -> float:
    """Return the seconds per step, measured for about `seconds`; the training is not changed."""
    taken = []
    end = math.inf
    for number in itertools.count():
        start = time.perf_counter()
        training.rehearse()
        now = time.perf_counter()
        if number == _WARM_UP_STEPS:
            end = start + seconds
        if number >= _WARM_UP_STEPS:
            taken.append(now - start)
        if any(training.group.any([now >= end])):
            break
    return sum(taken) / len(taken)


def evaluation_speed(training: Training, corpus: Corpus, seconds: float) -> float:
    """Return how many held-out ids are scored per second, measured for about `seconds` at the text's beginning."""
    began = first = now = time.perf_counter()
    ids = after_first = 0
    reader = read.Reader(training.model, corpus.tokenizer, training.device, training.group)
    for _, batch in read.windows(reader, corpus.val):
        now = time.perf_counter()
        if ids:
            after_first += batch.inputs.size
        else:  # the first window comes late, because the streams are warmed up before it
            first = now
        ids += batch.inputs.size
        if now - began > (seconds if after_first else 4 * seconds):
            break
    speed = after_first / (now - first) if after_first else 2 * ids / max(now - began, 1e-9)
    return training.group.size * max(speed, 1.0)
