// @ts-check
// The section Look: the coloured text, the whole layer, and what is to be known of the selected character and unit.

import { openClz } from "./clz.js";
import { coloursOf, drawnAs, scaleOf } from "./colours.js";
import { byId, figure, make, say, Speaker } from "./dom.js";
import { HeatMap } from "./heatmap.js";
import { Here, meaningOf, signalName } from "./here.js";
import { largest } from "./ledger.js";
import { BrushPanel, LedgerPanel } from "./panels.js";
import { Strip } from "./strip.js";
import { noteUnknown } from "./write.js";

/** @typedef {import("./state.js").App} App */

const TYPING = 250; // ms without a key, after which a typed text is read
const HURRY = 200; // ms between two colourings anew while the text grows

export class Look {
  /** @param {App} app @param {() => void} halt stops writing: another text is wanted */
  constructor(app, halt) {
    this.app = app;
    this.halt = halt;
    this.colours = byId("colours", HTMLSelectElement);
    this.layer = byId("layer", HTMLSelectElement);
    this.unit = byId("unit", HTMLInputElement);
    this.text = byId("text", HTMLTextAreaElement);
    this.order = byId("order", HTMLSelectElement);
    this.turn = 0;
    this.shown = "";
    this.coloured = 0;
    this.speaker = new Speaker(byId("said", HTMLElement));
    this.here = new Here(app);
    const moved = () => setTimeout(() => this.speaker.say(this.here.spoken()), 50);
    this.strip = new Strip(app, byId("strip", HTMLElement), () => this.colouring(), moved);
    this.ledger = new LedgerPanel(app);
    this.heat = new HeatMap(
      app,
      byId("heat", HTMLCanvasElement),
      byId("heat-box", HTMLElement),
      (text) => say(byId("heat-said", HTMLElement), text || "Point at the map, or walk in it with the arrow keys."),
      moved,
    );
    new BrushPanel(app);
    this.controls();
    app.on("select", () => this.selected());
    app.on("theme", () => this.legend());
    app.on("text", () => this.grown());
  }

