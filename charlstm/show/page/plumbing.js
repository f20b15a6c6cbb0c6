// @ts-check
// Places -> parts of a drawing (pipes, valves, curves, tanks, wires), each of which shows its value of a step. Places
// are written as in a path: "x y", or "x y x y …" for a line.

import { figure, say } from "./dom.js";
import { signOf } from "./steps.js";
import { lettersOn, streamShare, streamTint, svgOf, tintOf } from "./svg.js";

/** @typedef {import("./steps.js").Step} DrawnStep */
/** @typedef {"start" | "middle" | "end"} Anchor */

const BORE = 28; // of a pipe
const CHAMBER = 21; // into which half a valve's gate slides

/** @param {string} place @returns {number[]} */
function numbersOf(place) {
  return place.split(" ").map(Number);
}

/** An empty drawing, and what draws into it: keys name values of the step, kinds are classes. */
export class Sketch {
  /** @param {number} width @param {number} height @param {number} [top] where it begins */
  constructor(width, height, top = 0) {
    const group = () => svgOf("g");
    this.walls = group();
    this.bores = group();
    this.fluids = group();
    this.wires = group();
    this.parts = group();
    this.words = group();
    this.title = svgOf("title", { id: "cell-title" });
    this.desc = svgOf("desc", { id: "cell-desc" });
    this.svg = svgOf("svg", {
      viewBox: `0 ${top} ${width} ${height - top}`,
      role: "img",
      "aria-labelledby": "cell-title",
      "aria-describedby": "cell-desc",
    });
    const { title, desc, walls, bores, fluids, wires, parts, words } = this;
    this.svg.append(title, desc, walls, bores, fluids, wires, parts, words);
    /** @type {((step: DrawnStep) => void)[]} */
    this.shown = [];
  }

  /** @param {DrawnStep} step @param {string} name @param {string} words what it shows */
  show(step, name, words) {
    say(this.title, name);
    say(this.desc, words);
    for (const update of this.shown) update(step);
  }

  /** Write words, and a number of the step. @param {string} place @param {string} text @param {Anchor} [anchor]
   * @param {string} [key] @param {string} [kind] */
  write(place, text, anchor = "middle", key = "", kind = "") {
    const [x, y] = numbersOf(place);
    const line = svgOf("text", { x, y, "text-anchor": anchor, class: kind }, text);
    if (key) {
      const number = svgOf("tspan", { class: "cell-number", "data-number": key });
      line.append(number);
      this.shown.push(({ values }) => say(number, figure(values[key], Math.abs(values[key]) < 100 ? 2 : 0)));
    }
    this.words.append(line);
    return line;
  }

  /** Write quietly. @param {string} place @param {string} text @param {Anchor} [anchor] @param {string} [key] */
  aside(place, text, anchor, key) {
    this.write(place, text, anchor, key, "cell-aside");
  }

  /** Lay a pipe; the stream in it is as wide and as red or blue as its value is large. Without a key it is hatched: the
   * trace does not hold what flows there. @param {string} key @param {string} d */
  pipe(key, d) {
    d = `M${d}`;
    this.walls.append(svgOf("path", { d, class: "cell-wall" }));
    this.bores.append(svgOf("path", { d, class: "cell-bore" }));
    const fluid = svgOf("path", { d, class: key ? "cell-fluid" : "cell-hatch" });
    this.fluids.append(fluid);
    if (!key) return;
    const drift = svgOf("path", { d, class: "cell-drift" });
    this.fluids.append(drift);
    this.shown.push(({ values }) => {
      const width = BORE * streamShare(values[key]);
      fluid.style.strokeWidth = `${width}px`;
      fluid.style.stroke = streamTint(values[key]);
      drift.classList.toggle("cell-dry", width < 3);
    });
  }

  /** Put an arrow's head on the end of a pipe. @param {string} key @param {string} place @param {boolean} down */
  outlet(key, place, down) {
    const transform = `translate(${place})${down ? " rotate(90)" : ""}`;
    const head = svgOf("path", { d: "M0-22L24 0L0 22Z", class: "cell-part", transform });
    this.parts.append(head);
    this.shown.push(({ values }) => (head.style.fill = streamTint(values[key])));
  }

  /** Put a gate valve on a pipe: its halves leave the share `key` of the bore open. @param {string} key
   * @param {string} place @param {boolean} upright whether the pipe is */
  valve(key, place, upright) {
    const half = BORE / 2;
    const group = svgOf("g", { transform: `translate(${place})${upright ? " rotate(90)" : ""}` });
    const sides = [-1, 1].map((side) => {
      const housing = { x: -21, y: side < 0 ? -half - CHAMBER : half, width: 42, height: CHAMBER, rx: 6 };
      const gate = { x: -6, y: side < 0 ? -half - 5 : 0, width: 12, height: half + 5, rx: 2, class: "cell-gate" };
      const pair = [svgOf("rect", { ...housing, class: "cell-part cell-chamber" }), svgOf("rect", gate)];
      group.append(...pair);
      return { side, chamber: pair[0], gate: pair[1] };
    });
    this.parts.append(group);
    this.shown.push(({ values }) => {
      for (const { side, chamber, gate } of sides) {
        gate.style.transform = `translateY(${side * half * (values[key] || 0)}px)`;
        chamber.style.fill = tintOf("f", values[key]);
      }
    });
  }

