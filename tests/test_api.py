"""The door for Python programs: against the commands, torch's own forward pass, and a user's type checker."""

import json
import math
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import charlstm as door
from charlstm.config import ModelConfig
from charlstm.network.cells import CELLS
from charlstm.network.model import CharLSTM
from charlstm.training.records import Evaluation, Finished, Progress
from tests.conftest import Command

ROOT = Path(__file__).parent.parent
LINE = "The value of the expression, and a \N{SNOWMAN}."
TINY = {"hidden_size": 8, "embedding_size": 8, "batch_size": 4, "seq_length": 16, "precision": "fp32", "threads": 1}


@pytest.fixture(scope="module")
def model(trained: Path) -> door.Model:
    return door.load(trained)


@pytest.fixture(scope="module")
def byte_model(text: str, tmp_path_factory: pytest.TempPathFactory) -> door.Model:
    """A model of documents, by bytes."""
    root = tmp_path_factory.mktemp("bytes")
    (root / "lines.txt").write_text(
        text[:9000].replace("a", "\N{LATIN SMALL LETTER A WITH DIAERESIS}"), encoding="utf-8"
    )
    run = door.train(
        root / "lines.txt", checkpoints=root, steps=20, tokenizer="byte", separator=r"\n", evaluations=1, **TINY
    )
    return door.load(run.folder)


def test_a_text_is_the_commands(model: door.Model, trained: Path, charlstm: Command) -> None:
    options = ["--temperature=0.9", "--top-k=20", "--top-p=0.95", "--min-p=0.01", "--seed=5"]
    (row,) = map(
        json.loads, charlstm("sample", trained, "--prompt=The ", "--length=80", "--json", *options).out.splitlines()
    )
    settings = {"length": 80, "temperature": 0.9, "top_k": 20, "top_p": 0.95, "min_p": 0.01, "seed": 5}
    assert model.generate("The ", **settings) == row["text"]  # type: ignore[arg-type]
    steps = list(model.stream("The ", **settings))  # type: ignore[arg-type]
    assert "".join(step.text for step in steps) == row["text"]
    assert [step.finish_reason for step in steps] == [None] * 79 + ["length"]


def test_a_stop_text_is_left_out_and_every_step_is_there(model: door.Model) -> None:
    whole = model.generate("The ", length=60, seed=1)
    stop = whole[30:33]
    steps = list(model.stream("The ", length=60, seed=1, stop=stop))
    before = whole[: whole.index(stop)]
    assert "".join(step.text for step in steps) == before == model.generate("The ", length=60, seed=1, stop=stop)
    assert len(steps) == len(before) + len(stop)
    assert steps[-1].finish_reason == "stop"


def test_an_exact_model_writes_and_scores(model: door.Model, trained: Path, charlstm: Command) -> None:
    exact = door.load(trained, exact=True)
    options = ["--exact", "--length=80", "--temperature=0.9", "--top-p=0.95", "--seed=5", "--prompt=The "]
    rows = charlstm("sample", trained, "--json", "--num-samples=3", *options).out.splitlines()
    texts = [json.loads(row)["text"] for row in rows]
    settings = {"length": 80, "temperature": 0.9, "top_p": 0.95}
    assert [exact.generate("The ", seed=seed, **settings) for seed in (5, 6, 7)] == texts  # type: ignore[arg-type]
    assert exact.score(LINE).bits_per_character == pytest.approx(model.score(LINE).bits_per_character, rel=0.01)
    steps = list(exact.stream("The ", length=20, seed=5))
    assert exact.surprise("The " + "".join(step.text for step in steps))[4:] == pytest.approx(
        [-step.logprob / math.log(2) for step in steps]
    )
    (after,) = list(exact.trace("T"))
    np.testing.assert_allclose(after.layers[0].h, next(iter(model.trace("T"))).layers[0].h, atol=0.02)
    with pytest.raises(door.UsageError, match="state"):
        exact.generate(state=model.read("The "))
    with pytest.raises(door.UsageError, match="exact arithmetic runs on the CPU"):
        door.load(trained, exact=True, device="cuda")
    refused = charlstm("sample", trained, "--exact", "--device=cuda")
    assert (refused.code, refused.err.count("\n")) == (2, 1)


def test_log_probabilities_are_the_surprise_of_the_text(model: door.Model) -> None:
    prompt = "The value"
    steps = list(model.stream(prompt, length=40, seed=2, top=1))
    surprise = model.surprise(prompt + "".join(step.text for step in steps))[len(prompt) :]
    assert [-step.logprob / math.log(2) for step in steps] == pytest.approx(surprise.tolist(), abs=1e-5)
    assert all(step.top[0][1] >= step.logprob for step in steps)


@pytest.mark.parametrize("name", ["model", "byte_model"])
def test_a_score_is_that_of_eval(name: str, request: pytest.FixtureRequest, charlstm: Command) -> None:
    model = request.getfixturevalue(name)
    Path("line.txt").write_text(LINE, encoding="utf-8")
    row = json.loads(charlstm("eval", model.loaded.path, "line.txt", "--json").out)
    score = model.score(LINE)
    assert (score.characters, score.bytes, score.unknown) == (row["characters"], row["bytes"], row["unknown"])
    assert score.bits_per_character == pytest.approx(row["bits_per_character"], abs=1e-6)
    assert score.bits_per_byte == pytest.approx(row["bits_per_byte"], abs=1e-6)
    assert score.perplexity == pytest.approx(row["perplexity"], rel=1e-6)


