// The live graph: drawn once for each graph, and brought up to date in place, so that the focus stays where it is.

import { fitted, percent, rate, s, say, set, time } from "./dom.js";
import { layout } from "./layout.js";

const SIZES = {
  wide: { width: 154, height: 62, gap: 98, lane: 40 },
  tall: { width: 152, height: 62, gap: 66, lane: 20 },
};
const LEAST = 0.72;
const font = () => getComputedStyle(document.body).fontFamily;
const SPARK = { width: 62, height: 15 };

export class Graph {
  constructor(element, onPick) {
    this.element = element;
    this.onPick = onPick;
    this.picked = null;
    this.drawn = "";
  }

  show(pipe) {
    const room = Math.max(280, this.element.clientWidth - 28);
    const key = JSON.stringify([pipe.graph, Math.round(room / 8)]);
    if (key !== this.drawn) {
      this.drawn = key;
      this.draw(pipe.graph, room);
    }
    for (const [id, update] of this.nodes) update(pipe.nodes[id] ?? {}, pipe.limit?.stage === id);
    this.edges.forEach((update, i) => update(pipe.edges[i] ?? {}, pipe));
  }

  draw(graph, room) {
    let wide = room > 560;
    let placed = layout(graph, wide, SIZES[wide ? "wide" : "tall"]);
    if (wide && placed.width * LEAST > room) {
      wide = false;
      placed = layout(graph, wide, SIZES.tall);
    }
    const scale = Math.min(1, Math.max(LEAST, room / placed.width));
    const sizes = SIZES[wide ? "wide" : "tall"];
    const focused = document.activeElement?.dataset?.node;
    this.nodes = new Map();
    const into = (id) => graph.edges.filter((edge) => edge.target === id && !edge.failures).length;
    const edges = graph.edges.map((edge) => drawEdge(edge, placed.at, wide, sizes, into(edge.target) > 1));
    const nodes = graph.nodes.map((node) => {
      const [element, update] = this.drawNode(node, placed.at.get(node.id), sizes);
      this.nodes.set(node.id, update);
      return element;
    });
    this.edges = edges.map(([, update]) => update);
    const height = placed.height + 34;
    this.element.replaceChildren(s("svg", {
      width: placed.width * scale, height: height * scale, viewBox: `0 -18 ${placed.width} ${height}`,
      role: "group", "aria-label": "Graph of the pipeline; the table below says the same",
    }, edges.map(([element]) => element), nodes));
    if (focused) this.element.querySelector(`[data-node="${CSS.escape(focused)}"]`)?.focus();
  }

  drawNode(node, at, { width, height }) {
    const name = s("text", { class: "name", x: 14, y: 22 }, fitted(node.name, `580 13px ${font()}`, width - 22));
    const said = s("text", { class: "said", x: 14, y: 41 });
    const tag = s("text", { class: "tag", x: 4, y: -6 });
    const busy = s("rect", { class: "busy", x: 14, y: height - 12, width: 0, height: 3, rx: 1.5 });
    const track = s("rect", { class: "track", x: 14, y: height - 12, width: width - 28, height: 3, rx: 1.5 });
    const pick = () => {
      this.picked = this.picked === node.id ? null : node.id;
      this.onPick(this.picked);
    };
    const element = s("g", {
      class: "node", transform: `translate(${at.x} ${at.y})`, tabindex: 0, role: "button", "data-node": node.id, onclick: pick,
      onkeydown: (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        pick();
      },
    },
    s("title", {}, node.note ? `${node.name}: ${node.note}` : node.name),
    s("rect", { class: "box", width, height, rx: node.kind === "step" ? 7 : 14 }),
    s("rect", { class: "stripe", x: 0, y: node.kind === "step" ? 8 : 14, width: 3.5, height: height - (node.kind === "step" ? 16 : 28), rx: 1.7 }),
    name, said, track, busy, tag);
    const update = (figures, limits) => {
      const state = figures.state ?? "idle";
      const busyShare = figures.busy ?? 0;
      const plain = node.kind === "letters" || node.kind === "source";
      const parts = [rate(figures.rate ?? 0)];
      if (figures.took && node.kind !== "source") parts.push(time(figures.took));
      if (figures.workers > 1) parts.push(`×${figures.workers}`);
      const held = figures.blocked > 0.05 ? `held back ${percent(figures.blocked)}` : "";
      const told = limits ? "bottleneck" : figures.breaker ? `circuit ${figures.breaker}` : state === "failing" ? "failing" : held;
      say(said, parts.join("  ·  "));
      say(tag, told);
      set(tag, { class: held && told === held ? "tag strained" : "tag" });
      set(track, { visibility: plain ? "hidden" : null });
      set(busy, { visibility: plain ? "hidden" : null, width: Math.max(0, (width - 28) * busyShare).toFixed(1) });
      set(element, {
        class: `node ${node.kind} ${state}${limits ? " limits" : ""}`,
        "aria-pressed": this.picked === node.id,
        "aria-label": [node.name, limits ? "bottleneck" : state, ...parts, plain ? "" : `busy ${percent(busyShare)}`,
          figures.waiting ? `${figures.waiting} waiting` : "", held].filter(Boolean).join(", "),
      });
    };
    return [element, update];
  }
}