  /** Draw a function as its curve, with a dot where the step is on it. @param {"σ" | "tanh"} kind
   * @param {string} key the function's value @param {string} place */
  curve(kind, key, place) {
    const logistic = kind === "σ";
    /** Up and down, for a value of tanh. @param {number} value */
    const high = (value) => -15 * value;
    const line = Array.from({ length: 25 }, (_, step) => `${(step - 12) * 2.4} ${high(Math.tanh((step - 12) / 4))}`);
    const dot = svgOf("circle", { r: 5, class: "cell-dot" });
    const inside = [
      svgOf("rect", { x: -38, y: -25, width: 76, height: 50, rx: 10, class: "cell-part" }),
      svgOf("path", { d: `M-29 ${logistic ? 15 : 0}h58M0-19v38`, class: "cell-axis" }),
      svgOf("path", { d: `M${line.join(" ")}`, class: "cell-curve" }),
      svgOf("text", { x: -33, y: -10, class: "cell-kind" }, kind),
      dot,
    ];
    this.parts.append(svgOf("g", { transform: `translate(${place})` }, ...inside));
    this.shown.push(({ values }) => {
      const value = logistic ? 2 * values[key] - 1 : values[key];
      const shift = Math.min(29, Math.max(-29, 9.6 * Math.atanh(value)));
      dot.style.transform = Number.isNaN(value) ? "" : `translate(${shift}px, ${high(value)}px)`;
      dot.style.fill = tintOf(logistic ? "f" : "h", values[key]);
    });
  }

  /** Put a vessel with its number and name. @param {string} key @param {string} name @param {string} place */
  tank(key, name, place) {
    const [x, y] = numbersOf(place);
    const vessel = svgOf("rect", { x: x - 44, y: y - 29, width: 88, height: 58, rx: 14, class: "cell-part cell-tank" });
    this.parts.append(vessel);
    const lines = [this.write(`${x} ${y - 9}`, name), this.write(`${x} ${y + 16}`, "", "middle", key, "cell-large")];
    this.shown.push(({ values }) => {
      vessel.style.fill = tintOf(key[0], values[key]);
      for (const line of lines) line.style.fill = lettersOn(key[0], values[key]);
    });
  }

  /** Put a round sign: where pipes join, or where a wire's value is turned round. @param {string} text
   * @param {string} place */
  sign(text, place) {
    const [x, y] = numbersOf(place);
    const plus = text === "+";
    this.parts.append(svgOf("circle", { cx: x, cy: y, r: 18, class: `cell-part ${plus ? "" : "cell-chamber"}` }));
    this.write(`${x} ${y + (plus ? 7 : 5)}`, text, "middle", "", plus ? "cell-large" : "");
  }

  /** Put the product of a matrix with all old h. @param {string} place */
  product(place) {
    const [x, y] = numbersOf(place);
    this.parts.append(svgOf("rect", { x: x - 38, y: y - 25, width: 76, height: 50, rx: 10, class: "cell-part" }));
    this.write(`${x} ${y + 5}`, "U h + b′");
  }

  /** Lay a wire with an arrow at its end. @param {string} kind what it carries @param {string} d */
  wire(kind, d) {
    const [x0, y0, x, y] = numbersOf(d).slice(-4);
    const transform = `translate(${x} ${y}) rotate(${(Math.atan2(y - y0, x - x0) * 180) / Math.PI})`;
    this.trunk(kind, d);
    this.wires.append(svgOf("path", { d: "M-9-6L2 0L-9 6Z", class: `cell-tip ${kind}`, transform }));
  }

  /** Lay a wire that others leave, with a knot where each does. @param {string} kind @param {string} d
   * @param {string[]} knots */
  trunk(kind, d, ...knots) {
    this.wires.append(svgOf("path", { d: `M${d}`, class: `cell-wire ${kind}` }));
    for (const knot of knots) {
      const [cx, cy] = numbersOf(knot);
      this.wires.append(svgOf("circle", { cx, cy, r: 4, class: `cell-tip ${kind}` }));
    }
  }

  /** Put the character that was read. @param {string} place */
  glyph(place) {
    const [x, y] = numbersOf(place);
    const size = { width: 50, height: 50, rx: 8, class: "cell-part cell-key" };
    this.parts.append(svgOf("rect", { x: x - 25, y: y - 25, ...size }));
    const letter = this.write(`${x} ${y + 9}`, "", "middle", "", "cell-letter");
    this.shown.push(({ text }) => {
      say(letter, signOf(text));
      letter.classList.toggle("cell-small", signOf(text).length > 3);
    });
  }

  /** Put a row of units, the step's own among them. @param {"h" | "x"} which h before the step, or what comes from the
   * layer below @param {string} place of its left upper corner @param {number} side of a unit
   * @param {number} count of units */
  strip(which, place, side, count) {
    const [x, y] = numbersOf(place);
    const row = svgOf("g");
    const fields = Array.from({ length: count }, (_, index) =>
      svgOf("rect", { x: x + index * side, y, width: side, height: side, class: "cell-field" }),
    );
    this.parts.append(row);
    row.append(...fields);
    this.shown.push(({ around, unit }) => {
      for (const [index, field] of fields.entries()) {
        field.style.fill = tintOf("h", around[which][index]);
        const own = which === "h" && around.first + index === unit;
        field.classList.toggle("cell-own", own);
        if (own) row.append(field);
      }
    });
  }
}
