// @ts-check
// What the sections share: the model, the passage and its trace, what is selected, and when to draw. Whatever happens
// is told once per animation frame, and work that takes longer is cut into slices between frames.

import { Passage, traceCapacity } from "./passage.js";

/** @typedef {import("./passage.js").Model} Model */
/** @typedef {{ at: number, layer: number, unit: number, signal: string }} Selection at: -1 if there is no text; layer
 * and unit from 0 */
/** @typedef {{ layer: number, unit: number, signal: string, label: string, [more: string]: any }} Finding */
/** @typedef {"select" | "text" | "theme" | "brush" | "drawn"} EventName */

const LEAST_SLICE = 2; // ms of work per frame
const MOST_SLICE = 10;
const LATE = 19; // ms between two frames, from which there is too much work in them
const OUT_OF_SIGHT = 500; // ms between two drawings of what is not in sight

/** @param {string} hash such as #unit=1:233&at=512 @returns {{ layer?: number, unit?: number, at?: number,
 * signal?: string }} layer and unit from 0 */
export function parsedLink(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  /** @type {{ layer?: number, unit?: number, at?: number, signal?: string }} */
  const found = {};
  const unit = /^(\d{1,6}):(\d{1,6})$/.exec(fields.get("unit") ?? "");
  if (unit && Number(unit[1])) Object.assign(found, { layer: Number(unit[1]) - 1, unit: Number(unit[2]) });
  if (/^\d{1,9}$/.test(fields.get("at") ?? "")) found.at = Number(fields.get("at"));
  if (fields.get("signal")) found.signal = String(fields.get("signal"));
  return found;
}

/** @param {Selection} selection @param {boolean} pinned whether the character belongs to it @param {string} usual the
 * signal that need not be said */
export function linkTo({ layer, unit, at, signal }, pinned, usual) {
  return `#unit=${layer + 1}:${unit}${pinned ? `&at=${at}` : ""}${signal === usual ? "" : `&signal=${signal}`}`;
}