  controls() {
    const { app, layer, unit, order, text } = this;
    const { layers, hiddenSize, signals, cell } = app.model.shape;
    for (let number = 1; number <= layers; number += 1) layer.append(make("option", { value: number }, String(number)));
    unit.max = String(hiddenSize - 1);
    layer.addEventListener("change", () => app.select({ layer: Number(layer.value) - 1 }));
    unit.addEventListener("input", () => {
      if (unit.value !== "" && unit.validity.valid) app.select({ unit: Number(unit.value) });
    });
    byId("unit-less", HTMLButtonElement).addEventListener("click", () => app.select({ unit: app.selection.unit - 1 }));
    byId("unit-more", HTMLButtonElement).addEventListener("click", () => app.select({ unit: app.selection.unit + 1 }));
    byId("signal", HTMLElement).append(
      ...signals.map((signal) => {
        const input = make("input", { type: "radio", name: "signal", value: signal });
        input.addEventListener("change", () => app.select({ signal }));
        return make("label", { title: signalName(signal) }, input, make("span", {}, signal));
      }),
    );
    if (cell === "rnn") {
      this.colours.querySelector("[value=share]")?.remove();
      order.querySelector("[value=time]")?.remove();
    }
    this.colours.addEventListener("change", () => this.recolour());
    order.addEventListener("change", () => void this.heat.sort(order.value));
    this.archive();
    let timer = 0;
    text.addEventListener("input", () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => void this.read(text.value), TYPING);
    });
  }

  /** Open what `charlstm compress` wrote with this model. */
  archive() {
    const { app } = this;
    const file = byId("clz", HTMLInputElement);
    const stop = byId("clz-stop", HTMLButtonElement);
    const said = byId("clz-said", HTMLElement);
    let turn = 0;
    const end = () => {
      turn += 1;
      stop.hidden = true;
      file.value = "";
    };
    stop.addEventListener("click", () => {
      end();
      say(said, "Stopped.");
    });
    file.addEventListener("change", async () => {
      const chosen = file.files?.[0];
      if (!chosen) return;
      const own = ++turn;
      stop.hidden = false;
      try {
        const bytes = new Uint8Array(await chosen.arrayBuffer());
        /** @type {any} */
        const model = app.model;
        const steps = openClz(model, bytes, chosen.name);
        const told = this.told(steps, (share) => say(said, `${Math.floor(100 * share)} % read`));
        const text = await app.slices(told, () => own === turn);
        if (text === undefined) return;
        end();
        say(said, `${chosen.name}: ${text.length.toLocaleString("en")} characters`);
        this.text.value = text;
        void this.read(text);
      } catch (problem) {
        if (own !== turn) return;
        end();
        say(said, problem instanceof Error ? problem.message : String(problem));
      }
    });
  }

  /** Tell of each step of a generator. @template T @param {Generator<number, T>} steps @param {(share: number) => void}
   * tell @returns {Generator<void, T>} */
  *told(steps, tell) {
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
      tell(step.value);
      yield;
    }
  }

  /** Read another text. @param {string} text @returns {Promise<void>} when all of it was read */
  async read(text) {
    const { app } = this;
    this.halt();
    const turn = ++this.turn;
    noteUnknown(app.model, text, byId("text-note", HTMLElement));
    if (app.passage.prompt) app.passage.restart(app.passage.label); // it is no prompt any more
    await app.slices(app.passage.become(text, app.passage.label), () => turn === this.turn);
    if (turn === this.turn && this.order.value !== "number") void this.heat.sort(this.order.value);
  }

  /** What the text is coloured by. @returns {import("./strip.js").Colouring} */
  colouring() {
    const { app } = this;
    const { trace, selection } = app;
    const { layer, unit, signal } = selection;
    if (this.colours.value === "bits")
      return {
        signal: "bits",
        values: (from, to) => Float32Array.from({ length: to - from }, (_, at) => trace.surprise(from + at)),
      };
    if (this.colours.value === "share") {
      const { begin } = trace;
      const shares = this.ledger.ledger()?.shares ?? new Float64Array(0);
      const most = Math.abs(shares[largest(shares, 1)[0]] ?? 1);
      return {
        signal: "share",
        values: (from, to) =>
          Float32Array.from({ length: to - from }, (_, at) => (shares[from - begin + at] ?? 0) / most),
      };
    }
    return {
      signal,
      values: (from, to) => trace.row(layer, signal, unit, from, to).map((value) => drawnAs(signal, value)),
    };
  }

  recolour() {
    this.coloured = performance.now();
    this.strip.recolour();
    this.legend();
  }

  selected() {
    const { layer, unit, signal, at } = this.app.selection;
    this.layer.value = String(layer + 1);
    say(byId("signal-is", HTMLElement), meaningOf(signal));
    if (document.activeElement !== this.unit || Number(this.unit.value) !== unit) this.unit.value = String(unit);
    byId("signal", HTMLElement)
      .querySelectorAll("input")
      .forEach((input) => (input.checked = input.value === signal));
    const by = this.colours.value;
    const shown = `${layer}:${unit}:${signal}${by === "share" ? `:${at}` : ""}`;
    if (shown === this.shown) return;
    const anew = this.heat.by !== "number" && (this.heat.by !== "time" || !this.shown.startsWith(`${layer}:`));
    this.shown = shown;
    if (by !== "share" || this.app.pinned || performance.now() - this.coloured > HURRY) this.recolour();
    if (anew && by !== "share") void this.heat.sort(this.heat.by);
  }

  grown() {
    if (this.colours.value === "share" && performance.now() - this.coloured > HURRY) this.recolour();
  }

  /** The colours, and what they stand for. */
  legend() {
    const by = this.colours.value;
    const { signal, unit, at } = this.app.selection;
    const scale = by === "bits" ? "bits" : by === "share" ? "signed" : scaleOf(signal);
    const colours = coloursOf(scale, this.app.theme()).map((colour) => `rgb(${colour.join(" ")})`);
    byId("legend-bar", HTMLElement).style.background = `linear-gradient(to right, ${colours.join(", ")})`;
    const name =
      by === "bits"
        ? "surprise in bits"
        : by === "share"
          ? `share in unit ${unit} at character ${at}`
          : `${signal === "c" ? "tanh of the cell state" : signalName(signal)} of unit ${unit}`;
    say(byId("legend-name", HTMLElement), name);
    say(byId("legend-low", HTMLElement), scale === "signed" ? (by === "share" ? "less" : figure(-1, 0)) : "0");
    say(byId("legend-high", HTMLElement), scale === "bits" ? "8" : by === "share" ? "more" : "+1");
  }
}
