// @ts-check
// Three lists beside the text: the ledger of the chosen unit, the units that are on in a brushed stretch only, and the
// findings of `charlstm inspect --units`. All their rows are buttons that lead to what they name.

import { inBrief, named, printable } from "./characters.js";
import { drawnAs, paint } from "./colours.js";
import { byId, figure, make, say } from "./dom.js";
import { keeps, largest, ledgerOf } from "./ledger.js";
import { placesLike, unitsOn } from "./matches.js";

/** @typedef {import("./state.js").App} App */
/** @typedef {import("./state.js").Finding} Finding */

const SHARES = 8;
const MOST_UNITS = 48;
const MOST_PLACES = 12;
const EVERY = 150; // ms between two drawings of a list while the text grows

/** Characters between their neighbours. @param {App} app @param {number} from @param {number} to
 * @param {number} around */
function inContext(app, from, to, around) {
  const { passage } = app;
  return [
    make("span", { class: "around before" }, inBrief(passage.text(Math.max(passage.begin, from - around), from))),
    make("mark", {}, inBrief(passage.text(from, to))),
    make("span", { class: "around" }, inBrief(passage.text(to, Math.min(passage.end, to + around)))),
  ];
}

/** Calls a function at most every so often, but always a last time. @param {() => void} draw */
function unhurried(draw) {
  let timer = 0;
  return () => {
    if (!timer)
      timer = window.setTimeout(() => {
        timer = 0;
        draw();
      }, EVERY);
  };
}

/** What each character put into the chosen unit, as far as it is still there at the selected one. */
export class LedgerPanel {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.list = byId("shares", HTMLElement);
    this.sum = byId("ledger-sum", HTMLElement);
    this.kept = keeps(app.model.shape.cell);
    this.rows = Array.from({ length: SHARES }, () => {
      const context = make("span", { class: "context" });
      const fill = make("span", { class: "fill" });
      const value = make("span", { class: "value" });
      const track = make("span", { class: "track", "aria-hidden": "true" }, fill);
      const told = make("span", { class: "unseen" });
      const button = make("button", { type: "button" }, context, track, value, told);
      const row = make("li", { class: "bar middle", hidden: true }, button);
      button.addEventListener("click", () => app.select({ at: Number(row.dataset.at) }));
      return { row, context, fill, value, told };
    });
    this.list.append(...this.rows.map(({ row }) => row));
    app.view(
      this.list,
      ["text", "select", "theme"],
      unhurried(() => this.draw()),
    );
    this.draw();
  }

  /** The ledger at the selected character; null if there is none. */
  ledger() {
    const { trace, selection } = this.app;
    const { layer, unit, at } = selection;
    if (!this.kept || at < trace.begin || at >= trace.end) return null;
    const { gate, state } = this.kept;
    return ledgerOf(
      trace.row(layer, state, unit, trace.begin, at + 1),
      trace.row(layer, gate, unit, trace.begin, at + 1),
      trace.value(layer, state, unit, trace.begin - 1),
    );
  }

  draw() {
    const { app, kept } = this;
    const ledger = this.ledger();
    if (!kept)
      return say(this.sum, "The units of this cell compute their state anew at every character: they keep nothing.");
    const places = ledger ? largest(ledger.shares, SHARES) : [];
    const most = ledger && places.length ? Math.abs(ledger.shares[places[0]]) : 1;
    this.rows.forEach(({ row, context, fill, value, told }, number) => {
      const place = places[number];
      row.hidden = place === undefined;
      if (!ledger || place === undefined) return;
      const share = ledger.shares[place];
      const at = app.trace.begin + place;
      row.dataset.at = String(at);
      context.replaceChildren(...inContext(app, at, at + 1, 6));
      say(told, `, from ${named(app.passage.piece(at))}, character ${at}`);
      say(value, figure(share, 3));
      const length = (50 * Math.abs(share)) / most;
      fill.style.left = `${50 - (share < 0 ? length : 0)}%`;
      fill.style.width = `${length}%`;
      fill.style.backgroundColor = paint("c", share < 0 ? -1 : 1, app.theme());
    });
    if (!ledger) return say(this.sum, "Nothing has been read yet.");
    const shown = places.reduce((sum, place) => sum + ledger.shares[place], 0);
    const rest = ledger.value - ledger.carried - shown;
    say(
      this.sum,
      `${kept.state} = ${figure(ledger.value, 3)}: ${figure(shown, 3)} from these characters, ${figure(rest, 3)} ` +
        `from all others, ${figure(ledger.carried, 3)} from before them.`,
    );
  }
}

/** The units that are on inside a brushed stretch and off beside it. */
export class BrushPanel {
  /** @param {App} app */
  constructor(app) {
    this.app = app;
    this.threshold = byId("threshold", HTMLInputElement);
    this.list = byId("on-units", HTMLElement);
    this.places = byId("places", HTMLElement);
    const draw = unhurried(() => this.draw());
    this.threshold.addEventListener("input", draw);
    app.on("brush", draw);
    app.on("select", () => {
      const { layer, signal } = app.selection;
      if (this.layer !== layer || this.signal !== signal) draw();
      else this.press();
    });
    this.layer = -1;
    this.signal = "";
    this.draw();
  }

