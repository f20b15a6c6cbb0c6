"""How a run begins, as the library says it: nothing is printed, nothing is written before it is claimed."""

import time
from pathlib import Path

import pytest

from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.errors import UsageError
from charlstm.storage.runs import Run
from charlstm.training import start
from charlstm.training.records import Finished
from charlstm.training.start import Order
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
    again = start.resume(Order(run=order.run, device=CPU, cache=order.cache), {})
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
