// @ts-check
// In: a vocabulary. Out: text <-> ids, by characters or by bytes, as charlstm/text/tokenizer.py has it.

const LAST_CODE = 0x110002; // of <start>
const FRAMES = ["<start>", "<end>"];

/** What each id stands for, and how text becomes ids and back. */
export class Tokenizer {
  /**
   * @param {string} kind "char" or "byte"
   * @param {string[]} names what each id stands for
   * @param {string[]} labels
   */
  constructor(kind, names, labels) {
    this.kind = kind;
    this.names = names;
    this.labels = labels;
    const framed = names.length > 1 && names.slice(-2).join() === FRAMES.join();
    const known = names.length - (framed ? 2 : 0);
    /** @type {number | null} */
    this.unknownId = kind === "char" ? 0 : null;
    /** @type {number | null} */
    this.endId = framed ? known + 1 : null;
    /** @type {number | null} of <start> */
    this.startId = framed ? known : null;
    /** @type {Map<string, number>} */
    this.ids = new Map();
    if (kind === "char") names.slice(1, known).forEach((name, at) => this.ids.set(name, at + 1));
    this.newline = kind === "char" ? (this.ids.get("\n") ?? 0) : 10;
    /** What each id writes by itself. */
    this.texts = names.map((name, id) => {
      if (id >= known || id === this.unknownId) return "";
      return kind === "char" ? name : id < 128 ? String.fromCharCode(id) : "";
    });
    /** Ids that are never written. */
    this.never = [this.unknownId, this.startId].filter((id) => id !== null);
    const own = names.slice(0, known).map((name, id) => {
      if (kind === "byte") return id + 1;
      return id === this.unknownId ? 0x110001 : Number(name.codePointAt(0)) + 1;
    });
    /** What n-grams hash for each id, those of labels included. */
    this.codes = [...own, ...(framed ? [LAST_CODE, 0] : []), ...labels.map(() => LAST_CODE)];
  }

  /**
   * Returns the ids read before a text.
   * @param {string | null} [label] of the text
   */
  opening(label) {
    const number = label === null || label === undefined ? -1 : this.labels.indexOf(label);
    if (number < 0 && label !== null && label !== undefined) throw new Error(`this model has no label "${label}"`);
    if (this.startId === null || this.endId === null) return [this.newline];
    return [this.endId, number < 0 ? this.startId : this.names.length + number];
  }

  /**
   * Returns the ids of a text; an unknown character becomes <unk>.
   * @param {string} text
   * @returns {number[]}
   */
  encode(text) {
    if (this.kind === "byte") return bytesOfText(text);
    return Array.from(text, (character) => this.ids.get(character) ?? 0);
  }

  /** Returns a decoder for ids that come one after the other. */
  decoder() {
    return new Decoder(this);
  }
}

/** Turns ids into text, one after the other. */
class Decoder {
  /** @param {Tokenizer} tokenizer */
  constructor(tokenizer) {
    this.tokenizer = tokenizer;
    this.utf8 = tokenizer.kind === "byte" ? new TextDecoder("utf-8", { ignoreBOM: true }) : null;
    this.last = 0;
    /** @type {number[]} */
    this.waiting = [];
  }

  /**
   * Returns the text that an id completes; by bytes, a character waits for its last byte.
   * @param {number} id
   */
  text(id) {
    if (!this.utf8) return id === this.tokenizer.unknownId ? "\ufffd" : (this.tokenizer.texts[id] ?? "");
    if (id > 255) return "";
    const bytes = [...this.waiting, id];
    // Python waits for the third byte of half a character (ED A0 to ED BF), the decoder of browsers does not.
    const waits = this.last === 0xed && id >= 0xa0 && id < 0xc0;
    this.last = id;
    this.waiting = waits ? bytes : [];
    return waits ? "" : this.utf8.decode(Uint8Array.from(bytes), { stream: true });
  }
}

/**
 * Returns the bytes of a text in UTF-8; a lone surrogate U+DC80 to U+DCFF stands for a stray byte (PEP 383).
 * @param {string} text
 */
export function bytesOfText(text) {
  const bytes = [];
  for (const character of text) {
    const code = Number(character.codePointAt(0));
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code >= 0xdc80 && code <= 0xdcff) bytes.push(code & 0xff);
    else if (code >= 0xd800 && code <= 0xdfff) throw new Error("the text has half a character; remove it");
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return bytes;
}
