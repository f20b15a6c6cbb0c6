// @ts-check
// In: a model, and a text id by id. Out: the frequencies of a model that learns from the text as it reads, as
// charlstm/compress/learn.py has them: its output layer takes steps of gradient descent, and counts of what followed
// the last characters are mixed in. All numbers are whole and below 2^53, so that every sum is exact.

import { frequencies, GRID, TOTAL } from "./fixed.js";

const ORDERS = [2, 3, 4, 5, 6, 8];
const WEIGHT_UNIT = 1 << 16; // steps per unit of weights
const FIRST_WEIGHT = Math.floor((3 * WEIGHT_UNIT) / 20);
const KINDS = 12; // of contexts: three ranges of successors, four of the sum of counts
const MOST_COUNT = 255;
const MOST_CONTEXTS = 1 << 17;
const ERROR_BITS = 6;
const LEAST_ERROR = 64;
const RATE = 17;
const LEVEL = 127;
const CLIPPED_EVERY = 256;
const WEIGHT_RATE = 3;
const SCALE_RATE = 5;
const LOG_BITS = 160n;

/** @type {Map<number, number>} */
const knownLogarithms = new Map();

/**
 * Returns twice the inverse hyperbolic tangent of a fraction, in steps of 2^-LOG_BITS.
 * @param {bigint} above
 * @param {bigint} below
 */
function twiceAtanh(above, below) {
  let power = (above << LOG_BITS) / below;
  const square = (power * power) >> LOG_BITS;
  let sum = 0n;
  for (let n = 1n; power; n += 2n) {
    sum += power / n;
    power = (power * square) >> LOG_BITS;
  }
  return 2n * sum;
}

/**
 * Returns the natural logarithm of a whole number in steps of 1 / GRID: browsers' Math.log have other last bits.
 * @param {number} number
 */
export function logarithm(number) {
  const known = knownLogarithms.get(number);
  if (known !== undefined) return known;
  const whole = BigInt(number);
  const bits = BigInt(whole.toString(2).length - 1);
  const power = 1n << bits;
  const found = bits * twiceAtanh(1n, 3n) + twiceAtanh(whole - power, whole + power);
  const result = Number((found * BigInt(GRID) + (1n << (LOG_BITS - 1n))) >> LOG_BITS);
  knownLogarithms.set(number, result);
  return result;
}

/** @param {number} number */
function bitLength(number) {
  return 32 - Math.clz32(number);
}

