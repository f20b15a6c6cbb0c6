import math
import re
import time
from pathlib import Path

import numpy as np
import pytest

from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.network import device
from charlstm.text import corpus as corpora
from charlstm.text.corpus import Corpus
from charlstm.training import calibration as plans
from charlstm.training import recipe
from charlstm.training.plan import Decision, Plan
from charlstm.training.state import Training
from tests.training.conftest import CPU, config


def with_bf16(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    """Have the processor say that it computes bf16, or that it does not."""
    for module in (plans, device):
        monkeypatch.setattr(module, "has_bf16", lambda _: there)
    monkeypatch.setattr(plans, "bf16_pays", lambda _: True)


def test_a_bf16_that_fails_falls_back_to_fp32(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(training: Training, _: float) -> float:
        if training.device.precision == "bf16":
            raise RuntimeError("could not create a primitive\nwith details")
        return 1.0

    with_bf16(monkeypatch, True)
    monkeypatch.setattr(plans, "step_seconds", fails)
    for precision in ("auto", "bf16"):
        training, _, notes = plans.choose_device(DeviceConfig(device="cpu", precision=precision), config(), corpus)
        assert training.device.precision == "fp32"
        assert notes == ["bf16 fails on this machine (could not create a primitive): computing in fp32"]


def test_a_bf16_that_is_emulated_is_not_timed(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []
    with_bf16(monkeypatch, True)
    monkeypatch.setattr(plans, "bf16_pays", lambda _: False)
    monkeypatch.setattr(plans, "step_seconds", lambda training, _: timed.append(training.device.precision) or 1.0)
    plans.choose_device(DeviceConfig(device="cpu"), config(steps=None, time=5.0), corpus)
    assert timed == ["fp32"]


def test_plans(corpus: Corpus) -> None:
    training, device = Training(config(), corpus, CPU), DeviceConfig(threads=1)
    given = TrainConfig(steps=101, evaluations=10)
    assert plans.make(training, corpus, given, device, 0.0).plan == Plan((Decision(0, 101, 11, anew=True, fall=40),))
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
    assert note.startswith(f"--time 20s allows about 1 step here, {1 / windows:.2f} of a pass over the text")
    assert plans.too_short(Plan.of_steps(7, 1), Training(config(steps=7), corpus, CPU)) is None  # as asked for


def test_precision_is_measured(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {"bf16": 1.0, "fp32": 2.0}
    with_bf16(monkeypatch, True)
    monkeypatch.setattr(plans, "step_seconds", lambda training, _: speeds[training.device.precision])
    assert plans.choose_device(DeviceConfig(device="cpu"), config(), corpus)[0].device.precision == "bf16"
    speeds["fp32"] = 0.5
    assert plans.choose_device(DeviceConfig(device="cpu"), config(), corpus)[0].device.precision == "fp32"
    assert (
        plans.choose_device(DeviceConfig(device="cpu", precision="bf16"), config(), corpus)[0].device.precision
        == "bf16"
    )
    with_bf16(monkeypatch, False)
    speeds["bf16"] = 0.1
    assert plans.choose_device(DeviceConfig(device="cpu"), config(), corpus)[0].device.precision == "fp32"


def test_a_short_text_is_not_read_for_ever(corpus: Corpus) -> None:
    training = Training(config(), corpus, CPU)
    plan = plans.make(training, corpus, TrainConfig(time=60.0), DeviceConfig(threads=1), time.monotonic()).plan
    assert plan.steps == math.ceil(recipe.MAX_EPOCHS * training.batches.windows)


def test_a_script_of_thousands_of_characters(text: str, tmp_path: Path) -> None:
    """A character stands for a word: few pairs come twice, and a step computes few of the logits."""
    words = re.findall(r"\w+", text)
    names = {word: chr(0x4E00 + number) for number, word in enumerate(dict.fromkeys(words))}
    (tmp_path / "words.txt").write_text("".join(names[word] for word in words), encoding="utf-8")
    corpus = corpora.load([str(tmp_path / "words.txt")], [], TextConfig())
    wanted = RunConfig(text=TextConfig(), model=ModelConfig(), train=TrainConfig(steps=100))
    prepared = plans.prepare(wanted, {"steps"}, corpus, DeviceConfig(device="cpu", precision="fp32"))
    training, vocab_size = prepared.training, corpus.tokenizer.vocab_size
    assert vocab_size > 2_000
    assert training.config.train.softmax_sample == 128
    assert 256 <= training.softmax_size < vocab_size / 2
    assert training.config.model.ngrams <= 3
    assert {choice.name for choice in prepared.choices} >= {"softmax", "n-grams", "size"}
    assert "of a step" in next(choice.reason for choice in prepared.choices if choice.name == "size")
