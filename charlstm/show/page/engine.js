// @ts-check
// In: a model in whole numbers. Out: the scores of the next character, one character at a time: the arithmetic of
// charlstm/network/exact.py, whose results are the same to the bit.
//
// All whole numbers up to 2^53 are exact in JavaScript's numbers; sums of products are int32 where no sum can reach 2^31.

import { CELL, CELLS, FINE, LEVELS, middleOf } from "./cells.js";
import { GRID } from "./fixed.js";
import { openKernel } from "./kernel.js";

const MULTIPLIER = 2 ** 32;
const INPUT = 1 << 12;
const BIAS = 1 << 14;
const NGRAM_SCALE = 2 ** 24;
const PEEPHOLE = 1 << 16;
const ROW_MOST = 2 ** 9 * BIAS - 1; // of a row of inputs, in steps of 1 / BIAS
const HASH_FACTOR = 0x9e3779b1;

/** @typedef {Int8Array | Int16Array | Int32Array} Tensor */

/**
 * The shape of a network.
 * @typedef {object} Shape
 * @property {string} cell
 * @property {number} layers
 * @property {number} hiddenSize
 * @property {number} embeddingSize
 * @property {number} vocabSize ids that are written
 * @property {number} ngrams the highest order, 0 if there are none
 * @property {number} ngramRows
 */

/**
 * What a network needs to know of its ids.
 * @typedef {object} Alphabet
 * @property {number[]} codes what n-grams hash for each id
 * @property {number | null} endId
 * @property {number | null} startId null if documents have no frames
 */

/**
 * A product whose sums may be too large for int32, or whose vector for int16, is computed in doubles.
 * @typedef {object} InputProduct
 * @property {import("./kernel.js").Matrix | null} matrix null: in doubles
 * @property {Int8Array} values (G H, E)
 */

/**
 * What a layer computes with.
 * @typedef {object} Layer
 * @property {(Float64Array | null)[]} table the input from each id, computed when it is first read
 * @property {InputProduct} fromEmbedding
 * @property {InputProduct | null} fromNgrams
 * @property {import("./kernel.js").Matrix | null} fromBelow
 * @property {import("./kernel.js").Matrix} fromH
 * @property {Float64Array} scalesNgrams
 * @property {Float64Array} scalesBelow
 * @property {Int32Array} multipliers of the embedding's weights
 * @property {Int32Array} bias
 * @property {Float64Array} fromX (G H) for the sum of all inputs
 * @property {Int32Array | null} far what <end> adds
 * @property {import("./cells.js").LayerStep} step
 */

/** What a text has left in the network: it can be copied, so that a text can branch. */
export class State {
  /** @param {Engine} engine */
  constructor(engine) {
    const { layers, hiddenSize, ngrams } = engine.shape;
    this.engine = engine;
    /** The h of all layers, (L H), in steps of 1 / LEVELS. */
    this.h = new Int16Array(layers * hiddenSize);
    /** The c of all layers, or the gru's fine h, (L H), in steps of 1 / CELL. */
    this.memory = new Int32Array(layers * hiddenSize);
    /** Those of each layer, (H). */
    this.hOf = engine.layers.map((_, layer) => this.h.subarray(layer * hiddenSize, (layer + 1) * hiddenSize));
    this.memoryOf = engine.layers.map((_, layer) => this.memory.subarray(layer * hiddenSize, (layer + 1) * hiddenSize));
    /** The codes of the last characters, for n-grams. */
    this.recent = new Int32Array(Math.max(0, ngrams - 1));
    /** Whether something was read: then there are scores. */
    this.started = false;
    /** @type {Int32Array | null} */
    this.known = null;
  }

  copy() {
    const copy = new State(this.engine);
    copy.h.set(this.h);
    copy.memory.set(this.memory);
    copy.recent.set(this.recent);
    copy.started = this.started;
    copy.known = this.known;
    return copy;
  }

  /** Returns the scores of the next character in steps of 1 / GRID nats, (V); they are not to be changed. */
  scores() {
    if (!this.started) throw new Error("nothing was read yet: there are no scores");
    this.known = this.known || this.engine.scores(this);
    return this.known;
  }
}