/** @param {number} value @param {number} least @param {number} most */
function within(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

/**
 * How often which id followed a context.
 * @typedef {Map<number, number>} Followers
 */

/** What followed the last ids in this text, for several orders. */
class Counts {
  constructor() {
    /** @type {Map<string, Followers>[]} */
    this.tables = ORDERS.map(() => new Map());
    /** The last ids, two UTF-16 units each. */
    this.recent = "";
  }

  /** Returns the keys of the contexts that there are. */
  keys() {
    const there = ORDERS.filter((order) => 2 * order <= this.recent.length);
    return there.map((order) => this.recent.slice(-2 * order));
  }

  /** Returns what followed, from the lowest order up to the highest that has occurred. */
  found() {
    /** @type {Followers[]} */
    const found = [];
    for (const [number, key] of this.keys().entries()) {
      const followers = this.tables[number].get(key);
      if (!followers) break;
      found.push(followers);
    }
    return found;
  }

  /** @param {number} id what came */
  learn(id) {
    for (const [number, key] of this.keys().entries()) {
      const table = this.tables[number];
      const followers = table.get(key);
      if (!followers) {
        table.set(key, new Map([[id, 1]]));
        if (table.size > MOST_CONTEXTS) forget(table, MOST_CONTEXTS / 2);
        continue;
      }
      const count = (followers.get(id) ?? 0) + 1;
      followers.set(id, count);
      if (count > MOST_COUNT) for (const [each, size] of followers) followers.set(each, (size + 1) >> 1);
    }
    this.recent = (this.recent + String.fromCharCode(id & 0xffff, id >> 16)).slice(-2 * ORDERS[ORDERS.length - 1]);
  }
}

/**
 * Removes the oldest entries of a table.
 * @param {Map<string, Followers>} table
 * @param {number} count
 */
function forget(table, count) {
  let left = count;
  for (const key of table.keys()) {
    if (!left) return;
    table.delete(key);
    left -= 1;
  }
}

/** @param {Followers} followers */
function kindOf(followers) {
  let sum = 0;
  for (const count of followers.values()) sum += count;
  return 4 * (Math.min(followers.size, 3) - 1) + Math.min(bitLength(sum), 4) - 1;
}

/** Returns the weights by which counts are mixed in, by order and kind of context. */
function firstWeights() {
  return ORDERS.map(() => new Array(KINDS).fill(FIRST_WEIGHT));
}

/** Returns the weights of the model's own scores, by the highest order that has occurred. */
function firstScales() {
  return new Array(ORDERS.length + 1).fill(WEIGHT_UNIT);
}

/** A model that learns as it reads. */
export class Learner {
  /** @param {import("./model.js").Model} model */
  constructor(model) {
    this.model = model;
    this.size = model.shape.vocabSize;
    this.inputs = model.shape.layers * model.shape.hiddenSize;
    this.change = new Float64Array(this.size * this.inputs);
    this.shift = 2 ** (RATE + bitLength(this.inputs));
    this.most = 2 ** (52 - bitLength(LEVEL * this.inputs));
    this.logs = Array.from({ length: MOST_COUNT + 1 }, (_, count) => logarithm(Math.max(count, 1)));
    this.scores = new Float64Array(this.size);
    this.mixed = new Float64Array(this.size);
    this.spread = new Uint32Array(this.size);
    /** @type {Followers[]} what followed the contexts at this place */
    this.found = [];
    /** @type {number[]} */
    this.bases = [];
    /** @type {number[]} */
    this.kinds = [];
    this.asked = false;
    this.steps = 0;
    this.state = model.begin();
    this.counts = new Counts();
    this.weights = firstWeights();
    this.scales = firstScales();
  }

  /** Forgets everything. */
  begin() {
    this.change.fill(0);
    this.asked = false;
    this.steps = 0;
    this.state = this.model.begin();
    this.counts = new Counts();
    this.weights = firstWeights();
    this.scales = firstScales();
  }

  /** Returns the frequency of each id as the next one, with the sum TOTAL. */
  frequencies() {
    const { scores, mixed, inputs, change } = this;
    const h = this.state.h;
    const own = this.state.scores();
    for (let id = 0; id < this.size; id += 1) {
      let sum = 0;
      for (let at = 0, row = id * inputs; at < inputs; at += 1) sum += change[row + at] * h[at];
      scores[id] = own[id] + Math.floor(sum / this.shift);
    }
    this.found = this.counts.found();
    const scale = this.scales[this.found.length];
    for (let id = 0; id < this.size; id += 1) mixed[id] = scores[id] * scale;
    this.kinds = this.found.map(kindOf);
    this.bases = this.found.map(({ size }) => (size < this.size ? logarithm(this.size - size) - logarithm(size) : 0));
    for (const [order, followers] of this.found.entries()) {
      const weight = this.weights[order][this.kinds[order]];
      for (const [id, count] of followers) mixed[id] += (this.logs[count] + this.bases[order]) * weight;
    }
    for (let id = 0; id < this.size; id += 1) mixed[id] = Math.floor(mixed[id] / WEIGHT_UNIT);
    this.asked = true;
    return frequencies(this.model.tables, /** @type {any} */ (mixed), this.model.impossible, this.spread);
  }

  /**
   * Learns from the next id if its frequency was asked for, and goes on after it.
   * @param {number} id
   */
  read(id) {
    if (this.asked) {
      this.weigh(id);
      this.counts.learn(id);
      this.adjust(id);
      this.asked = false;
    }
    this.model.read(this.state, id);
  }

  /**
   * Takes a step of the weights by which counts are mixed in.
   * @param {number} id what came
   */
  weigh(id) {
    const { found, scores, spread } = this;
    let sum = 0;
    for (let each = 0; each < this.size; each += 1) sum += spread[each] * scores[each];
    const off = scores[id] - Math.floor(sum / TOTAL);
    const scale = this.scales[found.length] + Math.floor(off / 2 ** SCALE_RATE);
    this.scales[found.length] = within(scale, 0, 4 * WEIGHT_UNIT);
    for (const [order, followers] of found.entries()) {
      let expected = 0;
      for (const [each, count] of followers) expected += spread[each] * (this.logs[count] + this.bases[order]);
      const came = followers.get(id);
      const feature = came === undefined ? 0 : this.logs[came] + this.bases[order];
      const change = Math.floor((feature - Math.floor(expected / TOTAL)) / 2 ** WEIGHT_RATE);
      const weights = this.weights[order];
      const kind = this.kinds[order];
      weights[kind] = within(weights[kind] + change, -WEIGHT_UNIT, 2 * WEIGHT_UNIT);
    }
  }

  /**
   * Takes a step of the output layer.
   * @param {number} came
   */
  adjust(came) {
    const { inputs, change, spread } = this;
    const h = this.state.h;
    for (let id = 0; id < this.size; id += 1) {
      const error = ((id === came ? TOTAL : 0) - spread[id]) >> ERROR_BITS;
      if (Math.abs(error) < LEAST_ERROR) continue;
      for (let at = 0, row = id * inputs; at < inputs; at += 1) change[row + at] += error * h[at];
    }
    this.steps += 1;
    if (this.steps % CLIPPED_EVERY) return;
    for (let at = 0; at < change.length; at += 1) change[at] = within(change[at], -this.most, this.most);
  }
}
