// @ts-check
// Values -> SVG elements and colours. Text is only ever textContent.

import { ink, paint } from "./colours.js";

/**
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function svgOf(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** The colour of a signal's value, in the light and in the dark. @param {string} signal @param {number} value */
export function tintOf(signal, value) {
  return `light-dark(${paint(signal, value, "light")}, ${paint(signal, value, "dark")})`;
}

/** The colour of letters on that colour. @param {string} signal @param {number} value */
export function lettersOn(signal, value) {
  return `light-dark(${ink(signal, value, "light")}, ${ink(signal, value, "dark")})`;
}

/** The colour of a stream: that of a larger value, so that a small one is seen in its pipe. @param {number} value */
export function streamTint(value) {
  return tintOf("h", Math.sign(value) * Math.sqrt(Math.tanh(Math.abs(value))));
}

/** The share of a pipe that a stream fills: it grows with its value without end, and is a half at 0.5.
 * @param {number} value */
export function streamShare(value) {
  return Number.isNaN(value) ? 0 : Math.abs(value) / (Math.abs(value) + 0.5);
}
