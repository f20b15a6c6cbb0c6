"""An opened checkpoint: what computes with it, and the text it finds again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from charlstm.config import TextConfig
from charlstm.errors import UsageError
from charlstm.network.device import Device
from charlstm.storage import loaded
from charlstm.storage.loaded import Loaded, MissingTextError
from charlstm.text import corpus as corpora
from charlstm.text.cache import Cache
from tests.conftest import empty


@pytest.fixture
def opened(trained: Path) -> Loaded:
    return loaded.load(str(trained))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return empty(tmp_path)


def test_both_computers_are_the_same_model(opened: Loaded) -> None:
    ids = [*opened.tokenizer.opening, *opened.tokenizer.encode("The value").tolist()]
    state = opened.engine.zero_state()
    for id in ids:
        outputs, state = opened.engine.step(id, state)
    with torch.no_grad():
        logits, _ = opened.model(torch.tensor(ids)[:, None], opened.model.zero_state(1))
    np.testing.assert_allclose(opened.engine.logits(outputs), logits[-1, 0], atol=1e-5)
    assert not opened.model.training


def test_what_is_computed_with_is_made_once_and_not_shared_between_devices(opened: Loaded) -> None:
    assert opened.engine is opened.engine
    assert opened.model is opened.model
    elsewhere = opened.on(Device("cpu", "bf16"))
    assert elsewhere.device == Device("cpu", "bf16")
    assert elsewhere.model is not opened.model
    assert opened.device is None


def test_a_model_finds_its_text_and_its_parts_again(opened: Loaded, cache: Cache) -> None:
    whole = corpora.load(opened.source.paths, (), TextConfig(), cache=cache)
    train = opened.training_text("it is needed", cache)
    held_out = opened.passage(None, None, cache)
    assert np.array_equal(train.ids, whole.train.ids)
    assert np.array_equal(held_out.split.ids, whole.val.ids)
    assert held_out.name.endswith("val part (10%)")
    everything = opened.passage(None, "all", cache)
    assert everything.split.characters == 40_000
    assert everything.notes == ()


def test_a_named_text_is_read_whole_and_its_notes_are_returned(
    opened: Loaded, cache: Cache, capfd: pytest.CaptureFixture[str]
) -> None:
    (path,) = opened.source.paths
    passage = opened.passage(path, None, cache)
    assert passage.split.characters == 40_000
    assert [note.partition(";")[0] for note in passage.notes] == ["the model was trained on most of this text"]
    assert capfd.readouterr() == ("", "")


def test_a_text_that_has_moved_is_found_by_its_name(
    opened: Loaded, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = map(Path, opened.source.paths)
    monkeypatch.chdir(tmp_path)
    away = path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(MissingTextError, match=r"is not there .*; it is needed; put it there, into this"):
            opened.training_text("it is needed", cache)
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / path.name).write_bytes(away.read_bytes())
        assert opened.training_text("it is needed", cache).characters == 36_000
        (tmp_path / "data" / path.name).write_text("another text")
        with pytest.raises(MissingTextError, match="has changed"):
            opened.training_text("it is needed", cache)
    finally:
        away.rename(path)


def test_an_encoding_that_would_be_ignored_is_refused(opened: Loaded, cache: Cache) -> None:
    with pytest.raises(UsageError, match="--encoding latin-1: it is for a TEXT"):
        opened.passage(None, None, cache, encoding="latin-1")
