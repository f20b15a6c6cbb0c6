// @ts-check
// In: what the engine does at each character. Out: the gates, c and h of the last characters, and what was expected.
//
// All memory is taken at once. A character is known by its absolute index; the oldest ones make room for new ones. Of
// the character just before the first one that is held, c and h are kept.

import { CELL, LEVELS } from "./cells.js";
import { TOTAL, UNIT } from "./fixed.js";

const LIKELIEST = 5;

/**
 * Returns the likeliest ids; ties go to the lower id.
 * @param {Uint32Array} frequencies
 * @param {number} count
 * @returns {number[]}
 */
export function likeliest(frequencies, count) {
  /** @type {number[]} */
  const found = [];
  for (let id = 0; id < frequencies.length; id += 1) {
    const frequency = frequencies[id];
    if (frequency === 0 || (found.length === count && frequency <= frequencies[found[count - 1]])) continue;
    let at = found.length === count ? count - 1 : found.length;
    for (; at > 0 && frequency > frequencies[found[at - 1]]; at -= 1) found[at] = found[at - 1];
    found[at] = id;
  }
  return found;
}

/** What the network did at the last characters. */
export class Trace {
  /**
   * @param {import("./engine.js").Engine} engine
   * @param {string[]} names what each id is called
   * @param {number} capacity characters
   */
  constructor(engine, names, capacity) {
    const { layers, hiddenSize, ngrams } = engine.shape;
    const slots = capacity + 1;
    this.engine = engine;
    this.names = names;
    this.capacity = capacity;
    this.slots = slots;
    this.size = hiddenSize;
    this.rows = engine.cell.gates.length * hiddenSize;
    this.gates = Array.from({ length: layers }, () => new Int16Array(slots * this.rows));
    this.h = Array.from({ length: layers }, () => new Int8Array(slots * hiddenSize));
    this.memory = Array.from({ length: layers }, () => new Int32Array(engine.shape.cell === "rnn" ? 0 : slots * hiddenSize));
    this.recent = new Int32Array(slots * Math.max(0, ngrams - 1));
    this.ids = new Int32Array(slots).fill(-1);
    this.given = new Uint32Array(slots);
    this.topIds = new Int32Array(slots * LIKELIEST);
    this.topGiven = new Uint32Array(slots * LIKELIEST);
    this.begin = 0;
    this.end = 0;
    this.opened = false;
  }

  /**
   * Holds nothing; the next character gets the index `at`.
   * @param {number} [at]
   */
  reset(at = 0) {
    this.begin = at;
    this.end = at;
    this.opened = false;
  }

  /**
   * Forgets the characters from `end` on.
   * @param {number} end
   */
  cut(end) {
    this.end = Math.max(this.begin, Math.min(this.end, end));
  }

  /** @param {number} at */
  slot(at) {
    const slot = (at + 1) % this.slots;
    return slot < 0 ? slot + this.slots : slot;
  }

  /**
   * Keeps the state before a character, if it is the first one.
   * @param {import("./engine.js").State} state
   */
  open(state) {
    if (this.begin !== this.end) return;
    this.keep(this.slot(this.begin - 1), state);
    this.opened = true;
  }

  /**
   * @param {number} slot
   * @param {import("./engine.js").State} state
   */
  keep(slot, state) {
    for (let layer = 0; layer < this.h.length; layer += 1) {
      this.h[layer].set(state.hOf[layer], slot * this.size);
      if (this.memory[layer].length) this.memory[layer].set(state.memoryOf[layer], slot * this.size);
    }
    this.recent.set(state.recent, slot * state.recent.length);
  }

  /**
   * Takes in a character that the engine has just read.
   * @param {import("./engine.js").State} state after it
   * @param {number} id
   * @param {Uint32Array | null} frequencies before it; null if nothing was read before
   */
  append(state, id, frequencies) {
    const slot = this.slot(this.end);
    for (let layer = 0; layer < this.gates.length; layer += 1) {
      this.gates[layer].set(this.engine.gatesOf(layer), slot * this.rows);
    }
    this.keep(slot, state);
    this.ids[slot] = id;
    this.given[slot] = frequencies ? (frequencies[id] ?? 0) : 0;
    const top = frequencies ? likeliest(frequencies, LIKELIEST) : [];
    for (let rank = 0; rank < LIKELIEST; rank += 1) {
      const likely = top[rank] ?? -1;
      this.topIds[slot * LIKELIEST + rank] = likely;
      this.topGiven[slot * LIKELIEST + rank] = frequencies && likely >= 0 ? frequencies[likely] : 0;
    }
    this.end += 1;
    if (this.end - this.begin > this.capacity) this.begin += 1;
  }

  /** @param {number} at */
  holds(at) {
    return at >= this.begin && at < this.end;
  }

