import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from charlstm.config import TextConfig
from charlstm.errors import DivergedError
from charlstm.measure.read import Reader
from charlstm.measure.score import Score
from charlstm.measure.score import nats as by_character
from charlstm.measure.scoring import evaluate
from charlstm.network.device import Device, threads, use_threads
from charlstm.network.model import CharLSTM
from charlstm.network.stepper import Stepper
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage.checkpoint import RECENT, Checkpoint
from charlstm.storage.runs import Run
from charlstm.text import corpus as corpora
from charlstm.text.corpus import Corpus
from charlstm.training.loop import Clock, train
from charlstm.training.plan import Decision, Plan
from charlstm.training.records import Evaluation, Finished, Halved, Progress, Record
from charlstm.training.state import Training
from tests.conftest import CELLS_AND_PRECISIONS
from tests.training.conftest import CPU, NGRAMS, config, poisoned

PLAN = Plan.of_steps(20, 4)


def run_in(folder: Path) -> Run:
    run = Run(folder)
    run.create(0)
    return run


def rows(run: Run) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.read_metrics()]


def same_files(a: Path, b: Path) -> None:
    first, second = checkpoints.load(a), checkpoints.load(b)
    assert first.step == second.step
    assert first.val_loss == second.val_loss
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        assert tensor.tobytes() == second.tensors[name].tobytes(), name
    if first.training is not None and second.training is not None:
        assert dataclasses.replace(first.training, seconds=0) == dataclasses.replace(second.training, seconds=0)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, Corpus], Run]:
    """A run of 20 steps of each cell in each precision, computed once."""
    runs: dict[tuple[str, str], Run] = {}

    def run(cell: str, precision: str, corpus: Corpus) -> Run:
        if (cell, precision) not in runs:
            runs[cell, precision] = whole = run_in(tmp_path_factory.mktemp("whole"))
            list(train(Training(config({"cell": cell}), corpus, Device("cpu", precision)), corpus, whole, PLAN))
        return runs[cell, precision]

    return run


@pytest.mark.parametrize(
    ("cell", "precision", "stopped_after"),
    [
        pytest.param(*case.values, step, marks=case.marks)
        for case in CELLS_AND_PRECISIONS
        for step in ((1, 8, 17, 20) if case.values[0] == "lstm" else (13,))
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    corpus: Corpus,
    tmp_path: Path,
    uninterrupted: Callable[[str, str, Corpus], Run],
    precision: str,
    cell: str,
    stopped_after: int,
) -> None:
    device, options = Device("cpu", precision), config({"cell": cell})
    whole = uninterrupted(cell, precision, corpus)

    parts = run_in(tmp_path / "parts")
    training = Training(options, corpus, device)
    *_, finished = train(training, corpus, parts, PLAN, lambda: training.step >= stopped_after)
    assert finished == Finished(
        "stopped", stopped_after, training.at.best_loss, training.at.best_step, training.at.scored
    )
    training = Training(options, corpus, device)
    training.restore(parts.load_last()[0])
    assert training.step == stopped_after
    list(train(training, corpus, parts, PLAN))

    same_files(whole.last, parts.last)
    same_files(whole.best, parts.best)
    assert rows(whole) == rows(parts)
    assert len(rows(whole)) == 5


@pytest.mark.parametrize(
    ("precision", "stopped_after", "accumulate"), [("fp32", 1, 1), ("fp32", 13, 2), ("bf16", 13, 1)]
)
def test_with_ngrams_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    names: Corpus, tmp_path: Path, precision: str, stopped_after: int, accumulate: int
) -> None:
    """Documents, n-grams that reach across the windows, and losses of the best weights as they are saved."""
    device = Device("cpu", precision)
    model = NGRAMS | {
        "cell": "lstm" if precision == "fp32" else "coupled"
    }  # whose products any processor computes in bf16
    options = config(model, accumulate=accumulate, learning_rate=0.01, softmax_sample=4)
    plan = Plan.of_steps(24, 8)
    whole, parts = run_in(tmp_path / "whole"), run_in(tmp_path / "parts")
    list(train(Training(options, names, device), names, whole, plan))
    training = Training(options, names, device)
    list(train(training, names, parts, plan, lambda: training.step >= stopped_after))
    saved = parts.load_last()[0]
    training = Training(options, names, device)
    training.update(0.01)  # nothing that this one has learnt is left
    training.restore(saved)
    training.settle()
    training.restore(saved)
    assert_same(training.tensors(), saved.tensors)
    list(train(training, names, parts, plan))
    same_files(whole.last, parts.last)
    same_files(whole.best, parts.best)
    assert rows(whole) == rows(parts)
    assert checkpoints.load(whole.last).tensors[RECENT].any()
    if precision == "fp32":
        assert_best_scores_as_recorded(whole, names)


