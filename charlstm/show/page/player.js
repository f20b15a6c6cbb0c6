// @ts-check
// Buttons and keys -> the selected character moves along the text, by one or by itself.

import { make } from "./dom.js";
import { heldOf } from "./steps.js";

const SPEEDS = [1, 2, 4, 8, 16]; // characters a second

/**
 * Return a control that steps and plays along the text, and what moves it from elsewhere.
 * @param {import("./steps.js").DrawnApp} app
 * @param {(playing: boolean, beat: number) => void} changed is told whether it plays, and the seconds for a character
 */
export function playerOf(app, changed) {
  let timer = 0;
  const button = (/** @type {string} */ words) => make("button", { type: "button" }, words);
  const [back, play, forward] = [button("← Back"), button("▶\uFE0E Play"), button("Forward →")];
  const speed = make("select");
  for (const each of SPEEDS) speed.append(make("option", { value: each }, String(each)));
  speed.value = "2";

  /** @param {number} by @returns {boolean} whether there was such a character */
  function step(by) {
    const { trace, selection } = app;
    const to = heldOf(trace, selection.at + by);
    if (to === selection.at || trace.end === trace.begin) return false;
    app.select({ at: to });
    return true;
  }
  const beat = () => 1 / Number(speed.value);
  function tell() {
    play.textContent = timer ? "❚❚ Pause" : "▶\uFE0E Play";
    changed(timer !== 0, beat());
  }
  function pause() {
    window.clearTimeout(timer);
    timer = 0;
    tell();
  }
  function go() {
    if (!step(1)) return pause();
    timer = window.setTimeout(go, 1000 * beat());
  }
  function toggle() {
    if (timer) return pause();
    const { trace, selection } = app;
    if (selection.at >= trace.end - 1) app.select({ at: trace.begin });
    timer = window.setTimeout(go, 1000 * beat());
    tell();
  }
  /** @param {number} by */
  function move(by) {
    if (timer) pause();
    step(by);
  }
  back.addEventListener("click", () => move(-1));
  forward.addEventListener("click", () => move(1));
  play.addEventListener("click", toggle);
  speed.addEventListener("change", tell);
  const named = make("label", {}, "Characters per second ", speed);
  const group = { class: "cell-controls", role: "group", "aria-label": "Move along the text" };
  return { element: make("div", group, back, play, forward, named), move, toggle };
}

/**
 * Let keys inside an element move along the text: arrows step, space plays and pauses.
 * @param {HTMLElement} element
 * @param {{ move(by: number): void, toggle?(): void }} player
 */
export function listenToKeys(element, { move, toggle }) {
  element.addEventListener("keydown", (event) => {
    const target = /** @type {Element} */ (event.target);
    if (event.ctrlKey || event.altKey || event.metaKey || target.matches("select, input, textarea")) return;
    if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "ArrowRight") move(1);
    else if (event.key === " " && toggle && !target.matches("button, summary, a")) toggle();
    else return;
    event.preventDefault();
  });
}