  /**
   * Returns the state after a character, or null if it is not held.
   * @param {number} at
   * @returns {import("./engine.js").State | null}
   */
  state(at) {
    if (!this.holds(at) && !(this.opened && at === this.begin - 1)) return null;
    const { size } = this;
    const state = this.engine.begin();
    const slot = this.slot(at);
    for (let layer = 0; layer < this.h.length; layer += 1) {
      state.hOf[layer].set(this.h[layer].subarray(slot * size, (slot + 1) * size));
      if (this.memory[layer].length) state.memoryOf[layer].set(this.memory[layer].subarray(slot * size, (slot + 1) * size));
    }
    const width = state.recent.length;
    state.recent.set(this.recent.subarray(slot * width, (slot + 1) * width));
    state.started = true;
    return state;
  }

  /**
   * Returns where a signal's values are, by what a character's slot is multiplied and what is added, and what stands
   * for 1.
   * @param {number} layer
   * @param {string} signal
   * @returns {[Int8Array | Int16Array | Int32Array, number, number, number]}
   */
  place(layer, signal) {
    if (signal === "h") return [this.h[layer], this.size, 0, LEVELS];
    if (signal === "c" && this.engine.cell.hasC) return [this.memory[layer], this.size, 0, CELL];
    const gate = this.engine.cell.gates.indexOf(signal);
    if (gate < 0) throw new Error(`this model has no ${signal}; it has ${this.engine.cell.signals.join(", ")}`);
    return [this.gates[layer], this.rows, gate * this.size, UNIT];
  }

  /**
   * Returns a value in units of 1; NaN if it is not held.
   * @param {number} layer from 0
   * @param {string} signal
   * @param {number} unit from 0
   * @param {number} at
   */
  value(layer, signal, unit, at) {
    if (!this.has(signal, at)) return NaN;
    const [values, stride, first, one] = this.place(layer, signal);
    const value = values[this.slot(at) * stride + first + unit] / one;
    return signal === "h" ? Math.fround(value) : value;
  }

  /**
   * Returns the c or h of a unit before the first character that is held, in units of 1; NaN if it is unknown. The h of
   * the gru is the fine one that it remembers.
   * @param {number} layer
   * @param {string} signal
   * @param {number} unit
   */
  before(layer, signal, unit) {
    if (signal === "h" && this.engine.shape.cell === "gru" && this.opened) {
      return this.memory[layer][this.slot(this.begin - 1) * this.size + unit] / CELL;
    }
    return this.value(layer, signal, unit, this.begin - 1);
  }

  /** @param {string} signal @param {number} at */
  has(signal, at) {
    return this.holds(at) || (this.opened && at === this.begin - 1 && (signal === "c" || signal === "h"));
  }

  /**
   * Returns the values of all units at a character, (H).
   * @param {number} layer
   * @param {string} signal
   * @param {number} at
   * @param {Float32Array} [out]
   */
  column(layer, signal, at, out = new Float32Array(this.size)) {
    if (!this.has(signal, at)) return out.fill(NaN);
    const [values, stride, first, one] = this.place(layer, signal);
    const begin = this.slot(at) * stride + first;
    for (let unit = 0; unit < this.size; unit += 1) out[unit] = values[begin + unit] / one;
    return out;
  }

  /**
   * Returns the values of a unit at the characters from `from` to before `to`; NaN where they are not held.
   * @param {number} layer
   * @param {string} signal
   * @param {number} unit
   * @param {number} from
   * @param {number} to
   */
  row(layer, signal, unit, from, to) {
    const out = new Float32Array(Math.max(0, to - from));
    const [values, stride, first, one] = this.place(layer, signal);
    for (let at = from; at < to; at += 1) {
      out[at - from] = this.has(signal, at) ? values[this.slot(at) * stride + first + unit] / one : NaN;
    }
    return out;
  }

  /** @param {number} at @returns {number} the id of a character; -1 if it is not held */
  id(at) {
    return this.holds(at) ? this.ids[this.slot(at)] : -1;
  }

  /**
   * Returns the bits of a character, given all before it; NaN if it is not held or nothing was expected.
   * @param {number} at
   */
  surprise(at) {
    const given = this.holds(at) ? this.given[this.slot(at)] : 0;
    return given > 0 ? Math.log2(TOTAL / given) : NaN;
  }

  /**
   * Returns the five ids that were likeliest at a character before it came.
   * @param {number} at
   */
  top(at) {
    const found = [];
    const first = this.slot(at) * LIKELIEST;
    for (let rank = 0; this.holds(at) && rank < LIKELIEST && this.topIds[first + rank] >= 0; rank += 1) {
      const id = this.topIds[first + rank];
      found.push({ id, text: this.names[id], probability: this.topGiven[first + rank] / TOTAL });
    }
    return found;
  }
}
