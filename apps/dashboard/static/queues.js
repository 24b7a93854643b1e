// All queues: how many messages wait, who takes them, and how that has changed since the page was opened.

import { ask } from "./api.js";
import { h, number, rate, s, say, table, time } from "./dom.js";

const EVERY = 2000;
const KEPT = 60;

export function queues(live) {
  const said = h("p", { class: "said-by-us dim", role: "status" });
  const body = h("div", {});
  const element = h("section", { class: "card", "data-page": "queues" }, h("div", { class: "head" }, h("h1", {}, "Queues")), said, body);
  const past = new Map();
  let timer = null;

  async function look() {
    clearTimeout(timer);
    if (!element.isConnected) return;
    try {
      show(await ask("/api/queues"));
    } catch (error) {
      say(said, error.message);
    }
    timer = setTimeout(look, EVERY);
  }

  function show(found) {
    const problems = found.filter((each) => each.error);
    const rows = found.filter((each) => !each.error);
    say(said, problems.length ? problems.map((each) => `${each.place}: ${each.error}`).join(" ")
      : rows.length ? "" : "There are no queues to be looked at: those in memory are their process's own.");
    const told = reported(live);
    body.replaceChildren(rows.length ? table(["Queue", "Waiting", "", "In hand", "Consumers", "In", "Out", "Empty in", "At", ""], rows.map((each) => {
      const key = `${each.place} ${each.name}`;
      const depths = past.get(key) ?? [];
      depths.push(each.depth ?? 0);
      if (depths.length > KEPT) depths.shift();
      past.set(key, depths);
      const more = told.get(each.name) ?? {};
      const link = `#/letters/${encodeURIComponent(each.place)}/${encodeURIComponent(each.name)}`;
      return [each.name, number(each.depth), spark(depths), number(each.unacked ?? more.unacked), number(each.consumers ?? more.consumers),
        rate(more.published), rate(more.acknowledged ?? more.delivered), time(more.drain), h("span", { class: "dim wrap" }, each.place),
        h("a", { href: link, "aria-label": `Look at the messages of ${each.name}` }, "Look")];
    }), { caption: "Queues", numeric: [1, 3, 4, 5, 6, 7] }) : "");
  }

  return { element, enter: look };
}

function reported(live) {
  const found = new Map();
  for (const pipe of live.pipelines.values()) for (const queue of pipe.queues ?? []) found.set(queue.name, queue);
  return found;
}

function spark(values) {
  const top = Math.max(...values, 1);
  const d = values.map((value, i) => `${i ? "L" : "M"}${(((KEPT - values.length + i) / (KEPT - 1)) * 80).toFixed(1)} ${(17 - (value / top) * 15).toFixed(1)}`).join("");
  return s("svg", { class: "depth", width: 80, height: 18, "aria-hidden": "true" }, s("path", { d }));
}
