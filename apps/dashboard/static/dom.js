// Elements and numbers. Texts become text nodes only: nothing that comes from a message is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return element;
}

export const h = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
export const s = (name, attributes = {}, ...children) => filled(document.createElementNS(SVG, name), attributes, children);

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
  }
}

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 10) return String(Math.round(value * 10) / 10);
  if (size < 10_000) return Math.round(value).toLocaleString("en");
  if (size < 1e6) return `${(value / 1e3).toFixed(size < 1e5 ? 1 : 0)}k`;
  return `${(value / 1e6).toFixed(1)}M`;
}

export function rate(value) {
  if (value === null || value === undefined) return "–";
  return value > 0 && value < 0.1 ? `${number(value * 3600)}/h` : `${number(value)}/s`;
}

export const percent = (share) => `${Math.round(100 * share)} %`;

export function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1e-3) return `${Math.max(1, Math.round(seconds * 1e6))} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}

export const clock = (at) => new Date(at * 1000).toLocaleTimeString("en-GB");
export const moment = (at) => (at ? new Date(at * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" }) : "");

const canvas = document.createElement("canvas").getContext("2d");

export function fitted(text, font, width) {
  canvas.font = font;
  let end = text.length;
  const cut = () => (end < text.length ? `${text.slice(0, end)}…` : text);
  while (end > 1 && canvas.measureText(cut()).width > width) end -= 1;
  return cut();
}

export const STATES = { ok: "ok", strained: "strained", failing: "failing", silent: "silent", idle: "idle", ended: "ended" };

export const pill = (state, text = STATES[state] ?? state) => h("span", { class: `pill ${state}` }, text);

export function table(titles, rows, { caption, numeric = [] } = {}) {
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {},
      caption && h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, titles.map((title, i) => h("th", { scope: "col", class: numeric.includes(i) && "n" }, title)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, i) => h(i ? "td" : "th", { scope: i ? null : "row", class: numeric.includes(i) && "n" }, cell)))))));
}
