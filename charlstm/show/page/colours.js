// @ts-check
// Values -> colours, those of charlstm/show/colours.py. In the dark the middle of a scale is the paper, so that what
// is near 0 stays quiet there too.

/** @typedef {"signed" | "open" | "bits"} ScaleName */

const LAST_STEP = 40;

/** @type {Record<ScaleName, { low: number, high: number, light: string, dark: string }>} */
const SCALES = {
  signed: {
    low: -1,
    high: 1,
    light: "2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b",
    dark: "7cc4ff 4f9fdf 336f9f 254459 1e2023 553530 92493f d0604f ff8068",
  },
  open: {
    low: 0,
    high: 1,
    light: "f7fcf5 e5f5e0 c7e9c0 a1d99b 74c476 41ab5d 238b45 006d2c 00441b",
    dark: "1e2023 1f3428 1f4a32 1f603c 257846 329155 4cab6b 75c78b a6e5b2",
  },
  bits: {
    low: 0,
    high: 8,
    light: "fcfbfd efedf5 dadaeb bcbddc 9e9ac8 807dba 6a51a3 54278f 3f007d",
    dark: "1e2023 2d2a3d 3f3959 524876 675c94 7f74b1 9a8fcb b8afe2 dad4f7",
  },
};

/** @param {string} codes @param {number} step @returns {[number, number, number]} */
function mixed(codes, step) {
  const anchors = codes.split(" ");
  const place = (step / LAST_STEP) * (anchors.length - 1);
  const at = Math.min(Math.floor(place), anchors.length - 2);
  /** @param {string} code @param {number} part */
  const channel = (code, part) => parseInt(code.slice(2 * part, 2 * part + 2), 16);
  /** @param {number} part */
  const mix = (part) =>
    Math.round(channel(anchors[at], part) * (1 - place + at) + channel(anchors[at + 1], part) * (place - at));
  return [mix(0), mix(1), mix(2)];
}

/** @param {[number, number, number]} colour relative luminance, 0 to 1 (WCAG 2.2) */
function luminance(colour) {
  const [red, green, blue] = colour.map((part) =>
    part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4,
  );
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** Black or white, whichever is easier to read on a colour. @param {[number, number, number]} colour */
function inkOn(colour) {
  const light = luminance(colour);
  return (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) ? "#000" : "#fff";
}

/** The scale of a signal: c (as its tanh), h, g and n lie between -1 and 1, the other gates between 0 and 1.
 * @param {string} signal @returns {ScaleName} */
export function scaleOf(signal) {
  return signal === "bits" ? "bits" : "cghn".includes(signal) || signal === "share" ? "signed" : "open";
}

/** What a signal is drawn as: c as its tanh, which is what it gives to the output. @param {string} signal
 * @param {number} value */
export function drawnAs(signal, value) {
  return signal === "c" ? Math.tanh(value) : value;
}

/** @param {string} signal @param {number} value as drawn @returns {number} 0 to 40; the middle if it is not a number */
export function stepOf(signal, value) {
  const { low, high } = SCALES[scaleOf(signal)];
  const place = Number.isNaN(value) ? 0.5 : Math.min(1, Math.max(0, (value - low) / (high - low)));
  return Math.round(place * LAST_STEP);
}

/** @param {ScaleName} scale @param {"light" | "dark"} theme @returns {[number, number, number][]} by step */
export function coloursOf(scale, theme) {
  return Array.from({ length: LAST_STEP + 1 }, (_, step) => mixed(SCALES[scale][theme], step));
}

/** @param {[number, number, number]} colour */
function css(colour) {
  return `rgb(${colour.join(" ")})`;
}

/** @param {string} signal @param {number} value as the network has it @param {"light" | "dark"} theme */
export function paint(signal, value, theme) {
  return css(mixed(SCALES[scaleOf(signal)][theme], stepOf(signal, drawnAs(signal, value))));
}

/** @param {string} signal @param {number} value as the network has it @param {"light" | "dark"} theme */
export function ink(signal, value, theme) {
  return inkOn(mixed(SCALES[scaleOf(signal)][theme], stepOf(signal, drawnAs(signal, value))));
}

/** The class of a character with this value: its rule is one of `tileRules`. @param {string} signal
 * @param {number} value as drawn */
export function tileClass(signal, value) {
  return `${scaleOf(signal)}-${stepOf(signal, value)}`;
}

/** The rules of all tiles, in both themes: paper and ink. @returns {string[]} */
export function tileRules() {
  return /** @type {ScaleName[]} */ (Object.keys(SCALES)).flatMap((scale) => {
    const [light, dark] = [coloursOf(scale, "light"), coloursOf(scale, "dark")];
    return light.map(
      (colour, step) =>
        `.${scale}-${step} { background-color: light-dark(${css(colour)}, ${css(dark[step])}); ` +
        `color: light-dark(${inkOn(colour)}, ${inkOn(dark[step])}); }`,
    );
  });
}