def assert_same(ours: Mapping[str, npt.NDArray[Any]], theirs: Mapping[str, npt.NDArray[Any]]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype, name
        assert tensor.tobytes() == theirs[name].tobytes(), name


def assert_best_scores_as_recorded(run: Run, corpus: Corpus) -> Checkpoint:
    """Score the held-out text with the best weights as they were saved, by torch and by the engine."""
    best = checkpoints.load(run.best)
    model = CharLSTM.from_weights(best.config.model, best.tokenizer, best.weights)
    found = evaluate(Reader(model, corpus.tokenizer, CPU), corpus.val)
    assert found.loss == best.val_loss
    engine = Stepper(best.config.model, best.tokenizer, best.weights)
    documents = np.split(corpus.val.ids, corpus.val.bounds[1:-1])
    framed = corpus.tokenizer.end_id is not None
    nats = sum(by_character(engine, ids[framed:].tolist(), corpus.tokenizer).sum() for ids in documents)
    assert nats / found.characters == pytest.approx(found.loss, abs=1e-5)
    return best


@pytest.fixture
def names(text: str, tmp_path: Path) -> Corpus:
    words = sorted({word.lower() for word in text.split() if word.isascii() and word.isalpha()})
    (tmp_path / "words.txt").write_text("\n".join(words[:300]) + "\n")
    return corpora.load([str(tmp_path / "words.txt")], [], TextConfig(separator=r"\n"))


def test_a_stop_within_an_evaluation_loses_no_row(corpus: Corpus, tmp_path: Path) -> None:
    whole, parts = run_in(tmp_path / "whole"), run_in(tmp_path / "parts")
    list(train(Training(config(), corpus, CPU), corpus, whole, Plan.of_steps(16, 8)))
    training = Training(config(), corpus, CPU)
    within = itertools.chain(
        [False] * 8, itertools.repeat(True)
    )  # asked after each of 8 steps, then within the evaluation
    *_, finished = train(training, corpus, parts, Plan.of_steps(16, 8), lambda: next(within))
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.step, rows(parts)) == ("stopped", 8, [])
    again = Training(config(), corpus, CPU)
    again.restore(parts.load_last()[0])
    list(train(again, corpus, parts, Plan.of_steps(16, 8)))
    assert rows(whole) == rows(parts)
    same_files(whole.last, parts.last)


def test_evaluations_do_not_disturb_the_training(corpus: Corpus, tmp_path: Path) -> None:
    often, seldom = run_in(tmp_path / "often"), run_in(tmp_path / "seldom")
    list(train(Training(config(), corpus, CPU), corpus, often, Plan.of_steps(12, 1)))
    list(train(Training(config(), corpus, CPU), corpus, seldom, Plan.of_steps(12, 12)))
    first, second = checkpoints.load(often.last), checkpoints.load(seldom.last)
    assert all(np.array_equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())


