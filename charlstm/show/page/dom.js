// @ts-check
// The few ways in which the page's elements are found and made. Text only ever becomes a text node.

/** @template {Element} T @param {string} id @param {new () => T} kind @returns {T} */
export function byId(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string | number | boolean>} [attributes] false leaves one out
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (value !== false) element.setAttribute(name, value === true ? "" : String(value));
  element.append(...children);
  return element;
}

/** Set the text of an element if it is another one: what is unchanged is not laid out again. @param {Element} element
 * @param {string} text */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {number} value @param {number} digits after the point, with a true minus sign */
export function figure(value, digits = 2) {
  if (Number.isNaN(value)) return "–";
  const text = value.toFixed(digits);
  return text.startsWith("-") ? (Number(text) ? `\u2212${text.slice(1)}` : text.slice(1)) : text;
}

/** @param {number} share 0 to 1 */
export function percent(share) {
  return share >= 0.0995
    ? `${Math.round(share * 100)} %`
    : share >= 0.00095
      ? `${(share * 100).toFixed(1)} %`
      : "< 0.1 %";
}

/** Speaks to screen readers, at most once in a while: what is said last wins. */
export class Speaker {
  /** @param {HTMLElement} element with aria-live @param {number} [pause] ms */
  constructor(element, pause = 400) {
    this.element = element;
    this.pause = pause;
    this.timer = 0;
  }

  /** @param {string} text */
  say(text) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => (this.element.textContent = text), this.pause);
  }
}
