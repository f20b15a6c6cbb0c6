// @ts-check
// In: a model, and a file that `charlstm compress` wrote with it. Out: its text, piece by piece, as
// charlstm/compress/{passage,archive}.py read it. A hostile file costs bounded work, and comes to one line.

import { Names, RangeDecoder, recordLengths } from "./coder.js";
import { BLOCK, CODED, parseContainer, RECORDS, sha256, ZSTD } from "./container.js";
import { TOTAL } from "./fixed.js";
import { Learner } from "./learner.js";
import { bytesOfText } from "./tokenizer.js";

/** Bytes of a text: a longer one is too much for a page. */
export const LONGEST_TEXT = 1 << 24;

const MOST_RATIO = 64; // of a text's bytes to those of its code
const MOST_BEYOND = 6; // bytes that a decoder reads after the end of whole data
const TOLD = 64; // characters between two words on how much is done
const NEWLINE = 10;

/** A model whose weights stay as they are. */
class Reader {
  /** @param {import("./model.js").Model} model */
  constructor(model) {
    this.model = model;
    this.state = model.begin();
  }

  begin() {
    this.state = this.model.begin();
  }

  frequencies() {
    return this.model.frequencies(this.state);
  }

  /** @param {number} id */
  read(id) {
    this.model.read(this.state, id);
  }
}

/** Reads pieces of a text, one after the other. */
class Passages {
  /**
   * @param {import("./model.js").Model} model
   * @param {boolean} learning
   */
  constructor(model, learning) {
    const { tokenizer } = model;
    this.tokenizer = tokenizer;
    this.learning = learning;
    this.predictor = learning ? new Learner(model) : new Reader(model);
    this.names = new Names(learning);
    this.separator = Uint8Array.from(bytesOfText(model.manifest.separator));
    this.characters = tokenizer.names.map((_, id) =>
      Uint8Array.from(tokenizer.kind === "byte" ? [id & 255] : bytesOfText(tokenizer.texts[id])),
    );
  }

  /** Forgets everything. */
  begin() {
    this.predictor.begin();
    this.names = new Names(this.learning);
  }

  /**
   * Yields the bytes of characters; up to the end of a document if it is one.
   * @param {RangeDecoder} decoder
   * @param {boolean} document
   */
  *read(decoder, document) {
    const { endId, startId, unknownId } = this.tokenizer;
    while (true) {
      const sizes = this.predictor.frequencies();
      const target = decoder.target(TOTAL);
      let id = 0;
      let begin = 0;
      while (begin + sizes[id] <= target) {
        begin += sizes[id];
        id += 1;
      }
      decoder.take(begin, sizes[id], TOTAL);
      if (decoder.beyond > MOST_BEYOND) throw new Error("damaged (the text ends too early); use another copy");
      this.predictor.read(id);
      if (id === endId) {
        if (document) return;
        this.predictor.read(Number(startId));
        yield this.separator;
        continue;
      }
      const piece = id === unknownId ? codeBytes(this.names.decode(decoder)) : this.characters[id];
      if (document && endId === null && piece.length === 1 && piece[0] === NEWLINE) return;
      yield piece;
    }
  }
}

/** @param {number} code */
function codeBytes(code) {
  return Uint8Array.from(bytesOfText(String.fromCodePoint(code)));
}

/** Bytes that grow. */
class Bytes {
  constructor() {
    this.data = new Uint8Array(1 << 12);
    this.length = 0;
  }

  /** @param {Uint8Array} piece */
  add(piece) {
    if (this.length + piece.length > this.data.length) {
      const larger = new Uint8Array(2 * (this.length + piece.length));
      larger.set(this.data.subarray(0, this.length));
      this.data = larger;
    }
    this.data.set(piece, this.length);
    this.length += piece.length;
  }
}

/**
 * Yields the share that is done, and returns the text; throws an Error with one line if it cannot be read.
 * @param {import("./model.js").Model} model
 * @param {Uint8Array} data the file
 * @param {string} name of the file
 * @returns {Generator<number, string, void>}
 */
export function* openClz(model, data, name) {
  try {
    return yield* textOf(model, data);
  } catch (problem) {
    throw new Error(`${name}: ${problem instanceof Error ? problem.message : problem}`);
  }
}

/**
 * @param {import("./model.js").Model} model
 * @param {Uint8Array} data
 * @returns {Generator<number, string, void>}
 */
function* textOf(model, data) {
  const container = parseContainer(data);
  const { size } = container;
  if (size > LONGEST_TEXT) {
    throw new Error(`a text of ${size} bytes is too long for a page; use charlstm decompress`);
  }
  if (container.blocks.some(({ method }) => method === ZSTD)) {
    throw new Error("zstd has packed a part of it, which this page does not read; use charlstm decompress");
  }
  const found = new Bytes();
  const usesModel = container.blocks.some(({ method }) => method === CODED);
  if (container.writer && usesModel) requireModel(model, container.writer);
  const passages = container.writer && usesModel ? new Passages(model, container.writer.learning) : null;
  if (passages && container.kind === RECORDS) yield* readRecords(container, passages, found);
  else yield* readBlocks(container, passages, found);
  const bytes = found.data.subarray(0, found.length);
  if (bytes.length !== size || sha256(bytes).slice(0, 16) !== container.digest) {
    throw new Error("what was read is not what was compressed (SHA-256); use another copy");
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/**
 * Throws an Error if a file was written with another model.
 * @param {import("./model.js").Model} model
 * @param {import("./container.js").Writer} writer
 */
function requireModel(model, writer) {
  const { coding, arithmetic, answer } = model.manifest;
  if (writer.coding !== coding) {
    throw new Error(`it needs the model "${writer.name}" (id ${writer.coding}), and this is another one (id ${coding})`);
  }
  if (writer.arithmetic !== arithmetic || writer.answer !== (answer.crc & 0xffff)) {
    throw new Error("the machine that wrote it computes other probabilities; use charlstm decompress");
  }
}

/**
 * @param {import("./container.js").Container} container
 * @param {Passages | null} passages
 * @param {Bytes} found
 */
function* readBlocks(container, passages, found) {
  for (const { method, data } of container.blocks) {
    if (method !== CODED || !passages) {
      found.add(data);
      if (passages) passages.begin();
      continue;
    }
    const wanted = Math.min(BLOCK, container.size - found.length);
    if (wanted > MOST_RATIO * data.length) {
      throw new Error("damaged (a block is too short for its text); use another copy");
    }
    const end = found.length + wanted;
    let pieces = 0;
    for (const piece of passages.read(new RangeDecoder(data), false)) {
      found.add(piece);
      pieces += 1;
      if (pieces % TOLD === 0) yield Math.min(1, found.length / container.size);
      if (found.length >= end) break;
    }
  }
}

/**
 * @param {import("./container.js").Container} container
 * @param {Passages} passages
 * @param {Bytes} found
 */
function* readRecords(container, passages, found) {
  const [{ data }] = container.blocks;
  const { records, size, writer } = container;
  const newline = Uint8Array.of(NEWLINE);
  let begin = 0;
  for (const length of recordLengths(data.subarray(records), records, size + 1)) {
    if (begin) found.add(newline);
    passages.begin();
    const most = found.length + MOST_RATIO * length;
    for (const piece of passages.read(new RangeDecoder(data.subarray(begin, begin + length)), true)) {
      found.add(piece);
      if (found.length > most) throw new Error("damaged (a record is too short for its text); use another copy");
    }
    begin += length;
    yield Math.min(1, found.length / (size || 1));
  }
  if (begin && writer && !writer.unended) found.add(newline);
}
