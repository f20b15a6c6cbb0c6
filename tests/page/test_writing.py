"""The page writes what `charlstm sample --exact` writes, whatever the filters, stops, length and seed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlstm.config import SampleConfig
from charlstm.network.exact import ExactEngine
from charlstm.sample import Context, write
from charlstm.storage.loaded import Loaded
from tests.page.conftest import Node
from tests.page.models import CHARACTERS, loaded, save, tokenizer_of

OPTIONS: list[dict[str, Any]] = [
    {"seed": 1},
    {"seed": 2**63 - 1, "temperature": 1.0},
    {"seed": 3, "temperature": 0.0},
    {"seed": 4, "temperature": 0.37, "top_k": 5},
    {"seed": 5, "temperature": 2.5, "top_p": 0.8},
    {"seed": 6, "temperature": 1.3, "min_p": 0.05},
    {"seed": 7, "temperature": 1.1, "top_k": 9, "top_p": 0.95, "min_p": 0.01},
    {"seed": 0, "temperature": 1e-9, "top_p": 0.5},
    {"seed": 8, "temperature": 1e9, "top_k": 3},
    {"seed": 9, "temperature": 3.0, "top_p": 1.0, "top_k": 1000},
    {"seed": 10, "temperature": 1.0, "min_p": 1.0},
    {"seed": 11, "temperature": 1.7, "length": 0},
    {"seed": 12, "temperature": 1.7, "length": 1},
    {"seed": 13, "temperature": 1.5, "stops": ["e", "i", " ", "o", "\ufffd", "zz"]},
    {"seed": 14, "temperature": 1.5, "stops": ["aba", "ab.", "\N{SNOWMAN}", "\N{GRINNING FACE}a"]},
    {"seed": 15, "temperature": 1.5, "stops": ["never this"]},
]
PROMPT = "ab\N{SNOWMAN}\N{GRINNING FACE} c"

WRITE = """
import { readFileSync } from "node:fs";
import { openModel } from "./model.js";

const { manifest, base64, prompt, all } = JSON.parse(readFileSync(given[0], "utf8"));
const kernel = readFileSync(new URL("./kernel.wasm", import.meta.url));
const model = await openModel(manifest, base64, { kernel });
const names = { top_k: "topK", top_p: "topP", min_p: "minP" };
const found = all.map((options) => {
  const state = model.begin(options.label);
  for (const id of model.encode(prompt)) model.read(state, id);
  const own = Object.fromEntries(Object.entries(options).map(([name, value]) => [names[name] ?? name, value]));
  let [text, stopped, held] = ["", null, ""];
  const ids = [];
  for (const piece of model.write(state, own)) {
    text += piece.text;
    ({ stopped, held } = piece);
    ids.push(piece.id);
    if (!(piece.probability > 0 && piece.probability <= 1)) throw new Error("no probability");
  }
  return { text, stopped: stopped ?? "length", ids: ids.length, scores: Array.from(state.scores()) };
});
console.log(JSON.stringify(found));
"""


def expected(model: Loaded, options: dict[str, Any], prompt: str) -> dict[str, Any]:
    """Return what Python writes, how it ends, how many ids it draws and the scores it leaves."""
    engine, tokenizer = model.exactly().engine, model.tokenizer
    assert isinstance(engine, ExactEngine)
    settings = {name: value for name, value in options.items() if name not in {"stops", "label", "seed"}}
    config = SampleConfig(**settings)
    context = Context(engine)
    context.prefill(tokenizer.opened(options.get("label")))
    context.prefill(tokenizer.encode(prompt).tolist())
    pieces = list(write(context, tokenizer, config, options["seed"], options.get("stops", ()), top=0))
    return {
        "text": "".join(piece.text for piece in pieces),
        "stopped": pieces[-1].stopped,
        "ids": len(pieces) if config.length else 0,
        "scores": np.rint(context.logits()[0] * 1024).astype(int).tolist(),
    }


@pytest.mark.parametrize("kind", ["char", "char-labels", "byte", "byte-documents"])
def test_the_same_seed_writes_the_same_text(kind: str, run_node: Node, tmp_path: Path) -> None:
    model = loaded("lstm", 1, kind, with_ngrams=kind == "char", scales={"output.weight": 0.5})
    options = [{"length": 150} | each for each in OPTIONS]
    for each, label in zip(options, ["Ada", None, "Bob", "</script>"] * 4, strict=True):
        if model.tokenizer.labels:
            each["label"] = label
    written = [each | {"seed": str(each["seed"])} for each in options]
    found = run_node(WRITE, save(model, tmp_path / "model.json", prompt=PROMPT, all=written))
    for each, ours in zip(options, found, strict=True):
        assert ours == expected(model, each, PROMPT), each
    ends = {ours["stopped"] for ours in found}
    assert ends >= ({"length", "stop", "end"} if "-" in kind else {"length", "stop"})


PIECES = """
import { readFileSync } from "node:fs";
import { openModel } from "./model.js";

