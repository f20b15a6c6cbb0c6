// @ts-check
// The section Write: from a prompt and settings to a text that streams, stops, goes on, and branches.

import { byId, figure, make, say, Speaker } from "./dom.js";
import { named } from "./characters.js";
import { END } from "./passage.js";
import { Sheet } from "./sheet.js";

/** @typedef {import("./state.js").App} App */
/** @typedef {import("./passage.js").Options} Options */
/** @typedef {import("./passage.js").Piece} Piece */

/** Characters per second. @type {Record<string, number>} */
const PACES = { slow: 6, reading: 24, quick: 80, fast: Infinity };
const TOLD_EVERY = 200; // ms
const SEEDS = BigInt(2) ** BigInt(63);
const WHY = {
  length: "the length was reached",
  stop: "the stop text came",
  end: "the document ended",
};

/** A stop text as typed: \n and \t stand for a line end and a tab. @param {string} text */
export function unescaped(text) {
  /** @type {Record<string, string>} */
  const meant = { n: "\n", t: "\t", "\\": "\\" };
  return text.replace(/\\([nt\\])/g, (_, letter) => meant[letter]);
}

/** @param {string} text of a number field @returns {number | null} null if it is empty or no number */
export function numberIn(text) {
  const value = Number(text);
  return text.trim() === "" || !Number.isFinite(value) ? null : value;
}

/** @param {string} text @returns {bigint | null} */
export function seedIn(text) {
  return /^\d{1,19}$/.test(text.trim()) && BigInt(text.trim()) < SEEDS ? BigInt(text.trim()) : null;
}

/** Say which characters of a text the model does not know. @param {import("./passage.js").Model} model
 * @param {string} text @param {HTMLElement} note */
export function noteUnknown(model, text, note) {
  const { unknownId } = model;
  const unknown =
    unknownId === null ? [] : [...new Set(text)].filter((character) => model.encode(character).includes(unknownId));
  note.hidden = !unknown.length;
  const some = unknown.slice(0, 5).map(named).join(", ");
  say(note, `The model has never seen ${some}${unknown.length > 5 ? " …" : ""}.`);
}