  press() {
    this.list.querySelectorAll("button").forEach((button) => {
      button.setAttribute("aria-pressed", String(Number(button.dataset.unit) === this.app.selection.unit));
    });
  }

  draw() {
    const { app } = this;
    const { trace, brush, passage } = app;
    const { layer, signal } = app.selection;
    this.layer = layer;
    this.signal = signal;
    const threshold = Number(this.threshold.value);
    say(byId("threshold-is", HTMLOutputElement), figure(threshold));
    const panel = byId("brush-found", HTMLElement);
    panel.hidden = !brush;
    byId("brush-none", HTMLElement).hidden = Boolean(brush);
    if (!brush) return;
    /** @param {number} at */
    const column = (at) => trace.column(layer, signal, at).map((value) => drawnAs(signal, value));
    const inside = [];
    for (let at = brush.from; at < brush.to; at += 1) inside.push(column(at));
    const beside = [brush.from - 1, brush.to].filter((at) => at >= trace.begin && at < trace.end).map(column);
    const found = unitsOn(inside, beside, threshold);
    const units = found.slice(0, MOST_UNITS);
    say(
      byId("brush-said", HTMLElement),
      `‘${inBrief(passage.text(brush.from, brush.to), 32)}’: ` +
        (found.length === 1 ? "1 unit is on" : `${found.length} units are on`) +
        ` in it and not beside it${found.length > MOST_UNITS ? `; the clearest ${MOST_UNITS}` : ""}.`,
    );
    this.list.replaceChildren(
      ...units.map(({ unit, sign }) => {
        const button = make("button", { type: "button", class: "chip", "data-unit": unit, "aria-pressed": "false" });
        button.append(`${unit} `, make("span", { class: sign < 0 ? "low" : "high" }, sign < 0 ? "−" : "+"));
        button.addEventListener("click", () => app.select({ unit }));
        return make("li", {}, button);
      }),
    );
    this.press();
    const rows = units.map(({ unit }) =>
      trace.row(layer, signal, unit, trace.begin, trace.end).map((value) => drawnAs(signal, value)),
    );
    const [from, to] = [brush.from - trace.begin, brush.to - trace.begin];
    const places = placesLike(rows, units, threshold, from, to, MOST_PLACES);
    byId("places-title", HTMLElement).hidden = !units.length;
    byId("places-none", HTMLElement).hidden = !units.length || Boolean(places.length);
    this.places.replaceChildren(
      ...places.map((place) => {
        const [begin, end] = [place.from + trace.begin, place.to + trace.begin];
        const button = make(
          "button",
          { type: "button" },
          make("span", { class: "context" }, ...inContext(app, begin, end, 14)),
        );
        button.append(make("span", { class: "value" }, `${Math.round(place.share * units.length)} of ${units.length}`));
        button.addEventListener("click", () => app.select({ at: begin }));
        return make("li", {}, button);
      }),
    );
  }
}

/** How well a finding follows its label, in words. @param {Finding} finding */
function scoreOf(finding) {
  const { auc, r2, low, high } = finding;
  const score = auc === null || auc === undefined ? `R² ${figure(r2 ?? NaN)}` : `AUC ${figure(auc)}`;
  const interval = Number.isFinite(low) ? ` (${figure(low)} to ${figure(high)})` : "";
  return `${score}${interval}${auc !== null && auc < 0.5 ? ", low where it is true" : ""}`;
}

/** List what a search has found: first what stands, then what does not count. @param {App} app
 * @param {{ rows: Finding[], others: Finding[], units: number, characters: number } | null} search */
export function listFindings(app, search) {
  byId("findings", HTMLElement).hidden = !search;
  if (!search) return;
  app.findings = search.rows;
  say(
    byId("findings-said", HTMLElement),
    `${search.units.toLocaleString("en")} units were searched along ${search.characters.toLocaleString("en")} ` +
      "characters, chosen on one half and scored on the other." +
      (search.rows.length ? "" : " None follows a label better than chance and simple predictors do."),
  );
  /** @param {Finding} finding @param {boolean} stands */
  const row = (finding, stands) => {
    const { layer, unit, signal, label } = finding;
    const button = make("button", { type: "button" });
    button.append(
      make("strong", {}, printable(label)),
      make("span", { class: "value" }, `unit ${layer}:${unit}, ${signal}`),
      make("span", { class: "score" }, `${scoreOf(finding)}${stands ? "" : " · does not stand"}`),
    );
    button.addEventListener("click", () => app.select({ layer: layer - 1, unit, signal }));
    app.on("select", () => {
      const { selection } = app;
      button.setAttribute("aria-pressed", String(selection.layer === layer - 1 && selection.unit === unit));
    });
    return make("li", { class: stands ? "stands" : "falls" }, button);
  };
  byId("found", HTMLElement).append(...search.rows.map((finding) => row(finding, true)));
  byId("not-found", HTMLElement).append(...search.others.map((finding) => row(finding, false)));
  byId("not-found-box", HTMLElement).hidden = !search.others.length;
}
