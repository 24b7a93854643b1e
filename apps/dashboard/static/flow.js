// The page of a pipeline: how it stands, its graph, the last minutes, its workers.

import { ask } from "./api.js";
import { Chart } from "./chart.js";
import { clock, h, moment, number, percent, pill, rate, say, table, time } from "./dom.js";
import { Graph } from "./graph.js";

export function flow(live, name) {
  const pipes = h("nav", { class: "pipes", "aria-label": "Pipelines" });
  const heading = h("h1", {});
  const state = h("span", { role: "status" });
  const workersSaid = h("span", { class: "dim" });
  const figures = h("dl", { class: "figures" });
  const banners = h("div", { class: "stack" });
  const place = h("div", { class: "graph" });
  const detail = h("div", { class: "detail", hidden: true, role: "status" });
  const graph = new Graph(place, () => draw());
  const steps = h("div", {});
  const workers = h("div", {});
  const charts = [
    new Chart({ title: "Received", field: "rate", second: "done", secondTitle: "finished", format: rate }),
    new Chart({ title: "Latency, 95th percentile", field: "p95", second: "p50", secondTitle: "median", format: time }),
    new Chart({ title: "In flight", field: "in_flight", second: "credit", secondTitle: "credit", format: number }),
    new Chart({ title: "Waiting at the source", field: "depth", format: number }),
  ];
  charts[2].second = null;
  const day = new Chart({ title: "Received by hour, as recorded", field: "rate", format: rate, when: moment, next: "by this time tomorrow", recent: 86_400 });
  const days = h("div", { hidden: true });
  let hours = {};
  let asked = -Infinity;
  const content = h("div", { class: "stack", "data-page": "flow" },
    h("div", { class: "title" }, heading, state, workersSaid), banners, figures,
    h("section", { class: "card", "aria-label": "Graph" }, place, detail,
      h("details", { class: "more" }, h("summary", {}, "The graph as a table"), steps)),
    h("div", { class: "plots" }, charts.map((chart) => chart.element)), days,
    h("section", { class: "card", "aria-label": "Workers" }, h("h2", {}, "Workers"), workers));
  content.style.gap = "16px";
  const empty = h("div", { class: "card empty" },
    h("h2", {}, "No pipeline reports yet"),
    h("p", {}, "Start one that does, and it appears here within a second:"),
    h("pre", {}, "warren run shop.flows:orders --report-to ADDRESS"));
  const page = h("div", { class: "stack" }, pipes, empty);
  page.style.gap = "16px";

  function draw() {
    const all = [...live.pipelines.values()];
    const pipe = live.pipelines.get(name()) ?? all[0];
    if (!pipe?.graph) return;
    if (content.parentNode !== page) page.replaceChildren(pipes, content);
    drawPipes(all, pipe);
    say(heading, pipe.name);
    if (state.dataset.state !== pipe.state) {
      state.dataset.state = pipe.state;
      state.replaceChildren(pill(pipe.state));
    }
    const many = pipe.workers.length;
    say(workersSaid, many === 1 ? "1 worker" : `${many} workers`);
    figures.replaceChildren(...drawFigures(pipe, live.points.get(pipe.name) ?? []));
    banners.replaceChildren(...drawBanners(pipe));
    graph.show(pipe);
    drawDetail(pipe);
    steps.replaceChildren(drawSteps(pipe));
    workers.replaceChildren(drawWorkers(pipe, live.now));
    const points = live.points.get(pipe.name) ?? [];
    drawDay(pipe);
    for (const chart of charts) chart.show(points, { alarms: pipe.alarms, ahead: pipe.ahead });
  }

  // Recordings are looked at now and then: they change by the hour.
  function drawDay(pipe) {
    if (live.now - asked > 60) {
      asked = live.now;
      ask("/api/hours").then((found) => { hours = found; }, () => {});
    }
    const mine = hours[pipe.name];
    days.hidden = !mine;
    if (!mine) return;
    if (!days.firstChild) days.append(day.element);
    day.show(mine.points, mine);
  }

  function drawPipes(all, chosen) {
    pipes.hidden = all.length < 2;
    const key = JSON.stringify([all.map((pipe) => [pipe.name, pipe.state]), chosen.name]);
    if (pipes.dataset.key === key) return;
    pipes.dataset.key = key;
    pipes.replaceChildren(...all.map((pipe) => h("a", {
      href: `#/flow/${encodeURIComponent(pipe.name)}`, "aria-current": pipe.name === chosen.name ? "page" : null,
    }, pipe.name, pill(pipe.state))));
  }

  function drawDetail(pipe) {
    const node = pipe.graph.nodes.find((each) => each.id === graph.picked);
    detail.hidden = !node;
    if (!node) return;
    const told = pipe.nodes[node.id] ?? {};
    const facts = [["Rate", rate(told.rate)], ["Time", time(told.took)], ["Waiting", number(told.waiting)],
      ["Workers", told.workers], ["Busy", percent(told.busy ?? 0)], ["Failures", told.failed ? rate(told.failed) : null],
      ["Held back", told.blocked > 0.01 ? percent(told.blocked) : null], ["Circuit", told.breaker], ["Guarantee", node.note],
      ["Queue", node.queue]];
    detail.replaceChildren(h("strong", {}, node.name), pill(told.state ?? "idle"),
      h("dl", {}, facts.filter(([, value]) => value).map(([title, value]) => h("div", {}, h("dt", {}, title), h("dd", {}, value)))));
  }

  return { element: page, draw };
}

