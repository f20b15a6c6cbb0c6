// @ts-check
// Opens the model and puts the page together: the sections, the theme, the link to what is selected.

import { byId, say } from "./dom.js";
import { tileRules } from "./colours.js";
import { mountCell } from "./cell.js";
import { doorOf } from "./door.js";
import { keeps } from "./ledger.js";
import { Look } from "./look.js";
import { openModel } from "./model.js";
import { timeScale } from "./order.js";
import { listFindings } from "./panels.js";
import { App, linkTo, parsedLink } from "./state.js";
import { mountUnrolled } from "./unrolled.js";
import { Writer } from "./write.js";

const LINK_PAUSE = 600; // ms: browsers stop listening to those who change their link too often
const AT_FIRST = 600; // characters that the page writes by itself
const AT_MOST = 5_000; // if a link leads further on in that text
const OF_UNIT = 200; // characters that a unit is chosen by

/** @param {string} id */
function contentOf(id) {
  return document.getElementById(id)?.textContent ?? "";
}

/** What the model is, in a sentence. @param {import("./passage.js").Model} model @param {number} weights */
function about({ shape, engineName }, weights) {
  /** @type {Record<string, string>} */
  const names = {
    lstm: "An LSTM",
    peephole: "An LSTM with peepholes",
    coupled: "An LSTM with coupled gates",
    gru: "A GRU",
    rnn: "A simple recurrent network",
  };
  const layers = shape.layers === 1 ? "one layer" : `${shape.layers} layers`;
  const size = weights < 1e5 ? weights.toLocaleString("en") : `${(weights / 1e6).toFixed(2)} million`;
  const how = engineName === "wasm" ? "WebAssembly" : "JavaScript";
  const network = `${names[shape.cell] ?? shape.cell} with ${layers} of ${shape.hiddenSize} units and ${size} weights`;
  return `${network}. It computes here, in ${how}; nothing leaves this page.`;
}

/** The button for light and dark, and who wants to know. @param {App} app */
function themes(app) {
  const button = byId("theme", HTMLButtonElement);
  const show = () => {
    button.setAttribute("aria-pressed", String(app.theme() === "dark"));
    app.tell("theme");
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = app.theme() === "dark" ? "light" : "dark";
    show();
  });
  app.dark.addEventListener("change", show);
  // Paper is white.
  let before = "";
  addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme ?? "";
    document.documentElement.dataset.theme = "light";
    app.emit("theme");
  });
  addEventListener("afterprint", () => {
    if (before) document.documentElement.dataset.theme = before;
    else delete document.documentElement.dataset.theme;
    app.emit("theme");
  });
  show();
}

/** Keep the link true to the selection, and the selection to the link. @param {App} app */
function links(app) {
  let timer = 0;
  app.on("select", () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      const link = linkTo(app.selection, app.pinned, app.usual);
      if (link !== location.hash) history.replaceState(null, "", link);
    }, LINK_PAUSE);
  });
  addEventListener("hashchange", () => {
    if (location.hash.includes("=")) app.select(parsedLink(location.hash));
  });
}

/** Choose the unit with the longest memory, as `charlstm inspect` does, along a text of the model's own.
 * @param {App} app @param {() => boolean} wanted */
async function chooseUnit(app, wanted) {
  const { model } = app;
  const kept = keeps(model.shape.cell);
  if (!kept) return;
  const trace = model.trace(OF_UNIT);
  const options = { length: OF_UNIT, temperature: 0.8, topK: null, topP: null, minP: null, seed: 1, stops: [] };
  const text = model.write(model.begin(), options, trace);
  /** @returns {Generator<void, number>} */
  function* steps() {
    while (!text.next().done) yield;
    const scales = Array.from({ length: model.shape.hiddenSize }, (_, unit) =>
      timeScale(trace.row(0, kept?.gate ?? "", unit, 0, trace.end)),
    );
    return scales.indexOf(Math.max(...scales));
  }
  const unit = await app.slices(steps(), wanted);
  if (unit !== undefined && wanted()) app.select({ unit });
}

/** @param {App} app @param {Look} look @param {Writer} writer */
async function open(app, look, writer) {
  /** @type {{ text: string, findings: any } | null} */
  const passage = JSON.parse(contentOf("passage") || "null");
  const wanted = parsedLink(location.hash);
  app.select({ ...wanted, at: null });
  listFindings(app, passage?.findings ?? null);
  const length = Math.min(AT_MOST, Math.max(AT_FIRST, (wanted.at ?? 0) + 1));
  const first = passage?.findings?.rows[0];
  if (first && wanted.unit === undefined) app.select({ ...first, layer: first.layer - 1, at: null });
  if (wanted.unit === undefined && !first)
    void chooseUnit(app, () => app.selection.layer === 0 && app.selection.unit === 0);
  if (passage) {
    byId("text", HTMLTextAreaElement).value = passage.text;
    await look.read(passage.text);
  } else await writer.introduce(length, wanted.at !== undefined || app.still());
  if (wanted.at !== undefined) app.select({ at: wanted.at });
}

async function start() {
  const manifest = JSON.parse(contentOf("manifest"));
  const engine = new URLSearchParams(location.search).get("engine") === "js" ? "js" : "auto";
  /** @type {any} The interface that the sections are written on says less than the model is. */
  const opened = await openModel(manifest, contentOf("weights"), { engine, kernel: contentOf("kernel") || undefined });
  /** @type {import("./passage.js").Model} */
  const model = opened;
  const sheet = document.styleSheets[0];
  for (const rule of tileRules()) sheet.insertRule(rule, sheet.cssRules.length);
  say(byId("name", HTMLElement), model.name);
  say(byId("about", HTMLElement), about(model, manifest.weights ?? manifest.bytes));
  const app = new App(model);
  Object.assign(window, { charlstm: doorOf(model) });
  const writer = new Writer(app);
  const look = new Look(app, () => writer.interrupt());
  mountCell(byId("cell", HTMLElement), app);
  mountUnrolled(byId("unrolled", HTMLElement), app);
  themes(app);
  links(app);
  byId("app", HTMLElement).removeAttribute("aria-busy");
  await open(app, look, writer);
}

start().catch((error) => {
  const problem = byId("problem", HTMLElement);
  problem.hidden = false;
  say(problem, `This page cannot be shown: ${error instanceof Error ? error.message : String(error)}`);
  throw error;
});