const { manifest, base64 } = JSON.parse(readFileSync(given[0], "utf8"));
const model = await openModel(manifest, base64);
const trace = model.trace(500);
const state = model.begin();
for (const id of model.encode("abc")) model.read(state, id, trace);
const options = { length: 10, temperature: 1.5, seed: 1, stops: ["ab", "zzzz"] };
let held = "";
let text = "";
for (const piece of model.write(state, options, trace)) {
  text += piece.text;
  held = piece.held;
  if (text.length + held.length === 5) options.length = 20; // while it writes
  if (text.length + held.length === 15) options.temperature = 0;
}
const refused = [
  { temperature: -1 }, { temperature: NaN }, { topK: 0 }, { topK: 1.5 }, { topP: 0 }, { topP: 1.1 }, { minP: -0.1 },
  { minP: 2 }, { length: -1 }, { length: NaN }, { seed: -1 }, { seed: "9223372036854775808" }, { seed: "x" },
  { stops: [""] },
].map((each) => {
  try {
    for (const _ of model.write(model.begin(), { seed: 1, length: 3, ...each }));
    return null;
  } catch (problem) {
    return problem.message;
  }
});
const ids = Array.from({ length: trace.end }, (_, at) => trace.id(at));
const read = model.begin();
ids.forEach((id) => model.read(read, id));
const same = JSON.stringify([...read.h, ...read.memory]) === JSON.stringify([...state.h, ...state.memory]);
let unknown = "";
try { model.begin("nobody"); } catch (problem) { unknown = problem.message; }
console.log(JSON.stringify({ text, held, count: trace.end, refused, same, unknown }));
"""


def test_options_are_read_anew_and_checked(run_node: Node, tmp_path: Path) -> None:
    found = run_node(PIECES, save(loaded("lstm", 1, "char", with_ngrams=False), tmp_path / "model.json"))
    assert len(found["text"]) == 20
    assert found["held"] == ""
    assert found["count"] == 3 + 20
    assert found["same"]
    assert all(message and "\n" not in message for message in found["refused"]), found["refused"]
    assert "nobody" in found["unknown"]


TEXTS = """
import { Tokenizer } from "./tokenizer.js";

const found = given.map(({ kind, vocabulary, labels, texts, ids }) => {
  const tokenizer = new Tokenizer(kind, vocabulary, labels);
  const decoder = tokenizer.decoder();
  return {
    codes: tokenizer.codes,
    never: tokenizer.never,
    opening: [tokenizer.opening(), ...labels.map((label) => tokenizer.opening(label))],
    ids: texts.map((text) => tokenizer.encode(text)),
    pieces: ids.map((id) => decoder.text(id)),
  };
});
console.log(JSON.stringify(found));
"""


def test_tokenizers(run_node: Node) -> None:
    texts = ["", "abc\n", PROMPT, "x\N{GRINNING FACE}é\udc80\udcff", "\0\u202e</script>" + CHARACTERS]
    tokenizers = [tokenizer_of(kind) for kind in ("char", "char-documents", "char-labels", "byte", "byte-documents")]
    source = np.random.default_rng(0)
    bytes_in_order = [
        *"\N{GRINNING FACE}é\N{SNOWMAN}\ufeffa".encode(),
        *b"\xf0\x9f\xe2\x98\x83\xff\xed\xa0\x80\xc0\x80\xf4\x90\x80\x80\xe2(\xf0\x80",
        *b"\xed\xa0A\xed\xbf\xed\xa0\xe2\x98\x83\xed\xed\xa0\xa0",
        *source.integers(128, 256, 3_000),
        *source.integers(0, 256, 1_000),
    ]
    streams = [
        [int(id) for id in (bytes_in_order if tokenizer.kind == "byte" else range(tokenizer.vocab_size))]
        for tokenizer in tokenizers
    ]
    given = [
        {
            "kind": tokenizer.kind,
            "vocabulary": tokenizer.vocabulary,
            "labels": tokenizer.labels,
            "texts": texts,
            "ids": ids,
        }
        for tokenizer, ids in zip(tokenizers, streams, strict=True)
    ]
    for tokenizer, ids, found in zip(tokenizers, streams, run_node(TEXTS, *given), strict=True):
        decoder = tokenizer.stream()
        assert found == {
            "codes": tokenizer.codes.tolist(),
            "never": tokenizer.never,
            "opening": [tokenizer.opened(label) for label in (None, *tokenizer.labels)],
            "ids": [tokenizer.encode(text).tolist() for text in texts],
            "pieces": [decoder.decode((id,)) for id in ids],
        }
