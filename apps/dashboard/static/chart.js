// One plot of the last minutes: a line, what is unusual in it, and what is to be expected next.

import { clock, h, s, say, set, time } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 108;
const TOP = 10;
const FOOT = 92;
const LEFT = 2;

export class Chart {
  constructor({ title, field, second, secondTitle, format, when = clock, next = "in a minute", recent = 120 }) {
    Object.assign(this, { when, next, recent });
    this.title = title;
    this.field = field;
    this.second = second;
    this.secondTitle = secondTitle;
    this.format = format;
    this.points = [];
    this.chosen = null;
    this.value = h("span", {});
    this.said = h("div", { class: "said", "aria-live": "polite" });
    this.svg = s("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", tabindex: 0, role: "img",
      onpointermove: (event) => this.choose((event.offsetX / this.svg.clientWidth) * this.span() + this.start()),
      onpointerleave: () => this.choose(null),
      onblur: () => this.choose(null),
      onkeydown: (event) => this.key(event),
    });
    this.element = h("section", { class: "card plot" },
      h("header", {}, h("h2", {}, title), this.value), this.svg, this.said);
  }

  start() { return this.points[0]?.at ?? 0; }

  span() {
    const last = this.points.at(-1)?.at ?? 1;
    return Math.max(60, last - this.start()) + (this.ahead?.values?.length ? this.ahead.every * this.ahead.values.length : 0);
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -30, PageDown: 30, Home: -1e9, End: 1e9 }[event.key];
    if (step === undefined || !this.points.length) return;
    event.preventDefault();
    const now = this.chosen === null ? this.points.length - 1 : this.nearest(this.chosen);
    this.choose(this.points[Math.min(this.points.length - 1, Math.max(0, now + step))].at);
  }

  nearest(at) {
    let best = 0;
    this.points.forEach((point, i) => { if (Math.abs(point.at - at) < Math.abs(this.points[best].at - at)) best = i; });
    return best;
  }

  choose(at) {
    this.chosen = at;
    this.draw();
  }

  show(points, { alarms = [], ahead = null } = {}) {
    this.points = points;
    this.alarms = alarms.filter((alarm) => alarm.field === this.field && alarm.at >= this.start());
    this.ahead = ahead?.[this.field] ?? null;
    this.draw();
  }

  draw() {
    const newest = this.points.at(-1);
    say(this.value, this.format(newest?.[this.field] ?? null));
    const values = this.points.flatMap((point) => [point[this.field], this.second ? point[this.second] : null]);
    const highs = this.ahead?.high ?? [];
    const top = nice(Math.max(...values.filter((value) => value !== null && value !== undefined), ...highs, 1e-9));
    const [start, span] = [this.start(), this.span()];
    const x = (at) => LEFT + ((at - start) / span) * (WIDTH - LEFT);
    const y = (value) => FOOT - (Math.min(value, top) / top) * (FOOT - TOP);
    const line = (field) => path(this.points.map((point) => [x(point.at), point[field] === null || point[field] === undefined ? null : y(point[field])]));
    const main = line(this.field);
    const parts = [
      s("line", { class: "grid", x1: 0, x2: WIDTH, y1: FOOT, y2: FOOT, "vector-effect": "non-scaling-stroke" }),
      s("line", { class: "grid", x1: 0, x2: WIDTH, y1: TOP, y2: TOP, "vector-effect": "non-scaling-stroke" }),
      this.second && s("path", { class: "second", d: line(this.second), "vector-effect": "non-scaling-stroke" }),
      s("path", { class: "area", d: area(this.points, x, y, this.field) }),
      s("path", { class: "series", d: main, "vector-effect": "non-scaling-stroke" }),
      ...this.future(x, y, newest),
      ...this.alarms.map((alarm) => dot(x(alarm.at), y(alarm.value), this.svg)),
    ];
    const chosen = this.chosen === null || !this.points.length ? null : this.points[this.nearest(this.chosen)];
    if (chosen) parts.push(s("line", { class: "cross", x1: x(chosen.at), x2: x(chosen.at), y1: TOP, y2: FOOT, "vector-effect": "non-scaling-stroke" }));
    this.svg.replaceChildren(...parts.filter(Boolean));
    say(this.said, this.words(chosen, top));
    const unusual = this.alarms.length ? `; unusual at ${this.alarms.map((alarm) => this.when(alarm.at)).join(", ")}` : "";
    set(this.svg, { "aria-label": `${this.title}: now ${this.format(newest?.[this.field] ?? null)}, at most ${this.format(top)}${unusual}. Arrow keys read values.` });
  }

  words(chosen, top) {
    if (chosen) {
      const alarm = this.alarms.find((each) => Math.abs(each.at - chosen.at) < 2);
      const second = this.second ? `, ${this.secondTitle} ${this.format(chosen[this.second])}` : "";
      return `${this.when(chosen.at)}  ${this.format(chosen[this.field])}${second}${alarm ? `, unusual${this.usual(alarm)}` : ""}`;
    }
    const newest = this.alarms.at(-1);
    if (newest && this.points.at(-1)?.at - newest.at < this.recent) return `${this.when(newest.at)} unusual: ${this.format(newest.value)}${this.usual(newest)}`;
    if (this.ahead?.values?.length) return `${this.next}: ${this.format(this.ahead.low.at(-1))} to ${this.format(this.ahead.high.at(-1))}`;
    return this.points.length ? `0 – ${this.format(top)}, last ${time(this.span())}` : "";
  }

  usual({ low, high }) {
    return low === null || low === undefined ? "" : `, usual ${this.format(low)} to ${this.format(high)}`;
  }

  future(x, y, newest) {
    if (!this.ahead?.values?.length || !newest) return [];
    const { values, low, high, every, from } = this.ahead;
    const at = (i) => x(from + (i + 1) * every);
    const upper = high.map((value, i) => `${i ? "L" : "M"}${at(i).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    const lower = low.map((value, i) => `L${at(i).toFixed(1)} ${y(Math.max(0, value)).toFixed(1)}`).reverse().join("");
    return [
      s("line", { class: "now", x1: x(newest.at), x2: x(newest.at), y1: TOP, y2: FOOT, "vector-effect": "non-scaling-stroke" }),
      s("path", { class: "band", d: `${upper}${lower}Z` }),
      s("path", { class: "ahead", d: path(values.map((value, i) => [at(i), y(Math.max(0, value))])), "vector-effect": "non-scaling-stroke" }),
    ];
  }
}

// The plot is stretched, so a circle in it has to be drawn against that.
function dot(cx, cy, svg) {
  const stretch = svg.clientWidth ? svg.clientWidth / WIDTH : 1;
  return s("ellipse", { class: "alarm", cx, cy, rx: 3.5 / stretch, ry: 3.5, "vector-effect": "non-scaling-stroke" });
}

function path(places) {
  let gap = true;
  let d = "";
  for (const [x, y] of places) {
    if (y === null) { gap = true; continue; }
    d += `${gap ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    gap = false;
  }
  return d;
}

function area(points, x, y, field) {
  const known = points.filter((point) => point[field] !== null && point[field] !== undefined);
  if (known.length < 2) return "";
  const over = known.map((point, i) => `${i ? "L" : "M"}${x(point.at).toFixed(1)} ${y(point[field]).toFixed(1)}`).join("");
  return `${over}L${x(known.at(-1).at).toFixed(1)} ${FOOT}L${x(known[0].at).toFixed(1)} ${FOOT}Z`;
}

function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 5, 7.5, 10].map((step) => step * power).find((step) => step >= value * 0.999) ?? value;
}
