"""Which units follow something that a reader would name, how well, and whether that could be chance.

Karpathy, Johnson & Li (2015) found such units by eye. Here the best of all is chosen on one half of a text and scored
on the other, and it counts only if it does better than everything that could explain it away: the best unit of the
network before training, the last six characters, and the best unit for a label that was shifted along the text.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from charlstm.errors import DataError
from charlstm.measure.search import clamping, halves, scoring, shifts, untrained
from charlstm.measure.search import levels as reading
from charlstm.measure.search.clamping import Clamped
from charlstm.measure.search.grams import Grams
from charlstm.measure.search.halves import Halves
from charlstm.measure.search.labels import Label
from charlstm.measure.search.levels import Columns, Levels
from charlstm.measure.search.scoring import Score
from charlstm.measure.search.searchable import SearchableText, searchable
from charlstm.network.stepper import Stepper
from charlstm.storage.loaded import Loaded
from charlstm.text.tokenizer import Ids

__all__ = ["LEAST", "Clamped", "Controls", "Found", "Search", "SearchableText", "require", "search", "searchable"]

LEAST = 2 * halves.LEAST_BLOCKS * halves.BLOCK
"""Characters of the text that are needed."""
_BEFORE, _BEFORE_UNTRAINED = 1_000, 200  # ids read before each place; an untrained network forgets within a few dozen
_UNITS, _NETWORKS = 640, 5  # of untrained controls: so many units in all, from at most so many networks
_CLAMPED = 3  # of the best findings with closing characters, whether they stand or not
_LIKELY = 0.05  # a p-value up to this is not taken for chance


@dataclass(frozen=True)
class Controls:
    """What a finding must beat, in AUC or, for counts, in R². An AUC below a half counts as its mirror image."""

    untrained: float
    """The best unit of the same network before training: untrained, with other random weights."""
    ngram: float
    """The best predictor of the label from the last six characters."""
    shifted: float
    """The 95th percentile, over circular shifts of the label, of the best unit."""


@dataclass(frozen=True)
class Found:
    """A unit that follows a label, chosen on one half of the text and scored on the other."""

    layer: int
    unit: int
    signal: str
    """c or h."""
    label: str
    positives: float | None
    """Share of characters at which the label is true; None for a count."""
    auc: float | None
    """Area under the ROC curve; below 0.5 the unit is low where the label is true. None for a count."""
    late: float | None
    """The same without the first ten characters after an opener; None if the label has none."""
    mcc: float | None
    """Matthews correlation at the threshold that was best on the first half; None for a count."""
    r2: float | None
    """For a count: variance explained by the mean of each of the unit's bins."""
    low: float
    high: float
    """95 % interval of auc or r2, from blocks of the text."""
    p_value: float
    """Share of shifted labels on which the best unit, over all labels, stands out as much."""
    controls: Controls
    clamped: Clamped | None
    example: tuple[int, int]
    """Where in the text an example is: its first character, and the one after its last."""
    mean_inside: float | None = None
    mean_outside: float | None = None

    @property
    def stands(self) -> bool:
        """Whether the interval clears every control and the p-value is at most 0.05."""
        most = max(self.controls.untrained, self.controls.ngram, self.controls.shifted)
        if self.auc is None:
            return self.p_value <= _LIKELY and self.low > most
        low, late = (self.low, self.late) if self.auc >= 0.5 else (1 - self.high, self.late and 1 - self.late)
        return self.p_value <= _LIKELY and low > most and (late is None or late > most)

    @property
    def strength(self) -> float:
        """From 0 for chance to 1 for a unit that tells all: R², or how far the AUC is from a half, doubled."""
        return (self.r2 or 0.0) if self.auc is None else 2 * abs(self.auc - 0.5)


@dataclass(frozen=True)
class Search:
    """What a search over all units found."""

    characters: int
    units: int
    """How many units were searched; each has h, and c if the cell has one."""
    found: tuple[Found, ...]
    """Those that stand, best first."""
    others: tuple[Found, ...]
    """The best unit of each other label that the text has: it may be chance, or what a simpler predictor does."""
    absent: tuple[str, ...]
    """Labels that the text has too little of."""


