// @ts-check
// The last characters -> the layers one above the other, unrolled in time: what is read, what is passed on, what is
// expected. A column is a button that selects its character.

import { figure, make, percent, say } from "./dom.js";
import { listenToKeys } from "./player.js";
import { calledOf, heldOf, signOf, writtenAt } from "./steps.js";
import { lettersOn, streamShare, streamTint, svgOf, tintOf } from "./svg.js";

const CROWN = 84; // height of the predictions
const FLOOR = 92; // of a layer
const ROOT = 44; // of the character that is read
const GUTTER = 76; // for the names of the rows
const TURNED = 200; // ms that the characters stay while the text grows

/**
 * Build the unrolled network into a container; it follows the selection.
 * @param {HTMLElement} container
 * @param {import("./steps.js").DrawnApp} app
 */
export function mountUnrolled(container, app) {
  const { layers, signals } = app.model.shape;
  const hasC = signals.includes("c");
  const row = make("div", { class: "unrolled-row", role: "group", "aria-label": "Characters; arrows step" });
  const words = make("p", { class: "unrolled-words" });
  container.classList.add("unrolled");
  container.append(row, words);
  /** @type {ReturnType<typeof columnOf>[]} */
  let columns = [];
  let [width, first] = [0, 0];

  function layOut() {
    const room = Math.max(200, row.clientWidth - GUTTER);
    const count = Math.max(4, Math.min(16, Math.floor(room / (room < 500 ? 58 : 84))));
    const fits = Math.min(120, Math.floor(room / count));
    if (fits === width && count === columns.length) return;
    width = fits;
    columns = Array.from({ length: count }, () => columnOf(width, layers, hasC));
    row.replaceChildren(namesOf(layers), ...columns.map((column) => column.element));
    for (const [place, { button }] of columns.entries()) {
      button.addEventListener("click", () => app.select({ at: first + place }));
    }
  }
  function draw() {
    layOut();
    const { trace, selection } = app;
    container.classList.toggle("cell-empty", trace.end === trace.begin);
    const at = heldOf(trace, selection.at);
    const after = first + columns.length;
    // Turned like a page by steps, so that most of them change one column.
    if (at === first - 1 || at === after) first = at - (columns.length >> 1);
    else if (at < first || at > after) first = at - columns.length + 1;
    first = Math.max(trace.begin, first);
    const focused = row.contains(document.activeElement);
    for (const [place, column] of columns.entries()) {
      const here = first + place;
      column.element.hidden = here >= trace.end;
      if (here >= trace.end) continue;
      const chosen = here === at;
      column.show(app, here);
      column.button.tabIndex = chosen ? 0 : -1;
      column.element.classList.toggle("unrolled-chosen", chosen);
      if (chosen) column.button.setAttribute("aria-current", "true");
      else column.button.removeAttribute("aria-current");
      if (chosen && focused) column.button.focus({ preventScroll: true });
    }
    const { unit, signal } = selection;
    const streams = hasC
      ? "The thick stream is c, which goes on to the next character; the thin one is h, which also goes up."
      : "The stream is h, which goes on to the next character and up.";
    say(words, `Each box is unit ${unit} of its layer and shows its ${signal}. ${streams} ${surpriseOf(app, at)}`);
  }
  const ask = app.view(row, ["select", "text"], draw, TURNED);
  new ResizeObserver(ask).observe(row);
  ask();
  listenToKeys(row, {
    move(by) {
      const { trace, selection } = app;
      if (trace.end > trace.begin) app.select({ at: heldOf(trace, selection.at + by) });
    },
  });
}

/** @param {import("./steps.js").DrawnApp} app @param {number} at */
function surpriseOf(app, at) {
  const bits = app.trace.surprise(at);
  return bits >= 0 ? `Surprise at ${calledOf(writtenAt(app, at))}: ${figure(bits, 1)} bits.` : "";
}

/** @param {number} layers */
function namesOf(layers) {
  const high = CROWN + FLOOR * layers + ROOT;
  const svg = svgOf("svg", { viewBox: `0 0 ${GUTTER} ${high}`, width: GUTTER, height: high, "aria-hidden": "true" });
  const name = (/** @type {number} */ y, /** @type {string} */ text) => svg.append(svgOf("text", { x: 0, y }, text));
  name(21, "next came");
  name(47, "expected");
  name(64, "chance");
  for (let layer = 0; layer < layers; layer++) name(floorOf(layer, layers) + 40, `layer ${layer + 1}`);
  name(high - 15, "read");
  return svg;
}

/**
 * Return where a layer's part of a column begins, from the top.
 * @param {number} layer
 * @param {number} layers
 */
