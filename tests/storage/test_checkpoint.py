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
from charlstm.network import weights
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage.checkpoint import Checkpoint
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


def test_other_programs_can_read_the_tensors(file: Path) -> None:
    tensors = safetensors.numpy.load_file(file)
    np.testing.assert_array_equal(tensors["output.weight"], example().tensors["output.weight"])


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