def search(
    loaded: Loaded,
    ids: Ids,
    labels: Sequence[Label],
    report: Callable[[float], None] = lambda _: None,
    *,
    seed: int = 0,
) -> Search:
    """Search every unit's c and h for what follows each label.

    Args:
        loaded: the model.
        ids: a text that it was not trained on; see `searchable` for how much of it is read.
        labels: of that passage.
        report: told the share that is done.
        seed: of the halves, the shifts, and whatever else is drawn.

    Raises:
        DataError: if the text is too short.
    """
    text = searchable(loaded, ids)
    count = len(text.text)
    if count < LEAST:
        raise DataError(
            f"the text has {count:,} characters: a search for units needs at least {LEAST:,}, half of them to choose "
            "on and half to report on; give a longer text"
        )
    assert all(len(label.values) == count for label in labels), "labels of another text"
    parts = halves.split(count, seed)
    present = [label for label in labels if scoring.is_present(label, parts)]
    there = {label.name for label in present}
    absent = tuple(label.name for label in labels if label.name not in there)
    searched = _Searched(loaded, text, parts, present, seed, report)
    found = searched.found() if present else []
    standing = sorted((each for each in found if each.stands), key=lambda each: -each.strength)
    others = sorted((each for each in found if not each.stands), key=lambda each: -each.strength)
    clamped = searched.clamped([*standing, *others])
    report(1.0)
    units = loaded.config.model.num_layers * loaded.config.model.hidden_size
    return Search(
        count - len(text.begins), units, tuple(clamped[: len(standing)]), tuple(clamped[len(standing) :]), absent
    )


def require(labels: Sequence[Label], names: Collection[str], count: int, seed: int = 0) -> None:
    """Raise `DataError` if a text has too little of a label that was asked for by name.

    Args:
        labels: of the text.
        names: which of them were asked for.
        count: characters of the text.
        seed: of the search.
    """
    parts = halves.split(count, seed)
    for label in labels:
        if label.name in names and count >= LEAST and not scoring.is_present(label, parts):
            raise DataError(
                f"--follow {label.name}: the text has too little of it to tell a unit from chance; give a longer text, "
                "or an expression that matches more often"
            )