// Seconds until what waits at the source is gone, where it has become less in the last half minute.
function drain(points) {
  const recent = points.slice(-30).filter((point) => point.depth !== null);
  if (recent.length < 5) return null;
  const [first, last] = [recent[0], recent.at(-1)];
  const falls = (first.depth - last.depth) / (last.at - first.at);
  return last.depth > 0 && falls > 0.01 * last.depth / 30 ? last.depth / falls : null;
}

function drawFigures(pipe, points) {
  const empty = drain(points);
  const { point } = pipe;
  const used = point.credit ? point.in_flight / point.credit : 0;
  const dead = Object.values(pipe.letters).reduce((sum, count) => sum + count, 0);
  const bar = h("i", {});
  bar.style.width = percent(Math.min(1, used)).replace(" ", "");
  return [
    figure("Received", rate(point.rate), `${rate(point.done)} finished`),
    figure("Latency, 95 %", time(point.p95), point.p50 === null ? "" : `median ${time(point.p50)}`),
    figure("In flight", number(point.in_flight), `of ${number(point.credit)} credit`, h("div", { class: `meter${used > 0.9 ? " strained" : ""}` }, bar)),
    figure("Waiting at the source", number(point.depth), empty ? `empty in ${time(empty)}` : ""),
    figure("Dead letters", number(dead), point.letters ? `${rate(point.letters)} now` : "since the dashboard began", null, point.letters > 0),
  ];
}

const figure = (title, value, said, more, failing) => h("div", {}, h("dt", {}, title), h("dd", { class: failing && "failing" }, value, " ", said && h("small", {}, said)), more ?? null);

function drawBanners(pipe) {
  const found = [];
  if (pipe.limit) found.push(h("p", { class: "banner", "data-limit": pipe.limit.stage }, h("strong", {}, "Bottleneck. "), pipe.limit.text));
  if (pipe.state === "silent") found.push(h("p", { class: "banner failing" }, h("strong", {}, "Silent. "), "No worker has reported for some seconds: it ended, its thread is blocked, or reports do not get here."));
  for (const reason of pipe.reasons ?? []) found.push(h("p", { class: "banner" }, reason));
  return found;
}

function drawSteps(pipe) {
  const rows = pipe.graph.nodes.map((node) => {
    const told = pipe.nodes[node.id] ?? {};
    const next = pipe.graph.edges.filter((edge) => edge.source === node.id).map((edge) => pipe.graph.nodes.find((each) => each.id === edge.target)?.name);
    return [node.name, pipe.limit?.stage === node.id ? "bottleneck" : told.state ?? "idle", rate(told.rate), time(told.took),
      number(told.waiting), percent(told.busy ?? 0), rate(told.failed), next.join(", ")];
  });
  return table(["Step", "State", "Rate", "Time", "Waiting", "Busy", "Failures", "Goes to"], rows, { caption: "Steps of the pipeline", numeric: [2, 3, 4, 5, 6] });
}

function drawWorkers(pipe, now) {
  const rows = pipe.workers.map((worker) => [h("span", { class: "code" }, worker.id), pill(worker.state), rate(worker.rate),
    `${number(worker.in_flight)} of ${number(worker.credit)}`, now - worker.seen < 3 ? "now" : clock(worker.seen)]);
  return table(["Worker", "State", "Received", "In flight", "Last seen"], rows, { caption: "Workers", numeric: [2, 3, 4] });
}
