// @ts-check
// In: scores, and how to choose. Out: the next id, and when a text ends: the filters, draws and stops of
// charlstm/sample.py in exact arithmetic, so that the same seed writes the same text as `charlstm sample --exact`.

import { EXP_SIZE, WEIGHT } from "./fixed.js";

/**
 * How the next character is chosen, and when a text ends.
 * @typedef {object} SampleOptions
 * @property {number} [length] new characters
 * @property {number} [temperature] 0 always takes the likeliest
 * @property {number | null} [topK]
 * @property {number | null} [topP]
 * @property {number | null} [minP]
 * @property {number | bigint | string} [seed]
 * @property {string[]} [stops] texts to end before
 */

/** What `charlstm sample` does by default. */
export const SAMPLE_DEFAULTS = { length: 500, temperature: 0.8, topK: null, topP: null, minP: null };

/**
 * Returns the options with their defaults; throws an Error with one line if one is out of its limits.
 * @param {SampleOptions} options
 */
export function checkedOptions(options) {
  const length = options.length ?? SAMPLE_DEFAULTS.length;
  const temperature = options.temperature ?? SAMPLE_DEFAULTS.temperature;
  const topK = options.topK ?? null;
  const topP = options.topP ?? null;
  const minP = options.minP ?? null;
  if (!(length >= 0)) throw new Error("length: must be at least 0");
  if (!(temperature >= 0 && temperature < Infinity)) throw new Error("temperature: must be a number from 0 on");
  if (topK !== null && !(Number.isInteger(topK) && topK >= 1)) throw new Error("top-k: must be a whole number from 1 on");
  if (topP !== null && !(topP > 0 && topP <= 1)) throw new Error("top-p: must be above 0 and at most 1");
  if (minP !== null && !(minP >= 0 && minP <= 1)) throw new Error("min-p: must be from 0 to 1");
  return { length, temperature, topK, topP, minP };
}

/**
 * Returns a whole number from 0 to 2^63 - 1, or throws an Error with one line.
 * @param {number | bigint | string} seed
 */
export function checkedSeed(seed) {
  let whole = -1n;
  try {
    whole = BigInt(seed);
  } catch {
    // Not a whole number.
  }
  if (whole < 0n || whole >= 1n << 63n) throw new Error("seed: must be a whole number from 0 to 2^63 - 1");
  return whole;
}

/**
 * Returns a value rounded to a whole number, halves to the even one.
 * @param {number} value from 0 to 2^52
 */
function rint(value) {
  return value + 2 ** 52 - 2 ** 52;
}

/**
 * Returns a weight for each next id after the filters, whole numbers, (V).
 * @param {import("./fixed.js").Tables} tables
 * @param {Int32Array} scores
 * @param {{ temperature: number, topK: number | null, topP: number | null, minP: number | null }} options
 * @param {number[]} never ids that must not be chosen
 */
export function weighExactly(tables, scores, { temperature, topK, topP, minP }, never) {
  const weights = new Float64Array(scores.length);
  let top = -1;
  for (let id = 0; id < scores.length; id += 1) {
    if ((top < 0 || scores[id] > scores[top]) && !never.includes(id)) top = id;
  }
  if (temperature === 0) {
    weights[top] = 1;
    return weights;
  }
  for (let id = 0; id < scores.length; id += 1) {
    const below = (scores[top] - scores[id]) / temperature;
    weights[id] = tables.exp[below < EXP_SIZE ? rint(below) : EXP_SIZE];
  }
  for (const id of never) weights[id] = 0;
  if (topK !== null || topP !== null) keepLikeliest(weights, scores, topK, topP, never);
  if (minP) {
    for (let id = 0; id < weights.length; id += 1) if (weights[id] < minP * WEIGHT) weights[id] = 0;
  }
  return weights;
}

/**
 * Sets the weights of all but the likeliest ids to 0.
 * @param {Float64Array} weights
 * @param {Int32Array} scores
 * @param {number | null} topK
 * @param {number | null} topP
 * @param {number[]} never
 */
function keepLikeliest(weights, scores, topK, topP, never) {
  const order = Array.from(scores.keys()).filter((id) => !never.includes(id));
  order.sort((a, b) => scores[b] - scores[a] || a - b);
  if (topK !== null) for (const id of order.slice(topK)) weights[id] = 0;
  if (topP === null || topP === 1) return;
  let total = 0;
  for (const id of order) total += weights[id];
  let sum = 0;
  for (const id of order) {
    const enough = sum >= topP * total && id !== order[0];
    sum += weights[id];
    if (enough) weights[id] = 0;
  }
}

/**
 * Returns an id, drawn by inverting the cumulative distribution.
 * @param {Float64Array} weights whole numbers
 * @param {number} uniform in [0, 1)
 */
export function drawId(weights, uniform) {
  let total = 0;
  for (let id = 0; id < weights.length; id += 1) total += weights[id];
  const place = uniform * total;
  let sum = 0;
  for (let id = 0; id < weights.length; id += 1) {
    sum += weights[id];
    if (sum > place) return id;
  }
  throw new Error("no character can be drawn");
}

/** The text of what is written: counts characters, and holds back what may turn out to be a stop text. */
export class Written {
  /**
   * @param {import("./tokenizer.js").Tokenizer} tokenizer
   * @param {string[]} stops
   */
  constructor(tokenizer, stops) {
    if (stops.includes("")) throw new Error("stop: an empty text is found everywhere; give at least one character");
    this.endId = tokenizer.endId;
    this.decoder = tokenizer.decoder();
    this.stops = stops;
    this.count = 0;
    /** Text that may be the beginning of a stop text. */
    this.held = "";
    /** @type {string | null} why the text has ended: "length", "stop" or "end" */
    this.stopped = null;
  }

  /**
   * Takes an id, and returns the text that can be shown now.
   * @param {number} id
   * @param {number} length how many characters the text may have
   */
  add(id, length) {
    if (id === this.endId) {
      this.stopped = "end";
      return this.held;
    }
    const characters = Array.from(this.decoder.text(id)).slice(0, Math.max(0, length - this.count));
    this.count += characters.length;
    const text = this.held + characters.join("");
    const ends = this.stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
    if (ends.length) {
      this.stopped = "stop";
      this.held = "";
      return text.slice(0, Math.min(...ends));
    }
    if (this.count >= length) {
      this.stopped = "length";
      this.held = "";
      return text;
    }
    const kept = Math.max(0, ...this.stops.map((stop) => overlap(text, stop)));
    this.held = text.slice(text.length - kept);
    return text.slice(0, text.length - kept);
  }
}

/**
 * Returns the length of the longest end of a text that is a beginning of `stop`, shorter than `stop` itself.
 * @param {string} text
 * @param {string} stop
 */
function overlap(text, stop) {
  let size = Math.min(text.length, stop.length - 1);
  while (size > 0 && !text.endsWith(stop.slice(0, size))) size -= 1;
  return size;
}
