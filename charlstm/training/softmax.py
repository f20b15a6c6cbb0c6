"""The loss of a window; with a large vocabulary, from a sample of its characters (sampled softmax)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from charlstm.text.batches import IGNORE

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sampled:
    """The characters among which the softmax of one step chooses."""

    ids: Ids
    """Ascending, (K,)."""
    log_weights: npt.NDArray[np.float32]
    """What is added to the logit of each, (K,)."""


class SampledSoftmax:
    """Estimates the softmax's denominator from a part of the vocabulary, as Jean et al. (2015, "On using very large
    target vocabulary for neural machine translation") do.

    A step computes the logits of the characters that come in its window, of the most frequent ones, and of others drawn
    at random from the rest. Each drawn one stands for several of the rest, so the expected value of the denominator is
    exactly that of the whole vocabulary. The model is the same as without sampling.
    """

    def __init__(self, counts: Ids, size: int, seed: int) -> None:
        """Take the sample's size.

        Args:
            counts: how often each id occurs in the training text, (V,).
            size: how many of the most frequent ids every step includes, and how many others it draws.
            seed: of the run.
        """
        self._frequent = np.zeros(len(counts), bool)
        self._frequent[np.argsort(-counts, kind="stable")[:size]] = True
        self._size, self._seed = size, seed

    def at(self, targets: Ids, step: int) -> Sampled:
        """Return the characters of a step, a function of the seed, the step and all of the step's targets."""
        included = self._frequent.copy()
        included[targets[targets != IGNORE]] = True
        rest = np.flatnonzero(~included)
        weights = np.zeros(len(included), np.float32)
        if len(rest) > self._size:
            drawn = np.random.default_rng((self._seed, step, 1)).choice(rest, self._size, replace=False)
            weights[drawn] = np.log(len(rest) / self._size)
        else:
            drawn = rest
        included[drawn] = True
        ids = np.flatnonzero(included)
        return Sampled(ids, weights[ids])


def nats(outputs: Tensor, targets: Tensor, output: torch.nn.Linear, sampled: Sampled | None) -> Tensor:
    """Return the sum of -ln P(target) over the positions that count, a scalar.

    Args:
        outputs: what the logits are computed from, (T, N, H).
        targets: ids, (T, N), IGNORE where none counts.
        output: the layer that computes logits, (V, H).
        sampled: the characters to choose among, which include all targets; None: all.
    """
    if sampled is None:
        logits = output(outputs)
    else:
        ids = torch.from_numpy(sampled.ids).to(targets.device)
        log_weights = torch.from_numpy(sampled.log_weights).to(targets.device)
        logits = F.linear(outputs, output.weight[ids], output.bias[ids] + log_weights)
        targets = torch.where(targets == IGNORE, targets, torch.searchsorted(ids, targets.contiguous()))
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum")
