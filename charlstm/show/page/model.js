// @ts-check
// In: what `charlstm/export/payload.py` has packed. Out: a model that reads, writes and shows what it does.

import { CELLS } from "./cells.js";
import { openEngine } from "./engine.js";
import { checkedTables, crc32, frequencies, TOTAL } from "./fixed.js";
import { RandomNumbers } from "./random.js";
import { checkedOptions, checkedSeed, drawId, weighExactly, Written } from "./sampler.js";
import { Tokenizer } from "./tokenizer.js";
import { likeliest, Trace } from "./trace.js";

const ARITHMETIC = 1;
const OF_LABEL = 1; // tells the draw of a text's label from those of its characters

/**
 * What stands in the manifest.
 * @typedef {object} Manifest
 * @property {number} arithmetic
 * @property {string} name
 * @property {string} coding what a file that `charlstm compress` wrote calls it
 * @property {string} separator what stands between documents, or nothing
 * @property {string} id the SHA-256 of all that decides the probabilities
 * @property {import("./engine.js").Shape} shape
 * @property {number} weights their number, without those of n-grams
 * @property {string} tokenizer "char" or "byte"
 * @property {string[]} vocabulary what each id stands for
 * @property {string[]} labels
 * @property {number[]} labelCounts how many documents have each label
 * @property {number} bytes of all tensors
 * @property {{ name: string, type: string, shape: number[], at: number }[]} tensors
 * @property {{ ids: number, crc: number }} answer what the model must say of a fixed text
 */

/**
 * What is written at one step.
 * @typedef {object} Piece
 * @property {number} id what was drawn, and read
 * @property {string} text what can be shown now: nothing, as long as it may be the beginning of a stop text
 * @property {string | null} stopped why the text has ended: "length", "stop" or "end"
 * @property {number} probability that the model gave to the id
 * @property {string} held what is kept back
 */

/** A trained model. */
export class Model {
  /**
   * @param {Manifest} manifest
   * @param {Tokenizer} tokenizer
   * @param {import("./engine.js").Engine} engine
   * @param {import("./fixed.js").Tables} tables
   */
  constructor(manifest, tokenizer, engine, tables) {
    this.name = manifest.name;
    this.id = manifest.id;
    this.manifest = manifest;
    this.tokenizer = tokenizer;
    this.engine = engine;
    this.tables = tables;
    this.engineName = engine.kernel.name;
    const { gates, signals } = CELLS[manifest.shape.cell];
    this.shape = { ...manifest.shape, gates: Array.from(gates), signals };
    /** What each id writes. */
    this.vocabulary = tokenizer.texts;
    /** What each id is called. */
    this.names = tokenizer.texts.map((text, id) => text || tokenizer.names[id]);
    this.labels = tokenizer.labels;
    this.unknownId = tokenizer.unknownId;
    this.endId = tokenizer.endId;
    /** Ids that have no probability: <start>. */
    this.impossible = tokenizer.startId === null ? [] : [tokenizer.startId];
    this.spread = new Uint32Array(manifest.shape.vocabSize);
  }

  /**
   * Returns the state at the beginning of a document.
   * @param {string | null} [label] of the document
   */
  begin(label) {
    const state = this.engine.begin();
    for (const id of this.tokenizer.opening(label)) this.engine.step(state, id);
    return state;
  }

  /**
   * Returns the label that a seed draws, each as often as the training text has it; null if there are none.
   * @param {number | bigint | string} seed
   */
  drawnLabel(seed) {
    const counts = this.manifest.labelCounts;
    if (!counts.length) return null;
    const place = new RandomNumbers(checkedSeed(seed), OF_LABEL).uniform() * counts.reduce((a, b) => a + b, 0);
    let sum = 0;
    const number = counts.findIndex((count) => (sum += count) > place);
    return this.labels[number < 0 ? counts.length - 1 : number];
  }

  /**
   * Returns the ids of a text; an unknown character becomes <unk>.
   * @param {string} text
   */
  encode(text) {
    return this.tokenizer.encode(text);
  }

  /** Returns a decoder: its `text(id)` is the text that an id completes. */
  decoder() {
    return this.tokenizer.decoder();
  }

  /**
   * Reads one character: the state becomes the one after it.
   * @param {import("./engine.js").State} state
   * @param {number} id
   * @param {Trace | null} [trace]
   */
  read(state, id, trace) {
    if (!trace) {
      this.engine.step(state, id);
      return;
    }
    const expected = state.started ? this.frequencies(state) : null;
    trace.open(state);
    this.engine.step(state, id);
    trace.append(state, id, expected);
  }