/** The network, laid out for single steps. */
export class Engine {
  /**
   * @param {Shape} shape
   * @param {Alphabet} alphabet
   * @param {Record<string, Tensor>} weights by the names in a checkpoint; a matrix comes with its `.scale`
   * @param {import("./fixed.js").Tables} tables
   * @param {import("./kernel.js").Kernel} kernel
   * @param {NgramGrid | null} grid
   */
  constructor(shape, alphabet, weights, tables, kernel, grid) {
    const { hiddenSize: size, vocabSize, layers } = shape;
    this.shape = shape;
    this.alphabet = alphabet;
    this.cell = CELLS[shape.cell];
    this.kernel = kernel;
    this.weights = weights;
    this.grid = grid;
    this.ngrams = grid ? ngramIndex(weights["ngrams.rows"], shape.ngramRows) : null;
    this.ngramSums = new Float64Array(shape.embeddingSize);
    this.embedding = /** @type {Int16Array} */ (weights["embedding.weight"]);
    this.embeddingMost = mostOf(this.embedding);
    /** @type {Layer[]} */
    this.layers = [];
    for (let number = 0; number < layers; number += 1) this.layers.push(this.layOut(number, size, tables));
    this.output = this.matrix(weights["output.weight"], vocabSize, layers * size);
    this.outputScales = scalesOf(weights["output.weight.scale"], GRID);
    this.outputBias = Float64Array.from(weights["output.bias"], (bias) => bias * (GRID / BIAS));
  }

  /**
   * @param {number} number
   * @param {number} size
   * @param {import("./fixed.js").Tables} tables
   * @returns {Layer}
   */
  layOut(number, size, tables) {
    /** @param {string} name @returns {Tensor} */
    const own = (name) => this.weights[`layers.${number}.${name}`];
    const { kernel, grid, shape } = this;
    const rows = this.cell.gates.length * size;
    const x = /** @type {Int8Array} */ (own("weight_x"));
    const bias = Int32Array.from(own("bias_ih_l0"));
    const biasToo = Int32Array.from(own("bias_hh_l0"));
    const biasH = Float64Array.from(biasToo.subarray(2 * size), (value) => value * (GRID / BIAS));
    if (shape.cell === "gru") biasToo.fill(0, 2 * size);
    for (let row = 0; row < rows; row += 1) bias[row] += biasToo[row];
    const peepholes = [];
    for (let part = 0; own("weight_ch_l0") && part < 3; part += 1) {
      const weights = own("weight_ch_l0").subarray(part * size, (part + 1) * size);
      peepholes.push(Float64Array.from(weights, (weight) => weight * (GRID / PEEPHOLE / CELL)));
    }
    const scaleX = /** @type {Int32Array} */ (own("weight_x.scale"));
    const heaviest = heaviestRow(x, shape.embeddingSize);
    const fits = heaviest * this.embeddingMost < 2 ** 31;
    const ngramsFit = grid !== null && grid.most < 2 ** 15 && heaviest * grid.most < 2 ** 31;
    const most = heaviest * Math.max(fits ? this.embeddingMost : 0, ngramsFit ? grid.most : 0);
    const matrix = fits || ngramsFit ? kernel.matrix(x, rows, shape.embeddingSize, most) : null;
    const wide = { matrix: null, values: x };
    return {
      table: new Array(this.alphabet.codes.length).fill(null),
      fromEmbedding: fits ? { matrix, values: x } : wide,
      fromNgrams: grid ? (ngramsFit ? { matrix, values: x } : wide) : null,
      fromBelow: number ? this.matrix(own("weight_below"), rows, size) : null,
      fromH: this.matrix(own("weight_hh_l0"), rows, size),
      scalesNgrams: grid ? scalesOf(scaleX, GRID * (INPUT / grid.steps)) : new Float64Array(0),
      scalesBelow: number ? scalesOf(own("weight_below.scale"), GRID) : new Float64Array(0),
      multipliers: scaleX,
      bias,
      fromX: new Float64Array(rows),
      far: /** @type {Int32Array | null} */ (own("far") || null),
      step: {
        size,
        tables,
        sums: kernel.sums,
        scales: scalesOf(own("weight_hh_l0.scale"), GRID),
        biasH,
        peepholes,
        gates: new Int16Array(rows),
      },
    };
  }

  /**
   * Returns a matrix that h is multiplied by.
   * @param {Tensor} weights
   * @param {number} rows
   * @param {number} columns
   */
  matrix(weights, rows, columns) {
    const values = /** @type {Int8Array} */ (weights);
    return this.kernel.matrix(values, rows, columns, heaviestRow(values, columns) * LEVELS);
  }

  /** Returns the state at the beginning of a text. */
  begin() {
    return new State(this);
  }

  /** @param {number} layer @returns {Int16Array} the gates of the last step, (G H), in steps of 1 / UNIT */
  gatesOf(layer) {
    return this.layers[layer].step.gates;
  }