def test_long_texts_take_the_fast_way(model: door.Model, text: str) -> None:
    score = model.score(text[40_000:62_000])
    exact = model.surprise(text[40_000:62_000])
    assert score.characters == len(exact) == 22_000
    assert score.bits_per_character == pytest.approx(exact.mean(), abs=1e-4)  # streams begin after a warm-up


@pytest.mark.parametrize("name", ["model", "byte_model"])
def test_the_surprise_is_of_each_character(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    bits = model.surprise(LINE)
    assert bits.shape == (len(LINE),)
    assert (bits > 0).all()
    score = model.score(LINE)
    end = model.loaded.tokenizer.end_id is not None  # which a score counts
    assert (bits.sum() < score.nats / math.log(2) - 1e-4) == end
    if not end:
        assert bits.sum() == pytest.approx(score.nats / math.log(2))
    assert model.surprise("").shape == (0,)


def test_a_text_may_branch_anywhere(model: door.Model) -> None:
    state = model.read("The val")
    first = model.generate("ue", state=state.copy(), length=30, seed=3)
    assert (
        model.generate("ue", state=state.copy(), length=30, seed=3)
        == first
        == model.generate("The value", length=30, seed=3)
    )
    moved = model.generate(state=state, length=10, seed=4)  # which moves the state itself
    assert model.generate(state=state.copy(), length=10, seed=5) == model.generate("The val" + moved, length=10, seed=5)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_a_trace_is_what_the_model_computes(cell: str, text: str, tmp_path: Path) -> None:
    """Its h against torch's forward pass, one layer above the other; its c and gates by the equation of the update."""
    (tmp_path / "t.txt").write_text(text[:3000], encoding="utf-8")
    run = door.train(tmp_path / "t.txt", checkpoints=tmp_path, cell=cell, num_layers=2, steps=6, evaluations=1, **TINY)
    model = door.load(run.folder)
    traced = list(model.trace("The value"))
    assert "".join(at.text for at in traced) == "The value"
    network: CharLSTM = model.loaded.model
    ids = torch.tensor([*model.loaded.tokenizer.opening, *model.loaded.tokenizer.encode("The value").tolist()])
    states = [network.zero_state(1)]
    with torch.no_grad():
        for id in ids:
            states.append(network(id[None, None], states[-1])[1])
    before = states[len(ids) - len(traced)]
    for at, after in zip(traced, states[-len(traced) :], strict=True):
        for layer, (was, now) in zip(at.layers, zip(before[:2], after[:2], strict=True), strict=True):
            np.testing.assert_allclose(layer.h, now[0][0, 0], atol=1e-5)
            assert list(layer.gates) == list(CELLS[cell].gates)
            if CELLS[cell].has_c:
                f, g = layer.gates["f"], layer.gates["g"]
                np.testing.assert_allclose(layer.c, now[1][0, 0], atol=1e-5)
                np.testing.assert_allclose(
                    layer.c, f * was[1][0, 0].numpy() + layer.gates.get("i", 1 - f) * g, atol=1e-5
                )
            else:
                assert layer.c is None
        before = after


def test_threads_share_a_model(trained: Path) -> None:
    """Eight of them, each with streams of its own, against one that has the model to itself."""
    model = door.load(trained)
    expected = [model.generate("The ", length=150, seed=seed) for seed in range(8)]
    found: dict[int, list[str]] = {}

    def work(seed: int) -> None:
        found[seed] = [model.generate("The ", length=150, seed=seed) for _ in range(4)]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {seed: [text] * 4 for seed, text in enumerate(expected)}


def test_what_a_model_says_of_itself(trained: Path) -> None:
    with door.load(trained) as model:
        assert model.config.model.hidden_size == 48
        assert model.vocabulary == model.loaded.tokenizer.vocabulary
        assert model.provenance.step == 120
        assert model.provenance.characters == 40_000
        assert len(model.provenance.sha256) == 64


def test_training_yields_records_and_prints_nothing(
    text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.txt").write_text(text[:3000], encoding="utf-8")
    records = list(door.training([tmp_path / "t.txt"], checkpoints=tmp_path, steps=8, evaluations=2, **TINY))
    assert {Progress, Evaluation, Finished} <= {type(record) for record in records}
    run = door.train([tmp_path / "t.txt"], checkpoints=tmp_path, resume=True, steps=12, threads=1)
    assert run.load_last()[0].step == 12
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"step": 5}, door.UsageError, "step: no such setting; did you mean steps?"),
        ({"steps": 0}, door.UsageError, "--steps 0: must be at least 1"),
        ({"time": "soon"}, door.UsageError, "'soon' is not a duration"),
        ({"name": "a/b"}, door.UsageError, "plain name"),
        ({"steps": 5, "corpus": "missing.txt"}, door.InputOutputError, "missing.txt: no such file"),
        ({"steps": 5, "corpus": []}, door.UsageError, "no corpus given"),
    ],
)
def test_errors_are_the_packages_own(
    settings: dict[str, object], error: type[door.CharLSTMError], said: str, tmp_path: Path, text: str
) -> None:
    (tmp_path / "t.txt").write_text(text[:3000], encoding="utf-8")
    corpus = settings.pop("corpus", tmp_path / "t.txt")
    with pytest.raises(error, match=said):
        door.train(corpus, checkpoints=tmp_path, **settings)  # type: ignore[arg-type]


