// @ts-check
// The sheet: the text as it is written, in lines of plain text nodes, however long it gets; and the place in it from
// which to go on, by pointer or keyboard.

import { named } from "./characters.js";
import { make } from "./dom.js";

/** @typedef {import("./state.js").App} App */
/** @typedef {{ start: number, end: number, given: boolean, node: Text }} Run */
/** @typedef {{ start: number, element: HTMLElement, runs: Run[] }} Block */

const LONGEST = 2_000; // characters of a block, after which another one begins without a line end

export class Sheet {
  /** @param {App} app @param {HTMLElement} element @param {(at: number) => void} branch @param {(text: string) => void}
   * tell what the keyboard's place is */
  constructor(app, element, branch, tell) {
    this.app = app;
    this.element = element;
    this.branch = branch;
    this.tell = tell;
    /** @type {Block[]} */
    this.blocks = [];
    this.shown = 0;
    this.follows = true;
    this.grown = false;
    /** The character that the keyboard or the pointer is at. */
    this.place = -1;
    this.caret = make("div", { class: "caret", hidden: true, "aria-hidden": "true" });
    element.append(this.caret);
    app.on("text", ({ from }) => this.update(from));
    app.on("drawn", () => this.follow());
    element.addEventListener("scroll", () => {
      this.follows = element.scrollTop + element.clientHeight >= element.scrollHeight - 24;
    });
    element.addEventListener("pointermove", (event) => this.mark(this.at(event.clientX, event.clientY)));
    element.addEventListener("pointerleave", () => this.mark(-1));
    element.addEventListener("blur", () => this.mark(-1));
    element.addEventListener("click", (event) => this.clicked(event));
    element.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** @param {number} from the first character that changed */
  update(from) {
    const { passage } = this.app;
    if (from < this.shown) this.drop(from);
    while (this.blocks.length > 1 && this.blocks[1].start <= passage.begin) this.blocks.shift()?.element.remove();
    if (!this.blocks.length) this.shown = Math.max(this.shown, passage.begin);
    for (let at = Math.max(this.shown, passage.begin); at < passage.end;) at = this.append(at, passage.end);
    this.shown = passage.end;
    if (this.place >= passage.end || from <= this.place) this.mark(-1);
    this.grown = true;
  }

  /** Keep the end of the text in sight. */
  follow() {
    if (this.grown && this.follows) this.element.scrollTop = this.element.scrollHeight;
    this.grown = false;
  }

  /** @param {number} from */
  drop(from) {
    let block = this.blocks[this.blocks.length - 1];
    while (block && block.start >= from) {
      block.element.remove();
      this.blocks.pop();
      block = this.blocks[this.blocks.length - 1];
    }
    while (block && block.runs.length && block.runs[block.runs.length - 1].start >= from) {
      block.runs.pop()?.node.parentElement?.remove();
    }
    const run = block?.runs[block.runs.length - 1];
    if (run && run.end > from) {
      run.node.data = this.app.passage.text(run.start, from);
      run.end = from;
    }
    this.shown = from;
  }

  /** Append characters of one line and one kind. @param {number} at @param {number} end
   * @returns {number} the next one */
  append(at, end) {
    const { passage } = this.app;
    let block = this.blocks[this.blocks.length - 1];
    if (!block || at - block.start >= LONGEST || passage.piece(at - 1) === "\n") {
      block = { start: at, element: make("div", { class: "line" }), runs: [] };
      this.blocks.push(block);
      this.element.insertBefore(block.element, this.caret);
    }
    const given = at < passage.prompt;
    let run = block.runs[block.runs.length - 1];
    if (!run || run.given !== given) {
      run = { start: at, end: at, given, node: document.createTextNode("") };
      block.runs.push(run);
      block.element.append(make("span", given ? { class: "given" } : {}, run.node));
    }
    let text = "";
    const most = Math.min(given ? Math.min(end, passage.prompt) : end, block.start + LONGEST);
    while (at < most) {
      const piece = passage.piece(at);
      text += piece;
      at += 1;
      if (piece === "\n") break;
    }
    run.node.appendData(text);
    run.end = at;
    return at;
  }

  /** @param {number} at @returns {Range | null} around the character */
  range(at) {
    const block = this.blocks.filter((each) => each.start <= at).pop();
    const run = block?.runs.filter((each) => each.start <= at).pop();
    if (!run || at >= run.end) return null;
    const range = document.createRange();
    const before = this.app.passage.text(run.start, at).length;
    range.setStart(run.node, Math.min(before, run.node.length));
    range.setEnd(run.node, Math.min(before + this.app.passage.piece(at).length, run.node.length));
    return range;
  }

  /** The character at a point of the window, -1 if there is none. @param {number} x @param {number} y */
  at(x, y) {
    /** @type {any} */
    const page = document;
    const found = page.caretPositionFromPoint?.(x, y) ?? page.caretRangeFromPoint?.(x, y);
    const node = found?.offsetNode ?? found?.startContainer;
    const offset = found?.offset ?? found?.startOffset;
    for (let number = this.blocks.length - 1; number >= 0; number -= 1) {
      const run = this.blocks[number].runs.find((each) => each.node === node);
      if (!run) continue;
      let at = run.start;
      let length = 0;
      while (at < run.end - 1 && length + this.app.passage.piece(at).length <= offset)
        length += this.app.passage.piece(at++).length;
      // A caret is between two characters: take the one that the point is on.
      const box = this.range(at)?.getBoundingClientRect();
      return box && x < box.left && at > run.start ? at - 1 : at;
    }
    return -1;
  }

  /** @param {number} at */
  mark(at) {
    this.place = at;
    const box = at < 0 ? null : this.range(at)?.getBoundingClientRect();
    this.caret.hidden = !box;
    if (!box) return;
    const own = this.element.getBoundingClientRect();
    const { style } = this.caret;
    style.left = `${box.left - own.left - this.element.clientLeft + this.element.scrollLeft}px`;
    style.top = `${box.top - own.top - this.element.clientTop + this.element.scrollTop}px`;
    style.width = `${Math.max(2, box.width)}px`;
    style.height = `${box.height}px`;
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const selected = getSelection();
    if (selected && !selected.isCollapsed) return; // to copy a stretch is no branch
    const at = this.at(event.clientX, event.clientY);
    if (at >= 0) this.branch(at);
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const { passage } = this.app;
    if (event.ctrlKey || event.metaKey || event.altKey || passage.end === passage.begin) return;
    if (event.key === "Enter" && this.place >= 0) {
      event.preventDefault();
      this.branch(this.place);
      return;
    }
    const last = passage.end - 1;
    const here = this.place < 0 ? last : this.place;
    const steps = new Map([
      ["ArrowLeft", here - (this.place < 0 ? 0 : 1)],
      ["ArrowRight", here + 1],
      ["Home", passage.begin],
      ["End", last],
    ]);
    let at = steps.get(event.key) ?? -1;
    if (event.key === "ArrowUp" || event.key === "ArrowDown") at = this.beside(here, event.key === "ArrowUp" ? -1 : 1);
    if (at < 0) return;
    event.preventDefault();
    at = Math.max(passage.begin, Math.min(last, at));
    this.range(at)?.startContainer.parentElement?.scrollIntoView({ block: "nearest" });
    this.mark(at);
    this.tell(`${named(passage.piece(at))}, character ${at}; Enter goes on from here`);
  }

  /** The character above or below one. @param {number} at @param {-1 | 1} way */
  beside(at, way) {
    const box = this.range(at)?.getBoundingClientRect();
    if (!box) return at;
    const found = this.at(box.left + 1, way < 0 ? box.top - box.height * 0.6 : box.bottom + box.height * 0.6);
    return found < 0 ? at : found;
  }
}