  /**
   * Reads one character: the state becomes the one after it.
   * @param {State} state
   * @param {number} id
   */
  step(state, id) {
    const { kernel, cell } = this;
    if (this.grid) this.readNgrams(state, id);
    if (id === this.alphabet.endId) {
      state.h.fill(0);
      state.memory.fill(0);
    }
    for (let number = 0; number < this.layers.length; number += 1) {
      const layer = this.layers[number];
      const row = layer.table[id] || this.tableRow(layer, id);
      let fromX = row;
      if (layer.fromNgrams || layer.fromBelow) {
        fromX = layer.fromX;
        fromX.set(row);
      }
      if (layer.fromNgrams) {
        const sums = this.sumsOf(layer.fromNgrams, this.ngramSums);
        const scales = layer.scalesNgrams;
        for (let at = 0; at < fromX.length; at += 1) fromX[at] += sums[at] * scales[at];
      }
      if (layer.fromBelow) {
        kernel.vector.set(state.hOf[number - 1]);
        kernel.multiply(layer.fromBelow);
        const { sums } = kernel;
        const scales = layer.scalesBelow;
        for (let at = 0; at < fromX.length; at += 1) fromX[at] += sums[at] * scales[at];
      }
      kernel.vector.set(state.hOf[number]);
      kernel.multiply(layer.fromH);
      cell.advance(layer.step, fromX, state.hOf[number], state.memoryOf[number]);
    }
    state.started = true;
    state.known = null;
  }

  /**
   * Returns a layer's input from an id, (G H), and keeps it.
   * @param {Layer} layer
   * @param {number} id
   */
  tableRow(layer, id) {
    const { embeddingSize, hiddenSize } = this.shape;
    const input = this.embedding.subarray(id * embeddingSize, (id + 1) * embeddingSize);
    const sums = this.sumsOf(layer.fromEmbedding, input);
    const { multipliers, bias, far } = layer;
    const row = new Float64Array(bias.length);
    const gates = this.cell.gates;
    for (let at = 0; at < row.length; at += 1) {
      let value = roundedProduct(sums[at], multipliers[at]) + bias[at];
      if (far && id === this.alphabet.endId) value += far[at];
      value = Math.max(-ROW_MOST, Math.min(ROW_MOST, value));
      row[at] = value / FINE + middleOf(gates[Math.floor(at / hiddenSize)]) * GRID + 0.5;
    }
    layer.table[id] = row;
    return row;
  }

  /**
   * Returns the products of a matrix's rows and whole numbers.
   * @param {InputProduct} product
   * @param {Int16Array | Float64Array} input
   */
  sumsOf(product, input) {
    if (!product.matrix) return sumsInDoubles(product.values, input);
    this.kernel.vector.set(input);
    this.kernel.multiply(product.matrix);
    return this.kernel.sums;
  }

  /**
   * Sums the vectors of the n-grams that end at a character, and remembers its code.
   * @param {State} state
   * @param {number} id
   */
  readNgrams(state, id) {
    const { ngrams, ngramRows, embeddingSize } = this.shape;
    const { recent } = state;
    const sums = this.ngramSums.fill(0);
    const values = this.weights["ngrams.values"];
    const scales = this.weights["ngrams.scales"];
    const index = /** @type {Int32Array} */ (this.ngrams);
    const code = this.alphabet.codes[id];
    let factor = 1;
    let total = 0;
    for (let order = 1; order <= ngrams; order += 1) {
      const reached = order === 1 ? code : recent[ngrams - order];
      if (reached === 0) break; // no n-gram reaches across the beginning
      total = (total + Math.imul(reached, factor)) | 0;
      factor = Math.imul(factor, HASH_FACTOR);
      if (order === 1) continue;
      const place = index[mixedHash(total ^ Math.imul(order, HASH_FACTOR)) & (ngramRows - 1)];
      if (place < 0) continue;
      const scale = scales[place];
      for (let at = 0; at < embeddingSize; at += 1) sums[at] += values[place * embeddingSize + at] * scale;
    }
    const fraction = /** @type {NgramGrid} */ (this.grid).steps / NGRAM_SCALE;
    for (let at = 0; at < embeddingSize; at += 1) sums[at] = Math.floor(sums[at] * fraction + 0.5);
    if (code === 0) recent.fill(0);
    else {
      recent.copyWithin(0, 1);
      recent[recent.length - 1] = code;
    }
  }

  /**
   * Returns the scores of the next character in steps of 1 / GRID nats, (V).
   * @param {State} state
   */
  scores(state) {
    this.kernel.vector.set(state.h);
    this.kernel.multiply(this.output);
    const { sums } = this.kernel;
    const scores = new Int32Array(this.shape.vocabSize);
    for (let id = 0; id < scores.length; id += 1) {
      scores[id] = Math.floor(sums[id] * this.outputScales[id] + this.outputBias[id] + 0.5);
    }
    return scores;
  }
}

/**
 * Returns an engine.
 * @param {Shape} shape
 * @param {Alphabet} alphabet
 * @param {Record<string, Tensor>} weights
 * @param {import("./fixed.js").Tables} tables
 * @param {Uint8Array | null} binary kernel.wasm; null: in JavaScript alone
 */
