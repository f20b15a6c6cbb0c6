// @ts-check
// In: a seed, or several whole numbers. Out: the random numbers that numpy's PCG64 draws from them, bit for bit.
//
// SeedSequence is O'Neill's "Developing a seed_seq alternative" (2015), PCG64 her XSL-RR generator on 128 bits (2014).

const POOL_SIZE = 4;
const MASK_128 = (1n << 128n) - 1n;
const PCG_MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/**
 * Returns the 32-bit words of a whole number, the lowest first; 0 has one word.
 * @param {bigint} whole not negative
 */
function wordsOf(whole) {
  const words = [];
  do {
    words.push(Number(whole & 0xffffffffn));
    whole >>= 32n;
  } while (whole > 0n);
  return words;
}

/**
 * Returns words that depend on every bit of the entropy, as numpy's `SeedSequence.generate_state` does.
 * @param {number[]} entropy 32-bit words
 * @param {number} count of 32-bit words
 */
function spreadWords(entropy, count) {
  let factor = 0x43b0d7e5;
  /** @param {number} value */
  const hashed = (value) => {
    value ^= factor;
    factor = Math.imul(factor, 0x931e8875);
    value = Math.imul(value, factor);
    return value ^ (value >>> 16);
  };
  /** @param {number} x @param {number} y */
  const mixed = (x, y) => {
    const value = Math.imul(x, 0xca01f9dd) - Math.imul(y, 0x4973f715);
    return value ^ (value >>> 16);
  };
  const pool = [];
  for (let at = 0; at < POOL_SIZE; at += 1) pool.push(hashed(at < entropy.length ? entropy[at] : 0));
  for (let from = 0; from < POOL_SIZE; from += 1) {
    for (let to = 0; to < POOL_SIZE; to += 1) if (from !== to) pool[to] = mixed(pool[to], hashed(pool[from]));
  }
  for (const word of entropy.slice(POOL_SIZE)) {
    for (let to = 0; to < POOL_SIZE; to += 1) pool[to] = mixed(pool[to], hashed(word));
  }
  const words = [];
  let multiplier = 0x8b51f9dd;
  for (let at = 0; at < count; at += 1) {
    let value = pool[at % POOL_SIZE] ^ multiplier;
    multiplier = Math.imul(multiplier, 0x58f38ded);
    value = Math.imul(value, multiplier);
    words.push((value ^ (value >>> 16)) >>> 0);
  }
  return words;
}

/** numpy's PCG64: uniform numbers in [0, 1). */
export class RandomNumbers {
  /** @param {...(number | bigint | string)} seeds whole numbers, not negative: the seed, or all that it is made of */
  constructor(...seeds) {
    const words = spreadWords(seeds.flatMap((seed) => wordsOf(BigInt(seed))), 8);
    /** @param {number} at */
    const pair = (at) => (BigInt(words[at + 1]) << 32n) | BigInt(words[at]);
    this.increment = (((pair(4) << 64n) | pair(6)) << 1n | 1n) & MASK_128;
    this.place = 0n;
    this.advance();
    this.place += (pair(0) << 64n) | pair(2);
    this.advance();
  }

  advance() {
    this.place = (this.place * PCG_MULTIPLIER + this.increment) & MASK_128;
  }

  /** Returns the next number: a multiple of 2^-53 in [0, 1). */
  uniform() {
    this.advance();
    const folded = BigInt.asUintN(64, (this.place >> 64n) ^ this.place);
    const turn = this.place >> 122n;
    const bits = BigInt.asUintN(64, (folded >> turn) | (folded << (64n - turn)));
    return Number(bits >> 11n) * 2 ** -53;
  }
}