class _Searched:
    """A search: the trained network is read and scored, then the untrained one, in the same memory."""

    def __init__(
        self,
        loaded: Loaded,
        text: SearchableText,
        parts: Halves,
        labels: Sequence[Label],
        seed: int,
        report: Callable[[float], None],
    ) -> None:
        self._config, self._tokenizer = loaded.config.model, loaded.tokenizer
        self._engine = reading.engine(self._config, self._tokenizer, loaded.checkpoint.weights)
        self._text, self._parts, self._labels, self._seed, self._report = text, parts, labels, seed, report
        self._columns = Columns.of(self._config)
        second = parts.second[parts.block]
        self._plans = {
            label.name: plan
            for label in labels
            if len(label.closers) and (plan := clamping.plan(label, second, text.ends, seed))
        }
        # Sums of all signals over the first half, and over where each label is true in it: for exact means.
        self._weights = np.stack([~second, *(~second & (label.values > 0) for label in labels)]).astype(np.float32)

    def found(self) -> list[Found]:
        """Return the best unit of each label."""
        wanted = {position for plan in self._plans.values() for position in plan.states}
        trained = self._read(self._engine, self._weights, wanted, _BEFORE, None, (0.0, 0.4))
        self._states, self._sums = trained.states, trained.sums
        scores = scoring.scores(trained.values, self._labels, self._parts)
        by_chance = self._shifted(trained, (0.4, 0.6))
        values = np.array([abs(score.value - (0 if score.label.count else 0.5)) for score in scores])
        p_values = shifts.p_values(values, by_chance)
        grams = Grams(self._text.codes, self._parts.chosen_on, self._parts.reported_on)
        before = self._untrained(trained.storage, (0.6, 0.9))
        found = []
        for number, score in enumerate(scores):
            shifted = float(np.quantile(by_chance[number], 0.95)) + (0 if score.label.count else 0.5)
            ngram = grams.r2(score.label.values) if score.label.count else grams.auc(score.label.values)
            controls = Controls(before[number], ngram, shifted)
            found.append(self._described(score, number, controls, float(p_values[number])))
        return found

    def _untrained(self, storage: reading.Storage, shares: tuple[float, float]) -> list[float]:
        """Return how well the best unit of an untrained network tells each label, in AUC or R².

        The best of few units is a matter of luck, so a small network has several controls.
        """
        networks = int(np.clip(_UNITS // (len(self._columns) // len(self._columns.signals)), 1, _NETWORKS))
        best = [0.0] * len(self._labels)
        for number in range(networks):
            engine = untrained.engine(self._config, self._tokenizer, self._seed + number)
            first, last = (shares[0] + (shares[1] - shares[0]) * (number + end) / networks for end in (0, 1))
            read = self._read(engine, self._weights[:0], set(), _BEFORE_UNTRAINED, storage, (first, last))
            scores = scoring.scores(read.values, self._labels, self._parts, intervals=False)
            best = [max(before, score.strength) for before, score in zip(best, scores, strict=True)]
        return best

    def clamped(self, found: Sequence[Found]) -> list[Found]:
        """Return the same findings, with what happens if their units are clamped: of all that stand, and a few others.

        A unit that does not stand may still be worth it, if it is more than chance: the network can need what six
        characters would tell it as well.
        """
        fit = [number for number, each in enumerate(found) if each.label in self._plans and each.p_value <= _LIKELY]
        fit = [number for place, number in enumerate(fit) if found[number].stands or place < _CLAMPED]
        done = list(found)
        for place, number in enumerate(fit):
            self._report(0.9 + 0.1 * place / len(fit))
            done[number] = replace(found[number], clamped=self._clamp(found[number]))
        return done

    def _clamp(self, found: Found) -> Clamped:
        outside, _ = self._means([label.name for label in self._labels].index(found.label))
        rows = self._columns.rows(found.layer, found.signal)
        return clamping.measure(
            self._engine,
            self._text.ids,
            self._plans[found.label],
            self._states,
            layer=found.layer,
            unit=found.unit,
            signal=found.signal,
            outside=outside[rows],
            overall=(self._sums[0] / self._weights[0].sum())[rows],
            seed=self._seed,
        )

    def _read(
        self,
        engine: Stepper,
        weights: reading.Array,
        wanted: set[int],
        before: int,
        into: reading.Storage | None,
        shares: tuple[float, float],
    ) -> Levels:
        """Read the text; levels and sums are those of characters."""
        return reading.read(
            engine,
            self._columns,
            self._tokenizer,
            self._text.ids,
            ends=self._text.ends,
            weights=weights,
            wanted=wanted,
            before=before,
            into=into,
            report=self._part(*shares),
        )

    def _shifted(self, trained: Levels, shares: tuple[float, float]) -> np.ndarray:
        """Return the statistic of the best unit for each label and shift, (labels, shifts)."""
        middle = sum(shares) / 2
        drawn = shifts.drawn(len(self._text.text), self._seed)
        where = self._parts.reported_on
        counts = np.array([label.count for label in self._labels])
        found = np.zeros((len(self._labels), len(drawn)))
        plain = [label.values for label in self._labels if not label.count]
        found[~counts] = shifts.best_areas(trained.values, plain, where, drawn, self._part(shares[0], middle))
        counted = [label.values for label in self._labels if label.count]
        number = scoring.BINS
        found[counts] = shifts.best_r2(trained.values, counted, where, drawn, number, self._part(middle, shares[1]))
        return found

    def _means(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of every signal where a label is false, and where it is true."""
        inside, total = self._weights[number + 1].sum(), self._weights[0].sum()
        outside = (self._sums[0] - self._sums[number + 1]) / max(1, total - inside)
        return outside, self._sums[number + 1] / max(1, inside)

    def _described(self, score: Score, number: int, controls: Controls, p_value: float) -> Found:
        layer, unit, signal = self._columns.named(score.row)
        label = score.label
        outside, inside = self._means(number)
        plain = not label.count
        return Found(
            layer=layer,
            unit=unit,
            signal=signal,
            label=label.name,
            positives=float(label.values.mean()) if plain else None,
            auc=score.value if plain else None,
            late=score.late,
            mcc=score.mcc,
            r2=None if plain else score.value,
            low=score.low,
            high=score.high,
            p_value=p_value,
            controls=controls,
            clamped=None,
            example=score.example,
            mean_inside=float(inside[score.row]) if plain else None,
            mean_outside=float(outside[score.row]) if plain else None,
        )

    def _part(self, first: float, last: float) -> Callable[[float], None]:
        """Return what reports the progress of a part of the search."""
        return lambda share: self._report(first + (last - first) * share)
