// @ts-check
// In: bytes of a range coder. Out: symbols, the characters that a vocabulary lacks, and the lengths of records, as
// charlstm/compress/{coder,passage,index}.py have them. All numbers are whole and below 2^53.

const WHOLE = 2 ** 48;
const LEAST = 2 ** 40; // below this range the next byte is settled
const BYTES = 6;

/** Bytes -> symbols: ask where in `total` the next symbol lies, and then say which one that was. */
export class RangeDecoder {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.place = BYTES;
    this.range = WHOLE;
    this.value = 0;
    for (let at = 0; at < BYTES; at += 1) this.value = this.value * 256 + (data[at] ?? 0);
  }

  /** How many bytes more than the data have been read; more than 6 tell that the data are not whole. */
  get beyond() {
    return this.place - Math.max(this.data.length, BYTES);
  }

  /**
   * Returns the part, from 0 to `total` - 1, that the next symbol includes.
   * @param {number} total
   */
  target(total) {
    return Math.min(Math.floor(this.value / Math.floor(this.range / total)), total - 1);
  }

  /**
   * Goes on after the symbol that has `size` parts after the `begin` parts of others.
   * @param {number} begin
   * @param {number} size
   * @param {number} total
   */
  take(begin, size, total) {
    const part = Math.floor(this.range / total);
    this.value -= begin * part;
    this.range = size * part;
    while (this.range < LEAST) {
      this.value = (this.value % LEAST) * 256 + (this.data[this.place] ?? 0);
      this.range *= 256;
      this.place += 1;
    }
  }
}

const SURROGATES = 0x800;
const FIRST_SURROGATE = 0xd800;
const STRAY = 0xdc80; // the lone surrogate of the byte 0x80
const SCALARS = 0x110000 - SURROGATES;
const NAMES = SCALARS + 0x80;
const MOST_REMEMBERED = 4096;

/** Reads unknown characters: each is as likely as any other; those that came before are likelier if the code learns. */
export class Names {
  /** @param {boolean} learning */
  constructor(learning) {
    this.learning = learning;
    /** @type {Map<number, number>} */
    this.seen = new Map();
  }

  /**
   * Returns the code of the next character.
   * @param {RangeDecoder} decoder
   */
  decode(decoder) {
    let code = -1;
    if (this.learning) {
      let total = 1;
      for (const size of this.seen.values()) total += size;
      const target = decoder.target(total);
      let begin = 0;
      let taken = 1;
      for (const [each, size] of this.seen) {
        if (begin + size > target) {
          code = each;
          taken = size;
          break;
        }
        begin += size;
      }
      decoder.take(begin, taken, total);
    }
    if (code < 0) {
      code = decoder.target(NAMES);
      decoder.take(code, 1, NAMES);
    }
    if (this.learning && (this.seen.has(code) || this.seen.size < MOST_REMEMBERED)) {
      this.seen.set(code, Math.min((this.seen.get(code) ?? 0) + 2, 255));
    }
    if (code >= SCALARS) return code - SCALARS + STRAY;
    return code < FIRST_SURROGATE ? code : code + SURROGATES;
  }
}

const CLASSES = 33; // lengths of 0 to 32 bits
const STEP = 24; // what an occurrence adds to a frequency
const MOST = 1 << 16; // sum of frequencies above which all are halved
const ADAPTIVE = 2;

/** Frequencies that follow what comes. */
class Adaptive {
  /** @param {number} count */
  constructor(count) {
    this.sizes = new Array(count).fill(1);
    this.total = count;
  }

  /** @param {RangeDecoder} decoder */
  decode(decoder) {
    const target = decoder.target(this.total);
    let symbol = 0;
    let begin = 0;
    while (begin + this.sizes[symbol] <= target) {
      begin += this.sizes[symbol];
      symbol += 1;
    }
    decoder.take(begin, this.sizes[symbol], this.total);
    this.sizes[symbol] += STEP;
    this.total += STEP;
    if (this.total > MOST) {
      this.sizes = this.sizes.map((size) => (size + 1) >> 1);
      this.total = this.sizes.reduce((sum, size) => sum + size, 0);
    }
    return symbol;
  }
}

/**
 * Returns the lengths of records, of which none is empty; throws an Error if there are no such lengths.
 * @param {Uint8Array} data the index
 * @param {number} total bytes of all records
 * @param {number} most records
 */
export function recordLengths(data, total, most) {
  const decoder = new RangeDecoder(data);
  const classes = new Adaptive(CLASSES);
  const next = Array.from({ length: CLASSES }, (_, bits) => new Adaptive(2 ** Math.min(Math.max(bits - 1, 0), ADAPTIVE)));
  const lengths = [];
  while (total > 0) {
    const bits = classes.decode(decoder);
    const below = Math.max(bits - 1, 0);
    let rest = next[bits].decode(decoder);
    for (let plain = Math.max(below - ADAPTIVE, 0); plain; plain -= 1) {
      const bit = decoder.target(2);
      decoder.take(bit, 1, 2);
      rest = rest * 2 + bit;
    }
    const length = rest + (bits ? 2 ** below : 0);
    if (!(length > 0 && length <= total)) throw new Error("damaged (its index is damaged); use another copy");
    lengths.push(length);
    if (lengths.length > most) throw new Error("damaged (more records than bytes); use another copy");
    total -= length;
  }
  return lengths;
}
