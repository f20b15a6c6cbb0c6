// @ts-check
// In: a layer's products and its state. Out: the state after one character and the gates: the equations of
// charlstm/network/exact_cells.py, in the same whole numbers.
//
// Pre-activations come in steps of 1 / GRID, counted from the beginning of the table in which they are looked up, plus
// 1/2 to be rounded; gates are in steps of 1 / UNIT, c (and the fine h of the gru) of 1 / CELL, h of 1 / LEVELS.

import { GRID, SIGMOID_END, TANH_END, UNIT } from "./fixed.js";

/** What stands for 1 in h. */
export const LEVELS = 127;
/** Steps per unit of the cell state. */
export const CELL = 1 << 14;
/** Steps per step of GRID to which the inputs from ids, and what the gru's r scales, are rounded. */
export const FINE = 16;
/** The most of a cell state that peepholes see. */
const SEEN = 1 << 23;
const TANH_LAST = 2 * TANH_END * GRID - 1;
/** What makes a gate's share of c, and the product of two gates, multiples of 1 / CELL. */
const OF_GATE = 1 / UNIT;
const OF_WRITTEN = CELL / UNIT / UNIT;

/**
 * What one layer computes each step with.
 * @typedef {object} LayerStep
 * @property {number} size units
 * @property {import("./fixed.js").Tables} tables
 * @property {Int32Array} sums (G H) of the weights and the h before
 * @property {Float64Array} scales (G H) what makes them pre-activations
 * @property {Float64Array} biasH (H) of the gru
 * @property {Float64Array[]} peepholes of i, f and o, (H) each
 * @property {Int16Array} gates (G H), in the order of the rows
 */

/**
 * Computes a step, in place.
 * @callback Advance
 * @param {LayerStep} step
 * @param {Float64Array} fromX (G H) all that is added to the scaled sums
 * @param {Int16Array} h (H)
 * @param {Int32Array} memory (H) c, or the fine h of the gru
 * @returns {void}
 */

/**
 * A recurrence.
 * @typedef {object} Cell
 * @property {string} gates
 * @property {boolean} hasC
 * @property {string[]} signals that a trace shows
 * @property {Advance} advance
 */

/**
 * Opens the gates of some rows: looks up a function at the scaled sums and what is added to them.
 * @param {Int16Array} table of the function
 * @param {LayerStep} step
 * @param {Float64Array} fromX
 * @param {number} from the first row
 * @param {number} to the row after the last one
 */
function openGates(table, { sums, scales, gates }, fromX, from, to) {
  const last = table.length - 1;
  for (let row = from; row < to; row += 1) {
    const at = (sums[row] * scales[row] + fromX[row]) | 0;
    gates[row] = table[at < 0 ? 0 : at > last ? last : at];
  }
}

/**
 * Opens one gate.
 * @param {Int16Array} table of the function
 * @param {number} place
 */
function openGate(table, place) {
  const at = place | 0;
  return table[at < 0 ? 0 : at >= table.length ? table.length - 1 : at];
}

/**
 * Returns h = o * tanh(c).
 * @param {Int16Array} table of tanh
 * @param {number} o
 * @param {number} c
 */
function outputOf(table, o, c) {
  const at = (c + (TANH_END * CELL + CELL / GRID / 2)) >> 4;
  const squashed = table[at < 0 ? 0 : at > TANH_LAST ? TANH_LAST : at];
  return Math.floor(Math.imul(o, squashed) * (LEVELS / UNIT / UNIT) + 0.5);
}

/** @param {number} c */
function seenOf(c) {
  return c < -SEEN ? -SEEN : c > SEEN ? SEEN : c;
}

/** @type {Advance} */
function advanceLstm(step, fromX, h, memory) {
  const { size, tables, gates } = step;
  const { sigmoid, tanh } = tables;
  const two = 2 * size;
  const three = 3 * size;
  openGates(sigmoid, step, fromX, 0, two);
  openGates(tanh, step, fromX, two, three);
  openGates(sigmoid, step, fromX, three, 4 * size);
  for (let unit = 0; unit < size; unit += 1) {
    const written = Math.imul(gates[unit], gates[two + unit]) * OF_WRITTEN;
    const c = Math.floor(gates[size + unit] * memory[unit] * OF_GATE + written + 0.5);
    memory[unit] = c;
    h[unit] = outputOf(tanh, gates[three + unit], c);
  }
}

