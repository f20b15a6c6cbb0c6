"""Files of models with labels, and that all others are what they were."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlstm.errors import DataError
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage.checkpoint import Checkpoint
from tests.storage.conftest import example, rewritten

COUNTS = {"ann": 2, "bob\x1b[2J": 7, "\udcff": 1}


def labelled() -> Checkpoint:
    """Return a result with labels: of an undecodable file name, too."""
    plain = example(finished=True)
    tokenizer = type(plain.tokenizer)("\nab\N{SNOWMAN}", framed=True).labelled(COUNTS)  # type: ignore[arg-type,call-arg]
    kinds = checkpoints.kinds(plain.config, tokenizer.vocab_size, 0, with_state=False, labels=3)
    source = np.random.default_rng(0)
    tensors = {name: source.normal(size=shape).astype(np.float32) for name, (_, shape) in kinds.items()}
    return dataclasses.replace(plain, tokenizer=tokenizer, tensors=tensors)


def metadata(file: Path) -> dict[str, Any]:
    data = file.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return {name: json.loads(text) for name, text in header["__metadata__"].items() if name != "sha256"}


def test_labels_survive(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    checkpoints.save(file, labelled())
    loaded = checkpoints.load(file)
    assert loaded.tokenizer.counts_by_label == dict(sorted(COUNTS.items()))
    assert loaded.tensors["labels.weight"].shape == (3, 2)
    assert (metadata(file)["schema"], metadata(file)["labels"]) == (2, COUNTS)
    assert loaded.unknown == {}
    checkpoints.save(tmp_path / "y.safetensors", loaded)
    assert metadata(tmp_path / "y.safetensors") == metadata(file)


def test_a_model_without_labels_has_no_trace_of_them(file: Path) -> None:
    found = metadata(file)
    assert found["schema"] == 1 and "labels" not in found
    assert not any(name.startswith("label") for name in found["config"]["text"])
    assert "labels.weight" not in checkpoints.load(file).tensors


def test_no_labels_are_written_again_as_none(file: Path, tmp_path: Path) -> None:
    loaded = checkpoints.load(rewritten(file, lambda values: values.update(labels={})))
    checkpoints.save(tmp_path / "y.safetensors", loaded)
    assert metadata(tmp_path / "y.safetensors") == metadata(file)


@pytest.mark.parametrize(
    "labels",
    [
        [],
        ["ann"],
        {"ann": 2},
        {**COUNTS, "more": 1},
        {**COUNTS, "ann": 0},
        {**COUNTS, "ann": "2"},
        {**COUNTS, "ann": 1.5},
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: object) -> None:
    file = tmp_path / "x.safetensors"
    checkpoints.save(file, labelled())
    with pytest.raises(DataError, match="not a usable checkpoint"):
        checkpoints.load(rewritten(file, lambda values: values.update(labels=labels)))


def test_labels_without_documents_are_refused(file: Path) -> None:
    with pytest.raises(DataError, match="labels without documents"):
        checkpoints.load(rewritten(file, lambda values: values.update(labels={"a": 1})))
