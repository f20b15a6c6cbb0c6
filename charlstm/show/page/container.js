// @ts-check
// In: the bytes of a file that `charlstm compress` wrote. Out: what it holds, as charlstm/compress/container.py has it:
// every length is checked before it is believed.

import { crc32 } from "./fixed.js";

/** Kinds of container. */
export const RAW = 0;
export const TEXT = 1;
export const RECORDS = 2;
/** How a block is coded. */
export const STORED = 0;
export const ZSTD = 1;
export const CODED = 2;
/** Bytes of a text in a block, plus at most three of a character that begins in it. */
export const BLOCK = 1 << 20;

const MAGIC = [67, 76, 90];
const LONGEST_BLOCK = BLOCK + 3;
const MOST_BYTES = 2 ** 32;
const LONGEST_NAME = 64;
const LEARNING = 1;
const UNENDED = 2;

/**
 * The model that a container was written with, and how.
 * @typedef {object} Writer
 * @property {string} coding the model's id, in hexadecimal
 * @property {string} name
 * @property {number} arithmetic
 * @property {number} answer to a known question: 16 bits
 * @property {boolean} learning
 * @property {boolean} unended whether the last record does not end in a line feed
 */

/**
 * What is in a file.
 * @typedef {object} Container
 * @property {number} kind
 * @property {number} size bytes of the text
 * @property {string} digest of the text, in hexadecimal
 * @property {Writer | null} writer null if no model was used
 * @property {{ method: number, data: Uint8Array }[]} blocks
 * @property {number} records bytes of the records; the index follows
 */

/** Takes a file apart from its beginning. */
class Parts {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.place = 0;
  }

  get left() {
    return this.data.length - this.place;
  }

  /** @param {number} count */
  take(count) {
    if (count > this.left) throw damaged(this.data.length, "it ends too early");
    this.place += count;
    return this.data.subarray(this.place - count, this.place);
  }

  /** @param {number} most @param {string} what */
  byte(most, what) {
    const [value] = this.take(1);
    if (value > most) throw damaged(this.place - 1, `${what} is ${value}`);
    return value;
  }

  /** @param {number} most @param {string} what */
  number(most, what) {
    const at = this.place;
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const [byte] = this.take(1);
      value += (byte & 127) * 2 ** shift;
      if (value > most || shift > 56) throw damaged(at, `${what} is above ${most}`);
      if (byte < 128) {
        if (byte === 0 && shift) throw damaged(at, `${what} has more bytes than it needs`);
        return value;
      }
    }
  }

  /**
   * Returns the bytes after a CRC-32, and the CRC up to their end.
   * @param {number} length
   * @param {number} crc of what comes before
   * @returns {[Uint8Array, number]}
   */
  checked(length, crc) {
    const at = this.place;
    const [a, b, c, d] = this.take(4);
    const data = this.take(length);
    const found = crc32(data, crc);
    if (found !== (a | (b << 8) | (c << 16) | (d << 24)) >>> 0) throw damaged(at, "its CRC-32 does not match");
    return [data, found];
  }
}

/** @param {number} at @param {string} what */
function damaged(at, what) {
  return new Error(`damaged at byte ${at} (${what}); use another copy`);
}

