"""Models with random weights as the page opens them, and what Python's exact engine says of a text."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from charlstm.config import ModelConfig, RunConfig, TextConfig, TrainConfig
from charlstm.export import payload
from charlstm.network.exact import ExactEngine
from charlstm.network.weights import LABELS
from charlstm.storage.checkpoint import Checkpoint
from charlstm.storage.loaded import Loaded
from charlstm.text.corpus import Source
from charlstm.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer
from tests.network.integers import NGRAMS, weights

CHARACTERS = "\n !,.abcdefghijklmnopqrstuvwxyzé\N{SNOWMAN}\N{GRINNING FACE}"


def tokenizer_of(kind: str) -> Tokenizer:
    """Return a tokenizer: char or byte, with `-documents` or `-labels` behind it if it has them."""
    name, _, frames = kind.partition("-")
    framed = bool(frames)
    tokenizer: Tokenizer = ByteTokenizer(framed=framed) if name == "byte" else CharTokenizer(CHARACTERS, framed=framed)
    return tokenizer.labelled({"Ada": 2, "Bob": 5, "</script>": 1}) if frames == "labels" else tokenizer


def loaded(cell: str, layers: int, kind: str, *, with_ngrams: bool, scales: Any = None, **options: Any) -> Loaded:
    """Return an opened checkpoint with random weights.

    Args:
        cell: the recurrence.
        layers: their number.
        kind: of the tokenizer, as for `tokenizer_of`.
        with_ngrams: whether n-grams are inputs.
        scales: what the weights of some names are multiplied by.
        options: of the network.
    """
    tokenizer = tokenizer_of(kind)
    settings = {"hidden_size": 24, "embedding_size": 12} | (NGRAMS if with_ngrams else {}) | options
    config = ModelConfig(cell=cell, num_layers=layers, **settings)
    tensors = weights(config, tokenizer)  # type: ignore[arg-type]
    if tokenizer.labels:
        shape = (len(tokenizer.labels), config.embedding_size)
        tensors[LABELS] = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        tensors[LABELS][:, -1] = 0
    for name, scale in (scales or {}).items():
        tensors[name] *= np.float32(scale)
    run = RunConfig(text=TextConfig(tokenizer=tokenizer.kind), model=config, train=TrainConfig())
    return Loaded(Path("nowhere"), Checkpoint(run, tokenizer, Source(("nowhere",), "0" * 64, 1), 1, None, tensors))


def save(model: Loaded, path: Path, **more: Any) -> str:
    """Write a model's payload, and whatever else, for node; return the path."""
    manifest, base64 = payload.of(model)
    path.write_text(json.dumps({"manifest": manifest, "base64": base64} | more), encoding="utf-8")
    return str(path)


def ids_for(tokenizer: Tokenizer, length: int, seed: int = 0) -> list[int]:
    """Return random ids, those of frames and labels too."""
    return np.random.default_rng(seed).integers(tokenizer.num_ids, size=length).tolist()


def digests(engine: ExactEngine, tokenizer: Tokenizer, ids: list[int], every: int) -> list[int]:
    """Return a CRC-32 of all scores, gates, c and h so far, after each `every` ids of a text."""
    state, crc, found = engine.zero_state(), 0, []
    for id in tokenizer.opening:
        _, state = engine.step(id, state)
    for number, id in enumerate(ids):
        layers, state = engine.trace(id, state)
        outputs = np.rint(np.concatenate([layer.h for layer in layers]) * 127).astype(np.float32)
        parts = [engine.scores(outputs).astype("<i4")]
        for layer in layers:
            parts += [(gate * 2**15).astype("<i2") for gate in layer.gates.values()]
            parts += [] if layer.c is None else [(layer.c * 2**14).astype("<i4")]
        parts.append(outputs.astype(np.int8))
        for part in parts:
            crc = zlib.crc32(part.tobytes(), crc)
        if (number + 1) % every == 0:
            found.append(crc)
    return found


DIGESTS = """
import { readFileSync } from "node:fs";
import { crc32 } from "./fixed.js";
import { openModel } from "./model.js";

const bytes = (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
const kernel = readFileSync(new URL("./kernel.wasm", import.meta.url));
const found = [];
for (const path of given) {
  const { manifest, base64, ids, every } = JSON.parse(readFileSync(path, "utf8"));
  const both = {};
  for (const engine of ["js", "auto"]) {
    const model = await openModel(manifest, base64, { engine, kernel });
    const { cell, layers } = model.engine;
    const state = model.begin();
    const crcs = [];
    let crc = 0;
    ids.forEach((id, number) => {
      model.read(state, id);
      crc = crc32(bytes(state.scores()), crc);
      layers.forEach((_, layer) => {
        crc = crc32(bytes(model.engine.gatesOf(layer)), crc);
        if (cell.hasC) crc = crc32(bytes(state.memoryOf[layer]), crc);
      });
      crc = crc32(Uint8Array.from(state.h), crc);
      if ((number + 1) % every === 0) crcs.push(crc);
    });
    both[model.engineName] = crcs;
  }
  found.push(both);
}
console.log(JSON.stringify(found));
"""
"""A program for `run_node`: the digests of the saved models, from JavaScript and from WebAssembly."""