  /**
   * Returns the frequency of each id as the next one, with the sum TOTAL; they hold until the next call.
   * @param {import("./engine.js").State} state
   */
  frequencies(state) {
    return frequencies(this.tables, state.scores(), this.impossible, this.spread);
  }

  /**
   * Returns the likeliest next ids.
   * @param {import("./engine.js").State} state
   * @param {number} count
   */
  top(state, count) {
    const found = this.frequencies(state);
    return likeliest(found, count).map((id) => ({ id, text: this.names[id], probability: found[id] / TOTAL }));
  }

  /**
   * Returns the probability of an id as the next one.
   * @param {import("./engine.js").State} state
   * @param {number} id
   */
  probability(state, id) {
    return (this.frequencies(state)[id] ?? 0) / TOTAL;
  }

  /**
   * Returns an empty trace.
   * @param {number} capacity characters
   */
  trace(capacity) {
    return new Trace(this.engine, this.names, capacity);
  }

  /**
   * Yields what is written, until the text has ended: one piece for each id, which the state has read then. The options
   * are read anew at each character, but for the seed and the stops.
   * @param {import("./engine.js").State} state
   * @param {import("./sampler.js").SampleOptions} options
   * @param {Trace | null} [trace]
   * @returns {Generator<Piece, void, void>}
   */
  *write(state, options, trace) {
    const written = new Written(this.tokenizer, options.stops ?? []);
    const seed = options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
    const random = new RandomNumbers(checkedSeed(seed));
    while (written.stopped === null) {
      const checked = checkedOptions(options);
      if (written.count >= checked.length) return;
      const weights = weighExactly(this.tables, state.scores(), checked, this.tokenizer.never);
      const id = drawId(weights, random.uniform());
      const probability = this.frequencies(state)[id] / TOTAL;
      this.read(state, id, trace);
      const text = written.add(id, checked.length);
      yield { id, text, stopped: written.stopped, probability, held: written.held };
    }
  }
}

/**
 * Returns the bytes that base64 stands for.
 * @param {string} base64
 */
function bytesOfBase64(base64) {
  const binary = atob(base64.trim());
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/**
 * Returns the tensors of a model by name.
 * @param {Manifest} manifest
 * @param {Uint8Array} bytes
 */
function tensorsOf(manifest, bytes) {
  if (bytes.length !== manifest.bytes) throw new Error("the model is incomplete; get the file again");
  /** @type {Record<string, import("./engine.js").Tensor>} */
  const tensors = {};
  const kinds = { int8: Int8Array, int16: Int16Array, int32: Int32Array };
  for (const { name, type, shape, at } of manifest.tensors) {
    const count = shape.reduce((product, size) => product * size, 1);
    tensors[name] = new kinds[/** @type {keyof typeof kinds} */ (type)](/** @type {ArrayBuffer} */ (bytes.buffer), at, count);
  }
  return tensors;
}

/**
 * Returns the CRC-32 of the frequencies that a model finds in a fixed text.
 * @param {Model} model
 */
function answerOf(model) {
  const state = model.begin();
  let crc = 0;
  for (let number = 0; number < model.manifest.answer.ids; number += 1) {
    const found = model.frequencies(state);
    crc = crc32(new Uint8Array(found.buffer), crc);
    model.read(state, (number * 7) % model.shape.vocabSize);
  }
  return crc;
}

/**
 * Returns a model, checked; throws an Error with one line if it cannot be used here.
 * @param {Manifest} manifest
 * @param {string} base64 the tensors
 * @param {{ engine?: "auto" | "js", kernel?: string | Uint8Array }} [options] `kernel` is kernel.wasm, as base64 or bytes
 */
export async function openModel(manifest, base64, { engine = "auto", kernel } = {}) {
  if (manifest.arithmetic !== ARITHMETIC) throw new Error("the model is of another version; export the page again");
  const tensors = tensorsOf(manifest, bytesOfBase64(base64));
  const tables = checkedTables();
  const tokenizer = new Tokenizer(manifest.tokenizer, manifest.vocabulary, manifest.labels);
  const binary = typeof kernel === "string" ? bytesOfBase64(kernel) : (kernel ?? null);
  for (const tried of engine === "auto" && binary && binary.length ? [binary, null] : [null]) {
    const opened = await openEngine(manifest.shape, tokenizer, tensors, tables, tried);
    const model = new Model(manifest, tokenizer, opened, tables);
    if (answerOf(model) === manifest.answer.crc) return model;
  }
  throw new Error("the model computes something else here than it should; get the file again, or try another browser");
}