function drawEdge(edge, places, wide, { width, height, gap }, meets) {
  const [from, to] = [places.get(edge.source), places.get(edge.target)];
  const beside = edge.failures ? besides : wide ? across : down;
  const [path, label] = beside(from, to, width, height, gap, meets, wide);
  const turned = wide !== Boolean(edge.failures);
  const line = s("path", { d: path });
  const head = s("path", { class: "head", d: turned ? "M0 0l-7-4v8z" : "M0 0l-4-7h8z", transform: `translate(${label.endX} ${label.endY})` });
  const count = s("text", { class: "rate", x: label.x, y: label.y - 6, "text-anchor": label.anchor });
  const more = s("text", { class: "more", x: label.x, y: label.y + 33, "text-anchor": label.anchor });
  const name = edge.label ? s("text", { x: label.x, y: label.y - 20, "text-anchor": label.anchor }, fitted(edge.label, `11.5px ${font()}`, gap - 8)) : null;
  const left = label.anchor === "middle" ? label.x - SPARK.width / 2 : label.x;
  const spark = s("path", { class: "spark", transform: `translate(${left} ${label.y + 5})` });
  const under = s("path", { class: "under", transform: `translate(${left} ${label.y + 5})` });
  const element = s("g", { class: "edge", "aria-hidden": "true" }, line, head, under, spark, name, count, more);
  if (label.anchor === "start") {
    set(more, { x: label.x + SPARK.width + 8, y: label.y + 17 });
  }
  const update = (figures) => {
    const waits = figures.waiting > 20 && !edge.failures;
    const fails = edge.failures ? figures.rate > 0 : figures.failed > 0;
    set(element, { class: `edge${edge.failures ? " failures" : ""}${fails && edge.failures ? " failing" : waits ? " strained" : ""}${figures.rate ? "" : " idle"}` });
    set(line, { "stroke-width": (1.2 + Math.min(3, Math.log10(1 + (figures.rate ?? 0)) * 0.7)).toFixed(2) });
    say(count, figures.rate === null || (edge.failures && !figures.rate) ? "" : rate(figures.rate ?? 0));
    say(more, fails && !edge.failures ? `${rate(figures.failed)} fail` : waits ? `${figures.waiting.toLocaleString("en")} wait` : "");
    set(more, { class: `more ${fails ? "failing" : "strained"}` });
    const quiet = edge.failures || figures.rate === null;
    const drawn = quiet ? "" : sparkline(figures.spark ?? []);
    set(spark, { d: drawn });
    set(under, { d: drawn && `${drawn}L${SPARK.width} ${SPARK.height}L${startOf(figures.spark)} ${SPARK.height}Z` });
  };
  return [element, update];
}

const startOf = (values) => (((60 - values.length) / 59) * SPARK.width).toFixed(1);

function sparkline(values) {
  if (values.length < 2) return "";
  const top = Math.max(...values.map((value) => value ?? 0), 1e-9);
  return values.map((value, i) => {
    const x = ((60 - values.length + i) / 59) * SPARK.width;
    return `${i ? "L" : "M"}${x.toFixed(1)} ${(SPARK.height * (1 - (value ?? 0) / top)).toFixed(1)}`;
  }).join("");
}

// From left to right. The figures stand on the straight part: before the next step, or behind this one where streams meet.
function across(from, to, width, height, gap, meets) {
  const [x, y, endX, endY] = [from.x + width, from.y + height / 2, to.x, to.y + height / 2];
  const end = { endX, endY, anchor: "middle" };
  if (y === endY) return [`M${x} ${y}H${endX - 6}`, { ...end, x: meets ? x + gap / 2 : endX - gap / 2 - 2, y }];
  if (meets) {
    const bend = endX - gap * 0.36;
    return [`M${x} ${y}H${bend}C${endX - 4} ${y} ${bend} ${endY} ${endX - 6} ${endY}`, { ...end, x: x + gap * 0.36, y }];
  }
  const bend = x + gap * 0.36;
  const before = endX - gap;
  return [`M${x} ${y}C${bend} ${y} ${x + 4} ${endY} ${bend} ${endY}H${endX - 6}`, { ...end, x: before + gap * 0.66, y: endY }];
}

// From top to bottom: the figures stand right of the line.
function down(from, to, width, height, gap, meets) {
  const [x, y, endX, endY] = [from.x + width / 2, from.y + height, to.x + width / 2, to.y];
  const end = { endX, endY, anchor: "start" };
  if (x === endX) return [`M${x} ${y}V${endY - 6}`, { ...end, x: x + 9, y: (meets ? y + gap : endY) - gap / 2 - 2 }];
  const turn = meets ? endY - gap * 0.36 : y;
  const middle = turn + gap * 0.36;
  const last = meets ? endY - 6 : middle;
  const path = `M${x} ${y}V${turn}C${x} ${middle + 4} ${endX} ${turn} ${endX} ${last}V${endY - 6}`;
  return [path, { ...end, x: (meets ? x : endX) + 9, y: meets ? y + gap / 2 - 2 : endY - gap / 2 + 4 }];
}

// Dead letters: straight down, or straight to the side.
function besides(from, to, width, height, gap, meets, wide) {
  if (wide) {
    const [x, endY] = [from.x + width / 2, to.y];
    return [`M${x} ${from.y + height}V${endY - 6}`, { endX: x, endY, x: x + 9, y: endY - 22, anchor: "start" }];
  }
  const y = from.y + height / 2;
  // There is no room for figures: the step itself has them.
  return [`M${from.x + width} ${y}H${to.x - 6}`, { endX: to.x, endY: y, x: -1e4, y, anchor: "start" }];
}
