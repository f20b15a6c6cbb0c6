"""AdamW: every weight has a momentum and a learning rate of its own."""

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class AdamW:
    """AdamW (Loshchilov & Hutter 2019) over torch's fused kernel; matrices decay, and vectors do not.

    `torch.optim.AdamW` computes the same, but first imports torch's compiler, which takes as long as torch itself.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], weight_decay: float, multipliers: Mapping[str, float] | None = None
    ) -> None:
        """Begin with no momentum.

        Args:
            weights: what is trained, by name.
            weight_decay: the share of a matrix that is subtracted at each step, per unit of the learning rate.
            multipliers: of the learning rate, for some of the names; their weights decay as all others do.
        """
        self._weights = dict(weights)
        self._weight_decay = weight_decay
        self._multipliers = {name: (multipliers or {}).get(name, 1.0) for name in weights}
        self._moments = {name: (torch.zeros_like(weight), torch.zeros_like(weight)) for name, weight in weights.items()}
        self._steps = {name: torch.zeros((), device=weight.device) for name, weight in weights.items()}

    def moments(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the running means of each weight's gradient and of its square, by the weight's name."""
        return self._moments

    def restore(self, moments: Mapping[str, Sequence[Tensor]], steps: int) -> None:
        """Go on from the moments of each weight after this many steps."""
        for name, weight in self._weights.items():
            mean, square = (moment.to(weight.device) for moment in moments[name])
            self._moments[name] = mean, square
            self._steps[name].fill_(steps)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move the weights along their gradients."""
        for matrices, multiplier in itertools.product((True, False), sorted(set(self._multipliers.values()))):
            moved = [
                (name, weight, weight.grad)
                for name, weight in self._weights.items()
                if weight.grad is not None and (weight.ndim > 1) is matrices and self._multipliers[name] == multiplier
            ]
            if not moved:
                continue
            names = [name for name, *_ in moved]
            adamw(
                [weight for _, weight, _ in moved],
                [gradient for *_, gradient in moved],
                [self._moments[name][0] for name in names],
                [self._moments[name][1] for name in names],
                [],
                [self._steps[name] for name in names],
                fused=True,
                amsgrad=False,
                beta1=_MEAN,
                beta2=_SQUARE,
                lr=rate * multiplier,
                weight_decay=self._weight_decay / multiplier if matrices else 0.0,
                eps=_LEAST,
                maximize=False,
            )


_MEAN, _SQUARE = 0.9, 0.99
"""What remains, at each step, of the running means of the gradient and of its square."""
_LEAST = 1e-8