/** @type {Advance} */
function advancePeephole(step, fromX, h, memory) {
  const { size, tables, sums, scales, peepholes, gates } = step;
  const { sigmoid, tanh } = tables;
  const [ofI, ofF, ofO] = peepholes;
  const two = 2 * size;
  const three = 3 * size;
  openGates(tanh, step, fromX, two, three);
  for (let unit = 0; unit < size; unit += 1) {
    const seen = seenOf(memory[unit]);
    const atF = size + unit;
    const atO = three + unit;
    const i = openGate(sigmoid, sums[unit] * scales[unit] + fromX[unit] + ofI[unit] * seen);
    const f = openGate(sigmoid, sums[atF] * scales[atF] + fromX[atF] + ofF[unit] * seen);
    const c = Math.floor(f * memory[unit] * OF_GATE + Math.imul(i, gates[two + unit]) * OF_WRITTEN + 0.5);
    const o = openGate(sigmoid, sums[atO] * scales[atO] + fromX[atO] + ofO[unit] * seenOf(c));
    gates[unit] = i;
    gates[atF] = f;
    gates[atO] = o;
    memory[unit] = c;
    h[unit] = outputOf(tanh, o, c);
  }
}

/** @type {Advance} */
function advanceCoupled(step, fromX, h, memory) {
  const { size, tables, gates } = step;
  const { sigmoid, tanh } = tables;
  const two = 2 * size;
  openGates(sigmoid, step, fromX, 0, size);
  openGates(tanh, step, fromX, size, two);
  openGates(sigmoid, step, fromX, two, 3 * size);
  for (let unit = 0; unit < size; unit += 1) {
    const f = gates[unit];
    const c = Math.floor(f * memory[unit] * OF_GATE + Math.imul(UNIT - f, gates[size + unit]) * OF_WRITTEN + 0.5);
    memory[unit] = c;
    h[unit] = outputOf(tanh, gates[two + unit], c);
  }
}

/** @type {Advance} */
function advanceGru(step, fromX, h, memory) {
  const { size, tables, sums, scales, biasH, gates } = step;
  const { sigmoid, tanh } = tables;
  const two = 2 * size;
  openGates(sigmoid, step, fromX, 0, two);
  for (let unit = 0; unit < size; unit += 1) {
    // Rounded before it is multiplied by r, so that the product of both is exact.
    const fromH = Math.floor((sums[two + unit] * scales[two + unit] + biasH[unit]) * FINE + 0.5) / FINE;
    const n = openGate(tanh, fromX[two + unit] + gates[unit] * fromH * OF_GATE);
    const z = gates[size + unit];
    const fine = Math.floor(Math.imul(UNIT - z, n) * OF_WRITTEN + z * memory[unit] * OF_GATE + 0.5);
    gates[two + unit] = n;
    memory[unit] = fine;
    h[unit] = Math.floor(fine * (LEVELS / CELL) + 0.5);
  }
}

/** @type {Advance} */
function advanceRnn(step, fromX, h) {
  const { size, tables, gates } = step;
  openGates(tables.tanh, step, fromX, 0, size);
  for (let unit = 0; unit < size; unit += 1) h[unit] = Math.floor(gates[unit] * (LEVELS / UNIT) + 0.5);
}

/**
 * The recurrences by their names.
 * @type {Record<string, Cell>}
 */
export const CELLS = {
  lstm: { gates: "ifgo", hasC: true, signals: ["c", "h", "i", "f", "g", "o"], advance: advanceLstm },
  peephole: { gates: "ifgo", hasC: true, signals: ["c", "h", "i", "f", "g", "o"], advance: advancePeephole },
  coupled: { gates: "fgo", hasC: true, signals: ["c", "h", "f", "g", "o"], advance: advanceCoupled },
  gru: { gates: "rzn", hasC: false, signals: ["h", "r", "z", "n"], advance: advanceGru },
  rnn: { gates: "h", hasC: false, signals: ["h"], advance: advanceRnn },
};

/**
 * Where the table of a gate's function has 0, in units.
 * @param {string} gate
 */
export function middleOf(gate) {
  return "ifozr".includes(gate) ? SIGMOID_END : TANH_END;
}
