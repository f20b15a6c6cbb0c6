// @ts-check
// The whole layer as a heat map: characters across, units down, in an order of one's choice. A click or the arrow keys
// pick a unit and a character.

import { tile } from "./characters.js";
import { coloursOf, drawnAs, scaleOf, stepOf } from "./colours.js";
import { ordered, propertiesOf } from "./order.js";
import { keeps } from "./ledger.js";

/** @typedef {import("./state.js").App} App */
/** @typedef {import("./order.js").Order} Order */

const COLUMN = 9; // pixels of a character
const ABOVE = 18; // pixels above the units, for the characters
const EVERY_OTHER = 30; // ms between two drawings while the text grows: every other frame
const TALL = 420; // pixels that the units of a layer fill at least
const SORTED = 1_500; // characters that an order is made from
const PER_UNIT = 64; // steps per unit of what colours are looked up by
const REACH = 4; // units on both sides of 0 that they are looked up for

export class HeatMap {
  /** @param {App} app @param {HTMLCanvasElement} canvas @param {HTMLElement} scroller
   * @param {(text: string) => void} tell what is under the pointer
   * @param {() => void} moved told when the keyboard moved the selection */
  constructor(app, canvas, scroller, tell, moved) {
    this.app = app;
    this.canvas = canvas;
    this.scroller = scroller;
    this.tell = tell;
    this.moved = moved;
    this.by = "number";
    const units = app.model.shape.hiddenSize;
    /** @type {Order} */
    this.sorted = { order: Int32Array.from({ length: units }, (_, unit) => unit), notes: [] };
    this.rowOf = Int32Array.from(this.sorted.order);
    this.unitHeight = Math.max(1, Math.floor(TALL / units));
    this.from = 0;
    this.columns = 1;
    this.turn = 0;
    this.pixels = document.createElement("canvas");
    this.column = new Float32Array(units);
    /** @type {Map<string, Uint32Array>} */
    this.tables = new Map();
    new ResizeObserver(() => this.sized()).observe(scroller);
    this.inks = { text: "", halo: "", line: "" };
    app.on("theme", () => {
      this.tables.clear();
      const { color, backgroundColor, outlineColor } = getComputedStyle(canvas);
      this.inks = { text: color, halo: backgroundColor, line: outlineColor };
    });
    app.view(canvas, ["text", "select", "brush", "theme"], () => this.draw(), EVERY_OTHER);
    canvas.addEventListener("pointermove", (event) => {
      const found = this.under(event);
      this.tell(found ? this.described(found.unit, found.at) : "");
    });
    canvas.addEventListener("pointerleave", () => this.tell(""));
    canvas.addEventListener("click", (event) => {
      const found = this.under(event);
      if (found) this.app.select(found);
    });
    canvas.addEventListener("keydown", (event) => this.pressed(event));
  }

  sized() {
    const { canvas, scroller, app } = this;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = scroller.clientWidth;
    const height = ABOVE + this.unitHeight * app.model.shape.hiddenSize;
    if (!width) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    this.columns = Math.max(8, Math.floor(width / COLUMN));
    this.draw();
  }

  /** The colours of what a signal is drawn as, in steps of 1 / PER_UNIT from -REACH on. @returns {Uint32Array} */
  table() {
    const { signal } = this.app.selection;
    const theme = this.app.theme();
    const found = this.tables.get(signal);
    if (found) return found;
    const colours = coloursOf(scaleOf(signal), theme).map(
      ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0,
    );
    const table = Uint32Array.from(
      { length: 2 * REACH * PER_UNIT + 1 },
      (_, step) => colours[stepOf(signal, drawnAs(signal, step / PER_UNIT - REACH))],
    );
    this.tables.set(signal, table);
    return table;
  }

  /** Move the window so that the selected character is in it. */
  place() {
    const { trace, selection, pinned } = this.app;
    const last = Math.max(trace.begin, trace.end - this.columns);
    if (!pinned) this.from = last;
    else if (selection.at < this.from + 2 || selection.at >= this.from + this.columns - 2)
      this.from = selection.at - Math.floor(this.columns / 2);
    this.from = Math.max(trace.begin, Math.min(last, this.from));
  }

