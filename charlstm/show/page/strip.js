// @ts-check
// The strip: the text with every character on the colour of its value. Only a window of it is in the page; it follows
// the end of the text, or stays where one looks. Pointing looks at a character, a click or the arrow keys stay there,
// dragging or Shift with the arrow keys brushes a stretch.

import { tile } from "./characters.js";
import { stepOf, scaleOf } from "./colours.js";
import { make } from "./dom.js";

/** @typedef {import("./state.js").App} App */
/** @typedef {{ start: number, element: HTMLElement, tiles: HTMLElement[] }} Row */
/** @typedef {{ signal: string, values: (from: number, to: number) => ArrayLike<number> }} Colouring values as drawn */

const WINDOW = 1_400; // characters
const ROW = 400; // characters after which a row ends without a line end

export class Strip {
  /** @param {App} app @param {HTMLElement} element @param {() => Colouring} colouring
   * @param {() => void} moved told when the keyboard moved the selection */
  constructor(app, element, colouring, moved) {
    this.app = app;
    this.element = element;
    this.colouring = colouring;
    this.moved = moved;
    /** @type {Row[]} */
    this.rows = [];
    this.from = 0;
    this.to = 0;
    /** @type {WeakMap<Element, number>} */
    this.places = new WeakMap();
    /** @type {HTMLElement | null} */
    this.current = null;
    /** Where a drag or a walk with Shift began. */
    this.anchor = -1;
    this.dragging = false;
    /** What was selected before the pointer came. @type {number | null | undefined} */
    this.resting = undefined;
    this.brushed = { from: 0, to: 0 };
    /** Whether the text has grown since its end was last brought into sight. */
    this.grown = false;
    app.view(element, ["text", "theme"], (from) => this.update(from));
    app.on("drawn", () => {
      if (this.grown && !app.pinned) element.scrollTop = element.scrollHeight;
      this.grown = false;
    });
    app.on("select", () => this.point());
    app.on("brush", () => this.showBrush());
    element.addEventListener("pointerdown", (event) => this.down(event));
    element.addEventListener("pointermove", (event) => this.move(event));
    element.addEventListener("pointerup", (event) => this.up(event));
    element.addEventListener("pointercancel", () => (this.dragging = false));
    element.addEventListener("pointerleave", () => this.leave());
    element.addEventListener("keydown", (event) => this.pressed(event));
    element.addEventListener("scroll", () => this.scrolled());
  }

  /** @param {number} from the first character that changed */
  update(from) {
    const { trace } = this.app;
    if (from < this.to) this.drop(Math.max(from, this.from));
    if (this.app.pinned && this.from >= trace.begin && this.to - this.from >= WINDOW) return;
    if (from === Infinity && this.to === trace.end) return;
    if (this.to < trace.begin || this.to === this.from) return this.show(trace.end - WINDOW, trace.end);
    this.append(this.to, Math.min(trace.end, this.to + WINDOW));
    if (this.to < trace.end) return this.show(trace.end - WINDOW, trace.end);
    while (this.rows.length > 1 && (this.to - this.rows[1].start >= WINDOW || this.rows[0].start < trace.begin)) {
      this.rows.shift()?.element.remove();
      this.from = this.rows[0].start;
    }
    this.grown = true;
    this.point();
  }

  /** Show another window. @param {number} from @param {number} to */
  show(from, to) {
    const { trace } = this.app;
    this.element.replaceChildren();
    this.rows = [];
    this.current = null;
    this.from = this.to = Math.max(trace.begin, from);
    this.append(this.from, Math.min(trace.end, to));
    this.grown = true;
    this.point();
    this.showBrush();
  }

  /** @param {number} from */
  drop(from) {
    while (this.rows.length && this.rows[this.rows.length - 1].start >= from) this.rows.pop()?.element.remove();
    const row = this.rows[this.rows.length - 1];
    row?.tiles.splice(from - row.start).forEach((each) => each.remove());
    this.to = from;
    if (!this.rows.length) this.from = from;
    if (this.current && !this.current.isConnected) this.current = null;
  }

  /** @param {number} from @param {number} to */
  append(from, to) {
    if (from >= to) return;
    const { passage } = this.app;
    const { signal, values } = this.colouring();
    const found = values(from, to);
    const scale = scaleOf(signal);
    let row = this.rows[this.rows.length - 1];
    for (let at = from; at < to; at += 1) {
      const before = passage.piece(at - 1);
      if (!row || (at > row.start && before === "\n") || (at - row.start > ROW && before === " ")) {
        row = { start: at, element: make("div", { class: "line" }), tiles: [] };
        this.rows.push(row);
        this.element.append(row.element);
      }
      const piece = passage.piece(at);
      const each = document.createElement("span");
      each.className = `${scale}-${stepOf(signal, found[at - from])}`;
      each.textContent = tile(piece);
      if (piece === "\n") each.classList.add("mark");
      this.places.set(each, at);
      row.tiles.push(each);
      row.element.append(each);
    }
    this.to = to;
  }

  /** Colour all tiles anew. */
  recolour() {
    const { signal, values } = this.colouring();
    const found = values(this.from, this.to);
    const scale = scaleOf(signal);
    for (const { start, tiles } of this.rows)
      tiles.forEach((each, number) => {
        const name = `${scale}-${stepOf(signal, found[start + number - this.from])}`;
        const old = each.classList.item(0);
        if (old && old !== name) each.classList.replace(old, name);
      });
  }

