// @ts-check
// In: int8 matrices, and vectors of int16. Out: their products, whole numbers in int32: the same ones from JavaScript and
// from WebAssembly (kernel.wat).

/** The rows and columns that the kernel computes together: its matrices are padded with zeros. */
const ROWS_TOGETHER = 4;
const COLUMNS_TOGETHER = 16;
const PAGE_BYTES = 1 << 16;
/** What the second of two rows is multiplied by when both share a double: no sum of the first reaches half of it. */
const PAIR_SPACING = 2 ** 26;
/** Rows and columns that are computed together in JavaScript: four pairs of rows. */
const ROWS_OF_PAIRS = 8;
const COLUMNS_OF_PAIRS = 2;

/**
 * A matrix that a kernel has taken in.
 * @typedef {object} Matrix
 * @property {number} rows
 * @property {number} columns
 * @property {number} at where it begins in the memory of WebAssembly
 * @property {Int8Array | null} values row after row
 * @property {number[] | null} pairs of rows, both in one number; by blocks of eight rows, then by columns, of which there
 *   is an even number
 */

/**
 * What computes products.
 * @typedef {object} Kernel
 * @property {string} name
 * @property {Int16Array} vector what `multiply` takes; what is right of the columns does not matter
 * @property {Int32Array} sums what `multiply` has computed, from the first row on
 * @property {(values: Int8Array, rows: number, columns: number, most: number) => Matrix} matrix takes one in; `most` is
 *   what no sum exceeds
 * @property {(matrix: Matrix) => void} multiply computes `sums`, of each row and `vector`; none may reach 2^31
 */

/** @param {number} count @param {number} step */
function roundedUp(count, step) {
  return Math.ceil(count / step) * step;
}

/**
 * JavaScript alone. Two rows share a double: one multiplication and one addition serve both, exactly. They lie in a plain
 * array, from which V8 reads faster than from a typed one.
 * @implements {Kernel}
 */
export class PlainKernel {
  /** @param {number[][]} shapes of all matrices, each [rows, columns] */
  constructor(shapes) {
    this.name = "js";
    const widest = roundedUp(Math.max(...shapes.map(([, columns]) => columns)), COLUMNS_OF_PAIRS);
    this.vector = new Int16Array(widest);
    this.doubles = new Float64Array(widest);
    this.sums = new Int32Array(roundedUp(Math.max(...shapes.map(([rows]) => rows)), ROWS_OF_PAIRS));
  }

  /**
   * @param {Int8Array} values
   * @param {number} rows
   * @param {number} columns
   * @param {number} most
   * @returns {Matrix}
   */
  matrix(values, rows, columns, most) {
    if (most >= PAIR_SPACING / 2) return { rows, columns, at: 0, values, pairs: null };
    const width = roundedUp(columns, COLUMNS_OF_PAIRS);
    /** @type {number[]} */
    const pairs = new Array((roundedUp(rows, ROWS_OF_PAIRS) * width) / 2).fill(0.5); // no integer: an array of doubles
    const half = ROWS_OF_PAIRS / 2;
    let at = 0;
    for (let block = 0; block < rows; block += ROWS_OF_PAIRS) {
      for (let column = 0; column < width; column += 1) {
        for (let row = block; row < block + half; row += 1) {
          const first = row < rows && column < columns ? values[row * columns + column] : 0;
          const second = row + half < rows && column < columns ? values[(row + half) * columns + column] : 0;
          pairs[at] = first + second * PAIR_SPACING;
          at += 1;
        }
      }
    }
    return { rows, columns, at: 0, values: null, pairs };
  }

  /** @param {Matrix} matrix */
  multiply({ rows, columns, values, pairs }) {
    if (pairs) {
      const width = roundedUp(columns, COLUMNS_OF_PAIRS);
      for (let column = 0; column < width; column += 1) this.doubles[column] = this.vector[column];
      multiplyPairs(pairs, rows, width, this.doubles, this.sums);
    } else if (values) multiplySingly(values, rows, columns, this.vector, this.sums);
  }
}

/**
 * @param {number[]} pairs
 * @param {number} rows
 * @param {number} columns
 * @param {Float64Array} vector
 * @param {Int32Array} sums
 */