  draw() {
    const context = this.canvas.getContext("2d");
    if (!context || !this.canvas.width) return;
    const { app, columns, column, unitHeight } = this;
    const { trace, selection, model } = app;
    const units = model.shape.hiddenSize;
    this.place();
    if (this.pixels.width !== columns || this.pixels.height !== units) {
      this.pixels.width = columns;
      this.pixels.height = units;
    }
    const inner = this.pixels.getContext("2d");
    if (!inner) return;
    const image = inner.createImageData(columns, units);
    const target = new Uint32Array(image.data.buffer);
    const table = this.table();
    const count = Math.min(columns, trace.end - this.from);
    const { order } = this.sorted;
    for (let across = 0; across < count; across += 1) {
      trace.column(selection.layer, selection.signal, this.from + across, column);
      for (let row = 0; row < units; row += 1) {
        const step = Math.round((column[order[row]] + REACH) * PER_UNIT);
        target[row * columns + across] = table[step < 0 ? 0 : step < table.length ? step : table.length - 1];
      }
    }
    inner.putImageData(image, 0, 0);
    const ratio = Math.min(devicePixelRatio || 1, 2);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.pixels, 0, ABOVE, columns * COLUMN, units * unitHeight);
    context.font = "12px ui-monospace, monospace";
    context.textAlign = "center";
    context.fillStyle = this.inks.text;
    for (let across = 0; across < count; across += 1) {
      const text = tile(app.passage.piece(this.from + across));
      if (text !== " ") context.fillText(text.length > 2 ? "·" : text, (across + 0.5) * COLUMN, 12, COLUMN);
    }
    this.outline(context);
    if (app.growing) return;
    const last = Math.max(this.from, this.from + count - 1);
    this.canvas.setAttribute(
      "aria-label",
      `Heat map of ${selection.signal} in layer ${selection.layer + 1}: ${units} units, characters ${this.from} to ` +
        `${last}. The arrow keys pick a character and a unit.`,
    );
  }

  /** Outline the chosen unit, the selected character and the brushed stretch. @param {CanvasRenderingContext2D}
   * context */
  outline(context) {
    const { selection, brush } = this.app;
    const height = this.unitHeight * this.app.model.shape.hiddenSize;
    const top = ABOVE + this.rowOf[selection.unit] * this.unitHeight;
    const left = (selection.at - this.from) * COLUMN;
    /** @param {number} x @param {number} y @param {number} wide @param {number} tall @param {number[]} dash */
    const box = (x, y, wide, tall, dash) => {
      context.setLineDash([]);
      context.lineWidth = 3;
      context.strokeStyle = this.inks.halo;
      context.strokeRect(x, y, wide, tall);
      context.setLineDash(dash);
      context.lineWidth = 1.5;
      context.strokeStyle = this.inks.line;
      context.strokeRect(x, y, wide, tall);
    };
    if (brush) box((brush.from - this.from) * COLUMN, ABOVE - 1, (brush.to - brush.from) * COLUMN, height, [4, 3]);
    if (selection.at >= this.from) box(left, ABOVE - 1, COLUMN, height, []);
    const across = Math.min(this.columns, this.app.trace.end - this.from);
    if (across > 0) box(0.5, top - 1.5, across * COLUMN - 1, this.unitHeight + 3, []);
  }

  /** @param {MouseEvent} event @returns {{ unit: number, at: number } | null} */
  under(event) {
    const box = this.canvas.getBoundingClientRect();
    const at = this.from + Math.floor((event.clientX - box.left) / COLUMN);
    const unit = this.sorted.order[Math.floor((event.clientY - box.top - ABOVE) / this.unitHeight)];
    return unit === undefined || at >= this.app.trace.end ? null : { unit, at };
  }

  /** @param {number} unit @param {number} at */
  described(unit, at) {
    const { layer, signal } = this.app.selection;
    const note = this.sorted.notes[unit];
    const value = this.app.trace.value(layer, signal, unit, at);
    return `Unit ${unit}, character ${at}: ${signal} = ${value.toFixed(2)}${note ? ` · ${note}` : ""}`;
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const { selection } = this.app;
    const row = this.rowOf[selection.unit];
    const { order } = this.sorted;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    /** @param {number} wanted @returns {{ unit?: number, at?: number }} */
    const unit = (wanted) => ({ unit: order[Math.max(0, Math.min(order.length - 1, wanted))] });
    /** @type {Map<string, { unit?: number, at?: number }>} */
    const moves = new Map([
      ["ArrowUp", unit(row - 1)],
      ["ArrowDown", unit(row + 1)],
      ["PageUp", unit(row - 20)],
      ["PageDown", unit(row + 20)],
      ["ArrowLeft", { at: selection.at - 1 }],
      ["ArrowRight", { at: selection.at + 1 }],
    ]);
    const move = moves.get(event.key);
    if (!move) return;
    event.preventDefault();
    this.app.select(move);
    this.tell(this.described(selection.unit, selection.at));
    this.moved();
  }

  /** Sort the units anew, in slices. @param {string} by */
  async sort(by) {
    this.by = by;
    const turn = ++this.turn;
    const { app } = this;
    const { trace, selection, model } = app;
    const { layer, signal, unit } = selection;
    const from = Math.max(trace.begin, trace.end - SORTED);
    const to = trace.end;
    const keep = keeps(model.shape.cell)?.gate ?? "";
    /** @type {number[]} */
    const pieces = [];
    for (let at = from; at < to; at += 1) if (trace.id(at) !== model.endId) pieces.push(at - from);
    const whole = pieces.length === to - from;
    /** @param {number} of */
    const row = (of) => {
      const values = trace.row(layer, by === "time" ? keep : signal, of, from, to);
      return whole ? values : Float32Array.from(pieces, (at) => values[at]);
    };
    const properties = propertiesOf(pieces.map((at) => app.passage.piece(from + at)));
    if (!pieces.length) return;
    const sorted = await app.slices(
      ordered(by, model.shape.hiddenSize, row, unit, properties),
      () => turn === this.turn && trace.begin <= from && trace.end >= to,
    );
    if (!sorted) return;
    this.sorted = sorted;
    sorted.order.forEach((each, place) => (this.rowOf[each] = place));
    this.draw();
  }
}
