"""A run as a person sees it, without a terminal: every line whole, nothing drawn over."""

import math
from pathlib import Path

import pytest

from charlstm.show import training as show
from charlstm.training import start
from charlstm.training.order import Order, Ready
from charlstm.training.plan import Decision, Plan
from charlstm.training.records import Evaluation, Finished, Halved, Progress, Unsaved
from tests.training.test_start import GIVEN, config, order  # noqa: F401 (a fixture)


@pytest.fixture
def ready(order: Order) -> Ready:  # noqa: F811
    return start.new(order, config(steps=4), GIVEN)


@pytest.mark.parametrize(
    ("seconds", "duration", "spoken"), [(9.4, "0:09", "9 s"), (59.6, "1:00", "1:00"), (3723.0, "1:02:03", "1:02:03")]
)
def test_times(seconds: float, duration: str, spoken: str) -> None:
    assert show.duration(seconds) == duration
    assert show.spoken(seconds) == spoken


def test_records_are_told_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    with show.TrainingView(Plan.of_steps(100, 10), 0) as view:
        view.show(Progress(1, 2.0, 100, 0.1))  # a terminal's bar alone
        view.show(Evaluation(10, 0.5, 1.5, math.log(4), 1e-3, 1000, 65.0, 500, "a \x1b[31mtext\nmore", improved=True))
        view.show(Halved(11))
        view.show(Unsaved(12, "no space left"))
        view.show(Decision(13, 120, 12))
        view.show(Finished("done", 120, 1.0, 10, 500))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].split() == ["10", "0.50", "1.5000", "1.3863", "2.0000", "1:05", "*"]
    assert lines[2].strip() == "a \N{SYMBOL FOR ESCAPE}[31mtext"
    assert lines[4].startswith("note: step 11 ")
    assert lines[5].startswith("note: ")
    assert lines[5].endswith("no space left")
    assert (view.plan.steps, view.finished) == (120, Finished("done", 120, 1.0, 10, 500))


def test_a_run_is_described_before_and_after(ready: Ready, capsys: pytest.CaptureFixture[str]) -> None:
    show.describe(ready, verbose=False)
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().err.splitlines())
    assert said["run"] == str(ready.run.folder)
    assert said["text"].startswith("18,000 characters to learn from, 2,000 held out, vocabulary of ")
    assert said["model"].startswith(
        "lstm, 1 x 8, embedding 8, n-grams of 2 to 3, 0.0"
    )  # of 4 characters, too many come once
    assert said["length"].startswith("4 steps, 0.0 epochs")
    show.describe(ready, verbose=True)
    assert len(capsys.readouterr().err.splitlines()) > len(said)  # and every choice
    show.conclude(ready, Finished("stopped", 3, None, None), Plan.of_steps(4, 1))
    told = capsys.readouterr().err
    assert "stopped and saved (step 3 of 4)" in told
    assert "not measured yet; the command below does it" in told
    assert f"--resume --name mine --checkpoints {Path(ready.run.folder).parent}" in told
