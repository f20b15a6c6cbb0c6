// @ts-check
// A trace and a place in it -> the numbers of one step of one unit, its equations with them, and a sentence about it.
// The equations are those of network/cells.py.

import { named, tile } from "./characters.js";
import { figure, percent } from "./dom.js";

/** How many units are drawn for a whole layer. */
export const NEIGHBOURS = 12;

/**
 * @typedef {{
 *   begin: number, end: number, id(at: number): number, surprise(at: number): number,
 *   top(at: number): { text: string, probability: number }[],
 *   state(at: number): unknown, value(layer: number, signal: string, unit: number, at: number): number,
 * }} DrawnTrace
 * @typedef {{
 *   shape: { cell: string, layers: number, hiddenSize: number, ngrams: number, signals: string[] }, names: string[],
 *   top(state: any, count: number): { text: string, probability: number }[],
 * }} DrawnModel
 * @typedef {{
 *   model: DrawnModel, trace: DrawnTrace, selection: { at: number, layer: number, unit: number, signal: string },
 *   select(change: { at: number }): void,
 *   view(element: Element, events: ("select" | "text")[], draw: () => void, pause?: number): () => void,
 * }} DrawnApp
 * @typedef {{
 *   cell: string, at: number, layer: number, unit: number, size: number, text: string,
 *   values: Record<string, number>, around: { first: number, h: number[], x: number[] },
 * }} Step around: units of this layer before the step, and of the layer below
 * @typedef {[key: string, symbols: string, about: string, numbers?: string, exact?: number]} Equation
 */

/** What a character of the trace writes; if nothing, what it is called. @param {DrawnApp} app @param {number} at */
export function writtenAt({ model, trace }, at) {
  return model.names[trace.id(at)] ?? "";
}

/** Something visible for a character. @param {string} text */
export function signOf(text) {
  return text === " " ? "␣" : tile(text);
}

/** What a character is called in a sentence. @param {string} text */
export function calledOf(text) {
  return named(text).replace(/^(?!no char)[a-z]/, "a $&");
}

/** The place next to another that the trace holds. @param {DrawnTrace} trace @param {number} at */
export function heldOf(trace, at) {
  return Math.max(Math.min(at, trace.end - 1), trace.begin);
}

/**
 * Read the selected step; null if the trace holds no character.
 *
 * Its `values` are those of the trace (c, h and the gates; c0 and h0 one character earlier), and what follows from
 * them: kept, added, and squashed, which is tanh(c).
 * @param {DrawnApp} app
 * @returns {Step | null}
 */
export function readStep(app) {
  const { model, trace, selection } = app;
  const { cell, hiddenSize: size, signals } = model.shape;
  if (trace.end <= trace.begin) return null;
  const { layer, unit } = selection;
  const at = heldOf(trace, selection.at);
  /** @type {Record<string, number>} */
  const v = {};
  for (const signal of signals) v[signal] = trace.value(layer, signal, unit, at);
  v.h0 = trace.value(layer, "h", unit, at - 1);
  if ("c" in v) v.c0 = trace.value(layer, "c", unit, at - 1);
  if (cell === "coupled") v.i = 1 - v.f;
  if (cell === "gru") v.i = 1 - v.z;
  v.kept = "c" in v ? v.f * v.c0 : v.z * v.h0;
  v.added = v.i * ("c" in v ? v.g : v.n);
  v.squashed = Math.tanh(v.c);
  const count = Math.min(NEIGHBOURS, size);
  const first = Math.max(0, Math.min(size - count, unit - (count >> 1)));
  const units = Array.from({ length: count }, (_, place) => first + place);
  const h = units.map((one) => trace.value(layer, "h", one, at - 1));
  const x = layer ? units.map((one) => trace.value(layer - 1, "h", one, at)) : [];
  return { cell, at, layer, unit, size, text: writtenAt(app, at), values: v, around: { first, h, x } };
}

/** @param {number} value */
function factor(value) {
  return value < 0 ? `(${figure(value, 3)})` : figure(value, 3);
}

/** The equations of a step, in the order in which they are computed. @param {Step} step @returns {Equation[]} */
export function equationsOf({ cell, values: v }) {
  const sum = "W x + U h + b";
  /** @type {(one: number, other: number, two: number, another: number) => string} */
  const filled = (one, other, two, another) =>
    `${factor(one)} × ${factor(other)} + ${factor(two)} × ${factor(another)}`;
  if (cell === "rnn") return [["h", `tanh(${sum})`, "computed anew"]];
  if (cell === "gru") {
    const numbers = filled(v.z, v.h0, v.i, v.n);
    return [
      ["r", `σ(${sum})`, "reset gate: how much U h counts in n"],
      ["z", `σ(${sum})`, "update gate: the share of the old h that is kept"],
      ["n", "tanh(W x + b + r × (U h + b′))", "candidate: what could be added"],
      ["h", "z × old h + (1 − z) × n", "what the unit remembers and shows", numbers, v.kept + v.added],
    ];
  }
  const seen = cell === "peephole" ? " + p × old c" : "";
  const written = cell === "coupled" ? "(1 − f)" : "i";
  /** @type {Equation[]} */
  const input = cell === "coupled" ? [] : [["i", `σ(${sum}${seen})`, "input gate: the share of g that is let in"]];
  return [
    ["f", `σ(${sum}${seen})`, "forget gate: the share of the old c that is kept"],
    ...input,
    ["g", `tanh(${sum})`, "candidate: what could be added"],
    ["c", `f × old c + ${written} × g`, "what the unit remembers", filled(v.f, v.c0, v.i, v.g), v.kept + v.added],
    ["o", `σ(${sum}${seen.replace("old", "new")})`, "output gate: the share of tanh(c) that is shown"],
    ["h", "o × tanh(new c)", "what the others see of it", `${factor(v.o)} × ${factor(v.squashed)}`, v.o * v.squashed],
  ];
}

/** @param {number} value */
function signed(value) {
  return value > 0 ? `+${figure(value)}` : figure(value);
}

/** What is nearly all is not called all. @param {number} share 0 to 1 */
function shareOf(share) {
  if (Number.isNaN(share)) return "?";
  if (share > 0.9995 && share < 1) return "almost all";
  return share > 0.995 && share < 1 ? `${figure(share * 100, 1)} %` : percent(share).replace("<", "less than");
}

/** Say what happened in a step. @param {Step} step */
export function sentenceOf({ cell, text, unit, layer, values: v }) {
  const who = `Reading ${calledOf(text)}, unit ${unit} of layer ${layer + 1}`;
  if (cell === "rnn") return `${who} kept nothing: it computed a new ${signed(v.h)} from x and all old h.`;
  const [before, keep, offer, after] = cell === "gru" ? [v.h0, v.z, v.n, v.h] : [v.c0, v.f, v.g, v.c];
  const much = cell === "coupled" ? ", as much as it forgot," : "";
  const kept = `kept ${shareOf(keep)} of what it had (${signed(before)})`;
  const wrote = `let ${shareOf(v.i)}${much} of a new ${signed(offer)} in`;
  const state = cell === "gru" ? "h" : "c";
  const last =
    cell === "gru"
      ? `The reset gate let ${shareOf(v.r)} of U h into the new value.`
      : `It shows ${shareOf(v.o)} of tanh(c): h is ${signed(v.h)}.`;
  return `${who} ${kept} and ${wrote}: ${state} is now ${signed(after)}. ${last}`;
}
