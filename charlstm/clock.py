"""The clock of a run that is given as a time: it corrects the run's length, and how many threads compute it."""

import math
import time
from collections.abc import Callable

from charlstm.device import threads, use_threads
from charlstm.schedule import Decision, Plan
from charlstm.threads import fastest
from charlstm.train import Clock, Training

EVALUATION_SHARE = 0.1
"""Share of the time that measurements of the held-out text may take."""
_LATEST = 2.0  # seconds after its time at which a run gives up even its last measurement
_LOOKS = 50  # at the length, in a run
_SOONEST = 0.5  # seconds between two looks, and before the first
_SAVING = 0.3  # seconds at the end for the last save
_NOTABLE = 0.02  # change of the steps that are left which is worth a decision
_LARGE = 1.1  # times as many steps as planned from which the estimate was wrong rather than rough
_SLOWER = 1.5  # times the least time of a step from which other numbers of threads are tried
_TRIAL_PAUSE = 10.0  # seconds before a trial of threads; twice as many after each that changes nothing


class Deadline(Clock):
    """Has a run end when its time is over, with as many steps as it holds."""

    def __init__(
        self,
        seconds: float,
        began: float,
        *,
        most_steps: int,
        evaluations: int,
        evaluation_seconds: float,
        ending_seconds: float,
        most_threads: int | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to watch.

        Args:
            seconds: the time of the run.
            began: what `now` told when it began to run.
            most_steps: the step after which nothing more is to be gained.
            evaluations: measurements in the whole run, at most.
            evaluation_seconds: that one is expected to take.
            ending_seconds: that the last measurement, of all of the held-out text, takes beside those.
            most_threads: the largest number to try, or None if their number is not to be changed.
            now: tells the time in seconds.
        """
        self._now = now
        self._seconds = seconds
        self._end = began + seconds
        self._most_steps = most_steps
        self._evaluations = evaluations
        self._evaluation_seconds = evaluation_seconds
        self._ending_seconds = ending_seconds + _SAVING
        self._most_threads = most_threads
        self._taken: list[float] = []
        self._least = math.inf
        self._look = now() + self._pause
        self._trial_pause = _TRIAL_PAUSE
        self._trial = now() + self._trial_pause

    @property
    def _pause(self) -> float:
        return max(_SOONEST, self._seconds / _LOOKS)

    def measured(self, seconds: float) -> None:
        """Expect the next measurements to take as long as this one."""
        self._evaluation_seconds = seconds

    def over(self) -> bool:
        """Return whether the run is so late that it does without a last measurement."""
        return self._now() > self._end + _LATEST

    def decide(self, training: Training, plan: Plan, seconds: float) -> Decision | None:
        """Return the new length of the run and its threads, if they change at this step."""
        self._taken.append(seconds)
        now = self._now()
        holds = plan.at(training.step)
        left = self._end - now - self._ending_seconds - self._evaluation_seconds
        if now < self._look and left > seconds and training.step < holds.steps:
            return None
        each = sum(self._taken) / len(self._taken)
        self._taken.clear()
        self._look = now + self._pause
        used = self._faster_threads(training, holds, each, now)
        steps = self._length(training.step, holds, each, left)
        if steps == holds.steps and used == holds.threads:
            return None
        evaluations = max(1, min(self._evaluations, int(EVALUATION_SHARE * self._seconds / self._evaluation_seconds)))
        # Far too short an estimate has let the rate fall too early: it begins again where it should have been.
        anew = steps > _LARGE * holds.steps
        return Decision(training.step, steps, math.ceil(steps / evaluations), used, anew)

    def _length(self, step: int, holds: Decision, each: float, left: float) -> int:
        """Return how many steps the run has, if each takes so long and so many seconds are left."""
        before_the_end = (holds.steps - step - 1) // holds.evaluate_every  # measurements, without the last one
        left -= max(0, before_the_end) * self._evaluation_seconds
        steps = step + max(0, min(int(left / each), self._most_steps - step))
        if step >= holds.steps:  # the rate has fallen to zero: a few steps more would teach nothing
            return steps if steps > _LARGE * holds.steps else holds.steps
        notable = steps == step or abs(steps - holds.steps) > _NOTABLE * (holds.steps - step)
        return steps if notable else holds.steps

    def _faster_threads(self, training: Training, holds: Decision, each: float, now: float) -> int | None:
        """Return the number of threads from here on: others are tried if steps became slow, or if some are idle."""
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
