// @ts-check
// The selected unit at the selected character -> one step of its cell as a drawing, as equations and as a sentence.

import { figure, make, say, Speaker } from "./dom.js";
import { planOf } from "./plans.js";
import { listenToKeys, playerOf } from "./player.js";
import { equationsOf, readStep, sentenceOf, signOf, writtenAt } from "./steps.js";

const NARROW = 700; // CSS pixels
const PAUSE = 100; // ms that a step stays while the text grows
const CALLED = {
  lstm: "a long short-term memory (LSTM)",
  peephole: "an LSTM with peepholes",
  coupled: "an LSTM with one gate for forgetting and writing",
  gru: "a gated recurrent unit (GRU)",
  rnn: "a simple recurrent network",
};

/**
 * Build the drawing of one step into a container; it follows the selection.
 * @param {HTMLElement} container
 * @param {import("./steps.js").DrawnApp} app
 */
export function mountCell(container, app) {
  const { cell, layers, hiddenSize: size, ngrams } = app.model.shape;
  const keys = "Drawing of the step. The left and right arrow keys step along the text, space plays and pauses.";
  const drawing = make("div", { class: "cell-figure", role: "group", tabindex: 0, "aria-label": keys });
  const sentence = make("p", { class: "cell-sentence" });
  const equations = make("ol", { class: "cell-equations" });
  const fill = tableOf(equations);
  const passage = make("p", { class: "cell-passage" });
  const place = make("span", { class: "cell-place" });
  const speech = make("p", { class: "unseen", "aria-live": "polite" });
  const speaker = new Speaker(speech);
  let [playing, spoke, drew, drawn] = [false, 0, 0, ""];
  /** @type {import("./plumbing.js").Sketch | null} */
  let sketch = null;

  const player = playerOf(app, (plays, beat) => {
    playing = plays;
    container.classList.toggle("cell-playing", plays && beat > 0.2);
    container.style.setProperty("--beat", `${Math.min(0.4, beat * 0.7)}s`);
    ask();
  });
  player.element.append(place);
  container.classList.add("cell");
  const notes = notesOf(cell, size);
  container.append(player.element, passage, drawing, sentence, equations, notes, speech);
  listenToKeys(container, player);

  function draw() {
    const step = readStep(app);
    container.classList.toggle("cell-empty", !step);
    const told = step ? sentenceOf(step) : "Write or read a text, and its steps are drawn here.";
    say(sentence, told);
    if (!step) return;
    const plan = { cell, wide: drawing.clientWidth >= NARROW, layer: step.layer, layers, size, ngrams };
    if (!sketch || drawn !== `${plan.wide} ${plan.layer}`) {
      drawn = `${plan.wide} ${plan.layer}`;
      sketch = planOf(plan);
      sketch.svg.classList.add(plan.wide ? "cell-wide" : "cell-narrow");
      drawing.replaceChildren(sketch.svg);
    }
    container.classList.toggle("cell-quick", performance.now() - drew < 200); // too fast for motion
    drew = performance.now();
    sketch.show(step, `One step of ${CALLED[/** @type {"rnn"} */ (cell)]}`, told);
    fill(step);
    const { trace } = app;
    /** @param {number} from @param {number} to */
    const stretch = (from, to) => {
      let text = "";
      for (let at = Math.max(from, trace.begin); at < Math.min(to, trace.end); at++) text += signOf(writtenAt(app, at));
      return text;
    };
    const before = stretch(step.at - (plan.wide ? 24 : 14), step.at);
    passage.replaceChildren(before, make("mark", {}, signOf(step.text)), stretch(step.at + 1, step.at + 25));
    say(place, `character ${step.at} (${trace.begin} to ${trace.end - 1})`);
    // A screen reader hears of the steps that are taken here; while it plays, of one every few seconds.
    if (container.contains(document.activeElement) && (!playing || performance.now() - spoke > 6000)) {
      spoke = performance.now();
      speaker.say(told);
    }
  }
  const ask = app.view(drawing, ["select", "text"], draw, PAUSE);
  new ResizeObserver(ask).observe(container);
  ask();
}

/**
 * A row for each equation, and what puts the numbers of a step in.
 * @param {HTMLElement} list
 */
function tableOf(list) {
  /** @type {{ numbers: HTMLElement, result: HTMLElement }[]} */
  let rows = [];
  /** @param {import("./steps.js").Step} step */
  return (step) => {
    const equations = equationsOf(step);
    if (!rows.length) {
      rows = equations.map(([key, symbols, about]) => {
        const name = key === "c" || key === "h" ? `new ${key}` : key;
        const [numbers, result] = [make("span"), make("b", { class: "cell-number", "data-equation": key })];
        const left = make("span", {}, make("b", {}, name), ` = ${symbols} `);
        list.append(make("li", { "data-row": key }, left, make("span", {}, numbers, result), make("small", {}, about)));
        return { numbers, result };
      });
    }
    for (const [place, [key, , , numbers, exact]] of equations.entries()) {
      const value = step.values[key];
      const sign = Math.abs((exact ?? value) - value) < 0.0005 ? "=" : "≈";
      say(rows[place].numbers, `${numbers ? `= ${numbers} ` : ""}${sign}\u00a0`);
      say(rows[place].result, figure(value, 3));
    }
  };
}

/**
 * Explain the signs of the drawing.
 * @param {string} cell
 * @param {number} size units of a layer
 */
function notesOf(cell, size) {
  const valves = "A valve is open from 0 (shut, pale) to 1 (open, green) and multiplies what flows through it. ";
  return make(
    "p",
    { class: "cell-notes" },
    "The wider a stream and the deeper its colour, the larger the number: blue is negative, red is positive. " +
      (cell === "rnn" ? "" : valves) +
      `Each box with a curve has its own weights W, U and b and sums x and the old h of all ${size} units with them; ` +
      "σ then squashes the sum to 0 … 1, tanh to −1 … 1. Numbers are rounded; h is stored in steps of 1/127.",
  );
}
