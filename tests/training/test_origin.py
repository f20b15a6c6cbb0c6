"""A run that begins with a trained model, as the library says it."""

import dataclasses
import io
import math
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from charlstm import api
from charlstm.config import DeviceConfig, ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.errors import DataError, InputOutputError, UsageError
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage.runs import Run
from charlstm.training import again as later
from charlstm.training import start
from charlstm.training.order import Order, Ready
from tests.conftest import empty

CPU = DeviceConfig(device="cpu", precision="fp32", threads=1)
TRAIN = {"batch_size": 4, "seq_length": 16}
GIVEN = {"steps", *TRAIN}


def config(*, text: dict[str, object] | None = None, **options: object) -> RunConfig:
    return RunConfig(
        text=TextConfig(**(text or {})),  # type: ignore[arg-type]
        model=ModelConfig(),
        train=TrainConfig(**(TRAIN | {"steps": 100, "evaluations": 2} | options)),  # type: ignore[arg-type]
    )


@pytest.fixture
def order(text: str, trained: Path, tmp_path: Path) -> Order:
    """A new run on another text than that of the model it begins with; both models can be deleted.

    The text is read more than twice, so that the model is taken without a trial of 16 seconds.
    """
    shutil.copytree(trained, tmp_path / "checkpoints" / "base")
    (tmp_path / "new.txt").write_text(text[300_000:303_000].replace("e", "é"), encoding="utf-8")
    run = Run(tmp_path / "checkpoints" / "mine")
    return Order(run=run, paths=[str(tmp_path / "new.txt")], base="base", device=CPU, cache=empty(tmp_path))


def finish(ready: Ready, stop_at: int | None = None) -> Path:
    """Train a run and return its folder; it can be stopped at a step."""
    ready.claim()
    list(ready.records(lambda: stop_at is not None and ready.training.step >= stop_at))
    return ready.run.folder


def tensors(folder: Path) -> dict[str, np.ndarray]:
    return dict(checkpoints.load(folder / "last.safetensors").tensors)


def assert_same(one: dict[str, np.ndarray], another: dict[str, np.ndarray]) -> None:
    assert one.keys() == another.keys()
    for name, tensor in one.items():
        np.testing.assert_array_equal(tensor, another[name], err_msg=name)


def test_what_the_model_knows_is_measured_before_any_training(order: Order, text: str, tmp_path: Path) -> None:
    plain = text[300_000:312_000]
    (tmp_path / "new.txt").write_text(plain, encoding="utf-8")
    brought = start.new(order, config(steps=400), GIVEN).brought
    assert brought is not None
    known = set(api.load(tmp_path / "checkpoints" / "base").vocabulary)
    assert brought.new == len(set(plain[:10_800]) - known)
    train, held_out = plain[:10_800], plain[10_800:]
    model = api.load(tmp_path / "checkpoints" / "base")
    if not brought.new:
        assert brought.loss == pytest.approx(model.score(held_out).loss, abs=2e-3)
    counts = Counter(train)
    unigrams = -sum(math.log(max(counts[c], 0.5) / len(train)) for c in held_out) / len(held_out)
    assert brought.unigrams == pytest.approx(unigrams, abs=0.05)
    assert brought.ngrams < brought.unigrams


def test_new_characters_are_learnt_and_old_ones_kept_or_dropped(order: Order) -> None:
    ready = start.new(order, config(), GIVEN)
    vocabulary = ready.corpus.tokenizer.vocabulary
    old = api.load(order.run.folder.parent / "base").vocabulary
    assert set(old) <= set(vocabulary)
    assert ready.brought is not None and ready.brought.new >= 1
    dropped = start.new(order, config(drop_old_characters=True), GIVEN).corpus.tokenizer.vocabulary
    assert "e" not in dropped and "é" in dropped and "e" in vocabulary
    finish(ready)
    assert "é" in api.load(order.run.folder).generate(length=400, seed=1)


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_stopped_run_goes_on_bit_for_bit_without_its_base(order: Order, tmp_path: Path, keep: float) -> None:
    whole = dataclasses.replace(order, run=Run(tmp_path / "checkpoints" / "whole"))
    expected = tensors(finish(start.new(whole, config(keep=keep), GIVEN)))
    finish(start.new(order, config(keep=keep), GIVEN), stop_at=5)
    shutil.rmtree(tmp_path / "checkpoints" / "base")
    again = later.resume(Order(run=order.run, device=CPU, cache=order.cache), {})
    assert again is not None and again.training.step == 5
    assert_same(tensors(finish(again)), expected)
    (origin,) = checkpoints.load(order.run.best).origin
    assert origin.name == "base" and origin.step == 120


