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

_FALL_SHARE = 0.4  # of a run in which the learning rate falls, unless the user gives a number of steps
_RISE = 40  # steps in which the learning rate rises, unless the user gives a share of the run
_RISE_SHARE = 0.1  # of a short run, at most


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
    fall: int | None = None
    """Steps at the end in which the learning rate falls to zero; None in runs of older versions, whose rate falls as
    half a cosine from its peak on."""

    @property
    def begin(self) -> int | None:
        """The step at which the learning rate begins to fall, if that is a step of its own."""
        return None if self.fall is None else self.steps - self.fall


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
    def of_steps(cls, steps: int, evaluate_every: int, fall: int | None = None) -> "Plan":
        """Return the plan of a run whose length is fixed."""
        return cls((Decision(0, steps, evaluate_every, fall=fall),))

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


def in_two_numbers(config: TrainConfig, plan: Plan) -> bool:
    """Return whether a plan with the last `steps` and `fall` of this one, and no other decision, has the same rates."""
    last = plan.decisions[-1]
    if last.fall is None:
        return False
    again = Plan.of_steps(last.steps, last.evaluate_every, last.fall)
    return all(
        learning_rate(config, step, plan) == learning_rate(config, step, again)
        for at in {0, *(decision.step for decision in plan.decisions), last.steps - last.fall}
        for step in range(max(0, at - _RISE), min(last.steps, at + _RISE))
    )


def fall(config: TrainConfig, steps: int) -> int:
    """Return in how many steps the learning rate falls to zero at the end of a run of this length."""
    return min(steps, max(1, round(_FALL_SHARE * steps)) if config.fall is None else config.fall)


def learning_rate(config: TrainConfig, step: int, plan: Plan) -> float:
    """Return the learning rate of an update: it rises, stays level, and falls to zero in a line at the end.

    Only the beginning of the fall depends on the length of the run (Hägele et al. 2024, "Scaling laws and
    compute-optimal training beyond fixed training durations"). If a decision changes the length during the fall, the
    rate continues from its current value and reaches zero at the new end. A plan of an older version has half a cosine
    instead, from the end of the rise on.
    """
    rise, shape = 1, _Shape(0, 0.0, 1, line=True)
    for number, decision in enumerate(plan.decisions):
        if decision.step > step:
            break
        if number == 0 or decision.anew or decision.step < rise:
            rise = _rise(config, decision.steps)
            begin = rise if decision.begin is None else max(rise, decision.begin)
            shape = _Shape(begin, 0.0, decision.steps, line=decision.begin is not None)
        else:
            shape = shape.changed(decision)
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    return config.learning_rate * shape.at(step)


def _rise(config: TrainConfig, steps: int) -> int:
    """Return in how many steps the learning rate rises to its peak."""
    if config.warmup is not None:
        return max(1, round(config.warmup * steps))
    return max(1, min(_RISE, int(_RISE_SHARE * steps)))


@dataclass(frozen=True)
class _Shape:
    """The fall of the rate from a step on."""

    begin: int
    fallen: float
    """How far it has fallen at `begin`, from 0 to 1."""
    steps: int
    line: bool
    """Whether it falls in a line, rather than as half a cosine."""

    def _fallen(self, step: int) -> float:
        passed = max(0, step - self.begin)
        return self.fallen + (1 - self.fallen) * passed / max(1, self.steps - self.begin)

    def at(self, step: int) -> float:
        """Return the share of the peak at a step."""
        fallen = self._fallen(step)
        return 1 - fallen if self.line else 0.5 * (1 + math.cos(math.pi * fallen))

    def changed(self, decision: Decision) -> "_Shape":
        """Return what follows from a decision that changes the length on the way."""
        if decision.begin is not None and decision.step <= self.begin:
            return dataclasses.replace(self, begin=max(decision.step, decision.begin), steps=decision.steps)
        if decision.steps == self.steps:
            return self
        return dataclasses.replace(self, begin=decision.step, fallen=self._fallen(decision.step), steps=decision.steps)
