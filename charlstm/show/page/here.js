// @ts-check
// What happened at the selected character: what was expected there, and what the chosen unit did.

import { named, tile } from "./characters.js";
import { paint, scaleOf } from "./colours.js";
import { byId, figure, make, percent, say } from "./dom.js";

/** @typedef {import("./state.js").App} App */

const TOP = 5;
const READABLE = 100; // ms that numbers stay while the text grows
const GATES = {
  i: "input gate",
  f: "forget gate",
  g: "candidate",
  o: "output gate",
  r: "reset gate",
  z: "update gate",
  n: "candidate",
};

/** What a signal is called in full. @param {string} signal */
export function signalName(signal) {
  const own = { c: "cell state", h: "output", ...GATES };
  return own[/** @type {keyof typeof own} */ (signal)] ?? signal;
}

/** A space alone would not be seen. @param {string} text */
function blank(text) {
  return text === " " ? "␣" : text;
}

const MEANINGS = new Map([
  ["c", "what the unit remembers"],
  ["h", "what it shows to the others"],
  ["i", "how much of the candidate is let in"],
  ["f", "how much of the old c is kept"],
  ["g", "what could be added"],
  ["n", "what could replace the old h"],
  ["o", "how much of tanh(c) is shown"],
  ["r", "how much of the old h the candidate sees"],
  ["z", "how much of the old h is kept"],
]);

/** What a signal says, in a line. @param {string} signal */
export function meaningOf(signal) {
  return `${signal}, the ${signalName(signal)}: ${MEANINGS.get(signal) ?? ""}.`;
}

export class Here {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.title = byId("here-character", HTMLElement);
    this.place = byId("here-place", HTMLElement);
    this.expected = Array.from({ length: TOP }, () => this.bar());
    byId("expected", HTMLElement).append(...this.expected.map(({ row }) => row));
    this.signals = app.model.shape.signals.map((signal) => ({ signal, ...this.bar() }));
    byId("signals", HTMLElement).append(...this.signals.map(({ row }) => row));
    for (const { signal, name, row } of this.signals) {
      say(name, signal);
      row.title = signalName(signal);
      row.classList.toggle("middle", scaleOf(signal) === "signed");
    }
    app.view(byId("here", HTMLElement), ["text", "select", "theme"], () => this.draw(), READABLE);
  }

  bar() {
    const name = make("span", { class: "name" });
    const fill = make("span", { class: "fill" });
    const value = make("span", { class: "value" });
    const row = make(
      "li",
      { class: "bar" },
      name,
      make("span", { class: "track", "aria-hidden": "true" }, fill),
      value,
    );
    return { row, name, fill, value };
  }

  draw() {
    const { app } = this;
    const { trace, selection, passage } = app;
    const { at, layer, unit } = selection;
    const known = at >= trace.begin && at < trace.end;
    say(this.title, known ? blank(tile(passage.piece(at))) : "–");
    const top = known ? trace.top(at) : [];
    const place = `Character ${at.toLocaleString("en")} · ${this.surprise()}`;
    say(this.place, known ? place : "Nothing has been read yet.");
    this.expected.forEach(({ row, name, fill, value }, number) => {
      const one = top[number];
      row.hidden = !one;
      if (!one) return;
      const { endId, unknownId } = app.model;
      say(name, one.id === endId ? "∎" : one.id === unknownId ? "\ufffd" : blank(tile(one.text)));
      say(value, percent(one.probability));
      row.setAttribute("aria-label", `${named(one.text)}: ${percent(one.probability)}`);
      row.classList.toggle("came", one.id === trace.id(at));
      fill.style.width = `${100 * one.probability}%`;
    });
    say(byId("here-unit", HTMLElement), `Unit ${unit}, layer ${layer + 1}`);
    for (const { signal, fill, value, row } of this.signals) {
      const found = known ? trace.value(layer, signal, unit, at) : 0;
      const signed = scaleOf(signal) === "signed";
      const length = Math.min(1, Math.abs(signal === "c" ? Math.tanh(found) : found));
      say(value, known ? figure(found) : "–");
      row.classList.toggle("chosen", signal === selection.signal);
      fill.style.left = signed ? `${50 - (found < 0 ? 50 * length : 0)}%` : "0";
      fill.style.width = `${(signed ? 50 : 100) * length}%`;
      fill.style.backgroundColor = paint(signal, signed ? Math.sign(found) * 0.8 : 0.7, app.theme());
    }
  }

  surprise() {
    const bits = this.app.trace.surprise(this.app.selection.at);
    return Number.isNaN(bits)
      ? "the first one"
      : `surprise ${figure(bits, 1)} bits (its chance was ${percent(2 ** -bits)})`;
  }

  /** All of it in a sentence. */
  spoken() {
    const { trace, selection, passage } = this.app;
    const { at, layer, unit, signal } = selection;
    if (at < trace.begin || at >= trace.end) return "";
    const top = trace
      .top(at)
      .slice(0, 3)
      .map((one) => `${named(one.text)} ${percent(one.probability)}`);
    const value = figure(trace.value(layer, signal, unit, at));
    const came = `${named(passage.piece(at))}, character ${at}. ${this.surprise()}`;
    return `${came}. Expected: ${top.join(", ")}. ${signal} of unit ${unit}: ${value}.`;
  }
}