def test_more_errors(model: door.Model, tmp_path: Path) -> None:
    with pytest.raises(door.InputOutputError, match="no such checkpoint or run"):
        door.load(tmp_path / "nothing")
    with pytest.raises(door.DataError, match="never seen"):
        model.stream("\N{SNOWMAN}")
    with pytest.raises(door.UsageError, match="--temperature -1"):
        model.generate(temperature=-1)
    with pytest.raises(door.DataError, match="empty"):
        model.score("")
    with pytest.raises(AttributeError):
        _ = door.nothing  # type: ignore[attr-defined]


def test_slips_are_told(model: door.Model, byte_model: door.Model, tmp_path: Path, text: str) -> None:
    with pytest.raises(door.UsageError, match="not read by this model"):
        model.generate(state=byte_model.read("a"))
    for wrong in (None, b"bytes", 3, ["a"]):
        with pytest.raises(door.UsageError, match="is not a text"):
            model.generate(wrong)  # type: ignore[arg-type]
        with pytest.raises(door.UsageError, match="is not a text"):
            model.score(wrong)  # type: ignore[arg-type]
    state = model.read("The")
    before = model.generate(state=state.copy(), length=9, seed=1)
    with pytest.raises(door.UsageError, match="stop ''"):
        model.stream("x", state=state, stop="")
    assert model.generate(state=state, length=9, seed=1) == before  # it has not moved
    assert model.generate(stop=None, length=3, seed=1)  # type: ignore[arg-type]
    with pytest.raises(door.UsageError, match="top -1"):
        model.stream(top=-1)
    with pytest.raises(door.UsageError, match="name of a file"):
        door.load("a\0b")
    (tmp_path / "t.txt").write_text(text[:3000], encoding="utf-8")
    with pytest.raises(door.UsageError, match="exclude each other"):
        door.train(tmp_path / "t.txt", resume=True, force=True)
    with pytest.raises(door.UsageError, match="name of a file"):
        door.train(b"t.txt")  # type: ignore[arg-type]
    run = door.train(tmp_path / "t.txt", val=tmp_path / "t.txt", checkpoints=tmp_path, name="x", steps=3, **TINY)
    assert run.load_last()[0].source.val_paths == (str(tmp_path / "t.txt"),)
    with pytest.raises(door.UsageError, match="is finished"):
        door.train(checkpoints=tmp_path, name="x", resume=True, steps=None)


def test_trainings_in_threads_are_those_alone(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(text[:3000], encoding="utf-8")

    def train(name: str) -> None:
        door.train(tmp_path / "t.txt", checkpoints=tmp_path, name=name, steps=40, dropout=0.3, evaluations=2, **TINY)

    train("alone")
    threads = [threading.Thread(target=train, args=(name,)) for name in ("one", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with torch.no_grad():  # which is the caller's own affair
        train("ungraded")
    alone, *others = (door.load(tmp_path / name).loaded.checkpoint for name in ("alone", "one", "other", "ungraded"))
    for other in others:
        assert all(np.array_equal(weight, other.weights[name]) for name, weight in alone.weights.items())


def test_the_folder_of_the_same_name_is_still_a_folder() -> None:
    from charlstm.training import plan

    assert callable(door.training)
    assert plan.Plan.of_steps(3, 1).steps == 3
    assert ModelConfig().cell in CELLS


USER = """
from collections.abc import Iterator
import charlstm
with charlstm.load("shakespeare", device="cpu") as model:
    text: str = model.generate("ROMEO:", length=200, temperature=0.8, seed=1)
    for step in model.stream("ROMEO:", stop=["X"], top=3):
        shown: str = step.text
        reason: str | None = step.finish_reason
        best: tuple[str, float] = step.top[0]
    score: charlstm.Score = model.score("To be")
    bits: float = score.bits_per_character + score.perplexity + model.surprise("a").sum()
    state: charlstm.State = model.read("Once")
    steps: Iterator[charlstm.Step] = model.stream(state=state.copy())
    for at in model.trace("abc"):
        gate = at.layers[0].gates["f"]
    size: int = model.config.model.hidden_size
    names: list[str] = model.vocabulary
    digest: str = model.provenance.sha256
run: charlstm.Run = charlstm.train(["corpus.txt"], time="2m", name="mine")
for record in charlstm.training(["corpus.txt"], steps=5):
    print(record)
try:
    charlstm.load("none")
except charlstm.CharLSTMError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_users_file_passes_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(USER)
    # With the settings and the cache of `make lint`: without a cache, reading torch takes half a minute.
    ours = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *ours, "user.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
