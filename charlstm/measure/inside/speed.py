"""How fast this machine fetches, multiplies, reads, writes and trains, in one thread, so that all can be compared."""

import contextlib
import importlib.util
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from charlstm.config import SampleConfig
from charlstm.measure.inside import energy
from charlstm.network import blas
from charlstm.network.cells import Array
from charlstm.network.stepper import StepState
from charlstm.sample import draw, weigh
from charlstm.storage.loaded import Loaded

_LEAST = 1 << 18  # bytes; of fewer, the call of a function would take longer than the fetching
_SIDE = 512  # of the matrices that are multiplied
_CHARACTERS = 4  # that are timed together: few, so that some are never interrupted by another program
_FIRST_STEPS = 4  # time steps of the window from which the length of the others is chosen
_MOST = 1 << 26  # logits of a window


@dataclass(frozen=True)
class Pace:
    """What a character takes."""

    seconds: float
    joules: float | None
    """By the processor's counter; None if it cannot be read."""

    def __add__(self, other: "Pace") -> "Pace":
        """Return the pace of one after the other."""
        known = self.joules is not None and other.joules is not None
        return Pace(self.seconds + other.seconds, (self.joules or 0) + (other.joules or 0) if known else None)


def one_thread() -> AbstractContextManager[None]:
    """Have numpy multiply in one thread, unless the user has chosen a number of threads."""
    library = blas.library()
    return contextlib.nullcontext() if library is None else blas.Held(library)


def bandwidth(size: int, seconds: float) -> float:
    """Return the bytes fetched per second when an array of this many bytes is read again and again.

    It is read by a dot product of its halves. An array that fits in a cache is read from there, as the weights are.
    """
    numbers = max(size, _LEAST) // 8
    halves = np.ones((2, numbers), np.float32)
    return halves.nbytes / _least_time(lambda: halves[0] @ halves[1], seconds)


def rate(seconds: float) -> float:
    """Return the multiplications per second in a product of two matrices, which hardly waits for its numbers."""
    one, other = np.ones((2, _SIDE, _SIDE), np.float32)
    return _SIDE**3 / _least_time(lambda: one @ other, seconds)


def _least_time(act: Callable[[], object], seconds: float) -> float:
    """Return the shortest time that a function takes in repeated calls: other programs can only make it longer."""
    act()
    end = time.perf_counter() + seconds
    least = float("inf")
    while True:
        start = time.perf_counter()
        act()
        now = time.perf_counter()
        least = min(least, now - start)
        if now >= end:
            return least


def pace(act: Callable[[], int], seconds: float, counters: Path = energy.ROOT) -> Pace:
    """Repeat a function for about this many seconds.

    Args:
        act: does something to some characters, and returns how many.
        seconds: how long.
        counters: the folder of the processor's energy counters.

    Returns:
        The shortest time per character, since other programs can only make it longer; and the mean energy.
    """
    act()
    taken, characters = [], 0
    before = energy.read(counters)
    end = time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        count = act()
        now = time.perf_counter()
        taken.append((now - start) / count)
        characters += count
        if now >= end:
            break
    joules = energy.spent(before, energy.read(counters))
    return Pace(min(taken), None if joules is None else joules / characters)


def writing(loaded: Loaded) -> Callable[[], int]:
    """Return a function that writes some characters as `charlstm sample` does: scores, a draw, a step."""
    engine, never = loaded.engine, loaded.tokenizer.never
    config, source = SampleConfig(), np.random.default_rng(0)

    outputs, state = _begun(loaded)

    def write() -> int:
        nonlocal outputs, state
        for uniform in source.random((_CHARACTERS, 1)):
            drawn = draw(weigh(engine.logits(outputs)[None], config, never), uniform)
            outputs, state = engine.step(drawn[0], state)
        return _CHARACTERS

    return write


def reading(loaded: Loaded) -> Callable[[], int]:
    """Return a function that reads some characters as a prompt is read: steps, and no scores."""
    engine = loaded.engine
    ids = np.random.default_rng(0).integers(loaded.tokenizer.vocab_size, size=_CHARACTERS).tolist()
    _, state = _begun(loaded)

    def read() -> int:
        nonlocal state
        for id in ids:
            _, state = engine.step(id, state)
        return len(ids)

    return read


def _begun(loaded: Loaded) -> tuple[Array, StepState]:
    """Return the outputs and the state after the first id of a text, whichever it is."""
    return loaded.engine.step(0, loaded.engine.zero_state())


def training(
    loaded: Loaded,
    seconds: float,
    counters: Path = energy.ROOT,
    report: Callable[[float], None] = lambda _: None,
) -> Pace | None:
    """Return the pace of training: gradients of windows in fp32 on random characters, and updates by AdamW.

    A copy of the network is trained, with the run's streams and, if there is time, its windows; shorter ones take as
    long per character. The table of n-grams gets gradients and no update. The energy is that of both loops.

    Args:
        loaded: the checkpoint.
        seconds: how long; loading torch comes on top.
        counters: the folder of the processor's energy counters.
        report: called with the share that is done.

    Returns:
        None if torch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        return None
    import torch
    import torch.nn.functional as F

    from charlstm.network import device
    from charlstm.network.model import CharLSTM

    train, tokenizer = loaded.config.train, loaded.tokenizer
    streams = max(1, train.batch_size // train.accumulate)
    before = device.threads()
    device.use_threads(1)
    try:
        model = CharLSTM.from_weights(loaded.config.model, tokenizer, loaded.checkpoint.weights).train()
        dense = list(model.matrices().values())
        optimizer = torch.optim.AdamW(dense, lr=1e-9, fused=True)

        def gradient(steps: int) -> int:
            ids = torch.from_numpy(np.random.default_rng(0).integers(tokenizer.vocab_size, size=(steps, streams)))
            model.zero_grad()
            with torch.enable_grad():
                logits, _ = model(ids, model.zero_state(streams))
                F.cross_entropy(logits.flatten(0, 1), ids.flatten()).backward()  # type: ignore[no-untyped-call]
            return ids.numel()

        def update() -> int:
            torch.nn.utils.clip_grad_norm_(dense, train.clip_norm, foreach=True)
            optimizer.step()
            return train.batch_size * train.seq_length

        report(0.5)
        few = min(_FIRST_STEPS, train.seq_length)
        fitting = seconds / 3 / _least_time(lambda: gradient(few), 0.0) * few
        steps = max(1, int(min(train.seq_length, fitting, _MOST / (streams * tokenizer.vocab_size))))
        learning = pace(lambda: gradient(steps), seconds / 3, counters)
        report(0.9)
        return learning + pace(update, seconds / 9, counters)
    finally:
        device.use_threads(before)