export class Writer {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    /** @type {Iterator<Piece> | null} */
    this.source = null;
    /** Whether the text is being written. */
    this.writing = false;
    /** Counts what was begun, so that what is no longer wanted ends. */
    this.turn = 0;
    this.ticket = 0;
    this.owed = 0;
    this.then = 0;
    this.emitted = 0;
    this.began = 0;
    this.stoppedBy = "";
    this.written = 0;
    this.speed = 0;
    this.branches = 0;
    /** Whether to write at full speed, whatever the pace. */
    this.hasty = false;
    /** Called when the text has ended. @type {(value?: any) => void} */
    this.ended = () => {};
    this.fields = {
      prompt: byId("prompt", HTMLTextAreaElement),
      temperature: byId("temperature", HTMLInputElement),
      length: byId("length", HTMLInputElement),
      topK: byId("top-k", HTMLInputElement),
      topP: byId("top-p", HTMLInputElement),
      minP: byId("min-p", HTMLInputElement),
      seed: byId("seed", HTMLInputElement),
      stop: byId("stop", HTMLInputElement),
      voice: byId("voice", HTMLSelectElement),
    };
    this.buttons = {
      go: byId("go", HTMLButtonElement),
      on: byId("on", HTMLButtonElement),
      another: byId("another", HTMLButtonElement),
      copy: byId("copy", HTMLButtonElement),
    };
    /** Read anew at every character. @type {Options} */
    this.options = { length: 0, temperature: 1, topK: null, topP: null, minP: null, seed: 0, stops: [] };
    this.speaker = new Speaker(byId("said", HTMLElement));
    this.sheet = new Sheet(
      app,
      byId("sheet", HTMLElement),
      (at) => void this.branch(at),
      (text) => this.speaker.say(text),
    );
    this.log = new Log(app, byId("written", HTMLElement), () => this.writing);
    this.listen();
    this.settings();
    this.show();
  }

  listen() {
    const { app, fields, buttons } = this;
    if (app.model.labels.length) {
      byId("voice-row", HTMLElement).hidden = false;
      fields.voice.append(...app.model.labels.map((label, number) => make("option", { value: number }, label)));
    }
    for (const field of Object.values(fields)) field.addEventListener("input", () => this.settings());
    buttons.go.addEventListener("click", () => (this.writing ? this.stop() : void this.begin()));
    buttons.on.addEventListener("click", () => this.goOn());
    buttons.another.addEventListener("click", () => {
      this.reseed();
      void this.begin();
    });
    buttons.copy.addEventListener("click", () => void this.copy());
    fields.prompt.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      void this.begin();
    });
    app.view(byId("tally", HTMLElement), ["text"], () => this.show(), TOLD_EVERY);
  }

  /** Take the settings from their fields; what is no number, or out of bounds, is marked and left out. */
  settings() {
    const { fields, options } = this;
    /** @param {HTMLInputElement} field @param {(value: number) => boolean} fits @returns {number | null} */
    const taken = (field, fits) => {
      const value = numberIn(field.value);
      const wrong = field.validity.badInput || (value !== null && !fits(value));
      field.setAttribute("aria-invalid", String(wrong));
      return wrong ? null : value;
    };
    options.temperature = taken(fields.temperature, (value) => value >= 0) ?? 1;
    options.topK = taken(fields.topK, (value) => value >= 1 && Number.isInteger(value));
    options.topP = taken(fields.topP, (value) => value > 0 && value <= 1);
    options.minP = taken(fields.minP, (value) => value >= 0 && value <= 1);
    options.length = taken(fields.length, (value) => value >= 1 && Number.isInteger(value)) ?? Infinity;
    const seed = seedIn(fields.seed.value);
    fields.seed.setAttribute("aria-invalid", String(seed === null));
    options.seed = seed ?? BigInt(0);
    options.stops = fields.stop.value ? [unescaped(fields.stop.value)] : [];
    say(byId("temperature-is", HTMLOutputElement), figure(options.temperature));
    noteUnknown(this.app.model, fields.prompt.value, byId("unknown", HTMLElement));
  }

  /** The label that the text begins with. */
  label() {
    const { model } = this.app;
    const { voice } = this.fields;
    return voice.value === "" ? model.drawnLabel(this.options.seed) : model.labels[Number(voice.value)];
  }

  /** Write a text from the prompt. @param {number} [length] at most
   * @returns {Promise<void>} when the prompt was read */
  async begin(length = Infinity) {
    const turn = this.halt();
    const { app } = this;
    this.branches = 0;
    app.pinned = false;
    this.written = 0;
    app.passage.restart(this.label());
    app.passage.prompt = app.model.encode(this.fields.prompt.value).length;
    await app.slices(app.passage.become(this.fields.prompt.value, app.passage.label), () => turn === this.turn);
    if (turn === this.turn) await this.write(this.options.seed, length);
  }

  /** Stop what is being done; the generator is kept, so that the text can go on as if it had not stopped. */
  halt() {
    this.writing = false;
    this.hasty = false;
    this.ended();
    this.source = null;
    return ++this.turn;
  }

  /** Another text is wanted. */
  interrupt() {
    this.halt();
    this.stoppedBy = "";
    this.show();
  }

  /** Write something to begin with, which is the same on every machine. @param {number} length @param {boolean} atOnce
   * @returns {Promise<void>} when it was written, if at once */
  async introduce(length, atOnce) {
    await this.begin(length);
    this.hasty = atOnce;
    if (atOnce && this.writing) await new Promise((done) => (this.ended = done));
  }

  stop() {
    this.writing = false;
    this.stoppedBy = "you stopped it";
    this.show();
  }

  goOn() {
    if (this.source && !this.writing) this.resume();
    else if (!this.writing) {
      this.halt();
      void this.write(this.nextSeed());
    }
  }

  /** Another seed than that of the text, for what goes on after it. */
  nextSeed() {
    this.branches += 1;
    return (BigInt(this.options.seed) + BigInt(this.branches)) % SEEDS;
  }

  /** Write on after this character, and forget what followed it. @param {number} at */
  async branch(at) {
    this.halt();
    this.app.passage.cut(at + 1);
    await this.write(this.nextSeed());
  }

  /** @param {number | bigint} seed @param {number} [most] characters */
  async write(seed, most = Infinity) {
    const { app, options, turn } = this;
    await app.slices(app.passage.catchUp(), () => turn === this.turn);
    if (turn !== this.turn) return;
    // The settings may change while it writes; the seed may not.
    const live = Object.create(options, {
      seed: { value: seed },
      length: { get: () => Math.min(most, options.length) },
    });
    this.source = app.model.write(app.passage.state, live, app.trace);
    this.began = app.passage.end;
    this.emitted = 0;
    this.resume();
  }

  resume() {
    this.writing = true;
    this.stoppedBy = "";
    this.owed = 1;
    this.then = performance.now();
    this.show();
    const ticket = ++this.ticket;
    this.app.work((deadline) => ticket === this.ticket && this.step(deadline));
  }

  /** Write as many characters as are due. @param {number} deadline @returns {boolean} whether to go on */
  step(deadline) {
    const { source, app } = this;
    if (!this.writing || !source) return false;
    const now = performance.now();
    const pace = this.hasty
      ? Infinity
      : (PACES[String(new FormData(byId("settings", HTMLFormElement)).get("pace"))] ?? Infinity);
    const passed = Math.min(now - this.then, 250) / 1000;
    this.then = now;
    this.owed = pace === Infinity ? Infinity : Math.min(this.owed + pace * passed, Math.max(1, pace));
    let count = 0;
    while (this.owed >= 1) {
      const { value, done } = this.next(source);
      if (done) return (this.finish("length"), false);
      app.passage.grow(value.id);
      this.emitted += value.text.length;
      this.owed -= 1;
      count += 1;
      if (value.stopped) return (this.finish(value.stopped), false);
      if (performance.now() >= deadline) break;
    }
    this.written += count;
    if (passed) this.speed += (count / passed - this.speed) * 0.05;
    return true;
  }

  /** @param {Iterator<Piece>} source @returns {IteratorResult<Piece>} */
  next(source) {
    try {
      return source.next();
    } catch (problem) {
      this.finish(problem instanceof Error ? problem.message : String(problem));
      throw problem;
    }
  }

  /** @param {string} why */
  finish(why) {
    this.writing = false;
    this.ended();
    this.source = null;
    this.stoppedBy = WHY[/** @type {keyof typeof WHY} */ (why)] ?? why;
    if (why === "stop") this.withoutStop();
    this.show();
  }

  /** Take the stop text off the end again: it has been read, but is no part of the text. */
  withoutStop() {
    const { passage } = this.app;
    let at = this.began;
    for (let length = 0; at < passage.end && length + passage.piece(at).length <= this.emitted; at += 1)
      length += passage.piece(at).length;
    passage.cut(at);
    void this.app.slices(passage.catchUp());
  }

  reseed() {
    this.fields.seed.value = String((BigInt(this.options.seed) + BigInt(1)) % SEEDS);
    this.settings();
  }

  async copy() {
    const text = this.app.passage.text().replace(END, "");
    const { copy } = this.buttons;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = make("textarea", { class: "unseen", "aria-hidden": "true" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      copy.focus();
    }
    this.speaker.say("Copied");
    say(copy, "Copied");
    setTimeout(() => say(copy, "Copy"), 1500);
  }

  /** Show what can be done, and how far the text is. */
  show() {
    const { buttons, app } = this;
    const { begin, end, label } = app.passage;
    say(buttons.go, this.writing ? "Stop" : "Write");
    buttons.on.disabled = this.writing || end === begin;
    buttons.copy.disabled = end === begin;
    const parts = [`${end.toLocaleString("en")} characters`];
    if (begin) parts.push(`the last ${(end - begin).toLocaleString("en")} are kept`);
    if (this.writing && this.speed > 1) parts.push(`${Math.round(this.speed).toLocaleString("en")} a second`);
    if (label !== null) parts.push(`voice: ${label}`);
    if (!this.writing && this.stoppedBy) parts.push(this.stoppedBy);
    say(byId("tally", HTMLElement), parts.join(" · "));
  }
}

