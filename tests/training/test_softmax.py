"""The sampled softmax against the one over the whole vocabulary."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from charlstm.text.batches import IGNORE
from charlstm.training.softmax import SampledSoftmax, nats

VOCAB, UNITS = 300, 6


@pytest.fixture
def window() -> tuple[torch.Tensor, torch.Tensor, torch.nn.Linear]:
    """Outputs, targets and the layer of logits; the first character of a stream does not count."""
    torch.manual_seed(3)
    targets = torch.randint(0, 40, (7, 4))
    targets[0] = IGNORE
    targets[3, 2] = 299
    return torch.randn(7, 4, UNITS), targets, torch.nn.Linear(UNITS, VOCAB)


def whole(outputs: torch.Tensor, targets: torch.Tensor, output: torch.nn.Linear) -> torch.Tensor:
    return F.cross_entropy(output(outputs).flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum")


def test_a_sample_of_everything_is_the_softmax_itself(
    window: tuple[torch.Tensor, torch.Tensor, torch.nn.Linear],
) -> None:
    outputs, targets, output = window
    sampled = SampledSoftmax(np.arange(VOCAB), VOCAB // 2, 1).at(targets.numpy(), 0)
    assert sampled.ids.tolist() == list(range(VOCAB)) and not sampled.log_weights.any()
    outputs.requires_grad_()
    for parts in (None, sampled):
        assert torch.allclose(nats(outputs, targets, output, parts), whole(outputs, targets, output))
    of_all = torch.autograd.grad(whole(outputs, targets, output), [outputs, output.weight, output.bias])
    found = torch.autograd.grad(nats(outputs, targets, output, sampled), [outputs, output.weight, output.bias])
    for expected, gradient in zip(of_all, found, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_a_sample_has_the_targets_the_frequent_and_others_and_depends_on_the_step_alone(
    window: tuple[torch.Tensor, torch.Tensor, torch.nn.Linear],
) -> None:
    _, targets, _ = window
    counts = np.arange(VOCAB)  # the last ids are the most frequent
    first = SampledSoftmax(counts, 16, 1).at(targets.numpy(), 5)
    came = set(targets[targets != IGNORE].tolist())
    certain = came | set(range(VOCAB - 16, VOCAB))
    assert certain < set(first.ids.tolist()) and len(first.ids) == len(certain) + 16
    assert np.array_equal(first.ids, np.sort(first.ids))
    expected = [0.0 if each in certain else np.log((VOCAB - len(certain)) / 16) for each in first.ids]
    np.testing.assert_allclose(first.log_weights, expected, rtol=1e-6)
    again = SampledSoftmax(counts, 16, 1).at(targets.numpy(), 5)
    assert np.array_equal(again.ids, first.ids)
    for seed, step in ((1, 6), (2, 5)):
        assert not np.array_equal(SampledSoftmax(counts, 16, seed).at(targets.numpy(), step).ids, first.ids)


def test_the_denominator_is_right_on_average(window: tuple[torch.Tensor, torch.Tensor, torch.nn.Linear]) -> None:
    """Over 4,000 steps, within five standard errors of the sum over the whole vocabulary, at every position."""
    outputs, targets, output = window
    logits = output(outputs).double().detach()
    expected = logits.exp().sum(-1)
    softmax, sums = SampledSoftmax(np.arange(VOCAB), 16, 1), []
    for step in range(4_000):
        sampled = softmax.at(targets.numpy(), step)
        sums.append((logits[..., sampled.ids] + torch.from_numpy(sampled.log_weights)).exp().sum(-1))
    found = torch.stack(sums)
    errors = found.std(0) / len(sums) ** 0.5
    assert (errors > 0).all() and ((found.mean(0) - expected).abs() < 5 * errors).all()
