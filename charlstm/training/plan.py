"""The length of a run and its learning rate, as functions of the step and of the decisions made.

If a run has a time limit, the clock corrects its length along the way. The corrections are kept with the run, so that
repeating it needs no clock.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from charlstm.config import TrainConfig


@dataclass(frozen=True)
class Decision:
    """What applies from a step on: requested by the user, or decided by the clock."""

    step: int
    """The step from which it applies."""
    steps: int
    """Length of the run."""
    evaluate_every: int
    """Steps between two measurements."""
    threads: int | None = None
    """Processor threads; None if the clock does not choose them."""
    anew: bool = False
    """Whether the learning rate is from here on that of a run that had this length from the start."""


@dataclass(frozen=True)
class Plan:
    """The length of a run in steps, and how it is measured: all that a repeat needs in addition to the settings.

    If a run has a time limit, the clock corrects its length along the way. Every correction is kept, so each step is a
    function of (seed, step, plan), just as each step of a run given in steps is a function of (seed, step).
    """

    decisions: tuple[Decision, ...]
    """In the order of their steps; a repeat knows the later ones in advance."""
    part: int | None = None
    """How many ids of the held-out text each measurement reads, always the same ones; None means all."""
    whole: bool = False
    """Whether the best weights are scored on all of the held-out text at the end, if measurements read a part."""

    @classmethod
    def of_steps(cls, steps: int, evaluate_every: int) -> "Plan":
        """Return the plan of a run whose length is fixed."""
        return cls((Decision(0, steps, evaluate_every),))

    @property
    def steps(self) -> int:
        """Length of the run, as decided so far."""
        return self.decisions[-1].steps

    def at(self, step: int) -> Decision:
        """Return the decision that applies at a step."""
        return next((it for it in reversed(self.decisions) if it.step <= step), self.decisions[0])

    def then(self, decision: Decision) -> "Plan":
        """Return this plan with one more decision, which replaces all decisions of the same or later steps."""
        before = tuple(it for it in self.decisions if it.step < decision.step)
        return dataclasses.replace(self, decisions=(*before, decision))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return {"steps": self.steps, "evaluate_every": self.decisions[-1].evaluate_every} | dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """Rebuild a plan from what `to_dict` wrote; older versions wrote only a fixed number of steps."""
        names = {field.name for field in dataclasses.fields(Decision)}
        decisions = tuple(
            Decision(**{name: value for name, value in decision.items() if name in names})
            for decision in values.get("decisions", ())
        )
        if not decisions:
            decisions = (Decision(0, values["steps"], values["evaluate_every"]),)
        return cls(decisions, values.get("part"), values.get("whole", False))


def learning_rate(config: TrainConfig, step: int, plan: Plan) -> float:
    """Return the learning rate of an update: a linear rise over `warmup`, then half a cosine down to zero.

    If a decision changes the length of the run, the rate continues from its current value and reaches zero at the new
    end.
    """
    rise, anchor, fallen, steps = 1, 1, 0.0, 1

    def share(at: int) -> float:
        """Return how far the rate has fallen at a step, from 0 to 1."""
        return fallen + (1 - fallen) * (at - anchor) / max(1, steps - anchor)

    for number, decision in enumerate(plan.decisions):
        if decision.step > step:
            break
        if number == 0 or decision.anew or decision.step < rise:
            rise = max(1, round(config.warmup * decision.steps))
            anchor, fallen = rise, 0.0
        elif decision.steps != steps:
            anchor, fallen = decision.step, share(decision.step)
        steps = decision.steps
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * share(step)))