function floorOf(layer, layers) {
  return CROWN + FLOOR * (layers - 1 - layer);
}

/**
 * Return a column of the drawing and what updates it.
 * @param {number} width
 * @param {number} layers
 * @param {boolean} hasC
 */
function columnOf(width, layers, hasC) {
  const high = CROWN + FLOOR * layers + ROOT;
  const middle = width / 2;
  const half = Math.min(30, middle - 9);
  const svg = svgOf("svg", { viewBox: `0 0 ${width} ${high}`, width, height: high, "aria-hidden": "true" });
  const text = (/** @type {number} */ y, /** @type {string} */ kind) => {
    const line = svgOf("text", { x: middle, y, "text-anchor": "middle", class: kind });
    svg.append(line);
    return line;
  };
  /** @type {(path: string) => (value: number, most: number) => void} */
  const stream = (path) => {
    const line = svgOf("path", { d: path, class: "unrolled-stream" });
    svg.append(svgOf("path", { d: path, class: "unrolled-bed" }), line);
    return (value, most) => {
      line.style.stroke = streamTint(value);
      line.style.strokeWidth = `${Math.max(0.5, streamShare(value) * most)}px`;
    };
  };
  const floors = Array.from({ length: layers }, (_, layer) => {
    const top = floorOf(layer, layers) + 14;
    const [upper, lower] = hasC ? [top + 15, top + 42] : [top + 28, top + 28];
    const up = stream(`M${middle} ${top}V${layer + 1 < layers ? top - FLOOR + 56 : top - 22}`);
    const [hIn, hOut] = [stream(`M0 ${lower}H${middle}`), stream(`M${middle} ${lower}H${width}`)];
    const [cIn, cOut] = hasC ? [stream(`M0 ${upper}H${middle}`), stream(`M${middle} ${upper}H${width}`)] : [null, null];
    if (!layer) svg.append(svgOf("path", { d: `M${middle} ${high - ROOT + 8}V${top + 56}`, class: "unrolled-feed" }));
    const box = svgOf("rect", { x: middle - half, y: top, width: 2 * half, height: 56, rx: 9, class: "unrolled-box" });
    svg.append(box);
    return { up, hIn, hOut, cIn, cOut, box, number: text(top + 33, "unrolled-number") };
  });
  const key = { width: 34, height: 34, rx: 6, class: "cell-part cell-key" };
  svg.append(svgOf("rect", { x: middle - 17, y: high - 36, ...key }));
  const [read, came, expected, chance] = [
    text(high - 13, "unrolled-letter"),
    text(22, "unrolled-letter"),
    text(48, "unrolled-letter"),
    text(64, "unrolled-chance"),
  ];
  const button = make("button", { type: "button" });
  const element = make("div", { class: "unrolled-column" }, svg, button);
  let seen = "";

  /**
   * @param {import("./steps.js").DrawnApp} app
   * @param {number} at
   */
  function show(app, at) {
    const { model, trace } = app;
    const { unit, signal } = app.selection;
    const own = writtenAt(app, at);
    const next = at + 1 < trace.end ? writtenAt(app, at + 1) : null;
    const guess = next === null ? model.top(trace.state(at), 1)[0] : trace.top(at + 1)[0];
    const values = floors.map((_, layer) => {
      const of = (/** @type {string} */ name, back = 0) => trace.value(layer, name, unit, at - back);
      return [of("h"), of("h", 1), hasC ? of("c") : 0, hasC ? of("c", 1) : 0, of(signal)];
    });
    const now = [signal, own, next, guess?.text, guess?.probability, values].join();
    if (now === seen) return;
    seen = now;
    for (const [layer, floor] of floors.entries()) {
      const [h, h0, c, c0, value] = values[layer];
      floor.up(h, 8);
      floor.hIn(h0, 8);
      floor.hOut(h, 8);
      floor.cIn?.(c0, 18);
      floor.cOut?.(c, 18);
      floor.box.style.fill = tintOf(signal, value);
      floor.number.style.fill = lettersOn(signal, value);
      floor.number.textContent = figure(value);
    }
    read.textContent = signOf(own);
    read.classList.toggle("unrolled-long", signOf(own).length > 2);
    came.textContent = next === null ? "…" : signOf(next);
    expected.textContent = guess ? signOf(guess.text) : "";
    chance.textContent = guess ? percent(guess.probability) : "";
    came.classList.toggle("unrolled-right", guess?.text === next);
    const outcome = next === null ? "" : `, ${calledOf(next)} came`;
    const told = guess ? `expected ${calledOf(guess.text)}, ${percent(guess.probability)}${outcome}` : "";
    button.setAttribute("aria-label", `${calledOf(own)}: ${told}`);
  }
  return { element, button, show };
}
