"""Checkpoints of older versions open, score as they did, and go on as if nothing had changed.

`python -m tests.checkpoints.make` has written them.
"""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from charlstm.network.device import Device, machine
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage.runs import Run
from tests.checkpoints.make import digest
from tests.checkpoints.text import NAME, SHA256, text
from tests.conftest import Command

RUNS = sorted(file.parent for file in (Path(__file__).parent.parent / "checkpoints").rglob("expected.json"))
ROUNDING = 1e-4  # between two processors, after a few steps


def test_the_text_is_what_it_was() -> None:
    assert hashlib.sha256(text().encode()).hexdigest() == SHA256


@pytest.mark.parametrize("kept", RUNS, ids=lambda kept: f"{kept.parent.name}/{kept.name}")
def test_an_old_run_opens_scores_and_goes_on(charlstm: Command, kept: Path) -> None:
    Path(NAME).write_text(text(), encoding="utf-8", newline="")
    expected = json.loads((kept / "expected.json").read_text())
    run = Run(Path("checkpoints") / kept.name)
    shutil.copytree(kept, run.folder)
    before = checkpoints.load(run.last)
    assert before.training is not None
    for file in (run.best, run.last):
        assert charlstm("info", file).code == 0
    scored = charlstm("eval", run.best, "--json", "--threads=1")
    assert scored.code == 0, scored.err
    row = json.loads(scored.out)
    assert row["nats"] / row["characters"] == pytest.approx(expected["best"], rel=ROUNDING)
    sampled = charlstm("sample", run.best, "--length=20", "--seed=1", "--json")
    assert json.loads(sampled.out)["characters"] <= 20

    resumed = charlstm("train", "--resume", "--name", kept.name)
    assert resumed.code == 0, resumed.err
    after = checkpoints.load(run.last)
    assert after.step == before.training.plan["steps"]
    assert after.training is not None
    assert after.training.best_loss == pytest.approx(expected["finished"], rel=ROUNDING)
    if machine(Device("cpu", "fp32")).items() <= before.training.machine.items():
        assert digest(after.weights) == expected["weights"]