def test_a_run_is_repeated_from_the_same_base_alone(order: Order, tmp_path: Path) -> None:
    original = finish(start.new(order, config(), GIVEN))
    again = dataclasses.replace(order, run=Run(tmp_path / "checkpoints" / "again"), base=None)
    assert_same(tensors(finish(later.repeat(again, order.run, {}))), tensors(original))
    base = tmp_path / "checkpoints" / "base" / "best.safetensors"
    loaded = checkpoints.load(base)
    checkpoints.save(base, dataclasses.replace(loaded, step=loaded.step + 1))
    with pytest.raises(DataError, match="not the model this run began with"):
        later.repeat(again, order.run, {})
    shutil.rmtree(base.parent)
    with pytest.raises(InputOutputError, match="base: no such checkpoint or run"):
        later.repeat(again, order.run, {})


def test_the_chain_of_models_is_kept(order: Order, tmp_path: Path) -> None:
    finish(start.new(order, config(), GIVEN))
    third = dataclasses.replace(order, run=Run(tmp_path / "checkpoints" / "third"), base="mine")
    folder = finish(start.new(third, config(), GIVEN))
    for name in ("best", "last"):
        chain = checkpoints.load(folder / f"{name}.safetensors").origin
        assert [origin.name for origin in chain] == ["base", "mine"]
    assert chain[1].source.paths == (str(tmp_path / "new.txt"),)


def test_documents_get_frames_from_a_model_without(order: Order, tmp_path: Path) -> None:
    options = config(text={"separator": "\\n\\n"}, keep=0.25)  # which begins with the model whatever it knows
    ready = start.new(order, options, {*GIVEN, "separator"})
    assert ready.corpus.tokenizer.end_id is not None
    assert ready.training.config.model.embedding_size == 17
    folder = finish(ready)
    third = dataclasses.replace(order, run=Run(tmp_path / "checkpoints" / "third"), base="mine")
    whole_text = start.new(third, config(keep=0.25), GIVEN)  # a text of one document has frames too, then
    assert whole_text.corpus.tokenizer.end_id is not None
    assert whole_text.training.config.model.embedding_size == 17
    assert api.load(folder).generate(length=20, seed=1) is not None


def test_the_old_text_is_read_in_further_streams(order: Order, text: str) -> None:
    ready = start.new(order, config(keep=0.5), GIVEN)
    batch = ready.training.batches.at(0)
    decode = ready.corpus.tokenizer.decode
    assert decode(batch.targets[:, 2]) == text[: len(batch.targets)]
    assert decode(batch.targets[:, 3]) == text[18_000 : 18_000 + len(batch.targets)]
    following = ready.training.batches.at(1)
    assert decode(following.targets[:, 2]) == text[len(batch.targets) :][: len(following.targets)]
    assert batch.characters == batch.targets.size


@pytest.mark.parametrize(
    ("options", "given", "words"),
    [
        (lambda: dataclasses.replace(config(), model=ModelConfig(hidden_size=96)), {"hidden_size"}, "--hidden-size 96"),
        (lambda: dataclasses.replace(config(), model=ModelConfig(cell="gru")), {"cell"}, "--cell gru"),
        (lambda: config(text={"tokenizer": "byte"}), {"tokenizer"}, "--tokenizer byte"),
    ],
)
def test_what_contradicts_the_model_is_refused(order: Order, options, given: set[str], words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=f"{words}: --from base has .*; leave the option out"):
        start.new(order, options(), GIVEN | given)


