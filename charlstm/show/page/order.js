// @ts-check
// The order of units in the heat map: by number, by how long they keep what they hold, by likeness to the chosen unit,
// or by the property of the text that they follow best.

/** What a reader would name, known once a character has been read. @type {[string, RegExp][]} */
const PLAIN_PROPERTIES = [
  ["spaces", /\s/u],
  ["capitals", /\p{Lu}/u],
  ["vowels", /[aeiouyáéíóúàèìòùäöüâêîôûæœåø]/iu],
  ["punctuation", /\p{P}/u],
  ["digits", /\p{Nd}/u],
];

/** @typedef {{ name: string, values: Float32Array }} Property */

/**
 * Properties of each character of a text; those that do not vary are left out.
 * @param {string[]} characters
 * @returns {Property[]} values (T,)
 */
export function propertiesOf(characters) {
  const count = characters.length;
  /** @type {Property[]} */
  const found = PLAIN_PROPERTIES.map(([name, kind]) => ({
    name,
    values: Float32Array.from(characters, (character) => (kind.test(character) ? 1 : 0)),
  }));
  const [line, word, quote, since] = [0, 1, 2, 3].map(() => new Float32Array(count));
  let [inLine, inWord, inQuote, inSentence] = [0, 0, 0, 0];
  characters.forEach((character, at) => {
    inLine = character === "\n" ? 0 : inLine + 1;
    inWord = /[\p{L}\p{M}\p{Nd}'’]/u.test(character) ? inWord + 1 : 0;
    inSentence = /[.!?]/u.test(character) ? 0 : inSentence + 1;
    if ("“«„".includes(character)) inQuote = 1;
    else if ("”»".includes(character)) inQuote = 0;
    else if (character === '"') inQuote = 1 - inQuote;
    if (character === "\n" && at && characters[at - 1] === "\n") inQuote = 0;
    line[at] = Math.min(inLine, 120);
    word[at] = Math.min(inWord, 20);
    quote[at] = inQuote;
    since[at] = Math.log1p(inSentence);
  });
  found.push(
    { name: "place in the line", values: line },
    { name: "place in the word", values: word },
    { name: "inside quotes", values: quote },
    { name: "length of the sentence", values: since },
  );
  return found.filter(({ values }) => values.some((value) => value !== values[0]));
}

/** Values less their mean, divided by their length, so that a product of two is their correlation; null if they do not
 * vary. @param {ArrayLike<number>} values @returns {Float32Array | null} */
export function standardised(values) {
  let mean = 0;
  for (let at = 0; at < values.length; at += 1) mean += values[at];
  mean /= values.length;
  let squares = 0;
  for (let at = 0; at < values.length; at += 1) squares += (values[at] - mean) ** 2;
  if (!(squares > 1e-9)) return null;
  const scale = 1 / Math.sqrt(squares);
  return Float32Array.from(values, (value) => (value - mean) * scale);
}

/** @param {Float32Array | null} one @param {Float32Array | null} other both standardised; 0 if one of them is null */
export function correlation(one, other) {
  let sum = 0;
  if (one && other) for (let at = 0; at < one.length; at += 1) sum += one[at] * other[at];
  return sum;
}

/** How many characters a unit keeps what it holds: after that many, 1/e of it is left. @param {ArrayLike<number>} keep
 * the gate that keeps */
export function timeScale(keep) {
  let sum = 0;
  for (let at = 0; at < keep.length; at += 1) sum += keep[at];
  return keep.length ? Math.abs(-1 / Math.log(sum / keep.length)) : 0;
}

/** @typedef {{ order: Int32Array, notes: string[] }} Order units from top to bottom; by unit, what is said of it */

/**
 * Sort units; yields now and then, so that a frame can be drawn.
 * @param {string} by "number", "time", "like" or "follows"
 * @param {number} units
 * @param {(unit: number) => ArrayLike<number>} row its values (for "time": of the gate that keeps)
 * @param {number} chosen
 * @param {Property[]} properties for "follows"
 * @returns {Generator<void, Order>}
 */
export function* ordered(by, units, row, chosen, properties) {
  const keys = new Float64Array(units);
  const groups = new Int32Array(units);
  /** @type {string[]} */
  const notes = new Array(units).fill("");
  const like = by === "like" ? standardised(row(chosen)) : null;
  const known = by === "follows" ? properties.map(({ values }) => standardised(values)) : [];
  for (let unit = 0; unit < units && by !== "number"; unit += 1) {
    if (unit % 8 === 7) yield;
    if (by === "time") {
      keys[unit] = timeScale(row(unit));
      notes[unit] = `keeps for ${keys[unit] < 1e5 ? keys[unit].toFixed(1) : "very many"} characters`;
      continue;
    }
    const values = standardised(row(unit));
    if (by === "like") {
      keys[unit] = unit === chosen ? 2 : correlation(values, like);
      notes[unit] = unit === chosen ? "" : `r = ${keys[unit].toFixed(2)} with unit ${chosen}`;
      continue;
    }
    known.forEach((property, number) => {
      const r = correlation(values, property);
      if (Math.abs(r) <= Math.abs(keys[unit])) return;
      keys[unit] = r;
      groups[unit] = number;
    });
    if (known.length) notes[unit] = `r = ${keys[unit].toFixed(2)} with ${properties[groups[unit]].name}`;
  }
  const order = Int32Array.from({ length: units }, (_, unit) => unit).sort(
    (one, other) => groups[one] - groups[other] || keys[other] - keys[one] || one - other,
  );
  return { order, notes };
}
