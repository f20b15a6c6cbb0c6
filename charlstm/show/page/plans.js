// @ts-check
// A cell -> its drawing: where the parts of each recurrence are, in a wide plan (time runs to the right) and in a
// narrow one (time runs down). The drawings say what network/cells.py computes, and nothing else.

import { Sketch } from "./plumbing.js";
import { NEIGHBOURS } from "./steps.js";

/** @typedef {{ cell: string, wide: boolean, layer: number, layers: number, size: number,
 * ngrams: number }} Plan */
/** @typedef {{ state: "c" | "h", keep: "f" | "z", offer: "g" | "n", linked: boolean }} Rail what flows along: the
 * state; the gate that keeps it; the candidate; whether one gate steers both valves */
/** @typedef {import("./plumbing.js").Anchor} Anchored */
/** @typedef {[x: number, y: number, from: string]} Tap where wires from x, h or both end */

/** Lay the pipe of the state: old, valve, plus, new; and through a valve of its own, the candidate.
 * @param {Sketch} s @param {boolean} wide @param {Rail} rail */
function layRail(s, wide, { state, keep, offer, linked }) {
  /** @type {(wider: string, narrower: string) => string} */
  const at = (wider, narrower) => (wide ? wider : narrower);
  const old = `${state}0`;
  /** @type {Anchored[]} */
  const [start, beside, writer] = wide ? ["start", "middle", "end"] : ["middle", "start", "start"];
  const [first, plus, second] = [at("225 110", "66 160"), at("420 110", "66 330"), at("420 215", "160 330")];
  const [vessel, source, box] = [at("64 110", "66 60"), at("420 330", "285 330"), at("225 330", "285 160")];
  s.pipe(old, `${vessel} ${first}`);
  s.pipe("kept", `${first} ${plus}`);
  s.pipe(offer, `${source} ${second}`);
  s.pipe("added", `${second} ${plus}`);
  s.pipe(state, `${plus} ${at("960 110", state === "c" ? "66 730" : "66 630")}`);
  s.tank(old, `old ${state}`, vessel);
  s.tank(state, `new ${state}`, at("560 110", "66 420"));
  s.sign("+", plus);
  s.valve(keep, first, !wide);
  s.valve("i", second, wide);
  s.curve("σ", keep, box);
  s.curve("tanh", offer, source);
  s.wire("cell-steer", `${box} ${at("225 151", "107 160")}`);

  const [keeper, share] = [keep === "f" ? "forget gate" : "update gate", linked ? `1 − ${keep}` : "i"];
  const [kept, added] = [`${keep} × old ${state}`, `${linked ? `(${share})` : share} × ${offer}`];
  s.write(at("225 42", "114 135"), keeper, beside);
  s.write(at("225 62", "114 153"), `${keep} = `, beside, keep);
  const low = state === "c"; // else there is a pipe
  s.write(at(low ? "468 325" : "468 284", "229 371"), "candidate", start);
  s.write(at(low ? "468 344" : "468 303", "229 389"), `${offer} = `, start, offer);
  s.write(at("376 168", linked ? "172 262" : "166 212"), linked ? "the same gate" : "input gate", writer);
  s.write(at("376 188", linked ? "172 280" : "166 230"), `${share} = `, writer, "i");
  s.aside(at("326 85", "88 204"), wide ? `${kept} = ` : kept, beside, wide ? "kept" : "");
  s.aside(at("444 163", "118 408"), wide ? `${added} = ` : added, "start", wide ? "added" : "");
  if (!wide) {
    s.aside("88 222", "= ", "start", "kept");
    s.aside("118 426", "= ", "start", "added");
  }
  if (linked) {
    const bend = at("225 215", "212 160");
    s.trunk("cell-steer", bend, bend);
    s.wire("cell-steer", at("225 215 380 215", "212 160 212 242 160 242 160 289"));
    s.sign("1 −", at("285 215", "212 204"));
  } else {
    s.curve("σ", "i", at("320 330", "285 240"));
    s.wire("cell-steer", at("320 330 320 215 380 215", "285 240 160 240 160 289"));
  }
}