def test_records_and_metrics(corpus: Corpus, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    records: list[Record] = list(train(Training(config(), corpus, CPU), corpus, run, Plan.of_steps(10, 4)))
    evaluations = [record for record in records if isinstance(record, Evaluation)]
    assert [evaluation.step for evaluation in evaluations] == [4, 8, 10]
    assert all(isinstance(record, Progress) for record in records if record not in (*evaluations, records[-1]))
    assert isinstance(records[-1], Finished)
    assert records[-1].reason == "done"
    written = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert written == [evaluation.row() for evaluation in evaluations]
    assert set(written[0]) == {
        *("schema", "step", "epoch", "train_loss", "val_loss", "learning_rate", "characters", "seconds"),
        "val_characters",
    }
    assert len(evaluations[0].sample) == 160
    best = min(evaluations, key=lambda evaluation: evaluation.val_loss)
    assert checkpoints.load(run.best).val_loss == best.val_loss
    assert checkpoints.load(run.last).step == 10
    assert checkpoints.load(run.previous).step == 8


def test_a_model_learns_more_than_letter_frequencies(corpus: Corpus, tmp_path: Path) -> None:
    counts = np.bincount(corpus.train.ids) / len(corpus.train.ids)
    entropy = -(counts[counts > 0] * np.log(counts[counts > 0])).sum()
    options = config({"num_layers": 1, "dropout": 0.0, "recurrent_dropout": 0.0}, learning_rate=0.01)
    training = Training(options, corpus, CPU)
    *_, finished = train(training, corpus, run_in(tmp_path / "run"), Plan.of_steps(150, 50))
    assert isinstance(finished, Finished)
    assert finished.best_loss is not None
    assert finished.best_loss < entropy - 0.3


def test_patience(corpus: Corpus, tmp_path: Path) -> None:
    options = config(patience=2, learning_rate=1e-9)
    training = Training(options, corpus, CPU)
    losses = iter([3.0, 2.0, 2.5, 2.0, 1.0])
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("charlstm.measure.scoring.progress", lambda *_, **__: iter([Score(next(losses), 1, 1, 0)]))
        *_, finished = train(training, corpus, run_in(tmp_path / "run"), Plan.of_steps(40, 2))
    assert finished == Finished("patience", 8, 2.0, 4, 1)


def test_a_measurement_after_nothing_but_a_loss_that_is_not_finite(corpus: Corpus, tmp_path: Path) -> None:
    run, training = run_in(tmp_path / "run"), Training(config(), corpus, CPU)
    poisoned(training, 0)
    list(train(training, corpus, run, Plan.of_steps(2, 1)))
    assert [row["train_loss"] is None for row in rows(run)] == [True, False]


def test_a_run_goes_on_after_one_loss_that_is_not_finite(corpus: Corpus, tmp_path: Path) -> None:
    whole, parts = run_in(tmp_path / "whole"), run_in(tmp_path / "parts")
    training = Training(config(), corpus, CPU)
    poisoned(training, 6)
    records = list(train(training, corpus, whole, Plan.of_steps(12, 4)))
    assert [record.step for record in records if isinstance(record, Halved)] == [7]
    assert isinstance(records[-1], Finished)
    assert records[-1].reason == "done"
    # A resumed run remembers.
    training = Training(config(), corpus, CPU)
    poisoned(training, 6)
    list(train(training, corpus, parts, Plan.of_steps(12, 4), lambda: training.step == 9))
    again = Training(config(), corpus, CPU)
    again.restore(parts.load_last()[0])
    list(train(again, corpus, parts, Plan.of_steps(12, 4)))
    same_files(whole.last, parts.last)


def test_a_loss_that_is_not_finite_again_stops_and_keeps_the_checkpoint(corpus: Corpus, tmp_path: Path) -> None:
    run, training = run_in(tmp_path / "run"), Training(config(), corpus, CPU)

    def records() -> Iterator[Record]:
        for record in train(training, corpus, run, Plan.of_steps(40, 5)):
            yield record
            if isinstance(record, Evaluation) and record.step == 10:
                training.model.output.bias.data[0] = math.nan

    with pytest.raises(DivergedError, match="second time"):
        list(records())
    assert checkpoints.load(run.last).step == 10
    assert len(list(run.read_metrics())) == 2


def test_the_last_measurement_is_given_up_when_the_time_is_long_over(corpus: Corpus, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    late = Told({1: Decision(1, 1, 1)}, over=True)
    *_, finished = train(Training(config(), corpus, CPU), corpus, run, Plan.of_steps(40, 40), clock=late)
    assert finished == Finished("deadline", 1, None, None)
    assert checkpoints.load(run.last).step == 1


@pytest.mark.parametrize("model", [{}, NGRAMS], ids=["plain", "ngrams"])
def test_a_long_measurement_is_interrupted_by_saves(corpus: Corpus, tmp_path: Path, model: dict[str, object]) -> None:
    whole, parts = run_in(tmp_path / "whole"), run_in(tmp_path / "parts")
    list(train(Training(config(model, save_every=1e-9), corpus, CPU), corpus, whole, Plan.of_steps(8, 8)))
    training = Training(config(model, save_every=1e-9), corpus, CPU)
    asked = itertools.count()
    list(train(training, corpus, parts, Plan.of_steps(8, 8), lambda: next(asked) >= 8))  # within the only measurement
    state = parts.load_last()[0]
    assert (state.step, state.training and state.training.row_step) == (8, 0)
    training = Training(config(model, save_every=1e-9), corpus, CPU)
    training.restore(state)
    list(train(training, corpus, parts, Plan.of_steps(8, 8)))
    same_files(whole.last, parts.last)


class Told(Clock):
    """A clock that decides what it was told to."""

    def __init__(self, decisions: dict[int, Decision], *, over: bool = False) -> None:
        self.decisions, self._over = decisions, over

    def decide(self, training: Training, plan: Plan, seconds: float) -> Decision | None:
        return self.decisions.get(training.step)

    def over(self) -> bool:
        return self._over


def test_the_speed_of_training_does_not_count_the_time_of_measurements(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a step takes a second, and each part of a measurement an hour."""
    training, now, seen = Training(config(), corpus, CPU), [0.0], [-1]

    class Watched(Clock):
        def over(self) -> bool:
            now[0] += 1 if training.step > seen[0] else 3600
            seen[0] = training.step
            return False

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    records = train(training, corpus, run_in(tmp_path / "run"), PLAN, clock=Watched())
    seconds = [record.seconds for record in records if isinstance(record, Progress)]
    assert now[0] > 3600
    assert seconds == [1.0] * len(seconds)


def test_a_run_that_the_clock_ends_is_measured(corpus: Corpus, tmp_path: Path) -> None:
    *_, decision, evaluation, finished = train(
        Training(config(), corpus, CPU),
        corpus,
        run_in(tmp_path / "run"),
        Plan.of_steps(40, 40),
        clock=Told({3: Decision(3, 3, 1)}),
    )
    assert decision == Decision(3, 3, 1)
    assert isinstance(evaluation, Evaluation)
    assert finished == Finished("done", 3, evaluation.val_loss, 3, evaluation.val_characters)


def test_what_the_clock_decided_is_repeated_from_the_record_bit_for_bit(corpus: Corpus, tmp_path: Path) -> None:
    """A run that is lengthened, shortened, begun anew and given other threads, and stopped and resumed on the way."""
    told = [Decision(5, 30, 6, 1), Decision(9, 20, 4, 2), Decision(12, 40, 8, 1, anew=True), Decision(30, 33, 9, 1)]
    first, again = run_in(tmp_path / "first"), run_in(tmp_path / "again")
    clock = Told({decision.step: decision for decision in told})
    begun_in = threads()
    training = Training(config(), corpus, CPU)
    *_, finished = train(training, corpus, first, Plan.of_steps(8, 2), lambda: training.step >= 15, clock)
    assert (finished.reason, finished.step) == ("stopped", 15)  # type: ignore[union-attr]
    saved = first.load_last()[0].training
    assert saved is not None
    plan = Plan.from_dict(saved.plan)
    assert plan == Plan((Decision(0, 8, 2), *told[:3]))
    training = Training(config(), corpus, CPU)
    training.restore(first.load_last()[0])
    list(train(training, corpus, first, plan, clock=clock))

    saved = first.load_last()[0].training
    assert saved is not None
    plan = Plan.from_dict(saved.plan)
    assert plan.decisions[1:] == tuple(told)
    use_threads(begun_in)
    list(train(Training(config(), corpus, CPU), corpus, again, plan))
    assert checkpoints.load(first.last).step == 33
    same_files(first.last, again.last)
    same_files(first.best, again.best)
    assert rows(first) == rows(again)


def test_with_ngrams_the_last_measurement_of_the_whole_is_that_of_the_saved_weights(text: str, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text(text[:30_000], encoding="utf-8", newline="")
    corpus = corpora.load([str(tmp_path / "corpus.txt")], [], TextConfig(val_fraction=0.5))
    run = run_in(tmp_path / "run")
    training = Training(config(NGRAMS, learning_rate=0.01), corpus, CPU)
    *_, finished = train(training, corpus, run, Plan((Decision(0, 12, 4),), part=4500, whole=True))
    best = assert_best_scores_as_recorded(run, corpus)
    assert isinstance(finished, Finished)
    assert finished.scored == corpus.val.characters
    assert (finished.best_loss, finished.best_step) == (best.val_loss, best.step)
    assert best.step == training.step  # so it was measured on the model at hand


def test_measurements_of_a_part_end_with_one_of_the_whole(text: str, tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text(text[:60_000], encoding="utf-8", newline="")
    corpus = corpora.load([str(tmp_path / "corpus.txt")], [], TextConfig(val_fraction=0.5))
    run = run_in(tmp_path / "run")
    plan = Plan((Decision(0, 12, 4),), part=9000, whole=True)
    # A rate that grows past all use: the best weights are not the last ones.
    training = Training(config(learning_rate=0.5), corpus, CPU)
    *_, finished = train(training, corpus, run, plan)
    measured = [row["val_characters"] for row in run.read_metrics()]
    assert len(measured) == 3
    assert 4000 < measured[0] < 16_000
    assert set(measured) == {measured[0]}
    assert isinstance(finished, Finished)
    assert finished.scored == corpus.val.characters == 30_000
    best = checkpoints.load(run.best)
    assert best.step == finished.best_step
    model = CharLSTM.from_weights(best.config.model, best.tokenizer, best.weights)
    assert finished.best_loss == evaluate(Reader(model, corpus.tokenizer, CPU), corpus.val).loss
    assert best.val_loss == finished.best_loss
