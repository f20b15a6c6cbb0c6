"""How a run begins, as the library says it: nothing is printed, nothing is written before it is claimed."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.errors import UsageError
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage.checkpoint import Checkpoint
from charlstm.storage.runs import Run
from charlstm.training import again as later
from charlstm.training import start
from charlstm.training.order import Order
from charlstm.training.records import Finished, Unsaved
from tests.conftest import empty

CPU = DeviceConfig(device="cpu", precision="fp32", threads=1)
GIVEN = {"steps", "hidden_size", "embedding_size", "batch_size", "seq_length"}


def config(**options: object) -> RunConfig:
    model = ModelConfig(hidden_size=8, embedding_size=8)
    return RunConfig(text=TextConfig(), model=model, train=TrainConfig(batch_size=4, seq_length=16, **options))  # type: ignore[arg-type]


@pytest.fixture
def order(text: str, tmp_path: Path) -> Order:
    (tmp_path / "text.txt").write_text(text[:20_000], encoding="utf-8")
    run = Run(tmp_path / "checkpoints" / "mine")
    return Order(run=run, paths=[str(tmp_path / "text.txt")], device=CPU, cache=empty(tmp_path))


def test_nothing_is_printed_or_written_before_a_run_is_claimed(order: Order, capfd: pytest.CaptureFixture[str]) -> None:
    ready = start.new(order, config(steps=4), GIVEN)
    assert not order.run.folder.exists()
    ready.claim()
    *_, finished = ready.records()
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.step) == ("done", 4)
    assert order.run.best.exists()
    assert capfd.readouterr() == ("", "")


def test_a_run_goes_on_with_its_own_text(order: Order) -> None:
    ready = start.new(order, config(steps=6), GIVEN)
    ready.claim()
    list(ready.records(lambda: ready.training.step >= 2))
    again = later.resume(Order(run=order.run, device=CPU, cache=order.cache), {})
    assert again is not None
    assert (again.resumed, again.training.step) == (True, 2)
    again.claim()
    *_, finished = again.records()
    assert isinstance(finished, Finished)
    assert finished.step == 6


def test_the_time_of_a_run_is_over_before_its_text_is_read(order: Order) -> None:
    late = Order(run=order.run, paths=order.paths, device=CPU, cache=order.cache, began=time.monotonic() - 3)
    with pytest.raises(UsageError, match="--time 2s was over when"):
        start.new(late, config(time=2.0), GIVEN)


def test_a_model_is_built_once(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is measured on it before the first step, with a size that is given."""
    from charlstm.training import state

    built = []

    class Counted(state.CharLSTM):
        def __init__(self, *arguments: object, **options: object) -> None:
            built.append(self)
            super().__init__(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(state, "CharLSTM", Counted)
    start.new(order, config(time=20.0), GIVEN | {"num_layers"})
    assert len(built) == 1


def trained(order: Order, stop_at: int | None = None, **options: object) -> Checkpoint:
    """Train with n-grams, so that dropout would change if it followed the length, and return the last state."""
    given = GIVEN | {"num_layers", "ngrams", "ngram_rows", "dropout", "recurrent_dropout", "ngram_dropout"}
    model = ModelConfig(hidden_size=8, embedding_size=8, ngrams=3, ngram_rows=64)
    settings = RunConfig(
        text=TextConfig(),
        model=model,
        train=TrainConfig(batch_size=4, seq_length=16, evaluations=2, **options),  # type: ignore[arg-type]
    )
    ready = start.new(order, settings, given)
    ready.claim()
    list(ready.records(lambda: ready.training.step == stop_at))
    return checkpoints.load(order.run.last)


@pytest.mark.slow
def test_a_finished_run_that_gets_more_steps_is_as_if_it_had_had_them_from_the_start(order: Order) -> None:
    """It goes on from where its rate began to fall; the better of the two falls is kept."""
    trained(order, steps=400)
    first = checkpoints.load(order.run.best)
    assert first.val_loss is not None
    assert checkpoints.load(order.run.level).step == 240
    longer = dataclasses.replace(order, length_asked=True)
    again = later.resume(longer, {"steps": 450})
    assert again is not None
    assert again.training.step == 240
    assert "at which the learning rate began to fall" in again.notes[0]
    again.claim()
    *_, finished = again.records()
    assert isinstance(finished, Finished)
    assert finished.step == 450
    assert finished.best_loss is not None
    assert finished.best_loss <= first.val_loss
    assert checkpoints.load(order.run.best).val_loss == finished.best_loss
    whole = trained(dataclasses.replace(order, run=Run(order.run.folder.parent / "whole")), steps=450)
    ours = checkpoints.load(order.run.last)
    for name, tensor in whole.tensors.items():
        assert np.array_equal(tensor, ours.tensors[name]), name


def test_a_run_that_was_stopped_in_its_fall_goes_on_falling(order: Order) -> None:
    trained(order, stop_at=60, steps=80)
    again = later.resume(order, {})
    assert again is not None
    assert again.training.step == 60
    again.claim()
    list(again.records())
    whole = trained(dataclasses.replace(order, run=Run(order.run.folder.parent / "whole")), steps=80)
    ours = checkpoints.load(order.run.last)
    for name, tensor in whole.tensors.items():
        assert np.array_equal(tensor, ours.tensors[name]), name


def test_a_run_is_not_made_shorter_by_going_back_to_before_its_fall(order: Order) -> None:
    trained(order, steps=80)
    for steps in (60, 80):
        with pytest.raises(UsageError, match=r"step 80"):
            later.resume(dataclasses.replace(order, length_asked=True), {"steps": steps})


def test_the_best_weights_of_an_abandoned_fall_stay_the_best_until_they_are_beaten(order: Order) -> None:
    trained(order, steps=80)
    best = order.run.best.read_bytes()
    again = later.resume(dataclasses.replace(order, length_asked=True), {"steps": 180, "evaluations": 20})
    assert again is not None
    again.claim()
    list(again.records(lambda: again.training.step >= 57))  # measured at the peak rate, which is worse
    assert order.run.best.read_bytes() == best
    at = checkpoints.load(order.run.last).training
    assert at is not None
    assert (at.best_step, at.abandoned) == (80, True)


def test_a_state_before_the_fall_that_cannot_be_written_ends_no_run(order: Order) -> None:
    ready = start.new(order, config(steps=10), GIVEN)
    ready.claim()
    order.run.level.mkdir()
    records = list(ready.records())
    assert [record.step for record in records if isinstance(record, Unsaved)] == [6]
    assert isinstance(records[-1], Finished)
    assert (records[-1].reason, records[-1].step) == ("done", 10)
    longer = later.resume(dataclasses.replace(order, length_asked=True), {"steps": 20})
    assert longer is not None
    assert longer.training.step == 10  # from its end, as there is nothing else