/** Lay what follows the cell state of an LSTM: tanh, the output valve, h. @param {Sketch} s @param {boolean} wide */
function layOutput(s, wide) {
  s.pipe("c", wide ? "700 110 700 215" : "66 490 165 490");
  s.pipe("squashed", wide ? "700 215 810 215" : "165 490 165 590");
  s.pipe("h", wide ? "810 215 960 215" : "165 590 165 730");
  s.curve("tanh", "squashed", wide ? "700 215" : "165 490");
  s.valve("o", wide ? "810 215" : "165 590", !wide);
  s.curve("σ", "o", wide ? "810 330" : "285 590");
  s.wire("cell-steer", wide ? "810 330 810 256" : "285 590 206 590");
  s.tank("h", "new h", wide ? "900 215" : "165 672");
  s.write(wide ? "810 150" : "208 536", "output gate", wide ? "middle" : "start");
  s.write(wide ? "810 169" : "208 554", "o = ", wide ? "middle" : "start", "o");
  if (wide) s.aside("704 262", "tanh(c) = ", "middle", "squashed");
  else {
    s.aside("212 486", "tanh(c)", "start");
    s.aside("212 504", "= ", "start", "squashed");
  }
}

/** Lay x and the old h, and their wires to where they are summed. @param {Sketch} s @param {Plan} plan
 * @param {number} y of the wire of x, in a wide plan @param {Tap[]} taps */
function layInputs(s, { wide, layer, size, ngrams }, y, taps) {
  const count = Math.min(size, NEIGHBOURS);
  const top = wide ? y + 42 : 92; // of the strip of h
  if (layer) {
    s.strip("x", wide ? `12 ${y - 6}` : `${320 - 12 * count} 28`, wide ? 8 : 12, count);
    s.write(wide ? `12 ${y - 18}` : "320 20", `x: h of layer ${layer}`, wide ? "start" : "end");
  } else {
    s.glyph(wide ? `40 ${y}` : "240 36");
    const what = ngrams > 1 ? ["the last", `${ngrams} characters`] : ["this", "character"];
    if (wide) s.write(`12 ${y - 38}`, `x: ${what.join(" ")}`, "start");
    else {
      s.write("209 32", `x: ${what[0]}`, "end");
      s.write("209 49", what[1], "end");
    }
  }
  const left = wide ? 130 : 320 - 12 * count;
  const side = wide ? 20 : 12;
  s.strip("h", `${left} ${top}`, side, count);
  const all = s.write(wide ? `${left + side * count + 14} ${top + 15}` : `320 ${top - 7}`, "", wide ? "start" : "end");
  s.shown.push(({ around: { first } }) => {
    const drawn = wide && size > count ? ` (drawn: ${first} to ${first + count - 1})` : "";
    all.textContent = `old h of all ${size} units${drawn}`;
  });
  for (const kind of ["x", "h"]) {
    const [mine, shift] = [taps.filter((tap) => tap[2].includes(kind)), kind === "x" ? -9 : 9];
    const line = kind === "x" ? (wide ? y : 339) : wide ? y + 20 : 352; // where the trunk runs
    const ends = mine.map(([x, end]) => (wide ? x : end) + shift);
    const far = Math.max(...ends);
    const from = kind === "h" ? (wide ? `${left} ${top + 10} 100 ${top + 10} 100 ${line}` : `320 98 ${line} 98`) : "";
    const source = from || (wide ? `${layer ? 12 + 8 * count : 65} ${y}` : `${layer ? 320 : 265} 34 ${line} 34`);
    const knots = ends.map((end) => (wide ? `${end} ${line}` : `${line} ${end}`));
    s.trunk(`cell-${kind}`, `${source} ${wide ? `${far} ${line}` : `${line} ${far}`}`, ...knots);
    for (const [index, [x, end]] of mine.entries()) {
      s.wire(`cell-${kind}`, `${knots[index]} ${wide ? `${ends[index]} ${end}` : `${x} ${ends[index]}`}`);
    }
  }
}

/** Say where a pipe leads. @param {Sketch} s @param {boolean} wide @param {string} key what is in it
 * @param {string} end of it @param {[place: string, text: string][]} lines */
function layOutlet(s, wide, key, end, ...lines) {
  s.outlet(key, end, !wide);
  for (const [place, text] of lines) s.aside(place, text, wide ? "end" : "start");
}

/** An LSTM, with its peepholes, or its one gate for two valves, if it has them. @param {Plan} plan
 * @param {string} up where h goes besides the next character */
