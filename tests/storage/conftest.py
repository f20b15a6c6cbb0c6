import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.network import ngrams
from charlstm.storage import checkpoint as checkpoints
from charlstm.storage.checkpoint import Checkpoint, Standing
from charlstm.text.corpus import Source
from charlstm.text.tokenizer import CharTokenizer


def example(used: int | None = None, *, finished: bool = False) -> Checkpoint:
    """Return a run's state or its result; with n-grams if it is said how many of their 64 rows are in use."""
    sizes = {"hidden_size": 3, "embedding_size": 2} | ({} if used is None else {"ngrams": 3, "ngram_rows": 64})
    config = RunConfig(text=TextConfig(), model=ModelConfig(**sizes), train=TrainConfig(steps=7, batch_size=2))
    tokenizer = CharTokenizer("\nab\N{SNOWMAN}")
    rng = np.random.default_rng(0)
    kinds = checkpoints.kinds(config, tokenizer.vocab_size, used or 0, with_state=not finished)
    types = {"F32": np.float32, "I32": np.int32, "I8": np.int8}
    tensors = {name: abs(rng.normal(size=shape)).astype(types[kind]) for name, (kind, shape) in kinds.items()}
    if used is not None:
        tensors[ngrams.ROWS] = np.sort(rng.choice(64, used, replace=False)).astype(np.int32)
    return Checkpoint(
        config=config,
        tokenizer=tokenizer,
        source=Source(("a.txt", "b.txt"), "0" * 64, 123),
        step=5,
        val_loss=1.25,
        tensors=tensors,
        training=None if finished else TRAINING,
    )


TRAINING = Standing(
    step=5,
    characters=100,
    seconds=0.1,
    nats_since_row=1.5,
    characters_since_row=10,
    row_step=4,
    best_loss=1.25,
    best_step=4,
    misses=0,
    halved=False,
    scored=None,
    plan={"steps": 7, "evaluate_every": 2, "decisions": [], "part": None, "whole": False},
    machine={"device": "cpu", "threads": 2},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    checkpoints.save(tmp_path / "x.safetensors", example())
    return tmp_path / "x.safetensors"


def rewritten(file: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change the metadata as another version would have written it; its values are parsed for `change`."""
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    metadata = {name: json.loads(text) for name, text in header.pop("__metadata__").items() if name != "sha256"}
    change(metadata)
    header["__metadata__"] = {name: json.dumps(value) for name, value in metadata.items()}
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode() + data[end:]).hexdigest()
    header["__metadata__"]["sha256"] = digest
    text = json.dumps(header).encode()
    other = file.with_name("other.safetensors")
    other.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
    return other
