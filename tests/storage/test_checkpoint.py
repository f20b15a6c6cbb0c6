import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlstm.errors import CharLSTMError, DataError
from charlstm.network import ngrams, weights
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage.checkpoint import RECENT, TABLE_SUMS, Checkpoint
from charlstm.text.tokenizer import CharTokenizer
from tests.storage.conftest import example, rewritten


def same(a: Checkpoint, b: Checkpoint) -> bool:
    plain = [dataclasses.replace(each, tensors={}, tokenizer=CharTokenizer("")) for each in (a, b)]
    for each in plain:
        object.__setattr__(each, "tokenizer", None)
    return (
        plain[0] == plain[1]
        and a.tokenizer.vocabulary == b.tokenizer.vocabulary
        and a.tensors.keys() == b.tensors.keys()
        and all(np.array_equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
    )


def test_round_trip(file: Path) -> None:
    loaded = checkpoints.load(file)
    assert same(loaded, example())
    assert "optimizer.exp_avg.output.bias" not in loaded.weights
    assert loaded.parameters == sum(int(np.prod(shape)) for shape in weights.shapes(example().config.model, 5).values())


@pytest.mark.parametrize("used", [0, 9, 64])
@pytest.mark.parametrize("finished", [False, True])
def test_round_trip_with_ngrams(tmp_path: Path, used: int, finished: bool) -> None:
    written, file = example(used, finished=finished), tmp_path / "x.safetensors"
    checkpoints.save(file, written)
    loaded = checkpoints.load(file)
    assert same(loaded, written)
    assert {name: tensor.dtype for name, tensor in loaded.tensors.items()} == {
        name: tensor.dtype for name, tensor in written.tensors.items()
    }
    assert loaded.ngram_rows == used
    shapes = weights.shapes(written.config.model, 5)
    assert loaded.parameters == sum(int(np.prod(shape)) for name, shape in shapes.items() if name != ngrams.DENSE)
    scales = {ngrams.SCALES} if finished else set()
    assert loaded.weights.keys() == shapes.keys() - {ngrams.DENSE} | {ngrams.ROWS, ngrams.VALUES} | scales


def int32(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


DAMAGED: dict[str, tuple[bool, dict[str, np.ndarray | None], str]] = {
    "rows that descend": (False, {ngrams.ROWS: int32(3, 2, 9)}, "ascending"),
    "a row twice": (True, {ngrams.ROWS: int32(3, 3, 9)}, "ascending"),
    "a row below the table": (True, {ngrams.ROWS: int32(-1, 3, 9)}, "ascending"),
    "a row beyond the table": (False, {ngrams.ROWS: int32(3, 9, 64)}, "ascending"),
    "fewer rows than vectors": (False, {ngrams.ROWS: int32(3, 9)}, "expected"),
    "rows of 64 bits": (True, {ngrams.ROWS: np.array([3, 4, 9])}, "expected I32"),
    "more rows than the table has": (
        True,
        {
            ngrams.ROWS: np.arange(65, dtype=np.int32),
            ngrams.VALUES: np.zeros((65, 2), np.int8),
            ngrams.SCALES: np.ones(65, np.float32),
        },
        "more vectors",
    ),
    "a table of rows": (True, {ngrams.ROWS: int32(3, 4, 9)[None]}, "not a usable checkpoint"),
    "vectors of 32 bits in a finished model": (True, {ngrams.VALUES: np.zeros((3, 2), np.float32)}, "expected I8"),
    "vectors of 8 bits in a run": (False, {ngrams.VALUES: np.zeros((3, 2), np.int8)}, "expected F32"),
    "vectors that are too long": (False, {ngrams.VALUES: np.zeros((3, 4), np.float32)}, "expected F32"),
    "no vectors": (False, {ngrams.VALUES: None}, "do not match"),
    "no rows": (False, {ngrams.ROWS: None}, "do not match"),
    "no scales": (True, {ngrams.SCALES: None}, "do not match"),
    "scales in a run": (False, {ngrams.SCALES: np.ones(3, np.float32)}, "do not match"),
    "scales of half precision": (True, {ngrams.SCALES: np.ones(3, np.float16)}, "expected F32"),
    "a scale that is not finite": (True, {ngrams.SCALES: np.array([1, np.nan, 1], np.float32)}, "not finite"),
    "the whole table": (False, {ngrams.DENSE: np.zeros((64, 2), np.float32)}, "do not match"),
    "no sums of squares": (False, {TABLE_SUMS: None}, "do not match"),
    "a negative sum of squares": (False, {TABLE_SUMS: np.array([1, -1, 1], np.float32)}, "negative"),
    "no last characters": (False, {RECENT: None}, "do not match"),
    "a negative character": (False, {RECENT: int32(1, 2, 3, -1).reshape(1, 2, 2)}, "no characters"),
    "a character beyond all": (False, {RECENT: int32(1, 2, 3, 0x110003).reshape(1, 2, 2)}, "no characters"),
    "last characters of another order": (False, {RECENT: np.zeros((1, 2, 3), np.int32)}, "expected I32"),
    "last characters as fractions": (False, {RECENT: np.zeros((1, 2, 2), np.float32)}, "expected I32"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_ngrams_are_refused_in_one_line(tmp_path: Path, what: str) -> None:
    finished, changes, reason = DAMAGED[what]
    good, file = example(3, finished=finished), tmp_path / "x.safetensors"
    tensors = {name: tensor for name, tensor in (good.tensors | changes).items() if tensor is not None}
    checkpoints.save(file, dataclasses.replace(good, tensors=tensors))
    with pytest.raises(DataError, match=reason) as raised:
        checkpoints.load(file)
    assert "\n" not in str(raised.value)


def test_ngrams_that_the_settings_do_not_know_are_refused(tmp_path: Path) -> None:
    good, file = example(3), tmp_path / "x.safetensors"
    plain = dataclasses.replace(good.config, model=example().config.model)
    checkpoints.save(file, dataclasses.replace(good, config=plain))
    with pytest.raises(DataError, match="do not match"):
        checkpoints.load(file)


@pytest.mark.parametrize("rows", [63, 8, 2**25, -64, 0])
def test_a_table_of_an_impossible_size_is_refused(tmp_path: Path, rows: int) -> None:
    file = tmp_path / "x.safetensors"
    checkpoints.save(file, example(3))

    def change(metadata: dict[str, Any]) -> None:
        metadata["config"]["model"]["ngram_rows"] = rows

    with pytest.raises(DataError) as raised:
        checkpoints.load(rewritten(file, change))
    assert "\n" not in str(raised.value)


def test_a_file_of_a_version_without_ngrams_has_none(file: Path) -> None:
    def remove(metadata: dict[str, Any]) -> None:
        for name in ("ngrams", "ngram_rows", "ngram_dropout"):
            del metadata["config"]["model"][name]
        del metadata["config"]["train"]["ngram_rate"]

    loaded = checkpoints.load(rewritten(file, remove))
    assert same(loaded, example())
    assert (loaded.config.model.ngrams, loaded.ngram_rows) == (0, 0)


def test_other_programs_can_read_the_tensors(file: Path) -> None:
    tensors = safetensors.numpy.load_file(file)
    np.testing.assert_array_equal(tensors["output.weight"], example().tensors["output.weight"])


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_goes_unnoticed(file: Path, data: st.DataObject) -> None:
    good = file.read_bytes()
    at, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    bad = bytearray(good)
    bad[at] ^= 1 << bit
    other = file.with_name("flipped.safetensors")
    other.write_bytes(bad)
    try:
        loaded = checkpoints.load(other)
    except CharLSTMError as error:
        assert "\n" not in str(error)
    else:  # white space between the header's parts
        assert same(loaded, example())


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(0, 2000))
def test_no_truncation_goes_unnoticed(file: Path, length: int) -> None:
    data = file.read_bytes()
    other = file.with_name("short.safetensors")
    other.write_bytes(data[: min(length, len(data) - 1)])
    with pytest.raises(DataError):
        checkpoints.load(other)


def test_metadata_is_json(file: Path) -> None:
    data = file.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["config"])["model"]["hidden_size"] == 3
    assert json.loads(header["__metadata__"]["vocabulary"]) == ["<unk>", "\n", "a", "b", "\N{SNOWMAN}"]


def metadata_of(file: Path) -> dict[str, Any]:
    data = file.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return {name: json.loads(text) for name, text in header["__metadata__"].items() if name != "sha256"}


def test_what_a_newer_version_has_added_is_kept(file: Path) -> None:
    def add(metadata: dict[str, Any]) -> None:
        metadata["mood"] = {"good": True}
        metadata["config"]["cloud"] = {"region": None}
        metadata["config"]["train"]["flavour"] = [1, {"a": 2}]
        metadata["source"]["licence"] = "CC0"
        metadata["training"]["luck"] = 0.5
        metadata["training"]["plan"]["until"] = "noon"

    other = rewritten(file, add)
    loaded = checkpoints.load(other)
    assert same(dataclasses.replace(loaded, unknown={}), example())
    assert loaded.unknown_names == [
        *("config.cloud", "config.train.flavour", "mood", "source.licence", "training.luck", "training.plan.until"),
    ]
    checkpoints.save(file, loaded)
    assert metadata_of(file) == metadata_of(other)
    assert same(checkpoints.load(file), loaded)


def test_what_an_older_version_did_not_have_takes_its_default(file: Path) -> None:
    def remove(metadata: dict[str, Any]) -> None:
        del metadata["versions"], metadata["config"]["train"]["accumulate"], metadata["source"]["val_sha256"]

    loaded = checkpoints.load(rewritten(file, remove))
    assert same(dataclasses.replace(loaded, versions=example().versions), example())
    assert loaded.versions == {}
    assert loaded.unknown_names == []