export async function openEngine(shape, alphabet, weights, tables, binary) {
  const { hiddenSize: size, embeddingSize, vocabSize, layers } = shape;
  const rows = CELLS[shape.cell].gates.length * size;
  const shapes = [[vocabSize, layers * size]];
  for (let number = 0; number < layers; number += 1) {
    shapes.push([rows, embeddingSize], [rows, size]);
    if (number) shapes.push([rows, size]);
  }
  const kernel = await openKernel(shapes, binary);
  return new Engine(shape, alphabet, weights, tables, kernel, shape.ngrams > 1 ? ngramGrid(shape, weights) : null);
}

/**
 * On what grid the sums of n-grams' vectors are.
 * @typedef {object} NgramGrid
 * @property {number} steps per unit
 * @property {number} most of any of them
 */

/**
 * Returns the finest grid, up to that of embeddings, on which no product of the sums reaches 2^24; if there is none,
 * that of embeddings.
 * @param {Shape} shape
 * @param {Record<string, Tensor>} weights
 * @returns {NgramGrid}
 */
function ngramGrid(shape, weights) {
  const { embeddingSize: size, ngrams, layers } = shape;
  const values = weights["ngrams.values"];
  const scales = weights["ngrams.scales"];
  const highest = new Float64Array(size);
  for (let row = 0; row < scales.length; row += 1) {
    for (let at = 0; at < size; at += 1) {
      const value = Math.abs(values[row * size + at] * scales[row]);
      if (value > highest[at]) highest[at] = value;
    }
  }
  const most = highest.map((value) => value * (ngrams - 1));
  /** @param {number} steps */
  const onGrid = (steps) => most.map((value) => Math.floor(value / (NGRAM_SCALE / steps)) + 1);
  let steps = INPUT;
  for (let shift = 0; shift < 5; shift += 1) {
    const limits = onGrid(INPUT >> shift);
    let all = true;
    for (let number = 0; all && number < layers; number += 1) {
      all = heaviestRow(/** @type {Int8Array} */ (weights[`layers.${number}.weight_x`]), size, limits) < 2 ** 24;
    }
    if (all) {
      steps = INPUT >> shift;
      break;
    }
  }
  return { steps, most: Math.max(...onGrid(steps)) };
}

/**
 * Returns the most that a row's weights, by their sizes, add up to.
 * @param {Int8Array} matrix
 * @param {number} columns
 * @param {Float64Array} [limits] what each weight is multiplied by
 */
function heaviestRow(matrix, columns, limits = new Float64Array(columns).fill(1)) {
  let heaviest = 0;
  for (let at = 0; at < matrix.length; at += columns) {
    let sum = 0;
    for (let column = 0; column < columns; column += 1) sum += Math.abs(matrix[at + column]) * limits[column];
    if (sum > heaviest) heaviest = sum;
  }
  return heaviest;
}

/** @param {Tensor} values */
function mostOf(values) {
  let most = 0;
  for (let at = 0; at < values.length; at += 1) most = Math.max(most, Math.abs(values[at]));
  return most;
}

/**
 * Returns what makes sums pre-activations, exactly: multipliers times a power of 2.
 * @param {Tensor} multipliers
 * @param {number} steps
 */
function scalesOf(multipliers, steps) {
  return Float64Array.from(multipliers, (multiplier) => multiplier * (steps / MULTIPLIER));
}

/**
 * @param {Int8Array} values
 * @param {Int16Array | Float64Array} input
 */
function sumsInDoubles(values, input) {
  const columns = input.length;
  const sums = new Float64Array(values.length / columns);
  for (let row = 0; row < sums.length; row += 1) {
    let sum = 0;
    for (let column = 0; column < columns; column += 1) sum += values[row * columns + column] * input[column];
    sums[row] = sum;
  }
  return sums;
}

/**
 * Returns sum * multiplier / 2^18, rounded: the product may be larger than 2^53.
 * @param {number} sum
 * @param {number} multiplier below 2^31
 */
function roundedProduct(sum, multiplier) {
  const low = sum * (multiplier & 0xffff) + (1 << 17);
  const high = sum * (multiplier >>> 16) + Math.floor(low / (1 << 16));
  return Math.floor(high / 4);
}

/**
 * Returns the place of each row of n-grams among those in use, -1 for the others.
 * @param {Tensor} rows
 * @param {number} count
 */
function ngramIndex(rows, count) {
  const index = new Int32Array(count).fill(-1);
  for (let place = 0; place < rows.length; place += 1) index[rows[place]] = place;
  return index;
}

/** @param {number} sums 32 bits */
function mixedHash(sums) {
  sums = Math.imul(sums ^ (sums >>> 16), 0x85ebca6b);
  sums = Math.imul(sums ^ (sums >>> 13), 0xc2b2ae35);
  return sums ^ (sums >>> 16);
}

