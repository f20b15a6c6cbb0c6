"""The clock of a run with a time limit: it corrects the run's length and its number of threads."""

import math
import time
from collections.abc import Callable

from charlstm.network.device import threads, use_threads
from charlstm.network.threads import fastest
from charlstm.training.loop import Clock
from charlstm.training.plan import Decision, Plan
from charlstm.training.state import Training

EVALUATION_SHARE = 0.05
"""Share of the time that measurements of the held-out text may take, and the saves that follow them."""
_LATEST = 2.0  # seconds after its time is up at which a run gives up even its last measurement
_LOOKS = 50  # how often the length is checked during a run
_SOONEST = 0.5  # least seconds between two checks, and before the first
_SAVING = 0.3  # seconds at the end for the last save
_NOTABLE = 0.02  # the least relative change in the remaining steps that is worth a decision
_RESERVE = 0.015  # share of the remaining time that is left free when the rate begins to fall
_LARGE = 1.1  # if more than this many times the planned steps fit, the estimate was wrong rather than rough
_SLOWER = 1.5  # other thread counts are tried if a step takes this many times the least time
_TRIAL_PAUSE = 10.0  # seconds before a trial of threads; doubled after each trial that changes nothing


class Deadline(Clock):
    """Ends a run when its time is up, with as many steps as fit into it."""

    def __init__(
        self,
        seconds: float,
        began: float,
        *,
        most_steps: int,
        evaluations: int,
        evaluation_seconds: float,
        ending: float,
        most_threads: int | None = None,
        fall: Callable[[int], int],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock.

        Args:
            seconds: the time limit of the run.
            began: the value of `now()` from which the time counts.
            most_steps: the step after which nothing more can be gained.
            evaluations: the most measurements in the whole run.
            evaluation_seconds: how long one measurement is expected to take.
            ending: how many times as much text the additional last measurement reads; 0: there is none.
            most_threads: the largest number of threads to try, or None if the number must not change.
            fall: returns in how many steps the rate falls at the end of a run of this length.
            now: returns the time in seconds.
        """
        self._now = now
        self._seconds = seconds
        self._end = began + seconds
        self._most_steps = most_steps
        self._evaluations = evaluations
        self._evaluation_seconds = evaluation_seconds
        self._ending = ending
        self._ending_seconds = ending * evaluation_seconds + _SAVING
        self._most_threads = most_threads
        self._fall = fall
        self._taken: list[float] = []
        self._least = math.inf
        self._look = now() + self._pause
        self._trial_pause = _TRIAL_PAUSE
        self._trial = now() + self._trial_pause

    @property
    def _pause(self) -> float:
        return max(_SOONEST, self._seconds / _LOOKS)

    def measured(self, seconds: float, scoring: float) -> None:
        """Expect the next measurements to take as long as this one, and the last one longer, as it reads more."""
        self._evaluation_seconds = seconds
        self._ending_seconds = self._ending * scoring + _SAVING

    def over(self) -> bool:
        """Return whether the run is so late that it must skip its last measurement."""
        return self._now() > self._end + _LATEST

    def decide(self, training: Training, plan: Plan, seconds: float) -> Decision | None:
        """Return the new length of the run and its threads, if they change at this step."""
        self._taken.append(seconds)
        now, step = self._now(), training.step
        holds = plan.at(step)
        left = self._end - now - self._ending_seconds - self._evaluation_seconds
        if now < self._look and left > seconds and step < holds.steps and step != holds.begin:
            return None
        each = sum(self._taken) / len(self._taken)
        self._taken.clear()
        self._look = now + self._pause
        used = self._faster_threads(training, holds, each, now)
        steps, fall = self._length(step, holds, each, left)
        if (steps, fall, used) == (holds.steps, holds.fall, holds.threads):
            return None
        evaluations = max(1, min(self._evaluations, int(EVALUATION_SHARE * self._seconds / self._evaluation_seconds)))
        # The estimate was far too short, so the rate fell too early: continue from where it should have been.
        anew = steps > _LARGE * holds.steps
        return Decision(step, steps, math.ceil(steps / evaluations), used, anew, fall)

    def _length(self, step: int, holds: Decision, each: float, left: float) -> tuple[int, int | None]:
        """Return the length of the run and of the fall at its end, in steps.

        Args:
            step: where the run stands.
            holds: what was decided last.
            each: the seconds that a step takes.
            left: the seconds that remain for steps, and for measurements before the last one.
        """
        before_the_end = (holds.steps - step - 1) // holds.evaluate_every  # measurements, not counting the last one
        left -= max(0, before_the_end) * self._evaluation_seconds
        fitting = max(0, min(int(left / each), self._most_steps - step))
        begin = holds.begin
        if step >= holds.steps or begin is None or step > begin:
            steps = self._falling(step, holds, fitting)
            if steps <= _LARGE * holds.steps:
                return steps, None if holds.fall is None else holds.fall + steps - holds.steps
            return steps, self._fall(steps)
        steps = step + fitting
        if step < begin and steps > step and abs(steps - holds.steps) <= _NOTABLE * (holds.steps - step):
            return holds.steps, holds.fall
        fall = self._fall(steps)
        if step < begin and step < steps - fall:
            return steps, fall
        # The fall begins here, unless there is clearly more time than it needs. A little of the time is left free, so
        # that it stays one line even if the machine becomes slightly slower.
        steps = step + max(min(1, fitting), int(fitting * (1 - _RESERVE)))
        if steps - step > self._fall(steps) + _NOTABLE * (steps - step):
            return steps, self._fall(steps)
        return steps, steps - step

    def _falling(self, step: int, holds: Decision, fitting: int) -> int:
        """Return the length of a run whose rate falls already: another one only if the estimate was clearly wrong."""
        if step >= holds.steps:  # the rate has fallen to zero: a few more steps would teach nothing
            return step + fitting if step + fitting > _LARGE * holds.steps else holds.steps
        remaining = holds.steps - step
        if fitting < remaining:
            return step + fitting
        more = fitting - remaining
        clearly = more > (_LARGE - 1) * remaining and more > 3 * _RESERVE * (holds.fall or 0)
        return step + int(fitting * (1 - _RESERVE)) if clearly else holds.steps

    def _faster_threads(self, training: Training, holds: Decision, each: float, now: float) -> int | None:
        """Return the number of threads from here on; others are tried if steps became slow or not all are used."""
        self._least = min(self._least, each)
        if self._most_threads is None or holds.threads is None or now < self._trial:
            return holds.threads
        if each < _SLOWER * self._least and holds.threads == self._most_threads:
            return holds.threads
        found = fastest(training.rehearse, use_threads, threads(), self._most_threads, self._seconds / _LOOKS)
        if found == holds.threads:
            self._trial_pause *= 2
        else:
            self._least, self._trial_pause = math.inf, _TRIAL_PAUSE
        self._trial = self._now() + self._trial_pause
        return found