function multiplyPairs(pairs, rows, columns, vector, sums) {
  let at = 0;
  for (let row = 0; row < rows; row += ROWS_OF_PAIRS) {
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let column = 0; column < columns; column += COLUMNS_OF_PAIRS) {
      const x = vector[column];
      const y = vector[column + 1];
      a += pairs[at] * x + pairs[(at + 4) | 0] * y;
      b += pairs[(at + 1) | 0] * x + pairs[(at + 5) | 0] * y;
      c += pairs[(at + 2) | 0] * x + pairs[(at + 6) | 0] * y;
      d += pairs[(at + 3) | 0] * x + pairs[(at + 7) | 0] * y;
      at = (at + 8) | 0;
    }
    const e = Math.floor(a / PAIR_SPACING + 0.5);
    const f = Math.floor(b / PAIR_SPACING + 0.5);
    const g = Math.floor(c / PAIR_SPACING + 0.5);
    const h = Math.floor(d / PAIR_SPACING + 0.5);
    sums[row] = a - e * PAIR_SPACING;
    sums[row + 1] = b - f * PAIR_SPACING;
    sums[row + 2] = c - g * PAIR_SPACING;
    sums[row + 3] = d - h * PAIR_SPACING;
    sums[row + 4] = e;
    sums[row + 5] = f;
    sums[row + 6] = g;
    sums[row + 7] = h;
  }
}

/**
 * @param {Int8Array} values
 * @param {number} rows
 * @param {number} columns
 * @param {Int16Array} vector
 * @param {Int32Array} sums
 */
function multiplySingly(values, rows, columns, vector, sums) {
  let at = 0;
  for (let row = 0; row < rows; row += 1) {
    let sum = 0;
    for (let column = 0; column < columns; column += 1) {
      sum = (sum + values[at] * vector[column]) | 0;
      at = (at + 1) | 0;
    }
    sums[row] = sum;
  }
}

/**
 * WebAssembly: its memory holds all matrices, in tiles, then the vector, then the sums.
 * @implements {Kernel}
 */
export class SimdKernel {
  /**
   * @param {ArrayBuffer} buffer of the memory
   * @param {(matrix: number, rows: number, columns: number, vector: number, sums: number) => void} compute
   * @param {number[][]} shapes of all matrices, each [rows, columns]
   */
  constructor(buffer, compute, shapes) {
    this.name = "wasm";
    this.compute = compute;
    this.bytes = new Int8Array(buffer);
    this.free = 0;
    const { matrices, widest, highest } = SimdKernel.measures(shapes);
    this.vector = new Int16Array(buffer, matrices, widest);
    this.sums = new Int32Array(buffer, matrices + 2 * widest, highest);
  }

  /**
   * Returns the bytes of all matrices, and the lengths of the vector and of the sums.
   * @param {number[][]} shapes
   */
  static measures(shapes) {
    let [matrices, widest, highest] = [0, 0, 0];
    for (const [rows, columns] of shapes) {
      const [height, width] = [roundedUp(rows, ROWS_TOGETHER), roundedUp(columns, COLUMNS_TOGETHER)];
      matrices += height * width;
      widest = Math.max(widest, width);
      highest = Math.max(highest, height);
    }
    return { matrices, widest, highest, bytes: matrices + 2 * widest + 4 * highest };
  }

  /**
   * @param {Int8Array} values
   * @param {number} rows
   * @param {number} columns
   * @returns {Matrix}
   */
  matrix(values, rows, columns) {
    const at = this.free;
    const width = roundedUp(columns, COLUMNS_TOGETHER);
    const tile = ROWS_TOGETHER * COLUMNS_TOGETHER;
    this.free += roundedUp(rows, ROWS_TOGETHER) * width;
    for (let row = 0; row < rows; row += 1) {
      const inTile = row % ROWS_TOGETHER;
      let to = at + (row - inTile) * width + inTile * COLUMNS_TOGETHER;
      for (let column = 0; column < columns; column += COLUMNS_TOGETHER, to += tile) {
        const end = Math.min(column + COLUMNS_TOGETHER, columns);
        for (let from = column; from < end; from += 1) this.bytes[to + from - column] = values[row * columns + from];
      }
    }
    return { rows, columns, at, values: null, pairs: null };
  }

  /** @param {Matrix} matrix */
  multiply({ rows, columns, at }) {
    this.compute(at, rows, roundedUp(columns, COLUMNS_TOGETHER), this.vector.byteOffset, this.sums.byteOffset);
  }
}

/**
 * Returns a kernel for matrices of these shapes.
 * @param {number[][]} shapes each [rows, columns]
 * @param {Uint8Array | null} binary kernel.wasm; without it, or if it is refused, JavaScript computes
 * @returns {Promise<Kernel>}
 */
export async function openKernel(shapes, binary) {
  if (binary && typeof WebAssembly === "object") {
    try {
      const memory = new WebAssembly.Memory({ initial: Math.ceil(SimdKernel.measures(shapes).bytes / PAGE_BYTES) });
      const module = await WebAssembly.compile(/** @type {Uint8Array<ArrayBuffer>} */ (binary));
      const instance = await WebAssembly.instantiate(module, { page: { memory } });
      return new SimdKernel(memory.buffer, /** @type {any} */ (instance.exports.multiply), shapes);
    } catch {
      // No SIMD, too little memory, or a policy that forbids it.
    }
  }
  return new PlainKernel(shapes);
}
