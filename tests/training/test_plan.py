import itertools
import math

import pytest

from charlstm.config import TrainConfig
from charlstm.training.plan import Decision, Plan, learning_rate

CONFIG = TrainConfig(steps=1, learning_rate=1.0, warmup=0.1)


def rates(*decisions: Decision) -> list[float]:
    plan = Plan(decisions)
    return [learning_rate(CONFIG, step, plan) for step in range(plan.steps + 1)]


def test_a_longer_run_goes_on_from_the_rate_where_it_is() -> None:
    """By hand: at step 55 of 100 half of the fall is done; the other half takes the 90 steps up to 145."""
    found = rates(Decision(0, 100, 10), Decision(55, 145, 10))
    assert found[:56] == rates(Decision(0, 100, 10))[:56]
    assert found[55] == pytest.approx(0.5)
    assert found[100] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.75)))
    assert found[145] == pytest.approx(0, abs=1e-12)
    assert max(a - b for a, b in itertools.pairwise(found)) < 0.02  # it never falls at once


def test_a_shorter_run_reaches_zero_at_its_end() -> None:
    found = rates(Decision(0, 100, 10), Decision(55, 65, 10))
    assert found[60] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.75)))
    assert found[65] == pytest.approx(0, abs=1e-12)


def test_another_length_while_the_rate_rises_is_as_if_it_had_been_so_from_the_beginning() -> None:
    assert rates(Decision(0, 100, 10), Decision(7, 300, 10))[8:] == rates(Decision(0, 300, 10))[8:]


def test_a_run_given_another_length_anew_has_the_rate_of_one_that_was_begun_so() -> None:
    found = rates(Decision(0, 100, 10), Decision(100, 200, 10, anew=True))
    assert found[100:] == rates(Decision(0, 200, 10))[100:]


def test_decisions_that_change_nothing_but_threads_change_no_rate() -> None:
    assert rates(Decision(0, 100, 10, 2), Decision(55, 100, 10, 1)) == rates(Decision(0, 100, 10))


def test_what_holds_at_a_step() -> None:
    plan = Plan.of_steps(100, 10).then(Decision(20, 120, 12)).then(Decision(40, 90, 9))
    assert [plan.at(step).steps for step in (0, 19, 20, 39, 40, 99)] == [100, 100, 120, 120, 90, 90]
    assert plan.steps == 90
    assert plan.then(Decision(20, 50, 5)).decisions == (Decision(0, 100, 10), Decision(20, 50, 5))


def test_a_plan_survives_json() -> None:
    plan = Plan((Decision(0, 100, 10, 2), Decision(40, 90, 9, 1, anew=True)), part=5000, whole=True)
    assert Plan.from_dict(plan.to_dict()) == plan
    assert Plan.from_dict(plan.to_dict() | {"decisions": [{"step": 0, "steps": 5, "evaluate_every": 1, "new": 1}]})


def test_a_plan_of_an_older_version_is_a_number_of_steps() -> None:
    assert Plan.from_dict({"steps": 40, "evaluate_every": 8}) == Plan.of_steps(40, 8)


def test_a_learning_rate_rises_and_falls() -> None:
    options = TrainConfig(steps=100, learning_rate=2.0, warmup=0.1)
    rates = [learning_rate(options, step, Plan.of_steps(100, 10)) for step in range(101)]
    assert rates[:10] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert rates[25] == pytest.approx(1 + math.cos(math.pi / 6))
    assert rates[100] == pytest.approx(0, abs=1e-12)
