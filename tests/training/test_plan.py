import itertools
import math

import pytest

from charlstm.config import TrainConfig
from charlstm.training.plan import Decision, Plan, fall, learning_rate

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


def test_a_rate_rises_stays_level_and_falls_in_a_line() -> None:
    """By hand: 10 steps up, 50 level, 40 down."""
    found = rates(Decision(0, 100, 10, fall=40))
    assert found[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert found[10:61] == [1.0] * 51
    assert found[60:] == pytest.approx([1 - step / 40 for step in range(41)])


def test_another_length_on_the_level_moves_only_the_fall() -> None:
    found = rates(Decision(0, 100, 10, fall=40), Decision(50, 200, 10, fall=80))
    assert found[10:121] == [1.0] * 111
    assert found[120:] == pytest.approx([1 - step / 80 for step in range(81)])
    assert rates(Decision(0, 100, 10, fall=40), Decision(50, 70, 10, fall=20))[49:] == pytest.approx(
        [1.0] + [1 - step / 20 for step in range(21)]
    )


def test_another_length_in_the_fall_bends_the_line() -> None:
    """By hand: at step 80 of 100 half of the fall of 40 is done; the rest takes 10 steps, or 60."""
    short = rates(Decision(0, 100, 10, fall=40), Decision(80, 90, 10, fall=30))
    assert short[80:] == pytest.approx([0.5 * (1 - step / 10) for step in range(11)])
    long = rates(Decision(0, 100, 10, fall=40), Decision(80, 140, 10, fall=80))
    assert long[80:] == pytest.approx([0.5 * (1 - step / 60) for step in range(61)])


def test_a_run_that_goes_on_from_before_its_fall_goes_on_at_the_peak() -> None:
    found = rates(Decision(0, 100, 10, fall=40), Decision(60, 200, 10, anew=True, fall=80))
    assert found[20:121] == [1.0] * 101


def test_the_rise_does_not_depend_on_the_length() -> None:
    for steps in (400, 1000, 100_000):
        options = TrainConfig(steps=steps, learning_rate=1.0)
        found = [learning_rate(options, step, Plan.of_steps(steps, 10, fall(options, steps))) for step in range(50)]
        assert found == pytest.approx([min(1, (step + 1) / 40) for step in range(50)])


def test_the_length_of_the_fall() -> None:
    assert fall(TrainConfig(steps=1), 1000) == 400
    assert fall(TrainConfig(steps=1, fall=30), 1000) == 30
    assert fall(TrainConfig(steps=1, fall=30), 10) == 10
    assert fall(TrainConfig(steps=1), 1) == 1


def test_what_holds_at_a_step() -> None:
    plan = Plan.of_steps(100, 10).then(Decision(20, 120, 12)).then(Decision(40, 90, 9))
    assert [plan.at(step).steps for step in (0, 19, 20, 39, 40, 99)] == [100, 100, 120, 120, 90, 90]
    assert plan.steps == 90
    assert plan.then(Decision(20, 50, 5)).decisions == (Decision(0, 100, 10), Decision(20, 50, 5))


def test_a_plan_survives_json() -> None:
    plan = Plan((Decision(0, 100, 10, 2), Decision(40, 90, 9, 1, anew=True, fall=36)), part=5000, whole=True)
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
