"""Delayed recall: how long a recurrence remembers one symbol, and how much of a gradient reaches back to it.

A sequence is a symbol, `lag` distractors, and a cue, after which the symbol must be named (the task of Hochreiter &
Schmidhuber 1997, section 5, in its plainest form). Only the state after the symbol holds the answer.
"""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from charlstm.config import DeviceConfig, ModelConfig, ProbeConfig
from charlstm.network.cells import CELLS
from charlstm.network.device import in_fastest_threads
from charlstm.network.model import CharLSTM
from charlstm.network.ngrams import Symbols

SYMBOLS = 8
_DISTRACTORS = 8
_CUE = SYMBOLS + _DISTRACTORS
_VOCAB_SIZE = _CUE + 1
_STREAMS = 64
_FRESH = 1024  # sequences that a recall is measured on
_CHECKED = 256  # sequences that decide whether the training may end
_CHECK_SHARE = 0.05  # of the time, that checking may take
_ENOUGH = 0.999
_CHRONO_LAG = 30  # from which chrono initialisation is used
_REPORT_SECONDS = 0.2


@dataclass(frozen=True)
class ProbeStep:
    """How far a training is; several times a second."""

    cell: str
    lag: int
    step: int
    loss: float
    """Of the newest batch, in nats; ln 8 is chance."""
    seconds: float


@dataclass(frozen=True)
class Recall:
    """A row of the table."""

    cell: str
    lag: int
    recall: float
    """Share of fresh sequences whose symbol gets the highest probability."""
    chance: float
    steps: int
    seconds: float
    gradient_norm: float
    """Mean norm of the gradient of a sequence's loss by the hidden state after the symbol, before any training."""
    chrono: bool
    """Whether the gates had chrono initialisation."""


def probe(cell: str, lag: int, config: ProbeConfig) -> Iterator[ProbeStep | Recall]:
    """Train a small network of this cell on this lag; yield how far it is, and last its recall.

    It ends when all but one in a thousand are recalled, or when the time is up.
    """
    began = time.monotonic()
    torch.manual_seed(config.seed)
    source = torch.Generator().manual_seed(config.seed)
    model = CharLSTM(
        ModelConfig(cell=cell, hidden_size=config.hidden_size, embedding_size=16, dropout=0), Symbols(_VOCAB_SIZE)
    )
    chrono = lag >= _CHRONO_LAG and CELLS[cell].keep_gate is not None
    if chrono:
        model.chrono(lag)
    # In float64: some gradients become too small for fp32.
    norm = gradient_norm(copy.deepcopy(model).double(), *sequences(lag, _STREAMS, source))
    step, checking, reported = 0, 0.0, began
    losses = _train(model, lag, config.learning_rate, source)
    for step, loss in enumerate(in_fastest_threads(losses, DeviceConfig(), "cpu"), 1):
        now = time.monotonic()
        if now - reported > _REPORT_SECONDS:
            reported = now
            yield ProbeStep(cell, lag, step, loss, now - began)
        if now - began >= config.time:
            break
        if loss < -math.log(_ENOUGH) * 10 and checking < _CHECK_SHARE * (now - began):
            done = recall(model, lag, _CHECKED, source) >= _ENOUGH
            checking += time.monotonic() - now
            if done:
                break
    seconds = time.monotonic() - began
    yield Recall(cell, lag, recall(model, lag, _FRESH, source), 1 / SYMBOLS, step, seconds, norm, chrono)


def _train(model: CharLSTM, lag: int, learning_rate: float, source: torch.Generator) -> Iterator[float]:
    """Update the model on new sequences, once for each item asked for; yield the loss of each batch in nats."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0, fused=True)
    while True:
        ids, symbols = sequences(lag, _STREAMS, source)
        loss = F.cross_entropy(answers(model, ids), symbols)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        yield loss.item()


def sequences(lag: int, number: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return random sequences, (lag + 2, number), and their symbols, (number,)."""
    symbols = torch.randint(SYMBOLS, (number,), generator=source)
    distractors = torch.randint(SYMBOLS, _CUE, (lag, number), generator=source)
    return torch.cat((symbols[None], distractors, torch.full((1, number), _CUE))), symbols


def answers(model: CharLSTM, ids: Tensor) -> Tensor:
    """Return the scores after the cue, (N, V)."""
    logits: Tensor = model(ids, model.zero_state(ids.shape[1]))[0]
    return logits[-1]


def gradient_norm(model: CharLSTM, ids: Tensor, symbols: Tensor) -> float:
    """Return the mean norm of the gradient of each sequence's loss with respect to h after the symbol."""
    _, state = model(ids[:1], model.zero_state(ids.shape[1]))
    h, *rest = (part.detach() for part in state[0])
    h.requires_grad_()
    logits, _ = model(ids[1:], [(h, *rest)])
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits[-1], symbols, reduction="sum"), h)
    return float(gradient[0].norm(dim=-1).mean())


@torch.no_grad()
def recall(model: CharLSTM, lag: int, number: int, source: torch.Generator) -> float:
    """Return the share of fresh sequences whose symbol gets the highest score."""
    right = 0
    for _ in range(0, number, 256):
        ids, symbols = sequences(lag, min(256, number), source)
        right += int((answers(model, ids).argmax(-1) == symbols).sum())
    return right / number
