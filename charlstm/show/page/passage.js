// @ts-check
// The text that the page is about: what was read or written, character by character, with the trace of the network, and
// states from which it can go on anywhere. Only the last characters are kept, however long one writes.

/** @typedef {{ text: (id: number) => string }} Decoder */
/** @typedef {{ copy: () => State }} State */
/** @typedef {{ id: number, text: string, probability: number }} Likely */
/** @typedef {{ id: number, text: string, stopped: string | null, probability: number }} Piece */
/** @typedef {{ cell: string, layers: number, hiddenSize: number, embeddingSize: number, vocabSize: number,
 *   ngrams: number, gates: string[], signals: string[] }} Shape */
/** @typedef {{ length: number, temperature: number, topK: number | null, topP: number | null, minP: number | null,
 *   seed: number | bigint, stops: string[] }} Options */
/**
 * @typedef {object} Trace
 * @property {number} begin
 * @property {number} end
 * @property {(layer: number, signal: string, unit: number, at: number) => number} value
 * @property {(layer: number, signal: string, at: number, out?: Float32Array) => Float32Array} column
 * @property {(layer: number, signal: string, unit: number, from: number, to: number) => Float32Array} row
 * @property {(at: number) => number} surprise
 * @property {(at: number) => Likely[]} top
 * @property {(at: number) => number} id
 * @property {(at: number) => State | null} state
 * @property {(at?: number) => void} reset
 * @property {(end: number) => void} cut
 */
/**
 * @typedef {object} Model
 * @property {string} name
 * @property {string} id
 * @property {string} engineName
 * @property {Shape} shape
 * @property {string[]} vocabulary what each id writes
 * @property {string[]} names what each id is called
 * @property {string[]} labels
 * @property {number | null} unknownId
 * @property {number | null} endId
 * @property {(label?: string | null) => State} begin
 * @property {(text: string) => number[]} encode
 * @property {() => Decoder} decoder
 * @property {(state: State, id: number, trace?: Trace) => void} read
 * @property {(state: State, count: number) => Likely[]} top
 * @property {(state: State, id: number) => number} probability
 * @property {(state: State, options: Options, trace?: Trace) => Iterator<Piece>} write
 * @property {(capacity: number) => Trace} trace
 * @property {(seed: number | bigint) => string | null} drawnLabel
 */

/** What stands for the end of a document. */
export const END = "\u220e";

const KEPT = 20_000; // characters
const SPARE = 4_000; // dropped at a time
const APART = 256; // characters between two saved states
const AGAIN = 1_500; // characters traced anew after a cut before the trace
const TRACE_BYTES = 48e6;

/** How many characters a trace of this model may hold. @param {Shape} shape */
export function traceCapacity({ layers, hiddenSize, gates }) {
  const bytes = layers * hiddenSize * (2 * gates.length + 9);
  return Math.max(1_024, Math.min(KEPT, Math.floor(TRACE_BYTES / bytes)));
}

export class Passage {
  /** @param {Model} model @param {Trace} trace */
  constructor(model, trace) {
    this.model = model;
    this.trace = trace;
    /** @type {string | null} */
    this.label = null;
    /** The first character that is kept. */
    this.begin = 0;
    /** Characters before this one were given, not written. */
    this.given = 0;
    /** Characters before this one are the prompt. */
    this.prompt = 0;
    /** The first character that changed since the views were drawn. */
    this.changed = 0;
    /** @type {string[]} */
    this.pieces = [];
    /** @type {number[]} */
    this.ids = [];
    /** @type {{ at: number, state: State }[]} */
    this.saved = [];
    this.decoder = model.decoder();
    this.state = model.begin();
    /** How many characters the state has read: all of them, but after a cut. */
    this.stateAt = 0;
    this.restart(null);
  }

  get end() {
    return this.begin + this.pieces.length;
  }

  /** @param {number} at @returns {string} the character, "" if it is not kept */
  piece(at) {
    return this.pieces[at - this.begin] ?? "";
  }

  /** @param {number} from @param {number} to */
  text(from = this.begin, to = this.end) {
    return this.pieces.slice(Math.max(0, from - this.begin), Math.max(0, to - this.begin)).join("");
  }

  /** Begin an empty text. @param {string | null} label */
  restart(label) {
    this.label = label;
    this.begin = 0;
    this.given = 0;
    this.prompt = 0;
    this.changed = 0;
    this.pieces = [];
    this.ids = [];
    this.decoder = this.model.decoder();
    this.state = this.model.begin(label);
    this.saved = [{ at: 0, state: this.state.copy() }];
    this.stateAt = 0;
    this.trace.reset(0);
  }

  /** Take in a character that the state has read. @param {number} id */
  grow(id) {
    this.ids.push(id);
    this.stateAt += 1;
    this.pieces.push(id === this.model.endId ? END : this.decoder.text(id));
    if (this.end % APART === 0) this.saved.push({ at: this.end, state: this.state.copy() });
    if (this.pieces.length <= KEPT + SPARE) return;
    this.pieces = this.pieces.slice(SPARE);
    this.ids = this.ids.slice(SPARE);
    this.begin += SPARE;
    this.given = Math.max(this.given, this.begin);
    this.saved = this.saved.filter(({ at }) => at >= this.begin);
  }

  /** @param {number} id */
  read(id) {
    this.model.read(this.state, id, this.trace);
    this.grow(id);
  }

  /** Forget the characters from `at` on. The state is then that of a character before; `catchUp` is due. @param
   * {number} at */
  cut(at) {
    if (at >= this.end) return;
    const end = Math.max(at, this.saved[0].at);
    const again = this.trace.begin > this.saved[0].at && end - this.trace.begin < AGAIN / 4;
    const from = again ? Math.max(this.saved[0].at, end - AGAIN) : end;
    const nearest = this.saved.filter((each) => each.at <= from).pop() ?? this.saved[0];
    this.saved = this.saved.filter((each) => each.at <= end);
    const traced = again ? null : this.trace.state(end - 1);
    this.state = traced ?? nearest.state.copy();
    this.stateAt = traced ? end : nearest.at;
    if (again) this.trace.reset(nearest.at);
    else this.trace.cut(end);
    this.pieces.length = end - this.begin;
    this.ids.length = end - this.begin;
    this.given = Math.min(this.given, end);
    this.prompt = Math.min(this.prompt, end);
    this.changed = Math.min(this.changed, end);
    this.decoder = this.model.decoder();
  }

  /** Take the state to the end of the text. Yields between characters, and may be left there. @returns
   * {Generator<void, void>} */
  *catchUp() {
    while (this.stateAt < this.end) {
      const traced = this.stateAt === this.trace.end;
      this.model.read(this.state, this.ids[this.stateAt - this.begin], traced ? this.trace : undefined);
      if (traced) this.changed = Math.min(this.changed, this.stateAt);
      this.stateAt += 1;
      yield;
    }
  }

  /**
   * Make the text this one, keeping the beginning that both share. Yields between characters, and may be left there.
   * @param {string} text
   * @param {string | null} label
   * @returns {Generator<void, void>}
   */
  *become(text, label) {
    const ids = this.model.encode(text);
    if (this.begin || label !== this.label) this.restart(label);
    let same = 0;
    while (same < ids.length && ids[same] === this.ids[same]) same += 1;
    this.cut(same);
    this.given = this.end;
    yield* this.catchUp();
    for (let next = same; next < ids.length; next += 1) {
      this.read(ids[next]);
      this.given = this.end;
      yield;
    }
  }
}
