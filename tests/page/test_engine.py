"""JavaScript = WebAssembly = Python, to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlstm.network.cells import CELLS
from charlstm.network.exact import ExactEngine
from charlstm.storage.loaded import Loaded
from charlstm.text.tokenizer import Tokenizer
from tests.page.conftest import TORTURE, Node
from tests.page.models import DIGESTS, digests, ids_for, loaded, save

KINDS = ["char", "char-documents", "char-labels", "byte", "byte-documents"]


def exact(model: Loaded) -> tuple[ExactEngine, Tokenizer]:
    engine = model.exactly().engine
    assert isinstance(engine, ExactEngine)
    return engine, model.tokenizer


def compare(models: dict[str, Loaded], length: int, run_node: Node, folder: Path) -> None:
    every = max(1, length // 20)
    texts = {name: ids_for(model.tokenizer, length) for name, model in models.items()}
    paths = [
        save(model, folder / f"{number}.json", ids=texts[name], every=every)
        for number, (name, model) in enumerate(models.items())
    ]
    found = dict(zip(models, run_node(DIGESTS, *paths), strict=True))
    for name, model in models.items():
        expected = digests(*exact(model), texts[name], every)
        assert found[name] == {"js": expected, "wasm": expected}, name


@pytest.mark.parametrize("cell", CELLS)
def test_the_page_computes_what_python_does(cell: str, run_node: Node, tmp_path: Path) -> None:
    """With and without n-grams, documents and labels, in one layer and in two."""
    models = {
        f"{kind}-{layers}-{ngrams}": loaded(cell, layers, kind, with_ngrams=ngrams, hidden_size=20 + 3 * layers)
        for kind in KINDS
        for layers in (1, 2)
        for ngrams in (False, True)
    }
    compare(models, 80, run_node, tmp_path)


@pytest.mark.parametrize("cell", CELLS)
def test_it_does_so_for_long(cell: str, run_node: Node, tmp_path: Path) -> None:
    model = loaded(cell, 2, "char-documents", with_ngrams=True, hidden_size=64 if TORTURE else 32)
    compare({cell: model}, 100_000 if TORTURE else 1_500, run_node, tmp_path)


def test_sums_that_are_too_large_for_the_kernel(run_node: Node, tmp_path: Path) -> None:
    """So many units that doubles cannot hold two rows, and inputs beyond int16 or whose sums are beyond int32."""
    shapes: dict[str, dict[str, Any]] = {
        "units": {"with_ngrams": False, "hidden_size": 2100, "scales": {"layers.0.weight_hh_l0": 0.02}},
        "ngrams": {"with_ngrams": True, "scales": {"ngrams.weight": 60}},
        "embedding": {"with_ngrams": True, "embedding_size": 700, "scales": {"embedding.weight": 9}},
    }
    models = {name: loaded("rnn", 1, "char-documents", **options) for name, options in shapes.items()}
    for name, tensor in (("units", "layers.0.weight_hh_l0"), ("embedding", "layers.0.weight_ih_l0")):
        models[name].checkpoint.tensors[tensor][:8] = 0.02  # the heaviest rows of all
    compare(models, 40, run_node, tmp_path)


TRACE = """
import { readFileSync } from "node:fs";
import { openModel } from "./model.js";

const kernel = readFileSync(new URL("./kernel.wasm", import.meta.url));
const { manifest, base64, ids } = JSON.parse(readFileSync(given[0], "utf8"));
const model = await openModel(manifest, base64, { kernel });
const { signals, layers, hiddenSize } = model.shape;
const trace = model.trace(given[1]);
const state = model.begin();
for (const id of ids) model.read(state, id, trace);
const found = [];
for (let at = trace.begin; at < trace.end; at += 1) {
  const all = Array.from({ length: layers }, (_, layer) => Object.fromEntries(signals.map((signal) => {
    const units = Array.from({ length: hiddenSize }, (_, unit) => trace.value(layer, signal, unit, at));
    const column = Array.from(trace.column(layer, signal, at));
    if (!units.every((value, unit) => Math.fround(value) === column[unit])) throw new Error("another column");
    const row = trace.row(layer, signal, 3, at - 1, at + 1);
    if (row[1] !== column[3]) throw new Error("another row");
    return [signal, units];
  })));
  found.push({ id: trace.id(at), surprise: trace.surprise(at), top: trace.top(at), layers: all });
}
const again = trace.state(trace.end - 3);
trace.cut(trace.end - 2);
for (const id of ids.slice(-2)) model.read(again, id, trace);
const same = JSON.stringify([...again.scores(), ...again.h, ...again.memory, ...again.recent]) ===
  JSON.stringify([...state.scores(), ...state.h, ...state.memory, ...state.recent]);
