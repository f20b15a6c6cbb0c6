// @ts-check
// What is shown for a character of a text: nothing hidden stays hidden, and nothing turns the text around it.

const HIDDEN = new RegExp(
  "[\\0-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u115f\\u1160\\u200b\\u200e\\u200f\\u2028-\\u202e" +
    "\\u2060-\\u206f\\u3164\\ud800-\\udfff\\ufeff\\uffa0\\ufff0-\\ufffb" +
    "\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e00ff}\\u{e01f0}-\\u{e0fff}]",
  "gu",
);

/** Text with everything hidden made visible, as show/characters.py does it; line feeds and tabs are kept.
 * @param {string} text */
export function printable(text) {
  return text.replace(HIDDEN, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (character === "\r") return "";
    if (code < 32) return String.fromCharCode(0x2400 + code);
    const digits = code.toString(16);
    if (code < 0x100) return `\\x${digits.padStart(2, "0")}`;
    return code < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
  });
}

/** A character as a tile shows it. @param {string} text */
export function tile(text) {
  return text === "\n" ? "↵" : text === "\t" ? "→" : text === "\r" ? "␍" : printable(text) || "·";
}

const SPOKEN = new Map([
  ["\n", "line end"],
  [" ", "space"],
  ["\t", "tab"],
  ["\r", "carriage return"],
  ["\u00a0", "no-break space"],
  ["", "no character"],
]);

/** A character in a sentence. @param {string} text */
export function named(text) {
  return SPOKEN.get(text) ?? `‘${printable(text)}’`;
}

/** A stretch in a line of its own, shortened in the middle. @param {string} text @param {number} most characters */
export function inBrief(text, most = 40) {
  const line = [...printable(text).replace(/\n/g, "↵").replace(/\t/g, "→")];
  if (line.length <= most) return line.join("");
  const half = Math.floor((most - 1) / 2);
  return `${line.slice(0, half).join("")}…${line.slice(line.length - half).join("")}`;
}
