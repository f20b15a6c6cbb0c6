// @ts-check
// window.charlstm: the model for tests and for people who like to tinker. Its texts are its own: what the page shows
// does not change.

/** @typedef {import("./passage.js").Model} Model */
/** @typedef {{ prompt?: string, length?: number, temperature?: number, topK?: number | null, topP?: number | null,
 *   minP?: number | null, seed?: number | bigint, stops?: string[], label?: string }} Wishes */

const TURN = 12; // ms of work between two turns of the event loop

/** Let the page breathe. @returns {Promise<void>} */
function breath() {
  return new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      done();
    };
    port2.postMessage(null);
  });
}

/** @param {Model} model */
export function doorOf(model) {
  const { shape } = model;
  return {
    model: {
      name: model.name,
      hash: model.id,
      id: model.id,
      engine: model.engineName,
      shape,
      vocabulary: model.vocabulary,
      labels: model.labels,
    },

    /** Write a text; what it is without the prompt. The same settings give the same text as `charlstm sample --exact`.
     * @param {Wishes} [wishes] @returns {Promise<string>} */
    async generate({
      prompt = "",
      length = 500,
      temperature = 0.8,
      topK = null,
      topP = null,
      minP = null,
      seed = 0,
      stops = [],
      label,
    } = {}) {
      const state = model.begin(label ?? model.drawnLabel(seed));
      let until = performance.now() + TURN;
      const rest = async () => {
        if (performance.now() < until) return;
        await breath();
        until = performance.now() + TURN;
      };
      for (const id of model.encode(prompt)) {
        model.read(state, id);
        await rest();
      }
      let text = "";
      const source = model.write(state, { length, temperature, topK, topP, minP, seed, stops });
      for (let step = source.next(); !step.done; step = source.next()) {
        text += step.value.text;
        if (step.value.stopped) break;
        await rest();
      }
      return text;
    },

    /** Read a text from its beginning: of each character what was expected there, its surprise in bits, and every
     * layer's signals after it. @param {string} text @param {{ label?: string }} [more] */
    async trace(text, { label } = {}) {
      const trace = model.trace(4);
      const state = model.begin(label);
      const decoder = model.decoder();
      let until = performance.now() + TURN;
      const found = [];
      for (const id of model.encode(text)) {
        model.read(state, id, trace);
        const at = trace.end - 1;
        found.push({
          id,
          character: decoder.text(id),
          surprise: trace.surprise(at),
          top: trace.top(at).map((one) => ({ id: one.id, character: one.text, probability: one.probability })),
          layers: Array.from({ length: shape.layers }, (_, layer) =>
            Object.fromEntries(shape.signals.map((signal) => [signal, Array.from(trace.column(layer, signal, at))])),
          ),
        });
        if (performance.now() < until) continue;
        await breath();
        until = performance.now() + TURN;
      }
      return found;
    },
  };
}
