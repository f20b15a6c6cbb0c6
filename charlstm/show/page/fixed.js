// @ts-check
// In: nothing. Out: the tables of sigmoid, tanh and exp that exact arithmetic looks up, and integer frequencies.
//
// The tables are those of charlstm/network/tables.bin, computed here in whole numbers of 160 bits: browsers' Math.exp
// have other last bits. A checksum tells that they are the same ones.

/** Steps per unit of what is looked up. */
export const GRID = 1 << 10;
/** What stands for 1 in the tables of sigmoid and tanh. */
export const UNIT = 1 << 15;
/** Beyond these, on either side, the functions have saturated. */
export const SIGMOID_END = 12;
export const TANH_END = 6;
/** What stands for 1 in the table of exp. */
export const WEIGHT = 2 ** 30;
/** Values in the table of exp; below them everything is 0. */
export const EXP_SIZE = 22 * GRID;
/** The sum of all frequencies of a distribution. */
export const TOTAL = 1 << 22;

const PRECISION = 160n;
const TABLES_CRC = 0xafc599a4;

/**
 * @typedef {object} Tables
 * @property {Int16Array} sigmoid place k has sigmoid(k / GRID - SIGMOID_END), in steps of 1 / UNIT
 * @property {Int16Array} tanh place k has tanh(k / GRID - TANH_END), in steps of 1 / UNIT
 * @property {Int32Array} exp place k has exp(-k / GRID) in steps of 1 / WEIGHT, and the last place 0
 */

/** Returns exp(-1 / GRID) in steps of 2^-PRECISION. */
function expOfOneStep() {
  let term = 1n << PRECISION;
  let sum = 0n;
  for (let n = 1n; term !== 0n; n += 1n) {
    sum += term;
    term = -term / (BigInt(GRID) * n);
  }
  return sum;
}

/**
 * Returns the tables.
 * @returns {Tables}
 */
export function computeTables() {
  const one = 1n << PRECISION;
  const factor = expOfOneStep();
  const exp = new Int32Array(EXP_SIZE + 1);
  const sigmoid = new Int16Array(2 * SIGMOID_END * GRID);
  const tanh = new Int16Array(2 * TANH_END * GRID);
  const middle = SIGMOID_END * GRID;
  const centre = TANH_END * GRID;
  let power = one; // exp(-k / GRID)
  for (let k = 0; k < EXP_SIZE; k += 1) {
    exp[k] = Number((power + (1n << (PRECISION - 31n))) >> (PRECISION - 30n));
    if (k <= middle) {
      // sigmoid(k / GRID) in steps of 2^-52. tanh(x) is 2 sigmoid(2 x) - 1.
      const fine = Number((one << 52n) / (one + power));
      const open = Math.floor(fine / 2 ** 37 + 0.5);
      if (k < middle) sigmoid[middle + k] = Math.min(open, UNIT - 1);
      sigmoid[middle - k] = Math.min(UNIT - open, UNIT - 1);
      if (k % 2 === 0) {
        const value = Math.min(Math.floor(fine / 2 ** 36 + 0.5) - UNIT, UNIT - 1);
        if (k / 2 < centre) tanh[centre + k / 2] = value;
        tanh[centre - k / 2] = -value;
      }
    }
    power = (power * factor) >> PRECISION;
  }
  return { sigmoid, tanh, exp };
}

/**
 * Returns the CRC-32 of bytes, as zlib computes it.
 * @param {Uint8Array} bytes
 * @param {number} [before] that of the bytes before them
 */
export function crc32(bytes, before = 0) {
  const table = new Int32Array(256);
  for (let n = 0; n < 256; n += 1) {
    let value = n;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    table[n] = value;
  }
  let crc = ~before;
  for (let at = 0; at < bytes.length; at += 1) crc = table[(crc ^ bytes[at]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** @param {Int16Array | Int32Array | Uint32Array} values */
function bytesOf(values) {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/**
 * Returns the CRC-32 of the tables as they stand in tables.bin.
 * @param {Tables} tables
 */
export function checksumOf(tables) {
  const exp = tables.exp.subarray(0, EXP_SIZE);
  return crc32(bytesOf(exp), crc32(bytesOf(tables.tanh), crc32(bytesOf(tables.sigmoid))));
}

/**
 * Returns the tables, checked; throws an Error if this browser computes other ones.
 * @returns {Tables}
 */
export function checkedTables() {
  const tables = computeTables();
  if (checksumOf(tables) !== TABLES_CRC) throw new Error("this browser computes wrong tables; try another browser");
  return tables;
}

/**
 * Returns the softmax of scores in integers with the sum TOTAL: 1 for each id and its share of the rest, rounded down;
 * what is left over goes to the likeliest, to the first of them if there are several.
 * @param {Tables} tables
 * @param {ArrayLike<number>} scores in steps of 1 / GRID nats
 * @param {number[]} never ids that get 0
 * @param {Uint32Array} [out]
 */
export function frequencies(tables, scores, never, out = new Uint32Array(scores.length)) {
  const exp = tables.exp;
  let top = -1;
  for (let id = 0; id < scores.length; id += 1) {
    if ((top < 0 || scores[id] > scores[top]) && !never.includes(id)) top = id;
  }
  const highest = scores[top];
  let sum = 0;
  for (let id = 0; id < scores.length; id += 1) {
    const below = highest - scores[id];
    out[id] = exp[below < EXP_SIZE ? below : EXP_SIZE];
    sum += out[id];
  }
  for (const id of never) {
    sum -= out[id];
    out[id] = 0;
  }
  const shared = TOTAL - scores.length + never.length;
  let left = TOTAL;
  for (let id = 0; id < scores.length; id += 1) {
    const whole = out[id] * shared;
    let share = Math.floor(whole / sum);
    if (share * sum > whole) share -= 1; // the quotient was rounded up to a whole number
    out[id] = share + 1;
    left -= share + 1;
  }
  for (const id of never) {
    left += out[id];
    out[id] = 0;
  }
  out[top] += left;
  return out;
}