/** @param {Uint8Array} bytes */
export function hexOf(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Returns what a file holds, its checksums checked; throws an Error with one line if it is no container, or damaged.
 * @param {Uint8Array} data
 * @returns {Container}
 */
export function parseContainer(data) {
  if (!MAGIC.every((byte, at) => data[at] === byte)) throw new Error("not a file that charlstm compress wrote");
  const file = new Parts(data);
  file.take(MAGIC.length);
  const version = file.byte(255, "the version");
  if (version !== 1) throw new Error(`written in format ${version}, this page reads 1; use a newer page`);
  const kind = file.byte(RECORDS, "the kind");
  const size = file.number(MOST_BYTES, "the size");
  const digest = hexOf(file.take(8));
  if (kind === RAW) {
    if (file.left !== size) throw damaged(data.length, `it has ${file.left} bytes of a text of ${size}`);
    return { kind, size, digest, writer: null, blocks: [{ method: STORED, data: file.take(size) }], records: 0 };
  }
  const flags = file.byte(LEARNING | UNENDED, "the flags");
  const arithmetic = file.byte(255, "the arithmetic");
  const coding = hexOf(file.take(8));
  const name = new TextDecoder().decode(file.take(file.byte(LONGEST_NAME, "the length of the name")));
  const [low, high] = file.take(2);
  const learning = Boolean(flags & LEARNING);
  const unended = Boolean(flags & UNENDED);
  const writer = { coding, name, arithmetic, answer: low | (high << 8), learning, unended };
  const crc = crc32(data.subarray(0, file.place));
  if (kind === TEXT) return { kind, size, digest, writer, blocks: blocksOf(file, size, crc), records: 0 };
  const begin = file.place;
  const records = file.number(file.left, "the length of the records");
  const [body] = file.checked(Math.max(0, file.left - 4), crc32(data.subarray(begin, file.place), crc));
  if (records > body.length) throw damaged(begin, "the records are longer than the file");
  return { kind, size, digest, writer, blocks: [{ method: CODED, data: body }], records };
}

/**
 * Returns the blocks of a text: as many as its size needs.
 * @param {Parts} file
 * @param {number} size
 * @param {number} crc
 */
function blocksOf(file, size, crc) {
  const blocks = [];
  while (file.left) {
    const begin = file.place;
    if (blocks.length >= Math.ceil(size / BLOCK)) throw damaged(begin, `more blocks than ${size} bytes have`);
    const method = file.byte(CODED, "the method of a block");
    const length = file.number(Math.min(file.left, LONGEST_BLOCK), "the length of a block");
    const [data, found] = file.checked(length, crc32(file.data.subarray(begin, file.place), crc));
    crc = found;
    blocks.push({ method, data });
  }
  if (blocks.length < Math.ceil(size / LONGEST_BLOCK)) throw damaged(file.data.length, "it ends too early");
  return blocks;
}

/**
 * Returns the first bits of the fractional part of a prime's root.
 * @param {bigint} prime
 * @param {bigint} power 2n or 3n
 */
function rootBits(prime, power) {
  const target = prime << (32n * power);
  let low = 0n;
  for (let bit = 1n << 40n; bit; bit >>= 1n) if ((low + bit) ** power <= target) low += bit;
  return Number(low & 0xffffffffn) | 0;
}

/**
 * Returns the SHA-256 of bytes, in hexadecimal: browsers have their own only where they trust the page's origin.
 * @param {Uint8Array} bytes
 */
export function sha256(bytes) {
  /** @type {bigint[]} */
  const primes = [];
  for (let n = 2n; primes.length < 64; n += 1n) if (primes.every((prime) => n % prime)) primes.push(n);
  const constants = Int32Array.from(primes, (prime) => rootBits(prime, 3n));
  const sums = Int32Array.from(primes.slice(0, 8), (prime) => rootBits(prime, 2n));
  const padded = new Uint8Array((((bytes.length + 8) >> 6) + 1) << 6);
  padded.set(bytes);
  padded[bytes.length] = 128;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(bytes.length) * 8n);
  const words = new Int32Array(64);
  /** @param {number} word @param {number} by */
  const turned = (word, by) => (word >>> by) | (word << (32 - by));
  for (let block = 0; block < padded.length; block += 64) {
    for (let at = 0; at < 16; at += 1) words[at] = view.getInt32(block + 4 * at);
    for (let at = 16; at < 64; at += 1) {
      const [far, near] = [words[at - 15], words[at - 2]];
      const one = turned(far, 7) ^ turned(far, 18) ^ (far >>> 3);
      words[at] = words[at - 16] + one + words[at - 7] + (turned(near, 17) ^ turned(near, 19) ^ (near >>> 10));
    }
    let [a, b, c, d, e, f, g, h] = sums;
    for (let at = 0; at < 64; at += 1) {
      const chosen = (e & f) ^ (~e & g);
      const first = (h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + chosen + constants[at] + words[at]) | 0;
      const second = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((value, at) => (sums[at] += value));
  }
  return Array.from(sums, (sum) => (sum >>> 0).toString(16).padStart(8, "0")).join("");
}
