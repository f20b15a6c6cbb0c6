"""The clock of a run, told what time it is by a simulated machine."""

import functools
import itertools
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from charlstm.config import TrainConfig
from charlstm.training.clock import Deadline
from charlstm.training.plan import Decision, Plan, fall, in_two_numbers, learning_rate
from charlstm.training.state import Training

CONFIG = TrainConfig(steps=1, learning_rate=1.0)


@dataclass
class Machine:
    """Steps and measurements that take as long as the test says."""

    seconds: float
    """The run's time."""
    planned: int
    """The first estimate of the steps."""
    measuring: float = 0.0
    measuring_later: float | None = None
    """What a measurement takes in truth, if that is something else than was expected."""
    now: float = 100.0
    step: int = 0
    decisions: list[Decision] = field(default_factory=list)
    measured: int = 0
    ending: float = 0.0
    """How many times as much text the additional last measurement reads."""

    def run(self, step_seconds: Any) -> Plan:
        """Train until the plan ends; `step_seconds` gives what a step takes at a time of the run."""
        clock = Deadline(
            self.seconds,
            self.now,
            most_steps=10**9,
            evaluations=10,
            evaluation_seconds=max(self.measuring, 1e-9),
            ending=self.ending,
            fall=functools.partial(fall, CONFIG),
            now=lambda: self.now,
        )
        began, row = self.now, 0
        plan = Plan.of_steps(self.planned, max(1, self.planned // 10), fall(CONFIG, self.planned))
        while True:
            holds = plan.at(self.step)
            ends = self.step >= holds.steps
            if self.step > row and (ends or self.step - row >= holds.evaluate_every):
                row = self.step
                self.measured += 1
                took = self.measuring if self.measuring_later is None else self.measuring_later
                self.now += took
                clock.measured(max(took, 1e-9), 0.8 * took)
            if ends:
                return plan
            took = step_seconds(self.now - began)
            self.now += took
            self.step += 1
            if decision := clock.decide(cast("Training", self), plan, took):
                self.decisions.append(decision)
                plan = plan.then(decision)


def test_time_is_left_for_all_of_the_held_out_text_even_if_a_measurement_takes_longer_than_expected() -> None:
    """The last measurement reads 6 times as much: 6 * 0.8 * 0.5 = 2.4 s, where 0.1 s a measurement promised 0.6."""
    machine = Machine(60.0, 600, measuring=0.1, measuring_later=0.5, ending=6.0)
    machine.run(lambda _: 0.1)
    assert 100 + 0.9 * 60 < machine.now <= 100 + 60 - 6 * 0.8 * 0.5


@pytest.mark.parametrize("planned", [1, 3, 60, 600, 6000])
def test_a_run_uses_its_time_however_wrong_the_estimate_was(planned: int) -> None:
    machine = Machine(60.0, planned, measuring=0.3)
    plan = machine.run(lambda _: 0.1)
    assert 100 + 0.95 * 60 < machine.now <= 100 + 60.5
    assert plan.steps == machine.step
    assert 500 < machine.step < 600
    assert len(machine.decisions) <= 60


def test_a_right_estimate_is_left_alone_until_the_rate_falls() -> None:
    machine = Machine(60.0, 596)
    plan = machine.run(lambda _: 0.1)
    assert plan.steps == pytest.approx(596, rel=0.01)
    assert [decision.step for decision in machine.decisions] == [596 - fall(CONFIG, 596)]
    assert machine.measured <= 11


@pytest.mark.parametrize("planned", [60, 600, 6000])
@pytest.mark.parametrize("factor", [0.3, 0.9, 1.0, 1.2, 4.0])
@pytest.mark.parametrize("when", [10.0, 30.0, 45.0])
def test_the_rate_falls_to_zero_in_time(planned: int, factor: float, when: float) -> None:
    """Whatever the estimate was, and however the speed changes: a level part, and a fall that ends at zero."""
    machine = Machine(60.0, planned)
    plan = machine.run(lambda at: 0.02 if at < when else 0.02 * factor)
    assert 100 + 0.93 * 60 < machine.now <= 100 + 61
    rates = [learning_rate(CONFIG, step, plan) for step in range(machine.step)]
    assert rates[-1] < 0.02
    level = [step for step, rate in enumerate(rates) if rate == 1]
    assert len(level) > 0.3 * machine.step
    assert max(a - b for a, b in itertools.pairwise(rates)) < 0.1


def test_a_steady_run_can_be_had_again_from_two_numbers() -> None:
    machine = Machine(60.0, 900)
    plan = machine.run(lambda _: 0.1)
    last = plan.decisions[-1]
    assert last.fall is not None
    again = Plan.of_steps(last.steps, 1, fall(TrainConfig(steps=last.steps, fall=last.fall), last.steps))
    assert in_two_numbers(CONFIG, plan)
    for step in range(last.steps):
        assert learning_rate(CONFIG, step, plan) == learning_rate(CONFIG, step, again)


def test_a_run_that_the_clock_bent_cannot_be_had_from_two_numbers() -> None:
    plan = Machine(60.0, 900).run(lambda at: 0.1 if at < 45 else 0.3)
    last = plan.decisions[-1]
    again = Plan.of_steps(last.steps, 1, last.fall)
    assert not in_two_numbers(CONFIG, plan)
    assert any(learning_rate(CONFIG, step, plan) != learning_rate(CONFIG, step, again) for step in range(last.steps))


@pytest.mark.parametrize("factor", [10, 0.1])
def test_a_machine_that_changes_on_the_way_is_followed(factor: float) -> None:
    machine = Machine(60.0, 590)
    machine.run(lambda at: 0.1 if at < 30 else 0.1 * factor)
    assert 100 + 0.93 * 60 < machine.now <= 100 + 62
    assert machine.step == pytest.approx(300 + 300 / factor, rel=0.1)


def test_a_single_slow_step_ends_no_run_early() -> None:
    machine = Machine(60.0, 590)
    machine.run(lambda at: 4.0 if 20 < at < 24 else 0.1)
    assert machine.now > 100 + 0.95 * 60


def test_measurements_slower_than_expected_become_fewer() -> None:
    machine = Machine(60.0, 590, measuring=0.1, measuring_later=3.0)
    machine.run(lambda _: 0.1)
    assert machine.measured <= 4
    assert machine.now <= 100 + 61


def test_a_step_longer_than_the_time_ends_the_run() -> None:
    machine = Machine(10.0, 50)
    machine.run(lambda _: 30.0)
    assert machine.step == 1
