// @ts-check
// The ledger of a unit: what each character put into its state, as far as it is still there; the mathematics of
// measure/inside/ledger.py. The state is a sum: s(T) = carried + sum of the shares, for the gate k that keeps it,
// share(t) = (s(t) - k(t) s(t-1)) k(t+1) ... k(T).

/** @typedef {{ value: number, carried: number, shares: Float64Array }} Ledger */

/** The gate that keeps, and the state that it keeps; null for a cell that keeps nothing. @param {string} cell
 * @returns {{ gate: string, state: string } | null} */
export function keeps(cell) {
  if (cell === "rnn") return null;
  return cell === "gru" ? { gate: "z", state: "h" } : { gate: "f", state: "c" };
}

/**
 * @param {ArrayLike<number>} state after each character, (T,)
 * @param {ArrayLike<number>} keep the gate that keeps, (T,)
 * @param {number} before the state before the first character; if it is not a number, what the first character left
 *   counts as carried
 * @returns {Ledger} shares (T,)
 */
export function ledgerOf(state, keep, before) {
  const last = state.length - 1;
  const shares = new Float64Array(state.length);
  let left = 1;
  let carried = 0;
  for (let at = last; at >= 0; at -= 1) {
    const previous = at ? state[at - 1] : before;
    if (Number.isNaN(previous)) {
      carried = state[at] * left;
      break;
    }
    shares[at] = (state[at] - keep[at] * previous) * left;
    left *= keep[at];
    if (!at) carried = before * left;
  }
  return { value: last < 0 ? before : state[last], carried, shares };
}

/** The largest shares in size, largest first. @param {Float64Array} shares @param {number} count
 * @returns {number[]} their places */
export function largest(shares, count) {
  /** @type {number[]} */
  const found = [];
  for (let at = shares.length - 1; at >= 0; at -= 1) {
    const size = Math.abs(shares[at]);
    if (!size || (found.length === count && size <= Math.abs(shares[found[count - 1]]))) continue;
    let place = found.length;
    while (place && Math.abs(shares[found[place - 1]]) < size) place -= 1;
    found.splice(place, 0, at);
    if (found.length > count) found.pop();
  }
  return found;
}