const before = Array.from({ length: hiddenSize }, (_, unit) => trace.value(0, "h", unit, trace.begin - 1));
console.log(JSON.stringify({ begin: trace.begin, end: trace.end, found, same, before }));
"""


@pytest.mark.parametrize("capacity", [7, 100])
@pytest.mark.parametrize("cell", CELLS)
def test_a_trace_shows_what_python_traces(cell: str, capacity: int, run_node: Node, tmp_path: Path) -> None:
    model = loaded(cell, 2, "char-documents", with_ngrams=True)
    engine, tokenizer = exact(model)
    ids = ids_for(tokenizer, 20)
    found = run_node(TRACE, save(model, tmp_path / "model.json", ids=ids), capacity)
    assert (found["begin"], found["end"]) == (max(0, 20 - capacity), 20)
    assert found["same"]
    state = engine.zero_state()
    for id in tokenizer.opening:
        output, state = engine.step(id, state)
    before = output[:24] / 127
    for at, id in enumerate(ids):
        given = engine.frequencies(output)
        layers, state = engine.trace(id, state)
        output = np.rint(np.concatenate([layer.h for layer in layers]) * 127)
        if at < found["begin"]:
            before = layers[0].h
            continue
        shown = found["found"][at - found["begin"]]
        assert shown["id"] == id
        likeliest = np.argsort(-given.astype(np.int64), kind="stable")[:5]
        assert [(each["id"], each["probability"]) for each in shown["top"]] == [
            (number, given[number] / 2**22) for number in likeliest
        ]
        if id < tokenizer.vocab_size and given[id]:
            assert shown["surprise"] == pytest.approx(np.log2(2**22 / given[id]), rel=1e-12, abs=1e-12)
        else:
            assert shown["surprise"] is None
        for ours, theirs in zip(layers, shown["layers"], strict=True):
            values = {"h": ours.h} if cell == "rnn" else ours.gates | {"h": ours.h}
            if ours.c is not None:
                values["c"] = ours.c
            assert {name: [float(each) for each in value] for name, value in values.items()} == theirs
    assert found["before"] == [float(np.float32(each)) for each in before]


REFUSED = """
import { readFileSync } from "node:fs";
import { openModel } from "./model.js";

const { manifest, base64 } = JSON.parse(readFileSync(given[0], "utf8"));
const kernel = readFileSync(new URL("./kernel.wasm", import.meta.url));
const wrong = readFileSync(new URL("./wrong.wasm", import.meta.url));
const name = async (options) => {
  try {
    return (await openModel(manifest, base64, options)).engineName;
  } catch (problem) {
    return problem.message;
  }
};
const names = [await name({ kernel }), await name({ kernel: kernel.toString("base64") })];
names.push(await name({ kernel: kernel.subarray(0, 100) }), await name({}), await name({ kernel: "" }));
names.push(await name({ kernel, engine: "js" }), await name({ kernel: wrong }));
const simd = WebAssembly.compile;
WebAssembly.compile = () => Promise.reject(new Error("refused"));
names.push(await name({ kernel }));
WebAssembly.compile = simd;
delete globalThis.WebAssembly;
names.push(await name({ kernel }));
manifest.answer.crc ^= 1;
names.push(await name({ kernel }));
manifest.bytes += 1;
names.push(await name({ kernel }));
manifest.arithmetic += 1;
names.push(await name({ kernel }));
console.log(JSON.stringify(names));
"""


def test_javascript_takes_over_wherever_webassembly_is_refused(
    run_node: Node, modules: Path, tmp_path: Path, kernel_of: Any
) -> None:
    """Or computes something else; a model that is damaged is refused in one line."""
    (modules / "wrong.wasm").write_bytes(kernel_of(lambda text: text.replace("i32x4.add", "i32x4.sub")))
    found = run_node(REFUSED, save(loaded("lstm", 1, "char", with_ngrams=False), tmp_path / "model.json"))
    assert found[:9] == ["wasm", "wasm", "js", "js", "js", "js", "js", "js", "js"]
    for message, part in zip(found[9:], ("computes something else", "incomplete", "another version"), strict=True):
        assert part in message
        assert "\n" not in message


WRITE = """
import { readFileSync } from "node:fs";
import { openModel } from "./model.js";

const { manifest, base64 } = JSON.parse(readFileSync(given[0], "utf8"));
const kernel = readFileSync(new URL("./kernel.wasm", import.meta.url));
const texts = [];
for (const engine of ["js", "auto"]) {
  const model = await openModel(manifest, base64, { engine, kernel });
  const state = model.begin();
  for (const id of model.encode("ROMEO:")) model.read(state, id);
  let text = "";
  for (const piece of model.write(state, { length: given[1], seed: 7 })) text += piece.text;
  texts.push(text);
}
console.log(JSON.stringify(texts));
"""


def test_the_shipped_model_writes_what_the_command_writes(
    run_node: Node, charlstm: Any, tmp_path: Path, shakespeare: Path
) -> None:
    from charlstm.storage import loaded as opening

    expected = charlstm("sample", shakespeare, "--exact", "--prompt=ROMEO:", "--length=400", "--seed=7")
    assert expected.code == 0
    texts = run_node(WRITE, save(opening.load(str(shakespeare)), tmp_path / "model.json"), 400)
    assert [f"ROMEO:{text}".rstrip("\n") for text in texts] == [expected.out.rstrip("\n")] * 2