  /** @param {number} at @returns {HTMLElement | null} */
  tileAt(at) {
    if (at < this.from || at >= this.to) return null;
    let [low, high] = [0, this.rows.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.rows[middle].start <= at) low = middle;
      else high = middle - 1;
    }
    return this.rows[low]?.tiles[at - this.rows[low].start] ?? null;
  }

  /** Show which character is selected; bring it into the window if it stays selected. */
  point() {
    const { selection, pinned } = this.app;
    if (pinned && selection.at >= 0 && (selection.at < this.from || selection.at >= this.to))
      return this.show(selection.at - WINDOW / 2, selection.at + WINDOW / 2);
    const found = this.tileAt(selection.at);
    if (found === this.current) return;
    this.current?.classList.remove("here");
    found?.classList.add("here");
    this.current = found;
    if (found && pinned && this.resting === undefined) this.reveal(found);
  }

  /** Scroll the strip, and only the strip, to a tile. @param {HTMLElement} found */
  reveal(found) {
    const { element } = this;
    const [box, own] = [found.getBoundingClientRect(), element.getBoundingClientRect()];
    if (box.top < own.top + 8) element.scrollTop -= own.top + 8 - box.top + own.height / 3;
    else if (box.bottom > own.bottom - 8) element.scrollTop += box.bottom - own.bottom + 8 + own.height / 3;
  }

  showBrush() {
    const { from, to } = this.app.brush ?? { from: 0, to: 0 };
    for (let at = this.brushed.from; at < this.brushed.to; at += 1) this.tileAt(at)?.classList.remove("brushed");
    for (let at = from; at < to; at += 1) this.tileAt(at)?.classList.add("brushed");
    this.brushed = { from, to };
  }

  /** @param {PointerEvent} event @returns {number} the character under the pointer, -1 if there is none */
  under(event) {
    const found = document.elementFromPoint(event.clientX, event.clientY);
    return (found && this.places.get(found)) ?? -1;
  }

  /** @param {PointerEvent} event */
  down(event) {
    if (event.button) return;
    this.anchor = this.under(event);
    this.dragging = this.anchor >= 0;
    if (this.dragging) event.preventDefault(); // no selection of text
    this.element.focus({ preventScroll: true });
  }

  /** @param {PointerEvent} event */
  move(event) {
    const at = this.under(event);
    if (at < 0) return;
    const { app } = this;
    if (this.dragging && at !== this.anchor)
      app.mark({ from: Math.min(at, this.anchor), to: Math.max(at, this.anchor) + 1 });
    if (event.pointerType !== "mouse" || at === app.selection.at) return;
    if (this.resting === undefined) this.resting = app.pinned ? app.selection.at : null;
    app.select({ at });
  }

  /** @param {PointerEvent} event */
  up(event) {
    const at = this.under(event);
    if (this.dragging && at >= 0 && at === this.anchor) {
      this.app.mark(null);
      this.resting = at;
      this.app.select({ at });
    }
    this.dragging = false;
  }

  leave() {
    if (this.resting !== undefined) this.app.select({ at: this.resting });
    this.resting = undefined;
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const { app } = this;
    const { trace, selection } = app;
    if (event.ctrlKey || event.metaKey || event.altKey || trace.end === trace.begin) return;
    if (event.key === "Escape") {
      if (app.brush) app.mark(null);
      else app.select({ at: null });
      return;
    }
    const here = selection.at;
    let at = -1;
    if (event.key === "ArrowLeft") at = here - 1;
    else if (event.key === "ArrowRight") at = here + 1;
    else if (event.key === "Home") at = trace.begin;
    else if (event.key === "End") at = trace.end - 1;
    else if (event.key === "ArrowUp") at = this.beside(here, -1);
    else if (event.key === "ArrowDown") at = this.beside(here, 1);
    else return;
    event.preventDefault();
    at = Math.max(trace.begin, Math.min(trace.end - 1, at));
    this.resting = undefined;
    if (event.shiftKey) {
      if (this.anchor < 0 || !app.brush) this.anchor = here;
      app.mark({ from: Math.min(at, this.anchor), to: Math.max(at, this.anchor) + 1 });
    } else if (!app.brush) this.anchor = -1;
    app.select({ at });
    this.moved();
  }

  /** The character in the line above or below. @param {number} at @param {-1 | 1} way */
  beside(at, way) {
    const box = this.tileAt(at)?.getBoundingClientRect();
    if (!box) return at;
    let [best, distance, top] = [at, Infinity, NaN];
    for (let next = at + way; ; next += way) {
      const other = this.tileAt(next)?.getBoundingClientRect();
      if (!other) return best;
      if (way * (other.top - box.top) < box.height / 2) continue;
      if (!Number.isNaN(top) && Math.abs(other.top - top) > box.height / 2) return best;
      top = other.top;
      if (Math.abs(other.left - box.left) < distance) [best, distance] = [next, Math.abs(other.left - box.left)];
    }
  }

  /** Show more of the text when its end in the window comes near. */
  scrolled() {
    const { element, app } = this;
    const { trace } = app;
    const first = this.tileAt(this.from);
    if (element.scrollTop < 20 && this.from > trace.begin && first) this.shift(this.from - WINDOW / 2, first);
    const last = this.tileAt(this.to - 1);
    if (
      app.pinned &&
      this.to < trace.end &&
      last &&
      element.scrollTop + element.clientHeight > element.scrollHeight - 20
    )
      this.shift(this.from + WINDOW / 2, last);
  }

  /** Show another window, in which a tile stays where it is. @param {number} from @param {HTMLElement} kept */
  shift(from, kept) {
    const at = this.places.get(kept) ?? 0;
    const top = kept.getBoundingClientRect().top;
    if (!this.app.pinned) {
      this.app.pinned = true;
      this.app.selection.at = Math.max(from, this.app.trace.begin) + WINDOW / 2;
      this.app.tell("select");
    }
    this.show(from, from + WINDOW);
    const now = this.tileAt(at)?.getBoundingClientRect().top;
    if (now !== undefined) this.element.scrollTop += now - top;
  }
}