export class App {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    this.trace = model.trace(traceCapacity(model.shape));
    this.passage = new Passage(model, this.trace);
    /** @type {Finding[]} */
    this.findings = [];
    const { signals } = model.shape;
    /** @type {Selection} */
    this.selection = { at: -1, layer: 0, unit: 0, signal: signals.includes("c") ? "c" : "h" };
    /** The signal that a link need not name. */
    this.usual = this.selection.signal;
    /** Whether the selected character stays while the text grows. */
    this.pinned = false;
    /** The stretch of text that was brushed. @type {{ from: number, to: number } | null} */
    this.brush = null;
    /** @type {Map<string, Set<(detail: any) => void>>} */
    this.listeners = new Map();
    /** @type {Set<EventName>} */
    this.due = new Set();
    /** @type {((deadline: number) => boolean)[]} */
    this.tasks = [];
    this.waiting = false;
    this.shownEnd = 0;
    this.slice = MOST_SLICE / 2;
    this.then = 0;
    /** Whether what is told now comes from a longer text, not from a person. */
    this.growing = false;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.quiet = matchMedia("(prefers-reduced-motion: reduce)");
  }

  /** @param {EventName} event @param {(detail?: any) => void} listener @returns {() => void} undoes it */
  on(event, listener) {
    const all = this.listeners.get(event) ?? new Set();
    this.listeners.set(event, all.add(listener));
    return () => void all.delete(listener);
  }

  /** @param {EventName} event @param {unknown} [detail] */
  emit(event, detail) {
    this.listeners.get(event)?.forEach((listener) => listener(detail));
  }

  /** Draw in every frame in which something happens while an element is in sight, and now and then while it is not.
   * @param {Element} element @param {EventName[]} events @param {(from: number) => void} draw given the first character
   * that changed @param {number} [pause] ms between two drawings because of a longer text @returns {() => void} draws
   * it anew, for another reason */
  view(element, events, draw, pause = 0) {
    let seen = true;
    let from = Infinity;
    let due = false;
    let timer = 0;
    let last = -Infinity;
    const go = () => {
      clearTimeout(timer);
      timer = 0;
      if (!due) return;
      const changed = from;
      due = false;
      from = Infinity;
      last = performance.now();
      draw(changed);
    };
    new IntersectionObserver((entries) => {
      seen = entries[entries.length - 1].isIntersecting;
      if (seen) go();
    }).observe(element);
    /** @param {number} wait */
    const ask = (wait) => {
      due = true;
      if (wait <= 0) go();
      else if (!timer) timer = window.setTimeout(go, wait);
    };
    for (const event of events)
      this.on(event, (detail) => {
        if (event === "text") from = Math.min(from, detail.from);
        const growing = this.growing || event === "text";
        ask(event === "theme" ? 0 : !seen ? OUT_OF_SIGHT : growing ? last + pause - performance.now() : 0);
      });
    addEventListener("beforeprint", go);
    return () => ask(seen ? 0 : OUT_OF_SIGHT);
  }

  /** Tell of it in the next frame. @param {EventName} event */
  tell(event) {
    this.due.add(event);
    this.wake();
  }

  /** Work in every frame until it returns false. @param {(deadline: number) => boolean} task */
  work(task) {
    this.tasks.push(task);
    this.wake();
  }

  /** Run a generator in slices. @template T @param {Iterator<void, T>} steps @param {() => boolean} [wanted]
   * @returns {Promise<T | undefined>} undefined if it was not wanted any more */
  slices(steps, wanted = () => true) {
    return new Promise((done, failed) => {
      this.work((deadline) => {
        try {
          do {
            if (!wanted()) return (done(undefined), false);
            const step = steps.next();
            if (step.done) return (done(step.value), false);
          } while (performance.now() < deadline);
          return true;
        } catch (problem) {
          failed(problem);
          return false;
        }
      });
    });
  }

  wake() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame((now) => this.frame(now));
  }

  /** @param {number} now */
  frame(now) {
    this.waiting = false;
    const passed = now - this.then;
    this.then = now;
    // As much work as leaves time to draw 60 frames a second, whatever the machine.
    if (passed > LATE) this.slice = Math.max(LEAST_SLICE, this.slice * 0.85);
    else this.slice = Math.min(MOST_SLICE, this.slice + 0.1);
    const deadline = performance.now() + this.slice;
    const tasks = this.tasks;
    this.tasks = [];
    for (const task of tasks) {
      try {
        if (task(deadline)) this.tasks.push(task);
      } catch (problem) {
        reportError(problem); // one that fails does not take the others with it
      }
    }
    const { passage } = this;
    if (passage.changed < this.shownEnd || passage.end !== this.shownEnd) {
      const from = Math.min(passage.changed, this.shownEnd);
      this.shownEnd = passage.end;
      passage.changed = passage.end;
      this.growing = true;
      this.settle();
      this.emit("text", { from });
    }
    const due = this.due;
    this.due = new Set();
    due.forEach((event) => this.emit(event));
    this.growing = false;
    this.emit("drawn"); // only now is anything measured, so that the page is laid out once
    if (this.tasks.length || this.due.size) this.wake();
  }

  /** Keep the selection and the brush within the text. */
  settle() {
    const { trace, selection } = this;
    if (this.brush && (this.brush.to > trace.end || this.brush.from < trace.begin)) this.mark(null);
    if (this.pinned && (selection.at >= trace.end || selection.at < trace.begin)) this.pinned = false;
    const at = this.pinned ? selection.at : trace.end - 1;
    if (at === selection.at) return;
    selection.at = at;
    this.due.add("select");
  }

  /** Select something; `at` null follows the end of the text. @param {Partial<Omit<Selection, "at">> & { at?: number |
   * null }} wanted */
  select(wanted) {
    const { selection, trace, model } = this;
    const { layers, hiddenSize, signals } = model.shape;
    /** @param {number} value @param {number} low @param {number} high */
    const within = (value, low, high) => Math.max(low, Math.min(high, Math.round(value)));
    if (wanted.layer !== undefined) selection.layer = within(wanted.layer, 0, layers - 1);
    if (wanted.unit !== undefined) selection.unit = within(wanted.unit, 0, hiddenSize - 1);
    if (wanted.signal !== undefined && signals.includes(wanted.signal)) selection.signal = wanted.signal;
    if (wanted.at === null) this.pinned = false;
    else if (wanted.at !== undefined && trace.end > trace.begin) {
      selection.at = within(wanted.at, trace.begin, trace.end - 1);
      this.pinned = true;
    }
    if (!this.pinned) selection.at = trace.end > trace.begin ? trace.end - 1 : -1;
    this.tell("select");
  }

  /** Brush a stretch of text. @param {{ from: number, to: number } | null} brush */
  mark(brush) {
    this.brush = brush;
    this.tell("brush");
  }

  /** @returns {"light" | "dark"} */
  theme() {
    const chosen = document.documentElement.dataset.theme;
    return chosen === "light" || chosen === "dark" ? chosen : this.dark.matches ? "dark" : "light";
  }

  /** Whether nothing should move by itself. */
  still() {
    return this.quiet.matches;
  }
}