function lstmSketch(plan, up) {
  const { cell, wide } = plan;
  const s = wide ? new Sketch(1000, 490, 24) : new Sketch(360, 802);
  layRail(s, wide, { state: "c", keep: "f", offer: "g", linked: cell === "coupled" });
  layOutput(s, wide);
  if (cell === "peephole") {
    const [old, now] = wide ? ["150 110", "622 110"] : ["66 114", "66 462"];
    s.trunk("cell-peep", old, old, wide ? "150 276" : "244 114", now);
    s.wire("cell-peep", wide ? "150 110 150 330 185 330" : "66 114 285 114 285 133");
    s.wire("cell-peep", wide ? "150 276 270 276 270 318 280 318" : "244 114 244 200 285 200 285 213");
    s.wire("cell-peep", wide ? "622 110 622 330 770 330" : "66 462 305 462 305 563");
    if (wide) s.aside("142 216", "p × old c", "end");
    s.aside(wide ? "632 322" : "236 454", "p × new c", wide ? "start" : "middle");
  }
  /** @type {Tap[]} */
  const taps = wide
    ? [[225, 357, "xh"], [320, 357, "xh"], [420, 357, "xh"], [810, 357, "xh"]]
    : [[325, 160, "xh"], [325, 240, "xh"], [325, 330, "xh"], [325, 590, "xh"]];
  if (cell === "coupled") taps.splice(1, 1);
  layInputs(s, plan, 415, taps);
  if (wide) {
    layOutlet(s, wide, "c", "960 110", ["985 80", "c: to the next character"]);
    layOutlet(s, wide, "h", "960 215", ["990 268", `h: ${up}`], ["990 287", "and the next character"]);
  } else {
    layOutlet(s, wide, "c", "66 730", ["22 776", "c and h: to the next character"]);
    layOutlet(s, wide, "h", "165 730", ["22 794", `h also ${up}`]);
  }
  return s;
}

/** A gated recurrent unit. @param {Plan} plan @param {string} up */
function gruSketch(plan, up) {
  const { wide } = plan;
  const s = wide ? new Sketch(1000, 490, 24) : new Sketch(360, 690);
  layRail(s, wide, { state: "h", keep: "z", offer: "n", linked: true });
  s.pipe("", wide ? "790 330 420 330" : "285 520 285 330");
  s.valve("r", wide ? "640 330" : "285 440", !wide);
  s.curve("σ", "r", wide ? "640 225" : "165 520");
  s.wire("cell-steer", wide ? "640 225 640 289" : "165 520 165 440 244 440");
  s.product(wide ? "790 330" : "285 520");
  if (wide) s.write("652 276", "reset gate r = ", "start", "r");
  else {
    s.write("168 461", "reset gate", "start");
    s.write("168 479", "r = ", "start", "r");
  }
  layInputs(
    s,
    plan,
    415,
    wide
      ? [[225, 357, "xh"], [420, 357, "x"], [790, 357, "h"]]
      : [[325, 160, "xh"], [325, 330, "x"], [325, 512, "h"]],
  );
  s.wire("cell-x", wide ? "411 415 880 415 880 216 680 216" : "339 321 339 578 156 578 156 547");
  s.wire("cell-h", wide ? "799 435 898 435 898 234 680 234" : "352 521 352 594 174 594 174 547");
  const leads = `h: ${up} and the next character`;
  layOutlet(s, wide, "h", wide ? "960 110" : "66 630", [wide ? "985 80" : "22 676", leads]);
  return s;
}

/** A simple recurrent network. @param {Plan} plan @param {string} up */
function rnnSketch(plan, up) {
  const { wide } = plan;
  const s = wide ? new Sketch(1000, 300, 24) : new Sketch(360, 412);
  s.pipe("h", wide ? "420 110 960 110" : "190 190 190 350");
  s.curve("tanh", "h", wide ? "420 110" : "190 190");
  s.tank("h", "new h", wide ? "620 110" : "190 280");
  if (wide) s.aside("420 56", "no valve: the old h counts only in the sum");
  else s.aside("140 196", "no valve", "end");
  layInputs(s, plan, 225, [wide ? [420, 137, "xh"] : [230, 190, "xh"]]);
  const leads = `h: ${up} and the next character`;
  layOutlet(s, wide, "h", wide ? "960 110" : "190 350", [wide ? "985 80" : "22 396", leads]);
  return s;
}

/** Draw one step of a cell. @param {Plan} plan */
export function planOf(plan) {
  const up = plan.layer + 1 < plan.layers ? `to layer ${plan.layer + 2}` : "to the prediction";
  const sketchOf = plan.cell === "rnn" ? rnnSketch : plan.cell === "gru" ? gruSketch : lstmSketch;
  return sketchOf(plan, up);
}
