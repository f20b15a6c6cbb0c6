// @ts-check
// Which units are on inside a stretch of text and off around it, and where else they are on together: the question that
// LSTMVis (Strobelt et al. 2018) answers. A unit is on if its value, as drawn, is at least the threshold in size and
// keeps its sign.

/** @typedef {{ unit: number, sign: 1 | -1, margin: number }} On */
/** @typedef {{ from: number, to: number, share: number, score: number }} Place */

/**
 * The units that are on at each character of a stretch and not at the ones beside it; clearest first.
 * @param {ArrayLike<number>[]} inside the columns of the stretch, one value per unit
 * @param {ArrayLike<number>[]} beside those of the character before it and the one after it, as far as there are any
 * @param {number} threshold
 * @returns {On[]} margin: by how much the least value inside is above the most beside it
 */
export function unitsOn(inside, beside, threshold) {
  /** @type {On[]} */
  const found = [];
  if (!inside.length) return found;
  for (let unit = 0; unit < inside[0].length; unit += 1) {
    const sign = inside[0][unit] < 0 ? -1 : 1;
    const least = inside.reduce((low, column) => Math.min(low, sign * column[unit]), Infinity);
    if (least < threshold) continue;
    const most = beside.reduce((high, column) => Math.max(high, sign * column[unit]), 0);
    if (most < threshold) found.push({ unit, sign, margin: least - most });
  }
  return found.sort((one, other) => other.margin - one.margin || one.unit - other.unit);
}

/**
 * Other places where the same units are on together: runs of characters at each of which at least half of them are;
 * best first. The score is the mean share of units that are on, times how well the length fits.
 * @param {ArrayLike<number>[]} rows of the units, each (T,), as drawn
 * @param {On[]} units the same ones
 * @param {number} threshold
 * @param {number} from of the stretch, within the rows
 * @param {number} to
 * @param {number} most places
 * @returns {Place[]}
 */
export function placesLike(rows, units, threshold, from, to, most) {
  if (!rows.length) return [];
  const count = rows[0].length;
  const on = new Uint16Array(count);
  rows.forEach((row, number) => {
    const sign = units[number].sign;
    for (let at = 0; at < count; at += 1) if (sign * row[at] >= threshold) on[at] += 1;
  });
  const needed = Math.max(1, Math.ceil(rows.length / 2));
  /** @type {Place[]} */
  const found = [];
  for (let at = 0; at < count; at += 1) {
    if (on[at] < needed) continue;
    const begin = at;
    let total = 0;
    while (at < count && on[at] >= needed) total += on[at++];
    if (begin < to && at > from) continue;
    const [length, wanted] = [at - begin, to - from];
    const share = total / length / rows.length;
    found.push({ from: begin, to: at, share, score: (share * Math.min(length, wanted)) / Math.max(length, wanted) });
  }
  return found.sort((one, other) => other.score - one.score || one.from - other.from).slice(0, most);
}