/** What a screen reader hears of the text: sentences, in batches; of very fast writing, how much there is. */
class Log {
  /** @param {App} app @param {HTMLElement} element @param {() => boolean} writing */
  constructor(app, element, writing) {
    this.app = app;
    this.element = element;
    this.writing = writing;
    this.from = 0;
    this.timer = 0;
    // What the page writes to begin with would talk over what is being read.
    app.on("text", ({ from }) => {
      if (!navigator.userActivation?.hasBeenActive) return void (this.from = app.passage.end);
      this.from = Math.min(this.from, Math.max(from, app.passage.given));
      if (!this.timer) this.timer = window.setTimeout(() => this.flush(), 2_000);
    });
  }

  flush() {
    const { passage } = this.app;
    this.timer = 0;
    this.from = Math.max(this.from, passage.begin, Math.min(passage.given, passage.end));
    const fresh = passage.text(this.from);
    if (!fresh) return;
    if (fresh.length > 400) {
      this.add(`${passage.end.toLocaleString("en")} characters`);
      this.from = passage.end;
      return;
    }
    const sentence = Math.max(...[". ", "! ", "? ", "\n"].map((end) => fresh.lastIndexOf(end))) + 1;
    const length = !this.writing() || fresh.length > 160 ? fresh.length : sentence;
    if (length) this.add(fresh.slice(0, length));
    let rest = length;
    while (rest > 0) rest -= Math.max(1, passage.piece(this.from++).length);
    if (this.writing() || this.from < passage.end) this.timer = window.setTimeout(() => this.flush(), 2_000);
  }

  /** @param {string} text */
  add(text) {
    this.element.append(make("p", {}, text));
    while (this.element.children.length > 4) this.element.firstElementChild?.remove();
  }
}