def test_the_run_cannot_take_the_place_of_its_base(order: Order) -> None:
    with pytest.raises(UsageError, match="would overwrite the model that it begins with; give another --name"):
        start.new(dataclasses.replace(order, run=Run(order.run.folder.parent / "base")), config(), GIVEN)


@pytest.mark.parametrize("option", [{"keep": 0.1}, {"drop_old_characters": True}])
def test_what_needs_a_model_is_refused_without_one(order: Order, option: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="it is about the model given with --from"):
        start.new(dataclasses.replace(order, base=None), config(**option), GIVEN)


def test_a_text_to_keep_that_is_gone(order: Order, trained: Path, tmp_path: Path) -> None:
    corpus = trained.parent.parent / "reference.txt"
    moved = corpus.rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(InputOutputError, match="--keep reads it"):
            start.new(order, config(keep=0.2), GIVEN)
    finally:
        moved.rename(corpus)


def test_a_model_of_another_alphabet_is_not_begun_with(order: Order, text: str, tmp_path: Path) -> None:
    russian = text[300_000:312_000].lower().translate({ord("a") + n: 0x430 + n for n in range(26)})
    (tmp_path / "new.txt").write_text(russian, encoding="utf-8")
    ready = start.new(order, config(), GIVEN)
    assert "of it are characters that are new to it: this run begins from nothing" in ready.notes[0]
    assert ready.brought is None and ready.training.origin == ()
    assert not set("abc") & set(ready.corpus.tokenizer.vocabulary)
    plain = start.new(dataclasses.replace(order, base=None), config(), GIVEN)
    assert ready.training.config == plain.training.config


def test_in_doubt_both_ways_are_tried(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever is better after a moment is taken, and begins anew."""
    monkeypatch.setattr(start, "_BARELY", 0.0)
    monkeypatch.setattr(start, "_OFTEN", 1e9)
    for losses, way in (([1.0, 2.0], "with base"), ([2.0, 1.0], "from nothing"), ([1.9, 2.0], "from nothing, which")):
        origins = int(way == "with base")
        monkeypatch.setattr(start, "trial", lambda *_, losses=losses: losses.pop(0))
        ready = start.new(order, config(), GIVEN)
        assert f"this run begins {way}" in ready.notes[0]
        assert len(ready.training.origin) == origins and ready.training.step == 0


def test_after_a_trial_the_note_says_which_way_is_taken(order: Order, text: str) -> None:
    """Of a run of 4 seconds, which reads its text but in part, the trials take a few tenths of a second."""
    Path(order.paths[0]).write_text(text.replace("e", "é"), encoding="utf-8")
    ready = start.new(order, config(steps=None, time=4.0), {*GIVEN, "time"} - {"steps"})
    words = r"base knows little of this text; after 0 seconds .* bits .* with it and .* without: this run begins"
    assert re.match(words, ready.notes[0])
    assert ready.training.step == 0


def test_a_trial_trains(order: Order) -> None:
    ready = start.new(order, config(), GIVEN)
    assert ready.brought is not None
    assert start.trial(ready.training, ready.corpus, 0.5) < ready.brought.loss


@pytest.fixture
def piped(order: Order, monkeypatch: pytest.MonkeyPatch) -> Order:
    """The same run, on a text that comes from standard input."""
    text = Path(order.paths[0]).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    return dataclasses.replace(order, paths=["-"])


def test_a_pipe_is_read_once_so_the_run_begins_with_the_model(piped: Order) -> None:
    assert start.new(piped, config(), GIVEN).brought is not None


def test_a_useless_model_and_a_pipe_are_refused(piped: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("абвгд".encode() * 800)))
    with pytest.raises(DataError, match=r"a pipe cannot be read again; leave --from out, or give the text as a file"):
        start.new(piped, config(), GIVEN)


def test_the_old_text_needs_a_stream_of_its_own(order: Order) -> None:
    with pytest.raises(UsageError, match=r"--keep: .*; give --batch-size 2 or more"):
        start.new(order, config(keep=0.5, batch_size=1), {*GIVEN, "keep"})
