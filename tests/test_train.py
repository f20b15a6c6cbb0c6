import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CELLS_AND_PRECISIONS

from charlstm import checkpoint as checkpoints
from charlstm import corpus as corpora
from charlstm import device, evaluate, recipe
from charlstm import plan as plans
from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.corpus import Corpus
from charlstm.device import Device, threads, use_threads
from charlstm.errors import DataError, DivergedError
from charlstm.evaluate import Score
from charlstm.model import CharLSTM
from charlstm.runs import Run
from charlstm.schedule import Decision, Plan, learning_rate
from charlstm.train import Clock, Evaluation, Finished, Halved, Progress, Record, Training, train

CPU = Device("cpu", "fp32")
PLAN = Plan.of_steps(40, 8)


def config(model: dict[str, object] | None = None, **options: object) -> RunConfig:
    sizes = {"hidden_size": 24, "embedding_size": 8, "num_layers": 2, "dropout": 0.2, "recurrent_dropout": 0.2} | (
        model or {}
    )
    lengths = {"batch_size": 6, "seq_length": 20, "steps": 40} | options
    return RunConfig(text=TextConfig(), model=ModelConfig(**sizes), train=TrainConfig(**lengths))


@pytest.fixture
def corpus(text: str, tmp_path: Path) -> Corpus:
    (tmp_path / "corpus.txt").write_text(text[:3000], encoding="utf-8", newline="")
    return corpora.load([str(tmp_path / "corpus.txt")], [], TextConfig())


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
        assert first.training | {"seconds": 0} == second.training | {"seconds": 0}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, Corpus], Run]:
    """A run of 40 steps of each cell in each precision, computed once."""
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
        for step in ((1, 16, 33, 40) if case.values[0] == "lstm" else (13,))
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
    assert finished == Finished("stopped", stopped_after, training.best_loss, training.best_step, training.scored)
    training = Training(options, corpus, device)
    training.restore(parts.load_last()[0])
    assert training.step == stopped_after
    list(train(training, corpus, parts, PLAN))

    same_files(whole.last, parts.last)
    same_files(whole.best, parts.best)
    assert rows(whole) == rows(parts)
    assert len(rows(whole)) == 5


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


def test_a_learning_rate_rises_and_falls() -> None:
    options = TrainConfig(steps=100, learning_rate=2.0, warmup=0.1)
    rates = [learning_rate(options, step, Plan.of_steps(100, 10)) for step in range(101)]
    assert rates[:10] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert rates[25] == pytest.approx(1 + math.cos(math.pi / 6))
    assert rates[100] == pytest.approx(0, abs=1e-12)


def test_each_stream_now_and_then_begins_from_a_zero_state(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charlstm.train._FORGETTING", 0.3)
    training = Training(config({"dropout": 0.0, "recurrent_dropout": 0.0}), corpus, CPU)
    seen = []
    training.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    for _ in range(40):
        training.update(0.01)
    zeroed = [[bool((h[0, n] == 0).all() and (c[0, n] == 0).all()) for n in range(6)] for ((h, c), _) in seen[1:]]
    share = np.mean(zeroed)
    assert 0.15 < share < 0.45
    assert len({tuple(row) for row in zeroed}) > 10  # each stream on its own
    assert all((upper[0] == 0).all(-1).tolist() == [row] for (_, upper), row in zip(seen[1:], zeroed, strict=True))


def test_the_gradient_is_that_of_the_window_with_carried_state(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps against a loop over torch's LSTM cell, clipped and updated by torch's unfused AdamW."""
    monkeypatch.setattr("charlstm.train._FORGETTING", 0.0)
    options = config({"num_layers": 1, "dropout": 0.0, "recurrent_dropout": 0.0}, clip_norm=0.5, weight_decay=0.1)
    training = Training(options, corpus, CPU)
    start = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    for _ in range(2):
        training.update(0.01)

    weights = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    decayed = [weight for weight in weights.values() if weight.ndim > 1]
    others = [weight for weight in weights.values() if weight.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.99),
        foreach=False,
    )
    h = c = torch.zeros(6, 24)
    text = corpus.train.ids.astype(np.int64)
    positions = np.arange(6) * len(text) // 6
    lengths = [0, *(len(training.batches.at(step).inputs) for step in range(2))]
    for begin, end in itertools.pairwise(np.cumsum(lengths).tolist()):
        loss, count = torch.zeros(()), 0
        for at in range(begin, end):
            before = torch.tensor([text[p + at - 1] if p + at else corpus.tokenizer.start_id for p in positions])
            x = weights["embedding.weight"][before]
            gates = x @ weights["layers.0.weight_ih_l0"].T + weights["layers.0.bias_ih_l0"]
            gates = gates + h @ weights["layers.0.weight_hh_l0"].T + weights["layers.0.bias_hh_l0"]
            i, f, g, o = gates.chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            logits = h @ weights["output.weight"].T + weights["output.bias"]
            target = torch.from_numpy(text[positions + at])
            loss = loss - logits.log_softmax(-1).gather(1, target[:, None]).sum()
            count += 6
        optimizer.zero_grad()
        (loss / count).backward()
        norm = torch.stack([weight.grad.norm() for weight in weights.values()]).norm()  # type: ignore[union-attr]
        for weight in weights.values():
            weight.grad *= min(1.0, 0.5 / norm.item())  # type: ignore[operator]
        optimizer.step()
        h, c = h.detach(), c.detach()
    for name, weight in training.model.state_dict().items():
        torch.testing.assert_close(weight, weights[name].detach(), rtol=1e-3, atol=1e-5)


def test_evaluations_do_not_disturb_the_training(corpus: Corpus, tmp_path: Path) -> None:
    often, seldom = run_in(tmp_path / "often"), run_in(tmp_path / "seldom")
    list(train(Training(config(), corpus, CPU), corpus, often, Plan.of_steps(12, 1)))
    list(train(Training(config(), corpus, CPU), corpus, seldom, Plan.of_steps(12, 12)))
    first, second = checkpoints.load(often.last), checkpoints.load(seldom.last)
    assert all(np.array_equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())


def test_another_seed_is_another_run(corpus: Corpus) -> None:
    models = [Training(config(seed=seed), corpus, CPU).weights()["output.weight"] for seed in (1, 1, 2)]
    assert np.array_equal(models[0], models[1])
    assert not np.array_equal(models[0], models[2])


def test_a_wrapping_stream_begins_with_no_state(corpus: Corpus) -> None:
    training = Training(config(), corpus, CPU)
    training.step = training.batches.windows  # stream 5 wraps to the beginning of the text here
    training.state = [(h + 1, c + 1) for h, c in training.state]
    given = []
    training.model.layers[0].register_forward_pre_hook(lambda _, inputs: given.append(inputs[1]))
    training.update(0.0)
    for state in given[0]:
        assert state[0, 5].eq(0).all()
        assert state[0, :5].eq(1).all()


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
        monkeypatch.setattr("charlstm.evaluate.progress", lambda *_, **__: iter([Score(next(losses), 1, 1, 0)]))
        *_, finished = train(training, corpus, run_in(tmp_path / "run"), Plan.of_steps(40, 2))
    assert finished == Finished("patience", 8, 2.0, 4, 1)


def poisoned(training: Training, step: int) -> None:
    """Make the loss of one step not finite."""
    loss = training._loss

    def poison(*args: Any) -> Any:
        value, state = loss(*args)
        return (value * math.nan, state) if training.step == step else (value, state)

    training._loss = poison  # type: ignore[method-assign]


def test_a_step_without_a_finite_loss_is_undone_and_the_rate_halved(corpus: Corpus, tmp_path: Path) -> None:
    training = Training(config(), corpus, CPU)
    for _ in range(4):
        training.update(1e-3)
    before = {name: tensor.copy() for name, tensor in training.tensors().items()}
    poisoned(training, 4)
    training.update(1e-3)
    assert all(np.array_equal(before[name], tensor) for name, tensor in training.tensors().items())
    assert (training.step, training.halved) == (5, True)
    training.update(1e-3)
    assert {group["lr"] for group in training.optimizer.param_groups} == {5e-4}
    assert math.isfinite(training.settle()[0])


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


def with_bf16(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """Have the processor say that it computes bf16, or that it does not."""
    for module in (plans, device):
        monkeypatch.setattr(module, "has_bf16", lambda _: there)


def test_a_bf16_that_fails_falls_back_to_fp32(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(training: Training, _: float) -> float:
        if training.device.precision == "bf16":
            raise RuntimeError("could not create a primitive\nwith details")
        return 1.0

    with_bf16(monkeypatch, True)
    monkeypatch.setattr(plans, "step_seconds", fails)
    for precision in ("auto", "bf16"):
        device, _, notes = plans.choose_device(DeviceConfig(device="cpu", precision=precision), config(), corpus)
        assert device.precision == "fp32"
        assert notes == ["bf16 fails on this machine (could not create a primitive): computing in fp32"]


def test_the_last_measurement_is_given_up_when_the_time_is_long_over(corpus: Corpus, tmp_path: Path) -> None:
    run = run_in(tmp_path / "run")
    late = Told({1: Decision(1, 1, 1)}, over=True)
    *_, finished = train(Training(config(), corpus, CPU), corpus, run, Plan.of_steps(40, 40), clock=late)
    assert finished == Finished("deadline", 1, None, None)
    assert checkpoints.load(run.last).step == 1


def test_a_long_measurement_is_interrupted_by_saves(corpus: Corpus, tmp_path: Path) -> None:
    whole, parts = run_in(tmp_path / "whole"), run_in(tmp_path / "parts")
    list(train(Training(config(save_every=1e-9), corpus, CPU), corpus, whole, Plan.of_steps(8, 8)))
    training = Training(config(save_every=1e-9), corpus, CPU)
    asked = itertools.count()
    list(train(training, corpus, parts, Plan.of_steps(8, 8), lambda: next(asked) >= 8))  # within the only measurement
    state = parts.load_last()[0]
    assert (state.step, state.training and state.training["row_step"]) == (8, 0)
    training = Training(config(save_every=1e-9), corpus, CPU)
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
    plan = Plan.from_dict(saved["plan"])
    assert plan == Plan((Decision(0, 8, 2), *told[:3]))
    training = Training(config(), corpus, CPU)
    training.restore(first.load_last()[0])
    list(train(training, corpus, first, plan, clock=clock))

    saved = first.load_last()[0].training
    assert saved is not None
    plan = Plan.from_dict(saved["plan"])
    assert plan.decisions[1:] == tuple(told)
    use_threads(begun_in)
    list(train(Training(config(), corpus, CPU), corpus, again, plan))
    assert checkpoints.load(first.last).step == 33
    same_files(first.last, again.last)
    same_files(first.best, again.best)
    assert rows(first) == rows(again)


def test_a_rehearsal_changes_nothing(corpus: Corpus) -> None:
    rehearsed, plain = Training(config(), corpus, CPU), Training(config(), corpus, CPU)
    for _ in range(3):
        rehearsed.rehearse()
        for training in (rehearsed, plain):
            training.update(1e-3)
        rehearsed.rehearse()
    expected = plain.tensors()
    assert all(np.array_equal(tensor, expected[name]) for name, tensor in rehearsed.tensors().items())
    assert rehearsed.settle() == plain.settle()


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
    model = CharLSTM.from_weights(best.config.model, best.tokenizer.vocab_size, best.weights)
    assert finished.best_loss == evaluate.evaluate(model, corpus.val, corpus.tokenizer, CPU).loss
    assert best.val_loss == finished.best_loss


def test_a_text_shorter_than_a_window_is_refused(corpus: Corpus) -> None:
    with pytest.raises(DataError, match="shorter than one window"):
        Training(config(seq_length=5000), corpus, CPU)
    with pytest.raises(DataError, match="--batch-size"):
        Training(config(batch_size=5000), corpus, CPU)


def test_plans(corpus: Corpus) -> None:
    training, device = Training(config(), corpus, CPU), DeviceConfig(threads=1)
    given = TrainConfig(steps=101, evaluations=10)
    assert plans.make(training, corpus, given, device, 0.0).plan == Plan((Decision(0, 101, 11, anew=True),))
    windows = training.batches.windows
    given = TrainConfig(epochs=2.5, evaluations=1)
    assert plans.make(training, corpus, given, device, 0.0).plan.steps == math.ceil(2.5 * windows)
    before = training.weights()["output.weight"].copy()
    plan = plans.make(training, corpus, TrainConfig(time=60.0), device, began=time.monotonic()).plan
    assert plan.steps > 100
    assert plan.part is None  # so short a held-out text is read whole each time
    assert training.step == 0
    assert np.array_equal(training.weights()["output.weight"], before)


def test_a_time_that_holds_hardly_any_step_is_told(corpus: Corpus) -> None:
    training = Training(config(steps=None, time=20.0), corpus, CPU)
    windows = training.batches.windows
    assert plans.too_short(Plan.of_steps(100, 10), training) is None
    note = plans.too_short(Plan.of_steps(1, 1), training)
    assert note is not None
    assert note.startswith(f"--time 20s holds about 1 step here, {1 / windows:.2f} of a pass over the text")
    assert plans.too_short(Plan.of_steps(7, 1), Training(config(steps=7), corpus, CPU)) is None  # as asked for


def test_precision_is_measured(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"bf16": 1.0, "fp32": 2.0}
    with_bf16(monkeypatch, True)
    monkeypatch.setattr(plans, "step_seconds", lambda training, _: speeds[training.device.precision])
    assert plans.choose_device(DeviceConfig(device="cpu"), config(), corpus)[0].precision == "bf16"
    speeds["fp32"] = 0.5
    assert plans.choose_device(DeviceConfig(device="cpu"), config(), corpus)[0].precision == "fp32"
    assert plans.choose_device(DeviceConfig(device="cpu", precision="bf16"), config(), corpus)[0].precision == "bf16"
    with_bf16(monkeypatch, False)
    speeds["bf16"] = 0.1
    assert plans.choose_device(DeviceConfig(device="cpu"), config(), corpus)[0].precision == "fp32"


def test_a_short_text_is_not_read_for_ever(corpus: Corpus) -> None:
    training = Training(config(), corpus, CPU)
    plan = plans.make(training, corpus, TrainConfig(time=60.0), DeviceConfig(threads=1), time.monotonic()).plan
    assert plan.steps == math.ceil(recipe.MAX_EPOCHS * training.batches.windows)
